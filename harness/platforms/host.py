"""This machine itself as a platform: an artifact started as a bounded process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil

from harness import cgroup, process
from harness.errors import MissingComponent
from harness.process import Child
from harness.sandbox import Policy, Surroundings


class HostProcess:
    """A bounded process that serves, and what it uses."""

    def __init__(self, child: Child, group: cgroup.Group | None) -> None:
        self._child, self._group = child, group
        self.spawned_s = child.spawned_s
        self.sandbox_s = child.exec_done_s
        self.pid = child.pid

    def exit_code(self) -> int | None:
        """The exit code (negative: a signal); None while it runs."""
        return self._child.exit_code()

    def output(self) -> str:
        """The end of what it printed."""
        return self._child.output()

    def oom_killed(self) -> bool:
        """Whether the kernel ended something of it for lack of memory."""
        return self._group is not None and self._group.oom_killed()

    def group_usage(self) -> tuple[cgroup.GroupUsage, str]:
        """What the process tree used so far, and the source of it."""
        if self._group is not None:
            return self._group.usage(), f"cgroup-{self._group.version}"
        return _by_psutil(self.pid), "psutil"


@contextmanager
def running(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    memory_bytes: int,
    processes: int,
    disk_bytes: int,
    cpus: float | None,
    needed: Sequence[Path],
    writable: Sequence[Path],
    loopback: bool = False,
    surroundings: Surroundings | None = None,
) -> Iterator[HostProcess]:
    """Start ``argv`` in bounds; it and everything it started are gone afterwards.

    ``needed`` are the folders it reads, ``writable`` those it may write to. With ``loopback`` its network
    namespace has a loopback interface that is up, for a server that only speaks TCP. With ``surroundings`` that is
    what it finds around it; MissingComponent where this machine can't have it so.
    """
    with process.bounds(
        memory_bytes=memory_bytes,
        processes=processes,
        disk_bytes=disk_bytes,
        cpus=cpus,
        needed=[*needed, *(folder.parent for folder in writable)],
        loopback=loopback,
    ) as bounded:
        policy = bounded
        if surroundings is not None:
            policy = _surrounded(bounded, surroundings, needed=needed, home=cwd, writable=writable)
        for folder in writable:
            if policy.user_id is not None:
                os.chown(folder, policy.user_id, policy.user_id)
        child = Child(argv, env=env, cwd=cwd, policy=policy)
        with process.guarded(process_group=child.pid):
            try:
                yield HostProcess(child, policy.group)
            finally:
                child.end()


def _surrounded(
    policy: Policy, surroundings: Surroundings, *, needed: Sequence[Path], home: Path, writable: Sequence[Path]
) -> Policy:
    """The policy with these surroundings, tried once: what goes wrong between fork and exec is not told otherwise."""
    found = replace(
        policy,
        surroundings=surroundings,
        home=home,
        writable=tuple(writable),
        # The folders above those it may write to are there already, or made with them.
        visible=tuple(needed) if surroundings.root is not None else policy.visible,
        user_id=policy.user_id if surroundings.user_id is None else surroundings.user_id,
    )
    if os.geteuid() != 0 or not found.possible():
        raise MissingComponent(
            "this machine does not let us give a process another root file system, user, or write protection",
            remedy="run the harness as root, on Linux 5.12 or newer",
        )
    return found


def peak_resident_bytes(pid: int) -> int | None:
    """VmHWM of a process: the most memory it ever had resident, file pages that it mapped included."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def _by_psutil(pid: int) -> cgroup.GroupUsage:
    """The fallback: the sum over the process and its living descendants; peaks need not coincide."""
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
        times = [process.cpu_times() for process in tree]
    except psutil.Error:
        return cgroup.GroupUsage(peak_memory_bytes=None, anonymous_bytes=None, cpu_s=None)
    peaks = [peak for peak in (peak_resident_bytes(process.pid) for process in tree) if peak is not None]
    cpu_s = sum(time.user + time.system + time.children_user + time.children_system for time in times[:1])
    cpu_s += sum(time.user + time.system for time in times[1:])
    return cgroup.GroupUsage(peak_memory_bytes=sum(peaks) if peaks else None, anonymous_bytes=None, cpu_s=cpu_s)
