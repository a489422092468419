"""Medians with bootstrap intervals, and ratios paired within rounds."""

from __future__ import annotations

from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import bootstrap
from harness.bootstrap import Interval, interval, ratio

VALUES = st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=30)


@settings(max_examples=25)
@given(VALUES)
def test_the_interval_holds_the_median(values: list[float]) -> None:
    """The median is the sample's, the interval contains it and stays within the sample."""
    found = interval(values)
    assert found.median == median(values)
    assert min(values) <= found.low <= found.median <= found.high <= max(values)
    assert found.n == len(values)


def test_the_same_samples_give_the_same_digits() -> None:
    """The seed is fixed: a reviewer who computes it again finds these digits."""
    values = [8.0, 12.0, 9.0, 11.0, 13.0, 7.0, 10.0, 14.0]
    bootstrap._interval.cache_clear()
    first = interval(values)
    bootstrap._interval.cache_clear()
    assert interval(tuple(values)) == first
    assert first == Interval(median=10.5, low=8.0, high=13.0, n=8)


def test_constant_samples_are_exact() -> None:
    """Where every replicate gave the same, the interval is a point and one is enough."""
    found = interval([3.0, 3.0, 3.0])
    assert (found.low, found.median, found.high) == (3.0, 3.0, 3.0)
    assert found.exact
    assert found.enough
    assert not found.unstable
    assert interval([7.0]).exact


@pytest.mark.parametrize(("count", "enough"), [(7, False), (8, True)])
def test_a_headline_needs_eight_replicates(count: int, enough: bool) -> None:
    """Seven different values are too few, eight are enough."""
    assert interval([1.0 + 0.001 * number for number in range(count)]).enough is enough


def test_a_wide_interval_is_unstable() -> None:
    """More than 5 % of the median either way is unstable; exactly 5 % is not."""
    assert Interval(median=100.0, low=95.0, high=105.0, n=9).unstable is False
    assert Interval(median=100.0, low=94.9, high=100.0, n=9).unstable is True
    assert Interval(median=100.0, low=100.0, high=105.1, n=9).unstable is True


def test_an_interval_of_nothing_is_an_error() -> None:
    """No values have no median."""
    with pytest.raises(ValueError, match="no values"):
        interval([])


def test_a_ratio_pairs_rounds() -> None:
    """A drift that both share cancels out; rounds that only one has don't count."""
    drift = {number: 1.0 + number for number in range(8)}
    doubled = {number: 2 * value for number, value in drift.items()} | {99: 5.0}
    found = ratio(doubled, drift)
    assert found is not None
    assert found.exact
    assert (found.median, found.n) == (2.0, 8)


def test_a_ratio_without_a_shared_round_is_none() -> None:
    """Nothing is made up where nothing can be paired, or where it would be a division by zero."""
    assert ratio({0: 1.0}, {1: 1.0}) is None
    assert ratio({}, {}) is None
    assert ratio({0: 1.0}, {0: 0.0}) is None


def test_a_value_far_from_the_others_is_an_outlier() -> None:
    """By the modified z-score, which the outlier itself does not widen; without spread nothing is one."""
    values = {n: 1.0 + 0.01 * (n % 5) for n in range(10)}
    assert bootstrap.outliers(values) == ()
    assert bootstrap.outliers({**values, 10: 2.0}) == (10,)
    assert bootstrap.outliers({0: 1.0, 1: 1.0, 2: 1.0, 3: 5.0}) == ()
    assert bootstrap.outliers({}) == ()
