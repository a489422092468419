"""How long a plan will take, by what its steps took before: in earlier runs here, or in those that travel along.

A step that was never taken is guessed: what the method takes with other models, times what the model takes with
other methods against the usual; for a model that was never measured, what models of its framework take. Seconds of
another time or machine are scaled by the sentinel.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from harness.measure import parts, sentinel
from harness.measure.plan import Lane, Plan
from harness.measure.sample import SENTINEL

#: Seconds of a step of which nothing is known at all: of no use but to be of the right order.
_UNKNOWN_S = {
    "lock": 1.0,
    "build": 20.0,
    "install": 5.0,
    "install-again": 5.0,
    "page-warm": 1.5,
    "disk-cold": 2.0,
    "rebuild": 60.0,
    "memory-limit": 5.0,
    "portability": 1.0,
    "load": 4.0,
}

#: The share of the rounds beyond the fewest that cells take until their intervals are narrow, where it is not known.
_FURTHER = 0.7

#: What a build takes that the cache stands for.
_KEPT_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Past:
    """What the steps of an earlier run took: the table ``steps`` of its manifest, and the frameworks of its models."""

    run_id: str
    steps: Mapping[str, Mapping[str, float]]
    frameworks: Mapping[str, str] = field(default_factory=dict)

    @property
    def sentinel_s(self) -> float | None:
        """Mean seconds of its sentinel."""
        kept = [spent for name, spent in self.steps.items() if name.endswith(f"/{SENTINEL}")]
        rounds = sum(spent["sentinel_n"] for spent in kept)
        return sum(spent["sentinel_s"] for spent in kept) / rounds if rounds else None


def seconds(
    plan: Plan,
    past: Sequence[Past],
    *,
    ready: Collection[str],
    kept: Mapping[tuple[str, str], tuple[int, Collection[str]]],
    frameworks: Mapping[str, str],
    sentinel_s: float,
) -> float:
    """Seconds that the plan will take. ``past`` has the newest run first.

    ``ready`` are the methods that can be used here, ``kept`` by model and method how many clean builds are known of
    the artifact in the cache, and which parts; ``frameworks`` are those of the plan's models; ``sentinel_s`` is what
    the sentinel takes now.
    """
    costs = _Costs(past, frameworks, sentinel_s)
    return sum(_of_model(plan, model, costs, ready, kept) for model in plan.models)


def guessed(plan: Plan, past: Sequence[Past]) -> tuple[str, ...]:
    """The models of which no earlier run knows a step: how long they take is guessed from what others take."""
    known = {name.partition("/")[0] for run in past for name in run.steps if not name.endswith(f"/{SENTINEL}")}
    return tuple(model for model in plan.models if model not in known)


def _of_model(
    plan: Plan,
    model: str,
    costs: _Costs,
    ready: Collection[str],
    kept: Mapping[tuple[str, str], tuple[int, Collection[str]]],
) -> float:
    total = 0.0

    def known(lane: Lane) -> tuple[int, Collection[str]]:
        return kept.get((model, lane.method), (0, ())) if lane.limits == "default" else (0, ())

    for lane in plan.lanes:
        if lane.method in ready:
            total += costs.of("lock", model, lane.method)
    for replicate, lane in plan.builds_of(model):
        if lane.method in ready:
            stands = "build" in plan.kept and known(lane)[0] > replicate
            total += _KEPT_S if stands else costs.of("build", model, lane.method)
    for replicate, lane in plan.installs_of(model):
        if lane.method in ready:
            total += costs.of("install-again" if replicate else "install", model, lane.method)
    further = costs.further(plan, model)
    for number, starts in plan.starts_of(model):
        share = 1.0 if number < plan.rounds else further
        total += share * sum(costs.of(one.state, model, one.lane.method) for one in starts if one.lane.method in ready)
    for part, lane in plan.parts_of(model):
        if lane.method in ready:
            stands = part in plan.kept and part in known(lane)[1]
            total += _KEPT_S if stands else len(parts.TABLE[part].states) * costs.of(part, model, lane.method)
    return total


class _Costs:
    """Seconds of one step by kind, model and method."""

    def __init__(self, past: Sequence[Past], frameworks: Mapping[str, str], sentinel_s: float) -> None:
        self._known: dict[tuple[str, str, str], float] = {}
        for run in past:
            scale = sentinel.pace(run.sentinel_s, sentinel_s) if run.sentinel_s else 1.0
            for name, spent in run.steps.items():
                model, method, *limits = name.split("/")
                if limits or method == SENTINEL:
                    continue
                for kind in (key.removesuffix("_s") for key in spent if key.endswith("_s")):
                    if spent.get(f"{kind}_n"):
                        value = scale * spent[f"{kind}_s"] / spent[f"{kind}_n"]
                        self._known.setdefault((kind, model, method), value)
        self._by_method = _medians((kind, method, value) for (kind, _, method), value in self._known.items())
        self._by_kind = _medians((kind, "", value) for (kind, _, _), value in self._known.items())
        ratios = [
            (kind, model, value / self._by_method[kind, method])
            for (kind, model, method), value in self._known.items()
            if self._by_method[kind, method] > 0
        ]
        self._by_model = _medians(ratios)
        known = {model: framework for run in reversed(past) for model, framework in run.frameworks.items()}
        self._frameworks = {**known, **frameworks}
        self._by_framework = _medians(
            (kind, self._frameworks[model], ratio)
            for (kind, model), ratio in self._by_model.items()
            if model in self._frameworks
        )
        self._past = past

    def of(self, kind: str, model: str, method: str) -> float:
        """Seconds of such a step: as it was, or as guessed."""
        exact = self._known.get((kind, model, method))
        if exact is not None:
            return exact
        usual = self._by_method.get((kind, method), self._by_kind.get((kind, "")))
        if usual is None:
            usual = _UNKNOWN_S[kind]
        return usual * self._ratio(kind, model)

    def _ratio(self, kind: str, model: str) -> float:
        """How much longer than usual such steps take with the model."""
        framework = self._frameworks.get(model, "")
        # Another kind of step says something of the model, where this one does not.
        for one in (kind, "page-warm"):
            for known, name in ((self._by_model, model), (self._by_framework, framework)):
                if (one, name) in known:
                    return known[one, name]
        return 1.0

    def further(self, plan: Plan, model: str) -> float:
        """The share of the rounds beyond the fewest that cells of the model took before."""
        if plan.last == plan.rounds:
            return 0.0
        for run in self._past:
            taken = [
                spent[f"{state}_n"]
                for name, spent in run.steps.items()
                for state in plan.states
                if name.startswith(f"{model}/") and spent.get(f"{state}_n", 0) > plan.rounds
            ]
            if taken:
                mean = sum(min(n, plan.last) for n in taken) / len(taken)
                return (mean - plan.rounds) / (plan.last - plan.rounds)
        return _FURTHER


def _medians(rows: Iterable[tuple[str, str, float]]) -> dict[tuple[str, str], float]:
    found: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for one, other, value in rows:
        found[one, other].append(value)
    return {key: median(values) for key, values in found.items()}
