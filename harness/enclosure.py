"""The namespaces that one instance lives in, made before it is started, so that entering them is all that is timed.

An *enclosure* is a process of ours that does nothing (``sleep``), the first in process, mount, network and IPC
namespaces of its own. An instance is started into them: it sees itself, its children and that process, the files of its
:class:`harness.mounts.View`, and a network that leads nowhere. When the first process ends, the kernel ends all others
in there, whatever they have become; and it ends with the harness.

As root the process that is started joins them itself. An ordinary user first makes a user namespace, which gives the
right to all that. There, joining a process namespace takes effect for children alone, so a process stays between the
harness and the instance; it waits for the instance and ends as that ended.

Sources: namespaces(7), pid_namespaces(7), user_namespaces(7), setns(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

from harness.mounts import View

_NEWNS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
_ALL = _NEWNS | _NEWIPC | _NEWNET
_PR_SET_PDEATHSIG = 1
_SIOCSIFFLAGS, _IFF_UP, _IFF_LOOPBACK, _IFF_RUNNING = 0x8914, 0x1, 0x8, 0x40
#: ``struct ifreq`` of netdevice(7): the interface's name, its flags.
_LOOPBACK_UP = struct.pack("16sh14x", b"lo", _IFF_UP | _IFF_LOOPBACK | _IFF_RUNNING)
_NUMBER = struct.Struct("i")
_DESCRIPTORS = 65536  # more than a harness has open

#: A process's namespaces by their names below /proc/PID/ns, in the order in which its owner enters them.
USER_AND_NETWORK = {"user": _NEWUSER, "net": _NEWNET}

#: What the first process does. The system's own, so that no Python of ours is looked through.
FIRST = ("/bin/sleep", "infinity")

# Loaded once here: between fork and exec nothing may be imported or looked up.
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True)
class Enclosure:
    """Namespaces that are there, by descriptors of /proc/PID/ns; ``user`` is None where root made them.

    ``first`` is the host's number of the first process.
    """

    first: int
    spaces: tuple[tuple[int, int], ...]
    processes: int
    user: int | None

    @contextlib.contextmanager
    def births(self) -> Iterator[None]:
        """While inside, children of this thread are born into the process namespace; only root can have it so."""
        if self.user is not None:
            yield
            return
        _check(_libc.setns(self.processes, _NEWPID))
        try:
            yield
        finally:
            _check(_libc.setns(_own_processes(), _NEWPID))

    def enter(self, told: int) -> None:
        """Join the namespaces, between fork and exec. For an ordinary user ``told`` is where the number is written."""
        if self.user is not None:
            _check(_libc.setns(self.user, _NEWUSER))
        for descriptor, kind in self.spaces:
            _check(_libc.setns(descriptor, kind))
        if self.user is not None:
            _check(_libc.setns(self.processes, _NEWPID))
            _continue_as_child(told)

    def close(self) -> None:
        """Let go of the descriptors."""
        for descriptor in (self.processes, *(each for each, _ in self.spaces)):
            os.close(descriptor)
        if self.user is not None:
            os.close(self.user)


def maker(view: View, *, root: bool, told: int, harness: int) -> Callable[[], None]:
    """What the first process does between fork and exec. ``told`` is where an ordinary user's number is written.

    ``harness`` is a descriptor of the harness's own process (pidfd_open(2)): when that has ended, this one ends.
    """
    uid, gid = os.getuid(), os.getgid()

    def make() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # kept over exec: the kernel then buries who is left to it
        if root:
            _check(_libc.unshare(_ALL))
        else:
            _check(_libc.unshare(_NEWUSER | _NEWPID | _ALL))
            _map_own_user(uid, gid)
            _continue_as_child(told)
        _bring_up_loopback()
        view.enter()
        die_with_parent()
        if _ended(harness):  # while all that was made: who dies before he is a parent to die with is not told of
            os._exit(1)

    return make


@contextlib.contextmanager
def first_born() -> Iterator[None]:
    """While inside, the next child of this thread is the first process of a new process namespace; for root."""
    _check(_libc.unshare(_NEWPID))
    try:
        yield
    finally:
        _check(_libc.setns(_own_processes(), _NEWPID))


def opened(first: int, *, root: bool) -> Enclosure:
    """The namespaces of the process ``first``, which is running already."""
    kinds = {"net": _NEWNET, "ipc": _NEWIPC, "mnt": _NEWNS}  # the mounts last: /proc is another one then
    with contextlib.ExitStack() as stack:

        def descriptor(name: str) -> int:
            found = os.open(f"/proc/{first}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, found)
            return found

        made = Enclosure(
            first=first,
            spaces=tuple((descriptor(name), kind) for name, kind in kinds.items()),
            processes=descriptor("pid"),
            user=None if root else descriptor("user"),
        )
        stack.pop_all()
    return made


def leave_network(user: tuple[int, int] | None) -> None:
    """Give the calling process a network namespace that leads nowhere: what is left where no enclosure can be made.

    ``user`` is the user and group of who is not root, for whom it takes a user namespace.
    """
    if user is None:
        _check(_libc.unshare(_ALL))
    else:
        _check(_libc.unshare(_NEWUSER | _NEWNET))
        _map_own_user(*user)
    _bring_up_loopback()


def connector(spaces: Sequence[tuple[int, int]]) -> tuple[int, socket.socket]:
    """A process of ours that enters the namespaces and connects there for us; its number, and how it is asked.

    Each message is a port, as :func:`connect_through` sends it. It ends when the other end of its socket is closed, and
    with the harness. A thread can't do that: who has others beside him may not enter a user namespace (setns(2)).
    """
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with warnings.catch_warnings(), its:
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: the child uses nothing that they may hold
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            _connect_until_closed(its.fileno(), [descriptor for descriptor, _ in spaces], spaces, parent)
    return child, ours


def connect_through(helper: socket.socket, port: int) -> socket.socket:
    """The connection to 127.0.0.1:``port`` that the process behind ``helper`` makes. OSError where nobody listens."""
    helper.send(_NUMBER.pack(port))
    said, descriptors, _, _ = socket.recv_fds(helper, _NUMBER.size, 1)
    if descriptors:
        return socket.socket(fileno=descriptors[0])
    number = _NUMBER.unpack(said)[0] if said else errno.ECONNRESET
    raise OSError(number, os.strerror(number))


def _connect_until_closed(asked: int, kept: Sequence[int], spaces: Sequence[tuple[int, int]], parent: int) -> NoReturn:
    """What the connector does; it never returns."""
    try:
        die_with_parent(parent)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        last = -1
        for descriptor in sorted({asked, *kept}):  # nothing else of the harness's is to stay open in here
            os.closerange(last + 1, descriptor)
            last = descriptor
        os.closerange(last + 1, _DESCRIPTORS)
        for descriptor, kind in spaces:
            _check(_libc.setns(descriptor, kind))
        helper = socket.socket(fileno=asked)
        while message := helper.recv(_NUMBER.size):
            try:
                with socket.create_connection(("127.0.0.1", _NUMBER.unpack(message)[0]), timeout=2) as made:
                    socket.send_fds(helper, [_NUMBER.pack(0)], [made.fileno()])
            except OSError as error:
                helper.send(_NUMBER.pack(error.errno or errno.ETIMEDOUT))
    finally:
        os._exit(0)


def read_number(told: int) -> int:
    """The host's number of a process that :func:`_continue_as_child` made."""
    return int(_NUMBER.unpack(os.read(told, _NUMBER.size))[0])


def die_with_parent(parent: int | None = None) -> None:
    """Have the kernel kill the calling process when its parent dies; end it where ``parent`` has died before."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def _ended(process: int) -> bool:
    """Whether the process of that descriptor has ended."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(0))


_own: list[int] = []


def _own_processes() -> int:
    """A descriptor of the process namespace that the harness itself is in."""
    if not _own:
        _own.append(os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC))
    return _own[0]


def _continue_as_child(told: int) -> None:
    """Fork; the child returns. The parent holds nothing open, waits, and ends as the child ended."""
    die_with_parent()
    child = os.fork()
    if child == 0:
        return
    os.write(told, _NUMBER.pack(child))
    os.closerange(0, _DESCRIPTORS)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))


def _map_own_user(uid: int, gid: int) -> None:
    for file, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        descriptor = os.open(f"/proc/self/{file}", os.O_WRONLY)
        os.write(descriptor, line.encode())
        os.close(descriptor)


def _bring_up_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _LOOPBACK_UP)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
