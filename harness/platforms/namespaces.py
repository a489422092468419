"""Reaching a server that only speaks TCP inside the network namespace of its own, which leads nowhere else.

A socket belongs to the namespace it was made in for as long as it lives, whatever thread uses it. So a thread
of ours enters the namespace, connects on the loopback inside, and hands the socket over: the instance needs no
network that leads outside, and no proxy sits between it and the clock.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def check() -> str:
    """Why namespaces of others can't be entered by this user; empty where they can."""
    return "" if os.geteuid() == 0 else "only root may enter the network namespace that the server is kept in"


class Inside:
    """The network namespace of a process; close it, or use it as a context manager."""

    def __init__(self, pid: int) -> None:
        self._place = f"/proc/{pid}/ns/net"
        self._namespace = _opened(self._place)  # now, since the number may soon be another process's
        # One thread that stays inside: threads enter namespaces one by one.
        self._thread = ThreadPoolExecutor(max_workers=1, initializer=self._enter)

    def connect(self, port: int) -> socket.socket:
        """A connection to 127.0.0.1:``port`` in there. OSError where nobody listens, or the namespace is gone."""
        self._namespace = self._namespace or _opened(self._place)
        if self._namespace is None:
            raise ConnectionError("the process has ended, or has no network namespace of its own")
        try:
            return self._thread.submit(_connect, port).result()
        except RuntimeError as error:  # the thread could not enter
            raise ConnectionError(str(error)) from error

    def close(self) -> None:
        """End the thread; sockets that were made stay as they are."""
        self._thread.shutdown()
        if self._namespace is not None:
            os.close(self._namespace)
            self._namespace = None

    def _enter(self) -> None:
        assert self._namespace is not None
        if _libc.setns(self._namespace, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), self._place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


def _opened(path: str) -> int | None:
    """The namespace; None where it is gone, or our own, on whose loopback others listen."""
    with contextlib.suppress(OSError):
        namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if not os.path.samestat(os.fstat(namespace), os.stat("/proc/self/ns/net")):
            return namespace
        os.close(namespace)
    return None


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=2)
