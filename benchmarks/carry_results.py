"""What became of each cell: one line of JSON each, and the Markdown that tells of all of them; see ``carry.py``."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from carry_table import Table
from pydantic import Field

from harness.errors import BadInput
from harness.spec import reading
from harness.spec.kinds import Date, Name, Text, Word

#: ``right``: every example is answered as by the unpackaged model. ``beyond a limit``: the artifact is larger than the
#: method's platform allows, by a limit that it documents. ``not ready``: the method cannot be used on this machine.
Verdict = Literal["right", "beyond a limit", "failed", "not ready"]

#: The two-sided 95 % quantile of the normal distribution.
_Z = 1.959963984540054

#: How much of a reason is shown; lines of a build's log are cut before.
_SHOWN = 240


@dataclass(frozen=True, kw_only=True)
class Carried:
    """One cell: a library by a method, what became of it and why, when, where, and by which harness.

    ``entry`` is the digest of the library's entry in the table. ``unpackaged`` says whether the model answers without
    being packaged; where it does not, no method was tried.
    """

    __pydantic_config__ = reading.STRICT

    library: Name
    entry: Name
    requirements: tuple[str, ...]
    method: Name
    verdict: Verdict
    reason: Text = ""
    unpackaged: bool = True
    seconds: Annotated[float, Field(ge=0)]
    at: Date
    harness: Word
    commit: Word
    python: Word
    machine: Word


Cells = Mapping[tuple[str, str], Carried]


def append(file: Path, cells: Iterable[Carried]) -> None:
    """Add the cells to the file, a line each."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as stream:
        stream.writelines(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in cells)


def read(file: Path, table: Table) -> dict[tuple[str, str], Carried]:
    """The newest line of each (library, method) that is of the table's entry as it is now.

    A last line without an end was being written when the program was killed, and is passed over.
    """
    entries = {one.name: one.digest for one in table.library}
    found: dict[tuple[str, str], Carried] = {}
    if not file.is_file():
        return found
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n")[:-1], start=1):
        try:
            one = reading.record(Carried, json.loads(line), file=file)
        except (ValueError, BadInput) as error:
            raise BadInput(f"line {number}: {error}", file=file, remedy="remove the line") from error
        if entries.get(one.library) == one.entry:
            found[one.library, one.method] = one
    return found


def wilson(right: int, cells: int) -> tuple[float, float]:
    """The 95 % interval of a share, by Wilson's score (E. B. Wilson, JASA 22, 1927); 0 to 1 where there is no cell."""
    if not cells:
        return 0.0, 1.0
    share, spread = right / cells, _Z**2 / cells
    middle = (share + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(share * (1 - share) / cells + spread / (4 * cells)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def markdown(table: Table, cells: Cells, methods: Sequence[str]) -> str:
    """All that is known, as a page: the share, then by method, by library, and the reason of every cell that failed."""
    found = [one for one in cells.values() if one.method in methods]
    ready = [method for method in methods if any(one.method == method and _tried(one) for one in found)]
    counted = Counter(one.verdict for one in found)
    possible = counted["right"] + counted["failed"]
    open_cells = len(table.library) * len(methods) - len(found)
    lines = ["# Which libraries each method carries", ""]
    lines += _head(table, found)
    lines += [
        "",
        f"**{_share(counted['right'], possible)}** of the cells that no documented limit excludes answer right.",
        f"Beyond a limit: {counted['beyond a limit']}. Not ready on this machine: {counted['not ready']}.",
        f"Not tried yet: {open_cells}, of {len(table.library)} libraries by {len(methods)} methods.",
        "The share is of what was tried.",
        "",
        "## By method",
        "",
        "| method | right | failed | beyond a limit | share |",
        "|---|---|---|---|---|",
    ]
    for method in ready:
        of_method = Counter(one.verdict for one in found if one.method == method)
        right, failed = of_method["right"], of_method["failed"]
        share = _share(right, right + failed)
        lines.append(f"| {method} | {right} | {failed} | {of_method['beyond a limit']} | {share} |")
    lines += [
        "",
        "## By library",
        "",
        "| library | rank | right | failed by | beyond a limit by |",
        "|---|---|---|---|---|",
    ]
    for library in sorted(table.library, key=lambda one: one.rank):
        own = {verdict: [m for m in ready if _is(cells, library.name, m, verdict)] for verdict in get_args(Verdict)}
        if any(own.values()):
            answered = f"{len(own['right'])} of {len(own['right']) + len(own['failed'])}"
            names = (", ".join(own[verdict]) or "-" for verdict in ("failed", "beyond a limit"))
            lines.append(f"| {library.name} | {library.rank} | {answered} | {' | '.join(names)} |")
    lines += ["", "## Why cells failed", "", *(_reasons(found) or ["None did."])]
    lines += ["", "## Left out of the table", ""]
    lines += [f"- {one.name} (rank {one.rank}): {one.why}" for one in table.left_out]
    return "\n".join(lines) + "\n"


def brief(reason: str) -> str:
    """A reason in one line: its first, and the last before the remedy, which has a tool's own last word."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("remedy:")] or ["no reason was given"]
    text = lines[0] if len(lines) == 1 else f"{lines[0]} … {lines[-1]}"
    text = text.replace("|", "\\|")
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _head(table: Table, found: Sequence[Carried]) -> list[str]:
    names = f"`benchmarks/carry.toml` of {table.made_on}"
    if not found:
        return [f"Of {names}. Nothing was tried yet."]
    days = sorted(one.at[:10] for one in found)
    when = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    by = ", ".join(sorted({f"{one.harness} at {one.commit}" for one in found}))
    where = "; ".join(sorted({f"Python {one.python}, {one.machine}" for one in found}))
    return [f"Taken {when} of {names}, by harness {by}, on {where}. Written by `benchmarks/carry.py`."]


def _share(right: int, possible: int) -> str:
    if not possible:
        return "none"
    low, high = wilson(right, possible)
    return f"{right} of {possible} ({right / possible:.1%}, 95 % interval {low:.1%} to {high:.1%})"


def _tried(one: Carried) -> bool:
    return one.verdict != "not ready"


def _is(cells: Cells, library: str, method: str, verdict: str) -> bool:
    found = cells.get((library, method))
    return found is not None and found.verdict == verdict


def _reasons(found: Sequence[Carried]) -> list[str]:
    by_reason: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in found:
        if one.verdict == "failed":
            by_reason[one.library, brief(one.reason)].append(one.method)
    return [f"- {library} ({', '.join(methods)}): {reason}" for (library, reason), methods in sorted(by_reason.items())]
