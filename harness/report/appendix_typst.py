"""An appendix as PDF, set by Typst: a decision record that can be attached, printed and read aloud.

Typst comes as a Python wheel with its own fonts (the ``pdf`` extra), so no system package is needed, and the same
appendix gives the same bytes on every machine. Everything that is shown is handed over as a string of Typst's code
mode, never as markup, so no text can become an instruction. The data is attached to the file, as it is embedded in the
other formats, for ``harness verify``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from harness.errors import MissingComponent, printable
from harness.report import facts
from harness.report.appendix import Appendix
from harness.report.document import Block, Bullets, Code, Grid, Heading, Note, Paragraph, Ref, Text
from harness.report.facts import Fact

REMEDY = "pip install 'ml-packaging-harness[pdf]'"

#: The name of the attached data.
DATA = "evidence.json"

#: Columns from which on a table is set in smaller letters.
_MANY_COLUMNS = 6

_PREAMBLE = """
#set page(
  paper: "a4",
  margin: (x: 2cm, top: 2.2cm, bottom: 2cm),
  footer: context align(center, text(8pt, fill: luma(90), counter(page).display("1 / 1", both: true))),
)
#set text(font: "Libertinus Serif", size: 10pt, lang: "en")
#set par(leading: 0.6em, spacing: 0.9em)
#set heading(numbering: none)
#show heading.where(level: 1): set text(18pt)
#show heading.where(level: 2): it => block(above: 1.6em, below: 0.8em, sticky: true, text(14pt, it.body))
#show heading.where(level: 3): it => block(above: 1.2em, below: 0.6em, sticky: true, text(11pt, it.body))
#show link: set text(fill: rgb("#0b5cad"))
#set list(spacing: 0.6em, marker: "–")
#let ref(number) = super(link(label("note-" + str(number)), str(number)))
"""


def source(appendix: Appendix) -> str:
    """The document in Typst's language."""
    made = [
        f"#set document(title: {_quoted(appendix.title)}, author: {_quoted('ml-packaging-harness')})",
        _PREAMBLE,
        (
            f'#pdf.attach("{DATA}", bytes(sys.inputs.data), relationship: "data", mime-type: "application/json", '
            'description: "Everything this document shows, for harness verify")'
        ),
        _call("heading", _quoted(appendix.title), level="1"),
        *(f"#par[{_strong(name)} {_string(value)}]" for name, value in appendix.placeholders),
    ]
    landscape = False
    for block in appendix.blocks:
        # The evidence is tables from here on, and they are wide.
        if not landscape and isinstance(block, Heading) and block.text == "More Information":
            landscape = True
            made.append("#set page(flipped: true)")
        made += _block(block)
    made += [_call("heading", _quoted("Footnotes"), level="2"), "#set text(8pt)"]
    made += [_note(note) for note in appendix.notes]
    return "\n".join(made) + "\n"


def render(appendix: Appendix) -> bytes:
    """The PDF. MissingComponent where Typst is not installed."""
    try:
        import typst
    except ImportError as error:
        raise MissingComponent("the PDF needs the package typst", remedy=REMEDY) from error
    made: bytes = typst.compile(
        source(appendix).encode(),
        ignore_system_fonts=True,
        sys_inputs={"data": facts.embedded(appendix.data())},
        timestamp=_made_at(appendix),
        pdf_standards=["a-3a", "ua-1"],
    )
    return made


def _made_at(appendix: Appendix) -> datetime:
    try:
        return datetime.fromisoformat(appendix.made_at)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Heading):
        yield _call("heading", _quoted(block.text), level=str(block.level))
    elif isinstance(block, Paragraph):
        yield f"#par[{_text(block.text)}]"
    elif isinstance(block, Bullets):
        yield "#list(" + ", ".join(f"[{_text(item)}]" for item in block.items) + ",)"
    else:
        yield from _grid(block)


def _grid(block: Grid) -> Iterator[str]:
    if block.caption:
        yield _call("heading", _quoted(block.caption), level="3")
    size = "7pt" if len(block.heads) > _MANY_COLUMNS else "8.5pt"
    heads = ", ".join(f"table.cell[{_strong(head)}]" for head in block.heads)
    rows = ",\n  ".join(", ".join(f"[{_text(cell)}]" for cell in row) for row in block.rows)
    yield (
        f"#block[#set text({size})\n#set par(leading: 0.45em)\n#table(\n"
        f"  columns: {len(block.heads)}, stroke: (x, y) => (bottom: 0.4pt + luma(190)), inset: (x: 3pt, y: 4pt),\n"
        f"  align: left + top,\n  table.header({heads}),\n  {rows},\n)]"
    )


def _note(note: Note) -> str:
    return f'#par[#text(weight: "bold", {_quoted(str(note.number))}) {_text(note.text)}] <note-{note.number}>'


def _text(text: Text) -> str:
    made, before = [], None
    for part in text:
        # Two references in a row would read as one number.
        made.append("#super[,]" if isinstance(part, Ref) and isinstance(before, Ref) else "")
        made.append(_part(part))
        before = part
    return "".join(made)


def _part(part: str | Fact | Ref | Code) -> str:
    if isinstance(part, Fact):
        return _string(part.shown)
    if isinstance(part, Ref):
        return f"#ref({part.number})"
    return f"#raw({_quoted(part.code)})" if isinstance(part, Code) else _string(part)


def _strong(text: str) -> str:
    return f"#strong({_quoted(text)})"


def _string(text: str) -> str:
    """Words that stand between brackets: a string in code mode, whose spaces at its ends are kept."""
    return f"#{_quoted(text)};" if text else ""


def _call(name: str, *content: str, **options: str) -> str:
    return f"#{name}({', '.join([*(f'{key}: {value}' for key, value in options.items()), *content])})"


def _quoted(text: str) -> str:
    """A string literal of Typst: only the backslash and the quote mean something in it."""
    return '"' + printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
