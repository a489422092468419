"""The harness's side of a started artifact: connect, ask, stamp, and say what went wrong.

It waits on the artifact's Unix socket, or on its port inside its own network namespace; between the artifact
and the clock there is nothing else.
"""

from __future__ import annotations

import contextlib
import http.client
import math
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import psutil

from harness import cgroup, files, paths
from harness.errors import BadInput, DiskFull, ModelFailure
from harness.methods import messages, wire
from harness.methods.contract import Limits, Stamps, Usage
from harness.methods.doors import Door, Port, UnixSocket
from harness.methods.messages import Raised, Told, TooLong, printed, worded
from harness.methods.wire import REST, Http
from harness.platforms.host import peak_resident_bytes
from harness.spec.model import Json

__all__ = ["REST", "SOCKET_NAME", "Http", "Port", "Running", "Served", "UnixSocket", "worded"]

_POLL_S = 0.0005
_GLANCE_S = 0.25  # how often a wait for somebody to listen looks at the process and at the disk
_LEAVING_S = 1.0  # who has closed a connection may be on the way out
_MORE_DISK = "raise resources.disk_mb in model.toml"

#: A disk of an instance's own is full with no more left than this, or this share: ext4 keeps some for its tables.
_NO_ROOM_BYTES, _NO_ROOM_SHARE = 2 * 2**20, 1 / 32
#: Who says that there was no room may have asked for more than there was in one go.
_TOO_LITTLE_SHARE = 1 / 8
_LITTLE_ROOM_BYTES = 32 * 2**20

#: The name of the socket in the folder that artifact and harness share.
SOCKET_NAME = "s"


class Running(Protocol):
    """A process or container that serves."""

    @property
    def spawned_s(self) -> float:
        """When it was asked for."""

    @property
    def sandbox_s(self) -> float:
        """When its isolated process existed."""

    @property
    def pid(self) -> int:
        """Its number on this host."""

    def exit_code(self) -> int | None:
        """None while it runs."""

    def output(self) -> str:
        """The end of what it printed."""

    def oom_killed(self) -> bool:
        """Whether it ran out of memory."""

    def group_usage(self) -> tuple[cgroup.GroupUsage, str]:
        """What it used so far, and the source."""


class Served:
    """An instance that is asked through its ``door``; see :class:`harness.methods.contract.Instance`.

    ``http`` is None for the runner's own protocol, a JSON object a line. ``folder`` is where it writes on this
    host, if anywhere: where that is on a disk of its own, a full one is the instance's doing.
    """

    def __init__(
        self, running: Running, door: Door, limits: Limits, *, http: Http | None = None, folder: Path | None = None
    ) -> None:
        self._running, self._door, self._limits = running, door, limits
        self._http, self._folder = http, folder
        self._own_disk = folder is not None and has_disk_of_its_own(folder)
        self._connection: socket.socket | None = None
        self._told: Told | None = None
        self._listening_s = self._answered_s = 0.0

    @property
    def pid(self) -> int:
        """The number of its first process on this host; 0 where it runs on another."""
        return self._running.pid

    def predict(self, inputs: Sequence[Json]) -> list[Json]:
        """The model's answers; ModelFailure where it raises, hangs, exits or prints rubbish."""
        timeout_s = self._limits.predict_timeout_s
        if not self._answered_s:
            deadline = self._running.spawned_s + self._limits.start_timeout_s
            self._connection = self._connect(deadline)
            self._listening_s = time.monotonic()
            timeout_s = max(deadline - self._listening_s, 0.0)
        most = messages.longest_bytes(self._limits, len(inputs))
        answer = self._ask({"predict": list(inputs)}, timeout_s, most)
        self._answered_s = self._answered_s or time.monotonic()
        return messages.outputs(answer, len(inputs))

    def stamps(self) -> Stamps:
        """The phase stamps of the start."""
        return messages.stamped(
            self._asked().stamps,
            spawned_s=self._running.spawned_s,
            sandbox_s=self._running.sandbox_s,
            answered_s=self._answered_s,
            # Servers of others may listen before the process exists that has the runner in it.
            listening_s=self._listening_s if self._http is None else math.inf,
        )

    def usage(self) -> Usage:
        """What was used so far."""
        group, source = self._running.group_usage()
        return Usage(
            peak_memory_bytes=group.peak_memory_bytes,
            peak_resident_bytes=_peak_resident_bytes(self._running.pid),
            cpu_s=group.cpu_s,
            source=source,
            anonymous_bytes=group.anonymous_bytes,
        )

    def facts(self) -> Mapping[str, str]:
        """What the runner found about itself."""
        return self._asked().facts

    def close(self) -> None:
        """Close the connection and the door."""
        self._hang_up()
        self._door.close()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _asked(self) -> Told:
        if self._told is None:
            most = messages.longest_bytes(self._limits, 0)
            self._told = Told.read(self._ask({"facts": True}, self._limits.predict_timeout_s, most))
        return self._told

    def _connect(self, deadline: float) -> socket.socket:
        glance = time.monotonic() + _GLANCE_S
        while True:
            with contextlib.suppress(OSError):
                return self._door.connect()
            now = time.monotonic()
            if now > glance:
                self._look_after()
                glance = now + _GLANCE_S
            if now > deadline:
                raise ModelFailure(
                    f"did not listen within {self._limits.start_timeout_s:g} s of its start{self._said()}",
                    remedy="make the start quicker, or raise resources.start_timeout_s in model.toml",
                )
            time.sleep(_POLL_S)

    def _ask(self, request: Mapping[str, Any], timeout_s: float, most: int) -> Any:
        if self._connection is None and not self._answered_s:
            raise ModelFailure("was not asked for a prediction yet")
        try:
            answer = self._exchange(request, timeout_s, most)
        except TimeoutError:
            raise ModelFailure(
                f"did not answer within {timeout_s:.3g} s{self._said()}",
                remedy="make it quicker, or raise resources.start_timeout_s or predict_timeout_s in model.toml",
            ) from None
        except TooLong:
            raise ModelFailure(
                f"answered more than {most} bytes, the most that is taken",
                remedy="answer as the examples do: their longest output decides how long an answer may be",
            ) from None
        except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
            self._see_it_go(_LEAVING_S if isinstance(error, OSError | http.client.HTTPException) else _POLL_S)
            broke = isinstance(error, OSError | http.client.HTTPException)
            said = messages.brief(str(error), 600)
            how = f"the connection broke: {said}" if broke else f"the model answered rubbish: {said}"
            raise ModelFailure(f"{how}{self._said()}") from error
        if isinstance(answer, dict) and "error" in answer and Raised.read(answer["error"]).disk_full:
            self._blame_own_disk(worded(answer["error"]), said_so=True)
        messages.hold(answer)
        return answer

    def _exchange(self, request: Mapping[str, Any], timeout_s: float, most: int) -> Any:
        """Ask on the connection that there is, or on a new one; what is left of a broken one is answered by nobody."""
        # A server may hang up after each answer, or when it was not asked for a while.
        if self._http is not None and self._connection is not None and wire.hung_up(self._connection):
            self._hang_up()
        connection, self._connection = self._connection or self._door.connect(), None
        kept = False
        try:
            bounds: dict[str, Any] = {"timeout_s": timeout_s, "look_after": self._look_after, "most": most}
            if self._http is None:
                answer, kept = wire.over_lines(connection, request, **bounds), True
            else:
                answer, kept = wire.over_http(connection, request, self._http, **bounds)
        finally:
            if kept:
                self._connection = connection
            else:
                connection.close()
        return answer

    def _see_it_go(self, patience_s: float) -> None:
        """Raise the reason where the instance has ended; an engine hears of that some time after its sockets closed."""
        deadline = time.monotonic() + patience_s
        self._look_after()
        while time.monotonic() < deadline:
            time.sleep(0.02)
            self._look_after()

    def _look_after(self) -> None:
        """Raise where the instance is gone, or has filled its disk."""
        # Asked first, since the kernel's account of a group goes with its last process; and once more for the end.
        out_of_memory = self._running.oom_killed()
        code = self._running.exit_code()
        allowed = f"it may use {self._limits.memory_bytes / 2**20:.0f} MiB"
        if out_of_memory or (code is not None and self._running.oom_killed()):
            raise ModelFailure(f"ran out of memory: {allowed}", remedy=_more_memory(self._limits))
        if code is not None:
            how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
            self._blame_own_disk(f"it {how} before it answered{self._said()}")
            if code == -signal.SIGKILL:
                # The harness asks nobody whom it has ended, and the kernel is not always seen doing it.
                said = f"was killed by signal 9 before it answered, as happens where memory runs out ({allowed})"
                raise ModelFailure(
                    f"{said}{self._said()}", remedy=f"if that is the cause, {_more_memory(self._limits)}"
                )
            raise ModelFailure(f"{how} before it answered{self._said()}")
        self._blame_own_disk("")
        if self._folder is not None and not self._own_disk:
            self._look_into(self._folder)

    def _look_into(self, folder: Path) -> None:
        """Raise where the disk that it shares with the harness is full, or where it wrote more there than it may."""
        if _room(folder)[0] < _LITTLE_ROOM_BYTES:
            raise DiskFull(f"the disk that holds {folder} is full", remedy="free some space and go on with --resume")
        with contextlib.suppress(BadInput):  # it writes there meanwhile, so what was listed may be gone
            if files.taken(folder, at_most=self._limits.disk_bytes) > self._limits.disk_bytes:
                allowed = f"{self._limits.disk_bytes / 2**20:.0f} MiB"
                raise ModelFailure(f"wrote more than the {allowed} that it may write", remedy=_MORE_DISK)

    def _blame_own_disk(self, what: str, *, said_so: bool = False) -> None:
        """ModelFailure where the disk that the instance has to itself is full, with ``what`` came of that."""
        if self._folder is None or not self._own_disk:
            return
        free, size = _room(self._folder)
        if free >= (size * _TOO_LITTLE_SHARE if said_so else min(_NO_ROOM_BYTES, size * _NO_ROOM_SHARE)):
            return
        allowed = f"filled the {self._limits.disk_bytes / 2**20:.0f} MiB that it may write"
        raise ModelFailure(f"{allowed}: {what}" if what else allowed, remedy=_MORE_DISK)

    def _said(self) -> str:
        return printed(self._running.output())


def _more_memory(limits: Limits) -> str:
    if limits.memory_told:
        return f"the ceiling of this machine held it back, as it {limits.memory_told}: raise that, or make it smaller"
    return "raise resources.memory_mb in model.toml"


def has_disk_of_its_own(folder: Path) -> bool:
    """Whether the folder is on another disk than all that the harness keeps, where nobody else writes."""
    return os.stat(folder).st_dev != os.stat(paths.cache()).st_dev


def _peak_resident_bytes(pid: int) -> int | None:
    """The most memory that any one process of the instance ever had resident: servers answer from a worker."""
    found = [pid]
    with contextlib.suppress(psutil.Error):
        found += [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return max((peak for peak in map(peak_resident_bytes, found) if peak is not None), default=None)


def _room(folder: Path) -> tuple[int, int]:
    """The bytes that may still be written there, none where no further file can be made; and those of the disk."""
    status = os.statvfs(folder)
    blocks = status.f_bavail if status.f_favail or not status.f_files else 0
    return blocks * status.f_frsize, status.f_blocks * status.f_frsize
