"""What is asked of the kernel for a disk of its own. None is made here."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from harness import disks

#: As it is, before tests are kept from it.
AVAILABLE = disks.available


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Root, with all that it takes."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(disks, "maker", lambda: "/sbin/mkfs.ext4")
    (tmp_path / "control").touch()
    monkeypatch.setattr(disks, "_CONTROL", tmp_path / "control")


@pytest.mark.usefixtures("able")
def test_what_lacks_for_a_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rights, the program, or loop devices."""
    assert AVAILABLE() == ""
    monkeypatch.setattr(disks, "_CONTROL", Path("/no/such/device"))
    assert "/no/such/device" in AVAILABLE()
    monkeypatch.setattr(disks, "maker", lambda: None)
    assert "e2fsprogs" in AVAILABLE()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "root" in AVAILABLE()


@pytest.mark.usefixtures("able")
def test_a_disk_holds_what_is_allowed_and_its_own_tables(tmp_path: Path) -> None:
    """The image takes no room before it is written to, and files beyond a number are refused as well."""
    image = tmp_path / "image"
    argv = disks.command(image, 64 * 2**20)
    assert 64 * 2**20 < image.stat().st_size == disks.size_of(64 * 2**20) < 70 * 2**20
    assert image.stat().st_blocks == 0
    assert argv[0] == "/sbin/mkfs.ext4"
    assert argv[-1] == str(image)
    assert int(argv[argv.index("-N") + 1]) == image.stat().st_size // 16384
    with pytest.raises(FileExistsError):
        disks.command(image, 1)


def test_the_device_goes_with_its_mount() -> None:
    """``struct loop_config``: the file, and the flag that frees the device when it is unmounted."""
    told = disks._configuration(7)
    assert len(told) == 304
    assert struct.unpack_from("I", told, 0) == (7,)
    assert struct.unpack_from("I", told, 60) == (4,)
    assert sum(told) == 7 + 4
