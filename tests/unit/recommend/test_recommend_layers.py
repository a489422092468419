"""Layers combined, the second aggregation, and what would be worth measuring."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.methods import METHODS
from harness.recommend import engine, explain, layers, topsis
from harness.spec.scenario import Target

START = ("cold_start_s", "page-warm")


@pytest.fixture
def evidence(make: Any) -> Any:
    """A container, a plain environment and the same with an API."""
    return make.evidence(
        {
            "container": {"packed_bytes": [90.0], START: [1.0, 1.2, 1.4], "install_s": [3.0]},
            "venv": {"packed_bytes": [80.0], START: [0.7, 0.7, 0.7], "install_s": [2.0]},
            "rest-api": {"packed_bytes": [85.0], START: [0.9, 0.8, 0.6]},
        }
    )


def test_an_api_in_a_container(evidence: Any, make: Any) -> None:
    """What the API adds to its own environment, on top of the container, round by round; nothing comes for free."""
    scenario = make.scenario(make.objective(best=1.0, worst=1000.0), needs=("http-api", "carries-python"))
    found = layers.combinations(scenario, METHODS)
    assert "container+rest-api" in found
    one = found["container+rest-api"]
    assert {"container-engine"} == one.REQUIRES
    assert {"http-api", "form-page", "carries-python"} <= one.PROVIDES
    both = layers.with_combinations(evidence, found)
    packed, start = both.value(one.ID, "packed_bytes"), both.value(one.ID, *START)
    assert (packed.interval.median, packed.fidelity) == (95.0, "modelled")
    assert list(start.by_round.values()) == pytest.approx([1.2, 1.3, 1.4])
    assert both.value(one.ID, "install_s") is None  # the API was not installed
    advice = engine.recommend(evidence, scenario, METHODS)
    assert advice.winner == "container+rest-api"
    assert {item.rule for item in advice.excluded if item.method == "rest-api"} == {"needs"}


def test_a_combination_of_predictions_is_uncertain_too(evidence: Any) -> None:
    """Predictions are of no common round: the environment's spread stays, moved by what the medians add."""
    parts = [evidence.value(name, *START) for name in ("container", "rest-api", "venv")]
    apart = [
        replace(value, by_round={100 * place + number: one for number, one in value.by_round.items()})
        for place, value in enumerate(parts)
    ]
    assert list(layers._added(*apart).values()) == pytest.approx([1.1, 1.3, 1.5])


def test_no_combination_where_a_method_will_do(make: Any) -> None:
    """What needs no interface gets none; an interface on its own environment is the method itself."""
    assert layers.combinations(make.scenario(), METHODS) == {}
    found = layers.combinations(make.scenario(needs=("http-api",)), METHODS)
    assert {"venv+rest-api", "rest-api+rest-api", "lambda-zip+rest-api"} & found.keys() == set()
    assert layers.combinations(make.scenario(needs=("http-api", "scales-to-zero")), METHODS) == {}


def test_a_combination_of_what_failed_fails(make: Any) -> None:
    """With the reason of whichever it was."""
    evidence = make.evidence({"container": {}, "venv": {}, "rest-api": {"parity": []}})
    scenario = make.scenario(needs=("http-api", "carries-python"))
    advice = engine.recommend(evidence, scenario, METHODS)
    reasons = [item.reason for item in advice.excluded if item.method == "container+rest-api"]
    assert any("rest-api" in reason for reason in reasons)


def test_transfer_goes_over_the_targets_link(evidence: Any, make: Any) -> None:
    """Ninety bytes over 8 bit/s are ninety seconds."""
    objective = make.objective("transfer_s", best=1.0, worst=1000.0)
    scenario = make.scenario(objective, target=Target(link_mbit=8e-6))
    found = engine.recommend(evidence, scenario, {name: METHODS[name] for name in ("container", "venv")})
    medians = {option.method: option.contributions[0].median for option in found.ranked}
    assert medians == {"container": pytest.approx(90.0), "venv": pytest.approx(80.0)}


def test_closeness_by_hand(make: Any) -> None:
    """Worth 1 and 0.5 with equal weights: 0.559 from nothing, 0.25 from the ideal."""
    evidence = make.evidence({"pex": {"packed_bytes": [1.0], "files": [10.0]}})
    scenario = make.scenario(make.objective(), make.objective("files"))
    found = engine.recommend(evidence, scenario, {"pex": METHODS["pex"]})
    assert found.second is not None
    ahead, behind = (0.5**2 + 0.25**2) ** 0.5, 0.25
    assert dict(found.second.closeness)["pex"] == pytest.approx(ahead / (ahead + behind))
    assert (found.second.winner, found.second.agrees) == ("pex", True)


def test_a_weakness_that_is_made_up_for(make: Any) -> None:
    """Worth 1, 1 and 0 adds up to more than 0.65 each; by distance it is behind, and that is told."""
    even = 100 ** (1 - 0.65)
    metrics = ("packed_bytes", "unpacked_bytes", "files")
    evidence = make.evidence(
        {
            "pex": dict(zip(metrics, ([1.0], [1.0], [100.0]), strict=True)),
            "venv": {metric: [even] for metric in metrics},
        }
    )
    scenario = make.scenario(*(make.objective(metric) for metric in metrics))
    found = engine.recommend(evidence, scenario, {name: METHODS[name] for name in ("pex", "venv")})
    assert found.second is not None
    assert (found.ranked[0].method, found.second.winner) == ("pex", "venv")
    assert found.second.swapped == (("pex", "venv"),)
    assert found.second.agrees is ("venv" in found.tie)
    assert topsis.opinion([], ()) is None


def test_what_is_worth_measuring(make: Any) -> None:
    """A modelled method whose interval reaches across the winner's; not one far behind, nor what was measured."""
    sure = make.evidence({"pex": {"packed_bytes": [10.0] * 5}})
    unsure = make.evidence(
        {"venv": {"packed_bytes": [5.0, 8.0, 11.0, 14.0, 17.0]}, "container": {"packed_bytes": [90.0] * 5}},
        fidelity="modelled",
    )
    both = replace(sure, values=(*sure.values, *unsure.values))
    found = engine.recommend(both, make.scenario(), {name: METHODS[name] for name in ("pex", "venv", "container")})
    gains = {option.method: option.gain for option in found.ranked}
    assert gains["venv"] > 0.001
    assert gains["container"] == 0
    [told] = explain.worth_measuring(found.ranked)
    assert told.startswith("venv: ")
