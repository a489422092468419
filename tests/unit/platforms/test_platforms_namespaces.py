"""Entering another's network: never our own by mistake."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

import pytest

from harness import enclosure
from harness.platforms import namespaces


def test_our_own_network_is_nobodys_sandbox() -> None:
    """On its loopback other servers listen; a process that is in it, or gone, is not connected to."""
    before = set(os.listdir("/proc/self/fd"))
    for pid in (os.getpid(), 2**22 + 1):
        with (
            namespaces.Inside(pid) as inside,
            pytest.raises(ConnectionError, match="of its own"),
        ):
            inside.connect(1)
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.spawns
def test_a_process_of_ours_connects_and_hands_the_socket_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again; that nobody listens is the error that it is; and nothing of it is left."""

    def connected(address: tuple[str, int], **_: Any) -> socket.socket:
        if address != ("127.0.0.1", 8080):
            raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")
        ours, its = socket.socketpair()
        its.send(b"hello")
        return ours

    monkeypatch.setattr(enclosure.socket, "create_connection", connected)
    before = set(os.listdir("/proc/self/fd"))
    way = namespaces.Connector([])
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            way.connect(1)
        with way.connect(8080) as connection:
            assert connection.recv(9) == b"hello"
    way.close()
    assert set(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(way._pid, os.WNOHANG)


@pytest.mark.spawns
def test_who_may_not_enter_connects_nowhere() -> None:
    """The process that could not enter has ended, and did not connect in our own network instead."""
    way = namespaces.Connector([(os.open("/proc/self/ns/mnt", os.O_RDONLY), 0x40000000)])  # no network's
    with pytest.raises(OSError):
        way.connect(1)
    way.close()


def test_an_ordinary_user_needs_user_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root needs none."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(namespaces, "network_possible", lambda: False)
    assert "namespace" in namespaces.check()
    monkeypatch.setattr(namespaces, "network_possible", lambda: True)
    assert namespaces.check() == ""
    monkeypatch.setattr(namespaces, "network_possible", lambda: False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert namespaces.check() == ""
