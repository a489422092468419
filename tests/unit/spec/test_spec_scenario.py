"""``scenario.toml``: what is read, and what is said of everything that can be wrong with it."""

from __future__ import annotations

import math
import re
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness import paths
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
    "quality misspelt": ({"needs": ["http-api", "single-fiel"]}, ("'needs.1' = 'single-fiel'", "mean 'single-file'?")),
    "quality twice": ({"needs": ["isolated", "isolated"]}, ("'needs.1' = 'isolated'", "stands twice")),
    "quality not a name": ({"needs": [1]}, ("'needs.0' = 1",)),
    "needs not a list": ({"needs": "isolated"}, ("'needs' = 'isolated'",)),
    "facility misspelt": ({"target": {"has": ["pyton"]}}, ("'target.has.0' = 'pyton'", "did you mean 'python'?")),
    "facility twice": ({"target": {"has": ["aws", "aws"]}}, ("'target.has.1' = 'aws'", "stands twice")),
    "target not a table": ({"target": 1}, ("'target' = 1",)),
    "metric misspelt": (objective(metric="packed_byte"), ("= 'packed_byte'", "did you mean 'packed_bytes'?")),
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


@pytest.mark.parametrize("target", ["/dev/zero", "."])
def test_a_link_to_no_file_is_named_as_it_was_given(tmp_path: Path, target: str) -> None:
    """The message has the path that the user gave, not only what it leads to."""
    link = tmp_path / "mine.toml"
    link.symlink_to(target)
    with pytest.raises(BadInput, match=r"mine\.toml: is not a file") as raised:
        scenarios.find(str(link))
    assert raised.value.remedy


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
    assert METRICS["cold_start_s"].states == ("page-warm", "disk-cold", "node-cold")
    for state in ("poisson", "no-python", ""):
        refused(write(**objective(metric="cold_start_s", state=state)))


def test_what_is_of_the_machine_is_no_objective(write: Callable[..., Path]) -> None:
    """No method is better or worse for it."""
    refused(write(**objective(metric="sentinel_s", state="")))


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
    assert "did you mean 'edge-device'? one of air-gapped, " in raised.value.remedy
    assert "there is no such file" in refused(write().with_name("none.toml"))


def test_every_shipped_scenario_is_whole() -> None:
    """What travels with the harness can be read, under the name of its file."""
    names = scenarios.names()
    assert {"edge-device", "high-traffic-api", "exact-reproduction", "infrequent-use"} <= set(names)
    assert len(names) >= 12
    assert [scenarios.find(name).name for name in names] == names


def test_the_shipped_scenarios_span_the_field() -> None:
    """Each of the article's six cases, each way in which requests come, targets with and without an account."""
    found = [scenarios.find(name) for name in scenarios.names()]
    case, pattern = (typing.get_type_hints(kind) for kind in (scenarios.Scenario, scenarios.Traffic))
    assert {one.article_case for one in found} == set(typing.get_args(case["article_case"]))
    assert {one.traffic.pattern for one in found} == set(typing.get_args(pattern["pattern"]))
    accounts = {"aws", "google-cloud", "azure"}
    assert {bool(accounts & set(one.target.has)) for one in found} == {True, False}
    assert len({one.description for one in found}) == len({one.title for one in found}) == len(found)


@pytest.mark.parametrize("name", scenarios.names())
def test_the_weights_of_a_shipped_scenario_are_shares(name: str) -> None:
    """They add up to 1, so that a reader sees what each is."""
    weights = [objective.weight for objective in scenarios.find(name).objectives]
    assert min(weights) > 0
    assert math.fsum(weights) == pytest.approx(1)


@pytest.mark.parametrize("name", scenarios.names())
def test_a_shipped_scenario_gives_its_reasons(name: str) -> None:
    """A comment at each end of each scale, what the article says, and in the head what is not measured yet.

    The scale of an end that stands in a file above may be meant again: the comment may be left out then.
    """
    text = (paths.data("scenarios") / f"{name}.toml").read_text(encoding="utf-8")
    head = text.partition("spec_version")[0]
    assert "Every scale is fixed" in head
    assert "The article: " in text
    if name != "edge-device":  # of such a device all that matters is measured, but for energy, which it says
        assert "What is not here yet" in head
    bare = re.findall(r"^(?:best|worst) = [\d._]+ *$", text, flags=re.MULTILINE)
    ends = re.findall(r"^(?:best|worst) = ", text, flags=re.MULTILINE)
    assert len(bare) <= len(ends) / 10
