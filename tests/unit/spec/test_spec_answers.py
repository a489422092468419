"""When an answer is the expected one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.spec.model import answers_match

NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False, width=32)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_every_value_is_itself(value: Any) -> None:
    """Any JSON value matches itself, even without tolerance."""
    assert answers_match(value, value, 0.0)


@given(NUMBERS, st.floats(1e-9, 0.5), st.floats(-0.99, 0.99))
def test_numbers_match_within_the_tolerance(value: float, tolerance: float, share: float) -> None:
    """The tolerance is relative above 1 and absolute below; just beyond it nothing matches."""
    room = tolerance * max(1.0, abs(value))
    assert answers_match(value, value + share * room, tolerance)
    assert not answers_match(value, value + 1.5 * room, tolerance)
    assert not answers_match(value, value - 1.5 * room, tolerance)


@given(VALUES, VALUES)
def test_a_longer_list_is_another_answer(one: Any, other: Any) -> None:
    """Lists match element by element, and only at the same length."""
    assert not answers_match([one], [one, other], 1.0)
    assert not answers_match([one, other], [one], 1.0)
    assert answers_match([one, other], (one, other), 0.0)


@given(st.dictionaries(st.text(max_size=3), VALUES, min_size=1, max_size=3))
def test_objects_match_key_by_key(table: dict[str, Any]) -> None:
    """A missing or an additional key is another answer; the order of keys is none."""
    assert answers_match(table, dict(reversed(table.items())), 0.0)
    assert not answers_match(table, {**table, "another key": 1}, 1.0)
    assert not answers_match({**table, "another key": 1}, table, 1.0)


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        (1, True),
        (True, 1),
        (0, False),
        (None, 0),
        (0, None),
        (None, False),
        ("1", 1),
        (1, "1"),
        ([1], 1),
        ({"a": 1}, [1]),
        ([], {}),
        (1.0, float("nan")),
        (1.0, float("inf")),
        ("spam", "ham"),
    ],
)
def test_kinds_are_kept_apart(expected: Any, got: Any) -> None:
    """A truth value is no number, a text no number, nothing is no zero, and NaN is never right."""
    assert not answers_match(expected, got, 10.0)


def test_a_huge_integer_is_just_wrong() -> None:
    """An integer beyond what a float holds is another answer, not a crash."""
    assert not answers_match(1.5, 10**400, 1e-6)


@pytest.mark.parametrize("expected", [float("inf"), float("-inf"), float("nan")])
@given(got=VALUES)
def test_what_is_not_finite_makes_nothing_right(expected: float, got: Any) -> None:
    """Neither as what is expected, nor as what is answered."""
    assert not answers_match(expected, got, 1.0)
    assert not answers_match(got, expected, 1.0)


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_answers_may_be_nested_deeply(wrap: Any) -> None:
    """As deep as a reader reads them, or deeper."""
    one, other, wrong = 1.0, 1.0, 2.0
    for _ in range(5_000):
        one, other, wrong = wrap(one), wrap(other), wrap(wrong)
    assert answers_match(one, other, 0.0)
    assert not answers_match(one, wrong, 0.0)
