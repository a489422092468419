"""Quantities and names as a reader says them."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING

from harness.metrics import METRICS

if TYPE_CHECKING:
    from harness.metrics import Unit

#: One megabyte here is 10^6 bytes, as in the reports; it is the stricter reading of a target's "512 MB".
MB = 1_000_000

#: What a target can have, in words.
FACILITIES = {
    "python": "a Python installation",
    "container-engine": "a container engine",
    "aws": "an account at Amazon Web Services",
    "google-cloud": "an account at Google Cloud",
    "azure": "an account at Azure",
}


def facility(name: str) -> str:
    """What a target has, in words."""
    return FACILITIES.get(name, name)


def measure(metric: str, state: str = "") -> str:
    """A metric by its title, with the cache state where it has one: ``cold start (disk-cold)``."""
    title = METRICS[metric].title if metric in METRICS else metric
    return f"{title} ({state})" if state else title


def quantity(value: float, unit: Unit, digits: int = 3) -> str:
    """``value`` to at most ``digits`` significant digits, in the units of the reports: MB; s or ms; counts in full."""
    if unit == "bool":
        return {0.0: "no", 1.0: "yes"}.get(value, f"{value:.{digits}g}")
    if unit == "bytes":
        return f"{_plain(value / MB, digits)} MB"
    if unit == "s":
        # What would be rounded to 1,000 ms is 1 s.
        milli = 0 < abs(float(f"{value:.{digits}g}")) < 1
        return f"{_plain(value * 1000, digits)} ms" if milli else f"{_plain(value, digits)} s"
    if unit == "USD":
        return f"{_plain(value, digits)} USD"
    return f"{value:,.0f}" if float(value).is_integer() else _plain(value, digits)


def share(value: float) -> str:
    """A probability or share as whole percent; never ``0 %`` or ``100 %`` for what is merely close to it."""
    shown = f"{value:.0%}"
    if shown == "0%" and value > 0:
        return "< 1 %"
    if shown == "100%" and value < 1:
        return "> 99 %"
    return shown.replace("%", " %")


def apart(one: float, other: float, unit: Unit) -> tuple[str, str]:
    """Both values with as many digits as it takes for different values to read differently."""
    digits, most = 3, 17  # seventeen digits tell any two floats apart
    while one != other and digits < most and quantity(one, unit, digits) == quantity(other, unit, digits):
        digits += 1
    return quantity(one, unit, digits), quantity(other, unit, digits)


def listing(items: Iterable[str], last: str = "and") -> str:
    """``a, b and c``."""
    *most, end = items
    return f"{', '.join(most)} {last} {end}" if most else end


def _plain(value: float, digits: int) -> str:
    """Significant digits without an exponent, which ``g`` alone would write from 1e6 on: 1234567 is ``1,230,000``."""
    return format(Decimal(f"{value:.{digits}g}"), ",f")
