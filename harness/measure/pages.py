"""The page cache: evict an artifact's pages, and verify that they are gone.

``posix_fadvise(POSIX_FADV_DONTNEED)`` is a request that the kernel may ignore (dirty or mapped
pages stay), so residency is read back: with ``cachestat(2)`` where the kernel has it (Linux 6.5),
else with ``mincore(2)``.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import tree

#: The share of an artifact's pages that may be left in memory in a start that counts as disk-cold.
TOLERATED = 0.01

_PAGE = mmap.PAGESIZE
_CACHESTAT = 451  # the same number on x86-64 and arm64
_PROT_READ, _MAP_SHARED = 1, 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _CacheStat(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64) for name in ("cached", "dirty", "writeback", "evicted", "recently_evicted")
    )


_HAS_CACHESTAT = platform.machine() in {"x86_64", "aarch64"}
_EVERYTHING = ctypes.byref(_Range(0, 0))


@dataclass(frozen=True, kw_only=True)
class Residency:
    """How many of a set of files' bytes are in memory, of how many; in whole pages."""

    resident_bytes: int
    total_bytes: int

    @property
    def share(self) -> float:
        """0 is all on disk, 1 all in memory."""
        return self.resident_bytes / self.total_bytes if self.total_bytes else 0.0


def files_below(paths: Iterable[Path]) -> list[str]:
    """Every regular file at or below ``paths``, links not followed."""
    found: list[str] = []
    for path in paths:
        if path.is_dir():
            found += [str(file) for file in tree.files(path) if not file.is_symlink()]
        elif path.is_file():
            found.append(str(path))
    return found


def evict(files: Sequence[str]) -> Residency:
    """Ask for the files' pages to be dropped; what is left of them afterwards."""
    resident = total = 0
    for file in files:
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue  # gone, or not ours to read: then its pages are not ours to drop either
        try:
            size = os.fstat(descriptor).st_size
            total += -(-size // _PAGE)
            # Of most files nothing is in memory, and asking costs less than having nothing dropped.
            if size and _resident_pages(descriptor, size):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                resident += _resident_pages(descriptor, size)
        finally:
            os.close(descriptor)
    return Residency(resident_bytes=resident * _PAGE, total_bytes=total * _PAGE)


def _resident_pages(descriptor: int, size: int) -> int:
    counted = _by_cachestat(descriptor) if _HAS_CACHESTAT else None
    return counted if counted is not None else _by_mincore(descriptor, size)


def _by_cachestat(descriptor: int) -> int | None:
    found = _CacheStat()
    done = _libc.syscall(_CACHESTAT, descriptor, _EVERYTHING, ctypes.byref(found), 0)
    return int(found.cached) if done == 0 else None


def _by_mincore(descriptor: int, size: int) -> int:
    address = _libc.mmap(None, size, _PROT_READ, _MAP_SHARED, descriptor, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    try:
        states = ctypes.create_string_buffer(-(-size // _PAGE))
        if _libc.mincore(address, size, states) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return sum(state & 1 for state in states.raw)
    finally:
        _libc.munmap(address, size)
