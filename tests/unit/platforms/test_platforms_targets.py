"""Targets: which release stands for which, what is told where there is none, and what a running process shows."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import MissingComponent
from harness.metrics import TARGETS
from harness.platforms import targets
from harness.platforms.targets import OTHER_ID, Machine
from harness.sandbox import UNPRIVILEGED_ID, Abilities, Surroundings

Shown = Callable[..., Path]


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """As root, on a machine where all is possible."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    able = Abilities(network=True, unprivileged_user=True, control_group="v2")
    monkeypatch.setattr(targets, "abilities", lambda: able)


@pytest.mark.parametrize(
    ("minor", "older", "newer", "none"),
    [("3.11", "3.9", "3.13", "3.11"), ("3.12", "3.11", "3.13", "3.11"), ("3.10", "3.9", "3.11", "3.9")],
)
def test_the_releases_are_the_nearest_ones(minor: str, older: str, newer: str, none: str) -> None:
    """By their Python, and numbers, not letters: 3.9 is older than 3.11."""
    assert targets.python_of("debian-older", minor) == older
    assert targets.python_of("debian-newer", minor) == newer
    assert targets.python_of("no-python", minor) == none


def test_where_there_is_no_newer_release_it_is_said() -> None:
    """As for a Python that only the newest has."""
    with pytest.raises(MissingComponent, match="newer than"):
        targets.python_of("debian-newer", "3.13")


def test_this_machine_in_other_surroundings() -> None:
    """No root file system is made for these."""
    assert targets.find("no-network", python_minor="3.11").surroundings is None
    assert targets.find("read-only", python_minor="3.11").surroundings == Surroundings(read_only=True)
    assert targets.find("non-root", python_minor="3.11").surroundings == Surroundings(user_id=OTHER_ID)
    assert OTHER_ID not in (0, UNPRIVILEGED_ID)
    assert [name for name in TARGETS if targets.of_release(name)] == ["debian-older", "debian-newer", "no-python"]


def test_who_may_not_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the network needs root."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for name in TARGETS:
        if name != "no-network":
            with pytest.raises(MissingComponent, match="only root") as caught:
                targets.find(name, python_minor="3.11")
            assert caught.value.remedy
    able = Abilities(network=False, unprivileged_user=False, control_group=None)
    monkeypatch.setattr(targets, "abilities", lambda: able)
    with pytest.raises(MissingComponent, match="network"):
        targets.find("no-network", python_minor="3.11")


def test_without_mmdebstrap_there_are_no_releases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless they were made before."""
    monkeypatch.setattr(targets.shutil, "which", lambda _: None)
    with pytest.raises(MissingComponent) as caught:
        targets.find("debian-newer", python_minor="3.11")
    assert "apt-get install mmdebstrap" in caught.value.remedy
    folder = targets.paths.cache() / "targets" / f"trixie-{targets.images.recipe('3.13')}"
    folder.mkdir(parents=True)
    found = targets.find("debian-newer", python_minor="3.11")
    assert found.surroundings == Surroundings(root=folder, user_id=UNPRIVILEGED_ID)
    assert (found.title, found.release) == ("Debian trixie with Python 3.13", "trixie")


def test_no_python_is_left(tmp_path: Path) -> None:
    """Neither interpreter nor library nor its helpers; the rest stays."""
    library = "usr/lib/x86_64-linux-gnu"
    gone = ["usr/bin/python3.11", "usr/bin/pydoc3", "usr/lib/python3.11/os.py", f"{library}/libpython3.11.so.1.0"]
    kept = ["usr/bin/ls", f"{library}/libz.so.1"]
    for path in (*gone, *kept):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "usr/bin/python3").symlink_to("python3.11")
    targets._remove_python(tmp_path)
    assert [path for path in gone if (tmp_path / path).exists()] == []
    assert not (tmp_path / "usr/bin/python3").is_symlink()
    assert all((tmp_path / path).exists() for path in kept)


# --- what a running process shows ----------------------------------------------------------------


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shown:
    """``shown(...)``: a folder that stands for a process's in ``/proc``."""

    def make(*, interfaces: str = "lo", options: str = "ro", ids: int = OTHER_ID, release: str = "trixie") -> Path:
        lines = [f"  {name}:  0 0" for name in interfaces.split()]
        for path, text in {
            "net/dev": "\n".join(["Inter-| Receive", " face |bytes", *lines]),
            "mountinfo": f"22 1 254:0 / / rw - ext4\n30 22 254:0 / /proc rw - p\n31 1 0:5 / / {options} - tmpfs",
            "status": f"Name: x\nUid:\t{ids}\t{ids}\t{ids}\t{ids}\nGid:\t{ids}\t{ids}\t{ids}\t{ids}\n",
            "root/etc/os-release": f"NAME=Debian\nVERSION_CODENAME={release}\n",
        }.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        (tmp_path / "ns").mkdir(exist_ok=True)
        (tmp_path / "ns" / "net").unlink(missing_ok=True)
        (tmp_path / "ns" / "net").symlink_to("net:[1]")
        return tmp_path

    monkeypatch.setattr(targets, "_folder_of", lambda _: tmp_path)
    return make


def machine(name: str, **around: object) -> Machine:
    """A target."""
    return Machine(name=name, title=name, surroundings=Surroundings(**around))  # type: ignore[arg-type]


def test_an_instance_on_its_target_is_believed(shown: Shown, tmp_path: Path) -> None:
    """For each kind of target."""
    shown()
    trixie = tmp_path / "trixie-abc"
    for found in (
        machine("no-network"),
        machine("read-only", read_only=True),
        machine("non-root", user_id=OTHER_ID),
        machine("debian-newer", root=trixie),
        machine("no-python", root=trixie),
    ):
        assert targets.astray(found, 1) == "", found.name


def test_an_instance_that_is_elsewhere_is_found_out(shown: Shown, tmp_path: Path) -> None:
    """It has a network, may write, is another user, sees another release, or a Python."""
    shown(interfaces="lo eth0", options="rw,relatime", ids=UNPRIVILEGED_ID, release="bookworm")
    trixie = tmp_path / "trixie-abc"
    assert "eth0" in targets.astray(machine("no-network"), 1)
    assert "written" in targets.astray(machine("read-only"), 1)
    assert str(UNPRIVILEGED_ID) in targets.astray(machine("non-root"), 1)
    assert "another release" in targets.astray(machine("debian-newer", root=trixie), 1)
    shown()
    (tmp_path / "root" / "usr" / "bin").mkdir(parents=True)
    (tmp_path / "root" / "usr" / "bin" / "python3").touch()
    assert "/usr/bin/python3" in targets.astray(machine("no-python", root=trixie), 1)
    assert targets.astray(machine("debian-newer", root=trixie), 1) == ""


def test_our_own_network_is_none_of_its_own(shown: Shown, tmp_path: Path) -> None:
    """Even where only the loopback is there."""
    shown()
    (tmp_path / "ns" / "net").unlink()
    (tmp_path / "ns" / "net").symlink_to(os.readlink("/proc/self/ns/net"))
    assert "own" in targets.astray(machine("no-network"), 1)
