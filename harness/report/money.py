"""What a month costs, by the rate of requests: a table, the lines of a chart, and where the cheapest changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.recommend import costs, prices
from harness.report import numbers
from harness.report.facts import Fact, identity, text

if TYPE_CHECKING:
    from harness.recommend.limits import Packaging
    from harness.recommend.prices import Tariff
    from harness.store.query import Evidence

#: The rates that the table has, in requests a day.
RATES = (1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0)


@dataclass(frozen=True, kw_only=True)
class CostRow:
    """A method: USD a month at each of the rates, what is charged, and what stood in for what was not measured."""

    method: str
    tariff: str
    months: tuple[Fact, ...]
    stood_in: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """The cheapest method of one tariff, over the rates of :func:`harness.recommend.costs.rates`."""

    tariff: str
    months: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Price:
    """What the prices of a tariff are from."""

    title: str
    region: str
    sources: tuple[str, ...]
    read_on: str
    copied: bool


@dataclass(frozen=True, kw_only=True)
class Money:
    """What a model costs: everything in it is modelled, from what was measured and a dated price table."""

    rates: tuple[float, ...]
    rows: tuple[CostRow, ...]
    lines: tuple[Line, ...]
    cheapest: tuple[Fact, ...]
    prices: tuple[Price, ...]


def of(evidence: Evidence, methods: Mapping[str, Packaging]) -> Money | None:
    """The costs of every method that has a price and was measured; None where there is none."""
    costing = costs.Costing(evidence, methods)
    if not costing.methods:
        return None
    rows = tuple(_row(evidence, costing, name) for name in costing.methods)
    tariffs = {costing.tariff(name).title: costing.tariff(name) for name in costing.methods}
    return Money(
        rates=RATES,
        rows=rows,
        lines=tuple(_line(costing, title) for title in tariffs),
        cheapest=tuple(
            text(f"{span.text}.", evidence.run_id, evidence.model, "cheapest", str(place))
            for place, span in enumerate(costing.cheapest())
        ),
        prices=tuple(_price(one) for one in prices.shipped().tariffs if one.title in tariffs),
    )


def _row(evidence: Evidence, costing: costs.Costing, method: str) -> CostRow:
    return CostRow(
        method=method,
        tariff=costing.tariff(method).title,
        months=tuple(_month(evidence, costing, method, rate) for rate in RATES),
        stood_in=costing.how(method),
    )


def _month(evidence: Evidence, costing: costs.Costing, method: str, rate: float) -> Fact:
    month = costing.month(method, rate)
    assert month is not None
    return Fact(
        id=identity(evidence.run_id, evidence.model, method, costs.METRIC, f"{rate:.0f}-a-day"),
        run=evidence.run_id,
        model=evidence.model,
        method=method,
        metric=costs.METRIC,
        statistic="value",
        value=month,
        shown=numbers.shown(month, "USD"),
    )


def _line(costing: costs.Costing, title: str) -> Line:
    names = [name for name in costing.methods if costing.tariff(name).title == title]
    return Line(
        tariff=title,
        months=tuple(
            min(month for name in names if (month := costing.month(name, rate)) is not None) for rate in costs.rates()
        ),
    )


def _price(tariff: Tariff) -> Price:
    return Price(
        title=tariff.title,
        region=tariff.region,
        sources=tuple(source.url for source in tariff.sources),
        read_on=max(source.read_on for source in tariff.sources),
        copied=any(source.copied for source in tariff.sources),
    )
