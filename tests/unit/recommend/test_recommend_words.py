"""Quantities as a reader says them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.recommend import words


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (271_000_000, "bytes", "271 MB"),
        (1_024_000_000, "bytes", "1,020 MB"),
        (999, "bytes", "0.000999 MB"),
        (1_500, "bytes", "0.0015 MB"),
        (0.0, "bytes", "0 MB"),
        (0.0123, "s", "12.3 ms"),
        (0.5, "s", "500 ms"),
        (0.9999, "s", "1 s"),
        (1.5, "s", "1.5 s"),
        (90.0, "s", "90 s"),
        (0.0, "s", "0 s"),
        (12345.0, "n", "12,345"),
        (12345.5, "n", "12,300"),
        (1.0, "bool", "yes"),
        (0.0, "bool", "no"),
        (0.5, "bool", "0.5"),
    ],
)
def test_quantity(value: float, unit: Any, expected: str) -> None:
    """Three significant digits, in the one unit that the reports use, never with an exponent."""
    assert words.quantity(value, unit) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0 %"), (1.0, "100 %"), (0.697, "70 %"), (0.001, "< 1 %"), (0.999, "> 99 %"), (0.95, "95 %")],
)
def test_share(value: float, expected: str) -> None:
    """Whole percent with a space; what is merely close to none or all is not said to be it."""
    assert words.share(value) == expected


@given(one=st.integers(0, 10**12), other=st.integers(0, 10**12))
def test_apart_tells_different_numbers_apart(one: int, other: int) -> None:
    """Two texts are equal just when the numbers are."""
    texts = words.apart(float(one), float(other), "bytes")
    assert (texts[0] == texts[1]) == (one == other)


def test_listing() -> None:
    """One item, two, and more."""
    assert [words.listing("a"), words.listing("ab"), words.listing("abc")] == ["a", "a and b", "a, b and c"]
