"""Servers that answer from a worker process, and that hang up on whoever says nothing for a while."""

from __future__ import annotations

import socket
import time
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from harness.methods import serving, wire


def test_memory_is_of_the_process_that_has_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is the worker that answers, not the server that started it; what has ended meanwhile has none."""
    children = [SimpleNamespace(pid=2), SimpleNamespace(pid=3)]
    monkeypatch.setattr(psutil, "Process", lambda _: SimpleNamespace(children=lambda **_: children))
    monkeypatch.setattr(serving, "peak_resident_bytes", {1: 10, 2: 90, 3: None}.get)
    assert serving._peak_resident_bytes(1) == 90


def test_memory_of_what_has_ended_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(pid: int) -> Any:
        raise psutil.NoSuchProcess(pid)

    monkeypatch.setattr(psutil, "Process", gone)
    monkeypatch.setattr(serving, "peak_resident_bytes", lambda _: None)
    assert serving._peak_resident_bytes(1) is None


def test_a_connection_that_was_closed_is_noticed_at_once() -> None:
    """Whatever timeout the socket has: waiting for it would be counted as the model's time."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5)
        begin = time.monotonic()
        assert not wire.hung_up(ours)
        theirs.sendall(b"x")
        assert not wire.hung_up(ours)
        assert ours.recv(1) == b"x"
        theirs.close()
        assert wire.hung_up(ours)
        assert time.monotonic() - begin < 1
