"""What instances say, field by field: stamps that can be true, errors of any form, and values shown in few words."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ModelFailure
from harness.methods import messages
from harness.methods.contract import LONGEST_BYTES, Limits, Stamps
from harness.methods.messages import Raised, Told


def stamped(interpreter: float, imports: float, weights: float, **ours: float) -> Stamps:
    """Of a start that was asked for at 10, listened at 15 and answered at 20."""
    said = {"interpreter": interpreter, "imports": imports, "weights": weights}
    known = {"spawned_s": 10.0, "sandbox_s": 11.0, "answered_s": 20.0, "listening_s": 15.0}
    return messages.stamped(said, **{**known, **ours})


@pytest.mark.parametrize(
    ("said", "doubt"),
    [
        ((12.0, 14.0, 16.0), ""),
        ((10.0, 10.0, 20.0), ""),
        ((9.9, 14.0, 16.0), "'interpreter' before it was asked for"),
        ((-1e9, 14.0, 16.0), "'interpreter' before it was asked for"),
        ((12.0, 11.0, 16.0), "'imports' before 'interpreter'"),
        ((12.0, 14.0, 13.0), "'weights' before 'imports'"),
        ((12.0, 14.0, 20.1), "its answer arrived before 'weights'"),
        ((15.1, 16.0, 17.0), "it listened before 'interpreter'"),
        ((math.inf, 14.0, 16.0), "'interpreter' is inf"),
        ((12.0, math.nan, 16.0), "'imports' is nan"),
    ],
)
def test_stamps_lie_between_ours_and_in_order(said: tuple[float, float, float], doubt: str) -> None:
    """Else the start is doubtful, and it is said why."""
    found = stamped(*said).doubt
    assert found == (f"what the instance says of its phases cannot be true: {doubt}" if doubt else "")


@given(st.tuples(st.floats(), st.floats(), st.floats()))
def test_what_is_not_doubted_makes_phases_that_add_up(said: tuple[float, float, float]) -> None:
    """None negative, none longer than the whole."""
    found = stamped(*said)
    if not found.doubt:
        ends = [found.spawned_s, found.sandbox_s, found.interpreter_s, found.imports_s, found.weights_s, 20.0]
        assert ends == sorted(ends)
        assert all(map(math.isfinite, ends))


STAMPS = {"interpreter": 1.0, "imports": 2.0, "weights": 3.0}


@pytest.mark.parametrize("value", [None, "1.0", True, [1.0], {}, 10**400])
def test_a_stamp_is_a_number_of_seconds(value: Any) -> None:
    """Nothing that looks like one."""
    with pytest.raises(ModelFailure, match="'imports' is"):
        Told.read({"facts": {}, "stamps": {**STAMPS, "imports": value}})


def test_facts_are_short_printable_texts() -> None:
    """Whatever they were."""
    said = {"python": "3.11", "pid": 7, "share": 0.5, "frozen": None, "evil\x1b[2J": "a\nb\ud800"}
    told = Told.read({"facts": said, "stamps": STAMPS})
    assert told.facts == {
        "python": "3.11",
        "pid": "7",
        "share": "0.5",
        "frozen": "None",
        "evil\\x1b[2J": "a\\nb\\ud800",
    }


@pytest.mark.parametrize("facts", [[], None, {"a": []}, {"a": {}}, {"a": "x" * 10**4}, {str(n): n for n in range(100)}])
def test_other_facts_are_rubbish(facts: Any) -> None:
    """Tables in tables, texts without end, too many."""
    with pytest.raises(ModelFailure, match="told rubbish about itself"):
        Told.read({"facts": facts, "stamps": STAMPS})


ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
ERRORS = ANY | st.dictionaries(st.sampled_from(["stage", "type", "message", "where"]), ANY)


@given(ERRORS)
def test_any_error_is_told_in_few_words(error: Any) -> None:
    """With a remedy or without one, and no line that could be ours."""
    text = messages.worded(error)
    assert len(text) < 4000
    assert all(line.startswith("    ") for line in text.splitlines()[1:])
    assert isinstance(Raised.read(error).remedy, str)


@given(ANY, st.integers(1, 300))
def test_values_are_shown_in_so_many_characters(value: Any, most: int) -> None:
    """Of any shape."""
    assert len(messages.shown(value, most)) <= most


def test_deep_and_wide_values_are_not_walked_through() -> None:
    """Little of them is looked at."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert messages.shown(deep) == "[[[[[...]]]]]"
    assert len(messages.shown(["x" * 10**6] * 10**6)) <= 200
    while deep:  # piece by piece: an interpreter may take one away as deep as it is
        deep = deep[0]


def test_what_was_printed_is_shown_in_short_lines() -> None:
    """The last eight, at most 300 characters of each."""
    lines = messages.printed("\n".join(str(n) * 1000 for n in range(10, 30))).splitlines()
    assert len(lines) == 9
    assert {len(line) for line in lines[1:]} == {304}
    assert lines[-1].startswith("    2929")
    assert messages.printed(" \n") == ""


def test_an_answer_may_be_as_long_as_the_examples_say() -> None:
    """With room for an error, and never longer than the harness can hold."""
    limits = Limits(
        memory_bytes=1, processes=1, disk_bytes=1, start_timeout_s=1, predict_timeout_s=1, answer_bytes=1000
    )
    assert messages.longest_bytes(limits, 3) == 65536 + 3000
    assert messages.longest_bytes(limits, 10**9) == LONGEST_BYTES
