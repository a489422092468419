"""What a report says."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from harness import bootstrap
from harness.recommend.engine import recommend
from harness.report import facts, html
from harness.report.contents import ReportContents, contents
from harness.report.facts import Fact
from harness.spec import scenario
from harness.store.query import Evidence


def _by_id(report: ReportContents) -> dict[str, Fact]:
    return {fact.id: fact for fact in facts.walk(report)}


def test_every_median_is_the_evidences_own(report: ReportContents, evidences: tuple[Evidence, ...]) -> None:
    """A fact carries the exact number with run, model, method, metric and state; only ``shown`` is rounded."""
    found = _by_id(report)
    for evidence in evidences:
        for value in evidence.values:
            if value.interval is None:
                continue
            key = facts.identity(evidence.run_id, value.model, value.method, value.metric, value.state, "median")
            fact = found[key]
            assert fact.value == value.interval.median
            assert (fact.model, fact.method, fact.metric, fact.state) == (
                value.model,
                value.method,
                value.metric,
                value.state,
            )


def test_one_id_is_one_fact(report: ReportContents) -> None:
    """A fact that is shown in two places is the same in both, but for how it is worded."""
    seen: dict[str, Fact] = {}
    for fact in facts.walk(report):
        first = seen.setdefault(fact.id, fact)
        assert dataclasses.replace(fact, shown=first.shown) == first


def test_ratios_are_to_the_best_and_paired_within_rounds(report: ReportContents) -> None:
    """The best of a column is marked and has no ratio; the others have one, with its interval."""
    table = report.models[0].table("start")
    assert table is not None
    column = {row.method: cell for row, cell in table.column("cold_start_s", "page-warm")}
    assert [name for name, cell in column.items() if cell.standing == "best"] == ["venv"]
    assert column["venv"].ratio is None
    pex = column["pex"]
    assert pex.ratio is not None
    assert pex.ratio.against == "venv"
    assert pex.ratio.shown.startswith("1.2")


def test_a_failed_method_is_said_once_and_is_never_best(report: ReportContents) -> None:
    """Its row is blank but for the reason, and the list of gaps names it."""
    spam = report.models[1]
    row = next(row for row in spam.tables[0].rows if row.method == "rest-api")
    assert row.blank
    assert [gap.method for gap in spam.gaps if gap.title == "every value"] == ["rest-api"]
    assert spam.gaps[0].failed is not None
    assert spam.gaps[0].failed.value == 3


def test_absent_and_dropped_values_are_listed(report: ReportContents) -> None:
    """What is absent stands in its cell and in the list with its reason; dropped samples are counted."""
    digits = report.models[0]
    gaps = {(gap.method, gap.metric): gap for gap in digits.gaps}
    assert gaps["container", "packed_bytes"].why is not None
    assert gaps["pex", "cold_start_s"].dropped is not None
    size = digits.table("size")
    assert size is not None
    cell = {row.method: cell for row, cell in size.column("packed_bytes")}["container"]
    assert cell.median is None
    assert cell.absent is not None
    assert cell.fidelity == "emulated"


def test_one_dropped_start_is_one_gap(report: ReportContents, evidences: tuple[Evidence, ...]) -> None:
    """Nine values are lost with it; a reader is told once, with all their names."""
    values = tuple(
        dataclasses.replace(value, dropped=int(value.state == "disk-cold" and value.method == "pex"))
        for value in evidences[0].values
    )
    made = contents([dataclasses.replace(evidences[0], values=values)], made_at="", harness_version="")
    found = [gap for gap in made.models[0].gaps if gap.method == "pex"]
    assert [gap.title for gap in found] == ["cold start, its phases, peak memory, peak resident, CPU to first answer"]
    assert [gap.metric for gap in found] == ["cold_start_s"]


def test_the_order_in_which_a_store_gives_values_does_not_matter(
    report: ReportContents, evidences: tuple[Evidence, ...]
) -> None:
    """The same samples make the same report."""
    turned = [dataclasses.replace(each, values=each.values[::-1]) for each in evidences]
    again = contents(turned, made_at=report.made_at, harness_version=report.harness_version)
    assert again.models == report.models


def test_one_time_is_few_however_narrow(report: ReportContents, evidences: tuple[Evidence, ...]) -> None:
    """One build has no spread, but it is not exact, as one size is."""
    single = [
        dataclasses.replace(value, by_round={1: first}, interval=bootstrap.interval([first]))
        for value in evidences[0].values
        if value.interval
        for first in [value.interval.median]
    ]
    made = contents([dataclasses.replace(evidences[0], values=tuple(single))], made_at="", harness_version="")
    size = made.models[0].table("size")
    assert size is not None
    cells = {name: [cell.marks for _, cell in size.column(name)] for name in ("build_clean_s", "unpacked_bytes")}
    assert cells == {"build_clean_s": [("few",)] * 4, "unpacked_bytes": [()] * 4}


def test_few_and_unstable_values_are_marked(report: ReportContents) -> None:
    """Three builds are too few for a headline; nine of the same size are exact."""
    size = report.models[0].table("size")
    assert size is not None
    builds = [cell for _, cell in size.column("build_clean_s")]
    assert all("few" in cell.marks for cell in builds)
    assert all(not cell.marks for _, cell in size.column("files"))


def test_sentinel_and_download_are_conditions_not_methods(report: ReportContents) -> None:
    """They are of the machine; the drift compares late rounds with early ones."""
    conditions = {each.metric: each for each in report.models[0].conditions}
    assert set(conditions) == {"sentinel_s", "download_s"}
    assert conditions["sentinel_s"].drift is not None
    assert conditions["download_s"].drift is None


def test_embedded_json_comes_back_the_same(report: ReportContents) -> None:
    """Nothing is lost, and nothing in it could end a script block or a comment."""
    table = facts.as_dict(report)
    text = facts.embedded(table)
    assert json.loads(text) == table
    assert not set("<>&\n") & set(text)


def test_a_report_on_methods_that_are_all_excluded(
    evidences: tuple[Evidence, ...], methods: Mapping[str, object]
) -> None:
    """The criteria are the scenario's, also where no method is left that they could rank."""
    strict = dataclasses.replace(scenario.find("edge-device"), needs=("form-page",), name="strict")
    recommendation = recommend(evidences[0], strict, methods)  # type: ignore[arg-type]
    made = contents(evidences[:1], [recommendation], scenarios={"strict": strict}, made_at="", harness_version="")
    assert facts.sentence(made.answer[0]) == "digits-forest: no method can be recommended for strict; excluded: 4."
    assert [criterion.metric for criterion in made.advice[0].criteria] == [one.metric for one in strict.objectives]
    assert "can be recommended for strict; excluded: <span" in html.render(made, lambda _chart, _prefix: "")


def test_without_evidence_there_is_an_empty_report() -> None:
    """No run, no model: still a report that says so."""
    empty = contents([], made_at="now", harness_version="0")
    assert empty.answer == ()
    assert empty.models == ()
