"""A disk of its own for who is not trusted with ours: what is written to it, in sum, is at most its size.

As root it is a sparse file with an ext4 file system in it, mounted by a loop device. Making one takes 20 ms; writing to
it is as fast as writing to the disk below. It needs ``mkfs.ext4`` (e2fsprogs) and a loop device. Who has no right to
mount gets a plain folder, and :func:`available` says so: then each file is bounded, and the sum is looked at.

Sources: loop(4), ``include/uapi/linux/loop.h``; mkfs.ext4(8).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
from functools import lru_cache
from pathlib import Path

from harness import mounts

_CONTROL = Path("/dev/loop-control")
_GET_FREE, _CONFIGURE = 0x4C82, 0x4C0A
_AUTOCLEAR = 4
#: ``struct loop_config`` is the file, a block size, ``struct loop_info64``, of which only the flags are set, and room.
_FLAGS_OFFSET = 52
_TRIES = 50
_FOLDERS = ("/usr/sbin", "/sbin", "/usr/bin", "/bin")

#: A file system is no smaller than that; what is allowed to write less is held to it by the size of its files.
_LEAST_BYTES = 2**20
_BYTES_A_FILE = 16384  # as mkfs.ext4 has it by default


@lru_cache(maxsize=1)
def maker() -> str | None:
    """The program that makes file systems; None where there is none."""
    return shutil.which("mkfs.ext4", path=os.pathsep.join(_FOLDERS))


def available() -> str:
    """Why disks of their own can't be had here; empty where they can."""
    if os.geteuid() != 0:
        return "only root may mount disks"
    if maker() is None:
        return "there is no mkfs.ext4 (Debian: apt-get install e2fsprogs)"
    if not os.access(_CONTROL, os.R_OK | os.W_OK):
        return f"{_CONTROL} is not there, or may not be used"
    return ""


def size_of(disk_bytes: int) -> int:
    """How large a disk is that files of so many bytes fit on: its own tables come on top."""
    return max(disk_bytes, _LEAST_BYTES) * 33 // 32 + _LEAST_BYTES


def command(image: Path, size_bytes: int) -> list[str]:
    """Make the file ``image`` and say what is to be run to make a file system of ``size_bytes`` in it."""
    whole = size_of(size_bytes)
    with image.open("xb") as file:
        file.truncate(whole)
    inodes = max(whole // _BYTES_A_FILE, 1024)
    options = ["-q", "-F", "-m", "0", "-N", str(inodes), "-O", "^has_journal,^resize_inode"]
    return [maker() or "mkfs.ext4", *options, "-E", "lazy_itable_init=1,nodiscard", str(image)]


def mount(image: Path, place: Path) -> None:
    """Mount the file system in ``image`` at ``place``. It goes, with its loop device, when it is unmounted."""
    device, held = _attached(image)
    try:
        # Else the kernel writes its empty tables beside what is measured.
        mounts.attach(device, place, kind="ext4", options="noinit_itable")
    finally:
        os.close(held)


def _attached(image: Path) -> tuple[str, int]:
    """A loop device that shows ``image``, and the descriptor that keeps it until it is mounted."""
    file = os.open(image, os.O_RDWR | os.O_CLOEXEC)
    control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        for left in range(_TRIES, 0, -1):
            name = f"/dev/loop{fcntl.ioctl(control, _GET_FREE)}"
            held = os.open(name, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(held, _CONFIGURE, _configuration(file))
            except OSError:  # somebody else was quicker
                os.close(held)
                if left == 1:
                    raise
                continue
            return name, held
    finally:
        os.close(control)
        os.close(file)
    raise AssertionError("the loop ends by a return or an error")


def _configuration(file: int) -> bytes:
    told = bytearray(8 + 232 + 64)
    struct.pack_into("I", told, 0, file)
    struct.pack_into("I", told, 8 + _FLAGS_OFFSET, _AUTOCLEAR)
    return bytes(told)
