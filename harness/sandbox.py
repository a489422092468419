"""What other people's code may do: one record of bounds, and how a process is put behind them.

Who runs the harness decides what can be had:

* root: a user of the instance's own, namespaces of its own (:mod:`harness.enclosure`), a root file system with nothing
  but what it needs, a control group, a filter of system calls, a disk of its own;
* others: the same namespaces and filter where the kernel lets users make them; the instance is the same user as the
  harness, memory is bounded process by process, and the disk file by file.

:func:`harness.door.abilities` says what can be had here; it stands in every run, every report, and ``harness doctor``.
"""

from __future__ import annotations

import ctypes
import os
import resource
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from harness import cgroup, disks, enclosure, mounts, seccomp
from harness.enclosure import Enclosure

#: The user that images name, as "distroless" images do: no account has it.
UNPRIVILEGED_ID = 65532
#: Instances run as users of their own, from a range that systemd's table of users leaves to nobody
#: (https://systemd.io/UIDS-GIDS).
_FIRST_USER, _USERS = 1_900_000_000, 2**27

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_NO_NEW_PRIVS = 38
SCRATCH_BYTES = 512 * 2**20

# Loaded once here: between fork and exec nothing may be imported or looked up.
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What one instance and all that it starts may use.

    ``disk_bytes`` is the sum of what it writes, ``output_bytes`` how much of each stream that it prints is kept.
    ``cpus`` None leaves it all processors.
    """

    memory_bytes: int
    processes: int
    disk_bytes: int
    cpus: float | None = None
    output_bytes: int = 16 * 2**20


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
class Abilities:
    """What can be enforced on this machine by this user."""

    network: bool
    unprivileged_user: bool
    control_group: cgroup.Version | None
    enclosure: bool = False
    system_calls: bool = False
    disk: bool = False

    def missing(self) -> list[str]:
        """What models are *not* kept from here, in a reader's words."""
        lacking = {
            "models are not kept from the network (no permission to make a network namespace)": not self.network,
            "models run as the user who runs the harness": not self.unprivileged_user,
            "models see this machine's files and processes (no permission to make namespaces)": not self.enclosure,
            "models may make any system call (no filter for this processor)": not self.system_calls,
            "memory is bounded by resource limits only and measured by psutil (no control group)": (
                self.control_group is None
            ),
            "what a model writes is bounded file by file; the sum is only looked at while it answers": not self.disk,
        }
        return [words for words, lacks in lacking.items() if lacks]


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How one process is put behind its bounds. ``user_id`` None keeps the harness's own user.

    ``inside`` are the namespaces that it enters; None where there are none to be had, and it has a network
    namespace at most.
    """

    bounds: Bounds
    group: cgroup.Group | None = None
    user_id: int | None = None
    inside: Enclosure | None = None

    def entry(self, cwd: Path | None, told: int) -> Callable[[], None]:
        """A function for the forked child to call before exec. It raises OSError, which Popen passes on.

        The process begins in ``cwd``. Of an ordinary user's process the number on this host is written to ``told``.
        """
        root, able_to_hide = os.geteuid() == 0, network_possible()
        calls, count_processes = seccomp.Filter(), self.group is None and not root
        user = os.getuid(), os.getgid()

        def enter() -> None:
            if self.group is not None:
                self.group.enter()
            if self.inside is not None:
                self.inside.enter(told)
            elif able_to_hide:
                enclosure.leave_network(None if root else user)
            if cwd is not None:
                os.chdir(cwd)
            _bound(self.bounds, data=self.group is None, count_processes=count_processes)
            if self.user_id is not None:
                os.setgroups([])
                os.setgid(self.user_id)
                os.setuid(self.user_id)
            _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
            calls()
            enclosure.die_with_parent()

        return enter


def new_user() -> int | None:
    """A user that nobody else is; None where we may not become another."""
    return _FIRST_USER + secrets.randbelow(_USERS) if os.geteuid() == 0 else None


def is_instance_user(user_id: int) -> bool:
    """Whether it is one that :func:`new_user` gives."""
    return _FIRST_USER <= user_id < _FIRST_USER + _USERS


def view(
    *,
    shows: tuple[Path, ...],
    writes: tuple[Path, ...],
    around: Surroundings | None = None,
    memory_bytes: int = SCRATCH_BYTES,
) -> mounts.View:
    """The files that an instance finds: the system's, what it is shown, and what it may write to.

    The folders that are in memory hold no more than it may have of that, and :data:`SCRATCH_BYTES` at most.
    """
    scratch_bytes = min(memory_bytes, SCRATCH_BYTES)
    scratch = around is None or not around.read_only
    if around is not None and around.root is not None:
        return mounts.of_system(around.root, shown=shows, writable=writes, scratch_bytes=scratch_bytes, scratch=scratch)
    return mounts.of_this_machine(shown=shows, writable=writes, scratch_bytes=scratch_bytes, scratch=scratch)


@lru_cache(maxsize=1)
def network_possible() -> bool:
    """Whether a process can be kept from the network here; found out by trying it in a child."""
    root, user = os.geteuid() == 0, (os.getuid(), os.getgid())
    return _works_in_child(lambda: enclosure.leave_network(None if root else user))


def abilities_with(*, enclosed: bool) -> Abilities:
    """What can be enforced, given whether an enclosure could be made (see :func:`harness.door.abilities`)."""
    return Abilities(
        network=enclosed or network_possible(),
        unprivileged_user=os.geteuid() == 0,
        control_group=cgroup.version(),
        enclosure=enclosed,
        system_calls=seccomp.known(),
        disk=not disks.available(),
    )


def _bound(bounds: Bounds, *, data: bool, count_processes: bool) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = min(bounds.disk_bytes, 2**63 - 1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    if data:
        # RLIMIT_AS would count address space that libraries reserve and never touch.
        resource.setrlimit(resource.RLIMIT_DATA, (bounds.memory_bytes, bounds.memory_bytes))
    if count_processes:
        # The kernel counts all processes of the user in this user namespace.
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        resource.setrlimit(resource.RLIMIT_NPROC, (bounds.processes if hard < 0 else min(bounds.processes, hard), hard))


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
