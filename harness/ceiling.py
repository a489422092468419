"""The most that this machine lets any model have, whatever its ``resources`` ask for.

What is asked for is the model's own word. Each bound has a ceiling: a variable of the environment sets it, else it
follows from the machine. Bounds are made of :func:`bounded` alone, and where a ceiling bites, users are told.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness import paths, settings

_MIB, _GIB_IN_MIB = 2**20, 2**10
_MEMORY_SHARE, _DISK_SHARE = 0.8, 0.5
_PROCESSES = 4096
_SECONDS = 4 * 3600
_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_BEYOND_SAYING = 10**12


class Resources(Protocol):
    """What a model asks for: ``[resources]`` of its ``model.toml``."""

    @property
    def memory_mb(self) -> int:
        """Memory, in MiB."""

    @property
    def processes(self) -> int:
        """Processes and threads at once."""

    @property
    def disk_mb(self) -> int:
        """What it may write, in MiB."""

    @property
    def start_timeout_s(self) -> float:
        """How long a start may take."""

    @property
    def predict_timeout_s(self) -> float:
        """How long an answer may take."""


@dataclass(frozen=True, kw_only=True)
class Bounded:
    """What a model gets: the least of what it asks for and of the ceilings. ``told`` says where a ceiling bit.

    The sentences go on after the model's name: ``asks for 64 GiB of memory; this machine allows 19 GiB (...)``.
    """

    memory_bytes: int
    processes: int
    disk_bytes: int
    start_timeout_s: float
    predict_timeout_s: float
    told: tuple[str, ...] = ()

    @property
    def memory_told(self) -> str:
        """What is said of memory, where that ceiling bit."""
        return next((text for text in self.told if MEMORY in text), "")


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """One ceiling: its value, in words too, the variable that sets it, and where the value is from."""

    what: str
    value: int
    shown: str
    variable: str
    source: str


MEMORY, PROCESSES = "HARNESS_MAX_MEMORY_MB", "HARNESS_MAX_PROCESSES"
DISK, SECONDS = "HARNESS_MAX_DISK_MB", "HARNESS_MAX_SECONDS"


def bounded(resources: Resources) -> Bounded:
    """What a model that asks for ``resources`` gets here. BadInput where a variable's value is none."""
    told: list[str] = []

    def least(asked: float, shown: str, ceiling: Ceiling) -> float:
        if asked <= ceiling.value:
            return asked
        told.append(f"asks for {shown}; this machine allows {ceiling.shown} ({ceiling.variable})")
        return ceiling.value

    memory_mb = least(resources.memory_mb, f"{_size(resources.memory_mb)} of memory", memory())
    processes_ = least(resources.processes, f"{_number(resources.processes)} processes", processes())
    disk_mb = least(resources.disk_mb, f"{_size(resources.disk_mb)} of disk", disk())
    start_s = least(resources.start_timeout_s, f"{resources.start_timeout_s:g} s to start", seconds())
    predict_s = least(resources.predict_timeout_s, f"{resources.predict_timeout_s:g} s to answer", seconds())
    return Bounded(
        memory_bytes=int(memory_mb) * _MIB,
        processes=int(processes_),
        disk_bytes=int(disk_mb) * _MIB,
        start_timeout_s=start_s,
        predict_timeout_s=predict_s,
        told=tuple(told),
    )


def patience(asked_s: float) -> float:
    """The seconds that something of a model's may take which asks for ``asked_s``: its training, say."""
    return min(asked_s, float(seconds().value))


def ceilings() -> tuple[Ceiling, ...]:
    """All of them as they are now."""
    return (memory(), processes(), disk(), seconds())


def memory() -> Ceiling:
    """Of memory, in MiB."""
    machine_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _MIB
    groups_mb = min((limit // _MIB for limit in _group_limits()), default=machine_mb)
    whose = "the machine's memory" if machine_mb <= groups_mb else "the memory that this control group may use"
    found_mb = max(int(min(machine_mb, groups_mb) * _MEMORY_SHARE), 1)
    return _ceiling("memory", MEMORY, found_mb, f"{_MEMORY_SHARE:.0%} of {whose}", _size)


def processes() -> Ceiling:
    """Of processes and threads at once."""
    return _ceiling("processes", PROCESSES, _PROCESSES, "the default", _number)


def disk() -> Ceiling:
    """Of what it may write, in MiB."""
    free_mb = shutil.disk_usage(paths.cache()).free // _MIB
    found_mb = max(int(free_mb * _DISK_SHARE), 1)
    return _ceiling("disk", DISK, found_mb, f"{_DISK_SHARE:.0%} of what is free where the cache lies", _size)


def seconds() -> Ceiling:
    """Of any one training, start or answer, in seconds."""
    return _ceiling("time", SECONDS, _SECONDS, "the default", lambda value: f"{_number(value)} s")


def _ceiling(what: str, variable: str, found: int, source: str, worded: Callable[[int], str]) -> Ceiling:
    given = settings.count(variable)
    value = found if given is None else given
    source = f"{source}; {variable} sets another" if given is None else f"set by {variable}"
    return Ceiling(what=what, value=value, shown=worded(value), variable=variable, source=source)


def _group_limits() -> Iterator[int]:
    """The memory limits, in bytes, of the control groups that this process is in."""
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root = _CONTROL_GROUPS / controllers
        file = "memory.limit_in_bytes" if controllers else "memory.max"
        inside = Path(place.removeprefix("/"))
        for group in (root / inside, *(root / parent for parent in inside.parents)):
            try:
                said = (group / file).read_text().strip()
            except OSError:
                continue
            if re.fullmatch(r"\d{1,20}", said):  # "max" is none
                yield int(said)


def _size(mib: int) -> str:
    if mib < _GIB_IN_MIB:
        return f"{mib} MiB"
    return f"{mib / _GIB_IN_MIB:.3g} GiB" if mib < 1000 * _GIB_IN_MIB else f"{_number(mib // _GIB_IN_MIB)} GiB"


def _number(value: int) -> str:
    """As people write it; a model may ask for numbers of thousands of digits."""
    return f"{value:,}" if value < _BEYOND_SAYING else f"more than {_BEYOND_SAYING:,}"
