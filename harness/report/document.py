"""A document as blocks of text, whichever format it is written in: what an appendix is made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.report.facts import Fact, Prose


@dataclass(frozen=True, kw_only=True)
class Ref:
    """A reference to a footnote; ``first`` where it is the first one to it."""

    number: int
    first: bool


@dataclass(frozen=True, kw_only=True)
class Code:
    """Something to type."""

    code: str


#: Prose that may refer to footnotes and name commands.
Text = tuple[str | Fact | Ref | Code, ...]


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading; the title of the document is of level 1."""

    level: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """A paragraph."""

    text: Text


@dataclass(frozen=True, kw_only=True)
class Bullets:
    """A list, which has at least one item."""

    items: tuple[Text, ...]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table; the first cell of a row is its head."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Text, ...], ...]


Block = Heading | Paragraph | Bullets | Grid


@dataclass(frozen=True, kw_only=True)
class Note:
    """A footnote: where a number is from. What does not apply is empty.

    ``limits`` are those that the instance ran under, where they are not the default.
    """

    number: int
    run: str
    model: str = ""
    method: str = ""
    limits: str = ""
    metric: str = ""
    state: str = ""
    n: Fact | None = None
    low: Fact | None = None
    high: Fact | None = None
    fidelity: str = ""
    text: Text


def joined(parts: Iterable[Text], between: str = ", ") -> Text:
    """Several texts as one."""
    found: list[str | Fact | Ref | Code] = []
    for part in parts:
        found += [between, *part] if found else part
    return tuple(found)


def plain(prose: Prose) -> Text:
    """Prose of a report, which has no footnotes."""
    return tuple(prose)
