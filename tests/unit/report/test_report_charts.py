"""Charts as data, and as pictures."""

from __future__ import annotations

import dataclasses
import itertools
import json
import xml.etree.ElementTree as ET

from harness.metrics import PHASES
from harness.report import charts
from harness.report.contents import ReportContents, contents
from harness.store.query import Evidence


def _charts(report: ReportContents, place: int = 0) -> dict[str, charts.Chart]:
    return {chart.name: chart for chart in charts.of(report.models[place])}


def test_there_is_a_chart_for_each_question(report: ReportContents) -> None:
    """Sizes, starts in each cache state, size against start; each names a table that the model has."""
    model = report.models[0]
    made = _charts(report)
    assert list(made) == ["start-page-warm", "start-disk-cold", "sizes", "size-start"]
    assert all(model.table(chart.table) is not None for chart in made.values())


def test_a_specification_is_plain_data_that_loads_nothing(report: ReportContents) -> None:
    """It can be taken elsewhere as JSON, and holds its values itself."""
    for chart in _charts(report).values():
        text = json.dumps({key: value for key, value in chart.spec.items() if key != "$schema"}, allow_nan=False)
        assert "http" not in text
        assert '"url"' not in text
        assert chart.spec["$schema"].endswith("/v5.json")


def test_phases_keep_their_order_and_colour(report: ReportContents) -> None:
    """A reader who learned the colours in one chart reads the next one without the legend."""
    for place in (0, 1):
        for name in ("start-page-warm", "start-disk-cold"):
            assert list(_charts(report, place)[name].legend.items()) == list(charts.PHASE_COLOURS.items())
    assert len(set(charts.PHASE_COLOURS.values())) == len(PHASES)


def test_both_states_have_one_scale(report: ReportContents) -> None:
    """A page-warm and a disk-cold start can be compared by eye."""
    made = _charts(report)
    domains = [
        made[name].spec["layer"][0]["encoding"]["x"]["scale"]["domain"]
        for name in ("start-page-warm", "start-disk-cold")
    ]
    assert domains[0] == domains[1]


def test_the_data_of_a_chart_are_the_reports_numbers(report: ReportContents) -> None:
    """Exact medians and interval ends of the table that it names."""
    table = report.models[0].table("start")
    assert table is not None
    expected = {
        row.method: (cell.low.value, cell.high.value, cell.median.shown)
        for row, cell in table.column("cold_start_s", "disk-cold")
        if cell.low and cell.high and cell.median
    }
    rows = _charts(report)["start-disk-cold"].spec["data"]["values"]
    assert {row["method"]: (row["low"], row["high"], row["shown"]) for row in rows if "high" in row} == expected


def test_what_is_absent_is_not_drawn(report: ReportContents) -> None:
    """No bar of zero for a size that nobody knows, nothing for a method that failed."""
    sizes = _charts(report)["sizes"].spec["data"]["values"]
    assert ("container", "packed") not in {(row["method"], row["kind"]) for row in sizes}
    assert "rest-api" not in json.dumps(_charts(report, 1)["start-page-warm"].spec)


def test_names_beside_the_scatter_plot_do_not_collide(report: ReportContents) -> None:
    """Labels are at least a line apart, and within the plot's height."""
    for place in (0, 1):
        spec = _charts(report, place)["size-start"].spec
        layers = spec["layer"]
        top = layers[2]["encoding"]["y"]["scale"]["domain"][1]
        spots = sorted(label["at"] for label in layers[0]["data"]["values"])
        gaps = [(after - before) / top * spec["height"] for before, after in itertools.pairwise(spots)]
        assert all(gap >= 12 for gap in gaps)
        assert spots[0] >= 0
        assert spots[-1] <= top


def test_pictures_are_well_formed_and_take_the_pages_colours(report: ReportContents) -> None:
    """Light and dark from one picture: texts in currentColor, no background."""
    for chart in _charts(report).values():
        svg = charts.render(chart, "p")
        ET.fromstring(svg)  # noqa: S314  (our own picture)
        assert 'fill="currentColor"' in svg
        assert "#000" not in svg
        assert "http" not in svg


def test_a_hostile_name_is_words_in_a_picture(evidences: tuple[Evidence, ...]) -> None:
    """Vega escapes texts and labels; a name cannot become markup."""
    name = "<script>alert(9)</script>\"'&"
    values = tuple(
        dataclasses.replace(value, method=name if value.method == "pex" else value.method)
        for value in evidences[0].values
    )
    plan = {**evidences[0].manifest.plan, "methods": ["venv", name]}
    manifest = dataclasses.replace(evidences[0].manifest, plan=plan)
    hostile = dataclasses.replace(evidences[0], values=values, manifest=manifest)
    report = contents([hostile], made_at="now", harness_version="0")
    for chart in charts.of(report.models[0]):
        svg = charts.render(chart, "p")
        assert "<script" not in svg
        texts = [element.text or "" for element in ET.fromstring(svg).iter("text")]  # noqa: S314
        assert any(text.startswith("<script>alert(9)") for text in texts)


def test_a_narrow_chart_is_the_same_chart(report: ReportContents) -> None:
    """The same numbers, marks and letters on a plot that fits a phone; long names leave a plot all the same."""
    for chart in _charts(report).values():
        small = charts.narrow(chart)
        assert small.spec["data"] == chart.spec["data"]
        assert small.spec["config"] == chart.spec["config"]
        room = small.spec["padding"]
        assert small.spec["width"] + room["left"] + room["right"] <= 350
        assert '"tickCount": 5' not in json.dumps(small.spec)
    wide = {"left": 200, "right": 200, "top": 0, "bottom": 0}
    assert charts.narrow(dataclasses.replace(chart, spec={**chart.spec, "padding": wide})).spec["width"] > 100
