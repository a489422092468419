"""Servers of ours on loopback: a free port, and waiting until one answers."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time

from harness import process
from harness.process import Child

#: How often a server is started on another port, where somebody else took the one that was free.
PORTS_TRIED = 5

_PAGE_BYTES = 64 * 2**10


def free_port() -> int:
    """A port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def answers(child: Child, port: int, path: str, *, within_s: float) -> bool:
    """Whether the server answers ``GET path`` with 200 in time; False as soon as it has ended."""
    deadline = time.monotonic() + within_s
    with process.ledger.waiting_for("tools"):
        while time.monotonic() < deadline and child.exit_code() is None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
                connection.request("GET", path)
                with connection.getresponse() as response:
                    response.read(_PAGE_BYTES)
                    if response.status == http.client.OK and child.exit_code() is None:
                        return True
            time.sleep(0.02)
    return False
