"""What models are kept from, and who they run as. Nothing is put in bounds here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from harness import sandbox
from harness.sandbox import Abilities, Policy, Surroundings


def test_what_is_not_enforced_is_said() -> None:
    """Each ability that lacks is a sentence for the reader; where all are there, nothing is said."""
    assert Abilities(network=True, unprivileged_user=True, control_group="v2").missing() == []
    found = Abilities(network=False, unprivileged_user=False, control_group=None).missing()
    assert len(found) == 3
    assert "network" in found[0]
    assert "psutil" in found[2]


def test_models_run_unprivileged_where_they_can_reach_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root gives its rights away, unless the artifact would be out of reach; others have none to give."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(sandbox.paths, "walkable_by_others", lambda path: path != tmp_path)
    assert sandbox.user_for(Path("/usr")) == sandbox.UNPRIVILEGED_ID
    assert sandbox.user_for(Path("/usr"), tmp_path) is None
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert sandbox.user_for(Path("/usr")) is None


# --- other surroundings --------------------------------------------------------------------------


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What would be mounted, and where the process would begin."""
    done: list[tuple[Any, ...]] = []
    monkeypatch.setattr(sandbox, "_private_temporary_folders", lambda *_: done.append(("private",)))
    monkeypatch.setattr(sandbox.mounts, "change_root", lambda root, links, **more: done.append((root, links, more)))
    monkeypatch.setattr(sandbox.mounts, "write_protect", lambda **more: done.append(("protected", more)))
    monkeypatch.setattr(os, "chdir", lambda place: done.append(("in", str(place))))
    return done


def policy(surroundings: Surroundings | None) -> Policy:
    """One with a home to begin in."""
    return Policy(
        memory_bytes=1,
        processes=1,
        disk_bytes=1,
        visible=(Path("/a"),),
        surroundings=surroundings,
        home=Path("/h"),
        writable=(Path("/h"),),
    )


def test_without_other_surroundings_nothing_is_different(mounted: list[tuple[Any, ...]]) -> None:
    """The temporary folders are private, as ever."""
    policy(None)._surrounding((), ())()
    assert mounted == [("private",)]


def test_another_root_shows_only_what_it_is_told_to(mounted: list[tuple[Any, ...]], tmp_path: Path) -> None:
    """And the links at its top, looked up before the fork."""
    (tmp_path / "usr").mkdir()
    (tmp_path / "bin").symlink_to("usr/bin")
    policy(Surroundings(root=tmp_path))._surrounding(("/tmp",), ("/a",))()
    (root, links, more), begun = mounted
    assert (root, links) == (str(tmp_path), (("bin", "usr/bin"),))
    assert (more["shown"], more["writable"]) == (("/a",), ("/h",))
    assert begun == ("in", "/h")


def test_write_protection_comes_after_the_temporary_folders(mounted: list[tuple[Any, ...]]) -> None:
    """So that they are protected as well; and it begins where it may write."""
    policy(Surroundings(read_only=True))._surrounding((), ())()
    assert mounted == [("private",), ("protected", {"writable": ("/h",)}), ("in", "/h")]
    mounted.clear()
    policy(Surroundings(user_id=7))._surrounding((), ())()
    assert mounted == [("private",), ("in", "/h")]
