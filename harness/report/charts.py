"""Charts as Vega-Lite specifications, rendered to SVG by vl-convert.

Why these two: Vega-Lite is a kept, declarative grammar of graphics, so a chart is plain data that a
test can check and a reader can take elsewhere; vl-convert renders it inside the Python process,
without a browser, Node or network. Altair would only write the same dictionaries. vl-convert comes
with the ``report`` extra and is loaded only when a chart is rendered.

Colours are of Okabe and Ito's palette, which stays distinct for colour-blind readers; texts and lines
take the page's own colours (``currentColor``, CSS variables), so one picture serves light and dark.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import MissingComponent
from harness.metrics import PHASES, START_STATES

if TYPE_CHECKING:
    from harness.report.comparison import Cell
    from harness.report.contents import ModelPart

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
VEGA_LITE = "5.21"
REMEDY = "pip install 'ml-packaging-harness[report]'"

SKY, BLUE, ORANGE, GREEN, PURPLE, VERMILION = "#56B4E9", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00"

#: The phases, always in this order and these colours.
PHASE_COLOURS = dict(zip(PHASES, (PURPLE, SKY, ORANGE, GREEN, VERMILION), strict=True))

_TEXT, _GRID, _PAGE = "currentColor", "var(--line)", "var(--page)"
_WIDTH = 330
_STEP = 34
_FONT = 12
_NAME = 20  # letters of a method's name that are shown


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart, and the words for those who don't see it; ``table`` names the table with its numbers."""

    name: str
    title: str
    description: str
    note: str
    table: str
    spec: Spec


def of(model: ModelPart) -> tuple[Chart, ...]:
    """The charts of a model: only those that have something to show."""
    made = (_starts(model), _sizes(model), _size_against_start(model))
    return tuple(chart for chart in made if chart is not None)


def render(chart: Chart, prefix: str) -> str:
    """The chart as an SVG element for an HTML page; ids in it begin with ``prefix``.

    MissingComponent where vl-convert is not installed.
    """
    try:
        import vl_convert
    except ImportError as error:
        raise MissingComponent("charts need the package vl-convert-python", remedy=REMEDY) from error
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
        f'<title id="{prefix}-title">{html.escape(chart.title)}</title>'
        f'<desc id="{prefix}-desc">{html.escape(chart.description)}</desc>'
    )
    return re.sub(r"^<svg[^>]*>", lambda _: opening, svg, count=1)


def _sizes(model: ModelPart) -> Chart | None:
    wanted = (("packed_bytes", "packed"), ("unpacked_bytes", "unpacked"))
    rows = [
        {"method": name, "kind": kind, "value": _number(cell) / 1e6, "shown": cell.median.shown}
        for metric, kind in wanted
        for name, cell in _cells(model, "size", metric)
        if cell.median
    ]
    if not rows:
        return None
    kinds = [kind for _, kind in wanted]
    y = _methods(model, rows, grouped=True)
    encoding = {
        "y": y,
        "yOffset": {"field": "kind", "type": "nominal", "sort": kinds},
        "x": _axis("value", "MB"),
        "color": _colours("kind", dict(zip(kinds, (BLUE, SKY), strict=True))),
    }
    label = {**encoding, "text": {"field": "shown"}, "color": {"value": _TEXT}}
    return Chart(
        name="sizes",
        title=f"Packed and unpacked size of {model.model} by method",
        description="Two bars for each method: what travels, and what lands on disk, in MB. " + _same("size"),
        note="What travels, and what lands on disk.",
        table="size",
        spec=_spec(
            rows,
            height={"step": 17},
            layer=[
                {"mark": {"type": "bar"}, "encoding": encoding},
                {"mark": {"type": "text", "align": "left", "dx": 4, "fontSize": _FONT - 1}, "encoding": label},
            ],
        ),
    )


def _starts(model: ModelPart) -> Chart | None:
    states = [state for state in START_STATES if any(cell.median for _, cell in _cells(model, "start", "cold_start_s", state))]
    rows: list[dict[str, Any]] = []
    for state in states:
        for order, phase in enumerate(PHASES):
            for name, cell in _cells(model, f"phases-{state}", f"phase_{phase}_s", state):
                if cell.median:
                    part = {"phase": phase, "order": order, "seconds": _number(cell)}
                    rows.append({"method": name, "state": state, **part})
        for name, cell in _cells(model, "start", "cold_start_s", state):
            if cell.median:
                rows.append({"method": name, "state": state, **_interval(cell), "shown": cell.median.shown})
    if not states:
        return None
    y = _methods(model, rows)
    phases = [phase for phase in PHASES if any(row.get("phase") == phase for row in rows)]
    stack = {
        "y": y,
        "x": {**_axis("seconds", "s"), "stack": "zero"},
        "order": {"field": "order", "type": "quantitative"},
        "color": _colours("phase", {phase: PHASE_COLOURS[phase] for phase in phases}),
    }
    whisker = {"y": y, "x": {"field": "low", "type": "quantitative"}, "x2": {"field": "high"}}
    layer = [
        {
            "transform": [{"filter": "isValid(datum.phase)"}],
            "mark": {"type": "bar", "size": 20, "stroke": _PAGE, "strokeWidth": 1},
            "encoding": stack,
        },
        *_whiskers(whisker),
        {
            "transform": [{"filter": "isValid(datum.high)"}],
            "mark": {"type": "text", "align": "left", "dx": 7, "color": _TEXT, "fontSize": _FONT - 1},
            "encoding": {"y": y, "x": {"field": "high", "type": "quantitative"}, "text": {"field": "shown"}},
        },
    ]
    spec = _spec(rows)
    spec.pop("width")
    spec["facet"] = {
        "row": {
            "field": "state",
            "type": "nominal",
            "sort": states,
            "header": {"title": None, "orient": "top", "labelAnchor": "start", "labelFontWeight": "bold", "labelFontSize": _FONT, "labelColor": _TEXT},
        }
    }
    spec["spec"] = {"width": _WIDTH, "height": {"step": _STEP}, "layer": layer}
    spec["resolve"] = {"axis": {"x": "independent"}}
    return Chart(
        name="starts",
        title=f"Cold start of {model.model} by method, in phases",
        description="One bar for each method and cache state, from spawn to the first correct prediction, divided "
        "into the medians of its phases; the line is the 95 % interval of the median of the whole. " + _same("start"),
        note="Median of each phase; the line is the 95 % interval of the median of the whole start.",
        table="start",
        spec=spec,
    )


def _size_against_start(model: ModelPart) -> Chart | None:
    packed = {name: cell for name, cell in _cells(model, "size", "packed_bytes") if cell.median}
    rows = [
        {"method": name, "state": state, "size": _number(packed[name]) / 1e6, **_interval(cell)}
        for state in START_STATES
        for name, cell in _cells(model, "start", "cold_start_s", state)
        if cell.median and name in packed
    ]
    if len({row["method"] for row in rows}) < 2:
        return None
    states = [state for state in START_STATES if any(row["state"] == state for row in rows)]
    top = max(row["high"] for row in rows) * 1.08
    right = max(row["size"] for row in rows) * 1.08
    x = _axis("size", "packed size, MB", domain=[0, right])
    y = {**_axis("value", "cold start, s", domain=[0, top])}
    colour = _colours("state", dict(zip(states, (BLUE, ORANGE), strict=False)))
    shape = {"field": "state", "type": "nominal", "scale": {"domain": states, "range": ["circle", "diamond"]}, "legend": None}
    height = 240
    labels = _labels(rows, top=top, height=height, right=right)
    leader = {"type": "rule", "strokeWidth": 1, "color": _GRID, "strokeDash": [2, 2]}
    layer = [
        {
            "data": {"values": labels},
            "mark": leader,
            "encoding": {"x": x, "y": y, "x2": {"field": "end"}, "y2": {"field": "at"}},
        },
        {
            "mark": {"type": "rule", "strokeWidth": 1.5},
            "encoding": {"x": x, "y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}, "color": colour},
        },
        {"mark": {"type": "point", "filled": True, "size": 70, "opacity": 1}, "encoding": {"x": x, "y": y, "color": colour, "shape": shape}},
        {
            "data": {"values": labels},
            "mark": {"type": "text", "align": "left", "dx": 3, "color": _TEXT, "fontSize": _FONT - 1},
            "encoding": {"x": {"field": "end", "type": "quantitative"}, "y": {"field": "at", "type": "quantitative"}, "text": {"field": "method"}},
        },
    ]
    return Chart(
        name="size-start",
        title=f"Packed size against cold start of {model.model}",
        description="One point for each method and cache state; the line is the 95 % interval of the cold start. "
        "Nearer to the lower left corner is better. " + _same("size"),
        note="Lower left is better; the line is the 95 % interval of the cold start.",
        table="size",
        spec=_spec(rows, height=height, layer=layer),
    )


def _labels(rows: Sequence[dict[str, Any]], *, top: float, height: int, right: float) -> list[dict[str, Any]]:
    """Where the methods' names stand: right of the plot, beside their highest point, pushed apart where they collide."""
    highest: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["method"] not in highest or row["value"] > highest[row["method"]]["value"]:
            highest[row["method"]] = row
    gap = top * (_FONT + 3) / height
    placed: list[dict[str, Any]] = []
    above = top + gap
    for row in sorted(highest.values(), key=lambda each: (-each["value"], each["method"])):
        above = min(row["value"], above - gap)
        placed.append({"method": row["method"], "size": row["size"], "value": row["value"], "end": right, "at": above})
    floor = 0.0
    for label in reversed(placed):  # whoever was pushed below the plot goes back up
        label["at"] = max(label["at"], floor)
        floor = label["at"] + gap
    return placed


def _whiskers(encoding: Spec) -> list[Spec]:
    """The interval as a line with ends, over a bar."""
    low = {"y": encoding["y"], "x": encoding["x"]}
    high = {"y": encoding["y"], "x": {"field": "high", "type": "quantitative"}}
    valid = [{"filter": "isValid(datum.high)"}]
    tick = {"type": "tick", "color": _TEXT, "thickness": 1.5, "size": 9}
    return [
        {"transform": valid, "mark": {"type": "rule", "color": _TEXT, "strokeWidth": 1.5}, "encoding": encoding},
        {"transform": valid, "mark": tick, "encoding": low},
        {"transform": valid, "mark": tick, "encoding": high},
    ]


def _cells(model: ModelPart, table: str, metric: str, state: str = "") -> list[tuple[str, Cell]]:
    """The methods that answer rightly, under the default limits, with their cell."""
    found = model.table(table)
    pairs = found.column(metric, state) if found else []
    return [(row.method, cell) for row, cell in pairs if row.limits == "default" and row.failure is None]


def _number(cell: Cell) -> float:
    assert cell.median is not None and isinstance(cell.median.value, (int, float))  # asked only of cells with a value
    return float(cell.median.value)


def _interval(cell: Cell) -> dict[str, float]:
    assert cell.low is not None and cell.high is not None  # they come with the median
    return {"value": _number(cell), "low": float(cell.low.value or 0), "high": float(cell.high.value or 0)}


def _methods(model: ModelPart, rows: Sequence[dict[str, Any]], *, grouped: bool = False) -> Spec:
    """The methods that have a row, in the order of the plan, with room for their names in any font."""
    order = [name for name in model.methods if any(row["method"] == name for row in rows)]
    # The renderer measures with its own font, the page shows the reader's: so the room is counted in letters.
    room = min(_NAME, max(map(len, order))) * _FONT * 0.64 + 8
    axis = {"title": None, "ticks": False, "labelLimit": _NAME * _FONT * 0.64, "minExtent": room}
    scale: Spec = {"paddingInner": 0.25, "paddingOuter": 0.15} if grouped else {}
    return {"field": "method", "type": "nominal", "sort": order, "axis": axis, "scale": scale}


def _axis(field: str, title: str, domain: list[float] | None = None) -> Spec:
    scale: Spec = {"domain": domain, "nice": False} if domain else {"zero": True}
    return {"field": field, "type": "quantitative", "scale": scale, "axis": {"title": title, "tickCount": 5}}


def _colours(field: str, colours: dict[str, str]) -> Spec:
    legend = {"title": None, "orient": "top", "columns": 3, "symbolType": "square" if field != "state" else "circle"}
    scale = {"domain": list(colours), "range": list(colours.values())}
    return {"field": field, "type": "nominal", "scale": scale, "legend": legend}


def _spec(rows: Sequence[dict[str, Any]], **more: Any) -> Spec:
    words = {"labelColor": _TEXT, "titleColor": _TEXT, "labelFontSize": _FONT, "titleFontSize": _FONT}
    return {
        "$schema": SCHEMA,
        "background": "transparent",
        "padding": {"left": 2, "top": 2, "right": 56, "bottom": 2},
        "width": _WIDTH,
        "data": {"values": list(rows)},
        "config": {
            "font": "system-ui, sans-serif",
            "axis": {**words, "titleFontWeight": "normal", "gridColor": _GRID, "domainColor": _GRID, "tickColor": _GRID},
            "axisY": {"domain": False},
            "legend": {**words, "symbolStrokeWidth": 0, "columnPadding": 28, "rowPadding": 2},
            "view": {"stroke": None},
            "facet": {"spacing": 12},
        },
        **more,
    }


def _same(table: str) -> str:
    return f"The same numbers are in the table '{table}' of this model."



