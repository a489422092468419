"""The scenarios that travel with the harness, over the reference results that do."""

from __future__ import annotations

import functools

import pytest

from harness import paths
from harness.methods import METHODS
from harness.metrics import METRICS
from harness.recommend import engine, layers
from harness.recommend.value import worth
from harness.spec import scenario as scenarios
from harness.spec.scenario import Objective
from harness.store import query, runs
from harness.store.query import Evidence

OBJECTIVES = [
    pytest.param(name, objective, id=f"{name}-{objective.metric}-{objective.state}".removesuffix("-"))
    for name in scenarios.names()
    for objective in scenarios.find(name).objectives
]


@functools.cache
def reference() -> tuple[Evidence, ...]:
    """Every model of every reference run."""
    folder = paths.data("results") / "reference"
    return tuple(one for run_id in runs.run_ids(folder) for one in query.evidences(folder, run_id))


def measured(scenario: str, objective: Objective) -> list[float]:
    """The medians of what the objective is about, over models and methods; what follows from the scenario included."""
    return [
        value.interval.median
        for evidence in (engine.known(one, scenarios.find(scenario), METHODS)[0] for one in reference())
        for value in evidence.values
        if (value.metric, value.state) == (objective.metric, objective.state) and value.interval
    ]


@pytest.mark.parametrize("name", scenarios.names())
def test_a_scenario_is_answered_from_the_reference_results(name: str) -> None:
    """Every method is ranked or excluded with a reason; who is ranked is what target, needs and limits leave."""
    scenario = scenarios.find(name)
    for evidence in reference():
        found = engine.recommend(evidence, scenario, METHODS)
        ranked, excluded = {option.method for option in found.ranked}, {item.method for item in found.excluded}
        combined = layers.combinations(scenario, METHODS)
        every = {**METHODS, **combined}
        assert ranked | excluded == set(every)
        assert ranked & excluded == set()
        assert all(item.reason for item in found.excluded)
        for method in ranked:
            assert set(scenario.needs) <= every[method].PROVIDES
            assert set(scenario.target.has) >= every[method].REQUIRES
        lacking = [item for item in found.excluded if item.rule == "needs"]
        assert all(", read 20" in item.reason for item in lacking)


@pytest.mark.parametrize(("scenario", "objective"), OBJECTIVES)
def test_a_scale_tells_measured_values_apart(scenario: str, objective: Objective) -> None:
    """Its ends lie around what is measured: some values are strictly between them, and not all are worth the same."""
    worths = [worth(value, objective) for value in measured(scenario, objective)]
    assert any(0 < each < 1 for each in worths)
    assert max(worths) - min(worths) > 0.1


@pytest.mark.parametrize(("scenario", "objective"), OBJECTIVES)
def test_a_limit_is_not_better_than_what_is_worth_nothing(scenario: str, objective: Objective) -> None:
    """A method that is left out by an objective's limit earned nothing by it."""
    if objective.limit is not None:
        assert METRICS[objective.metric].direction == "lower"
        assert objective.limit >= objective.worst
