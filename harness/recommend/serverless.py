"""The experiments that test what the article claims of serverless platforms; prices, and where they turn.

What runs here is the platform's own runtime on this machine, not the platform: times are emulated, money is modelled
from them and from dated prices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.recommend import words
from harness.recommend.judging import (
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
    from harness.spec.scenario import Quality
    from harness.store.query import Evidence, Value

#: Lambda does an Init phase that takes longer again at the first request. AWS Lambda Developer Guide, execution
#: environment lifecycle, https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html, read 2026-11-23.
INIT_S = 10.0

#: What counts as infrequent: the traffic of the scenario ``infrequent-use``; a test holds it against that file.
INFREQUENT_PER_DAY = 50.0

_READ_ON = "2026-11-23"


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


@dataclass(frozen=True, kw_only=True)
class Prices:
    """USD in us-east-1, on demand, without free tiers; GB as the vendor counts it, 1024 MB."""

    gb_second: float
    request: float
    machine_gb_hour: float


#: Lambda, x86: "$0.0000166667 per GB-second", "$0.20 per 1 million requests", AWS, How AWS Pricing Works,
#: https://docs.aws.amazon.com/whitepapers/latest/how-aws-pricing-works/lambda.html (which rounds to 0.00001667), read
#: 2026-11-23. The Init phase is billed too, since 2025-08-01 (AWS Compute Blog, 2025-04-29, read 2026-11-23). The
#: machine: T3 for Linux costs 0.0104 USD an hour for each GiB, from t3.nano (0.5 GiB) to t3.large (8 GiB). Amazon fills
#: its price page in by script, so this one was read on 2026-11-23 in copies of its price list made by others.
PRICES = Prices(gb_second=0.0000166667, request=0.20 / 1e6, machine_gb_hour=0.0104)
PRICE_SOURCES = (
    "Lambda: https://docs.aws.amazon.com/whitepapers/latest/how-aws-pricing-works/lambda.html",
    "EC2 T3, from copies of Amazon's price list: https://aws.amazon.com/ec2/pricing/on-demand/",
)

#: The sizes of machines that the price per GiB holds for.
_MACHINES_GB = (0.5, 1, 2, 4, 8)


def turning_point(seconds: float, memory_gb: float) -> float | None:
    """Requests a day from which a machine that is always on costs less than functions that take ``seconds`` each.

    The machine is the smallest with the function's memory; None where none is priced. A day has 24 hours.
    """
    machine = next((size for size in _MACHINES_GB if size >= memory_gb), None)
    if machine is None:
        return None
    each = PRICES.request + PRICES.gb_second * memory_gb * seconds
    return 24 * machine * PRICES.machine_gb_hour / each


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
        stated=tuple(
            Stated(
                method="lambda-zip, lambda-image",
                about="prices",
                has=True,
                statement=statement,
                source=source,
                read_on=_READ_ON,
            )
            for statement, source in zip(_priced(), PRICE_SOURCES, strict=True)
        ),
    )


def _priced() -> tuple[str, str]:
    return (
        (
            f"{PRICES.gb_second:.10f} USD for a GB-second, {PRICES.request * 1e6:.2f} USD for a million requests; "
            "the Init phase is billed; no free tier"
        ),
        f"{PRICES.machine_gb_hour} USD an hour for each GiB of a machine for Linux; storage and traffic not counted",
    )


def _between(values: Sequence[float]) -> str:
    ends = dict.fromkeys(f"{float(f'{value:.3g}'):,.0f}" for value in (min(values), max(values)))
    return " to ".join(ends)


def _break_even(evidence: Evidence, name: str) -> Point | None:
    memory = evidence.manifest.artifacts.get(f"{evidence.model}/{name}", {}).get("memory_mb")
    start = evidence.value(name, "cold_start_s", "disk-cold")
    if memory is None or start is None or start.interval is None:
        return None
    memory_gb = float(memory) / 1024
    cold = _per_day(evidence, start, memory_gb)
    if cold is None:
        return None
    warm = evidence.value(name, "latency_p50_s", "single-stream")
    beside = _per_day(evidence, warm, memory_gb) if warm else None
    sure = start.interval.enough
    cheaper, dearer = sure and cold.low > INFREQUENT_PER_DAY, sure and cold.high < INFREQUENT_PER_DAY
    return Point(
        side="for" if cheaper else "against" if dearer else "open",
        about=f"requests up to which {name} ({memory_gb:g} GB) is cheaper than a machine that is always on",
        model=evidence.model,
        figure=cold.median,
        unit="1/day",
        numbers=(cold, *([beside] if beside else []), number(evidence, start)),
    )


def _per_day(evidence: Evidence, value: Value, memory_gb: float) -> Number | None:
    """The turning point that a measured duration makes; a longer one turns earlier."""
    if value.interval is None:
        return None
    at = [turning_point(each, memory_gb) for each in (value.interval.median, value.interval.high, value.interval.low)]
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
