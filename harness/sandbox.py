"""Keeping other people's code in bounds: no network, no secrets, bounded memory, processes and disk.

A model's code runs behind a :class:`Policy`. What a policy can do depends on who runs the harness:

* root: a network, mount and IPC namespace of its own, private size-bounded ``/tmp``, ``/var/tmp``
  and ``/dev/shm``, a control group, an unprivileged user, no new privileges;
* others: a user and network namespace where the kernel allows it, and resource limits.

``abilities()`` says which; it stands in every run's manifest and in ``harness doctor``.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from harness import cgroup, mounts, paths

#: The user that models run as where the harness is root: no account has it, as in "distroless" images.
UNPRIVILEGED_ID = 65532

_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWNET = 0x00020000, 0x08000000, 0x10000000, 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _SIGKILL = 1, 38, 9
_SIOCSIFFLAGS, _IFF_UP, _IFF_LOOPBACK, _IFF_RUNNING = 0x8914, 0x1, 0x8, 0x40
#: ``struct ifreq`` of netdevice(7): the interface's name, its flags.
_LOOPBACK_UP = struct.pack("16sh14x", b"lo", _IFF_UP | _IFF_LOOPBACK | _IFF_RUNNING)
_COVERED = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 -- these are covered by private ones, not used
_TMPFS_BYTES = 256 * 2**20

# Loaded once here: between fork and exec nothing may be imported or looked up.
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """What can be enforced on this machine by this user."""

    network: bool
    unprivileged_user: bool
    control_group: cgroup.Version | None

    def missing(self) -> list[str]:
        """What models are *not* kept from here, in a reader's words."""
        found = []
        if not self.network:
            found.append("models are not kept from the network (no permission to make a network namespace)")
        if not self.unprivileged_user:
            found.append("models run as the user who runs the harness")
        if self.control_group is None:
            found.append("memory is bounded by resource limits only and measured by psutil (no control group)")
        return found


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a process finds around it instead of this machine as it is; only root can have it so.

    ``root`` is the folder of a root file system: of this machine nothing is left but what the process is shown.
    ``read_only`` lets nothing be written but what the process is given to write to, not even ``/tmp``.
    ``user_id`` is who it runs as.
    """

    root: Path | None = None
    read_only: bool = False
    user_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What one process tree may do.

    ``visible`` are folders that it must see although they may lie below a private ``/tmp``.
    ``user_id`` None keeps the harness's own user. ``loopback`` brings up the loopback interface of its network.
    In other ``surroundings`` the process begins in ``home``, and ``writable`` is where it may write.
    """

    memory_bytes: int
    processes: int
    disk_bytes: int
    group: cgroup.Group | None = None
    user_id: int | None = None
    visible: tuple[Path, ...] = ()
    loopback: bool = False
    surroundings: Surroundings | None = None
    home: Path | None = None
    writable: tuple[Path, ...] = ()

    def entry(self) -> Callable[[], None]:
        """A function for the forked child to call before exec. It raises OSError, which Popen passes on."""
        root = os.geteuid() == 0
        able = abilities()
        uid, gid = os.getuid(), os.getgid()
        below = tuple(f"{folder}/" for folder in _COVERED)
        visible = tuple(str(path) for path in self.visible if str(path.resolve()).startswith(below))
        covered = tuple(folder for folder in _COVERED if os.path.isdir(folder))
        surround = self._surrounding(covered, visible)

        def enter() -> None:
            if self.group is not None:
                self.group.enter()
            if root:
                _check(_libc.unshare(_CLONE_NEWNET | _CLONE_NEWNS | _CLONE_NEWIPC))
                surround()
            elif able.network:
                _check(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET))
                _map_own_user(uid, gid)
            if self.loopback and (root or able.network):
                _bring_up_loopback()
            _bound(self, count_processes=self.group is None and not root)
            if self.user_id is not None:
                os.setgroups([])
                os.setgid(self.user_id)
                os.setuid(self.user_id)
            _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
            die_with_parent()

        return enter

    def possible(self) -> bool:
        """Whether a process can be put in these bounds here; found out by doing it to a child that ends at once."""
        return _works_in_child(self.entry())

    def _surrounding(self, covered: tuple[str, ...], visible: tuple[str, ...]) -> Callable[[], None]:
        """What makes the process's own mounts, prepared as far as it can be before the fork."""
        around, home = self.surroundings, self.home
        if around is None:
            return lambda: _private_temporary_folders(covered, visible)
        writable = tuple(str(path) for path in self.writable)
        if around.root is not None:
            root, shown = str(around.root), tuple(str(path) for path in self.visible)
            links = tuple((path.name, os.readlink(path)) for path in sorted(around.root.iterdir()) if path.is_symlink())

            def surround() -> None:
                mounts.change_root(root, links, shown=shown, writable=writable, tmpfs_bytes=_TMPFS_BYTES)
                os.chdir(home or "/")
        else:

            def surround() -> None:
                _private_temporary_folders(covered, visible)
                if around.read_only:
                    mounts.write_protect(writable=writable)
                os.chdir(home or "/")  # where it was is seen through the mount that was there before

        return surround


def die_with_parent() -> None:
    """Have the kernel kill the calling process when the harness dies."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0))


@lru_cache(maxsize=1)
def abilities() -> Abilities:
    """What this user can enforce here; found out once by trying it in a child."""
    root = os.geteuid() == 0
    flags = _CLONE_NEWNET | _CLONE_NEWNS | _CLONE_NEWIPC if root else _CLONE_NEWUSER | _CLONE_NEWNET
    return Abilities(
        network=_works_in_child(lambda: _check(_libc.unshare(flags))),
        unprivileged_user=root,
        control_group=cgroup.version(),
    )


def user_for(*needed: Path) -> int | None:
    """The unprivileged user where it can reach all of ``needed``; None where models have to run as ourselves."""
    if os.geteuid() != 0 or not all(paths.walkable_by_others(path) for path in needed):
        return None
    return UNPRIVILEGED_ID


def _private_temporary_folders(covered: tuple[str, ...], visible: tuple[str, ...]) -> None:
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))
    kept = [(path, os.open(path, os.O_PATH)) for path in visible]
    options = f"size={_TMPFS_BYTES},mode=1777".encode()
    for folder in covered:
        _check(_libc.mount(b"tmpfs", folder.encode(), b"tmpfs", _MS_NOSUID | _MS_NODEV, options))
    for path, descriptor in kept:
        os.makedirs(path, exist_ok=True)
        # The descriptor still points below the covered folder; its magic link can be bound back.
        _check(_libc.mount(f"/proc/self/fd/{descriptor}".encode(), path.encode(), None, _MS_BIND | _MS_REC, None))
        os.close(descriptor)


def _map_own_user(uid: int, gid: int) -> None:
    for file, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        descriptor = os.open(f"/proc/self/{file}", os.O_WRONLY)
        os.write(descriptor, line.encode())
        os.close(descriptor)


def _bring_up_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _LOOPBACK_UP)


def _bound(policy: Policy, *, count_processes: bool) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (policy.disk_bytes, policy.disk_bytes))
    if policy.group is None:
        # RLIMIT_AS would count address space that libraries reserve and never touch.
        resource.setrlimit(resource.RLIMIT_DATA, (policy.memory_bytes, policy.memory_bytes))
    if count_processes:
        # The kernel counts all processes of the user, so ours come on top.
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        wanted = policy.processes + 4096
        resource.setrlimit(resource.RLIMIT_NPROC, (wanted if hard < 0 else min(wanted, hard), hard))


def _works_in_child(attempt: Callable[[], None]) -> bool:
    pid = os.fork()
    if pid == 0:
        try:
            attempt()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
