"""Hard limits: every kind of exclusion, with its evidence; and what stays in doubt."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from harness.methods.contract import Layers
from harness.recommend import limits
from harness.spec import capabilities
from harness.spec.scenario import Target


def only(found: tuple[list[limits.Exclusion], list[limits.Doubt]]) -> limits.Exclusion:
    """The one exclusion; nothing else was found."""
    [exclusion] = found[0]
    assert found[1] == []
    return exclusion


def check(make: Any, measured: Any, scenario: Any, method: Any = None, **kwargs: Any) -> Any:
    """What rules out ``pex`` when this was measured of it."""
    evidence = make.evidence({"pex": measured}, **kwargs)
    return limits.check(evidence, scenario, "pex", method or make.packager("pex"))


def test_a_method_within_every_limit_is_left_in(make: Any) -> None:
    """No exclusion and no doubt where the target has all, the needs are met and the numbers pass."""
    scenario = make.scenario(
        make.objective(limit=50.0), target=Target(memory_mb=100, disk_mb=100), needs=("single-file",)
    )
    measured = {
        "packed_bytes": [50.0],
        "unpacked_bytes": [100e6],
        ("peak_resident_bytes", "page-warm"): [80e6, 90e6, 85e6],
    }
    method = make.packager("pex", requires=["python"], provides=["single-file"])
    assert check(make, measured, scenario, method) == ([], [])


def test_what_the_target_lacks(make: Any) -> None:
    """A facility that the method requires and the target has not rules it out, in words."""
    scenario = make.scenario(target=Target(has=("python",)))
    found = only(check(make, {}, scenario, make.packager("pex", requires=["container-engine", "python"])))
    assert (found.rule, found.subject, found.fidelity) == ("requires", "container-engine", "documented")
    assert found.reason.startswith("pex: needs a container engine, which the target does not have (scenario s)")


def test_a_need_that_is_not_met(make: Any) -> None:
    """A quality that the scenario needs and the method does not provide rules it out."""
    found = only(check(make, {}, make.scenario(needs=("http-api",)), make.packager("pex", provides=["single-file"])))
    assert (found.rule, found.subject) == ("needs", "http-api")
    assert "'http-api'" in found.reason
    assert found.reason.endswith("which scenario s needs; stated by the method")


def test_why_a_need_is_not_met(make: Any) -> None:
    """What is stated of the layers that lack it stands with the exclusion: why, who says so, when it was read."""
    layers = Layers(environment="image", interface="HTTP API", platform="Google Vertex AI")
    method = dataclasses.replace(make.packager("pex"), LAYERS=layers)
    found = only(check(make, {}, make.scenario(needs=("scales-to-zero",)), method))
    [stated] = capabilities.about("scales-to-zero", layers)
    assert found.reason == (
        "pex: does not give 'scales-to-zero', which scenario s needs; "
        f"{stated.statement} ({stated.source}, read {stated.read_on})"
    )
    assert found.fidelity == "documented"


def test_system_packages_are_left_to_the_target(make: Any) -> None:
    """Where the method brings none, and the target is not said to have them: a doubt; it is said not to: out."""
    evidence = make.evidence({"pex": {"parity": [1.0]}})
    manifest = dataclasses.replace(evidence.manifest, models={"m": {"system_packages": ["libgl1", "libglib2.0-0"]}})
    evidence = dataclasses.replace(evidence, manifest=manifest)
    exclusions, [doubt] = limits.check(evidence, make.scenario(), "pex", make.packager("pex"))
    assert exclusions == []
    assert doubt.text == "pex: needs libgl1 and libglib2.0-0 on the target, and does not bring that along"
    carrying = make.packager("pex", provides=["carries-system-libraries"])
    assert limits.check(evidence, make.scenario(), "pex", carrying) == ([], [])
    for has, named in (((), "libgl1 and libglib2.0-0"), (("libgl1",), "libglib2.0-0")):
        scenario = make.scenario(target=Target(system_packages=has))
        [excluded], doubts = limits.check(evidence, scenario, "pex", make.packager("pex"))
        assert (excluded.rule, excluded.subject, doubts) == ("requires", named, [])
        assert f"needs {named}, which it does not bring along" in excluded.reason
    target = Target(system_packages=("libgl1", "libglib2.0-0"))
    assert limits.check(evidence, make.scenario(target=target), "pex", make.packager("pex")) == ([], [])


@pytest.mark.parametrize(("read", "says"), [("libxcb1", ["libxcb1"]), ("", [])])
def test_what_was_read_from_the_artifact_counts_before_what_the_model_names(
    make: Any, read: str, says: list[str]
) -> None:
    """PyInstaller collects libraries that the model names, so nothing is left to the target there."""
    evidence = make.evidence({"pex": {"parity": [1.0]}})
    named = {"m": {"system_packages": ["libgl1"]}}
    manifest = dataclasses.replace(evidence.manifest, models=named, artifacts={"m/pex": {"needs_on_target": read}})
    evidence = dataclasses.replace(evidence, manifest=manifest)
    exclusions, doubts = limits.check(evidence, make.scenario(), "pex", make.packager("pex"))
    assert exclusions == []
    assert [doubt.text.split()[2] for doubt in doubts] == says


def test_another_python_on_the_target(make: Any) -> None:
    """What was built for one Python does not run under another; a PEX may, by its wheels, so it is doubted only."""
    evidence = make.evidence({"pex": {"parity": [1.0]}})
    manifest = dataclasses.replace(evidence.manifest, models={"m": {"python": "3.13"}})
    evidence = dataclasses.replace(evidence, manifest=manifest)
    scenario = make.scenario(target=Target(python="3.11"))
    venv = dataclasses.replace(make.packager("pex", requires=["python"]), FAMILY="virtual-environment")
    [excluded], doubts = limits.check(evidence, scenario, "pex", venv)
    assert (excluded.rule, excluded.subject, doubts) == ("requires", "python", [])
    assert excluded.reason == "pex: is built for Python 3.13, and the target has 3.11 (scenario s)"
    excluded_too, [doubt] = limits.check(evidence, scenario, "pex", make.packager("pex", requires=["python"]))
    assert excluded_too == []
    assert "was built for Python 3.13, and the target has 3.11" in doubt.text
    for target in (Target(python="3.13"), Target()):
        assert limits.check(evidence, make.scenario(target=target), "pex", venv) == ([], [])
    brings_its_own = dataclasses.replace(make.packager("pex"), FAMILY="container")
    assert limits.check(evidence, scenario, "pex", brings_its_own) == ([], [])


def test_wrong_answers(make: Any) -> None:
    """A method that answers wrongly is out, with the run that shows it."""
    found = only(check(make, {"parity": [0.0, 0.0]}, make.scenario()))
    assert (found.rule, found.metric, found.measured, found.run_id) == ("evidence", "parity", 0.0, "R")
    assert found.reason == "pex: answers wrongly; run R"


def test_wrong_or_broken_in_some_rounds(make: Any) -> None:
    """A method that is right in most rounds stays in, and the rounds in which it was not are said."""
    exclusions, doubts = check(make, {"parity": [1.0, 0.0, 1.0]}, make.scenario())
    assert exclusions == []
    assert [doubt.text for doubt in doubts] == ["pex: answered wrongly in 1 of 3 rounds"]
    evidence = make.evidence({"pex": {}})
    broken = dataclasses.replace(evidence, values=(dataclasses.replace(evidence.values[0], failed=2),))
    exclusions, doubts = limits.check(broken, make.scenario(), "pex", make.packager("pex"))
    assert exclusions == []
    assert [doubt.text for doubt in doubts] == ["pex: failed in 2 of 5 tries"]


def test_a_failed_method(make: Any) -> None:
    """A method that broke is out, with the reason that the run kept; missing numbers add no noise to it."""
    scenario = make.scenario(make.objective(limit=1.0), target=Target(disk_mb=1, memory_mb=1))
    found = only(check(make, {"parity": []}, scenario))
    assert found.reason == "pex: the tool broke; run R"


def test_a_method_that_was_not_measured(make: Any) -> None:
    """A method that the run knows nothing of is out; where it was not available, the reason is given."""
    evidence = make.evidence({"venv": {}}, availability={"pex": {"ready": False, "reason": "no pex here"}})
    found, _ = limits.check(evidence, make.scenario(), "pex", make.packager("pex"))
    assert [item.reason for item in found] == ["pex: was not measured (no pex here); run R"]
    assert found[0].fidelity is None
    found, _ = limits.check(evidence, make.scenario(), "conda", make.packager("conda"))
    assert [item.reason for item in found] == ["conda: was not measured; run R"]


def test_disk_of_the_target(make: Any) -> None:
    """More unpacked bytes than the target has of disk: both numbers, the scenario and the run are in the reason."""
    found = only(check(make, {"unpacked_bytes": [271e6]}, make.scenario(target=Target(disk_mb=250))))
    assert found.reason == (
        "pex: unpacked size 271 MB > 250 MB that the target has of disk (scenario s); measured in run R"
    )
    assert (found.rule, found.metric, found.measured, found.limit) == ("disk", "unpacked_bytes", 271e6, 250e6)
    assert found.certain


def test_numbers_that_differ_read_differently(make: Any) -> None:
    """A value just beyond the limit is not printed as '250 MB > 250 MB'."""
    found = only(check(make, {"unpacked_bytes": [250_000_001]}, make.scenario(target=Target(disk_mb=250))))
    assert "250.000001 MB > 250 MB" in found.reason


def test_exactly_at_the_limit_passes(make: Any) -> None:
    """'Beyond' is not 'at'."""
    assert check(make, {"unpacked_bytes": [250e6]}, make.scenario(target=Target(disk_mb=250))) == ([], [])


def test_memory_of_the_target_counts_in_the_hungriest_state(make: Any) -> None:
    """The peak of the state that takes most is held against the target's memory, not that of the modest one."""
    measured = {("peak_resident_bytes", "page-warm"): [90e6], ("peak_resident_bytes", "disk-cold"): [120e6]}
    found = only(check(make, measured, make.scenario(target=Target(memory_mb=100))))
    assert (found.rule, found.state, found.measured) == ("memory", "disk-cold", 120e6)
    assert "peak resident (disk-cold) 120 MB > 100 MB that the target has of memory" in found.reason


def test_an_objectives_limit(make: Any) -> None:
    """A median beyond an objective's limit rules the method out, with interval and number of rounds."""
    objective = make.objective("cold_start_s", state="disk-cold", limit=1.0)
    found = only(check(make, {("cold_start_s", "disk-cold"): [1.3, 1.2, 1.4]}, make.scenario(objective)))
    assert (found.rule, found.metric, found.state, found.certain) == ("limit", "cold_start_s", "disk-cold", True)
    assert "cold start (disk-cold) 1.3 s > 1 s that the scenario sets" in found.reason
    assert "95 % interval 1.2 s to 1.4 s, n = 3" in found.reason


def test_the_limit_of_a_metric_that_is_better_when_higher(make: Any) -> None:
    """Beyond is below where more is better."""
    objective = make.objective("parity", best=1.0, worst=0.0, scale="linear", limit=1.0)
    found, _ = check(make, {"parity": [0.0]}, make.scenario(objective))
    assert [item.rule for item in found] == ["evidence", "limit"]
    assert "right answers no < yes" in found[1].reason


def test_an_interval_across_the_limit_is_said(make: Any) -> None:
    """Median beyond, interval not: excluded, not certain. Median within, interval beyond: left in, with a doubt."""
    scenario = make.scenario(make.objective("install_s", limit=1.0))
    found = only(check(make, {"install_s": [0.8, 1.1, 1.2]}, scenario))
    assert not found.certain
    assert "reaches across the limit" in found.reason
    exclusions, doubts = check(make, {"install_s": [0.8, 0.9, 1.2]}, scenario)
    assert exclusions == []
    assert ["reaches across the limit" in doubt.text for doubt in doubts] == [True]


def test_a_limit_on_what_was_not_measured_is_a_doubt(make: Any) -> None:
    """A limit that could not be checked neither excludes nor passes silently."""
    exclusions, doubts = check(make, {}, make.scenario(target=Target(memory_mb=64, disk_mb=64)))
    assert exclusions == []
    assert [doubt.text for doubt in doubts] == [
        "pex: the limit of 64 MB on unpacked size was not checked: was not measured",
        "pex: the limit of 64 MB on peak resident (page-warm) was not checked: was not measured",
    ]


def test_every_reason_is_given(make: Any) -> None:
    """A method that fails on several counts is told all of them, so that removing one does not surprise."""
    scenario = make.scenario(target=Target(has=(), disk_mb=1), needs=("form-page", "http-api"))
    method = make.packager("pex", requires=["python"])
    found, _ = check(make, {"unpacked_bytes": [2e6]}, scenario, method)
    assert [(item.rule, item.subject) for item in found] == [
        ("requires", "python"),
        ("needs", "form-page"),
        ("needs", "http-api"),
        ("disk", "unpacked_bytes"),
    ]


@pytest.mark.parametrize("fidelity", ["emulated", "modelled", "documented"])
def test_the_fidelity_of_the_number_is_carried(make: Any, fidelity: str) -> None:
    """How a number was obtained stands with the exclusion, in the record and in its words."""
    found = only(check(make, {"unpacked_bytes": [2e6]}, make.scenario(target=Target(disk_mb=1)), fidelity=fidelity))
    assert found.fidelity == fidelity
    assert f"; {fidelity} in run R" in found.reason
