"""The ceiling over what models ask for: what it is, where it bites, and what is said then."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from harness import ceiling
from harness.errors import BadInput
from harness.measure import start
from harness.spec import environments
from harness.spec import model as models
from harness.spec.model import Resources

GENEROUS = {ceiling.MEMORY: "4096", ceiling.PROCESSES: "1000", ceiling.DISK: "20000", ceiling.SECONDS: "3600"}


@pytest.fixture(autouse=True)
def ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine of some size, whatever this one has."""
    for name, value in GENEROUS.items():
        monkeypatch.setenv(name, value)


def test_what_is_below_the_ceiling_is_had_as_it_is_asked_for() -> None:
    """And nothing is told."""
    asked = Resources(memory_mb=4096, processes=1000, disk_mb=20000, start_timeout_s=3600.0, predict_timeout_s=1.5)
    found = ceiling.bounded(asked)
    assert (found.memory_bytes, found.processes, found.disk_bytes) == (4096 * 2**20, 1000, 20000 * 2**20)
    assert (found.start_timeout_s, found.predict_timeout_s) == (3600.0, 1.5)
    assert (found.told, found.memory_told) == ((), "")


def test_what_is_above_it_is_held_back_and_told() -> None:
    """Each with what was asked for, what is had, and the variable that says so."""
    asked = Resources(
        memory_mb=2**16, processes=2**63, disk_mb=20001, start_timeout_s=float("inf"), predict_timeout_s=3601.0
    )
    found = ceiling.bounded(asked)
    assert (found.memory_bytes, found.processes, found.disk_bytes) == (4096 * 2**20, 1000, 20000 * 2**20)
    assert (found.start_timeout_s, found.predict_timeout_s) == (3600, 3600)
    assert found.told == (
        "asks for 64 GiB of memory; this machine allows 4 GiB (HARNESS_MAX_MEMORY_MB)",
        "asks for more than 1,000,000,000,000 processes; this machine allows 1,000 (HARNESS_MAX_PROCESSES)",
        "asks for 19.5 GiB of disk; this machine allows 19.5 GiB (HARNESS_MAX_DISK_MB)",
        "asks for inf s to start; this machine allows 3,600 s (HARNESS_MAX_SECONDS)",
        "asks for 3601 s to answer; this machine allows 3,600 s (HARNESS_MAX_SECONDS)",
    )
    assert found.memory_told == found.told[0]


@pytest.mark.parametrize(
    "asked", [2**63 - 1, 10**400, int("f" * 20_000, 16)], ids=["64 bits", "no float", "not to be printed"]
)
def test_absurd_numbers_are_held_back_like_others(asked: int) -> None:
    """Whatever TOML can hold: it is no float, and may be too long to be printed."""
    found = ceiling.bounded(Resources(memory_mb=asked, processes=asked, disk_mb=asked))
    assert found.memory_bytes == 4096 * 2**20
    assert all(len(text) < 120 for text in found.told)
    assert len(found.told) == 3


def test_instances_and_what_is_run_at_home_get_the_same(folder: Any) -> None:
    """Limits of instances, and bounds of training, both are below the ceiling."""
    folder.write(resources={"memory_mb": 2**20, "processes": 65536, "disk_mb": 2**20, "start_timeout_s": 86400.0})
    model = models.find(str(folder.path))
    limits = start.limits_of(model)
    assert (limits.memory_bytes, limits.processes, limits.disk_bytes) == (4096 * 2**20, 1000, 20000 * 2**20)
    assert limits.start_timeout_s == 3600
    assert "HARNESS_MAX_MEMORY_MB" in limits.memory_told
    assert environments.bounds(model) == limits.bounds


def test_training_is_not_waited_for_longer() -> None:
    assert ceiling.patience(10.0) == 10.0
    assert ceiling.patience(1e9) == 3600


@pytest.mark.parametrize("name", GENEROUS)
def test_a_bad_value_names_the_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "a lot")
    with pytest.raises(BadInput, match=name):
        ceiling.bounded(Resources())


def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in GENEROUS:
        monkeypatch.delenv(name)


def test_the_machine_is_the_ceiling_where_nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Four fifths of the memory, half of what is free."""
    no_variables(monkeypatch)
    monkeypatch.setattr(ceiling, "_OWN_GROUPS", tmp_path / "none")
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PHYS_PAGES": 5 * 2**18, "SC_PAGE_SIZE": 4096}[name])
    monkeypatch.setattr(ceiling.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 100 * 2**20}))
    found = {one.what: one for one in ceiling.ceilings()}
    assert (found["memory"].value, found["memory"].shown) == (4096, "4 GiB")
    assert found["memory"].source == "80% of the machine's memory; HARNESS_MAX_MEMORY_MB sets another"
    assert (found["disk"].value, found["disk"].shown) == (50, "50 MiB")
    assert (found["processes"].value, found["time"].value) == (4096, 4 * 3600)


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": str(2**30), "memory.max": str(2**31)}, 819),
        ("4:memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": str(2**30)}, 819),
        ("4:memory:/a\n", {"memory/memory.limit_in_bytes": str(2**63 - 4096)}, 4096),
        ("0::/gone\n", {}, 4096),
    ],
)
def test_a_control_group_may_allow_less_than_the_machine_has(
    groups: str, files: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The harness's own group, or one above it, version 1 or 2."""
    no_variables(monkeypatch)
    (tmp_path / "own").write_text(groups)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(ceiling, "_OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(ceiling, "_CONTROL_GROUPS", tmp_path)
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PHYS_PAGES": 5 * 2**18, "SC_PAGE_SIZE": 4096}[name])
    assert ceiling.memory().value == expected


def test_it_is_told_where_it_is_from(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {one.source for one in ceiling.ceilings()} == {f"set by {name}" for name in GENEROUS}
    assert all(dataclasses.asdict(one)["variable"] in GENEROUS for one in ceiling.ceilings())
