"""What a month costs: measured durations and memory, times the dated prices of :mod:`harness.recommend.prices`.

Everything here is ``modelled``. The memory is what ``model.toml`` gives an instance (``resources.memory_mb``), which is
also what it was measured with.

*By use* (functions): each request is charged, and the seconds of the instance that answers it. A request that finds
no instance waiting pays for a start instead: the disk-cold one, first prediction included. With requests that come
independently of each other at a rate r (a Poisson process), the next one comes later than the platform keeps an idle
instance, T, with probability p = exp(-r T); that is the share of cold starts. So it costs in a month

    r month (request + second ((1 - p) warm + p cold))

with durations as the platform rounds them up. Platforms promise no T: the price table says what it is taken to be.

*By machine* (everything else): the smallest machine with the memory, always on, and as many of them as the rate needs
that one instance was measured to answer: ceil(r / throughput). No reserve for peaks, which a scenario's average does
not tell; no second machine for safety.

A warm request takes the median latency of a single stream where that was measured, else the median of the requests
that follow the first of a start, else (in older runs) that first one, which is not shorter.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness import bootstrap
from harness.metrics import State
from harness.recommend import prices as tables
from harness.recommend import words
from harness.recommend.value import worth
from harness.store.query import Value

if TYPE_CHECKING:
    from harness.recommend.limits import Packaging
    from harness.recommend.prices import ByUse, Prices, Tariff
    from harness.recommend.value import Score
    from harness.spec.scenario import Scenario
    from harness.store.query import Evidence

#: The metric that is computed here, and is never a sample.
METRIC = "cost_month_usd"

DAY_S = 86_400.0
_LEAST_S = 1e-6  # below which no duration is believed
MONTH_DAYS = 365 / 12
_MONTH_HOURS = 24 * MONTH_DAYS


#: What is taken for a warm request, the best first; and what stands for one in runs that have neither.
_WARM: tuple[tuple[str, State], ...] = (("latency_p50_s", "single-stream"), ("warm_request_s", "page-warm"))
_FIRST: tuple[str, State] = ("phase_prediction_s", "page-warm")

#: The metrics that costs are made of.
TAKEN = ("cold_start_s", *(metric for metric, _ in (*_WARM, _FIRST)), "throughput_per_s")


@dataclass(frozen=True, kw_only=True)
class Durations:
    """What a request takes of an instance: seconds from nothing, and when it is warm; requests a second at most.

    ``by`` says what stood in for what was not measured, in a reader's words.
    """

    cold_s: float
    warm_s: float
    per_second: float
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """USD a month at a rate, and what it is made of. ``machines`` is 0 where it is charged by use."""

    month: float
    cold_share: float = 0.0
    machines: int = 0
    machine: str = ""


def cost(tariff: Tariff, memory_mb: int, durations: Durations, per_day: float) -> Cost | None:
    """What a month costs at ``per_day`` requests; None where nothing of the platform's is large enough."""
    rate = per_day / DAY_S
    if tariff.by_use is not None:
        return _by_use(tariff.by_use, memory_mb, durations, rate)
    machine = tariff.machine(memory_mb)
    if machine is None:
        return None
    # Rounded up from what floats make of a whole number of machines.
    count = max(1, math.ceil(rate / durations.per_second - 1e-9))
    return Cost(month=count * machine.hour * _MONTH_HOURS, machines=count, machine=machine.name)


def _by_use(charged: ByUse, memory_mb: int, durations: Durations, rate: float) -> Cost | None:
    second = charged.second(memory_mb)
    if second is None:
        return None
    share = math.exp(-rate * charged.kept_s)
    seconds = (1 - share) * charged.seconds(durations.warm_s) + share * charged.seconds(durations.cold_s)
    requests = rate * DAY_S * MONTH_DAYS
    return Cost(month=requests * (charged.request + second * seconds), cold_share=share)


def priced(
    evidence: Evidence, methods: Mapping[str, Packaging], per_day: float, prices: Prices | None = None
) -> Evidence:
    """The evidence with what each method costs at that many requests a day, as one more value of it."""
    table = prices or tables.shipped()
    found = [_value(evidence, name, method, per_day, table) for name, method in methods.items()]
    return dataclasses.replace(evidence, values=(*evidence.values, *(one for one in found if one is not None)))


def _value(evidence: Evidence, name: str, method: Packaging, per_day: float, prices: Prices) -> Value | None:
    if evidence.failure(name):
        return None
    empty = Value(
        model=evidence.model,
        method=name,
        limits="default",
        metric=METRIC,
        state="",
        fidelity="modelled",
        by_round={},
        interval=None,
    )
    tariff, memory_mb = prices.of(method.LAYERS.platform), memory_of(evidence, name)
    if tariff is None:
        return dataclasses.replace(empty, why_absent=f"no price of {method.LAYERS.platform} is known")
    if memory_mb is None:
        return dataclasses.replace(empty, why_absent="the run does not tell what memory an instance was given")
    taken = by_round(evidence, name)
    if not taken:
        return dataclasses.replace(empty, why_absent="no disk-cold start was measured")
    found = {number: cost(tariff, memory_mb, one, per_day) for number, one in taken.items()}
    values = {number: one.month for number, one in found.items() if one is not None}
    if not values:
        return dataclasses.replace(empty, why_absent=f"nothing of {tariff.title} has {memory_mb} MB of memory")
    interval = bootstrap.interval(list(values.values()))
    return dataclasses.replace(empty, by_round=values, interval=interval)


def by_round(evidence: Evidence, method: str) -> dict[int, Durations]:
    """What requests took, for each round of disk-cold starts; empty where there is none."""
    starts = evidence.value(method, "cold_start_s", "disk-cold") or evidence.value(method, "cold_start_s", "page-warm")
    if starts is None or not starts.by_round:
        return {}
    warm_s, per_second = warm(evidence, method)
    by = _stood_in(evidence, method)
    return {
        number: Durations(
            cold_s=cold_s,
            warm_s=min(warm_s if warm_s is not None else cold_s, cold_s),
            per_second=per_second or 1.0 / max(warm_s or cold_s, _LEAST_S),
            by=by,
        )
        for number, cold_s in starts.by_round.items()
    }


def warm(evidence: Evidence, method: str) -> tuple[float | None, float | None]:
    """Seconds of a warm request, and requests a second under saturation; None where they are not known."""
    value = warm_request(evidence, method) or evidence.value(method, *_FIRST)
    known = value.interval if value else None
    saturated = evidence.interval(method, "throughput_per_s", "saturation")
    return known.median if known else None, saturated.median if saturated else None


def warm_request(evidence: Evidence, method: str) -> Value | None:
    """What a warm request was measured to take; None where that was not measured."""
    values = (evidence.value(method, metric, state) for metric, state in _WARM)
    return next((value for value in values if value is not None and value.interval is not None), None)


def _stood_in(evidence: Evidence, method: str) -> str:
    if warm_request(evidence, method):
        return ""
    if evidence.interval(method, *_FIRST):
        return "the first prediction of a start stands for a warm one"
    return "every request is taken for a cold start"


def memory_of(evidence: Evidence, method: str) -> int | None:
    """MiB that an instance is given: by the model, or as an older run noted it of the artifact."""
    noted = evidence.manifest.models.get(evidence.model, {}).get("memory_mb")
    if noted is None:
        noted = next(
            (
                facts["memory_mb"]
                for name in (method, *evidence.methods)
                if "memory_mb" in (facts := evidence.manifest.artifacts.get(f"{evidence.model}/{name}", {}))
            ),
            None,
        )
    return int(noted) if noted is not None else None


# --- over the rate of requests -------------------------------------------------------------------

#: Between which rates, in requests a day, curves are drawn and turning points looked for.
LEAST, MOST = 1.0, 10e6

_EACH_DECADE = 12
_CLOSE = 1e-3  # of the logarithm of a rate


@dataclass(frozen=True, kw_only=True)
class RateFlip:
    """The requests a day between which ``method`` leads, all else being equal; None where there is no end."""

    method: str
    above: float | None
    below: float | None
    text: str


def rates() -> tuple[float, ...]:
    """Requests a day, evenly spread over the decades from :data:`LEAST` to :data:`MOST`."""
    steps = round(math.log10(MOST / LEAST) * _EACH_DECADE)
    return tuple(LEAST * 10 ** (place / _EACH_DECADE) for place in range(steps + 1))


class Costing:
    """What methods cost at any rate, from the medians of one run."""

    def __init__(self, evidence: Evidence, methods: Mapping[str, Packaging], prices: Prices | None = None) -> None:
        table = prices or tables.shipped()
        self._known: dict[str, tuple[Tariff, int, Durations]] = {}
        for name, method in methods.items():
            taken = None if evidence.failure(name) else _at_the_median(evidence, name)
            tariff, memory_mb = table.of(method.LAYERS.platform), memory_of(evidence, name)
            if taken is None or tariff is None or memory_mb is None:
                continue
            # That something of the platform's is large enough does not depend on the rate.
            if cost(tariff, memory_mb, taken, LEAST) is not None:
                self._known[name] = tariff, memory_mb, taken

    @property
    def methods(self) -> tuple[str, ...]:
        """Those that have a price and were measured."""
        return tuple(self._known)

    def month(self, method: str, per_day: float) -> float | None:
        """USD a month; None where it is not known."""
        if method not in self._known:
            return None
        found = cost(*self._known[method], per_day)
        return found.month if found else None

    def tariff(self, method: str) -> Tariff:
        """What its platform charges; KeyError where it is not known."""
        return self._known[method][0]

    def how(self, method: str) -> str:
        """What stood in for what was not measured; KeyError where the cost is not known."""
        return self._known[method][2].by

    def cheapest(self) -> tuple[RateFlip, ...]:
        """Which platform costs least at which rate, each named by the title of its tariff."""

        def least(per_day: float) -> str:
            found = {name: month for name in self._known if (month := self.month(name, per_day)) is not None}
            return self.tariff(min(found, key=found.__getitem__)).title

        return _spans(_changes(least), "costs least") if self._known else ()


def flips_by_rate(
    evidence: Evidence, scenario: Scenario, methods: Mapping[str, Packaging], ranked: Sequence[Score]
) -> tuple[RateFlip, ...]:
    """Which method leads at which rate of requests, the worth of everything but cost being as it is.

    At the medians; empty where one leads at every rate.
    """
    place = next(number for number, one in enumerate(scenario.objectives) if one.metric == METRIC)
    objective = scenario.objectives[place]
    costing = Costing(evidence, {score.method: methods[score.method] for score in ranked})

    def leader(per_day: float) -> str:
        values = {}
        for score in ranked:
            month, mine = costing.month(score.method, per_day), score.contributions[place]
            earned = mine.weight * worth(month, objective) if month is not None else 0.0
            values[score.method] = score.value - mine.points + earned
        return max(values, key=values.__getitem__)

    return _spans(_changes(leader), "leads") if ranked else ()


def _spans(changes: Sequence[tuple[float, str, str]], does: str) -> tuple[RateFlip, ...]:
    """Who comes first between which rates; empty where one does at every rate."""
    if not changes:
        return ()
    ends = [None, *(at for at, _, _ in changes), None]
    leaders = [changes[0][1], *(beyond for _, _, beyond in changes)]
    return tuple(
        RateFlip(method=name, above=above, below=below, text=f"{name} {does} {_between(above, below)}")
        for name, above, below in zip(leaders, ends, ends[1:], strict=False)
    )


def _changes(answer: Callable[[float], str]) -> list[tuple[float, str, str]]:
    """The rates at which an answer becomes another one: the rate, the answer below it and the one beyond."""
    found = []
    known = [(rate, answer(rate)) for rate in rates()]
    for (low, before), (high, after) in itertools.pairwise(known):
        if before == after:
            continue
        left, right = math.log(low), math.log(high)
        while right - left > _CLOSE:
            middle = (left + right) / 2
            if answer(math.exp(middle)) == before:
                left = middle
            else:
                right = middle
        found.append((math.exp(right), before, answer(math.exp(right))))
    return found


def _between(above: float | None, below: float | None) -> str:
    def said(rate: float) -> str:
        return words.quantity(float(f"{rate:.2g}"), "n")

    if above is None:
        assert below is not None
        return f"below {said(below)} requests a day"
    return (
        f"above {said(above)} requests a day"
        if below is None
        else f"from {said(above)} to {said(below)} requests a day"
    )


def _at_the_median(evidence: Evidence, method: str) -> Durations | None:
    found = by_round(evidence, method)
    if not found:
        return None
    some = next(iter(found.values()))
    cold_s = bootstrap.interval([one.cold_s for one in found.values()]).median
    return dataclasses.replace(some, cold_s=cold_s, warm_s=min(some.warm_s, cold_s))
