"""Printing: tables and messages for people, JSON for machines, progress on standard error."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from harness.errors import BadInput, HarnessError, one_line, printable

if TYPE_CHECKING:
    from harness.spec.model import Model

_FEW_SECONDS, _MANY_MINUTES = 90, 100
_SILENT_S = 120.0  # a log that says nothing for longer looks like a run that hangs

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines instead of a table.")


def results_option(command: Any) -> Any:
    """``--results DIR``."""
    return click.option(
        "--results",
        type=click.Path(path_type=None, file_okay=False),
        help="The folder that runs are in. [default: HARNESS_RESULTS, else results/]",
    )(command)


def format_option(*kinds: str, default: str) -> Callable[[Any], Any]:
    """``--format``; where it is left out, the suffix of ``--out`` says it: ``tree.svg`` is meant to be an SVG."""

    def chosen(context: click.Context, _option: click.Parameter, kind: str | None) -> str:
        out = context.params.get("out")
        suffix = out.suffix.removeprefix(".").lower() if out is not None else ""
        return kind or (suffix if suffix in kinds else default)

    told = f"[default: the suffix of --out, else {default}]"
    return click.option("--format", "kind", type=click.Choice(kinds), callback=chosen, help=told)


def out_option(told: str) -> Callable[[Any], Any]:
    """``--out FILE``; eager, so that :func:`format_option` knows it."""

    def checked(_context: click.Context, _option: click.Parameter, out: Path | None) -> Path | None:
        # A file is put in its place, so a device, a pipe or a link there would be gone.
        if out is not None and os.path.lexists(out) and (out.is_symlink() or not out.is_file()):
            what = "a link" if out.is_symlink() else "no file"
            raise BadInput(f"is {what}", key="--out", value=str(out), remedy="name a file, or a new one")
        return out

    return click.option("--out", type=click.Path(path_type=Path), is_eager=True, callback=checked, help=told)


def say(text: str = "") -> None:
    """A line on standard output; nothing in it is obeyed by a terminal."""
    click.echo(printable(text))


def note(text: str) -> None:
    """A line on standard error: said to people, in nobody's way."""
    click.echo(printable(text), err=True)


def note_ceilings(*models: Model) -> None:
    """Say of each model where it asks for more than this machine allows."""
    from harness import ceiling

    for model in models:
        for text in ceiling.bounded(model.file.resources).told:
            note(f"{model.name} {text}")


def as_json(value: Any) -> None:
    """``value`` as JSON on standard output, exactly; what a terminal would obey is escaped as JSON does it."""
    click.echo(_safe(json.dumps(value, indent=2, default=str, allow_nan=False, ensure_ascii=False)))


def _safe(text: str) -> str:
    """JSON that says the same in signs that are shown as they are, and that the output can encode."""
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(
        sign if sign == "\n" or (encoding == "utf8" and printable(sign) == sign) else json.dumps(sign)[1:-1]
        for sign in text
    )


def duration(seconds: float) -> str:
    """So many seconds, minutes or hours, as people say it."""
    if seconds < _FEW_SECONDS:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < _MANY_MINUTES else f"{seconds / 3600:.1f} h"


def width() -> int:
    """How many letters a line has: the terminal's, ``COLUMNS``, else 160, where the output is no terminal."""
    return shutil.get_terminal_size((160, 24)).columns if sys.stdout.isatty() or "COLUMNS" in os.environ else 160


def verbose() -> bool:
    """Whether the user asked for more with ``-v``."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.find_root().params.get("verbose"))


def item(text: str, *, indent: int = 2, mark: str = "- ") -> None:
    """A line of a list, wrapped to the terminal."""
    head = " " * indent + mark
    console_width = min(width(), 120)
    say(textwrap.fill(printable(text), console_width, initial_indent=head, subsequent_indent=" " * len(head)))


#: What :func:`table` puts between two columns, and at both ends together, in letters.
_GAP, _EDGES = 3, 2


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """A table as wide as the terminal, or as wide as it needs where the output is not one."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    heading = Text(printable(title)) if title else None
    shown = Table(title=heading, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        # What a row is called stays whole: it is copied into the next command.
        justify: Literal["left", "right"] = "right" if number in right else "left"
        shown.add_column(Text(printable(column)), justify=justify, overflow="fold", no_wrap=number == 0)
    for row in rows:
        shown.add_row(*(Text(printable(cell)) for cell in row))
    Console(width=width(), highlight=False).print(shown)


def blocks(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table whose first column names the rows and whose others are numbers, broken into blocks that fit the width.

    The first column is repeated in each block; a row without a number in a block is left out of it.
    """
    from rich.cells import cell_len

    rows = [[printable(cell) for cell in row] for row in rows]  # before they are measured
    cells = [max((cell_len(row[number]) for row in rows), default=0) for number in range(len(columns))]
    widths = [max(cell, cell_len(column)) for cell, column in zip(cells, columns, strict=True)]
    if sum(widths) + _GAP * (len(columns) - 1) > width() - _EDGES:  # headings in several lines, where that helps
        words = [max(map(cell_len, column.split(" "))) for column in columns]
        widths = [max(pair) for pair in zip(cells, words, strict=True)]
    heads = [
        "\n".join(textwrap.wrap(column, size, break_on_hyphens=False) or [""])
        for column, size in zip(columns, widths, strict=True)
    ]
    begin = 1
    while begin < len(columns):
        end = begin + 1
        while (
            end < len(columns) and widths[0] + sum(_GAP + each for each in widths[begin : end + 1]) <= width() - _EDGES
        ):
            end += 1
        chosen = (0, *range(begin, end))
        kept = [[row[number] for number in chosen] for row in rows if any(row[begin:end])]
        if kept:
            table(title, [heads[number] for number in chosen], kept, right=range(1, len(chosen)))
            title = ""  # once is enough
        begin = end


def failure(error: HarnessError, *, as_json: bool) -> int:
    """Say what went wrong and what to do; the exit code."""
    if as_json:
        described = {
            "kind": type(error).__name__,
            "problem": error.problem,
            "remedy": error.remedy,
            "exit_code": error.exit_code,
        }
        click.echo(_safe(json.dumps({"error": described}, indent=2, ensure_ascii=False)))
    note(f"harness: {error}")
    return error.exit_code


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on standard error; where that is no terminal, a line at each tenth and every two minutes."""
    if sys.stderr.isatty():
        with _bar() as tell:
            yield tell
        return
    tenth_before, said_at = -1, 0.0

    def tell_plainly(doing: str, done: int, total: int) -> None:
        nonlocal tenth_before, said_at
        tenth, now = 10 * done // max(total, 1), time.monotonic()
        if tenth != tenth_before or now - said_at >= _SILENT_S:
            tenth_before, said_at = tenth, now
            note(f"[{done}/{total}] {doing}")

    yield tell_plainly


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    # Redrawn only when told: a thread that redraws would run beside what is being measured.
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as shown:
        task = shown.add_task("", total=None)

        def tell(doing: str, done: int, total: int) -> None:
            shown.update(task, description=one_line(doing), completed=done, total=total)
            shown.refresh()

        yield tell
