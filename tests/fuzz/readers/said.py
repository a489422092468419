"""What an instance says, and what is asked of the runner inside it."""

from __future__ import annotations

import contextlib
import importlib
import json
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from harness import cgroup
from harness.errors import HarnessError
from harness.methods import functions, placement, serving, vertex
from harness.methods.contract import Limits
from harness.runtime import RUNNER

_LIMITS = Limits(memory_bytes=2**28, processes=16, disk_bytes=2**28, start_timeout_s=2.0, predict_timeout_s=2.0)

# It is shipped in artifacts, not installed.
sys.path.insert(0, str(RUNNER.parent))
_RUNNER = importlib.import_module("harness_runner.__main__")


class _Ended:
    """An instance that has said all that it says, and is gone."""

    def __init__(self) -> None:
        self.spawned_s = time.monotonic()
        self.sandbox_s = self.spawned_s
        self.pid = 2**22 + 1

    def exit_code(self) -> int | None:
        return 0

    def output(self) -> str:
        return ""

    def oom_killed(self) -> bool:
        return False

    def group_usage(self) -> tuple[cgroup.GroupUsage, str]:
        return cgroup.GroupUsage(peak_memory_bytes=None, anonymous_bytes=None, cpu_s=None), "nothing"


class _Said:
    """A door behind which the same bytes are said each time."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._open: list[socket.socket] = []

    def connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        self._open.append(theirs)  # what is asked must not break off on a closed one
        theirs.setblocking(False)
        with contextlib.suppress(BlockingIOError):  # more than a socket holds
            theirs.send(self._data)
        theirs.shutdown(socket.SHUT_WR)
        return ours

    def close(self) -> None:
        for theirs in self._open:
            theirs.close()


def _asked(data: bytes, http: serving.Http | None) -> None:
    for inputs in ([1], [1, 2]):
        served = serving.Served(_Ended(), _Said(data), _LIMITS, http=http)
        asks: tuple[Callable[[], Any], ...] = (
            partial(served.predict, inputs),
            served.stamps,
            served.facts,
            served.usage,
        )
        with contextlib.closing(served):
            for ask in asks:
                with contextlib.suppress(HarnessError):
                    ask()


def lines(data: bytes, place: Path) -> None:
    """The runner's own protocol."""
    _asked(data, None)


def http(data: bytes, place: Path) -> None:
    """An HTTP answer, as each of the platforms gives one."""
    for kind in (serving.REST, functions.HTTP, vertex.HTTP):
        _asked(data, kind)


def http_body(data: bytes, place: Path) -> None:
    """A whole HTTP answer with this body."""
    http(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data, place)


def request(data: bytes, place: Path) -> None:
    """A request to the runner: it always answers with one line of JSON."""
    for line in data.splitlines(keepends=True):
        answer = _RUNNER._answer(list, line)
        assert answer.endswith(b"\n"), "not a line"
        assert answer.count(b"\n") == 1, "more than a line"
        assert {"outputs", "error", "facts"} & set(json.loads(answer)), "neither an answer nor an error"


def weights_request(data: bytes, place: Path) -> None:
    """What an instance asks the store of weights: whoever asks for rubbish gets nothing, the next one is answered."""
    folder = place / "weights"
    folder.mkdir()
    (folder / "w.bin").write_bytes(b"weights")
    (place / "secret").write_bytes(b"secret")
    address = place / "s"
    with placement.store(folder, address) as opened, placement.answering(opened):
        assert b"secret" not in _got(address, data), "a file that is not of the store was answered"
        assert _got(address, b'"w.bin"\n') == b"weights", "the store does not answer any more"


def _got(address: Path, data: bytes) -> bytes:
    found = b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking, contextlib.suppress(ConnectionError):
        asking.settimeout(10)
        asking.connect(str(address))
        with contextlib.suppress(ConnectionError):
            asking.sendall(data)
            asking.shutdown(socket.SHUT_WR)
        while chunk := asking.recv(65536):
            found += chunk
    return found
