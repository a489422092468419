"""Small disks of our own, each in a file, that can be filled and freed while others work on them."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FILLER = "filler"


@contextmanager
def mounted(image: Path, place: Path, size_bytes: int) -> Iterator[Path]:
    """``place`` as a disk of that size, which is made where ``image`` is not there; unmounted afterwards."""
    place.mkdir(parents=True, exist_ok=True)
    if not place.is_mount():
        if not image.is_file():
            with image.open("wb") as file:
                file.truncate(size_bytes)
            _run("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", str(image))
        _run("mount", "-o", "loop", str(image), str(place))
    place.chmod(0o755)
    free(place)
    try:
        yield place
    finally:
        if subprocess.run(["umount", str(place)], check=False).returncode != 0:
            _run("umount", "--lazy", str(place))


def fill(place: Path) -> None:
    """Leave no room on the disk, or some blocks of it; what others give free meanwhile is theirs."""
    descriptor = os.open(place / _FILLER, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        length = os.fstat(descriptor).st_size
        step = 2**30
        while step >= 4096:
            try:
                os.posix_fallocate(descriptor, length, step)
                length += step
            except OSError:
                step //= 4
    finally:
        os.close(descriptor)


def free(place: Path) -> None:
    """Give the room back."""
    with contextlib.suppress(FileNotFoundError):
        (place / _FILLER).unlink()


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True)
