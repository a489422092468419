"""A fact: one thing that a report shows and that can be computed again from the samples.

Everything in a report that comes from data is a :class:`Fact`: its exact value, the text that is
shown for it, and where it came from. The rest of a report is fixed words. So a checker can take
each shown text, find the fact by its id, and compute it again.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
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


def names(record: object) -> dict[str, str]:
    """A short name for the id of each fact in a record, counted in the order of reading.

    A page says it beside each number and its data says it again; ids, which tell where a number is from, would be
    half of a large report. The data tells that by where the fact stands in it.
    """
    return {known: f"f{place}" for place, known in enumerate(dict.fromkeys(fact.id for fact in walk(record)), start=1)}


def as_dict(record: Any, named: Mapping[str, str] | None = None) -> Any:
    """A record of a report as what JSON can hold; fields that are empty are left out.

    Each fact is called by its short name, of its own record's if no others are given.
    """
    named = names(record) if named is None else named
    return json.loads(json.dumps(_filled(record, named), allow_nan=False))


def _filled(record: Any, named: Mapping[str, str]) -> Any:
    if isinstance(record, Fact):
        told = {"id": named[record.id], "value": record.value}
        return told if record.shown == record.value else {**told, "shown": record.shown}
    if dataclasses.is_dataclass(record):
        fields = ((field.name, getattr(record, field.name)) for field in dataclasses.fields(record))
        return {name: _filled(value, named) for name, value in fields if value not in (None, "", ())}
    return [_filled(each, named) for each in record] if isinstance(record, (tuple, list)) else record


def embedded(table: dict[str, Any]) -> str:
    """``table`` as JSON that can stand in an HTML script block or comment: no ``<``, ``>`` or ``&`` in it."""
    dumped = json.dumps(table, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        dumped = dumped.replace(sign, f"\\u{ord(sign):04x}")
    return dumped
