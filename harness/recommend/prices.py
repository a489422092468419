"""The dated price table: what platforms charge, by the name that methods give them in their ``LAYERS``.

``prices.toml`` beside this module has the numbers, each with its source, the words that it was read from and the day
on which it was read. Prices are list prices on demand, without free tiers, discounts, traffic and storage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt

from harness.errors import BadInput
from harness.spec import reading

SPEC_VERSION = 1

_SHIPPED = Path(__file__).with_name("prices.toml")

Usd = Annotated[float, Ge(0)]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a price stands: the page, what it says there, and when that was read.

    ``copied`` is True where the page is not the vendor's own.
    """

    __pydantic_config__ = reading.STRICT

    url: str
    quote: str
    read_on: str
    copied: bool = False


@dataclass(frozen=True, kw_only=True)
class Step:
    """How much of a processor an instance with up to ``memory_mb`` (MiB) gets."""

    __pydantic_config__ = reading.STRICT

    memory_mb: Annotated[int, Gt(0)]
    cpus: Annotated[float, Gt(0)]


@dataclass(frozen=True, kw_only=True)
class ByUse:
    """What is charged where nothing is charged while nobody asks: for each request, and for the time that it takes.

    A second of GiB is of the memory that the instance was given, used or not. ``steps`` are needed where a second of
    a processor is charged. Durations are charged in whole multiples of ``rounded_s``. ``kept_s`` is how long an
    instance that nobody asks is taken to be kept: a request that comes later is a cold start, and pays for it.
    """

    __pydantic_config__ = reading.STRICT

    request: Usd
    gib_second: Usd
    cpu_second: Usd = 0.0
    steps: tuple[Step, ...] = ()
    rounded_s: Annotated[float, Gt(0)]
    kept_s: Annotated[float, Ge(0)]

    def seconds(self, duration_s: float) -> float:
        """What is charged for a duration."""
        return math.ceil(duration_s / self.rounded_s - 1e-9) * self.rounded_s

    def second(self, memory_mb: int) -> float | None:
        """USD for a second of an instance with that memory; None where the platform has none so large."""
        cpus = 0.0
        if self.steps:
            fitting = [step.cpus for step in self.steps if step.memory_mb >= memory_mb]
            if not fitting:
                return None
            cpus = fitting[0]
        return self.gib_second * memory_mb / 1024 + self.cpu_second * cpus


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine that is paid for by the hour, whoever asks."""

    __pydantic_config__ = reading.STRICT

    name: str
    memory_mb: Annotated[int, Gt(0)]
    cpus: Annotated[float, Gt(0)]
    hour: Usd


@dataclass(frozen=True, kw_only=True)
class Tariff:
    """What a platform charges: by use, or for machines, the smallest first."""

    __pydantic_config__ = reading.STRICT

    platform: str
    title: str
    region: str
    by_use: ByUse | None = None
    machines: tuple[Machine, ...] = ()
    sources: tuple[Source, ...]

    def machine(self, memory_mb: int) -> Machine | None:
        """The cheapest machine with that much memory; None where none is priced."""
        fitting = [machine for machine in self.machines if machine.memory_mb >= memory_mb]
        return min(fitting, key=lambda machine: machine.hour, default=None)


@dataclass(frozen=True, kw_only=True)
class Prices:
    """The whole table."""

    __pydantic_config__ = reading.STRICT

    spec_version: int
    currency: str
    tariffs: tuple[Tariff, ...]

    def of(self, platform: str) -> Tariff | None:
        """The tariff of a method's platform, which its name begins with; None where no price is known."""
        return next((one for one in self.tariffs if platform.startswith(one.platform)), None)

    @property
    def read_on(self) -> tuple[str, str]:
        """The first and the last day on which a price was read."""
        days = sorted(source.read_on for one in self.tariffs for source in one.sources)
        return days[0], days[-1]


def read(file: Path) -> Prices:
    """The table in ``file``; BadInput for the first thing wrong with it."""
    table = reading.toml_table(file, remedy="give a price table like harness/recommend/prices.toml")
    if table.get("spec_version") != SPEC_VERSION:
        raise BadInput(
            f"must be {SPEC_VERSION}",
            file=file,
            key="spec_version",
            value=table.get("spec_version"),
            remedy=f"spec_version = {SPEC_VERSION}",
        )
    prices = reading.record(Prices, table, file=file)
    for number, tariff in enumerate(prices.tariffs):
        if (tariff.by_use is None) == (not tariff.machines):
            raise BadInput(
                "charges by use or for machines, one of the two",
                file=file,
                key=f"tariffs.{number}",
                value=tariff.platform,
                remedy="give by_use, or machines",
            )
        if tariff.by_use and list(tariff.by_use.steps) != sorted(tariff.by_use.steps, key=lambda one: one.memory_mb):
            raise BadInput(
                "goes from the least memory to the most",
                file=file,
                key=f"tariffs.{number}.by_use.steps",
                remedy="sort the steps",
            )
    return prices


@cache
def shipped() -> Prices:
    """The table that travels with the harness."""
    return read(_SHIPPED)
