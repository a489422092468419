"""The decision record: MADR's sections, a footnote for each number, and nothing that cannot be checked."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.errors import BadInput, MissingComponent
from harness.recommend.engine import Recommendation
from harness.recommend.limits import Exclusion
from harness.report import appendix, appendix_markdown, facts, html, markdown, pages, write
from harness.report.appendix import Appendix
from harness.report.contents import ReportContents
from harness.report.document import Bullets, Grid, Heading, Paragraph, Ref, Text
from harness.report.facts import Fact
from harness.report.verify import runs_of, verify
from harness.store.query import Evidence

GOLDEN = Path(__file__).parent / "golden" / "appendix.md"

#: MADR 4.0: https://github.com/adr/madr/blob/4.0.0/template/adr-template.md
SECTIONS = [
    "Context and Problem Statement",
    "Decision Drivers",
    "Considered Options",
    "Decision Outcome",
    "Pros and Cons of the Options",
    "More Information",
]

Make = Callable[[Recommendation], ReportContents]


@pytest.fixture(params=["html", "md"])
def text(request: pytest.FixtureRequest, record: Appendix) -> str:
    """The appendix in each format."""
    return html.render_appendix(record) if request.param == "html" else appendix_markdown.render(record)


def _texts(record: Appendix) -> Iterator[Text]:
    for block in record.blocks:
        if isinstance(block, Paragraph):
            yield block.text
        elif isinstance(block, Bullets):
            yield from block.items
        elif isinstance(block, Grid):
            yield from (cell for row in block.rows for cell in row)


def _said(record: Appendix, heading: str) -> list[str]:
    """The words below a heading, up to the next."""
    found, lines = False, []
    for block in record.blocks:
        if isinstance(block, Heading):
            found = block.text == heading
        elif found and isinstance(block, Paragraph):
            lines.append(_plain(block.text))
        elif found and isinstance(block, Bullets):
            lines += [_plain(item) for item in block.items]
    return lines


def _plain(text: Text) -> str:
    return "".join(part.shown if isinstance(part, Fact) else part if isinstance(part, str) else "" for part in text)


def test_it_is_the_golden_file(record: Appendix) -> None:
    """Every line up to the data; HARNESS_GOLDEN=write writes it anew."""
    shown = appendix_markdown.render(record).split(markdown.OPENING)[0]
    if os.environ.get("HARNESS_GOLDEN") == "write":
        GOLDEN.write_text(shown, encoding="utf-8")
    assert shown == GOLDEN.read_text(encoding="utf-8")


def test_it_has_madrs_sections(record: Appendix) -> None:
    """In MADR's order and words; consequences and confirmation are part of the outcome."""
    heads = [block for block in record.blocks if isinstance(block, Heading)]
    assert [head.text for head in heads if head.level == 2] == SECTIONS
    below = [head.text for head in heads if head.level == 3]
    assert below[:3] == ["Consequences", "What would change it", "Confirmation"]
    assert below[3:7] == ["pex", "venv", "rest-api", "container"]


def test_what_only_people_know_is_a_placeholder(text: str, record: Appendix) -> None:
    """Status, date and deciders are not made up, and said to be placeholders."""
    assert [name for name, _ in record.placeholders] == ["status", "date", "decision-makers", "consulted", "informed"]
    assert text.count("placeholder: ") == 5


def test_every_number_has_a_footnote(record: Appendix) -> None:
    """Between a fact that is a number and the next one stands a reference; run.json's have one above their table."""
    of_the_run = [
        cell for block in record.blocks if isinstance(block, Grid) and not block.caption for cell in block.rows
    ]
    skipped = {id(cell) for row in of_the_run for cell in row}
    seen = 0
    for text in _texts(record):
        owed: Fact | None = None
        for part in text:
            if isinstance(part, Fact) and isinstance(part.value, int | float) and id(text) not in skipped:
                assert owed is None, owed
                owed, seen = part, seen + 1
            elif isinstance(part, Ref):
                owed = None
        assert owed is None, owed
    assert seen > 100


def test_a_footnote_names_run_cell_metric_state_n_interval_and_fidelity(record: Appendix) -> None:
    """In words for people, and field by field for machines."""
    found = [
        note for note in record.notes if (note.method, note.metric, note.state) == ("pex", "cold_start_s", "page-warm")
    ]
    (note,) = found
    assert (note.run, note.model, note.fidelity) == ("20240102T030405Z-made-up", "digits-forest", "measured")
    assert note.n is not None
    assert note.low is not None
    assert note.high is not None
    said = _plain(note.text)
    assert said.startswith(
        "run 20240102T030405Z-made-up; cell (digits-forest, pex); cold start (cold_start_s, page-warm); median 858 ms"
    )
    assert said.endswith(f"95 % interval {note.low.shown}–{note.high.shown}, n = 9; measured")
    data = record.data()
    assert data["kind"] == "appendix"
    assert data["notes"][note.number - 1]["n"]["value"] == 9


def test_footnotes_are_numbered_in_the_order_of_reading(record: Appendix) -> None:
    """Each is referred to, the first reference is marked, and none is missing."""
    refs = [part for text in _texts(record) for part in text if isinstance(part, Ref)]
    assert [ref.number for ref in refs if ref.first] == [note.number for note in record.notes]
    assert [note.number for note in record.notes] == list(range(1, len(record.notes) + 1))


def test_every_fact_of_it_is_one_of_the_contents_or_of_the_scenario(record: Appendix) -> None:
    """An appendix adds no number of its own."""
    known = {fact.id: fact.value for fact in facts.walk(record.contents)}
    added = {fact.id: fact for fact in facts.walk(record.blocks) if fact.id not in known}
    assert {fact.id.split(":", 4)[-1] for fact in added.values()} == {"target:memory_mb", "traffic:requests_per_day"}
    assert all(known[fact.id] == fact.value for fact in facts.walk((record.blocks, record.notes)) if fact.id in known)


def test_a_tie_is_called_one(record: Appendix) -> None:
    """The outcome names who cannot be told apart; a winner that stands alone is compared with the next."""
    (outcome,) = _said(record, "Decision Outcome")
    assert outcome.startswith(
        "Chosen option: “pex”, because it has the highest value, 0.381, though it is best in only 70 %"
    )
    assert "pex and venv cannot be told apart" in outcome


def test_a_winner_that_stands_alone(make: Make, advised: Recommendation) -> None:
    """With others behind it, and as the only one that is left."""
    ranked = tuple(dataclasses.replace(option) for option in advised.ranked)
    clear = appendix.of(make(dataclasses.replace(advised, tie=(), ranked=ranked)))
    assert _said(clear, "Decision Outcome")[0].endswith("of the draws; next is venv with 0.379.")
    only = appendix.of(make(dataclasses.replace(advised, tie=(), ranked=ranked[:1])))
    assert "the only option that is not excluded" in _said(only, "Decision Outcome")[0]
    assert all("no other option is left" in line for line in _said(only, "Consequences")[1:])


def test_nothing_left_is_an_outcome_too(make: Make, advised: Recommendation) -> None:
    """Where every option is excluded, the record says so and offers nothing."""
    nothing = dataclasses.replace(
        advised, winner=None, tie=(), ranked=(), flips=(), rates=(), relaxations=(), missing=(), second=None
    )
    made = appendix.of(make(nothing))
    assert made.title.startswith("Packaging digits-forest for: ")
    assert _said(made, "Decision Outcome") == ["No option can be chosen: every one is excluded, for the reasons below."]
    assert _said(made, "What would change it")[0].startswith("Nothing that was looked at")
    assert html.render_appendix(made)


def test_consequences_compare_with_the_best_of_the_others(make: Make, advised: Recommendation) -> None:
    """Good where the chosen option is worth more, bad where less, neutral where nobody can tell or care."""
    lines = _said(appendix.of(make(advised)), "Consequences")[1:]
    assert lines[0] == "Good, because packed size is 88.1 MB; venv has 92.7 MB."
    assert lines[1].startswith("Bad, because cold start (page-warm) is 858 ms; venv has 677 ms")
    first, second, third = advised.ranked
    same = dataclasses.replace(second, contributions=first.contributions)
    equal = _said(appendix.of(make(dataclasses.replace(advised, ranked=(first, same, third)))), "Consequences")
    assert equal[1].endswith("which is worth the same here.")
    unknown = dataclasses.replace(
        advised, ranked=(dataclasses.replace(first, contributions=third.contributions), second)
    )
    assert "is not known, and counted as worth 0" in _said(appendix.of(make(unknown)), "Consequences")[2]


def test_intervals_that_overlap_are_neutral(make: Make, advised: Recommendation) -> None:
    """A difference that the measurements cannot tell from none speaks for nobody."""
    first = advised.ranked[0]
    better = tuple(dataclasses.replace(part, worth=part.worth + 0.1) for part in first.contributions)
    ranked = (first, dataclasses.replace(first, contributions=better))
    lines = _said(appendix.of(make(dataclasses.replace(advised, ranked=ranked))), "Consequences")
    assert lines[2] == "Neutral, because cold start (page-warm) is 858 ms; pex has 858 ms: the intervals overlap."


def test_pros_and_cons_go_by_the_fixed_scale(record: Appendix) -> None:
    """Worth in thirds; a value that is not there is bad; an exclusion says which limit it does not keep."""
    assert _said(record, "pex")[1:] == [
        "Bad, because packed size is 88.1 MB: worth 0.281, which adds 0.211",
        "Good, because cold start (page-warm) is 858 ms: worth 0.680, which adds 0.170",
    ]
    assert _said(record, "rest-api")[2] == "Bad, because cold start (page-warm) is not there, counted as worth 0"
    assert _said(record, "container")[-1] == "Bad: container: peak resident 513 MB > 512 MB (not certain)"


def test_a_method_without_a_right_answer_refers_to_its_outcome(make: Make, advised: Recommendation) -> None:
    """Also where there is no sample of it at all, as for a method that was not in the plan."""
    failed = Exclusion(
        method="other",
        rule="evidence",
        subject="parity",
        reason="other: exit 1",
        run_id=advised.run_id,
        metric="parity",
    )
    made = appendix.of(make(dataclasses.replace(advised, excluded=(failed,))))
    assert _said(made, "other") == ["Excluded.", "Bad: other: exit 1"]
    assert [note.metric for note in made.notes if note.method == "other"] == ["parity"]


def test_it_needs_one_model_and_one_scenario(report: ReportContents, make: Make, advised: Recommendation) -> None:
    """Two models, no recommendation, or one whose scenario is not known, make no decision record."""
    made = make(advised)
    without = tuple(dataclasses.replace(each, requirements=None) for each in made.advice)
    for wrong in (report, dataclasses.replace(made, advice=()), dataclasses.replace(made, advice=without)):
        with pytest.raises(BadInput, match="one model in one scenario"):
            appendix.of(wrong)


# --- the two formats -----------------------------------------------------------------------------


def test_markdown_has_githubs_footnotes(record: Appendix) -> None:
    """Each label is defined once and referred to; no row of a table is wider than its head."""
    page = appendix_markdown.render(record)
    shown = page.split(markdown.OPENING)[0]
    defined = re.findall(r"^\[\^(\d+)\]: ", shown, re.MULTILINE)
    referred = set(re.findall(r"\[\^(\d+)\](?!:)", shown))
    assert defined == [str(note.number) for note in record.notes]
    assert referred == set(defined)
    assert "<script>" not in page
    assert page.count("-->") == 1
    width = 0
    for line in shown.splitlines():
        cells = line.replace(r"\|", "").count("|") if line.startswith("|") else 0
        assert not width or not cells or cells == width, line
        width = cells


class _Page(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.hrefs: list[str] = []
        self.tags: list[str] = []
        self.levels: list[int] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.ids += [str(given["id"])] if "id" in given else []
        self.hrefs += [str(given["href"])] if "href" in given and tag == "a" else []
        self.levels += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []


def test_html_leads_to_its_footnotes_and_back(record: Appendix) -> None:
    """Every reference has a target, no id is given twice, nothing is loaded or run, headings leave no gap."""
    page = html.render_appendix(record)
    found = _Page(page)
    assert len(found.ids) == len(set(found.ids))
    assert {href.removeprefix("#") for href in found.hrefs} <= set(found.ids)
    assert len([name for name in found.ids if name.startswith("note-")]) == len(record.notes)
    assert found.levels[0] == 1
    assert all(after <= before + 1 for before, after in zip(found.levels, found.levels[1:], strict=False))
    assert found.tags.count("script") == 1
    assert found.tags.count("caption") == found.tags.count("table")
    assert "default-src 'none'" in page
    assert "<script>alert" not in page


def test_html_needs_the_report_extra(record: Appendix, monkeypatch: pytest.MonkeyPatch) -> None:
    """Markdown needs nothing; the message for HTML says what to install."""
    import sys

    html._environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingComponent):
        html.render_appendix(record)
    assert appendix_markdown.render(record)


# --- checking it ---------------------------------------------------------------------------------


@pytest.fixture
def check(evidences: tuple[Evidence, ...], advised: Recommendation, tmp_path: Path) -> Callable[[str], list[str]]:
    """What ``harness verify`` says of a text: mismatches, then notes."""

    def checked(text: str) -> list[str]:
        path = tmp_path / "appendix"
        path.write_text(text, encoding="utf-8")
        assert runs_of(path) == ["20240102T030405Z-made-up"]
        found = verify(path, {"20240102T030405Z-made-up": evidences}, lambda *_: advised)
        assert found.checked > 200
        return [*map(str, found.mismatches), *found.notes]

    return checked


def test_a_true_appendix_passes(text: str, check: Callable[[str], list[str]]) -> None:
    """Contents, words and footnotes are made again and are the same."""
    assert check(text) == []


def test_a_changed_digit_is_named(text: str, check: Callable[[str], list[str]]) -> None:
    """In a shown number by its id; in fixed words, references, footnotes by the line; in the data by its key."""
    named = "20240102T030405Z-made-up:digits-forest:pex:packed_bytes:median says '88.2 MB'"
    assert any(named in line for line in check(text.replace("88.1 MB", "88.2 MB")))
    for old, new in (
        ("0.67 on", "0.57 on"),
        ("n = ", "n = 1"),
        ('"number":3', '"number":4'),
        ("2024-01-02", "2024-01-03"),
    ):
        assert old in text
        assert check(text.replace(old, new, 1)), old


def test_a_wrong_reference_is_named(record: Appendix, check: Callable[[str], list[str]]) -> None:
    """A number cannot be given another source."""
    assert check(appendix_markdown.render(record).replace("[^3]", "[^4]", 1))
    assert check(html.render_appendix(record).replace('href="#note-3"', 'href="#note-4"', 1))


def test_people_may_fill_in_what_is_theirs(record: Appendix, check: Callable[[str], list[str]]) -> None:
    """The front matter is not compared, and that is said; whatever follows it still is, by its line in the file."""
    page = appendix_markdown.render(record)
    filled = page.replace('date: "(placeholder: the day of the decision)"', "date: 2024-01-05\nticket: 17")
    (note,) = check(filled)
    assert "front matter" in note
    found = check(filled.replace("88.1 MB", "88.2 MB"))
    lines = filled.replace("88.1 MB", "88.2 MB").splitlines()
    numbers = [int(match.group(1)) for line in found if (match := re.match(r"line (\d+):", line))]
    assert numbers
    assert all("88.2 MB" in lines[number - 1] for number in numbers)
    assert check(page.removeprefix("---\n"))


def test_an_appendix_that_calls_itself_a_report_is_found(text: str, check: Callable[[str], list[str]]) -> None:
    """The kind is part of the data."""
    assert check(text.replace('"kind":"appendix"', '"kind":"report"'))


def test_it_is_written_like_a_report(record: Appendix, tmp_path: Path) -> None:
    """Whole or not at all, in both formats, with the data in it."""
    for kind in ("md", "html"):
        out = tmp_path / f"appendix.{kind}"
        write(record, kind, out)  # type: ignore[arg-type]  # both are formats
        embedded = pages.embedded(out.read_text(encoding="utf-8"))
        assert embedded is not None
        assert json.loads(embedded) == record.data()
