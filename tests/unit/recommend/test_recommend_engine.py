"""The whole recommendation: filter, value, confidence and explanation together, and the scenarios that are shipped."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.recommend import engine
from harness.spec import scenario as scenarios
from harness.spec.scenario import Target

MEASURED = {
    "container": {"packed_bytes": [60.0], "install_s": [8.0, 8.1, 8.2], "unpacked_bytes": [300e6]},
    "venv": {"packed_bytes": [10.0], "install_s": [2.0, 2.1, 2.2], "unpacked_bytes": [200e6]},
    "pex": {"packed_bytes": [9.0], "install_s": [1.0, 1.1, 1.2], "unpacked_bytes": [60e6]},
    "rest-api": {"packed_bytes": [20.0], "install_s": [4.0, 4.1, 4.2], "unpacked_bytes": [220e6]},
}


def objectives(make: Any) -> list[Any]:
    """Two criteria of different weight."""
    return [make.objective(weight=0.6), make.objective("install_s", 0.4)]


def test_the_best_measured_method_wins(make: Any) -> None:
    """Ranked by value, best first, with contributions that add up, and the run and scenario named."""
    found = engine.recommend(make.evidence(MEASURED), make.scenario(*objectives(make)), make.four())
    assert found.winner == "pex"
    assert [(option.rank, option.method) for option in found.ranked] == [
        (1, "pex"),
        (2, "venv"),
        (3, "rest-api"),
        (4, "container"),
    ]
    assert (found.run_id, found.model, found.scenario) == ("R", "m", "s")
    assert not any((found.excluded, found.relaxations, found.missing, found.tie))
    for option in found.ranked:
        assert option.value == pytest.approx(sum(c.points for c in option.contributions))
        assert option.value_low <= option.value <= option.value_high
    assert sum(option.p_best for option in found.ranked) == pytest.approx(1.0)
    assert {flip.rival for flip in found.flips} == {"venv"}
    assert found.article.agreement == "agrees"
    assert found.summary.startswith("pex for s: value 0.7")


def test_an_excluded_method_is_not_ranked_and_may_be_had_by_relaxing(make: Any) -> None:
    """What a need excludes is out of the ranking, and is named where it would lead without the need."""
    scenario = make.scenario(*objectives(make), needs=("form-page",), case="api")
    found = engine.recommend(make.evidence(MEASURED), scenario, make.four())
    assert [option.method for option in found.ranked] == ["rest-api"]
    assert {item.method for item in found.excluded} == {"container", "venv", "pex"}
    assert [item.method for item in found.relaxations] == ["pex", "venv"]
    assert found.flips == ()
    assert found.ranked[0].p_best == 1.0
    assert "the only method that is not excluded" in found.summary


def test_everything_excluded(make: Any) -> None:
    """No method left: no winner, every reason kept, and what would have to give way."""
    scenario = make.scenario(*objectives(make), target=Target(disk_mb=1))
    found = engine.recommend(make.evidence(MEASURED), scenario, make.four())
    assert found.winner is None
    assert not any((found.ranked, found.flips, found.tie))
    assert [item.method for item in found.excluded] == list(MEASURED)
    assert [item.method for item in found.relaxations] == ["pex"]
    assert found.article.agreement == "excluded"
    assert found.summary == "No method can be recommended for s: all 4 methods are excluded."
    json.dumps(engine.as_dict(found), allow_nan=False)


def test_a_method_absent_from_the_evidence_is_excluded(make: Any) -> None:
    """A method of the table that the run never saw is out as not measured; it is not offered by relaxing either."""
    measured = {name: MEASURED[name] for name in ("venv", "pex")}
    found = engine.recommend(make.evidence(measured), make.scenario(*objectives(make), case="api"), make.four())
    assert [(item.method, item.reason) for item in found.excluded] == [
        ("container", "container: was not measured; run R"),
        ("rest-api", "rest-api: was not measured; run R"),
    ]
    assert found.relaxations == ()
    assert found.article.agreement == "excluded"


def test_a_tie_is_called_a_tie(make: Any) -> None:
    """Two methods with the same numbers are a tie, in the record and in the summary."""
    measured = {"venv": MEASURED["venv"], "pex": MEASURED["venv"]}
    methods = {name: make.four()[name] for name in measured}
    found = engine.recommend(make.evidence(measured), make.scenario(*objectives(make)), methods)
    assert found.tie == ("pex", "venv")
    assert found.article.agreement == "tied"
    assert found.summary.startswith("A tie for s: pex and venv cannot be told apart.")


def test_missing_metrics_are_listed_for_those_left_in(make: Any) -> None:
    """A gap costs its weight and is listed; gaps of excluded methods are not."""
    measured = {"venv": MEASURED["venv"], "pex": {"packed_bytes": [9.0]}, "container": {}}
    methods = {name: make.four()[name] for name in measured}
    scenario = make.scenario(*objectives(make), target=Target(has=("python",)))
    found = engine.recommend(make.evidence(measured), scenario, methods)
    assert [(gap.method, gap.metric) for gap in found.missing] == [("pex", "install_s")]
    assert found.winner == "venv"


def test_doubts_are_about_those_left_in(make: Any) -> None:
    """A limit that could not be checked is a doubt about a method left in; an excluded one has reasons enough."""
    measured = {name: {"packed_bytes": [9.0]} for name in ("pex", "container")}
    methods = {name: make.four()[name] for name in measured}
    scenario = make.scenario(target=Target(has=("python",), disk_mb=100))
    found = engine.recommend(make.evidence(measured), scenario, methods)
    assert [doubt.method for doubt in found.doubts] == ["pex"]


def test_no_methods_at_all(make: Any) -> None:
    """An empty table is answered, not a crash."""
    found = engine.recommend(make.evidence({}), make.scenario(), {})
    assert (found.winner, found.summary) == (None, "No method is known.")


def test_it_is_plain_json(make: Any) -> None:
    """The record survives JSON without NaN, infinity or loss."""
    scenario = make.scenario(
        *objectives(make), needs=("locked-dependencies",), target=Target(disk_mb=210, memory_mb=64)
    )
    found = engine.recommend(make.evidence(MEASURED), scenario, make.four())
    text = json.dumps(engine.as_dict(found), allow_nan=False)
    again = json.loads(text)
    assert json.loads(json.dumps(dataclasses.asdict(found))) == again
    assert again["winner"] == "pex"
    assert again["ranked"][0]["contributions"][0]["metric"] == "packed_bytes"


@settings(max_examples=20, deadline=None)
@given(packed=st.floats(0.1, 1000), install=st.lists(st.floats(0.1, 1000), min_size=1, max_size=8))
def test_an_excluded_method_changes_nothing_for_the_others(make: Any, packed: float, install: list[float]) -> None:
    """Whatever an excluded method measures: values, confidence, order and flips of the others stay as they were."""
    few = {name: make.four()[name] for name in ("venv", "pex")}
    scenario = make.scenario(*objectives(make), target=Target(has=("python",)))
    measured = {name: MEASURED[name] for name in few}
    alone = engine.recommend(make.evidence(measured), scenario, few)
    more = {**measured, "container": {"packed_bytes": [packed], "install_s": install}}
    joined = engine.recommend(make.evidence(more), scenario, {**few, "container": make.four()["container"]})
    assert joined.ranked == alone.ranked
    assert (joined.tie, joined.flips) == (alone.tie, alone.flips)


def test_one_more_competitor_leaves_the_values_alone(make: Any) -> None:
    """A method's value is on the scenario's scale: who else competes does not move it, nor the order of the others."""
    scenario = make.scenario(*objectives(make))
    few = {name: make.four()[name] for name in ("venv", "rest-api")}
    before = engine.recommend(make.evidence(MEASURED), scenario, few)
    after = engine.recommend(make.evidence(MEASURED), scenario, make.four())
    values = {option.method: option.value for option in after.ranked}
    assert all(values[option.method] == option.value for option in before.ranked)


@pytest.mark.parametrize(
    ("name", "case", "needs"),
    [
        ("edge-device", "executable", ()),
        ("high-traffic-api", "api", ("http-api",)),
        ("exact-reproduction", "virtual-environment", ("locked-dependencies",)),
    ],
)
def test_the_shipped_scenarios_are_read_and_answered(make: Any, name: str, case: str, needs: tuple[str, ...]) -> None:
    """Each shipped scenario reads, is called as its file, has weights that add up to 1, and yields a recommendation."""
    scenario = scenarios.find(name)
    assert (scenario.name, scenario.article_case, scenario.needs) == (name, case, needs)
    assert sum(objective.weight for objective in scenario.objectives) == pytest.approx(1.0)
    measured = {
        (objective.metric, objective.state) if objective.state else objective.metric: [
            (objective.best * objective.worst) ** 0.5
        ]
        for objective in scenario.objectives
    }
    found = engine.recommend(make.evidence(dict.fromkeys(make.four(), measured)), scenario, make.four())
    assert found.missing == ()
    assert all(option.value == pytest.approx(0.5) for option in found.ranked)
    left_in = {"edge-device": ["pex", "rest-api", "venv"], "high-traffic-api": ["rest-api"]}.get(
        name, sorted(make.four())
    )
    assert sorted(option.method for option in found.ranked) == left_in


def test_the_edge_device_has_no_container_engine() -> None:
    """The edge scenario's target is as its issue says: Python, no engine, 512 MB of memory, 1024 MB of disk."""
    target = scenarios.find("edge-device").target
    assert target == Target(has=("python",), memory_mb=512, disk_mb=1024)
