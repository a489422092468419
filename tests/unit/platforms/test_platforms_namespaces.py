"""Entering another's network: never our own by mistake."""

from __future__ import annotations

import os

import pytest

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
