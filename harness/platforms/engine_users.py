"""Who uses the private engine: each process that does has a file below the engine's folder, and holds a lock on it.

    <cache>/engine/users/<pid>-<random>   the process, its command and since when, as JSON

The kernel lets go of the lock when the process ends, however it ends, so a file without one says nothing. It is a
record lock, which children don't inherit: only the process itself is a user.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import secrets
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import HarnessError, printable

_LONGEST = 200
_RECORD_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class User:
    """A process that uses the engine: its number, its command, and since when."""

    pid: int
    command: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command}), since {self.since}"


class EngineInUse(HarnessError):
    """The private engine was to be stopped, and others use it."""

    def __init__(self, users: Sequence[User]) -> None:
        self.users = tuple(users)
        super().__init__(
            "the private engine is in use by " + "; ".join(map(str, users)),
            remedy="'harness engine stop --wait' stops it when nobody uses it any more, --force at once",
        )


@dataclass(frozen=True, kw_only=True)
class _Held:
    """Our own lock; a copy of us made by fork has the record, and not the lock."""

    pid: int
    file: Path
    descriptor: int

    @property
    def stands(self) -> bool:
        return self.pid == os.getpid() and self.file.exists()


_held: dict[Path, _Held] = {}


def joined(folder: Path) -> bool:
    """Whether this process is known as a user of the engine in ``folder``."""
    return folder in _held and _held[folder].stands


def join(folder: Path) -> None:
    """Make this process a user of the engine in ``folder`` until it ends; the caller holds the engine's lock."""
    if joined(folder):
        return
    _clear_out(folder)
    place = _place(folder)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = place / f"{os.getpid()}-{secrets.token_hex(4)}"
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.lockf(descriptor, fcntl.LOCK_EX)
    with contextlib.suppress(OSError):  # the lock is what counts
        os.write(descriptor, json.dumps({"pid": os.getpid(), "command": _command(), "since": _now()}).encode())
    if not _held:
        atexit.register(_leave_all)
    _held[folder] = _Held(pid=os.getpid(), file=file, descriptor=descriptor)


def leave(folder: Path) -> None:
    """This process uses the engine no longer."""
    held = _held.pop(folder, None)
    if held is not None and held.pid == os.getpid():
        held.file.unlink(missing_ok=True)
        os.close(held.descriptor)


def users(folder: Path, *, others: bool = False) -> tuple[User, ...]:
    """Who uses the engine in ``folder`` now; with ``others`` without this process."""
    found = [_read(file) for file in _files(folder) if _is_held(file) and not (others and _own(file))]
    return tuple(user for user in found if user is not None)


def _clear_out(folder: Path) -> None:
    """Remove what ended processes left; nobody can be joining meanwhile."""
    for file in _files(folder):
        if not _is_held(file):
            file.unlink(missing_ok=True)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(_place(folder).iterdir())
    except OSError:
        return []


def _own(file: Path) -> _Held | None:
    return next((held for held in _held.values() if held.file == file and held.pid == os.getpid()), None)


def _is_held(file: Path) -> bool:
    # Our own is never opened again: closing any descriptor of a file lets go of the process's lock on it.
    if _own(file):
        return True
    try:
        with file.open("rb") as opened:
            fcntl.lockf(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)  # those who ask don't get in each other's way
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _read(file: Path) -> User | None:
    """The user that the file is of; None where it has just left."""
    own = _own(file)
    try:
        said = os.pread(own.descriptor, _RECORD_BYTES, 0) if own else _start_of(file)
        table = json.loads(said)
        return User(pid=int(table["pid"]), command=printable(str(table["command"])), since=str(table["since"]))
    except OSError:
        return None
    except (ValueError, TypeError, KeyError):
        return User(pid=int(file.name.partition("-")[0]), command="unknown", since="unknown")


def _start_of(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_RECORD_BYTES)


def _place(folder: Path) -> Path:
    return folder / "users"


def _command() -> str:
    text = shlex.join([Path(sys.argv[0] or sys.executable).name, *sys.argv[1:]])
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _leave_all() -> None:
    for folder in list(_held):
        with contextlib.suppress(OSError):
            leave(folder)
