"""Medians with bootstrap intervals, and ratios paired within rounds.

The percentile bootstrap of Efron and Tibshirani, *An Introduction to the Bootstrap* (1993), ch. 13. For
a median it needs no drawing: the probability of every outcome of a resample can be written down (Efron,
*The Jackknife, the Bootstrap and Other Resampling Plans* (1982), ch. 10, for odd n; the same argument for
the two middle values gives it for even n). So a reviewer gets the same digits from the same samples, and
at once.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median

#: The share of outcomes that an interval leaves out at either end.
TAIL = 0.025

#: The seed for what does have to be drawn (the confidence of a recommendation).
SEED = 20230127

#: Fewest replicates behind a percentile at 95 % confidence with one exceedance allowed (METHODOLOGY, rule 6).
FEWEST = {50: 8, 90: 46, 95: 93, 99: 473}

#: The modified z-score beyond which a value is called an outlier (Iglewicz and Hoaglin, *How to Detect and Handle
#: Outliers*, 1993): 0.6745 times its distance from the median, over the median of such distances.
_OUTLYING, _NORMAL = 3.5, 0.6745

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
        """Whether every replicate gave the same value: then any change is a change."""
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


def outliers(values: Mapping[int, float]) -> tuple[int, ...]:
    """The rounds whose value is far from the others'. They are told, and stay in every statistic."""
    middle = median(values.values()) if values else 0.0
    distances = {number: abs(value - middle) for number, value in values.items()}
    usual = median(distances.values()) if distances else 0.0
    return tuple(number for number, far in distances.items() if usual and _NORMAL * far / usual > _OUTLYING)


def ratio(numerator: Mapping[int, float], denominator: Mapping[int, float]) -> Interval | None:
    """The median of the ratios within rounds (round -> value), with interval; None without a shared round."""
    shared = sorted(numerator.keys() & denominator.keys())
    ratios = [numerator[r] / denominator[r] for r in shared if denominator[r]]
    return interval(ratios) if ratios else None


@lru_cache(maxsize=4096)
def _interval(values: tuple[float, ...]) -> Interval:
    chances: defaultdict[float, float] = defaultdict(float)
    for outcome, chance in _outcomes(sorted(values)):
        chances[outcome] += chance
    outcomes = sorted(chances)
    return Interval(
        median=median(values),
        low=_quantile(outcomes, chances, TAIL),
        high=-_quantile([-one for one in reversed(outcomes)], {-one: chances[one] for one in outcomes}, TAIL),
        n=len(values),
    )


def _outcomes(ordered: list[float]) -> Iterator[tuple[float, float]]:
    """Every median that a resample of n values can have, with its probability; an outcome may come several times."""
    n = len(ordered)
    middle = (n + 1) // 2
    # at_most[i]: the chance that the middle-th smallest of n draws is among the i smallest values.
    at_most = [sum(_binomial(n, k, i / n) for k in range(middle, n + 1)) for i in range(n + 1)]
    for i in range(n):
        here = at_most[i + 1] - at_most[i]
        if n % 2:
            yield ordered[i], here
            continue
        # Even n: exactly half of the draws are at most value i, one of them it, and the least of the rest is value j.
        apart = 0.0
        lower = (i + 1) ** middle - i**middle
        for j in range(i + 1, n):
            upper = (n - j) ** middle - (n - j - 1) ** middle
            chance = math.comb(n, middle) * lower * upper / n**n
            apart += chance
            yield (ordered[i] + ordered[j]) / 2, chance
        yield ordered[i], max(here - apart, 0.0)


def _binomial(n: int, k: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


def _quantile(outcomes: list[float], chances: Mapping[float, float], share: float) -> float:
    """The first outcome at which at least ``share`` of the probability is reached."""
    reached = 0.0
    for outcome in outcomes:
        reached += chances[outcome]
        if reached >= share:
            return outcome
    return outcomes[-1]
