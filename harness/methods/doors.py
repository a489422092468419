"""Where an instance listens: a socket in the folder that it shares with the harness, or a port in its own network."""

from __future__ import annotations

import os
import socket
import stat
import struct
from pathlib import Path
from typing import Protocol

from harness.errors import ModelFailure
from harness.platforms import namespaces

#: ``struct ucred`` of unix(7): process, user, group.
_PEER = struct.Struct("3i")


class Door(Protocol):
    """Where an instance listens."""

    def connect(self) -> socket.socket:
        """A connection; OSError while nobody listens."""

    def close(self) -> None:
        """Give up what connecting needed."""


class UnixSocket:
    """A socket file in a folder that the instance may write to; make it before the instance is started.

    Whatever the instance puts there, the harness connects to a socket in that very folder or to nothing: no link is
    followed. With ``owned`` whoever listens has to be the user that the folder belongs to by then.
    """

    def __init__(self, path: Path, *, owned: bool = False) -> None:
        self._name, self._owned = path.name, owned
        self._folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def connect(self) -> socket.socket:
        """Connect to it; ModelFailure where something else lies in its place, or another user listens."""
        place = os.open(self._name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folder)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if not stat.S_ISSOCK(os.fstat(place).st_mode):
                raise ModelFailure("put something else where it has to listen: a link, a folder or a file")
            connection.setblocking(False)  # whoever fills his own queue is as one who does not listen
            connection.connect(f"/proc/self/fd/{place}")  # that inode, whatever its name means by now
            if self._owned:
                self._insist(connection)
        except BaseException:
            connection.close()
            raise
        finally:
            os.close(place)
        return connection

    def close(self) -> None:
        """Let go of the folder."""
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def _insist(self, connection: socket.socket) -> None:
        told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        user, owner = _PEER.unpack(told)[1], os.fstat(self._folder).st_uid
        if user != owner:
            raise ModelFailure(f"has another user's socket where it has to listen: user {user}, not {owner}")


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
