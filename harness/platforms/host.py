"""This machine itself as a platform: an artifact started as a bounded process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from harness import cgroup, door, process
from harness.process import Child
from harness.sandbox import Bounds, Surroundings


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
        return used_by(self.pid), "psutil"


@contextmanager
def running(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    bounds: Bounds,
    shows: Sequence[Path],
    kept: Sequence[Path],
    around: Surroundings | None = None,
) -> Iterator[HostProcess]:
    """Start ``argv`` behind :mod:`harness.door`; it and everything it started are gone afterwards.

    ``shows`` are the folders that it reads, ``kept`` those that it may write to, which stay its own. Its network
    namespace has a loopback interface and leads nowhere. MissingComponent where this machine can't give it the
    surroundings ``around`` it.
    """
    with contextlib.ExitStack() as stack:
        inside = stack.enter_context(door.opened(bounds, shows=shows, kept=kept, around=around))
        child = Child(argv, env=env, cwd=cwd, policy=inside.policy)
        stack.enter_context(process.guarded(process_group=child.pid))
        stack.callback(child.end)
        yield HostProcess(child, inside.policy.group)


def peak_resident_bytes(pid: int) -> int | None:
    """VmHWM of a process: the most memory it ever had resident, file pages that it mapped included."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def used_by(pid: int) -> cgroup.GroupUsage:
    """Without a control group: the sum over the process and its living descendants; peaks need not coincide."""
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
