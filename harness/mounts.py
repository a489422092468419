"""Mounts that only one process and its children see: another root file system, or this one write-protected.

These run between fork and exec, in a mount namespace that is the process's own already, and make system calls only.
Whatever they mount is gone with the last process in there, however that ends.

Sources: mount(2), mount_setattr(2), pivot_root(2) ("pivot_root(".", ".")", which needs no folder for the old root).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT = 0x1, 0x2, 0x4, 0x20
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_MNT_DETACH = 2
_AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = -100, 0x8000, 0x1
_SYS_MOUNT_SETATTR = 442  # the same number on every architecture, since Linux 5.12

#: Folders of a root file system that programs are read from; everything else of it is made empty.
_READ = ("usr", "etc")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_ROOT_BYTES = 16 * 2**20  # for the folders in which things are mounted

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)


class _Attributes(ctypes.Structure):
    """``struct mount_attr``: what to set, and what to clear."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def change_root(
    root: str, links: Sequence[tuple[str, str]], *, shown: Sequence[str], writable: Sequence[str], tmpfs_bytes: int
) -> None:
    """Make ``root`` the process's root file system, read-only, with nothing left of this machine's own.

    ``links`` are the symbolic links at its top (``/bin`` and the like). Of this machine ``shown`` is there too,
    read-only, and ``writable``, each at its own place; and ``/proc``, ``/sys`` (read-only) and the harmless devices.
    Each of ``/tmp``, ``/var/tmp`` and ``/dev/shm`` is empty and holds ``tmpfs_bytes``.
    """
    _mount("none", "/", flags=_MS_REC | _MS_PRIVATE)
    kept = [(name, os.open(f"{root}/{name}", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)) for name in _READ]
    _tmpfs(root, _ROOT_BYTES, "755")
    os.chdir(root)
    for name, points_to in links:
        os.symlink(points_to, name)
    for name, descriptor in kept:
        # The descriptor still points below the covered folder; its magic link can be bound back.
        _bind(f"/proc/self/fd/{descriptor}", name)
        _protect(name)
        os.close(descriptor)
    for folder in ("proc", "sys", "dev", "tmp", "var/tmp", "run", "root"):
        os.makedirs(folder, exist_ok=True)
    _bind("/proc", "proc", flags=_MS_REC)
    _bind("/sys", "sys")
    _protect("sys")
    for device in _DEVICES:
        _bind(f"/dev/{device}", f"dev/{device}")
    os.makedirs("dev/shm", exist_ok=True)
    for folder in ("tmp", "var/tmp", "dev/shm"):
        _tmpfs(folder, tmpfs_bytes, "1777")
    for path in sorted(shown, key=len):
        _bind(path, path.lstrip("/"))
        _protect(path.lstrip("/"))
    for path in writable:
        _bind(path, path.lstrip("/"))
    _mount("none", ".", flags=_MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)
    _check(_libc.pivot_root(b".", b"."))
    _check(_libc.umount2(b".", _MNT_DETACH))
    os.chdir("/")


def write_protect(*, writable: Sequence[str]) -> None:
    """Let nothing on any disk be written to any more, but ``writable``; ``/dev/shm`` and ``/proc`` stay as they are."""
    for path in writable:
        _mount(path, path, flags=_MS_BIND)
    _set("/", _Attributes(attr_set=_MOUNT_ATTR_RDONLY), recursive=True)
    for path in (*writable, "/proc", *(("/dev/shm",) if os.path.ismount("/dev/shm") else ())):  # noqa: S108 -- ours
        _set(path, _Attributes(attr_clr=_MOUNT_ATTR_RDONLY))


def _bind(source: str, place: str, *, flags: int = 0) -> None:
    if os.path.isdir(source):
        os.makedirs(place, exist_ok=True)
    elif not os.path.exists(place):
        os.makedirs(os.path.dirname(place) or ".", exist_ok=True)
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o644))
    _mount(source, place, flags=_MS_BIND | flags)


def _protect(place: str) -> None:
    _mount("none", place, flags=_MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)


def _tmpfs(place: str, size_bytes: int, mode: str) -> None:
    _mount("tmpfs", place, kind="tmpfs", flags=_MS_NOSUID | _MS_NODEV, options=f"size={size_bytes},mode={mode}")


def _mount(source: str, place: str, *, kind: str | None = None, flags: int = 0, options: str | None = None) -> None:
    as_bytes = [None if part is None else os.fsencode(part) for part in (source, place, kind, options)]
    _check(_libc.mount(as_bytes[0], as_bytes[1], as_bytes[2], flags, as_bytes[3]), place)


def _set(place: str, attributes: _Attributes, *, recursive: bool = False) -> None:
    size, flags = ctypes.sizeof(attributes), _AT_RECURSIVE if recursive else 0
    where, what = ctypes.c_char_p(os.fsencode(place)), ctypes.byref(attributes)
    _check(_libc.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, where, flags, what, ctypes.c_size_t(size)), place)


def _check(result: int, place: str = "") -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), place)
