"""Where an instance listens: the harness connects to its socket, or to nothing."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import ModelFailure
from harness.methods import doors
from harness.methods.doors import UnixSocket


@pytest.fixture
def shared(short_folder: Path) -> Path:
    """A folder that an instance may write to."""
    return short_folder


@contextlib.contextmanager
def listening(path: Path, backlog: int = 1) -> Iterator[socket.socket]:
    """A server on the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(backlog)
        yield listener


@pytest.fixture
def door(shared: Path) -> Iterator[UnixSocket]:
    """Made before anybody listens."""
    with contextlib.closing(UnixSocket(shared / "s", owned=True)) as found:
        yield found


def test_it_leads_to_whoever_listens_in_the_folder(shared: Path, door: UnixSocket) -> None:
    """From when somebody does, and by whatever name the folder has by then."""
    with pytest.raises(FileNotFoundError):
        door.connect()
    with listening(shared / "s") as listener, door.connect() as ours, listener.accept()[0] as theirs:
        theirs.sendall(b"x")
        assert ours.recv(1) == b"x"
    with pytest.raises(ConnectionRefusedError):
        door.connect()


@pytest.mark.parametrize("target", ["other", "/run/docker.sock", "nowhere"])
def test_a_link_leads_nowhere(shared: Path, door: UnixSocket, target: str) -> None:
    """The harness has rights that the instance has not: it would connect to what the instance can't."""
    with listening(shared / "other") as listener:
        (shared / "s").symlink_to(target)
        with pytest.raises(ModelFailure, match="put something else where it has to listen"):
            door.connect()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: Path(path).touch()])
def test_other_things_are_not_opened(shared: Path, door: UnixSocket, make: object) -> None:
    """Neither waited for, nor read."""
    make(str(shared / "s"))  # type: ignore[operator]
    with pytest.raises(ModelFailure, match="put something else"):
        door.connect()


def test_a_server_that_takes_nobody_is_not_waited_for(shared: Path, door: UnixSocket) -> None:
    """Its queue is full: that is as if nobody listened, for as long as the caller waits."""
    with listening(shared / "s", backlog=0), door.connect():
        begin = time.monotonic()
        with pytest.raises(BlockingIOError):
            door.connect()
        assert time.monotonic() - begin < 1


def test_another_users_socket_is_none(shared: Path, door: UnixSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever listens has to be who the folder belongs to."""
    with listening(shared / "s"):
        door.connect().close()
        told = doors._PEER.pack(1, os.getuid() + 1, 1)
        monkeypatch.setattr(socket.socket, "getsockopt", lambda *_: told)
        with pytest.raises(ModelFailure, match="another user's socket"):
            door.connect()


def test_a_folder_behind_a_link_is_none(shared: Path) -> None:
    """Nor does the door open along one."""
    (shared / "to").symlink_to("/run")
    with pytest.raises(OSError, match="Not a directory"):
        UnixSocket(shared / "to" / "s")


def test_closing_twice_is_closing_once(shared: Path) -> None:
    """And leaves no descriptor."""
    before = len(os.listdir("/proc/self/fd"))
    door = UnixSocket(shared / "s")
    door.close()
    door.close()
    assert len(os.listdir("/proc/self/fd")) == before
