"""Charts as Vega-Lite specifications, rendered to SVG by vl-convert.

Why these two: Vega-Lite is a kept, declarative grammar of graphics, so a chart is plain data that a
test can check and a reader can take elsewhere; vl-convert renders it inside the Python process,
without a browser, Node or network. Altair would only write the same dictionaries. vl-convert comes
with the ``report`` extra and is loaded only when a chart is rendered.

Colours are of Okabe and Ito's palette, which stays distinct for colour-blind readers; texts and lines
take the page's own colours (``currentColor``, CSS variables), so one picture serves light and dark.
"""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import MissingComponent, one_line
from harness.metrics import PHASES, START_STATES
from harness.recommend.costs import LEAST, MOST, rates

if TYPE_CHECKING:
    from harness.report.comparison import Cell
    from harness.report.contents import ModelPart
    from harness.report.facts import Fact

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
VEGA_LITE = "5.21"
REMEDY = "pip install 'ml-packaging-harness[report]'"

SKY, BLUE, ORANGE, GREEN, PURPLE, VERMILION = "#56B4E9", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00"

#: The phases, always in this order and these colours.
PHASE_COLOURS = dict(zip(PHASES, (PURPLE, SKY, ORANGE, GREEN, VERMILION), strict=True))

_TEXT, _GRID, _PAGE = "currentColor", "var(--line)", "var(--page)"
_WIDTH = 380
_NARROW = 346  # of a whole chart on a phone of 390 pixels, so that its letters keep their size
_STEP = 34
_TICKS, _FEW_TICKS = 5, 3
_FONT = 12
_VALUE = 64  # room for a value with its unit, in pixels
_HEIGHT = 240  # of the scatter plot, in pixels
_NAME = 20  # letters of a method's name that are shown
_SPREAD = 20  # largest to smallest size, beyond which the scatter plot's sizes stand on a log scale
_RULE: Spec = {"type": "rule", "color": _TEXT, "strokeWidth": 1.5}


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart, its legend, and the words for those who don't see it; ``table`` names the table with its numbers."""

    name: str
    title: str
    description: str
    note: str
    table: str
    legend: dict[str, str]
    spec: Spec


def of(model: ModelPart) -> tuple[Chart, ...]:
    """The charts of a model: only those that have something to show."""
    starts = (_starts(model, state) for state in START_STATES)
    made = (*starts, _sizes(model), _size_against_start(model), _costs(model))
    return tuple(chart for chart in made if chart is not None)


def narrow(chart: Chart) -> Chart:
    """The same chart for a phone: the same letters and marks on a narrower plot with fewer ticks."""
    room = chart.spec["padding"]
    width = max(_NARROW - room["left"] - room["right"], _WIDTH / 3)
    return dataclasses.replace(chart, spec={**_sparser(chart.spec), "width": width})


def _sparser(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: _FEW_TICKS if key == "tickCount" else _sparser(value) for key, value in part.items()}
    return [_sparser(each) for each in part] if isinstance(part, list) else part


def render(chart: Chart, prefix: str) -> str:
    """The chart as an SVG element for an HTML page; ids in it begin with ``prefix``.

    MissingComponent where vl-convert is not installed.
    """
    try:
        import vl_convert
    except ImportError as error:
        raise MissingComponent("charts need the package vl-convert-python", remedy=REMEDY) from error
    # No base URL is allowed: a specification of ours loads nothing.
    svg: str = vl_convert.vegalite_to_svg(chart.spec, vl_version=VEGA_LITE, allowed_base_urls=[])
    return _inlined(svg, chart, prefix)


def _inlined(svg: str, chart: Chart, prefix: str) -> str:
    """``svg`` with a title and a description, without namespaces (HTML needs none), its ids made unique."""
    ids = {found: f"{prefix}-{index}" for index, found in enumerate(dict.fromkeys(re.findall(r'\bid="([^"]+)"', svg)))}
    for old, new in ids.items():
        svg = svg.replace(f'id="{old}"', f'id="{new}"').replace(f"url(#{old})", f"url(#{new})")
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    width, height = size.groups() if size else ("0", "0")
    opening = (
        f'<svg class="chart" role="img" aria-labelledby="{prefix}-title {prefix}-desc" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f'<title id="{prefix}-title">{html.escape(one_line(chart.title))}</title>'
        f'<desc id="{prefix}-desc">{html.escape(one_line(chart.description))}</desc>'
    )
    return re.sub(r"^<svg[^>]*>", lambda _: opening, svg, count=1)


def _sizes(model: ModelPart) -> Chart | None:
    kinds = {"packed": "packed_bytes", "unpacked": "unpacked_bytes"}
    rows = [
        {
            "method": name,
            "kind": kind,
            "value": _exact(cell.median) / 1e6,
            "shown": cell.median.shown if cell.median else "",
        }
        for kind, metric in kinds.items()
        for name, cell in _cells(model, "size", metric)
    ]
    if not rows:
        return None
    legend = dict(zip(kinds, (BLUE, SKY), strict=True))
    bar = {
        "y": _methods(model, rows, grouped=True),
        "yOffset": {"field": "kind", "type": "nominal", "sort": list(kinds)},
        "x": _axis("value", "MB"),
        "color": _colours("kind", legend),
    }
    label = {**bar, "text": {"field": "shown"}, "color": {"value": _TEXT}}
    layer = [{"mark": {"type": "bar"}, "encoding": bar}, {"mark": _words(dx=4), "encoding": label}]
    return Chart(
        name="sizes",
        title=f"Packed and unpacked size of {model.model} by method",
        description="Two bars for each method: what travels, and what lands on disk, in MB. " + _same("size"),
        note="What travels, and what lands on disk.",
        table="size",
        legend=legend,
        spec=_spec(rows, height={"step": _STEP / 2}, layer=layer),
    )


def _starts(model: ModelPart, state: str) -> Chart | None:
    """One of the charts of cold starts: there is one for each cache state, all on one scale of seconds."""
    rows = _start_rows(model, state)
    if not rows:
        return None
    every = [_exact(cell.high) for each in START_STATES for _, cell in _cells(model, "start", "cold_start_s", each)]
    x = _axis("seconds", "seconds", [0, 1.05 * max([*every, *(row["seconds"] for row in rows if "seconds" in row)])])
    y = _methods(model, rows)
    legend = {
        phase: colour for phase, colour in PHASE_COLOURS.items() if any(row.get("phase") == phase for row in rows)
    }
    stack = {"y": y, "x": {**x, "stack": "zero"}, "order": _number("order"), "color": _colours("phase", legend)}
    phases = [{"filter": "isValid(datum.phase)"}]
    totals = [{"filter": "isValid(datum.high)"}]
    tick = {"type": "tick", "color": _TEXT, "thickness": 1.5, "size": 9}
    low, high = {"y": y, "x": _number("low")}, {"y": y, "x": _number("high")}
    layer = [
        {
            "transform": phases,
            "mark": {"type": "bar", "size": 20, "stroke": _PAGE, "strokeWidth": 1},
            "encoding": stack,
        },
        {"transform": totals, "mark": _RULE, "encoding": {**low, "x2": {"field": "high"}}},
        {"transform": totals, "mark": tick, "encoding": low},
        {"transform": totals, "mark": tick, "encoding": high},
        {"transform": totals, "mark": _words(dx=7), "encoding": {**high, "text": {"field": "shown"}}},
    ]
    return Chart(
        name=f"start-{state}",
        title=f"Cold start of {model.model}, {state}, in phases",
        description="One bar for each method, from spawn to the first correct prediction, divided into the medians "
        "of its phases; the line is the 95 % interval of the median of the whole. " + _same("start"),
        note="Median of each phase; the line is the 95 % interval of the median of the whole start."
        + _starred(model, state),
        table=f"phases-{state}" if legend else "start",
        legend=legend,
        spec=_spec(rows, height={"step": _STEP}, layer=layer),
    )


def _start_rows(model: ModelPart, state: str) -> list[dict[str, Any]]:
    """One row for each phase of each method, and one for the whole with its interval."""
    rows: list[dict[str, Any]] = []
    for order, phase in enumerate(PHASES):
        for name, cell in _cells(model, f"phases-{state}", f"phase_{phase}_s", state):
            rows.append({"method": name, "phase": phase, "order": order, "seconds": _exact(cell.median)})
    for name, cell in _cells(model, "start", "cold_start_s", state):
        rows.append(
            {"method": name, **_interval(cell), "shown": (cell.median.shown if cell.median else "") + _star(cell)}
        )
    return rows


def _size_against_start(model: ModelPart) -> Chart | None:
    packed = {name: _exact(cell.median) / 1e6 for name, cell in _cells(model, "size", "packed_bytes")}
    rows: list[dict[str, Any]] = [
        {"method": name, "state": state, "size": packed[name], **_interval(cell), "star": _star(cell)}
        for state in START_STATES
        for name, cell in _cells(model, "start", "cold_start_s", state)
        if name in packed
    ]
    if len({row["method"] for row in rows}) <= 1:
        return None  # one point compares nothing
    states: list[str] = [state for state in START_STATES if any(row["state"] == state for row in rows)]
    top = 1.08 * max(row["high"] for row in rows)
    small, large = min(row["size"] for row in rows), max(row["size"] for row in rows)
    log = small > 0 and large / small > _SPREAD
    left, right = (small / 1.5, large * 1.5) if log else (0.0, large * 1.08)
    x, y = (
        _axis("size", "packed size, MB" + " (log scale)" * log, [left, right], log=log),
        _axis("value", "cold start, s", [0, top], title_x=-34),
    )
    legend = dict(zip(states, (BLUE, ORANGE), strict=False))
    colour = _colours("state", legend)
    shapes = {"domain": states, "range": ["circle", "diamond"][: len(states)]}
    shape = {"field": "state", "type": "nominal", "scale": shapes, "legend": None}
    leader: Spec = {"type": "rule", "strokeWidth": 1, "color": _GRID, "strokeDash": [2, 2]}
    point = {"type": "point", "filled": True, "size": 70, "opacity": 1}
    labels = {"values": _labels(rows, top=top, right=right)}
    name = {"x": _number("end"), "y": _number("at"), "text": {"field": "method"}}
    whisker = {"x": x, "y": _number("low"), "y2": {"field": "high"}, "color": colour}
    layer = [
        {"data": labels, "mark": leader, "encoding": {"x": x, "y": y, "x2": {"field": "end"}, "y2": {"field": "at"}}},
        {"mark": {"type": "rule", "strokeWidth": 1.5}, "encoding": whisker},
        {"mark": point, "encoding": {"x": x, "y": y, "color": colour, "shape": shape}},
        {"data": labels, "mark": _words(dx=3), "encoding": name},
    ]
    return Chart(
        name="size-start",
        title=f"Packed size against cold start of {model.model}",
        description="One point for each method and cache state; the line is the 95 % interval of the cold start. "
        "Nearer to the lower left corner is better. " + _same("size"),
        note="Lower left is better; the line is the 95 % interval of the cold start." + _starred(model, *states),
        table="size",
        legend=legend,
        spec=_spec(rows, names_right=True, height=_HEIGHT, layer=layer),
    )


def _costs(model: ModelPart) -> Chart | None:
    """A line for each tariff, both axes on log scales: what is charged by use rises, a machine is a step."""
    if model.money is None:
        return None
    names = [line.tariff for line in model.money.lines]
    rows = [
        {"tariff": line.tariff, "method": "", "rate": rate, "usd": usd}
        for line in model.money.lines
        for rate, usd in zip(rates(), line.months, strict=True)
    ]
    legend = dict(zip(names, (BLUE, SKY, ORANGE, PURPLE, VERMILION, GREEN), strict=False))
    x = _axis("rate", "requests a day (log scale)", [LEAST, MOST], log=True)
    y = _axis("usd", "USD a month (log scale)", log=True, title_x=-44)
    y["axis"] |= {"format": "~g"}
    x["axis"] |= {"format": "~s"}
    dashes = {"domain": names, "range": [[1, 0], [6, 3], [2, 2], [8, 2, 2, 2], [4, 4], [12, 3]][: len(names)]}
    encoding = {
        "x": x,
        "y": y,
        "color": _colours("tariff", legend),
        "strokeDash": {"field": "tariff", "type": "nominal", "scale": dashes, "legend": None},
    }
    return Chart(
        name="costs",
        title=f"What {model.model} costs a month, by requests a day",
        description="A line for the cheapest method of each tariff; both scales are logarithmic. " + _same("costs"),
        note="The cheapest method of each tariff; modelled from this run and list prices.",
        table="costs",
        legend=legend,
        spec=_spec(
            rows,
            names_right=True,
            height=_HEIGHT,
            layer=[{"mark": {"type": "line", "strokeWidth": 2}, "encoding": encoding}],
        ),
    )


def _labels(rows: Sequence[dict[str, Any]], *, top: float, right: float) -> list[dict[str, Any]]:
    """Where methods' names stand: right of the plot, beside their highest point, pushed apart where they collide."""
    highest: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["method"] not in highest or row["value"] > highest[row["method"]]["value"]:
            highest[row["method"]] = row
    gap = top * (_FONT + 3) / _HEIGHT
    placed: list[dict[str, Any]] = []
    above = top + gap
    for row in sorted(highest.values(), key=lambda each: (-each["value"], each["method"])):
        above = min(row["value"], above - gap)
        name = row["method"] + row["star"]
        placed.append({"method": name, "size": row["size"], "value": row["value"], "end": right, "at": above})
    floor = 0.0
    for label in reversed(placed):  # whoever was pushed below the plot goes back up
        label["at"] = max(label["at"], floor)
        floor = label["at"] + gap
    return placed


def _cells(model: ModelPart, table: str, metric: str, state: str = "") -> list[tuple[str, Cell]]:
    """The methods that answer rightly and have the value, under the default limits."""
    found = model.table(table)
    pairs = found.column(metric, state) if found else []
    return [(row.method, cell) for row, cell in pairs if row.limits == "default" and not row.failure and cell.median]


def _star(cell: Cell) -> str:
    """What stands after a number that was not measured; the chart's note says what it was."""
    return "*" if cell.fidelity != "measured" else ""


def _starred(model: ModelPart, *states: str) -> str:
    found = {cell.fidelity for state in states for _, cell in _cells(model, "start", "cold_start_s", state)}
    others = sorted(found - {"measured"})
    return f" * is {' or '.join(others)}." if others else ""


def _exact(fact: Fact | None) -> float:
    if fact is None or not isinstance(fact.value, (int, float)):
        raise TypeError("this fact has no number to draw")
    return float(fact.value)


def _interval(cell: Cell) -> dict[str, float]:
    return {"value": _exact(cell.median), "low": _exact(cell.low), "high": _exact(cell.high)}


def _number(field: str) -> Spec:
    return {"field": field, "type": "quantitative"}


def _words(dx: int) -> Spec:
    return {"type": "text", "align": "left", "dx": dx, "color": _TEXT, "fontSize": _FONT - 1}


def _methods(model: ModelPart, rows: Sequence[dict[str, Any]], *, grouped: bool = False) -> Spec:
    """The methods that have a row, in the order of the plan."""
    order = [name for name in model.methods if any(row["method"] == name for row in rows)]
    short = f"length(datum.label) > {_NAME} ? slice(datum.label, 0, {_NAME - 1}) + '…' : datum.label"
    axis = {"title": None, "ticks": False, "labelPadding": 6, "labelLimit": 0, "labelExpr": short}
    scale: Spec = {"paddingInner": 0.25, "paddingOuter": 0.15} if grouped else {}
    return {"field": "method", "type": "nominal", "sort": order, "axis": axis, "scale": scale}


def _axis(
    field: str, title: str, domain: Sequence[float] = (), *, log: bool = False, title_x: float | None = None
) -> Spec:
    scale: Spec = {"domain": list(domain), "nice": False} if domain else {"zero": True}
    if log:
        scale["type"] = "log"
    ticks: Spec = {"tickCount": _TICKS, "labelOverlap": False, "labelFlush": False, "grid": not log}
    if title_x is not None:
        ticks["titleX"] = title_x  # else it stands where the widest label ends
    return {"field": field, "type": "quantitative", "scale": scale, "axis": {"title": title, **ticks}}


def _colours(field: str, colours: dict[str, str]) -> Spec:
    scale = {"domain": list(colours), "range": list(colours.values())}
    return {"field": field, "type": "nominal", "scale": scale, "legend": None}


def _room(rows: Sequence[dict[str, Any]], *, names_right: bool) -> Spec:
    """The margins: names of methods and values, or values and names, at the left and right, the axis below.

    They are counted in letters, not measured: the renderer has its own font, the page shows the reader's,
    and a chart must come out the same, to the last digit, on the machine of whoever checks it.
    """
    name = min(_NAME, max(len(row["method"]) for row in rows)) * _FONT * 0.64 + 12
    left, right = (_VALUE, name) if names_right else (name, _VALUE)
    return {"left": left, "top": 8, "right": right, "bottom": 38}


def _spec(rows: Sequence[dict[str, Any]], *, names_right: bool = False, **more: Any) -> Spec:
    words = {"labelColor": _TEXT, "titleColor": _TEXT, "labelFontSize": _FONT, "titleFontSize": _FONT}
    lines = {"gridColor": _GRID, "domainColor": _GRID, "tickColor": _GRID}
    return {
        "$schema": SCHEMA,
        "background": "transparent",
        "autosize": {"type": "none"},
        "padding": _room(rows, names_right=names_right),
        "width": _WIDTH,
        "data": {"values": [{key: _plain(value) for key, value in row.items()} for row in rows]},
        "config": {
            "font": "system-ui, sans-serif",
            "axis": {**words, "titleFontWeight": "normal", **lines},
            "axisY": {"domain": False},
            "view": {"stroke": None},
        },
        **more,
    }


def _plain(value: Any) -> Any:
    return one_line(value) if isinstance(value, str) else value


def _same(table: str) -> str:
    return f"The same numbers are in the table '{table}' of this model."
