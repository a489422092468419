"""What a harness leaves that was killed together with its watchdog: it is removed by the next one.

Each temporary folder, and each control group, is held by who made it: by a lock (flock(2)) on the folder, which the
kernel takes back when that process ends, however it ends. So a folder whose lock can be had belongs to nobody any more,
whoever made it and in whichever process namespace. (systemd-tmpfiles(8) tells by the same lock what to leave alone.)
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from harness import cgroup, files, mounts, paths

#: The names that :func:`tempfile.mkdtemp` gives. What else lies there, reports of bugs say, stays.
_MADE = re.compile(r"[\w-]+-[a-z0-9_]{8}")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: What is newer may be about to be held.
_NEW_S = 1.0


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the new ``folder`` for the time of the block."""
    descriptor = os.open(folder, _FOLDER)
    try:
        with contextlib.suppress(OSError):  # a network file system may have no locks: nothing is taken for left there
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


@cache
def remove_once(home: Path) -> None:
    """As :func:`remove`, once in this process."""
    remove(home)


def remove(home: Path) -> int:
    """Remove what nobody holds of the temporary folders in ``home``, and of this cache's control groups; how many."""
    return sum(_remove_folder(folder) for folder in _folders(home)) + sum(
        _remove_group(group) for group in cgroup.named(f"harness-{paths.key()}-")
    )


def _folders(home: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return [home / name for name in os.listdir(home) if _MADE.fullmatch(name)]
    return []


def _remove_folder(folder: Path) -> bool:
    with _left(folder) as left:
        if left:
            if os.geteuid() == 0:
                mounts.detach_below(folder)
            files.remove(folder, ignore_errors=True)
    return left


def _remove_group(group: cgroup.Group) -> bool:
    (folder,) = group.folders.values()
    with _left(folder) as left:
        if left:
            group.kill_and_remove()
    return left


@contextlib.contextmanager
def _left(folder: Path) -> Iterator[bool]:
    """Whether nobody holds the folder; for the time of the block we do."""
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.open(folder, _FOLDER)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            old = time.time() - os.fstat(descriptor).st_ctime > _NEW_S
        except OSError:  # it is held, another user's, gone, or can't be locked
            old = False
        yield old
