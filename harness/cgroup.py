"""Control groups, version 1 and 2: bound a group of processes, and read what it used.

Sources: the kernel's ``Documentation/admin-guide/cgroup-v1/{memory,cpuacct,pids}.rst`` and
``cgroup-v2.rst``. Peak memory of a group includes the page cache it was charged for; that is said
wherever the number is shown.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path("/sys/fs/cgroup")
Version = Literal["v1", "v2"]
# v1 has one hierarchy per controller; these are the ones used.
_V1_CONTROLLERS = ("memory", "cpuacct", "cpu", "pids")


@dataclass(frozen=True, kw_only=True)
class GroupUsage:
    """What a group used since it was made: peak bytes with and without page cache, CPU seconds."""

    peak_memory_bytes: int | None
    anonymous_bytes: int | None
    cpu_s: float | None


@dataclass(frozen=True, kw_only=True)
class Group:
    """One control group: a folder (v2), or one folder per controller (v1)."""

    version: Version
    folders: Mapping[str, Path]

    def limit(self, *, memory_bytes: int | None, cpus: float | None, pids: int | None) -> None:
        """Bound memory (no swap beyond it), CPU share and number of processes; None leaves it open."""
        for name, value in _limit_files(self.version, memory_bytes, cpus, pids):
            controller, _, file = name.partition("/")
            folder = self.folders.get(controller)
            if folder is not None and (folder / file).exists():
                (folder / file).write_text(value)

    def enter(self) -> None:
        """Move the calling process into the group (used between fork and exec)."""
        for folder in self.folders.values():
            with open(folder / "cgroup.procs", "w") as file:
                file.write("0")

    def usage(self) -> GroupUsage:
        """Read the counters now."""
        if self.version == "v2":
            folder = self.folders["v2"]
            return GroupUsage(
                peak_memory_bytes=_number(folder / "memory.peak"),
                anonymous_bytes=_keyed(folder / "memory.stat", "anon"),
                cpu_s=_scaled(_keyed(folder / "cpu.stat", "usage_usec"), 1e-6),
            )
        memory, cpuacct = self.folders.get("memory"), self.folders.get("cpuacct")
        return GroupUsage(
            peak_memory_bytes=_number(memory / "memory.max_usage_in_bytes") if memory else None,
            anonymous_bytes=_keyed(memory / "memory.stat", "total_rss") if memory else None,
            cpu_s=_scaled(_number(cpuacct / "cpuacct.usage"), 1e-9) if cpuacct else None,
        )

    def oom_killed(self) -> bool:
        """Whether the kernel killed a process of the group for lack of memory."""
        if self.version == "v2":
            return bool(_keyed(self.folders["v2"] / "memory.events", "oom_kill"))
        memory = self.folders.get("memory")
        return bool(memory and _keyed(memory / "memory.oom_control", "oom_kill"))

    def kill(self) -> None:
        """End every process of the group."""
        for folder in self.folders.values():
            for pid in _pids(folder):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def kill_and_remove(self, *, patience_s: float = 5.0) -> None:
        """End every process of the group, then remove the group."""
        deadline = time.monotonic() + patience_s
        for folder in self.folders.values():
            while folder.is_dir():
                self.kill()
                try:
                    folder.rmdir()
                except OSError:
                    if time.monotonic() > deadline:
                        break
                    time.sleep(0.002)


def version() -> Version | None:
    """Which version this process can make groups in; None when it may make none."""
    if (ROOT / "cgroup.controllers").is_file():
        writable = os.access(ROOT, os.W_OK) and "memory" in (ROOT / "cgroup.subtree_control").read_text()
        return "v2" if writable else None
    if (ROOT / "memory").is_dir() and os.access(ROOT / "memory", os.W_OK):
        return "v1"
    return None


def create(name: str) -> Group | None:
    """Make a group called ``name``; None where this process may not."""
    found = version()
    if found is None:
        return None
    if found == "v2":
        folders = {"v2": ROOT / name}
    else:
        folders = {c: ROOT / c / name for c in _V1_CONTROLLERS if os.access(ROOT / c, os.W_OK)}
    made: list[Path] = []
    try:
        for folder in folders.values():
            folder.mkdir()
            made.append(folder)
    except OSError:
        for folder in made:
            folder.rmdir()
        return None
    return Group(version=found, folders=folders)


def named(prefix: str) -> list[Group]:
    """The groups whose names begin so; in version 1 each controller's folder is one of its own."""
    found = version()
    tops = {"v2": ROOT} if found == "v2" else {c: ROOT / c for c in _V1_CONTROLLERS} if found else {}
    return [
        Group(version=found, folders={controller: folder})
        for controller, top in tops.items()
        for folder in sorted(top.glob(f"{prefix}*"))
        if found and folder.is_dir()
    ]


def of_process(pid: int) -> Group | None:
    """The group that process ``pid`` is in (a container's, say), as seen from the host."""
    folders: dict[str, Path] = {}
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return None
    unified = (ROOT / "cgroup.controllers").is_file()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if unified and not controllers:
            folders["v2"] = ROOT / path.lstrip("/")
        for controller in controllers.split(","):
            if not unified and controller in _V1_CONTROLLERS:
                folders[controller] = ROOT / controller / path.lstrip("/")
    folders = {name: folder for name, folder in folders.items() if folder.is_dir()}
    return Group(version="v2" if unified else "v1", folders=folders) if folders else None


def settle() -> None:
    """Have the kernel be ready to move a process into a group, so that the next move costs what moving costs.

    Moves wait for a grace period of all processors (``cgroup_threadgroup_rwsem`` in the kernel's ``cgroup.c``), some
    10 ms, unless another move has just done so. This process is moved to where it is, which changes nothing else.
    """
    own = os.getpid()
    group = of_process(own)
    for folder in group.folders.values() if group else ():
        if own in _pids(folder):  # seen from a namespace the path may be another group's
            with contextlib.suppress(OSError):
                (folder / "cgroup.procs").write_text(str(own))
                return


def _limit_files(
    found: Version, memory_bytes: int | None, cpus: float | None, pids: int | None
) -> Iterator[tuple[str, str]]:
    period_us = 100_000
    if found == "v2":
        if memory_bytes is not None:
            yield "v2/memory.max", str(memory_bytes)
            yield "v2/memory.swap.max", "0"
        if cpus is not None:
            yield "v2/cpu.max", f"{int(cpus * period_us)} {period_us}"
        if pids is not None:
            yield "v2/pids.max", str(pids)
        return
    if memory_bytes is not None:
        yield "memory/memory.limit_in_bytes", str(memory_bytes)
        yield "memory/memory.memsw.limit_in_bytes", str(memory_bytes)
    if cpus is not None:
        yield "cpu/cpu.cfs_period_us", str(period_us)
        yield "cpu/cpu.cfs_quota_us", str(int(cpus * period_us))
    if pids is not None:
        yield "pids/pids.max", str(pids)


def _pids(folder: Path) -> list[int]:
    try:
        return [int(line) for line in (folder / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _keyed(file: Path, key: str) -> int | None:
    try:
        for line in file.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == key:
                return int(value)
    except (OSError, ValueError):
        pass
    return None


def _scaled(value: int | None, factor: float) -> float | None:
    return None if value is None else value * factor
