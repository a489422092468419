"""The experiments that test what the article claims of serverless platforms; prices, and where they turn.

What runs here is the platform's own runtime on this machine, not the platform: times are emulated, money is modelled
from them and from dated prices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.recommend import costs, prices, words
from harness.recommend.claims.judging import (
    Finding,
    Number,
    Point,
    Run,
    Stated,
    answered,
    answers,
    number,
    points_of,
    settled,
    stated,
)

if TYPE_CHECKING:
    from harness.bootstrap import Interval
    from harness.recommend.prices import Tariff
    from harness.spec.scenario import Quality
    from harness.store.query import Evidence, Value

#: Lambda does an Init phase that takes longer again at the first request. AWS Lambda Developer Guide, execution
#: environment lifecycle, https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html, read 2026-11-23.
INIT_S = 10.0

#: What counts as infrequent: the traffic of the scenario ``infrequent-use``; a test holds it against that file.
INFREQUENT_PER_DAY = 50.0


def no_servers(run: Run) -> Finding | None:
    """What is documented of provisioning (to none and up again, by itself) and of managing (patches)."""
    qualities: tuple[Quality, ...] = ("scales-to-zero", "autoscaling", "managed-patching")
    rows = stated(run, run.of_family("serverless"), *qualities)
    turns = "what is shipped: nothing is provisioned, but what an image holds is patched by whoever built it"
    return settled(points_of(rows), stated_of=rows, turns=turns)


def on_demand(run: Run) -> Finding | None:
    """Whether a function that nobody has asked for answers within the time that Lambda gives an Init phase."""
    points: list[Point] = []
    for evidence in run.evidences:
        for name in run.of_family("serverless"):
            if answers(evidence, name) is False:
                failed = answered(evidence, name)
                points += [failed] if failed else []
                continue
            value = evidence.value(name, "cold_start_s", "disk-cold")
            if answers(evidence, name) and value is not None and value.interval is not None:
                points.append(_in_time(evidence, value, value.interval))
    turns = f"the model: it has to fit the platform's limits, and to start within {words.quantity(INIT_S, 's')}"
    return settled(points, turns=turns)


def _in_time(evidence: Evidence, value: Value, interval: Interval) -> Point:
    sure = interval.enough
    within, beyond = sure and interval.high < INIT_S, sure and interval.low > INIT_S
    return Point(
        side="for" if within else "against" if beyond else "open",
        about=f"{value.method} answers a first request in",
        model=evidence.model,
        figure=interval.median,
        unit="s",
        numbers=(number(evidence, value),),
    )


#: What is charged for a function, and for the machine that it is held against.
_FUNCTION, _MACHINE = "serverless, AWS Lambda", "self-hosted"


def turning_point(seconds: float, memory_mb: int) -> float | None:
    """Requests a day from which a machine that is always on costs less than functions that take ``seconds`` each.

    The machine is the smallest with the function's memory; None where none is priced.
    """
    function, machines = _tariff(_FUNCTION).by_use, _tariff(_MACHINE)
    machine = machines.machine(memory_mb)
    assert function is not None
    second = function.second(memory_mb)
    if machine is None or second is None:
        return None
    return 24 * machine.hour / (function.request + second * function.seconds(seconds))


def _tariff(platform: str) -> Tariff:
    found = prices.shipped().of(platform)
    assert found is not None  # a test holds the shipped table to it
    return found


def infrequent(run: Run) -> Finding | None:
    """How many requests a day it takes until a machine that is always on is cheaper than a function.

    Every request is charged as a start from nothing, the dearest case; what a warm function takes, where it was
    measured, gives the cheapest.
    """
    points = [
        point
        for evidence in run.evidences
        for name in run.of_family("serverless")
        if run.methods[name].LAYERS.platform.endswith("AWS Lambda")
        and answers(evidence, name)
        and (point := _break_even(evidence, name))
    ]
    found = settled(points)
    if found is None:
        return None
    cold = [one.median for one in found.numbers if one.unit == "1/day" and one.metric == "cold_start_s"]
    warm = [one.median for one in found.numbers if one.unit == "1/day" and one.metric != "cold_start_s"]
    where = f"the requests a day: from {_between(cold)} on the machine is cheaper, if each is a start from nothing"
    where += f"; from {_between(warm)} on, if none is" if warm else "; what warm ones cost is not measured yet"
    return Finding(
        word=found.word,
        text=f"{found.text}. Infrequent is taken to be {INFREQUENT_PER_DAY:.0f} requests a day",
        turns=where,
        numbers=found.numbers,
        stated=tuple(_priced()),
    )


def _priced() -> Iterator[Stated]:
    for method, tariff in (("lambda-zip, lambda-image", _tariff(_FUNCTION)), ("a machine", _tariff(_MACHINE))):
        for source in tariff.sources:
            yield Stated(
                method=method,
                about="prices",
                has=True,
                statement=f"{tariff.title}, {tariff.region}: {source.quote}",
                source=source.url,
                read_on=source.read_on,
            )


def _between(values: Sequence[float]) -> str:
    ends = dict.fromkeys(f"{float(f'{value:.3g}'):,.0f}" for value in (min(values), max(values)))
    return " to ".join(ends)


def _break_even(evidence: Evidence, name: str) -> Point | None:
    memory = evidence.manifest.artifacts.get(f"{evidence.model}/{name}", {}).get("memory_mb")
    start = evidence.value(name, "cold_start_s", "disk-cold")
    if memory is None or start is None or start.interval is None:
        return None
    memory_mb = int(memory)
    cold = _per_day(evidence, start, memory_mb)
    if cold is None:
        return None
    warm = costs.warm_request(evidence, name)
    beside = _per_day(evidence, warm, memory_mb) if warm else None
    sure = start.interval.enough
    cheaper, dearer = sure and cold.low > INFREQUENT_PER_DAY, sure and cold.high < INFREQUENT_PER_DAY
    return Point(
        side="for" if cheaper else "against" if dearer else "open",
        about=f"requests up to which {name} ({memory_mb / 1024:g} GB) is cheaper than a machine that is always on",
        model=evidence.model,
        figure=cold.median,
        unit="1/day",
        numbers=(cold, *([beside] if beside else []), number(evidence, start)),
    )


def _per_day(evidence: Evidence, value: Value, memory_mb: int) -> Number | None:
    """The turning point that a measured duration makes; a longer one turns earlier."""
    if value.interval is None:
        return None
    at = [turning_point(each, memory_mb) for each in (value.interval.median, value.interval.high, value.interval.low)]
    median, low, high = at
    if median is None or low is None or high is None:
        return None
    return Number(
        run_id=evidence.run_id,
        model=evidence.model,
        method=value.method,
        metric=value.metric,
        state=value.state,
        unit="1/day",
        fidelity="modelled",
        n=value.interval.n,
        median=median,
        low=low,
        high=high,
    )
