"""What is put behind the door, and what becomes of what it wrote. No process is started here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import cgroup, disks, door, files, interpreter, process
from harness.errors import CheckFailure, MissingComponent
from harness.interpreter import Interpreter
from harness.mounts import View
from harness.sandbox import Bounds, Surroundings

BOUNDS = Bounds(memory_bytes=2**28, processes=16, disk_bytes=2**20)
INSTANCE = 1_900_000_007


@pytest.fixture(autouse=True)
def views(monkeypatch: pytest.MonkeyPatch, here: Interpreter) -> list[View]:
    """As an ordinary user, without control groups; the views of namespaces that would be made."""
    made: list[View] = []

    @contextlib.contextmanager
    def enclosed(view: View) -> Iterator[Any]:
        made.append(view)
        yield "inside"

    monkeypatch.setattr(process, "enclosed", enclosed)
    monkeypatch.setattr(door, "_enclosures", lambda: True)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(cgroup, "create", lambda _: None)
    monkeypatch.setattr(interpreter, "folders", lambda: (here.stdlib,))
    return made


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, int]]:
    """As root: which folder would be given to whom."""
    told: list[tuple[Path, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(files, "give", lambda folder, user: told.append((folder, user)))
    monkeypatch.setattr(files, "take_back", lambda folder, **_: told.append((folder, 0)))
    return told


def test_it_sees_what_it_is_shown_and_writes_where_it_may(tmp_path: Path, views: list[View], here: Interpreter) -> None:
    """And the interpreter, which in another system is that system's."""
    with door.opened(BOUNDS, shows=[tmp_path / "a"], writes=[]) as inside:
        assert inside.policy.bounds == BOUNDS
        assert inside.policy.inside == "inside"
    shown = [source for source, _ in views[0].shown]
    assert str(tmp_path / "a") in shown
    assert any(str(here.stdlib).startswith(source) for source in shown)


def test_what_it_wrote_is_looked_at(tmp_path: Path) -> None:
    """A pipe, a device or a socket is nothing that a tool may leave; more than was allowed neither."""
    out = tmp_path / "out"
    out.mkdir()
    with door.opened(BOUNDS, writes=[out]):
        (out / "fine").write_text("1")
        (out / "fine").chmod(0o4777)
    assert (out / "fine").stat().st_mode & 0o7777 == 0o755
    with pytest.raises(CheckFailure, match="pipe is a"), door.opened(BOUNDS, writes=[out]):
        os.mkfifo(out / "pipe")
    (out / "pipe").unlink()
    with pytest.raises(CheckFailure, match="more than"), door.opened(BOUNDS, writes=[out]):
        (out / "large").write_bytes(os.urandom(2**22))


def test_after_a_failure_what_it_wrote_is_left_alone(tmp_path: Path) -> None:
    """The failure is what is told."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(KeyError), door.opened(BOUNDS, writes=[tmp_path]):
        raise KeyError


def test_folders_are_given_and_taken_back(tmp_path: Path, given: list[tuple[Path, int]]) -> None:
    """To a user of this instance's own; what is kept stays its own."""
    out, kept = tmp_path / "out", tmp_path / "kept"
    out.mkdir()
    kept.mkdir()
    with door.opened(BOUNDS, writes=[out], kept=[kept]) as inside:
        user = inside.policy.user_id
        assert user is not None
        assert given == [(out, user), (kept, user)]
    assert given[2:] == [(out, 0)]


def test_what_was_kept_brings_its_user_back(
    tmp_path: Path, given: list[tuple[Path, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An artifact that has extracted itself finds that its own the next time."""
    home, extracted = tmp_path / "home", tmp_path / "extracted"
    monkeypatch.setattr(door, "_owner", lambda folder: INSTANCE if folder == extracted else 0)
    with door.opened(BOUNDS, kept=[home, extracted]) as inside:
        assert inside.policy.user_id == INSTANCE
    assert given == [(home, INSTANCE)]


def test_surroundings_that_are_not_to_be_had_are_said_before_anything_starts(
    given: list[tuple[Path, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old kernel, a container without the right to mount, or another user than root."""
    with door.opened(BOUNDS, around=Surroundings(user_id=7)) as inside:
        assert inside.policy.user_id == 7
    monkeypatch.setattr(door, "_enclosures", lambda: False)
    with pytest.raises(MissingComponent, match="does not let us"), door.opened(BOUNDS, around=Surroundings()):
        pass
    monkeypatch.setattr(door, "_enclosures", lambda: True)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MissingComponent, match="does not let us"), door.opened(BOUNDS, around=Surroundings()):
        pass
    assert given == []


def test_where_no_disk_can_be_had_the_workspace_is_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is gone afterwards as well."""
    monkeypatch.setattr(disks, "available", lambda: "only root may mount disks")
    with door.workspace(2**20) as folder:
        (folder / "x").touch()
        door.limit(folder, 2**20)
    assert not folder.exists()
