"""The decision algorithm as a tree of questions: what the engine does, drawn from what it decides.

The article promises such a picture and asks questions that nobody measured. Here the forks are found: the engine
decides thousands of random cases (a reference model, a scenario that was varied in its traffic, target, needs and
weights), and a tree of few questions is fitted to what it decided.

A leaf names the method with the highest mean value over its cases; where a method is excluded it is worth nothing. A
fork is the question whose two leaves lose least: the sum over cases of the best method's value less that of the leaf's
(regret, as in algorithm selection; the splits are otherwise those of Breiman et al., *Classification and Regression
Trees* (1984)). How well the tree stands for the engine is told of cases that it has not seen.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from harness.bootstrap import SEED
from harness.recommend import engine, limits, words
from harness.recommend.value import normalised, score
from harness.spec import capabilities
from harness.spec.scenario import Facility, Quality

if TYPE_CHECKING:
    from harness.recommend.limits import Packaging
    from harness.spec.scenario import Scenario
    from harness.store.query import Evidence

#: How many cases a tree is fitted to, and how many it is held against.
FITTED, HELD = 2000, 500

#: The depth of a tree that still is a picture.
DEPTH = 5

#: How often a case's target has a facility that its scenario's has not, or the other way round; and lacks a need of it.
_OTHER_TARGET, _NEED_LESS = 0.15, 0.25

#: A method that is worth so little less is as good a choice.
_CLOSE = 0.02

#: Fewest cases behind a leaf: a hundredth of them.
_SHARE = 0.01

#: The least regret per case that a fork has to save, of values that go from 0 to 1.
_SAVES = 0.002

_GROUPS: Mapping[str, tuple[str, ...]] = {
    "what travels": ("packed_bytes", "over_base_bytes", "update_bytes", "transfer_s"),
    "space on the disk": ("unpacked_bytes", "files"),
    "cold starts": ("cold_start_s",),
    "memory": ("peak_resident_bytes", "peak_memory_bytes", "anonymous_bytes", "minimum_memory_bytes"),
    "processor time": ("cpu_to_first_s", "cpu_per_prediction_s"),
    "money": ("cost_month_usd",),
    "building and installing": (
        *("build_clean_s", "build_weights_s", "build_code_s", "build_dependency_s"),
        "install_s",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One question to the engine, and its answer: the value of each method that is left in."""

    facts: Mapping[str, float]
    values: Mapping[str, float]

    @property
    def best(self) -> float:
        """The value of the winner; 0 where none is left."""
        return max(self.values.values(), default=0.0)

    @property
    def winner(self) -> str | None:
        """The winner, by name where several are equal; None where none is left."""
        return min(self.values, key=lambda name: (-self.values[name], name), default=None)


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """What to use: ``method``, how often the engine decides the same here, and its mean regret over ``cases``.

    ``close`` is the share in which it is worth at most 0.02 less than what the engine decides.
    """

    method: str
    agreement: float
    close: float
    regret: float
    cases: int


@dataclass(frozen=True, kw_only=True)
class Fork:
    """A question; ``yes`` where the fact is above ``threshold`` (above a half for a yes or no)."""

    fact: str
    threshold: float
    text: str
    yes: Node
    no: Node


Node = Leaf | Fork


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How well a tree stands for the engine, over cases that it was not fitted to.

    ``agreement`` is the share in which it names the engine's winner, ``close`` that in which it loses at most 0.02 of
    value, ``excluded`` that in which it names a method that a hard limit rules out.
    """

    cases: int
    agreement: float
    close: float
    regret: float
    excluded: float


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The tree, how well it stands for the engine, and what its cases were drawn from."""

    root: Node
    fidelity: Fidelity
    models: tuple[str, ...]
    scenarios: tuple[str, ...]
    fitted: int
    seed: int


def grow(
    evidences: Sequence[Evidence],
    scenarios: Sequence[Scenario],
    methods: Mapping[str, Packaging],
    *,
    depth: int = DEPTH,
    fitted: int = FITTED,
    held: int = HELD,
    seed: int = SEED,
) -> Tree:
    """The tree of what the engine decides over random cases of these models and scenarios."""
    chance = random.Random(f"{seed} tree")
    cases = [_case(chance, evidences, scenarios, methods) for _ in range(fitted + held)]
    seen, unseen = cases[:fitted], cases[fitted:]
    least = max(1, math.ceil(_SHARE * fitted))
    root = _grown([case for case in seen if case.values], depth, least)
    return Tree(
        root=root,
        fidelity=fidelity(root, [case for case in unseen if case.values]),
        models=tuple(dict.fromkeys(evidence.model for evidence in evidences)),
        scenarios=tuple(scenario.name for scenario in scenarios),
        fitted=fitted,
        seed=seed,
    )


def decide(node: Node, facts: Mapping[str, float]) -> Leaf:
    """The leaf that the facts lead to."""
    while isinstance(node, Fork):
        node = node.yes if facts[node.fact] > node.threshold else node.no
    return node


def fidelity(root: Node, cases: Sequence[Case]) -> Fidelity:
    """How well the tree stands for the engine over ``cases``."""
    named = [(case, decide(root, case.facts).method) for case in cases]
    lost = [case.best - case.values.get(method, 0.0) for case, method in named]
    count = max(len(cases), 1)
    return Fidelity(
        cases=len(cases),
        agreement=sum(case.winner == method for case, method in named) / count,
        close=sum(loss <= _CLOSE for loss in lost) / count,
        regret=math.fsum(lost) / count,
        excluded=sum(method not in case.values for case, method in named) / count,
    )


# --- cases ---------------------------------------------------------------------------------------


def _case(
    chance: random.Random,
    evidences: Sequence[Evidence],
    scenarios: Sequence[Scenario],
    methods: Mapping[str, Packaging],
) -> Case:
    evidence, scenario = chance.choice(evidences), varied(chance, chance.choice(scenarios))
    known, every = engine.known(evidence, scenario, methods)
    left = [name for name, method in every.items() if not limits.check(known, scenario, name, method)[0]]
    values = {name: score(known, name, scenario.objectives).value for name in left}
    return Case(facts=facts_of(evidence, scenario), values=values)


def varied(chance: random.Random, scenario: Scenario) -> Scenario:
    """The scenario with another traffic and target, a need more or less, and weights around its own."""
    has = {name for name in get_args(Facility) if (name in scenario.target.has) != (chance.random() < _OTHER_TARGET)}
    # A need more would leave nothing in most cases; one less is a question of its own.
    needs = [name for name in get_args(Quality) if name in scenario.needs and chance.random() >= _NEED_LESS]
    memory = None if chance.random() < 0.5 else round(10 ** chance.uniform(1.8, 4.0))  # noqa: PLR2004
    gammas = [chance.gammavariate(8 * one.weight, 1) if one.weight else 0.0 for one in scenario.objectives]
    total = math.fsum(gammas)
    objectives = tuple(
        dataclasses.replace(one, weight=gamma / total if total else one.weight)
        for one, gamma in zip(scenario.objectives, gammas, strict=True)
    )
    target = dataclasses.replace(
        scenario.target,
        has=tuple(name for name in get_args(Facility) if name in has),
        memory_mb=memory,
        link_mbit=10 ** chance.uniform(-1, 3),
    )
    traffic = dataclasses.replace(scenario.traffic, requests_per_day=10 ** chance.uniform(0, 6.5))
    return dataclasses.replace(scenario, objectives=objectives, needs=tuple(needs), target=target, traffic=traffic)


def facts_of(evidence: Evidence, scenario: Scenario) -> dict[str, float]:
    """What the tree may ask about: yes or no as 1 or 0, shares of the weight, quantities."""
    target = scenario.target
    found = {
        "requests a day": scenario.traffic.requests_per_day,
        "memory of the target": float(target.memory_mb) if target.memory_mb else math.inf,
        "link to the target": target.link_mbit,
    }
    found |= {f"has {name}": float(name in target.has) for name in get_args(Facility)}
    found |= {f"needs {name}": float(name in scenario.needs) for name in get_args(Quality)}
    shares = normalised(scenario.objectives)
    for group, metrics in _GROUPS.items():
        found[f"weight of {group}"] = math.fsum(
            share for share, one in zip(shares, scenario.objectives, strict=True) if one.metric in metrics
        )
    noted = evidence.manifest.models.get(evidence.model, {})
    found["system packages"] = float(bool(noted.get("system_packages")))
    found |= {f"model: {name}": value for name, value in _of_model(evidence)}
    return found


def _of_model(evidence: Evidence) -> Iterator[tuple[str, float]]:
    """What is known of the model: how large, how slow, how hungry it is at the least, whatever packages it."""
    for name, metric, state in (
        ("size", "unpacked_bytes", ""),
        ("start", "cold_start_s", "page-warm"),
        ("memory", "peak_resident_bytes", "page-warm"),
    ):
        found = [
            interval.median for method in evidence.methods if (interval := evidence.interval(method, metric, state))
        ]
        yield name, min(found, default=0.0)


# --- growing -------------------------------------------------------------------------------------


def _grown(cases: Sequence[Case], depth: int, least: int) -> Node:
    leaf = _leaf(cases)
    if not depth or len(cases) < 2 * least:
        return leaf
    found = _best_fork(cases, least)
    if found is None or leaf.regret * len(cases) - found[0] < _SAVES * len(cases):
        return leaf
    _, fact, threshold = found
    yes = [case for case in cases if case.facts[fact] > threshold]
    no = [case for case in cases if not case.facts[fact] > threshold]
    one, other = _grown(yes, depth - 1, least), _grown(no, depth - 1, least)
    if isinstance(one, Leaf) and isinstance(other, Leaf) and one.method == other.method:
        return leaf  # a question whose answers lead to the same
    return Fork(fact=fact, threshold=threshold, text=question(fact, threshold), yes=one, no=other)


def _leaf(cases: Sequence[Case]) -> Leaf:
    totals = _totals(cases)
    method = min(totals, key=lambda name: (-totals[name], name))
    count = max(len(cases), 1)
    return Leaf(
        method=method,
        agreement=sum(case.winner == method for case in cases) / count,
        close=sum(case.best - case.values.get(method, 0.0) <= _CLOSE for case in cases) / count,
        regret=math.fsum(case.best - case.values.get(method, 0.0) for case in cases) / count,
        cases=len(cases),
    )


def _totals(cases: Sequence[Case]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for case in cases:
        totals.update(case.values)
    return totals


def _best_fork(cases: Sequence[Case], least: int) -> tuple[float, str, float] | None:
    """The regret left, the fact and the threshold of the best question; None where there is none."""
    best = math.fsum(case.best for case in cases)
    every = _totals(cases)
    found: tuple[float, str, float] | None = None
    for fact in cases[0].facts:
        for left, threshold in _splits(cases, fact, every, least):
            regret = best - left
            if found is None or regret < found[0] - 1e-12:
                found = (regret, fact, threshold)
    return found


def _splits(cases: Sequence[Case], fact: str, every: Counter[str], least: int) -> Iterator[tuple[float, float]]:
    """What the two leaves of each threshold are worth together, and the threshold."""
    ordered = sorted(cases, key=lambda case: case.facts[fact])
    below: Counter[str] = Counter()
    for place, (case, following) in enumerate(itertools.pairwise(ordered), start=1):
        below.update(case.values)
        low, high = case.facts[fact], following.facts[fact]
        if low == high or place < least or len(ordered) - place < least:
            continue
        beyond = max((every[name] - below.get(name, 0.0) for name in every), default=0.0)
        yield max(below.values(), default=0.0) + beyond, _between(low, high)


def _between(low: float, high: float) -> float:
    """A threshold between two values, with as few digits as tell them apart."""
    if math.isinf(high):
        return low
    middle = math.sqrt(low * high) if low > 0 else (low + high) / 2
    for digits in range(1, 6):
        rounded = float(f"{middle:.{digits}g}")
        if low <= rounded < high:
            return rounded
    return middle


# --- words ---------------------------------------------------------------------------------------


def question(fact: str, threshold: float) -> str:
    """The fork as it is asked."""
    kind, _, name = fact.partition(" ")
    if kind == "has":
        return f"Does the target have {words.facility(name)}?"
    if kind == "needs":
        return f"Must it {capabilities.QUALITIES[name].split(';')[0].split(',')[0]}?"  # type: ignore[index]
    asked: dict[str, Callable[[], str]] = {
        "requests a day": lambda: f"More than {words.quantity(threshold, 'n')} requests a day?",
        "memory of the target": lambda: f"Has the target more than {threshold:,.0f} MB of memory?",
        "link to the target": lambda: f"Is its link faster than {threshold:g} Mbit/s?",
        "system packages": lambda: "Does the model need packages of the operating system?",
        "model: size": lambda: f"Is the model larger than {words.quantity(threshold, 'bytes', 2)} unpacked?",
        "model: start": lambda: f"Does it take longer than {words.quantity(threshold, 's', 2)} to start?",
        "model: memory": lambda: f"Does it take more than {words.quantity(threshold, 'bytes', 2)} of memory?",
    }
    if fact in asked:
        return asked[fact]()
    return f"Is more than {words.share(threshold)} of the {fact.replace('weight of', 'weight on')}?"
