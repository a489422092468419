"""The cache's budget: where it holds more, what was used least recently is dropped, and never what is in use.

All that is dropped can be made again, and is, when it is asked for. One table says what that is: :data:`KINDS`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import paths, process, settings
from harness.errors import HarnessError
from harness.measure import artifacts
from harness.methods.contract import Method
from harness.platforms import engine

#: The variable that sets it.
VARIABLE = "HARNESS_CACHE_BUDGET"
_MOST, _SHARE = 20 * 10**9, 0.2
_BLOCK = 512  # the unit of st_blocks, whatever the file system's blocks are


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of entries: where they lie below the cache. Those that are ``dear`` go when nothing else is left."""

    pattern: str
    dear: bool = False


#: What may be dropped, each entry as a whole. When it was used is noted by :func:`harness.usage.used`, wherever it is
#: looked for. All else stays: it is small (locks, traces, records), is needed by whatever is done (tools, interpreters,
#: the base image in the engine), or is somebody's record (``aws``). conda's folders point at each other, and uv's cache
#: is uv's own affair, so each goes in one.
KINDS = (
    Kind(pattern="artifacts/*"),  # with their images
    Kind(pattern="environments/*"),
    Kind(pattern="payloads/*"),
    Kind(pattern="synthetic/*"),
    Kind(pattern="targets/*"),
    Kind(pattern="base/*.tar"),
    Kind(pattern="locks/*/wheels"),  # hard links to the wheelhouse's
    Kind(pattern="wheelhouse/*"),
    Kind(pattern="conda"),
    Kind(pattern="uv"),
    Kind(pattern="weights/*", dear=True),  # training may have taken hours
)

#: Not counted: it is gone when those who work there are.
_WORK = "tmp"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What the cache may hold, in bytes, None for any amount; and where that is from, in words."""

    bytes: int | None
    source: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is dropped as a whole: its place, what its files take on the disk, and when it was used last."""

    place: Path
    kind: Kind
    bytes: int
    used_ns: int


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder of the cache: what its files take on the disk, as far as it could be ``read``, and its entries."""

    name: str
    bytes: int
    read: bool
    entries: Sequence[Entry]


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What became of it: how many entries were dropped, and what the cache held, in bytes, before and after."""

    budget: Budget
    dropped: int
    before_bytes: int
    after_bytes: int
    told: tuple[str, ...] = ()


def budget(held_bytes: int) -> Budget:
    """What the cache may hold, which now holds so much; BadInput where the variable's value is no size."""
    given = settings.size(VARIABLE)
    if given is not None:
        return Budget(bytes=given or None, source=f"set by {VARIABLE}")
    # What the cache holds counts as free: a budget that became smaller as the cache grows would bite by itself.
    share = int((shutil.disk_usage(paths.cache()).free + held_bytes) * _SHARE)
    return Budget(bytes=min(_MOST, share), source=f"{default()}; {VARIABLE} sets another")


def default() -> str:
    """What the budget is where nobody sets one, in words."""
    return f"the smaller of {shown(_MOST)} and a fifth of the disk that is free or the cache's"


def described() -> str:
    """The budget in words, without a look at what the cache holds; BadInput where the variable's value is no size."""
    given = settings.size(VARIABLE)
    if given is None:
        return f"{default()}; {VARIABLE} sets another"
    return f"{shown(given) if given else 'none'}: set by {VARIABLE}"


def shown(size: float) -> str:
    """Bytes as people read them."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"  # noqa: PLR2004 -- a gigabyte


def apply(methods: Mapping[str, Method]) -> Applied:
    """Drop what was used least recently until the cache holds no more than its budget.

    What another process uses stays, and what this one used since it renewed (:func:`harness.usage.renew`). BadInput
    where the variable's value is no size. What can't be dropped, because no engine answers that has the image, say,
    is passed over.
    """
    if settings.size(VARIABLE) == 0:  # nothing need be looked at
        return Applied(budget=budget(0), dropped=0, before_bytes=0, after_bytes=0)
    with process.ledger.waiting_for("disk"):
        found = look()
        before = held = counted(found)
        allowed = budget(held)
        assert allowed.bytes is not None
        dropped = 0
        while held > allowed.bytes:
            now = _drop_oldest(found, held - allowed.bytes, methods)
            if not now:
                break
            dropped += now
            # Looked at again, as files with several names are freed with the last, and layers with the last image.
            found = look()
            held = counted(found)
    told = []
    if dropped:
        told.append(
            f"The cache's budget is {shown(allowed.bytes)} ({VARIABLE}): dropped what was used least recently, "
            f"{dropped} {'entry' if dropped == 1 else 'entries'}, {shown(before - held)}. "
            "What is asked for again is made again."
        )
    if held > allowed.bytes:
        told.append(
            f"The cache holds {shown(held)}, its budget is {shown(allowed.bytes)} ({VARIABLE}): "
            "the rest is in use, or is never dropped."
        )
    return Applied(budget=allowed, dropped=dropped, before_bytes=before, after_bytes=held, told=tuple(told))


def counted(folders: Sequence[Folder]) -> int:
    """The bytes that count: those of all folders but what is being worked on."""
    return sum(one.bytes for one in folders if one.name != _WORK)


def look() -> list[Folder]:
    """Every folder of the cache, the largest first. A file's bytes are those on the disk, shared among its names."""
    found = ((place, kind) for kind in KINDS for place in paths.cache().glob(kind.pattern))
    kinds = {str(place): kind for place, kind in found if place.suffix != ".lock"}
    with os.scandir(paths.cache()) as entries:
        folders = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    return sorted((_folder(folder, kinds) for folder in folders), key=lambda one: -one.bytes)


def _folder(folder: str, kinds: Mapping[str, Kind]) -> Folder:
    sizes, used, read = dict[str, int](), dict[str, int](), True
    device = os.lstat(folder).st_dev
    waiting = [(folder, folder)]  # with the entry that it is part of
    while waiting:
        place, part = waiting.pop()
        try:
            if place in kinds:
                part, used[place] = place, os.lstat(place).st_mtime_ns
            with os.scandir(place) as entries:
                for one in entries:
                    status = one.stat(follow_symlinks=False)
                    if not one.is_dir(follow_symlinks=False):
                        owner = one.path if one.path in kinds else part
                        used |= {owner: status.st_mtime_ns} if owner is one.path else {}
                        sizes[owner] = sizes.get(owner, 0) + status.st_blocks * _BLOCK // max(status.st_nlink, 1)
                    elif status.st_dev == device:  # else a disk that is mounted there: a container's, say
                        waiting.append((one.path, part))
        except FileNotFoundError:  # others work there
            continue
        except OSError:
            read = False
    found = [
        Entry(place=Path(at), kind=kinds[at], bytes=sizes.get(at, 0), used_ns=used_ns) for at, used_ns in used.items()
    ]
    return Folder(name=os.path.basename(folder), bytes=sum(sizes.values()), read=read, entries=found)


# --- dropping ------------------------------------------------------------------------------------


def _drop_oldest(folders: Sequence[Folder], over: int, methods: Mapping[str, Method]) -> int:
    """Drop entries, the one that was used least recently first, until ``over`` bytes less are there; how many."""
    dropped = 0
    running, _ = engine.look()
    entries = [entry for folder in folders for entry in folder.entries]
    for entry in sorted(entries, key=lambda one: (one.kind.dear, one.used_ns)):
        if over <= 0:
            break
        size, artifact = entry.bytes, artifacts.recorded(entry.place)
        if artifact is not None and artifact.image is not None:
            if running is None or running.kind != "private":
                continue  # its image lies elsewhere, or can't be removed
            size += artifacts.recorded_size(entry.place)
        try:
            gone = artifacts.discard(entry.place, artifact, methods)
        except (HarnessError, OSError):
            continue
        dropped += gone
        over -= size if gone else 0
    return dropped
