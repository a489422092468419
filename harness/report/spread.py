"""How the reference models spread over what drives packaging: each two of the drivers against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import MissingComponent
from harness.report import charts
from harness.spec import synthetic

if TYPE_CHECKING:
    from harness.measure.profile import Profile

_SIDE, _GAP = 132, 10  # of a panel, in pixels
_INK, _LINES = "#333333", "#dddddd"


@dataclass(frozen=True, kw_only=True)
class _Driver:
    """``floor`` is what less is drawn as, since the scales are logarithmic."""

    name: str
    title: str
    floor: float


_DRIVERS = (
    _Driver(name="installed", title="dependencies, MB", floor=0.1),
    _Driver(name="files", title="their files", floor=10),
    _Driver(name="weights", title="weights, MB", floor=0.01),
    _Driver(name="imports", title="import, s", floor=0.01),
    _Driver(name="load", title="load, s", floor=0.001),
    _Driver(name="memory", title="memory, MB", floor=1),
)


def svg(profiles: Sequence[Profile]) -> str:
    """A picture that stands alone; MissingComponent where vl-convert is not installed."""
    try:
        import vl_convert
    except ImportError as error:
        raise MissingComponent("charts need the package vl-convert-python", remedy=charts.REMEDY) from error
    drawn: str = vl_convert.vegalite_to_svg(specification(profiles), vl_version=charts.VEGA_LITE, allowed_base_urls=[])
    return drawn


def specification(profiles: Sequence[Profile]) -> dict[str, Any]:
    """The Vega-Lite specification: a row for each driver but the first, against every driver before it."""
    last = len(_DRIVERS) - 1
    rows = [
        {
            "hconcat": [_panel(x, y, below=row == last, left=column == 0) for column, x in enumerate(_DRIVERS[:row])],
            "spacing": _GAP,
        }
        for row, y in enumerate(_DRIVERS)
        if row > 0
    ]
    return {
        "$schema": charts.SCHEMA,
        "title": {
            "text": "What drives packaging: each against each other, a point for each model",
            "subtitle": "Logarithmic scales; what is less than a scale's first mark stands on its edge.",
            "anchor": "start",
        },
        "background": "white",
        "padding": 12,
        "data": {"values": [_row(profile) for profile in profiles]},
        "vconcat": rows,
        "spacing": _GAP,
        "config": {
            "axis": {"gridColor": _LINES, "labelColor": _INK, "titleColor": _INK, "titleFontWeight": "normal"},
            "view": {"stroke": _LINES},
            "font": "sans-serif",
        },
    }


def _row(profile: Profile) -> dict[str, Any]:
    memory = profile.median("peak_resident_bytes", "page-warm")
    known = {
        "installed": profile.installed.total.bytes / 1e6,
        "files": float(profile.installed.total.files),
        "weights": profile.weights.bytes / 1e6,
        "imports": profile.median("imports_s", "page-warm"),
        "load": profile.median("load_s", "page-warm"),
        "memory": memory / 1e6 if memory is not None else None,
    }
    values = {one.name: max(known[one.name] or 0.0, one.floor) for one in _DRIVERS}
    kind = "generated" if synthetic.is_name(profile.model) else "natural"
    return {"model": profile.model, "kind": kind, **values}


def _panel(x: _Driver, y: _Driver, *, below: bool, left: bool) -> dict[str, Any]:
    kinds = {"natural": charts.BLUE, "generated": charts.ORANGE}
    return {
        "width": _SIDE,
        "height": _SIDE,
        "mark": {"type": "point", "filled": True, "size": 45, "opacity": 0.85},
        "encoding": {
            "x": _axis(x, shown=below),
            "y": _axis(y, shown=left),
            "shape": {"field": "kind", "type": "nominal", "scale": {"domain": list(kinds)}, "title": None},
            "color": {
                "field": "kind",
                "type": "nominal",
                "scale": {"domain": list(kinds), "range": list(kinds.values())},
                "title": None,
            },
        },
    }


def _axis(driver: _Driver, *, shown: bool) -> dict[str, Any]:
    axis = {
        "title": driver.title if shown else None,
        "labels": shown,
        "values": [10.0**power for power in range(-3, 7)],
        "format": ",~g",
    }
    return {
        "field": driver.name,
        "type": "quantitative",
        "scale": {"type": "log", "nice": True},
        "axis": axis,
    }
