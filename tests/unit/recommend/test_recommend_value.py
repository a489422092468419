"""Values: fixed scales, normalised weights, nothing for what was not measured."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.recommend import value
from harness.spec.scenario import Objective

END = st.floats(min_value=1e-3, max_value=1e9)


@st.composite
def objectives(draw: st.DrawFn) -> Objective:
    """Any objective with ends that differ by more than rounding."""
    best = draw(END)
    worst = best * draw(st.one_of(st.floats(1.01, 1e4), st.floats(1e-4, 0.99)))
    return Objective(
        metric="packed_bytes", weight=1.0, best=best, worst=worst, scale=draw(st.sampled_from(["linear", "log"]))
    )


@pytest.mark.parametrize(
    ("scale", "measured", "expected"),
    [
        ("linear", 1.0, 1.0),
        ("linear", 100.0, 0.0),
        ("linear", 50.5, 0.5),
        ("linear", 25.75, 0.75),
        ("log", 1.0, 1.0),
        ("log", 10.0, 0.5),
        ("log", 100.0, 0.0),
        ("log", 0.01, 1.0),
        ("log", 1e6, 0.0),
        ("log", 0.0, 1.0),
    ],
)
def test_worth_by_hand(make: Any, scale: str, measured: float, expected: float) -> None:
    """On a scale from 1 (best) to 100 (worst), worth is what one computes by hand, and is clamped beyond the ends."""
    assert value.worth(measured, make.objective(scale=scale)) == pytest.approx(expected)


def test_worth_of_a_metric_that_is_better_when_higher(make: Any) -> None:
    """With the better end above, the scale turns round; 0 on a log scale is then beyond the worst."""
    upwards = make.objective("parity", best=100.0, worst=1.0)
    assert value.worth(10.0, upwards) == pytest.approx(0.5)
    assert value.worth(0.0, upwards) == 0.0
    assert value.worth(1000.0, upwards) == 1.0


def test_ends_that_have_the_same_logarithm(make: Any) -> None:
    """A log scale too short for its logarithms to differ is a step, not a division by zero."""
    best = 1e10
    short = make.objective(best=best, worst=math.nextafter(best, math.inf))
    assert [value.worth(short.best, short), value.worth(short.worst, short)] == [1.0, 0.0]


def test_each_halving_is_worth_the_same_on_a_log_scale(make: Any) -> None:
    """From 64 to 32 is as good as from 4 to 2."""
    gain = [value.worth(x / 2, make.objective()) - value.worth(x, make.objective()) for x in (64.0, 4.0)]
    assert gain[0] == pytest.approx(gain[1])


@given(objective=objectives(), one=st.floats(0, 1e12), other=st.floats(0, 1e12))
def test_worth_is_bounded_and_monotone(objective: Objective, one: float, other: float) -> None:
    """Worth lies in [0, 1], is 1 and 0 at the ends, and never rises on the way from best to worst."""
    low, high = sorted((one, other))
    at_low, at_high = value.worth(low, objective), value.worth(high, objective)
    assert 0 <= at_low <= 1
    assert 0 <= at_high <= 1
    assert (at_low >= at_high) if objective.best < objective.worst else (at_low <= at_high)
    assert value.worth(objective.best, objective) == 1.0
    assert value.worth(objective.worst, objective) == 0.0


def test_score_by_hand(make: Any) -> None:
    """Weights 3 and 1 count as 0.75 and 0.25; worths 0.5 and 1 make 0.625, from the medians."""
    evidence = make.evidence({"pex": {"packed_bytes": [10.0], "install_s": [1.0, 0.5, 30.0]}})
    scored = value.score(evidence, "pex", [make.objective(weight=3.0), make.objective("install_s", 1.0)])
    assert [c.weight for c in scored.contributions] == [0.75, 0.25]
    assert [c.worth for c in scored.contributions] == pytest.approx([0.5, 1.0])
    assert scored.contributions[1].median == 1.0
    assert scored.value == pytest.approx(0.625)
    assert scored.value == pytest.approx(sum(c.points for c in scored.contributions))


@given(
    weights=st.lists(st.floats(0.01, 100), min_size=3, max_size=3),
    factor=st.floats(1e-3, 1e3),
    medians=st.lists(st.floats(0.1, 1000), min_size=3, max_size=3),
)
def test_only_the_proportions_of_weights_matter(
    make: Any, weights: list[float], factor: float, medians: list[float]
) -> None:
    """Weights multiplied by a common factor give the same value, and it stays in [0, 1]."""
    metrics = ["packed_bytes", "install_s", "files"]
    evidence = make.evidence({"pex": {metric: [median] for metric, median in zip(metrics, medians, strict=True)}})
    plain = [make.objective(m, w) for m, w in zip(metrics, weights, strict=True)]
    scaled = [make.objective(m, w * factor) for m, w in zip(metrics, weights, strict=True)]
    found = value.score(evidence, "pex", plain).value
    assert found == pytest.approx(value.score(evidence, "pex", scaled).value)
    assert 0 <= found <= 1


@given(better=st.floats(0.1, 1000), worse=st.floats(0.1, 1000))
def test_a_better_measurement_never_lowers_the_value(make: Any, better: float, worse: float) -> None:
    """Of two methods that differ in one metric, the one that needs less is worth at least as much."""
    better, worse = sorted((better, worse))
    evidence = make.evidence(
        {"a": {"packed_bytes": [better], "files": [9]}, "b": {"packed_bytes": [worse], "files": [9]}}
    )
    wanted = [make.objective(), make.objective("files", 2.0)]
    assert value.score(evidence, "a", wanted).value >= value.score(evidence, "b", wanted).value


def test_absurdly_large_weights_are_still_proportions(make: Any) -> None:
    """Weights whose sum is beyond any float are normalised all the same."""
    assert value.normalised([make.objective(weight=1.5e308), make.objective(weight=0.5e308)]) == [0.75, 0.25]


def test_what_was_not_measured_earns_nothing_and_is_said(make: Any) -> None:
    """An absent metric keeps its weight with worth 0, with the reason that the run gives; so does one never tried."""
    evidence = make.evidence({"pex": {"packed_bytes": [1.0], "install_s": []}})
    wanted = [make.objective(weight=0.5), make.objective("install_s", 0.25), make.objective("files", 0.25)]
    scored = value.score(evidence, "pex", wanted)
    assert scored.value == pytest.approx(0.5)
    gaps = value.missing([scored])
    assert [(gap.metric, gap.weight) for gap in gaps] == [("install_s", 0.25), ("files", 0.25)]
    assert "the tool broke; counted as worth 0" in gaps[0].why
    assert "was not measured; counted as worth 0" in gaps[1].why


def test_a_missing_metric_without_weight_is_no_gap(make: Any) -> None:
    """What the scenario gives no weight is not reported as missing."""
    scored = value.score(
        make.evidence({"pex": {"packed_bytes": [1.0]}}), "pex", [make.objective(), make.objective("files", 0.0)]
    )
    assert value.missing([scored]) == ()
    assert scored.value == 1.0
