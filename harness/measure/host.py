"""Facts about this machine, for the manifest: what a reader must know before comparing two runs."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import psutil

from harness import cgroup, interpreter, sandbox


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
        "not_enforced": sandbox.abilities().missing(),
    }


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
