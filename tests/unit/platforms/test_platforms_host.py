"""This machine with other surroundings: what a process is shown, and who it is. No process is started here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import MissingComponent
from harness.platforms import host
from harness.sandbox import Policy, Surroundings

POLICY = Policy(memory_bytes=1, processes=1, disk_bytes=1, user_id=65532, visible=(Path("/a"), Path("/scratch")))
HOME = Path("/scratch/home")


@pytest.fixture(autouse=True)
def possible(monkeypatch: pytest.MonkeyPatch) -> None:
    """As root, where all works."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(Policy, "possible", lambda _: True)


def test_in_another_root_only_the_artifact_is_shown(tmp_path: Path) -> None:
    """Not the folder above its home, in which there may be more; the user is the target's."""
    around = Surroundings(root=tmp_path, user_id=7)
    found = host._surrounded(POLICY, around, needed=[Path("/a")], home=HOME, writable=[HOME])
    assert (found.visible, found.writable, found.home) == ((Path("/a"),), (HOME,), HOME)
    assert (found.surroundings, found.user_id) == (around, 7)


def test_on_this_machine_all_stays_visible() -> None:
    """The user too, unless another is wanted."""
    found = host._surrounded(POLICY, Surroundings(read_only=True), needed=[Path("/a")], home=HOME, writable=[HOME])
    assert (found.visible, found.user_id) == (POLICY.visible, 65532)


def test_what_is_not_possible_is_said_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old kernel, a container without the right to mount, or another user than root."""
    monkeypatch.setattr(Policy, "possible", lambda _: False)
    with pytest.raises(MissingComponent, match="does not let us"):
        host._surrounded(POLICY, Surroundings(read_only=True), needed=[], home=HOME, writable=[])
    monkeypatch.setattr(Policy, "possible", lambda _: True)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MissingComponent, match="does not let us"):
        host._surrounded(POLICY, Surroundings(read_only=True), needed=[], home=HOME, writable=[])
