"""Confidence: resampling that is repeatable, fair to equals, and honest about a tie."""

from __future__ import annotations

import random
from typing import Any

import pytest

from harness.recommend import confidence, value


def run(make: Any, measured: Any, objectives: Any) -> dict[str, confidence.Confidence]:
    """The confidence in every method of ``measured``."""
    evidence = make.evidence(measured)
    scores = [value.score(evidence, method, objectives) for method in measured]
    return confidence.resample(evidence, scores, objectives)


def named(**p_best: float) -> dict[str, confidence.Confidence]:
    """Confidences with only the probability of being best."""
    return {
        method: confidence.Confidence(method=method, p_best=p, p_best_as_weighed=p, low=0.0, high=1.0, gain=0.0)
        for method, p in p_best.items()
    }


def test_better_in_all_is_best_for_sure(make: Any) -> None:
    """Where one method is better in every round and criterion, no resample says otherwise."""
    measured = {
        "a": {"packed_bytes": [2.0], "install_s": [1.0, 1.1, 1.2]},
        "b": {"packed_bytes": [3.0], "install_s": [2.0, 2.1, 2.2]},
    }
    found = run(make, measured, [make.objective(), make.objective("install_s", 2.0)])
    assert (found["a"].p_best, found["b"].p_best) == (1.0, 0.0)
    assert confidence.tied("a", found) == ()


def test_equals_share(make: Any) -> None:
    """Methods with the same measurements are each best in half of the resamples: a tie."""
    same = {"packed_bytes": [5.0], "install_s": [1.0, 2.0, 3.0]}
    found = run(make, {"a": same, "b": same}, [make.objective(), make.objective("install_s", 2.0)])
    assert found["a"].p_best == pytest.approx(0.5)
    assert found["b"].p_best == pytest.approx(0.5)
    assert confidence.tied("a", found) == ("a", "b")


def test_rounds_stay_together(make: Any) -> None:
    """A method faster in every round wins surely, though the rounds differ more than the methods."""
    slow_rounds = [1.0, 9.0, 2.0, 7.0, 1.5, 8.0, 3.0, 6.0]
    measured = {"a": {"install_s": slow_rounds}, "b": {"install_s": [x * 1.1 for x in slow_rounds]}}
    assert run(make, measured, [make.objective("install_s")])["a"].p_best == 1.0


def test_overlapping_noise_is_not_sure(make: Any) -> None:
    """Two methods drawn from the same noise, in rounds of their own luck, are a tie."""
    rng = random.Random(1)
    measured = {name: {"install_s": [rng.gauss(10, 2) for _ in range(8)]} for name in "ab"}
    found = run(make, measured, [make.objective("install_s")])
    winner = max(found.values(), key=lambda c: c.p_best).method
    assert 0 < found[winner].p_best < 1


def test_weights_are_drawn_too(make: Any) -> None:
    """Exact measurements, nearly balanced: sure with the weights as given, unsure when they may vary."""
    measured = {"a": {"packed_bytes": [1.0], "files": [100]}, "b": {"packed_bytes": [100.0], "files": [1]}}
    found = run(make, measured, [make.objective(weight=0.51), make.objective("files", 0.49)])
    assert found["a"].p_best_as_weighed == 1.0
    assert 0.5 < found["a"].p_best < 0.8
    assert found["a"].low == found["a"].high == pytest.approx(0.51)


def test_drawn_weights_have_the_stated_mean_and_spread() -> None:
    """The Dirichlet's mean is the scenario's weights, its deviation what the module says; a zero stays zero."""
    draws = confidence._weights([0.2, 0.8, 0.0])
    first = [draw[0] for draw in draws]
    mean = sum(first) / len(first)
    deviation = (sum((x - mean) ** 2 for x in first) / len(first)) ** 0.5
    assert mean == pytest.approx(0.2, abs=0.01)
    assert deviation == pytest.approx(0.056, abs=0.008)
    assert all(draw[2] == 0.0 and sum(draw) == pytest.approx(1.0) for draw in draws)


def test_resampled_medians_are_medians_of_the_rounds() -> None:
    """Even and odd numbers of rounds give medians between the extremes, around the sample's own."""
    for rounds in ([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0], [1.0, 5.0]):
        medians = confidence._Rounds().medians(dict(enumerate(rounds)))
        assert len(medians) == confidence.RESAMPLES
        assert min(medians) >= min(rounds)
        assert max(medians) <= max(rounds)
        assert sum(medians) / len(medians) == pytest.approx(sum(rounds) / len(rounds), abs=0.2)


def test_the_value_interval_holds_the_value(make: Any) -> None:
    """The interval of a value has spread where measurements have, and holds the value at the medians."""
    measured = {"a": {"install_s": [4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]}}
    objectives = [make.objective("install_s")]
    at_median = value.score(make.evidence(measured), "a", objectives).value
    found = run(make, measured, objectives)["a"]
    assert found.low < at_median < found.high


def test_a_missing_metric_is_worth_nothing_in_every_draw(make: Any) -> None:
    """What was not measured is not filled in by resampling either."""
    found = run(make, {"a": {"packed_bytes": []}, "b": {"packed_bytes": [50.0]}}, [make.objective()])
    assert found["a"].high == 0.0
    assert found["b"].p_best == 1.0


def test_same_samples_same_digits(make: Any) -> None:
    """The draws are seeded, and a method's own do not depend on the order or number of the others."""
    rng = random.Random(7)
    measured = {name: {"install_s": [rng.gauss(10, 2) for _ in range(8)]} for name in "abc"}
    objectives = [make.objective("install_s")]
    found = run(make, measured, objectives)
    assert run(make, measured, objectives) == found
    assert run(make, dict(reversed(measured.items())), objectives) == found
    alone = run(make, {"a": measured["a"]}, objectives)["a"]
    assert (alone.low, alone.high) == (found["a"].low, found["a"].high)


def test_tied_are_the_fewest_that_hold_the_best() -> None:
    """The tie names the most probable methods until one of them is best with 80 %, the winner first."""
    assert confidence.tied("a", named(a=0.8, b=0.2)) == ()
    assert confidence.tied("a", named(a=0.7, b=0.05, c=0.25)) == ("a", "c")
    assert confidence.tied("a", named(a=0.4, b=0.3, c=0.2, d=0.1)) == ("a", "b", "c")


def test_a_winner_that_is_seldom_best_is_tied_with_the_one_that_is() -> None:
    """The highest value at the medians does not stand alone where another is mostly best."""
    assert confidence.tied("a", named(a=0.1, b=0.9)) == ("a", "b")


def test_no_method_no_confidence(make: Any) -> None:
    """Nothing to compare is no error."""
    assert confidence.resample(make.evidence({}), [], [make.objective()]) == {}
