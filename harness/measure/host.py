"""Facts about this machine, for the manifest: what a reader must know before comparing two runs."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from harness import cgroup, door, interpreter
from harness.platforms import engine


def facts() -> dict[str, Any]:
    """Processor, memory, kernel, interpreter, and what models are kept from here."""
    python = interpreter.default()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "kernel": platform.release(),
        "machine": platform.machine(),
        "system": _system(),
        "cgroup": cgroup.version() or "none",
        "python": python.version,
        "python_path": str(python.path),
        "as_root": os.geteuid() == 0,
        "not_enforced": [*door.abilities().missing(), *_unbounded_in_containers()],
    }


def _unbounded_in_containers() -> list[str]:
    found, _ = engine.look()
    return [f"in containers {found.unbounded}"] if found is not None and found.unbounded else []


def same_machine(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two runs' hosts are alike enough to be one machine: a run may be resumed there."""
    return all(one.get(key) == other.get(key) for key in ("processor", "cores", "memory_bytes", "machine", "python"))


def load() -> dict[str, float]:
    """How busy the machine is: load average over a minute, share of stolen time, stalled share by pressure."""
    times = psutil.cpu_times()
    total = sum(times)
    found = {"load_1m": os.getloadavg()[0], "steal_share": getattr(times, "steal", 0.0) / total if total else 0.0}
    for resource in ("cpu", "memory", "io"):
        try:
            first = Path(f"/proc/pressure/{resource}").read_text().split()
            found[f"pressure_{resource}"] = float(first[1].partition("=")[2])
        except (OSError, IndexError, ValueError):
            continue
    return found


@dataclass(frozen=True, kw_only=True)
class Calm:
    """How busy the machine was up to a moment; two of them tell how busy it was in between.

    ``stalled_us`` is the kernel's total of microseconds in which some task waited for a resource (pressure stall
    information, Linux 4.20), by resource; ``stolen`` and ``ticks`` count the machine's CPU time.
    """

    at_s: float
    stolen: float
    ticks: float
    stalled_us: dict[str, int] = field(default_factory=dict)

    def since(self, before: Calm) -> dict[str, float]:
        """By metric, the shares of the time from ``before`` until now; nothing of what the kernel does not tell."""
        wall_us = (self.at_s - before.at_s) * 1e6
        found = {}
        if self.ticks > before.ticks:
            # Some hypervisors correct themselves later, backwards.
            found["steal_share"] = max(self.stolen - before.stolen, 0.0) / (self.ticks - before.ticks)
        for resource, stalled in self.stalled_us.items():
            if resource in before.stalled_us and wall_us > 0:
                found[f"pressure_{resource}_share"] = min((stalled - before.stalled_us[resource]) / wall_us, 1.0)
        return found


def calm() -> Calm:
    """How busy the machine was up to now; takes some tens of microseconds."""
    stalled = {}
    for resource in ("cpu", "io", "memory"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            first = Path(f"/proc/pressure/{resource}").read_text().split("\n", 1)[0]
            stalled[resource] = int(first.rpartition("total=")[2])
    stolen = ticks = 0.0
    with contextlib.suppress(OSError, IndexError, ValueError):
        # user nice system idle iowait irq softirq steal; guest time is in user's already (proc(5)).
        counted = [float(text) for text in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        stolen, ticks = counted[7], sum(counted)
    return Calm(at_s=time.monotonic(), stolen=stolen, ticks=ticks, stalled_us=stalled)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    except OSError:
        return "unknown"
