"""A report against its samples: nothing is found in a true one, everything is found in a changed one."""

from __future__ import annotations

import dataclasses
import random
import re
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import pytest

from harness import paths
from harness.calibrate import records
from harness.errors import BadInput
from harness.recommend.engine import Recommendation, recommend
from harness.report import markdown, write
from harness.report.contents import ReportContents, contents
from harness.report.verify import Verification, runs_of, verify, verify_report
from harness.spec import scenario
from harness.store.query import Evidence

ByRun = Mapping[str, Sequence[Evidence]]
Advise = Callable[..., Recommendation]
Check = Callable[[str], Verification]


@pytest.fixture
def check(by_run: ByRun, advise: Advise, tmp_path: Path) -> Check:
    """Verify a text as a file."""

    def checked(text: str) -> Verification:
        path = tmp_path / "report"
        path.write_text(text, encoding="utf-8")
        return verify(path, by_run, advise)

    return checked


@pytest.fixture(params=["html", "md"])
def text(request: pytest.FixtureRequest, page: str, report: ReportContents) -> str:
    """The report in each format."""
    return page if request.param == "html" else markdown.render(report)


def test_a_true_report_passes(text: str, check: Check) -> None:
    """Every fact is computed again, and none differs."""
    found = check(text)
    assert (found.mismatches, found.notes) == ((), ())
    assert found.checked > 500


@pytest.mark.parametrize("seed", range(12))
def test_one_changed_digit_anywhere_is_found(text: str, check: Check, seed: int) -> None:
    """In words, numbers, data, pictures, styles: a digit drawn at random is changed, and the change is named."""
    rng = random.Random(seed)
    start = max(text.find('<script type="application/json"'), text.find(markdown.OPENING))
    within = slice(0, start) if seed % 2 else slice(start, None)
    at = rng.choice(
        [found.start() for found in re.finditer(r"\d", text) if found.start() in range(*within.indices(len(text)))]
    )
    other = rng.choice([digit for digit in "0123456789" if digit != text[at]])
    try:
        found = check(text[:at] + other + text[at + 1 :])
    except BadInput:
        return  # the run, the schema or a scenario that it names is none that exists
    assert found.mismatches, text[at - 40 : at + 20]


def test_a_changed_shown_number_is_named(text: str, check: Check) -> None:
    """The mismatch carries the fact's id, what the report says, and what the samples say."""
    name = "20240102T030405Z-made-up:digits-forest:pex:packed_bytes:median"
    found = check(text.replace("88.1 MB", "81.8 MB")).mismatches
    assert {(each.id, each.found, each.expected) for each in found if each.id} >= {(name, "81.8 MB", "88.1 MB")}
    assert name in str(found[0])


def test_a_changed_number_in_the_data_is_named(text: str, check: Check) -> None:
    """Also where the page shows the true number."""
    found = check(text.replace('"value":88100000', '"value":88100001')).mismatches
    value = "20240102T030405Z-made-up:digits-forest:pex:packed_bytes"
    assert {(each.id, each.found, each.expected) for each in found} == {
        (f"{value}:{end}", "88100001", "88100000") for end in ("median", "low", "high")
    }


def test_one_number_is_one_number_however_it_is_kept(text: str, check: Check) -> None:
    """A store may give 3.0 where it gave 3; true is still not 1."""
    assert check(text.replace('"value":88100000', '"value":88100000.0')).mismatches == ()
    assert check(text.replace('"value":true', '"value":1', 1)).mismatches


def test_a_changed_word_is_found(text: str, check: Check) -> None:
    """A report cannot be turned around by its fixed words either."""
    assert check(text.replace("methods side by side", "methods by side", 1)).mismatches
    start = text.rfind("not certain")
    assert check(text[:start] + text[start + 4 :]).mismatches


def test_a_removed_or_added_part_is_found(page: str, check: Check) -> None:
    """A row that is left out, a number that is added."""
    row = re.search(r"<tr>\s*<th scope=\"row\">pex.*?</tr>", page, re.DOTALL)
    assert row is not None
    assert check(page.replace(row.group(), "", 1)).mismatches
    added = '<span data-id="made:up">1 s</span></main>'
    assert "made:up" in {each.id for each in check(page.replace("</main>", added)).mismatches}


def test_a_hidden_part_of_a_number_is_found(page: str, check: Check) -> None:
    """The words are the same, but a reader would not see all of them."""
    assert check(page.replace(">88.1 MB<", '><b hidden="">8</b>8.1 MB<', 1)).mismatches


def test_a_changed_picture_is_found(page: str, check: Check) -> None:
    """One end of one bar."""
    bar = re.search(r'aria-roledescription="bar"[^>]* d="M0,', page)
    assert bar is not None
    found = check(page[: bar.end() - 1] + "1," + page[bar.end() :]).mismatches
    assert len(found) == 1
    assert found[0].where.startswith("line ")


def test_changed_samples_are_found(text: str, by_run: ByRun, advise: Advise, tmp_path: Path) -> None:
    """The report is the same, the evidence is not: every number that depends on it differs."""
    (run, evidences), *_ = by_run.items()
    first = evidences[0]
    values = tuple(
        dataclasses.replace(value, dropped=value.dropped + 1) if value.metric == "install_s" else value
        for value in first.values
    )
    path = tmp_path / "report"
    path.write_text(text, encoding="utf-8")
    assert verify_report(path, {run: (dataclasses.replace(first, values=values), *evidences[1:])}, advise)


def test_without_the_extra_numbers_are_still_checked(page: str, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """A note says what was not compared; a changed number is found all the same."""
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    true = check(page)
    assert true.mismatches == ()
    assert "pip install" in true.notes[0]
    assert check(page.replace("88.1 MB", "88.2 MB")).mismatches


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("# A page\n", "carries no data"),
        ("<!doctype html><p>hello", "carries no data"),
        ("<!-- contents {broken -->", "is not JSON"),
        ('<!-- contents {"schema_version":99} -->', "upgrade the harness"),
        ('<!-- contents {"schema_version":3,"models":[{}]} -->', "not a report's"),
        ('<!-- contents {"schema_version":3,"models":[{"run":"r","model":"m"}]} -->', "--results"),
    ],
)
def test_what_is_no_report_is_bad_input(content: str, words: str, check: Check) -> None:
    """The message says what is wrong and what to do."""
    with pytest.raises(BadInput) as caught:
        check(content)
    assert words in str(caught.value)


def test_a_report_names_its_runs(text: str, tmp_path: Path) -> None:
    """So that a checker knows which samples to fetch."""
    path = tmp_path / "report"
    path.write_text(text, encoding="utf-8")
    assert runs_of(path) == ["20240102T030405Z-made-up"]


def test_a_file_that_is_not_there_is_bad_input(by_run: ByRun, tmp_path: Path) -> None:
    """No traceback for a wrong path."""
    with pytest.raises(BadInput, match="there is no such file"):
        verify(tmp_path / "none.html", by_run)


def test_the_real_engine_computes_recommendations_again(
    evidences: tuple[Evidence, ...],
    methods: Mapping[str, object],
    by_run: ByRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the embedded scenario and the evidence alone; a changed weight in the report is found."""
    scenarios = {name: scenario.find(name) for name in scenario.names()}
    advised = [recommend(evidences[0], each, methods) for each in scenarios.values()]  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "harness.methods", types.SimpleNamespace(METHODS=methods))
    made = contents(evidences, advised, scenarios=scenarios, made_at="now", harness_version="0")
    for kind in ("html", "md"):
        out = tmp_path / f"report.{kind}"
        write(made, kind, out)
        assert verify_report(out, by_run) == []
        changed = re.sub(r'"weight":0\.25\b', '"weight":0.45', out.read_text(encoding="utf-8"))
        out.write_text(changed, encoding="utf-8")
        assert verify_report(out, by_run)


@pytest.mark.parametrize("kind", ["html", "md"])
def test_the_quality_of_predictions_is_checked_as_well(
    evidences: tuple[Evidence, ...], by_run: ByRun, tmp_path: Path, kind: Literal["html", "md"]
) -> None:
    """Against the calibration of that digest; without it nothing can be said, and a changed digit is found."""
    fitted = records.of_results(paths.data("results") / "reference")
    assert fitted is not None
    decided = records.Decided(chooser="profile", cases=9, regret=0.125, top_1=0.5, top_2=0.75, gap_closed=0.625)
    fitted = dataclasses.replace(fitted, decisions=(decided,))
    out = tmp_path / f"report.{kind}"
    write(contents(evidences, calibration=fitted, made_at="now", harness_version="0"), kind, out)
    assert verify(out, by_run, calibrations=[fitted]).mismatches == ()
    with pytest.raises(BadInput, match="is not here"):
        verify(out, by_run)
    page = out.read_text(encoding="utf-8")
    assert "62%" in page
    out.write_text(page.replace("62%", "92%"), encoding="utf-8")
    found = verify(out, by_run, calibrations=[fitted]).mismatches
    assert any(one.id == "calibration:decisions:profile:gap_closed" for one in found)
