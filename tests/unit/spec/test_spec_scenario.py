"""``scenario.toml``: what is read, and what is said of everything that can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput
from harness.metrics import METRICS
from harness.spec import scenario as scenarios

OBJECTIVE = {"metric": "packed_bytes", "weight": 1.0, "best": 1.0, "worst": 100.0}
WHOLE: dict[str, Any] = {
    "spec_version": 1,
    "name": "mine",
    "title": "Mine",
    "description": "d",
    "article_case": "api",
    "objectives": [OBJECTIVE],
}


@pytest.fixture
def write(tmp_path: Path, toml: Callable[[Mapping[str, Any]], str]) -> Callable[..., Path]:
    """Writes a scenario with changes; None removes a key."""

    def write(**changes: Any) -> Path:
        file = tmp_path / "scenario.toml"
        file.write_text(toml({key: value for key, value in {**WHOLE, **changes}.items() if value is not None}))
        return file

    return write


def objective(**changes: Any) -> dict[str, Any]:
    """A list with one objective that is whole but for ``changes``."""
    return {"objectives": [{**OBJECTIVE, **changes}]}


def refused(file: Path) -> str:
    """What is said of a bad scenario."""
    with pytest.raises(BadInput) as raised:
        scenarios.read(file)
    assert raised.value.exit_code == 2
    assert raised.value.remedy
    return str(raised.value)


def test_a_whole_scenario_is_read(write: Callable[..., Path]) -> None:
    """What the file leaves out has its default."""
    found = scenarios.read(write(needs=["http-api"], target={"has": ["python"], "memory_mb": 512}))
    assert found.needs == ("http-api",)
    assert found.target.memory_mb == 512
    assert found.target.disk_mb is None
    assert found.objectives[0].scale == "log"
    assert found.traffic.requests_per_day == 1000.0


BROKEN: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "unknown key": ({"tittle": "x"}, ("key 'tittle' = 'x'", "did you mean 'title'?")),
    "unknown in a table": ({"target": {"memory": 1}}, ("'target.memory' = 1", "did you mean 'memory_mb'?")),
    "unknown in an objective": (objective(weigth=1.0), ("'objectives.0.weigth'", "did you mean 'weight'?")),
    "missing key": ({"title": None}, ("key 'title'", "is missing", "scenario.toml")),
    "missing version": ({"spec_version": None}, ("key 'spec_version'", "is missing")),
    "newer spec": ({"spec_version": 2}, ("key 'spec_version' = 2", "must be 1", "upgrade the harness")),
    "older spec": ({"spec_version": 0}, ("key 'spec_version' = 0", "must be 1")),
    "name": ({"name": "Mine!"}, ("key 'name' = 'Mine!'", "lower-case")),
    "case": ({"article_case": "cloud"}, ("key 'article_case' = 'cloud'", "'cloud-platform'")),
    "facility": ({"target": {"has": ["gpu"]}}, ("'target.has.0' = 'gpu'", "container-engine")),
    "memory of nothing": ({"target": {"memory_mb": 0}}, ("'target.memory_mb' = 0", "greater than 0")),
    "quality": ({"needs": ["fast"]}, ("key 'needs.0' = 'fast'", "single-file")),
    "traffic": ({"traffic": {"requests_per_day": -1.0}}, ("'traffic.requests_per_day' = -1.0",)),
    "no objectives": ({"objectives": []}, ("key 'objectives'", "none has a weight above 0")),
    "no weight": (objective(weight=0.0), ("key 'objectives'", "none has a weight above 0")),
    "weight negative": (objective(weight=-1.0), ("'objectives.0.weight' = -1.0", "greater than or equal")),
    "metric": (objective(metric="speed"), ("'objectives.0.metric' = 'speed'", "is not a metric", "cold_start_s")),
    "no state": (objective(metric="cold_start_s"), ("'objectives.0.state'", "page-warm, disk-cold", "name one")),
    "needless state": (objective(state="page-warm"), ("'objectives.0.state' = 'page-warm'", "leave it out")),
    "unknown state": (objective(state="hot"), ("'objectives.0.state' = 'hot'", "disk-cold")),
    "ends swapped": (objective(best=100.0, worst=1.0), ("'objectives.0.best' = 100.0", "better when lower")),
    "ends equal": (objective(best=1.0, worst=1.0), ("'objectives.0.best' = 1.0", "better end")),
    "log of zero": (objective(best=0.0), ("'objectives.0.best' = 0.0", 'scale = "linear"')),
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_message_names_file_key_value_and_remedy(write: Callable[..., Path], what: str) -> None:
    """A broken scenario is bad input whose message names the file, the key, its value and the remedy."""
    changes, named = BROKEN[what]
    file = write(**changes)
    text = refused(file)
    for part in (str(file), *named, "remedy:"):
        assert part in text


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(objective(weight=float("inf")), id="weight inf"),
        pytest.param(objective(weight=float("nan")), id="weight nan"),
        pytest.param(objective(limit=float("nan")), id="limit nan"),
        pytest.param(objective(worst=float("inf")), id="worst inf"),
        pytest.param({"traffic": {"requests_per_day": float("inf")}}, id="requests_per_day inf"),
    ],
)
def test_a_number_has_to_be_finite(write: Callable[..., Path], changes: dict[str, Any]) -> None:
    """Infinite and undefined numbers are refused: nothing can be weighed or scaled with them."""
    refused(write(**changes))


def test_a_state_has_to_be_one_that_the_metric_is_taken_in(write: Callable[..., Path]) -> None:
    """A state in which the metric is never measured is refused, not silently worth nothing."""
    assert METRICS["cold_start_s"].states == ("page-warm", "disk-cold")
    refused(write(**objective(metric="cold_start_s", state="node-cold")))


@pytest.mark.parametrize(("text", "named"), [(b"name = ", "is not valid TOML"), (b'a = "\xff"', "is not UTF-8 text")])
def test_a_file_that_cannot_be_read(tmp_path: Path, text: bytes, named: str) -> None:
    """A scenario that is not TOML or not UTF-8 is named."""
    file = tmp_path / "s.toml"
    file.write_bytes(text)
    assert named in refused(file)


def test_a_scenario_is_found_by_name_or_path(write: Callable[..., Path]) -> None:
    """A shipped name and a file's path both work; anything else names the scenarios there are."""
    assert scenarios.find(str(write())).name == "mine"
    assert scenarios.find("edge-device").name == "edge-device"
    with pytest.raises(BadInput) as raised:
        scenarios.find("edge-devise")
    assert "'edge-devise'" in raised.value.problem
    assert "edge-device" in raised.value.remedy
    assert "there is no such file" in refused(write().with_name("none.toml"))


def test_every_shipped_scenario_is_whole() -> None:
    """What travels with the harness can be read, under the name of its file."""
    names = scenarios.names()
    assert {"edge-device", "high-traffic-api", "exact-reproduction"} <= set(names)
    assert [scenarios.find(name).name for name in names] == names
