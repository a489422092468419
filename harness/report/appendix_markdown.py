"""An appendix as Markdown: front matter for people to fill in, GitHub's footnotes, the data in a comment at the end."""

from __future__ import annotations

from collections.abc import Iterator

from harness.report import facts
from harness.report.appendix import Appendix
from harness.report.document import Block, Bullets, Code, Grid, Heading, Paragraph, Ref, Text
from harness.report.facts import Fact
from harness.report.markdown import CLOSING, OPENING, Show, code, escape, escape_within, grid

#: What stands around the front matter.
FENCE = "---"


def render(appendix: Appendix, show: Show | None = None) -> str:
    """The whole document; ``show`` (escaped text by default) gives the text of each fact."""
    shown = show or (lambda fact: escape(fact.shown))
    lines = [FENCE, *(f'{name}: "{value}"' for name, value in appendix.placeholders), FENCE, ""]
    lines += [f"# {escape(appendix.title)}"]
    for block in appendix.blocks:
        lines += ["", *_block(block, shown)]
    lines += ["", *(f"[^{note.number}]: {_text(note.text, shown)}" for note in appendix.notes)]
    body = "\n".join(lines)
    return f"{body}\n\n{OPENING}{facts.embedded(appendix.data())}{CLOSING}\n"


def front_matter(page: str) -> int:
    """How many lines of ``page`` are front matter, which belongs to whoever decides; 0 where there is none."""
    lines = page.splitlines()
    if not lines or lines[0] != FENCE or FENCE not in lines[1:]:
        return 0
    return lines.index(FENCE, 1) + 1


def _block(block: Block, show: Show) -> Iterator[str]:
    if isinstance(block, Heading):
        yield f"{'#' * block.level} {escape(block.text)}"
    elif isinstance(block, Paragraph):
        yield _text(block.text, show)
    elif isinstance(block, Bullets):
        yield from (f"* {_text(item, show)}" for item in block.items)
    else:
        yield from _grid(block, show)


def _grid(block: Grid, show: Show) -> Iterator[str]:
    if block.caption:
        yield from (f"### {escape(block.caption)}", "")
    yield from grid([escape(head) for head in block.heads], ([_text(cell, show) for cell in row] for row in block.rows))


def _text(text: Text, show: Show) -> str:
    return "".join(_part(part, show) for part in text)


def _part(part: str | Fact | Ref | Code, show: Show) -> str:
    if isinstance(part, Fact):
        return show(part)
    if isinstance(part, Ref):
        return f"[^{part.number}]"
    return code(part.code) if isinstance(part, Code) else escape_within(part)
