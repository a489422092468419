"""What nobody holds is removed, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from harness import cgroup, leftovers, mounts, paths, process


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Nothing is too new to be removed; below which folders mounts would have been detached."""
    detached: list[Path] = []
    monkeypatch.setattr(leftovers, "_NEW_S", -1.0)
    monkeypatch.setattr(cgroup, "version", lambda: None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(mounts, "detach_below", detached.append)
    leftovers.remove_once.cache_clear()
    return detached


@pytest.fixture
def home() -> Path:
    """Where temporary folders are made."""
    found = paths.cache() / "tmp"
    found.mkdir()
    return found


def left_by_a_kill(home: Path, name: str = "disk-abcd_123") -> Path:
    """A temporary folder whose maker is gone."""
    folder = home / name
    (folder / "d" / "deep").mkdir(parents=True)
    (folder / "d" / "file").write_text("x")
    return folder


def test_what_a_killed_harness_left_is_removed(home: Path, anew: list[Path], watchdog: Any) -> None:
    """By the first temporary folder of the next one, what is mounted there first."""
    folder = left_by_a_kill(home)
    with process.temporary_folder("next") as own:
        assert os.listdir(home) == [own.name]
    assert folder in anew


def test_it_is_looked_for_once(home: Path, watchdog: Any) -> None:
    """So it costs a process one look into a folder."""
    with process.temporary_folder("first"):
        pass
    folder = left_by_a_kill(home)
    with process.temporary_folder("second"):
        assert folder.is_dir()


def test_what_is_held_stays(home: Path, watchdog: Any) -> None:
    """Other harnesses work there at the same time."""
    with process.temporary_folder("living", readable=True) as living:
        (living / "file").write_text("x")
        assert leftovers.remove(home) == 0
        assert (living / "file").is_file()


def test_what_is_new_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its maker may be about to hold it."""
    monkeypatch.setattr(leftovers, "_NEW_S", 60.0)
    folder = left_by_a_kill(home)
    assert leftovers.remove(home) == 0
    assert folder.is_dir()


def test_what_is_no_temporary_folder_stays(home: Path, tmp_path: Path) -> None:
    """Reports of bugs, what a user put there, and what a link points to."""
    (home / "bug-abcd1234").write_text("trace")
    (home / "notes").mkdir()
    elsewhere = left_by_a_kill(tmp_path)
    (home / "link-abcd1234").symlink_to(elsewhere)
    assert leftovers.remove(home) == 0
    assert sorted(os.listdir(home)) == ["bug-abcd1234", "link-abcd1234", "notes"]
    assert (elsewhere / "d" / "file").is_file()


@pytest.mark.parametrize("number", ["v1", "v2"])
def test_control_groups_that_nobody_holds_are_removed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    """Those of this cache, and of no other."""
    monkeypatch.setattr(cgroup, "ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(cgroup, "version", lambda: number)
    top = cgroup.ROOT if number == "v2" else cgroup.ROOT / "pids"
    left, held, other = (top / f"harness-{name}" for name in (f"{paths.key()}-1", f"{paths.key()}-2", "another-1"))
    for folder in (left, held, other):
        folder.mkdir(parents=True)
    with leftovers.held(held):
        assert leftovers.remove(home) == 1
    assert (left.exists(), held.exists(), other.exists()) == (False, True, True)
