"""Medians with bootstrap intervals, and ratios paired within rounds.

The percentile bootstrap of Efron and Tibshirani, *An Introduction to the Bootstrap* (1993), ch. 13,
with a fixed seed so that a reviewer gets the same digits from the same samples.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median

RESAMPLES = 2000
SEED = 20230127

#: Fewest replicates behind a percentile at 95 % confidence with one exceedance allowed (METHODOLOGY, rule 6).
FEWEST = {50: 8, 90: 46, 95: 93, 99: 473}

#: Half the 95 % interval of the median, relative to it, above which a result is labelled unstable.
STABLE_WITHIN = 0.05


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A median and its 95 % bootstrap interval, from ``n`` replicates."""

    median: float
    low: float
    high: float
    n: int

    @property
    def exact(self) -> bool:
        """Whether every replicate gave the same value: then any change is a change. Of one replicate this says nothing."""
        return self.low == self.high

    @property
    def enough(self) -> bool:
        """Whether there are enough replicates for a headline median."""
        return self.exact or self.n >= FEWEST[50]

    @property
    def unstable(self) -> bool:
        """Whether the interval is wider than 5 % of the median either way."""
        spread = max(self.high - self.median, self.median - self.low)
        return spread > STABLE_WITHIN * abs(self.median)


def interval(values: Sequence[float]) -> Interval:
    """The median of ``values`` (at least one) with its 95 % bootstrap interval."""
    if not values:
        raise ValueError("no values")
    return _interval(tuple(values))


def ratio(numerator: Mapping[int, float], denominator: Mapping[int, float]) -> Interval | None:
    """The median of the ratios within rounds (round -> value), with interval; None without a shared round."""
    shared = sorted(numerator.keys() & denominator.keys())
    ratios = [numerator[r] / denominator[r] for r in shared if denominator[r]]
    return interval(ratios) if ratios else None


@lru_cache(maxsize=4096)
def _interval(values: tuple[float, ...]) -> Interval:
    middle = median(values)
    if len(set(values)) == 1:
        return Interval(median=middle, low=middle, high=middle, n=len(values))
    rng = random.Random(SEED)
    medians = sorted(median(rng.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return Interval(
        median=middle,
        low=medians[math.floor(0.025 * (RESAMPLES - 1))],
        high=medians[math.ceil(0.975 * (RESAMPLES - 1))],
        n=len(values),
    )
