"""The page: it loads nothing, runs nothing, and shows everything as words."""

from __future__ import annotations

import base64
import builtins
import dataclasses
import hashlib
import itertools
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.errors import BadInput, MissingComponent
from harness.recommend.engine import Recommendation
from harness.report import advice, charts, facts, html, markdown, pages, write
from harness.report.contents import ReportContents, contents
from harness.store.query import Evidence

VOID = {"meta", "link", "br", "hr", "img", "input"}


class _Tags(HTMLParser):
    """Every start tag with its attributes; and whether all tags close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_it_is_well_formed(page: str) -> None:
    """Every tag is closed in order, and no id is given twice."""
    parsed = _Tags(page)
    assert parsed.open == []
    ids = [given["id"] for _, given in parsed.tags if "id" in given]
    assert len(ids) == len(set(ids))


def test_nothing_would_be_loaded(page: str) -> None:
    """No address that a browser would fetch: in attributes, styles or imports."""
    for tag, given in _Tags(page).tags:
        for name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
            assert given.get(name, "#").startswith(("#", "data:")), (tag, name)
    shown = page[: page.index('<script type="application/json"')]
    assert "@import" not in shown
    assert all(found.startswith("url(#") for found in re.findall(r"url\([^)]*\)", shown))
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page


def test_nothing_would_be_executed(page: str) -> None:
    """But the script of ours, which the policy names by its digest; no attribute is a handler, and words stay words."""
    tags = _Tags(page).tags
    assert [given for tag, given in tags if tag == "script"] == [{"type": "application/json", "id": "contents"}, {}]
    script = page.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert page.count("script-src") == 1
    assert not [name for _, given in tags for name in given if name.startswith("on")]
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_every_fact_is_shown_with_its_name(report: ReportContents, page: str) -> None:
    """Whatever stands in an element with such a name is a fact; and every median, low, high and n is on the page."""
    named = facts.names(report)
    known = {named[fact.id]: fact for fact in facts.walk(report)}
    shown = {token.id for token in pages.facts(page)}
    assert shown <= set(known)
    missing = [fact.id for name, fact in known.items() if fact.statistic in ("median", "n") and name not in shown]
    assert missing == []


def test_every_value_carries_its_fidelity(report: ReportContents, page: str) -> None:
    """A badge for each cell with a value, and for each that is emulated or documented."""
    cells = [cell for model in report.models for table in model.tables for row in table.rows for cell in row.cells]
    assert page.count('<span class="badge measured">') >= sum(cell.median is not None for cell in cells)
    assert '<span class="badge emulated">' in page
    assert '<span class="badge documented">' in page


def test_it_is_accessible(page: str) -> None:
    """Language, one h1, headings without a gap, captions and scopes, charts with title and description."""
    tags = _Tags(page).tags
    assert ("html", {"lang": "en"}) in tags
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    names = [tag for tag, _ in tags]
    assert names.count("caption") == names.count("table")
    assert all("scope" in given for tag, given in tags if tag == "th")
    drawn = [given for tag, given in tags if tag == "svg"]
    assert len(drawn) == 2 * 8
    ids = {given["id"] for _, given in tags if "id" in given}
    for given in drawn:
        assert given["role"] == "img"
        assert set(given["aria-labelledby"].split()) <= ids
    assert all(set(given["aria-labelledby"].split()) <= ids for _, given in tags if "aria-labelledby" in given)


def test_links_within_the_page_lead_somewhere(page: str) -> None:
    """Each has a target."""
    tags = _Tags(page).tags
    ids = {given["id"] for _, given in tags if "id" in given}
    assert {given["href"][1:] for tag, given in tags if tag == "a"} <= ids


def test_the_same_contents_give_the_same_page(report: ReportContents, page: str) -> None:
    """No clock, no counter, no random id is in it."""
    assert html.render(report) == page


def test_no_evidence_makes_a_page_that_says_so() -> None:
    """An empty report is a page too."""
    assert "There is no evidence to show." in html.render(contents([], made_at="now", harness_version="0"))


@pytest.mark.parametrize("name", ["jinja2", "vl_convert"])
def test_a_missing_extra_is_named(name: str, report: ReportContents, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the report extra the message says what to install."""
    real = builtins.__import__

    def without(module: str, *rest: object, **more: object) -> object:
        if module == name:
            raise ImportError(module)
        return real(module, *rest, **more)  # type: ignore[arg-type]

    html._environment.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingComponent) as caught:
        html.render(report)
    assert caught.value.remedy == "pip install 'ml-packaging-harness[report]'"
    assert caught.value.exit_code == 3


def test_writing_is_whole_or_not_at_all(
    report: ReportContents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report that was there stays when the new one cannot be made, and no scratch file is left."""
    out = tmp_path / "new" / "report.md"
    write(report, "md", out)
    first = out.read_text()
    assert first.startswith("# How to package 2 models")

    def fails(*_: object) -> None:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr("os.replace", fails)
    with pytest.raises(BadInput, match="Permission denied"):
        write(report, "md", out)
    assert out.read_text() == first
    assert [path.name for path in out.parent.iterdir()] == ["report.md"]


def test_charts_come_out_the_same_with_any_font(report: ReportContents) -> None:
    """A checker on another machine has other fonts; where marks and words stand must not depend on them."""
    for chart in charts.of(report.models[0]):
        drawn = charts.render(chart, "x")
        config = {**chart.spec["config"], "font": "monospace"}
        other = charts.Chart(**{**vars(chart), "spec": {**chart.spec, "config": config}})
        assert charts.render(other, "x").replace('"monospace"', '"system-ui, sans-serif"') == drawn


def test_each_chart_is_there_for_a_screen_and_for_a_phone(page: str) -> None:
    """The style sheet shows one of the two; a picture that is scaled down would have letters of 10 pixels."""
    assert page.count('<div class="wide"><svg') == page.count('<div class="narrow"><svg') == 8
    widths = re.findall(r'<div class="narrow"><svg [^>]*width="(\d+)', page)
    assert all(int(width) <= 350 for width in widths)


def test_nothing_is_said_twice(report: ReportContents, evidences: tuple[Evidence, ...]) -> None:
    """One recommendation is the answer at the top, and not repeated below; the same for a summary without one."""
    alone = contents(evidences[:1], made_at="now", harness_version="0")
    for shown in (_shown(alone), markdown.render(alone).split(markdown.OPENING)[0]):
        assert shown.count("smallest to ship") == 1
    for shown in (_shown(report), markdown.render(report).split(markdown.OPENING)[0]):
        assert shown.count("cannot be told apart") == 1


def _shown(report: ReportContents) -> str:
    """The page without its pictures and its data."""
    return html.render(report, lambda _chart, _prefix: "").partition('<script type="application/json"')[0]


def test_several_recommendations_begin_with_an_overview(
    evidences: tuple[Evidence, ...], advise: Callable[..., Recommendation]
) -> None:
    """A row for each model, a column for each scenario, each verdict with its value and a link to its reasons."""
    first = advise(evidences[0], None, None)
    advised = [first, dataclasses.replace(first, scenario="other", tie=(), ranked=first.ranked[:1])]
    other = dataclasses.replace(first, model="spam-bayes", tie=(), ranked=(), winner=None)
    made = contents(evidences, [*advised, other], made_at="now", harness_version="0")
    page = _shown(made)
    assert re.search(r'<a href="#advice-1">pex = venv</a>.*?a tie; value', page)
    assert re.search(r'<a href="#advice-2">pex</a>.*?best in', page)
    assert '<a href="#advice-3">none is left</a>' in page
    assert '<ul class="answer">' not in page
    lines = markdown.render(made).splitlines()
    assert "| model | made-up | other |" in lines
    assert "| spam-bayes | none is left | – |" in lines


def test_a_tools_log_is_folded_away(page: str) -> None:
    """Everywhere its first line is shown; all of it stands once, where a reader asks for it."""
    shown = page.partition('<script type="application/json"')[0]
    assert shown.count("second line") == 1
    fold = re.search(r"<details><summary>(.*?)</summary>(.*?)</details>", shown, re.DOTALL)
    assert fold is not None
    assert "…" in fold.group(1)
    assert "second line" in fold.group(2)


def test_many_models_are_folded_and_compared(evidences: tuple[Evidence, ...], advised: Recommendation) -> None:
    """Tables of methods by models come first, each model's part is behind its name, of rankings the first are told."""
    many = [dataclasses.replace(evidences[0], model=f"{evidences[0].model}-{place}") for place in range(4)]
    many = [
        dataclasses.replace(one, values=tuple(dataclasses.replace(value, model=one.model) for value in one.values))
        for one in many
    ]
    page = html.render(contents(many, made_at="now", harness_version="0"), lambda *_: "<svg/>")
    assert page.count('<details class="model">') == 4
    assert page.count('<table class="matrix">') >= 2
    assert all(f'<a href="#model-{place}">{one.model}</a>' in page for place, one in enumerate(many, start=1))
    few = html.render(contents(evidences, made_at="now", harness_version="0"), lambda *_: "<svg/>")
    assert '<details class="model">' not in few
    told = advice.of(advised, most=1)
    assert {option.method for option in told.ranked} >= {*advised.tie[:1], advised.ranked[0].method}
    assert len(told.ranked) + told.further == len(advised.ranked)
    assert advice.of(advised).further == 0
