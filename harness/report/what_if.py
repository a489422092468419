"""What a page needs to rank again while its reader moves sliders: no verdicts, only what they are made of.

The rules are those of :mod:`harness.recommend`; ``templates/what_if.js`` has them a second time, and a test holds both
against each other over random settings in a real browser. What a reader can move are the requests a day, the memory
of the target, its link, and the weights. Whatever rules a method out for another reason stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.metrics import METRICS
from harness.recommend import costs, engine, limits, prices, words
from harness.report import numbers

if TYPE_CHECKING:
    from harness.recommend.limits import Packaging
    from harness.recommend.prices import Tariff
    from harness.spec.scenario import Objective, Scenario
    from harness.store.query import Evidence

#: The metrics that follow from what can be moved.
_MOVED = {costs.METRIC: "cost", engine.TRANSFER: "transfer"}


@dataclass(frozen=True, kw_only=True)
class Aim:
    """An objective of the scenario; ``moved`` is ``cost`` or ``transfer`` where its metric follows from a slider."""

    title: str
    unit: str
    weight: float
    best: float
    worst: float
    log: bool
    higher: bool
    limit: float | None
    moved: str


@dataclass(frozen=True, kw_only=True)
class Charge:
    """What a platform charges: for each request and second (``by_use``), or for an hour of a machine."""

    by_use: bool
    request: float = 0.0
    second: float = 0.0
    rounded_s: float = 0.0
    kept_s: float = 0.0
    hour: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A method: the median at each aim, and what moves: sizes in bytes, seconds of cold starts by round, and prices.

    ``out`` are the reasons that rule it out whatever is moved.
    """

    method: str
    out: tuple[str, ...]
    medians: tuple[float | None, ...]
    peak_bytes: float | None
    packed_bytes: float | None
    cold_s: tuple[float, ...]
    warm_s: float | None
    per_second: float | None
    charge: Charge | None


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """One model in one scenario, as it was weighed: where the sliders stand at first, and the candidates."""

    model: str
    scenario: str
    title: str
    per_day: float
    memory_mb: int | None
    link_mbit: float
    aims: tuple[Aim, ...]
    candidates: tuple[Candidate, ...]


def of(evidence: Evidence, scenario: Scenario, methods: Mapping[str, Packaging]) -> WhatIf:
    """What the page is given of a model in a scenario."""
    evidence, every = engine.known(evidence, scenario, methods)
    return WhatIf(
        model=evidence.model,
        scenario=scenario.name,
        title=scenario.title,
        per_day=scenario.traffic.requests_per_day,
        memory_mb=scenario.target.memory_mb,
        link_mbit=scenario.target.link_mbit,
        aims=tuple(_aim(objective) for objective in scenario.objectives),
        candidates=tuple(_candidate(evidence, scenario, name, method) for name, method in every.items()),
    )


def _aim(objective: Objective) -> Aim:
    metric = METRICS[objective.metric]
    return Aim(
        title=f"{metric.title}{f', {objective.state}' if objective.state else ''}",
        unit=metric.unit,
        weight=objective.weight,
        best=objective.best,
        worst=objective.worst,
        log=objective.scale == "log",
        higher=metric.direction == "higher",
        limit=objective.limit,
        moved=_MOVED.get(objective.metric, ""),
    )


def _candidate(evidence: Evidence, scenario: Scenario, name: str, method: Packaging) -> Candidate:
    exclusions, _ = limits.check(evidence, scenario, name, method)
    stay = [one for one in exclusions if one.rule != "memory" and one.metric not in _MOVED]
    rounds = costs.by_round(evidence, name)
    some = next(iter(rounds.values()), None)
    warm_s, per_second = costs.warm(evidence, name)
    packed = evidence.interval(name, "packed_bytes")
    return Candidate(
        method=name,
        out=tuple(_briefly(one) for one in stay),
        medians=tuple(_median(evidence, name, one) for one in scenario.objectives),
        peak_bytes=limits.peak(evidence, name),
        packed_bytes=packed.median if packed else None,
        cold_s=tuple(one.cold_s for one in rounds.values()) if some else (),
        warm_s=warm_s,
        per_second=per_second,
        charge=_charge(prices.shipped().of(method.LAYERS.platform), costs.memory_of(evidence, name)),
    )


def _median(evidence: Evidence, method: str, objective: Objective) -> float | None:
    interval = evidence.interval(method, objective.metric, objective.state)
    return interval.median if interval else None


def _charge(tariff: Tariff | None, memory_mb: int | None) -> Charge | None:
    if tariff is None or memory_mb is None:
        return None
    if tariff.by_use is None:
        machine = tariff.machine(memory_mb)
        return Charge(by_use=False, hour=machine.hour) if machine else None
    second = tariff.by_use.second(memory_mb)
    if second is None:
        return None
    used = tariff.by_use
    return Charge(by_use=True, request=used.request, second=second, rounded_s=used.rounded_s, kept_s=used.kept_s)


def _briefly(one: limits.Exclusion) -> str:
    if one.rule == "requires":
        return f"needs {words.facility(one.subject)}"
    if one.rule == "needs":
        return f"does not give ‘{one.subject}’"
    reason = one.reason.removeprefix(f"{one.method}: ")
    return numbers.brief(reason, 120)
