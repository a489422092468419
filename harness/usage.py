"""Which entries of the cache are in use, and when each was used last: what may be dropped goes by that.

    <cache>/users/<pid>-<random>   a process that uses the cache, its file held by a lock as long as it lives
    <cache>/users/gate             the lock under which entries are taken into use, and dropped

When an entry was used is when its folder was changed last (``mtime``): whoever uses it sets that. When a process began
to use the cache is when its own file was. So what was used since the oldest process that lives began is in use, and
nobody has to keep lists. The kernel takes a lock back when its process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import paths, process

_GATE = "gate"


@dataclass(frozen=True, kw_only=True)
class _Own:
    """This process's file; a copy of the process made by fork has the record, and is no user by it."""

    pid: int
    file: Path
    descriptor: int


#: By the folder of users; one at most, as a process has one cache.
_held: dict[Path, _Own] = {}


def used(entry: Path) -> bool:
    """Take the entry of the cache into use, from now until this process ends or renews; whether it is there.

    To be asked before it is looked at: what is there then stays. Where it is to be made it is in use as soon as it is.
    """
    with _gate():
        try:
            os.utime(entry)
        except OSError:  # it is gone, or another user's, who alone may drop it
            return os.path.lexists(entry)
    return True


def keep(made: Path, place: Path) -> None:
    """Give what was made its place in the cache, in use from then on."""
    with _gate():
        os.utime(made)
        made.rename(place)


def renew() -> None:
    """What this process used up to now it uses no longer."""
    with _gate() as own:
        if own is not None:
            os.utime(own)


def drop(entry: Path, *, first: Callable[[], None] = lambda: None) -> bool:
    """Remove the entry where nobody uses it, having done what comes ``first``; False where it is in use, or gone.

    Nobody comes to use it meanwhile, so what comes ``first`` may take nothing into use. It is moved out of the way, all
    of it at once, and removed from there: where we are killed, the watchdog does that, or the next harness.
    """
    with process.temporary_folder("dropped") as place, _gate() as own:
        try:
            if own is None or _in_use(entry):
                return False
        except FileNotFoundError:
            return False
        first()
        entry.rename(place / "entry")
        return True


@contextlib.contextmanager
def _gate() -> Iterator[Path | None]:
    """This process's file, at the gate; None where the cache is one that it may only read. DiskFull without room."""
    place = paths.cache() / "users"
    with contextlib.ExitStack() as stack:
        own = None
        try:
            with process.disk_full_named(place):
                place.mkdir(mode=0o755, exist_ok=True)
                stack.callback(os.close, descriptor := os.open(place / _GATE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC))
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                own = _joined(place)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOLCK, errno.ENOTSUP):
                raise
        yield own


def _joined(place: Path) -> Path:
    """This process's file, made and held where it is not yet."""
    own = _held.get(place)
    if own is not None and own.pid == os.getpid() and own.file.exists():
        return own.file
    while _held:
        os.close(_held.popitem()[1].descriptor)
    file = place / f"{os.getpid()}-{secrets.token_hex(4)}"
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    _held[place] = _Own(pid=os.getpid(), file=file, descriptor=descriptor)
    return file


def _in_use(entry: Path) -> bool:
    """Whether a process that lives has used the entry, at the gate; OSError where it is gone."""
    begun = min(file.stat().st_mtime_ns for file in _users())  # at the least we are one
    return entry.lstat().st_mtime_ns >= begun


def _users() -> Iterator[Path]:
    """The files of the processes that live, at the gate; those of others are removed."""
    for file in (paths.cache() / "users").iterdir():
        if file.name == _GATE:
            continue
        with contextlib.suppress(FileNotFoundError), file.open("rb") as opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                yield file
            else:
                file.unlink(missing_ok=True)
