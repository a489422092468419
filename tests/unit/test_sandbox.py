"""What models are kept from, who they run as, and what they see. Nothing is put in bounds here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import sandbox
from harness.sandbox import Abilities, Surroundings

ALL = Abilities(network=True, unprivileged_user=True, control_group="v2", enclosure=True, system_calls=True, disk=True)


def test_what_is_not_enforced_is_said() -> None:
    """Each ability that lacks is a sentence for the reader; where all are there, nothing is said."""
    assert ALL.missing() == []
    found = Abilities(network=False, unprivileged_user=False, control_group=None).missing()
    assert len(found) == 6
    assert "network" in found[0]
    assert any("psutil" in words for words in found)


def test_every_instance_has_a_user_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a range that no account is in; who is not root has no other user to give."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    users = [sandbox.new_user() for _ in range(50)]
    assert len(set(users)) == len(users)
    assert all(user is not None and sandbox.is_instance_user(user) for user in users)
    assert not any(sandbox.is_instance_user(user) for user in (0, 1000, sandbox.UNPRIVILEGED_ID, 2**31))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert sandbox.new_user() is None


def test_an_instance_sees_the_system_and_what_it_is_shown(tmp_path: Path) -> None:
    """Nothing of home, of the cache, or of this machine's own settings."""
    shown, home = tmp_path / "app", tmp_path / "home"
    found = sandbox.view(shows=(shown, Path("/usr/lib")), writes=(home,))
    places = [place for _, place in found.shown]
    assert "usr" in places
    assert str(shown).lstrip("/") in places
    assert found.writable == ((str(home), str(home).lstrip("/")),)
    others = [place for place in places if place != str(shown).lstrip("/")]
    assert not any(place.split("/")[0] in {"home", "root", "var", "opt", "mnt", "srv", "boot"} for place in others)
    assert not {"etc", "etc/shadow", "etc/pip.conf", "etc/ssl", "etc/ssl/private"} & set(places)


def test_what_lies_in_a_shown_folder_is_shown_once() -> None:
    """A mount for each would cost time, and cut links between them."""
    found = sandbox.view(shows=(Path("/data/a/b"), Path("/data/a"), Path("/usr/share")), writes=(Path("/data/a/out"),))
    assert [place for _, place in found.shown if place.startswith("data")] == ["data/a"]
    assert [place for _, place in found.writable] == ["data/a/out"]
    assert not any(place.startswith("usr/") for _, place in found.shown)


def test_another_system_is_all_that_is_seen_of_it(tmp_path: Path) -> None:
    """Its programs, its settings, the links at its top; nothing of this machine's."""
    (tmp_path / "usr").mkdir()
    (tmp_path / "bin").symlink_to("usr/bin")
    found = sandbox.view(shows=(Path("/a"),), writes=(Path("/h"),), around=Surroundings(root=tmp_path))
    assert found.links == (("bin", "usr/bin"),)
    assert found.shown == ((f"{tmp_path}/usr", "usr"), (f"{tmp_path}/etc", "etc"), ("/a", "a"))
    assert found.scratch


def test_write_protected_surroundings_have_no_temporary_folders() -> None:
    """Not even /tmp."""
    assert not sandbox.view(shows=(), writes=(), around=Surroundings(read_only=True)).scratch
