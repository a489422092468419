"""The last section of an appendix: the evidence, each number with its footnote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.report.comparison import Cell, Column, Row, Table
from harness.report.contents import ModelPart, ReportContents
from harness.report.document import Block, Bullets, Grid, Heading, Paragraph, Text, joined
from harness.report.footnotes import Footnotes
from harness.report.numbers import DASH
from harness.report.provenance import Gap, Item, RunPart

#: What of ``run.json`` is of one model, and only shown where it is this one.
_OF_A_MODEL = ("Models", "Artifacts")


def blocks(contents: ReportContents, notes: Footnotes) -> Iterator[Block]:
    """MADR's section "More Information"."""
    model, advice = contents.models[0], contents.advice[0]
    yield Heading(level=2, text="More Information")
    yield Paragraph(
        text=(
            f"Made {contents.made_at} by harness {contents.harness_version}. Medians; their footnotes have the rest.",
        )
    )
    yield Paragraph(
        text=(
            (
                "Few: too few replicates for a headline number. Unstable: the 95 % interval is wider than 5 % of the "
                "median. ✗: no right answer."
            ),
        )
    )
    for table in model.tables:
        yield _table(table, notes)
    if model.gaps:
        yield Heading(level=3, text="What failed, is absent or was dropped")
        yield Bullets(items=tuple(_gap(gap, notes) for gap in model.gaps))
    if model.conditions:
        yield Heading(level=3, text="How calm the machine was")
        yield Bullets(items=tuple(_conditions(model, notes)))
    yield Heading(level=3, text="The article’s rule")
    yield Paragraph(text=("Agreement: ", advice.article.agreement, ". ", advice.article.text))
    if advice.article.corrections:
        yield Bullets(items=tuple((correction,) for correction in advice.article.corrections))
    for run in contents.runs:
        yield from _run(run, model, notes)


def _table(table: Table, notes: Footnotes) -> Grid:
    heads = [f"{c.title} ({c.state})" if c.state and not table.of_one_state else c.title for c in table.columns]
    return Grid(
        caption=table.caption,
        heads=("method", *heads),
        rows=tuple(_row(row, table.columns, notes) for row in table.rows),
    )


def _row(row: Row, columns: Sequence[Column], notes: Footnotes) -> tuple[Text, ...]:
    limits = f" ({row.limits})" if row.limits != "default" else ""
    name: Text = (f"{row.method}{limits}{' ✗' if row.failure else ''}",)
    if row.blank and row.failure:
        return (name, (row.failure, *notes.outcome(row.method)), *(((DASH,),) * (len(columns) - 1)))
    cells = (_cell(row, column, cell, notes) for column, cell in zip(columns, row.cells, strict=True))
    return (name, *cells)


def _cell(row: Row, column: Column, cell: Cell, notes: Footnotes) -> Text:
    if cell.median is None:
        return (cell.absent,) if cell.absent else (DASH,)
    marks = [mark for mark in (cell.fidelity, *cell.marks) if mark != "measured"]
    best = {"best": ["best"], "tied": ["tied with best"]}.get(cell.standing, [])
    said = f", {', '.join([*best, *marks])}" if best or marks else ""
    return (cell.median, *notes.measured(row.method, column.metric, column.state, row.limits), said)


def _gap(gap: Gap, notes: Footnotes) -> Text:
    state = f" ({gap.state})" if gap.state else ""
    said: list[Text] = [(fact,) for fact in [gap.whole or gap.why] if fact]
    said += [("failed samples: ", gap.failed)] if gap.failed else []
    said += [("dropped samples: ", gap.dropped)] if gap.dropped else []
    return (f"{gap.method or 'the machine'}, {gap.title}{state}: ", *joined(said, "; "), *notes.gap(gap))


def _conditions(model: ModelPart, notes: Footnotes) -> Iterator[Text]:
    for item in model.conditions:
        method = f" ({item.method})" if item.method in model.methods else ""
        text: Text = (f"{item.title}{method}: ", item.median, *notes.condition(item))
        if item.drift:
            text = (*text, "; late rounds to early ones ", item.drift, *notes.condition(item))
        if item.spread:
            text = (*text, "; slowest round to fastest ", item.spread, *notes.condition(item))
        yield text


def _run(run: RunPart, model: ModelPart, notes: Footnotes) -> Iterator[Block]:
    yield Heading(level=3, text=f"Provenance: run {run.run}")
    yield Paragraph(text=("Everything in this table is from the run’s own record.", *notes.manifest()))
    rows = [
        ((group.title,), (item.label,), (item.fact,))
        for group in run.groups
        for item in group.items
        if group.title not in _OF_A_MODEL or _is_of(item, model.model)
    ]
    yield Grid(caption="", heads=("", "what", "value"), rows=tuple(rows))


def _is_of(item: Item, model: str) -> bool:
    """Keys of these groups begin with the model's name: ``digits-forest``, ``digits-forest/venv``."""
    return item.label == model or item.label.startswith((f"{model} ", f"{model}/"))
