"""A fact: one thing that a report shows and that can be computed again from the samples.

Everything in a report that comes from data is a :class:`Fact`: its exact value, the text that is
shown for it, and where it came from. The rest of a report is fixed words. So a checker can take
each shown text, find the fact by its id, and compute it again.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

Statistic = Literal[
    "median",
    "low",
    "high",
    "n",
    "ratio",
    "ratio-low",
    "ratio-high",
    "failed",
    "dropped",
    "drift",
    "value",
    "text",
]

FactValue = float | int | str | bool | None


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One shown thing. ``value`` is exact, ``shown`` is rounded; ``against`` is what a ratio divides by."""

    id: str
    statistic: Statistic
    value: FactValue
    shown: str
    run: str = ""
    model: str = ""
    method: str = ""
    metric: str = ""
    state: str = ""
    against: str = ""


#: A sentence: fixed words, with facts between them.
Prose = tuple[str | Fact, ...]


def identity(*parts: str) -> str:
    """An id from its parts; empty ones are left out, and what could not stand in an attribute is quoted."""
    return ":".join(quote(part, safe="-_.@") for part in parts if part)


def text(value: str, *where: str, shown: str = "") -> Fact:
    """A fact that is words: a reason, a digest, a tool's version; ``shown`` where not all of it is shown."""
    return Fact(id=identity(*where), statistic="text", value=value, shown=shown or value)


def walk(record: object) -> Iterator[Fact]:
    """Every fact in a record of a report, in the order of reading; one that is shown twice comes twice."""
    if isinstance(record, Fact):
        yield record
    elif dataclasses.is_dataclass(record):
        for field in dataclasses.fields(record):
            yield from walk(getattr(record, field.name))
    elif isinstance(record, (tuple, list)):
        for each in record:
            yield from walk(each)


def sentence(prose: Prose) -> str:
    """A sentence as plain text."""
    return "".join(part.shown if isinstance(part, Fact) else part for part in prose)


def as_dict(record: Any) -> dict[str, Any]:
    """A record of a report as what JSON can hold; fields that are empty are left out."""
    plain: dict[str, Any] = json.loads(json.dumps(_filled(record), allow_nan=False))
    return plain


def _filled(record: Any) -> Any:
    if isinstance(record, Fact):
        # Where it came from stands in its id; said again in fields of their own it is most of a large report.
        told = {"id": record.id, "value": record.value}
        return told if record.shown == record.value else {**told, "shown": record.shown}
    if dataclasses.is_dataclass(record):
        fields = ((field.name, getattr(record, field.name)) for field in dataclasses.fields(record))
        return {name: _filled(value) for name, value in fields if value not in (None, "", ())}
    return [_filled(each) for each in record] if isinstance(record, (tuple, list)) else record


def embedded(table: dict[str, Any]) -> str:
    """``table`` as JSON that can stand in an HTML script block or comment: no ``<``, ``>`` or ``&`` in it."""
    dumped = json.dumps(table, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        dumped = dumped.replace(sign, f"\\u{ord(sign):04x}")
    return dumped
