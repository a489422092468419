"""The one way to read and write files that others made: model folders, wheels, archives, outputs of tools.

No link is followed below the folder that the caller names: every component is opened by its name in the folder
that was opened before it, so nothing can be put in its place meanwhile. Only regular files are read, never more of
them than the caller allows; a pipe, device or socket is refused before it is opened.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from harness import removal
from harness.errors import BadInput, CheckFailure, printable

#: How deep a folder is read, and how many entries of it: a virtual environment with PyTorch has 30,000, 15 deep.
MAX_DEPTH = 200
MAX_ENTRIES = 1_000_000

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_PLACE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

#: File systems whose files are the kernel's answers, not contents: proc, sysfs, debugfs, tracefs, securityfs, cgroups,
#: configfs, BPF. See statfs(2).
_NOT_DISKS = {0x9FA0, 0x62656572, 0x64626720, 0x74726163, 0x73636673, 0x27E0EB, 0x63677270, 0x62656570, 0xCAFE4A11}

_LIBC = ctypes.CDLL(None)
_CHUNK = 2**20
_PATH_MAX = 4096

Kind = Literal["file", "folder", "link", "other"]
Links = Literal["keep", "refuse", "inside"]


def shown(path: object) -> str:
    """``path`` as it can stand in a message: on one line, its middle left out where it is long."""
    text = printable(str(path)).replace("\n", "\\n").replace("\t", "\\t")
    return text if len(text) <= 400 else f"{text[:200]} … {text[-200:]}"  # noqa: PLR2004 -- what can be read


def kind(path: Path | str, *, folder: int | None = None) -> Kind | None:
    """What lies at ``path`` (in the open ``folder``), a link not followed; None where nothing does."""
    with contextlib.suppress(OSError, ValueError):
        return _kind(os.stat(path, dir_fd=folder, follow_symlinks=False).st_mode)
    return None


# --- reading -------------------------------------------------------------------------------------


def read_bytes(path: Path, *, at_most: int, below: Path | None = None, remedy: str = "") -> bytes:
    """The contents of the regular file at ``path``; BadInput where it is none, is missing, or has more bytes.

    ``below`` is a folder on the way to it, of ours or the user's, from which on no link is followed; None: the last
    component alone is not.
    """
    with opened(path, below=below, remedy=remedy) as stream:
        size = os.fstat(stream.fileno()).st_size
        parts: list[bytes] = []
        total = 0
        # A file may be longer than it says (while it is written), so the size is no more than a first guess.
        while size <= at_most and total <= at_most:
            part = stream.read(min(_CHUNK, at_most + 1 - total))
            if not part:
                return b"".join(parts)
            parts.append(part)
            total += len(part)
    raise BadInput(f"is larger than {_amount(at_most)}", file=shown(path), remedy=remedy or "make it smaller")


def read_text(path: Path, *, at_most: int, below: Path | None = None, remedy: str = "") -> str:
    """The same as UTF-8 text; BadInput where it is not."""
    try:
        return read_bytes(path, at_most=at_most, below=below, remedy=remedy).decode("utf-8")
    except UnicodeDecodeError:
        raise BadInput("is not UTF-8 text", file=shown(path), remedy=remedy or "save it as UTF-8") from None


@contextlib.contextmanager
def opened(path: Path, *, below: Path | None = None, remedy: str = "") -> Iterator[io.FileIO]:
    """The regular file at ``path``, open for reading; BadInput as in :func:`read_bytes`."""
    with _parent(path, below, remedy) as folder, _regular(path.name, folder, path, remedy) as stream:
        yield stream


def check_regular(path: Path, *, below: Path | None = None, remedy: str = "") -> os.stat_result:
    """The status of the regular file at ``path``; BadInput as in :func:`read_bytes`."""
    with opened(path, below=below, remedy=remedy) as stream:
        return os.fstat(stream.fileno())


@contextlib.contextmanager
def _parent(path: Path, below: Path | None, remedy: str) -> Iterator[int]:
    """A descriptor of the folder that ``path`` is in, reached from ``below`` without following a link."""
    root = path.parent if below is None else below
    between = () if below is None else path.relative_to(below).parts[:-1]
    if ".." in between or path.name in {"", ".."}:
        raise BadInput("leaves the folder", file=shown(path), remedy=remedy or "give a path inside it")
    descriptor = _open_or_say(os.fspath(root), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, None, path, remedy)
    try:
        for name in between:
            inner = _open_or_say(name, _PLACE | os.O_DIRECTORY, descriptor, path, remedy)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _regular(name: str, folder: int, path: Path, remedy: str = "") -> io.FileIO:
    """The regular file called ``name`` in the open ``folder``."""
    try:
        # Before it is opened: merely opening some devices does something.
        check_kind(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode, path, remedy)
    except (OSError, ValueError) as error:
        _refuse(error, path, remedy)
    descriptor = _open_or_say(name, _FILE, folder, path, remedy)
    try:
        check_kind(os.fstat(descriptor).st_mode, path, remedy)
        if _file_system(descriptor) in _NOT_DISKS:
            raise BadInput("is not a file on a disk", file=shown(path), remedy=remedy or "replace it by a file")
        return io.FileIO(descriptor, closefd=True)
    except BaseException:
        os.close(descriptor)
        raise


def _open_or_say(name: str, flags: int, folder: int | None, path: Path, remedy: str) -> int:
    try:
        return os.open(name, flags, dir_fd=folder)
    except (OSError, ValueError) as error:
        if isinstance(error, NotADirectoryError) and kind(name, folder=folder) == "link":
            raise BadInput(
                f"the folder {shown(name)} is a link",
                file=shown(path),
                remedy=remedy or "replace it by the folder that it points to",
            ) from None
        _refuse(error, path, remedy)


def check_kind(mode: int, path: Path, remedy: str = "") -> None:
    """BadInput where ``mode`` is not of a regular file."""
    if not stat.S_ISREG(mode):
        link = "replace it by the file that it points to" if stat.S_ISLNK(mode) else "replace it by a file"
        raise BadInput(f"is {_what(mode)}, not a file", file=shown(path), remedy=remedy or link)


def _what(mode: int) -> str:
    names = {
        stat.S_IFLNK: "a link",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return names.get(stat.S_IFMT(mode), "something else")


def _refuse(error: OSError | ValueError, path: Path, remedy: str) -> NoReturn:
    """What the system said about a path, as BadInput."""
    said = {
        errno.ENOENT: "there is no such file",
        errno.ELOOP: "is a link, not a file",
        errno.ENOTDIR: "is not a folder",
        errno.ENXIO: "is a socket or device, not a file",
        errno.ENAMETOOLONG: "has too long a name",
    }
    number = error.errno if isinstance(error, OSError) else None  # ValueError: a NUL or a half of a character
    problem = said.get(number or 0) or f"cannot be read: {getattr(error, 'strerror', None) or error}"
    raise BadInput(problem, file=shown(path), remedy=remedy or "make it a file that can be read") from None


def _file_system(descriptor: int) -> int:
    """The magic number of the file system: the first field of fstatfs(2), which Python does not give."""
    answer = (ctypes.c_long * 64)()
    return int(answer[0]) if _LIBC.fstatfs(descriptor, answer) == 0 else 0


def _amount(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB" if size >= 2**20 else f"{size:,} bytes"


# --- walking -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing below a folder that is walked; it can be opened until the next one is asked for."""

    path: Path
    relative: Path
    kind: Kind
    status: os.stat_result
    parent: int  #: a descriptor of the folder that it is in

    def open(self) -> io.FileIO:
        """The regular file, open for reading; BadInput where it is something else (by now)."""
        return _regular(self.path.name, self.parent, self.path)

    def target(self) -> str:
        """What the link says."""
        try:
            return os.readlink(self.path.name, dir_fd=self.parent)
        except OSError as error:
            _refuse(error, self.path, "")

    @property
    def what(self) -> str:
        """What it is, as a message says it."""
        return _what(self.status.st_mode)


def walk(
    folder: Path, *, below: Path | None = None, max_depth: int = MAX_DEPTH, max_entries: int = MAX_ENTRIES
) -> Iterator[Entry]:
    """All that is below ``folder``: in each folder the files first, then its folders, each before what is in it.

    Sorted by name. No link is followed but ``folder`` itself, and that neither where ``below`` is given, which is as
    in :func:`read_bytes`. BadInput where it is nested deeper, holds more entries, cannot be read, or changes meanwhile.
    """
    remedy = "give a folder that can be read, and let nothing write to it meanwhile"
    if below is None or folder == below:
        top = _open_or_say(os.fspath(folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, None, folder, remedy)
    else:
        with _parent(folder, below, "") as parent:
            top = _open_or_say(folder.name, _FOLDER, parent, folder, "")
    # Descriptors of the folders that are open, and the entries in each that are still to come, the next one last.
    levels: list[tuple[int, list[tuple[str, os.stat_result]]]] = [(top, [])]
    count = 0
    try:
        levels[-1] = (top, _listed(top, folder, max_entries, remedy))
        at, relative = folder, Path()
        while levels:
            descriptor, waiting = levels[-1]
            if not waiting:
                levels.pop()
                os.close(descriptor)
                at, relative = at.parent, relative.parent
                continue
            name, status = waiting.pop()
            count += 1
            if count > max_entries:
                raise BadInput(f"holds more than {max_entries:,} entries", file=shown(folder), remedy="make it smaller")
            path = at / name
            entry = Entry(
                path=path, relative=relative / name, kind=_kind(status.st_mode), status=status, parent=descriptor
            )
            yield entry
            if entry.kind == "folder":
                if len(levels) > max_depth:
                    raise BadInput(
                        f"holds folders nested more than {max_depth} deep", file=shown(folder), remedy="flatten it"
                    )
                inner = _open_or_say(name, _FOLDER, descriptor, path, remedy)
                levels.append((inner, []))
                levels[-1] = (inner, _listed(inner, path, max_entries - count, remedy))
                at, relative = path, relative / name
    finally:
        for descriptor, _ in levels:
            os.close(descriptor)


def taken(folder: Path, *, at_most: int) -> int:
    """The bytes on the disk of all files below ``folder``; counted no further than where they are more than at most."""
    total = 0
    for entry in walk(folder):
        total += entry.status.st_blocks * 512
        if total > at_most:
            break
    return total


def _listed(folder: int, path: Path, at_most: int, remedy: str) -> list[tuple[str, os.stat_result]]:
    """What is in the open folder, in reverse of the order in which it is walked."""
    found: list[tuple[str, os.stat_result]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if len(found) > at_most:
                    break  # the walk counts, and says so
                found.append((entry.name, entry.stat(follow_symlinks=False)))
    except OSError as error:
        _refuse(error, path, remedy)
    return sorted(found, key=lambda one: (stat.S_ISDIR(one[1].st_mode), one[0]), reverse=True)


def _kind(mode: int) -> Kind:
    kinds: dict[int, Kind] = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
    return kinds.get(stat.S_IFMT(mode), "other")


# --- writing -------------------------------------------------------------------------------------


def write_whole(path: Path, data: bytes | str) -> None:
    """Put a file with ``data`` at ``path``, wholly or not at all; a link there is replaced, never written through.

    BadInput where its folder is not there, or cannot be written to.
    """
    name = f".{path.name[:100]}.{os.urandom(6).hex()}.part"
    try:
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        remedy = "make its folder, or name another"
        raise BadInput(f"cannot be written: {said}", file=shown(path), remedy=remedy) from None
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with io.FileIO(os.open(name, flags, 0o600, dir_fd=folder), "wb", closefd=True) as raw:
            try:
                with io.BufferedWriter(raw) as stream:
                    stream.write(data.encode() if isinstance(data, str) else data)
                    os.fchmod(raw.fileno(), 0o644)
                os.rename(name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=folder)
                raise
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise BadInput(
            f"cannot be written: {error.strerror}", file=shown(path), remedy="make room for a file there"
        ) from None
    finally:
        os.close(folder)


def remove(path: Path, *, ignore_errors: bool = False) -> None:
    """Remove the file, link or folder, whatever is in it; it need not be there. CheckFailure where something stays."""
    stays = removal.remove(os.fspath(path))
    if stays and not ignore_errors:
        raise CheckFailure(
            f"{shown(path)} cannot be removed: {shown(stays[0].filename)}: {stays[0].strerror}",
            remedy="see whose it is, and whether something is mounted there; remove it by hand",
        )


def give(folder: Path, user_id: int) -> None:
    """Give ``folder`` and all that is in it to a user and the group of the same number; links are not followed."""
    os.chown(folder, user_id, user_id, follow_symlinks=False)
    for entry in walk(folder):
        os.chown(entry.path.name, user_id, user_id, dir_fd=entry.parent, follow_symlinks=False)


def take_back(folder: Path, *, at_most_bytes: int, links: Links = "keep") -> None:
    """Make ours what others wrote into ``folder``: our owner, modes 755 and 644, no setuid.

    CheckFailure, naming it, for what is not a file, folder or link; for a link where they are refused or, with
    ``inside``, where it leads out of the folder; where all of it takes more than ``at_most_bytes`` on the disk.
    """
    try:
        _take_back(folder, at_most_bytes, links)
    except OSError as error:
        raise CheckFailure(
            f"{shown(folder)} cannot be taken back: {shown(error.filename)}: {error.strerror}",
            remedy="let nothing write there meanwhile",
        ) from error


def _take_back(folder: Path, at_most_bytes: int, links: Links) -> None:
    seen: set[tuple[int, int]] = set()
    taken = 0
    _own(os.fspath(folder), None, 0o755)
    for entry in walk(folder):
        status = entry.status
        if entry.kind == "other":
            raise CheckFailure(
                f"{shown(entry.path)} is {entry.what}", remedy="only files, folders and links may be left"
            )
        if entry.kind == "link":
            if links == "refuse" or (links == "inside" and _leads_out(entry, folder)):
                raise CheckFailure(
                    f"{shown(entry.path)} is a link" + (" that leaves the folder" if links == "inside" else ""),
                    remedy=f"it leads to {shown(entry.target())}; write a file instead",
                )
            os.chown(entry.path.name, os.geteuid(), os.getegid(), dir_fd=entry.parent, follow_symlinks=False)
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue  # a further name of a file that is ours by now
        seen.add((status.st_dev, status.st_ino))
        executable = entry.kind == "folder" or status.st_mode & 0o100
        _own(entry.path.name, entry.parent, 0o755 if executable else 0o644)
        taken += status.st_blocks * 512
        if taken > at_most_bytes:
            raise CheckFailure(
                f"{shown(folder)} holds more than the {_amount(at_most_bytes)} that are allowed",
                remedy="write less, or allow more",
            )


def _own(name: str, folder: int | None, mode: int) -> None:
    """Give what is at ``name`` our owner and ``mode``, through a descriptor: a link is not followed.

    Not one for reading: its owner may have taken that right from the file.
    """
    place = os.open(name, _PLACE, dir_fd=folder)
    try:
        if stat.S_ISLNK(os.fstat(place).st_mode):
            raise CheckFailure(f"{shown(name)} is a link", remedy="let nothing write there meanwhile")
        os.chown(f"/proc/self/fd/{place}", os.geteuid(), os.getegid())
        os.chmod(f"/proc/self/fd/{place}", mode)
    finally:
        os.close(place)


def _leads_out(entry: Entry, folder: Path) -> bool:
    written = os.path.join(entry.path.parent, entry.target())
    if len(os.fsencode(written)) >= _PATH_MAX:
        return True  # nobody can follow it, so nobody can say
    inside = os.path.realpath(folder)
    return os.path.commonpath([inside, os.path.realpath(written)]) != inside
