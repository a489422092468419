"""What a method is worth in a scenario: each objective on its fixed scale, weighted and added up.

The scale is the scenario's, never the pool's: a method's value is the same whoever else is compared,
so adding or dropping a method cannot reorder the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.recommend import words

if TYPE_CHECKING:
    from harness.metrics import Fidelity
    from harness.spec.scenario import Objective
    from harness.store.query import Evidence


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """What one objective adds to one method's value: ``points`` = ``weight`` * ``worth``.

    ``weight`` is normalised over the scenario's objectives, ``worth`` lies in [0, 1]. Where the metric is
    absent, ``median`` is None, ``worth`` is 0 and ``missing`` says why: what was not measured earns nothing.
    """

    metric: str
    state: str
    weight: float
    worth: float
    points: float
    median: float | None
    low: float | None
    high: float | None
    n: int
    fidelity: Fidelity | None
    missing: str = ""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One method's value in [0, 1], and the contributions that add up to it, in the scenario's order."""

    method: str
    value: float
    contributions: tuple[Contribution, ...]


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A metric that an objective asks for and the run does not hold for a method."""

    method: str
    metric: str
    state: str
    weight: float
    why: str


def worth(measured: float, objective: Objective) -> float:
    """Where ``measured`` stands between the objective's worst (0) and best (1), clamped to [0, 1].

    On a log scale each halving is worth the same. ``measured`` may be 0 there (a CPU time below the
    clock's resolution): it lies beyond the end nearer to 0.
    """
    best, worst = objective.best, objective.worst
    # Differences of logarithms: a ratio of the numbers themselves could underflow to 0, which has none.
    span = math.log(best) - math.log(worst) if objective.scale == "log" else 0.0
    if not span:  # linear, or a log scale so short that only rounding could tell it from a linear one
        return _clamped((measured - worst) / (best - worst))
    if measured <= 0:
        return 1.0 if best < worst else 0.0
    return _clamped((math.log(measured) - math.log(worst)) / span)


def normalised(objectives: Sequence[Objective]) -> list[float]:
    """The weights, scaled to add up to 1; only their proportions matter."""
    # Divided by the largest first, so that even absurdly large weights cannot overflow when added up.
    largest = max(objective.weight for objective in objectives)
    scaled = [objective.weight / largest for objective in objectives]
    total = math.fsum(scaled)
    return [weight / total for weight in scaled]


def score(evidence: Evidence, method: str, objectives: Sequence[Objective]) -> Score:
    """The value of ``method``: the weighted sum of the worth of its medians."""
    contributions = tuple(
        _contribution(evidence, method, objective, weight)
        for objective, weight in zip(objectives, normalised(objectives), strict=True)
    )
    total = math.fsum(contribution.points for contribution in contributions)
    return Score(method=method, value=_clamped(total), contributions=contributions)


def missing(scores: Sequence[Score]) -> tuple[Missing, ...]:
    """What was asked for with a weight and is not there, method by method."""
    return tuple(
        Missing(method=one.method, metric=item.metric, state=item.state, weight=item.weight, why=item.missing)
        for one in scores
        for item in one.contributions
        if item.missing and item.weight > 0
    )


def _contribution(evidence: Evidence, method: str, objective: Objective, weight: float) -> Contribution:
    value = evidence.value(method, objective.metric, objective.state)
    interval = value.interval if value else None
    if value is None or interval is None:
        why = (value.why_absent if value else "") or "was not measured"
        return Contribution(
            metric=objective.metric,
            state=objective.state,
            weight=weight,
            worth=0.0,
            points=0.0,
            median=None,
            low=None,
            high=None,
            n=0,
            fidelity=None,
            missing=f"{words.measure(objective.metric, objective.state)}: {why}; counted as worth 0",
        )
    here = worth(interval.median, objective)
    return Contribution(
        metric=objective.metric,
        state=objective.state,
        weight=weight,
        worth=here,
        points=weight * here,
        median=interval.median,
        low=interval.low,
        high=interval.high,
        n=interval.n,
        fidelity=value.fidelity,
    )


def _clamped(share: float) -> float:
    return min(1.0, max(0.0, share))
