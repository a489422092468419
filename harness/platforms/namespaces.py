"""Reaching a server that only speaks TCP inside the network namespace of its own, which leads nowhere else.

A socket belongs to the namespace it was made in for as long as it lives, whoever uses it. So somebody of ours enters
the namespace, connects on the loopback inside, and hands the socket over: the instance needs no network that leads
outside, and no proxy sits between it and the clock.

For root that is a thread. An ordinary user owns the user namespace that the instance lives in, and may enter that, and
with it the network; since no process with threads may (setns(2)), it is a process of ours.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Protocol, Self

from harness import enclosure
from harness.sandbox import network_possible

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

#: What to do where :func:`check` names a reason.
REMEDY = (
    "allow user namespaces (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns=0), "
    "or run the harness as root"
)


def check() -> str:
    """Why a server that only speaks TCP can't be kept in a network namespace and reached there; empty where it can."""
    return "" if os.geteuid() == 0 or network_possible() else "this user may make no user and network namespace"


class Inside:
    """The network namespace of a process; close it, or use it as a context manager."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        # Now, since the number may soon be another process's.
        self._way: _Way | None = _way_into(pid)

    def connect(self, port: int) -> socket.socket:
        """A connection to 127.0.0.1:``port`` in there. OSError where nobody listens, or the namespace is gone."""
        self._way = self._way or _way_into(self._pid)
        if self._way is None:
            raise ConnectionError("the process has ended, or has no network namespace of its own")
        return self._way.connect(port)

    def close(self) -> None:
        """Leave it; sockets that were made stay as they are."""
        if self._way is not None:
            self._way.close()
            self._way = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


class _Way(Protocol):
    def connect(self, port: int) -> socket.socket: ...

    def close(self) -> None: ...


class _Thread:
    """A thread that stays inside: threads enter namespaces one by one."""

    def __init__(self, namespace: int) -> None:
        self._namespace = namespace
        self._thread = ThreadPoolExecutor(max_workers=1, initializer=self._enter)

    def connect(self, port: int) -> socket.socket:
        try:
            return self._thread.submit(_connect, port).result()
        except RuntimeError as error:  # the thread could not enter
            raise ConnectionError(str(error)) from error

    def close(self) -> None:
        self._thread.shutdown()
        os.close(self._namespace)

    def _enter(self) -> None:
        if _libc.setns(self._namespace, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


class Connector:
    """A process that stays inside ``spaces`` (see :func:`harness.enclosure.connector`)."""

    def __init__(self, spaces: list[tuple[int, int]]) -> None:
        try:
            self._pid, self._helper = enclosure.connector(spaces)
        finally:
            for descriptor, _ in spaces:
                os.close(descriptor)

    def connect(self, port: int) -> socket.socket:
        """A connection to 127.0.0.1:``port`` in there; OSError where nobody listens."""
        return enclosure.connect_through(self._helper, port)

    def close(self) -> None:
        """Have it end, and wait until it has."""
        self._helper.close()
        os.waitpid(self._pid, 0)


def _way_into(pid: int) -> _Way | None:
    """A way in; None where the namespace is gone, or our own, on whose loopback others listen."""
    root = os.geteuid() == 0
    names = {"net": _CLONE_NEWNET} if root else enclosure.USER_AND_NETWORK
    with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
        opened = []
        for name, kind in names.items():
            descriptor = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            opened.append((descriptor, kind))
        if not os.path.samestat(os.fstat(opened[-1][0]), os.stat("/proc/self/ns/net")):
            stack.pop_all()
            return _Thread(opened[0][0]) if root else Connector(opened)
    return None


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=2)
