"""How numbers are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics import Unit
from harness.report import numbers


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (52_123_456, "bytes", "52.1 MB"),
        (21_300, "bytes", "0.0213 MB"),
        (1_234_567_890, "bytes", "1,230 MB"),
        (9_996_000, "bytes", "10.0 MB"),
        (0, "bytes", "0 MB"),
        (1.3249, "s", "1.32 s"),
        (0.61234, "s", "612 ms"),
        (0.9994, "s", "999 ms"),
        (0.9996, "s", "1.00 s"),
        (0.00398, "s", "3.98 ms"),
        (1234.5, "s", "1,230 s"),
        (14210, "n", "14,210"),
        (2.5, "n", "2.5"),
        (1, "bool", "yes"),
        (0, "bool", "no"),
        (0.5, "bool", "50 % of the time"),
    ],
)
def test_three_significant_digits_with_a_unit(value: float, unit: Unit, expected: str) -> None:
    """Sizes are in MB, times in s or ms, counts in full; rounding up a digit does not add one."""
    assert numbers.shown(value, unit) == expected


def test_an_interval_is_on_the_scale_of_its_median() -> None:
    """The ends have the unit and the decimals of the median, so that the three can be compared."""
    scale = numbers.scale(1.02, "s")
    assert [scale.full(1.02), scale.number(0.991), scale.number(1.0349)] == ["1.02 s", "0.99", "1.03"]


@pytest.mark.parametrize(
    ("value", "exact", "expected"),
    [
        (1.304, False, "1.30"),
        (1.0004, False, "1.00"),
        (1.0004, True, "1.0004"),
        (1.0, True, "1.00"),
        (0.5, True, "0.500"),
    ],
)
def test_an_exact_ratio_that_is_not_one_is_not_shown_as_one(value: float, exact: bool, expected: str) -> None:
    """Any change in a size is a change (METHODOLOGY, rule 10)."""
    assert numbers.ratio(value, exact=exact) == expected + numbers.TIMES


@pytest.mark.parametrize(
    ("value", "expected"), [(0, "0 %"), (0.001, "< 1 %"), (0.304, "30 %"), (0.9999, "> 99 %"), (1, "100 %")]
)
def test_a_share_is_certain_only_when_it_is(value: float, expected: str) -> None:
    """What is merely close to never or always is not shown as never or always."""
    assert numbers.share(value) == expected


def test_a_line_has_no_control_characters() -> None:
    """A tool's colours and line ends do not reach a report."""
    assert numbers.line("\x1b[31mred\x1b[0m\n\tnext\x00 line") == "red next line"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("one line", "one line"),
        ("\x1b[31mmmdebstrap failed\x1b[0m\n   I: a log\n   I: that goes on", "mmdebstrap failed …"),
        ("a long " + "word " * 50, "a long word word …"),
    ],
)
def test_only_the_first_line_of_a_tools_message_is_shown(text: str, expected: str) -> None:
    """Its log follows it; a long line is cut at a word."""
    assert numbers.brief(text, 17) == expected


def test_a_manifest_value_has_the_unit_of_its_key() -> None:
    """Keys end with their unit; what does not, is shown as it is."""
    shown = [numbers.keyed(key, 8_201_433_088) for key in ("memory_bytes", "seed")]
    assert shown == ["8,200 MB", "8201433088"]
    assert [numbers.plain(value) for value in (None, True, ("a", 1), 0.25)] == [numbers.DASH, "yes", "a, 1", "0.25"]


@given(st.floats(min_value=1e-9, max_value=1e12))
def test_the_shown_number_is_within_half_a_unit_of_the_third_digit(value: float) -> None:
    """Rounding is all that showing does."""
    number = float(numbers.shown(value, "bytes").removesuffix(" MB").replace(",", ""))
    assert number == pytest.approx(value / 1e6, rel=0.0051)
