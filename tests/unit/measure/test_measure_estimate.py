"""Estimates: what steps took is what they will take; what was never taken is guessed from what is alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from harness.measure import estimate, sentinel
from harness.measure.estimate import Past
from harness.measure.plan import Plan


def plan(*models: str, methods: tuple[str, ...] = ("a", "b"), rounds: int = 4, **more: Any) -> Plan:
    """One clean build, one installation."""
    known = {"profile": "quick", "builds": 1, "seed": 1, "folders": {name: name for name in models}, **more}
    return Plan(models=models, methods=methods, rounds=rounds, **known)


def steps(start_s: float, n: int = 10, **more: float) -> dict[str, float]:
    """A cell whose every start took so long, and each other step a second."""
    ones = {f"{kind}_{end}": 1.0 for kind in ("lock", "build", "install") for end in ("s", "n")}
    starts = {f"{state}_{end}": v for state in ("page-warm", "disk-cold") for end, v in (("s", n * start_s), ("n", n))}
    return {**ones, **starts, **more}


def past(sentinel_s: float = 0.1, frameworks: Mapping[str, str] | None = None, **cells: dict[str, float]) -> Past:
    """A run of such cells (``m__a`` is ``m/a``) on a machine of that speed."""
    named = {name.replace("__", "/"): spent for name, spent in cells.items()}
    sentinels = {"m/_sentinel": {"sentinel_s": 5 * sentinel_s, "sentinel_n": 5}}
    return Past(run_id="r", steps={**named, **sentinels}, frameworks=frameworks or {})


def seconds(
    one: Plan,
    *runs: Past,
    ready: str = "ab",
    kept: Mapping[tuple[str, str], tuple[int, list[str]]] | None = None,
    frameworks: Mapping[str, str] | None = None,
    now: float = 0.1,
) -> float:
    """The estimate."""
    known = {"kept": kept or {}, "frameworks": frameworks or {}}
    return estimate.seconds(one, runs, ready=set(ready), sentinel_s=now, **known)


def test_what_was_taken_before_is_taken_again() -> None:
    """Three steps of a second for each method, and four rounds in two states."""
    known = past(m__a=steps(2.0), m__b=steps(3.0))
    assert seconds(plan("m"), known) == pytest.approx(2 * 3 + 4 * 2 * (2 + 3))


def test_the_newest_run_counts() -> None:
    """The first of them."""
    assert seconds(plan("m", methods=("a",)), past(m__a=steps(1.0)), past(m__a=steps(9.0))) == pytest.approx(3 + 8)


def test_a_slower_machine_takes_longer() -> None:
    """By the sentinel, then and now."""
    known = past(m__a=steps(2.0))
    assert seconds(plan("m", methods=("a",)), known, now=0.2) == pytest.approx(sentinel.pace(0.1, 0.2) * (3 + 16))


def test_another_model_is_as_much_slower_with_every_method() -> None:
    """Its start as ``a`` took twice the usual, so does its start as ``b``."""
    known = past(m__a=steps(1.0), m__b=steps(4.0), n__a=steps(3.0))
    exact = 3 + 8 * 3.0
    guessed = 3 + 8 * 4.0 * (3.0 / 2.0)  # the usual of ``a`` is the median of 1 and 3
    assert seconds(plan("n"), known) == pytest.approx(exact + guessed)


def test_a_model_never_measured_is_like_those_of_its_framework() -> None:
    """``n`` starts three times slower than ``m``, and ``new`` is of the framework of ``n``; ``other`` of none known."""
    known = past(m__a=steps(1.0), n__a=steps(3.0), frameworks={"m": "light", "n": "heavy"})
    alone = plan("new", methods=("a",))
    assert seconds(alone, known, frameworks={"new": "heavy"}) == pytest.approx(3 + 8 * 3.0)
    assert seconds(alone, known, frameworks={"new": "light"}) == pytest.approx(3 + 8 * 1.0)
    assert seconds(alone, known, frameworks={"new": "other"}) == pytest.approx(3 + 8 * 2.0)
    assert estimate.guessed(plan("m", "new"), [known]) == ("new",)


def test_what_is_not_ready_or_kept_takes_no_time() -> None:
    """A method that can't be used here; as many builds as the cache stands for, and a part, where they may be kept."""
    known = past(m__a=steps(2.0), m__b=steps(3.0))
    assert seconds(plan("m"), known, ready="a") == pytest.approx(3 + 16)
    kept = {("m", "a"): (1, ["rebuild"])}
    assert seconds(plan("m"), known, ready="a", kept=kept) == pytest.approx(3 + 16)
    assert seconds(plan("m", kept=("build",)), known, ready="a", kept=kept) == pytest.approx(2 + 16, abs=0.1)
    assert seconds(plan("m", kept=("build",), builds=2), known, ready="a", kept=kept) == pytest.approx(3 + 16, abs=0.1)
    whole = plan("m", parts=("rebuild",))
    assert seconds(whole, known, ready="a", kept=kept) > 3 + 16 + 1
    less = replace(whole, kept=("rebuild",))
    assert seconds(less, known, ready="a", kept=kept) == pytest.approx(3 + 16, abs=0.1)


def test_rounds_end_where_they_ended_before() -> None:
    """Of 4 to 8 rounds, 6 were taken."""
    known = past(m__a=steps(1.0, n=6))
    assert seconds(plan("m", methods=("a",), most=8), known) == pytest.approx(3 + 2 * 6)


def test_without_any_run_it_is_still_of_the_right_order() -> None:
    """Minutes, not nothing."""
    assert 30 < seconds(plan("m")) < 300
    assert seconds(plan("m", parts=("rebuild",))) > seconds(plan("m"))
