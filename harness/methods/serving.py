"""The harness's side of a started artifact: connect, ask, stamp, and say what went wrong.

It waits on the artifact's Unix socket, or on its port inside its own network namespace; between the artifact
and the clock there is nothing else.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import psutil

from harness import cgroup
from harness.errors import DiskFull, ModelFailure
from harness.methods.contract import Limits, Stamps, Usage
from harness.platforms import namespaces
from harness.platforms.host import peak_resident_bytes
from harness.spec.model import Json

_POLL_S = 0.0005
_GLANCE_S = 0.25  # how often a long wait looks at the process and at the disk
_LEAVING_S = 1.0  # who has closed a connection may be on the way out

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


class Door(Protocol):
    """Where an instance listens."""

    def connect(self) -> socket.socket:
        """A connection; OSError while nobody listens."""

    def close(self) -> None:
        """Give up what connecting needed."""


class UnixSocket:
    """A socket file."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def connect(self) -> socket.socket:
        """Connect to it."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Nothing was needed."""


class Port:
    """A TCP port on the loopback of the network namespace that a process has to itself."""

    def __init__(self, pid: int, port: int) -> None:
        self._inside, self._port = namespaces.Inside(pid), port

    def connect(self) -> socket.socket:
        """Connect to it."""
        return self._inside.connect(self._port)

    def close(self) -> None:
        """Leave the namespace."""
        self._inside.close()


@dataclass(frozen=True, kw_only=True)
class Http:
    """How a platform's HTTP server is asked.

    ``ask`` makes a request's body of the inputs, ``outputs`` takes the answer's body apart: it returns what the
    runner says, ``{"outputs": [...]}`` or ``{"error": {...}}``. Facts are asked for by ``GET facts_path`` where that
    is given, else with the body ``{"facts": true}`` where predictions are asked for.
    """

    path: str
    ask: Callable[[list[Json]], Any] = lambda inputs: {"inputs": inputs}
    outputs: Callable[[Any], Any] = lambda answer: answer
    facts_path: str | None = None

    def request(self, asked: Mapping[str, Any]) -> tuple[str, str, bytes]:
        """The verb, the path and the body for what the harness asks."""
        if "predict" in asked:
            return "POST", self.path, json.dumps(self.ask(asked["predict"])).encode()
        if self.facts_path is not None:
            return "GET", self.facts_path, b""
        return "POST", self.path, json.dumps({"facts": True}).encode()


#: How the runner of the project's own is asked over HTTP.
REST = Http(path="/predict", facts_path="/runtime")


class Served:
    """An instance that is asked through its ``door``; see :class:`harness.methods.contract.Instance`.

    ``http`` is None for the runner's own protocol, a JSON object a line. ``folder`` is where it writes on this
    host, if anywhere: that is watched, so that it does not fill the disk.
    """

    def __init__(
        self, running: Running, door: Door, limits: Limits, *, http: Http | None = None, folder: Path | None = None
    ) -> None:
        self._running, self._door, self._limits = running, door, limits
        self._http, self._folder = http, folder
        self._connection: socket.socket | None = None
        self._facts: dict[str, Any] | None = None
        self._free_at_start = _free_bytes(folder) if folder else 0
        self._answered = False

    @property
    def pid(self) -> int:
        """The number of its first process on this host; 0 where it runs on another."""
        return self._running.pid

    def predict(self, inputs: Sequence[Json]) -> list[Json]:
        """The model's answers; ModelFailure where it raises, hangs, exits or prints rubbish."""
        timeout_s = self._limits.predict_timeout_s
        if not self._answered:
            deadline = self._running.spawned_s + self._limits.start_timeout_s
            self._connection = self._connect(deadline)
            timeout_s = max(deadline - time.monotonic(), 0.0)
        answer = self._ask({"predict": list(inputs)}, timeout_s)
        self._answered = True
        outputs = answer.get("outputs")
        if not isinstance(outputs, list) or len(outputs) != len(inputs):
            raise ModelFailure(f"the model answered rubbish: {str(answer)[:200]}")
        return outputs

    def stamps(self) -> Stamps:
        """The phase stamps of the start."""
        inside = self._asked_facts()["stamps"]
        if not all(isinstance(inside.get(phase), float) for phase in ("interpreter", "imports", "weights")):
            raise ModelFailure(f"the runner's stamps are rubbish: {str(inside)[:200]}")
        return Stamps(
            spawned_s=self._running.spawned_s,
            # An engine learns of the process a little after it runs; its first line can come before.
            sandbox_s=min(self._running.sandbox_s, inside["interpreter"]),
            interpreter_s=inside["interpreter"],
            imports_s=inside["imports"],
            weights_s=inside["weights"],
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
        return {name: str(value) for name, value in self._asked_facts()["facts"].items()}

    def close(self) -> None:
        """Close the connection and the door."""
        self._hang_up()
        self._door.close()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _asked_facts(self) -> dict[str, Any]:
        if self._facts is None:
            answer = self._ask({"facts": True}, self._limits.predict_timeout_s)
            if not isinstance(answer.get("facts"), dict) or not isinstance(answer.get("stamps"), dict):
                raise ModelFailure(f"the runner told rubbish about itself: {str(answer)[:200]}")
            self._facts = answer
        return self._facts

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

    def _ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        if self._connection is None and not self._answered:
            raise ModelFailure("was not asked for a prediction yet")
        try:
            # A server may hang up after each answer, or when it was not asked for a while.
            if self._http is not None and self._connection is not None and _hung_up(self._connection):
                self._hang_up()
            self._connection = self._connection or self._door.connect()
            waiting = _Patient(self._connection, timeout_s, self._look_after)
            if self._http is None:
                answer = _over_lines(waiting, request)
            else:
                answer, kept = _over_http(waiting, request, self._http)
                if not kept:
                    self._hang_up()
        except TimeoutError:
            raise ModelFailure(
                f"did not answer within {timeout_s:.3g} s{self._said()}",
                remedy="make it quicker, or raise resources.start_timeout_s or predict_timeout_s in model.toml",
            ) from None
        except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
            self._see_it_go(_LEAVING_S if isinstance(error, OSError | http.client.HTTPException) else _POLL_S)
            raise ModelFailure(f"the connection broke: {error}{self._said()}") from error
        if not isinstance(answer, dict):
            raise ModelFailure(f"the model answered rubbish: {str(answer)[:200]}")
        if "error" in answer:
            raise ModelFailure(worded(answer["error"]), remedy=_remedy(answer["error"]))
        return answer

    def _see_it_go(self, patience_s: float) -> None:
        """Raise the reason where the instance has ended; an engine hears of that some time after its sockets closed."""
        deadline = time.monotonic() + patience_s
        self._look_after()
        while time.monotonic() < deadline:
            time.sleep(0.02)
            self._look_after()

    def _look_after(self) -> None:
        """Raise where the instance is gone, or is filling the disk."""
        # Asked first, since the kernel's account of a group goes with its last process; and once more for the end.
        out_of_memory = self._running.oom_killed()
        code = self._running.exit_code()
        allowed = f"it may use {self._limits.memory_bytes / 2**20:.0f} MiB"
        if out_of_memory or (code is not None and self._running.oom_killed()):
            raise ModelFailure(f"ran out of memory: {allowed}", remedy=_more_memory(self._limits))
        if code == -signal.SIGKILL:
            # The harness asks nobody whom it has ended, and the kernel is not always seen doing it.
            said = f"was killed by signal 9 before it answered, as happens where memory runs out ({allowed})"
            raise ModelFailure(f"{said}{self._said()}", remedy=f"if that is the cause, {_more_memory(self._limits)}")
        if code is not None:
            how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
            raise ModelFailure(f"{how} before it answered{self._said()}")
        if self._folder is None:
            return
        free = _free_bytes(self._folder)
        if free < 32 * 2**20:
            raise DiskFull(
                f"the disk that holds {self._folder} is full", remedy="free some space and go on with --resume"
            )
        if self._free_at_start - free > self._limits.disk_bytes:
            raise ModelFailure(
                f"wrote more than the {self._limits.disk_bytes / 2**20:.0f} MiB that it may write",
                remedy="raise resources.disk_mb in model.toml",
            )

    def _said(self) -> str:
        lines = self._running.output().strip().splitlines()[-8:]
        return ("; it printed:\n" + "\n".join(f"    {line[:300]}" for line in lines)) if lines else ""


def _more_memory(limits: Limits) -> str:
    if limits.memory_told:
        return f"the ceiling of this machine held it back, as it {limits.memory_told}: raise that, or make it smaller"
    return "raise resources.memory_mb in model.toml"


class _Patient:
    """A socket whose reads wait up to a deadline, looking after the other end every now and then."""

    def __init__(self, connection: socket.socket, timeout_s: float, look_after: Callable[[], None]) -> None:
        self._connection, self._look_after = connection, look_after
        self._deadline = time.monotonic() + timeout_s

    def sendall(self, data: bytes) -> None:
        self._connection.settimeout(max(self._deadline - time.monotonic(), 0.001))
        self._connection.sendall(data)

    def recv(self, size: int) -> bytes:
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(min(left, _GLANCE_S))
            try:
                return self._connection.recv(size)
            except TimeoutError:
                self._look_after()

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self))


def _over_lines(connection: _Patient, request: Mapping[str, Any]) -> Any:
    connection.sendall(json.dumps(request).encode() + b"\n")
    received = bytearray()
    while not received.endswith(b"\n"):
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionError("closed by the instance")
        received += chunk
    return json.loads(received)


def _over_http(connection: _Patient, request: Mapping[str, Any], http_api: Http) -> tuple[Any, bool]:
    """The answer, and whether the server keeps the connection."""
    verb, path, body = http_api.request(request)
    lines = [f"{verb} {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body)}"]
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
    response = http.client.HTTPResponse(cast("socket.socket", connection))  # it calls makefile() and nothing else
    response.begin()
    text = response.read()
    try:
        answer = json.loads(text)
    except ValueError:
        raise ValueError(f"HTTP {response.status}: {text[:500].decode(errors='replace')!r} is not JSON") from None
    if "predict" in request:
        answer = http_api.outputs(answer)
    return answer, not response.will_close


class _Reader(io.RawIOBase):
    """The reading half of a connection, for ``http.client``."""

    def __init__(self, connection: _Patient) -> None:
        super().__init__()
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._connection.recv(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)


def _hung_up(connection: socket.socket) -> bool:
    """Whether the other end has closed an idle connection."""
    connection.setblocking(False)  # MSG_DONTWAIT alone would wait for the socket's own timeout
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _peak_resident_bytes(pid: int) -> int | None:
    """The most memory that any one process of the instance ever had resident: servers answer from a worker."""
    found = [pid]
    with contextlib.suppress(psutil.Error):
        found += [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return max((peak for peak in map(peak_resident_bytes, found) if peak is not None), default=None)


def _remedy(error: Any) -> str:
    """What to do about the two failures of a first start that the model's author can't read from the message."""
    kind, message = (error.get("type"), str(error.get("message"))) if isinstance(error, dict) else ("", "")
    if kind == "ModuleNotFoundError":
        return "add the package that has this module to 'requirements' in model.toml"
    if kind in {"ImportError", "OSError"} and "cannot open shared object file" in message:
        return (
            "name the Debian package that has this library in 'system_packages' in model.toml; "
            "a method that carries no system libraries needs it on the target"
        )
    return ""


def worded(error: Any) -> str:
    """What the runner says of an exception, as part of a sentence."""
    if not isinstance(error, dict):
        return f"failed: {error}"
    where = f" ({error['where']})" if error.get("where") else ""
    doing = {"load": "loading the model", "predict": "predicting"}.get(error.get("stage", ""), "it")
    return f"{doing} raised {error.get('type')}: {error.get('message')}{where}"


def _free_bytes(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize
