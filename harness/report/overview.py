"""The decisions at a glance: a row for each model, a column for each scenario."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.advice import Advice, Ranked


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
