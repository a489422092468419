"""How numbers are shown: the only place where they are rounded.

Three significant digits; sizes in MB (10^6 bytes), times in s, ms or µs, counts in full. An interval is
shown with the unit and the decimals of its median, so that the three can be compared at a glance.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from harness.metrics import Unit
from harness.recommend import words

DIGITS = 3

#: From here on a time is shown in seconds, or milliseconds: what is just below would round to 1,000 of the smaller.
_SECOND, _MILLI = 0.9995, 0.0009995

#: What a terminal obeys and never shows: colours, moves of the cursor.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")

#: Where a ratio that is not 1 stops being written out.
_MOST_PLACES = 9

#: Between the ends of an interval: an en dash, without spaces.
DASH = "\N{EN DASH}"

#: A probability or share as whole percent, as the recommendation's own sentences say it.
share = words.share

#: A number that a scenario gives: without the trailing zeros that say how exactly a value was measured.
given = words.quantity

#: After a ratio.
TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How the values of one row of numbers are shown: divided by ``factor``, to ``places`` decimals."""

    factor: float
    suffix: str
    places: int

    def number(self, value: float) -> str:
        """``value`` without its unit; places below zero round to tens, hundreds, ..."""
        rounded = round(value / self.factor, self.places)
        return f"{rounded + 0.0:,.{max(self.places, 0)}f}"

    def full(self, value: float) -> str:
        """``value`` with its unit."""
        return f"{self.number(value)} {self.suffix}" if self.suffix else self.number(value)


def scale(reference: float, unit: Unit) -> Scale:
    """The scale on which ``reference`` (in the metric's own unit) has three significant digits."""
    if unit == "bytes":
        return Scale(factor=1e6, suffix="MB", places=_places(reference / 1e6))
    if unit == "s":
        size = abs(reference)
        factor, suffix = (1.0, "s") if size >= _SECOND else (1e-3, "ms") if size >= _MILLI or not size else (1e-6, "µs")
        return Scale(factor=factor, suffix=suffix, places=_places(reference / factor))
    if unit == "1/s":
        return Scale(factor=1.0, suffix="/s", places=_places(reference))
    if unit == "USD":
        return Scale(factor=1.0, suffix="USD", places=_places(reference))
    if unit == "share":
        return Scale(factor=0.01, suffix="%", places=1)
    if unit == "n":
        return Scale(factor=1.0, suffix="", places=0 if float(reference).is_integer() else 1)
    return Scale(factor=1.0, suffix="", places=2)


def shown(value: float, unit: Unit) -> str:
    """``value`` alone, with its unit: ``52.1 MB``, ``612 ms``, ``1,204``, ``yes``."""
    if unit == "bool":
        return "yes" if value == 1 else "no" if value == 0 else f"{share(value)} of the time"
    return scale(value, unit).full(value)


def ratio(value: float, *, exact: bool = False) -> str:
    """A ratio as a factor, to three digits. Where it is ``exact``, any change is a change: 1.0004 is not 1.00."""
    places = max(_places(value), 0)
    while exact and value != 1 and places < _MOST_PLACES and round(value, places) == 1:
        places += 1
    return f"{value:,.{places}f}{TIMES}"


def score(value: float) -> str:
    """A worth between 0 and 1, to three decimals."""
    return f"{value + 0.0:.3f}"


def plain(value: object) -> str:
    """A value of a manifest (text, number, list, nothing) as one line of text."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(each) for each in value)
    return line(str(value))


def keyed(key: str, value: object) -> str:
    """As :func:`plain`, but by the unit that ``key`` ends with: ``memory_bytes``, ``timeout_s``."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if key.endswith("_bytes"):
            return shown(value, "bytes")
        if key.endswith("_s"):
            return shown(value, "s")
    return plain(value)


def brief(text: str, limit: int = 200) -> str:
    """The first line of ``text`` (a tool's log may follow it), cut at a word where even that is long."""
    first, *more = [found for found in map(line, text.splitlines()) if found] or [""]
    if len(first) > limit:
        cut = first[:limit].rsplit(" ", 1)[0]
        return f"{cut} …"
    return f"{first} …" if more else first


def line(text: str) -> str:
    """``text`` on one line, without control characters (tools colour their messages)."""
    text = _ESCAPES.sub("", text)
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _places(value: float) -> int:
    """Decimals that give three significant digits after rounding (9.996 is shown as 10.0)."""
    if not value or not math.isfinite(value):
        return 0
    rounded = float(f"{abs(value):.{DIGITS}g}")
    return DIGITS - 1 - math.floor(math.log10(rounded))
