"""The smallest memory limit under which a start gives a first right answer, found by bisection.

Every probe is a whole start under a limit of its own, in a fresh control group. What a limit holds is all that the
kernel charges to the group: anonymous memory, the kernel's own, what is written to a ``/tmp`` in memory, and page
cache, which it takes back before it refuses anything. Pages that were in memory before stay charged to who read them
first, so an instance on a machine that has just started others of its kind gets by with what is found here. With
the artifact's pages evicted before each probe, too small a limit makes a start read the same pages for ever instead of
ending it: nearly the same answer in many times the time (digits-forest as venv: 94.5 MiB in 48 s, 91.0 MiB in 3.5 s).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from harness.errors import BuildFailure, HarnessError, ModelFailure
from harness.measure import start
from harness.measure.part import Part, Subject, Taken
from harness.methods.contract import Limits, Method
from harness.metrics import State

METRIC = "minimum_memory_bytes"

_STATE: State = "page-warm"

#: The answer is no further than this from the largest limit that was too small, whichever is more.
RESOLUTION_SHARE, RESOLUTION_BYTES = 0.05, 4 * 2**20

#: Where the search begins: the least that a Docker engine lets a container have since 20.10 (AWS's reference of ECS,
#: ContainerDefinition, "memory": 6 MiB, https://docs.aws.amazon.com/sdk-for-kotlin/api/latest/ecs/, read 2026-11-23).
FLOOR_BYTES = 6 * 2**20

#: Limits are whole multiples of this, as the kernel's pages are, and large enough to be read.
_STEP_BYTES = 2**18

#: Under a tight limit the kernel reads the same pages again and again: a start this many times as long as one without
#: such a limit, and at least so many seconds, is taken for one that does not end.
PATIENCE, PATIENCE_S = 5.0, 10.0

#: More starts than this are not made: the resolution is then what was reached, and the note says it.
MOST_STARTS = 16

#: What says that the memory did not suffice, besides the control group itself: allocations that were refused inside
#: the instance, servers that report the end of their worker and not its cause, and starts without end.
_SIGNS = (
    *("ran out of memory", "MemoryError", "bad_alloc", "Cannot allocate memory", "failed to map segment"),
    *("was killed by signal 9", "signal: killed", "did not listen within", "did not answer within"),
)
#: The same of an engine whose own part of the start did not fit.
_SIGNS_OF_ENGINES = ("OOM", "memory limit too low", "Cannot allocate memory", "signal: killed")

_HELD_BY = {
    "cgroup-v1": "a control group (version 1)",
    "cgroup-v2": "a control group (version 2)",
    "docker-stats": "the Docker engine",
}


@dataclass(frozen=True, kw_only=True)
class Found:
    """``fits`` is the smallest limit under which a start answered, ``too_small`` the largest under which none did.

    ``too_small`` is None where every limit that was tried sufficed.
    """

    fits: int
    too_small: int | None
    starts: int


def _take(subject: Subject, _state: State, _replicate: int) -> Taken:
    """One search; the value is a limit that was tried and sufficed."""
    if subject.installed.elsewhere is not None:
        return Taken(absent="it runs on the platform itself: each limit that is tried would be another deployment")
    begin = time.monotonic()
    usual = start.take(subject.method, subject.installed, subject.limits, subject.model, _STATE)
    taken_s = time.monotonic() - begin
    held_by = _HELD_BY.get(usual.source)
    if held_by is None:
        return Taken(absent=f"nothing here holds an instance to a memory limit (its usage comes from {usual.source})")
    limits = replace(subject.limits, start_timeout_s=patience_s(subject.limits, taken_s))
    found = search(subject, limits, peak=usual.values.get("peak_memory_bytes"))
    return Taken(values={METRIC: float(found.fits)}, note="; ".join(_told(subject, found, held_by)))


def patience_s(limits: Limits, usual_s: float) -> float:
    """Seconds after which a start under a tight limit is given up, where one without it takes ``usual_s``."""
    return min(limits.start_timeout_s, max(PATIENCE * usual_s, PATIENCE_S))


def search(subject: Subject, limits: Limits, *, peak: float | None) -> Found:
    """Search between the floor and the limit that is known to suffice, ``limits.memory_bytes``.

    ``peak`` is what was seen to be used under it. As long as nothing was too small, the next limit is the last peak, or
    a step below the last limit where that was all used, a step twice as long each time; from then on it is the middle.
    """
    low, high, starts, failed, step = FLOOR_BYTES, limits.memory_bytes, 1, False, 0.0
    while not resolved(low, high) and starts < MOST_STARTS:
        middle = candidate = _whole((low + high) / 2)
        if not failed and peak is not None and peak < high - resolution(high):
            candidate = _whole(peak)
        elif not failed:
            step = max(resolution(high), 2 * step)
            candidate = _whole(high - step)
        if not low < candidate < high:
            candidate = middle
        starts += 1
        peak = probe(subject, replace(limits, memory_bytes=candidate))
        if peak is None:
            low, failed = candidate, True
        else:
            high = candidate
    return Found(fits=high, too_small=low if failed else None, starts=starts)


def resolution(high: float) -> float:
    """How far from the answer ``high`` the largest limit that is too small may be, in bytes."""
    return max(RESOLUTION_SHARE * high, RESOLUTION_BYTES)


def resolved(low: int, high: int) -> bool:
    """Whether the two limits are as near to each other as the answer has to be."""
    return high - low <= resolution(high)


def probe(subject: Subject, limits: Limits) -> float | None:
    """The peak of memory of a start under ``limits`` that gave a first right answer; None where memory was too little.

    What has nothing to do with memory is raised. A peak that nobody knows is taken to be the limit.
    """
    try:
        found = start.take(subject.method, subject.installed, limits, subject.model, _STATE)
    except (ModelFailure, BuildFailure) as error:
        if not for_lack_of_memory(error):
            raise
        return None
    return found.values.get("peak_memory_bytes", float(limits.memory_bytes))


def for_lack_of_memory(error: HarnessError) -> bool:
    """Whether a start failed because it had too little memory: refused, ended by the kernel, or without end."""
    signs = _SIGNS_OF_ENGINES if isinstance(error, BuildFailure) else _SIGNS
    return any(sign in error.problem for sign in signs)


def _whole(size: float) -> int:
    return -(-int(size) // _STEP_BYTES) * _STEP_BYTES


def _told(subject: Subject, found: Found, held_by: str) -> Iterator[str]:
    mib = 2**20
    less = "nothing smaller was tried" if found.too_small is None else f"{found.too_small / mib:.1f} MiB did not"
    yield f"{found.fits / mib:.1f} MiB sufficed, {less}; {found.starts} starts"
    if not resolved(found.too_small or FLOOR_BYTES, found.fits):
        yield "the search was broken off before its resolution was reached"
    yield f"held by {held_by}: page cache counts and is taken back first, pages already in memory are charged to nobody"
    least = platform_minimum(subject.method)
    if least is not None:
        yield f"its platform gives at least {least:.0f} MB, and less processor time with less memory; not done here"


def platform_minimum(method: Method) -> float | None:
    """The least memory in MB that the method's platform gives an instance, where it documents one."""
    for limit in method.LIMITS:
        if limit.unit == "MB" and limit.name.startswith("memory") and limit.name.endswith("at least"):
            return limit.value
    return None


PART = Part(
    name="memory-limit",
    title="minimum memory limit",
    closing=METRIC,
    take=_take,
)
