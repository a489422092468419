"""What one process and its children find of this machine's files: a root file system put together for them alone.

Nothing is there but what is listed: the system's programs and libraries (or another system's), the folders that the
process is shown, read-only, and those that it may write to; ``/proc``, harmless devices, and empty folders in memory
where programs expect to write. All of it is mounted between fork and exec, by system calls only, in a mount namespace
of the process's own, and is gone with the last process in there.

Sources: mount(2), mount_setattr(2), pivot_root(2) ("pivot_root(".", ".")", which needs no folder for the old root),
mount_namespaces(7) for what an ordinary user's namespace may do.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_NOATIME = 0x2, 0x4, 0x8, 0x400
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_MNT_DETACH = 2
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_RDONLY, _NOSUID, _NODEV = 0x1, 0x2, 0x4
_SYS_MOUNT_SETATTR = 442  # the same number on every architecture, since Linux 5.12

#: Where the new root is put together; what lay below is still reached by descriptors that were opened before.
_SITE = "/tmp"  # noqa: S108 -- mounted over, not used
_SCRATCH = ("tmp", "var/tmp", "run", "dev/shm")
_ALL_SCRATCH = "scratch"
_DEVICES = ("null", "zero", "full", "random", "urandom")
_DEVICE_LINKS = (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"))
_ROOT_BYTES, _EMPTY_BYTES = 16 * 2**20, 4096  # for the folders in which things are mounted

#: Folders of this machine that have programs and libraries, and nothing of anybody's own.
_SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix/store", "gnu/store")
#: What of /etc programs need to find libraries, names, time zones, certificates and fonts. The rest is this machine's
#: own affair: pip.conf may hold a token.
_SETTINGS = (
    *("alternatives", "debian_version", "fonts", "group", "host.conf", "hosts", "ImageMagick-6", "ld.so.cache"),
    *("ld.so.conf", "ld.so.conf.d", "localtime", "lsb-release", "machine-id", "magic", "mime.types", "nsswitch.conf"),
    *("OpenCL", "os-release", "passwd", "pki", "protocols", "services", "ssl/certs", "ssl/openssl.cnf", "timezone"),
)

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


@dataclass(frozen=True, kw_only=True)
class View:
    """A root file system, listed before the fork.

    ``links`` are symbolic links at its top, by name. ``shown`` and ``writable`` say what lies at which place in it,
    without the leading slash. ``scratch_bytes`` is what ``/tmp``, ``/var/tmp``, ``/run`` and ``/dev/shm`` hold
    together; without ``scratch`` only the last is there.
    """

    links: tuple[tuple[str, str], ...]
    shown: tuple[tuple[str, str], ...]
    writable: tuple[tuple[str, str], ...]
    scratch_bytes: int
    scratch: bool = True

    def enter(self) -> None:
        """Make it the root of the calling process, which has mount and process namespaces of its own already."""
        _mount("none", "/", flags=_MS_REC | _MS_PRIVATE)
        # By descriptors: what lies below the site is not seen once that is mounted over.
        ours = [(place, os.open(source, os.O_PATH)) for source, place in (*self.shown, *self.writable)]
        devices = [(f"dev/{name}", os.open(f"/dev/{name}", os.O_PATH)) for name in _DEVICES]
        kernel = os.open("/sys", os.O_PATH)
        _tmpfs(_SITE, _ROOT_BYTES, "755")
        os.chdir(_SITE)
        for folder in ("proc", "sys", "root", "dev", *_SCRATCH):
            os.makedirs(folder, 0o755, exist_ok=True)
        for name, points_to in (*self.links, *((f"dev/{name}", to) for name, to in _DEVICE_LINKS)):
            os.symlink(points_to, name)
        self._mount_scratch()
        writable = {place for _, place in self.writable}
        for place, descriptor in sorted(ours, key=lambda one: one[0].count("/")):
            _bind(descriptor, place)
            _restrict(place, _NOSUID | _NODEV | (0 if place in writable else _RDONLY))
        for place, descriptor in devices:
            _bind(descriptor, place)
        _bind(kernel, "sys")
        _tmpfs("sys/fs/cgroup", _EMPTY_BYTES, "755")  # it names the groups of everybody else
        _restrict("sys", _RDONLY | _NOSUID | _NODEV)
        _mount("proc", "proc", kind="proc", flags=_MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
        _restrict(".", _RDONLY | _NOSUID | _NODEV, recursive=False)
        _check(_libc.pivot_root(b".", b"."))
        _check(_libc.umount2(b".", _MNT_DETACH))
        os.chdir("/")

    def _mount_scratch(self) -> None:
        """One file system in memory, and in it one folder for each place that anybody may write to."""
        os.mkdir(_ALL_SCRATCH)
        _tmpfs(_ALL_SCRATCH, self.scratch_bytes, "755")
        for place in _SCRATCH if self.scratch else ("dev/shm",):
            folder = f"{_ALL_SCRATCH}/{place.replace('/', '-')}"
            os.mkdir(folder)
            os.chmod(folder, 0o1777)
            _bind(os.open(folder, os.O_PATH), place)
        _check(_libc.umount2(os.fsencode(_ALL_SCRATCH), _MNT_DETACH))
        os.rmdir(_ALL_SCRATCH)


def of_this_machine(
    *, shown: Iterable[Path], writable: Iterable[Path], scratch_bytes: int, scratch: bool = True
) -> View:
    """A view of this machine's own programs and settings, with ``shown`` and ``writable`` folders where they are."""
    links, system = [], []
    for name in _SYSTEM:
        place = Path("/", name)
        if place.is_symlink():
            links.append((name, os.readlink(place)))
        elif place.is_dir():
            system.append((str(place), name))
    system += [(f"/etc/{name}", f"etc/{name}") for name in _SETTINGS if Path("/etc", name).exists()]
    return _view(links, system, shown, writable, scratch_bytes, scratch)


def of_system(
    root: Path, *, shown: Iterable[Path], writable: Iterable[Path], scratch_bytes: int, scratch: bool = True
) -> View:
    """A view of the system whose root file system is the folder ``root``: its ``/usr`` and ``/etc``."""
    links = [(path.name, os.readlink(path)) for path in sorted(root.iterdir()) if path.is_symlink()]
    system = [(str(root / name), name) for name in ("usr", "etc")]
    return _view(links, system, shown, writable, scratch_bytes, scratch)


def _view(
    links: Iterable[tuple[str, str]],
    system: Iterable[tuple[str, str]],
    shown: Iterable[Path],
    writable: Iterable[Path],
    scratch_bytes: int,
    scratch: bool,
) -> View:
    given = tuple(system)
    there = [place for _, place in given if not place.startswith("etc/")]
    to_write = sorted({str(path).lstrip("/") for path in writable})
    more: list[str] = []
    # The shorter first: what lies in a folder that is shown needs no mount of its own, except to be written to.
    for place in sorted({str(one).lstrip("/") for path in shown for one in (path, path.resolve())}, key=len):
        if not any(place == above or place.startswith(f"{above}/") for above in (*there, *more, *to_write)):
            more.append(place)
    return View(
        links=tuple(links),
        shown=(*given, *((f"/{place}", place) for place in more)),
        writable=tuple((f"/{place}", place) for place in to_write),
        scratch_bytes=scratch_bytes,
        scratch=scratch,
    )


def detach_below(folder: Path) -> None:
    """Unmount every file system that is mounted at ``folder`` or below it, the last first."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        places = [line.split()[4].encode("utf-8", "surrogateescape").decode("unicode_escape") for line in file]
    top = str(folder)
    for place in reversed(places):
        if place == top or place.startswith(f"{top}/"):
            _libc.umount2(os.fsencode(place), _MNT_DETACH)


def attach(device: str, place: Path, *, kind: str, options: str) -> None:
    """Mount a file system of ``kind`` at ``place``, without devices or setuid programs."""
    _mount(device, str(place), kind=kind, flags=_MS_NOSUID | _MS_NODEV | _MS_NOATIME, options=options)


def _bind(source: int, place: str) -> None:
    if stat.S_ISDIR(os.fstat(source).st_mode):
        os.makedirs(place, 0o755, exist_ok=True)
    elif not os.path.lexists(place):
        os.makedirs(os.path.dirname(place) or ".", 0o755, exist_ok=True)
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o644))
    # The descriptor still points below what was mounted over; its magic link can be bound back.
    _mount(f"/proc/self/fd/{source}", place, flags=_MS_BIND | _MS_REC)
    os.close(source)


def _tmpfs(place: str, size_bytes: int, mode: str) -> None:
    _mount("tmpfs", place, kind="tmpfs", flags=_MS_NOSUID | _MS_NODEV, options=f"size={size_bytes},mode={mode}")


def _restrict(place: str, attributes: int, *, recursive: bool = True) -> None:
    wanted = _Attributes(attr_set=attributes)
    size, flags = ctypes.sizeof(wanted), _AT_RECURSIVE if recursive else 0
    where, what = ctypes.c_char_p(os.fsencode(place)), ctypes.byref(wanted)
    _check(_libc.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, where, flags, what, ctypes.c_size_t(size)), place)


def _mount(source: str, place: str, *, kind: str | None = None, flags: int = 0, options: str | None = None) -> None:
    as_bytes = [None if part is None else os.fsencode(part) for part in (source, place, kind, options)]
    _check(_libc.mount(as_bytes[0], as_bytes[1], as_bytes[2], flags, as_bytes[3]), place)


def _check(result: int, place: str = "") -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), place)
