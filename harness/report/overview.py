"""Many models at a glance: what is decided in each scenario, and what each method comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.metrics import METRICS
from harness.report.advice import Advice, Ranked
from harness.report.comparison import Cell
from harness.report.contents import ModelPart

#: What a reader compares first: the table of a model's part, the metric and its state.
_MATRICES = (
    ("size", "packed_bytes", ""),
    ("start", "cold_start_s", "disk-cold"),
    ("use", "peak_resident_bytes", "page-warm"),
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is recommended for one model in one scenario; ``place`` is that of its advice, from 1."""

    place: int
    methods: tuple[str, ...]
    first: Ranked | None


@dataclass(frozen=True, kw_only=True)
class Line:
    """One model of one run, and a verdict, or none, for each scenario."""

    run: str
    model: str
    verdicts: tuple[Verdict | None, ...]


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Scenarios by name, and the lines."""

    scenarios: tuple[str, ...]
    lines: tuple[Line, ...]


def of(advice: Sequence[Advice]) -> Overview | None:
    """The overview; None where there are too few recommendations to need one."""
    if len(advice) <= 1:
        return None
    scenarios = tuple(dict.fromkeys(each.scenario for each in advice))
    found = {(each.run, each.model, each.scenario): _verdict(place, each) for place, each in enumerate(advice, start=1)}
    models = dict.fromkeys((each.run, each.model) for each in advice)
    return Overview(
        scenarios=scenarios,
        lines=tuple(
            Line(run=run, model=model, verdicts=tuple(found.get((run, model, name)) for name in scenarios))
            for run, model in models
        ),
    )


def _verdict(place: int, advice: Advice) -> Verdict:
    tied = tuple(option.method for option in advice.ranked if option.tied)
    first = advice.ranked[0] if advice.ranked else None
    return Verdict(place=place, methods=tied or ((first.method,) if first else ()), first=first)


@dataclass(frozen=True, kw_only=True)
class MatrixRow:
    """One model of one run (``place`` is that of its part, from 1), and a cell, or none, for each method."""

    place: int
    model: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """One metric: models by methods."""

    name: str
    title: str
    state: str
    meaning: str
    methods: tuple[str, ...]
    rows: tuple[MatrixRow, ...]


def matrices(models: Sequence[ModelPart]) -> tuple[Matrix, ...]:
    """What each method comes to for each model; empty where there is one model, whose tables say it all."""
    if len(models) <= 1:
        return ()
    found = (_matrix(models, *each) for each in _MATRICES)
    return tuple(matrix for matrix in found if matrix.rows)


def _matrix(models: Sequence[ModelPart], name: str, metric: str, state: str) -> Matrix:
    by_model: list[tuple[int, str, dict[str, Cell]]] = []
    for place, model in enumerate(models, start=1):
        table = model.table(name)
        column = table.column(metric, state) if table else []
        known = {row.method: cell for row, cell in column if row.limits == "default" and cell.median}
        by_model += [(place, model.model, known)] if known else []
    methods = tuple(dict.fromkeys(m for model in models for m in model.methods if any(m in k for _, _, k in by_model)))
    return Matrix(
        name=f"{metric}-{state}" if state else metric,
        title=METRICS[metric].title,
        state=state,
        meaning=METRICS[metric].meaning,
        methods=methods,
        rows=tuple(
            MatrixRow(place=place, model=model, cells=tuple(known.get(method) for method in methods))
            for place, model, known in by_model
        ),
    )
