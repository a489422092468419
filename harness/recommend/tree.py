"""The decision algorithm as a picture: strike out, answer few questions, take the first that is left.

The article promises such a picture and asks questions that nobody measured. Here it has the shape of what the engine
does: hard limits strike methods out (that stands in a table, ``harness methods``), and what is left is ordered by
value. The engine decides thousands of random cases (a reference model, a scenario that was varied in its traffic,
target, needs and weights), and a tree of few questions is fitted, at whose leaves methods stand in an order.

The order of a leaf is by what a method loses to the best that is left, on the mean over the cases in which it is left
itself. A fork is the question whose two leaves lose least together: the sum over cases of the best value less that of
the first of the leaf's order that is left (regret, as in algorithm selection; the splits are otherwise those of Breiman
et al., *Classification and Regression Trees* (1984)). How well the tree stands for the engine is told of cases that it
has not seen.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from harness.bootstrap import SEED
from harness.recommend import engine, limits, words
from harness.recommend.value import normalised, score
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

#: A method that is left in few of a leaf's cases counts as if it had been in so many more, as in those above the fork.
_AS_ABOVE = 10

#: Thresholds of a question that are tried, at even shares of the cases.
_TRIED = 12

#: The least regret per case that a fork has to save, of values that go from 0 to 1.
_SAVES = 0.002

#: What the weight of criteria is asked for: metrics, one of them in one cache state alone.
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "what travels": ("packed_bytes", "over_base_bytes", "update_bytes"),
    "transfers": ("transfer_s",),
    "space on the disk": ("unpacked_bytes",),
    "the number of files": ("files",),
    "starts whose files are in memory": ("cold_start_s@page-warm",),
    "starts from the disk": ("cold_start_s@disk-cold",),
    "memory": ("peak_resident_bytes", "peak_memory_bytes", "anonymous_bytes", "minimum_memory_bytes"),
    "processor time": ("cpu_to_first_s", "cpu_per_prediction_s"),
    "money": ("cost_month_usd",),
    "building": ("build_clean_s", "build_weights_s", "build_code_s", "build_dependency_s"),
    "installing": ("install_s",),
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
class Fidelity:
    """How well a tree, or a leaf, stands for the engine, over so many cases.

    ``agreement`` is the share in which it names the engine's winner, ``close`` that in which it loses at most 0.02 of
    value, ``regret`` the mean value lost.
    """

    cases: int
    agreement: float
    close: float
    regret: float


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """What to use: the first in ``order`` that the hard limits leave; and how that did in the cases it is fitted to."""

    order: tuple[str, ...]
    of: Fidelity


@dataclass(frozen=True, kw_only=True)
class Fork:
    """A question; ``yes`` where the fact is above ``threshold``."""

    fact: str
    threshold: float
    text: str
    yes: Node
    no: Node


Node = Leaf | Fork


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
    root = fit([case for case in seen if case.values], depth, least=max(1, math.ceil(_SHARE * fitted)))
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
    """How well the tree stands for the engine over ``cases``, in each of which a method is left."""
    return _told(cases, [first_of(decide(root, case.facts).order, case.values) for case in cases])


def first_of(order: Sequence[str], left: Collection[str]) -> str:
    """The first of an order that is left; empty where none is."""
    return next((name for name in order if name in left), "")


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
    """What the tree may ask about: shares of the weight, and quantities. What hard limits are about is no question."""
    found = {"requests a day": scenario.traffic.requests_per_day}
    shares = normalised(scenario.objectives)
    for group, metrics in _GROUPS.items():
        found[f"weight of {group}"] = math.fsum(
            share
            for share, one in zip(shares, scenario.objectives, strict=True)
            if one.metric in metrics or f"{one.metric}@{one.state}" in metrics
        )
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


def fit(cases: Sequence[Case], depth: int, *, least: int) -> Node:
    """The tree of at most ``depth`` questions to a decision, with ``least`` cases or more behind each leaf."""
    names = sorted({name for case in cases for name in case.values})
    return _Grower(cases, names, least).grown(depth)


class _Grower:
    """Splits cases, which it knows by their place; methods by theirs in ``names``."""

    def __init__(self, cases: Sequence[Case], names: Sequence[str], least: int) -> None:
        self._cases, self._names, self._least = cases, names, least
        #: What each method loses to the best that is left; None where it is not left itself.
        self._lost = [[case.best - case.values[n] if n in case.values else None for n in names] for case in cases]

    def grown(self, depth: int) -> Node:
        every = [lost for row in self._lost for lost in row if lost is not None]
        mean = math.fsum(every) / max(len(every), 1)
        return self._grown(range(len(self._cases)), depth, [mean] * len(self._names))

    def _grown(self, places: Sequence[int], depth: int, above: Sequence[float]) -> Node:
        means = self._means(places, above)
        order = self._order(means)
        regret = self._regret(places, order)
        found = self._best_fork(places, means) if depth and len(places) >= 2 * self._least else None
        if found is None or regret - found[0] < _SAVES * len(places):
            return self._leaf(places, [self._names[method] for method in order])
        _, fact, threshold = found
        yes, no = self._parted(places, fact, threshold)
        one, other = (self._grown(some, depth - 1, means) for some in (yes, no))
        if isinstance(one, Leaf) and isinstance(other, Leaf) and one.order == other.order:
            return self._leaf(places, one.order)  # a question whose answers lead to the same
        return Fork(fact=fact, threshold=threshold, text=question(fact, threshold), yes=one, no=other)

    def _leaf(self, places: Sequence[int], order: Sequence[str]) -> Leaf:
        cases = [self._cases[place] for place in places]
        return Leaf(order=tuple(order), of=_told(cases, [first_of(order, case.values) for case in cases]))

    def _best_fork(self, places: Sequence[int], means: Sequence[float]) -> tuple[float, str, float] | None:
        """The regret left, the fact and the threshold of the best question; None where there is none."""
        found: tuple[float, str, float] | None = None
        for fact in self._cases[0].facts:
            for threshold in _thresholds([self._cases[place].facts[fact] for place in places]):
                parts = self._parted(places, fact, threshold)
                if min(map(len, parts)) < self._least:
                    continue
                regret = sum(self._regret(part, self._order(self._means(part, means))) for part in parts)
                if found is None or regret < found[0] - 1e-12:
                    found = (regret, fact, threshold)
        return found

    def _parted(self, places: Sequence[int], fact: str, threshold: float) -> tuple[list[int], list[int]]:
        parts: tuple[list[int], list[int]] = ([], [])
        for place in places:
            parts[self._cases[place].facts[fact] <= threshold].append(place)
        return parts

    def _means(self, places: Sequence[int], above: Sequence[float]) -> list[float]:
        """What each method loses on the mean, with some cases more that are as those above."""
        sums, counts = [_AS_ABOVE * mean for mean in above], [_AS_ABOVE] * len(above)
        for place in places:
            for method, lost in enumerate(self._lost[place]):
                if lost is not None:
                    sums[method] += lost
                    counts[method] += 1
        return [one / count for one, count in zip(sums, counts, strict=True)]

    def _order(self, means: Sequence[float]) -> list[int]:
        return sorted(range(len(means)), key=means.__getitem__)

    def _regret(self, places: Sequence[int], order: Sequence[int]) -> float:
        total = 0.0
        for place in places:
            row = self._lost[place]
            for method in order:
                if (lost := row[method]) is not None:
                    total += lost
                    break
        return total


def _told(cases: Sequence[Case], picks: Sequence[str]) -> Fidelity:
    """How often what was picked is what the engine decides, or nearly as good; and what is lost."""
    lost = [case.best - case.values.get(pick, 0.0) for case, pick in zip(cases, picks, strict=True)]
    count = max(len(cases), 1)
    return Fidelity(
        cases=len(cases),
        agreement=sum(case.winner == pick for case, pick in zip(cases, picks, strict=True)) / count,
        close=sum(one <= _CLOSE for one in lost) / count,
        regret=math.fsum(lost) / count,
    )


def _thresholds(values: Sequence[float]) -> list[float]:
    """Some that part the values at even shares of them, each between two that differ."""
    ordered = sorted(values)
    found = []
    for part in range(1, _TRIED + 1):
        high = ordered[part * (len(ordered) - 1) // (_TRIED + 1) + 1]
        below = [value for value in ordered if value < high]
        if below:
            found.append(_between(below[-1], high))
    return list(dict.fromkeys(found))


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
    asked: dict[str, Callable[[], str]] = {
        "requests a day": lambda: f"More than {words.quantity(threshold, 'n')} requests a day?",
        "model: size": lambda: f"Is the model larger than {words.quantity(threshold, 'bytes', 2)} unpacked?",
        "model: start": lambda: f"Does the model take longer than {words.quantity(threshold, 's', 2)} to start?",
        "model: memory": lambda: f"Does the model take more than {words.quantity(threshold, 'bytes', 2)} of memory?",
    }
    if fact in asked:
        return asked[fact]()
    return f"Is more than {words.share(threshold)} of the {fact.replace('weight of', 'weight on')}?"
