"""Taking a report apart again: its data, its shown facts, its words, its charts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Literal

from harness.report import markdown


@dataclass(frozen=True, kw_only=True)
class Token:
    """A part of a page: a shown fact, words, a tag with its attributes, or a part of a chart."""

    kind: Literal["fact", "words", "tag", "chart"]
    line: int
    text: str
    id: str = ""


def is_html(page: str) -> bool:
    """Whether it is an HTML page; else it is taken for Markdown."""
    return page.lstrip()[:15].lower().startswith(("<!doctype html", "<html"))


def embedded(page: str) -> str | None:
    """The JSON text that a report carries, or None."""
    if is_html(page):
        return next((token.text for token in _parts(page) if token.id == "contents"), None)
    start = page.rfind(markdown.OPENING)
    if start < 0:
        return None
    return page[start + len(markdown.OPENING) : page.rfind(markdown.CLOSING)]


def facts(page: str) -> Iterator[Token]:
    """The shown facts of an HTML page."""
    return (token for token in _parts(page) if token.kind == "fact")


def tokens(page: str) -> list[Token]:
    """All parts of an HTML page but its embedded data."""
    return [token for token in _parts(page) if token.id != "contents"]


def _parts(page: str) -> list[Token]:
    parser = _Parser()
    parser.feed(page)
    parser.close()
    parser.flush()
    return parser.found


class _Parser(HTMLParser):
    """Collects tokens; spaces are worth one space, as in a browser."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[Token] = []
        self._text: list[str] = []
        self._line = 1
        self._fact: str | None = None
        self._data = False
        self._chart = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.flush()
        if "data-id" in given and not self._chart:
            self._fact = given["data-id"]
        elif tag == "script" and given.get("id") == "contents":
            self._data = True
        self._chart += tag == "svg"
        self._tag(tag, given)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.flush()
        self._tag(tag, {name: value or "" for name, value in attrs})

    # A shown fact holds words only: a tag in it, which could hide some of them, ends it too early and is found.
    def handle_endtag(self, tag: str) -> None:
        self.flush()
        self._add("tag", f"</{tag}>")
        self._chart -= tag == "svg"
        self._fact, self._data = None, False

    def handle_data(self, data: str) -> None:
        if not self._text:
            self._line = self.getpos()[0]
        self._text.append(data)

    def handle_comment(self, data: str) -> None:
        self._add("tag", f"<!--{data}-->")

    def flush(self) -> None:
        """Close the words that were being collected."""
        text = "".join(self._text)
        self._text.clear()
        if self._data:
            self.found.append(Token(kind="words", line=self._line, text=text, id="contents"))
        elif self._fact is not None:
            self._add("fact", " ".join(text.split()), self._fact)
        elif text.strip():
            self._add("chart" if self._chart else "words", " ".join(text.split()))

    def _tag(self, tag: str, given: dict[str, str]) -> None:
        written = " ".join([tag, *(f'{name}="{value}"' for name, value in sorted(given.items()))])
        self._add("chart" if self._chart else "tag", f"<{written}>")

    def _add(self, kind: Literal["fact", "words", "tag", "chart"], text: str, name: str = "") -> None:
        line = self._line if kind in ("fact", "words") else self.getpos()[0]
        self.found.append(Token(kind=kind, line=line, text=_even(text), id=name))


def _even(text: str) -> str:
    return re.sub(r"\s+", " ", text)
