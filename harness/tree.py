"""Folders as values: their digest, their size, and archives of them that are the same every time.

No link is followed and nothing but regular files is read, as :mod:`harness.files` has it: a pipe, socket or device
is refused with CheckFailure, which names it.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import io
import os
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from harness import files as reading
from harness.errors import BadInput, CheckFailure
from harness.files import Entry, shown

#: The date of every entry of an archive, 1980-01-01: the earliest that zip can hold as well.
FIXED_DATE = 315532800

#: What an archive may unpack to where the caller does not say.
LARGEST_UNPACKED = 64 * 2**30
#: The most that is read of an archive at once. Contents are read in smaller pieces; only a header can ask for more.
_LARGEST_HEADER = 16 * 2**20


def files(folder: Path) -> Iterator[Path]:
    """All that is below ``folder`` but folders, in sorted order; nothing where there is no such folder."""
    if folder.is_dir():
        for entry in reading.walk(folder):
            if entry.kind != "folder":
                yield entry.path


def _entries(folder: Path) -> Iterator[Entry]:
    """The files and links below ``folder``, ready to be opened; CheckFailure for anything else."""
    for entry in reading.walk(folder):
        if entry.kind == "other":
            raise CheckFailure(f"{shown(entry.path)} is {entry.what}", remedy="remove it")
        if entry.kind != "folder":
            yield entry


def sha256(file: Path) -> str:
    """The digest of a file's contents."""
    with reading.opened(file) as stream:
        return _hashed(stream)


def _hashed(stream: io.FileIO) -> str:
    return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(folder: Path) -> str:
    """One digest of names, contents, link targets and executable bits; dates and owners don't count."""
    total = hashlib.sha256()
    for entry in _entries(folder):
        name = entry.relative.as_posix()
        if entry.kind == "link":
            said = f"link\0{name}\0{entry.target()}"
        else:
            with entry.open() as stream:
                said = f"file\0{name}\0{_hashed(stream)}\0{bool(entry.status.st_mode & 0o100)}"
        total.update(os.fsencode(said) + b"\n")
    return total.hexdigest()


def size(*places: Path) -> tuple[int, int]:
    """Apparent bytes and number of files below these folders (or of the files themselves); hard links count once.

    Nothing is opened but folders: a pipe or a socket is one more file, without bytes.
    """
    seen: set[tuple[int, int]] = set()
    total = 0
    for place in places:
        entries = (entry.status for entry in reading.walk(place) if entry.kind != "folder")
        for status in entries if place.is_dir() else [place.lstat()]:
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_size
    return total, len(seen)


def pieces(*files: Path) -> dict[str, int]:
    """The bytes of each file by its digest: what must travel to who has none of them."""
    return {f"sha256:{sha256(file)}": file.stat().st_size for file in files}


# --- copies --------------------------------------------------------------------------------------


def copy(
    source: Path, target: Path, *, keep: Callable[[Path], bool] = lambda _: True, at_most_bytes: int | None = None
) -> None:
    """Copy the files below ``source`` for which ``keep(relative path)`` holds; readable by all, dates fixed.

    CheckFailure for a link or anything else that is not a file (what a link points to need not be there where the
    copy is used), and where the files have more bytes than ``at_most_bytes``, holes counted. Holes stay holes. What is
    in the way in ``target`` is replaced, never written through; a link there to a folder is refused.
    """
    target.mkdir(parents=True, exist_ok=True)
    total = 0
    with contextlib.closing(_Target(target)) as made:
        for entry in reading.walk(source):
            if entry.kind == "folder" or not keep(entry.relative):
                continue
            if entry.kind == "link":
                raise CheckFailure(f"{shown(entry.path)} is a link", remedy="replace it by the file that it points to")
            if entry.kind == "other":
                raise CheckFailure(f"{shown(entry.path)} is {entry.what}", remedy="remove it")
            total += entry.status.st_size
            if at_most_bytes is not None and total > at_most_bytes:
                raise CheckFailure(
                    f"the files in {shown(source)} have more than {at_most_bytes:,} bytes: {shown(entry.relative)} "
                    f"has {entry.status.st_size:,}",
                    remedy="make them smaller",
                )
            with entry.open() as stream, made.file(entry.relative) as written:
                _copy_contents(stream.fileno(), written.fileno(), entry.status.st_size)
                os.fchmod(written.fileno(), 0o755 if entry.status.st_mode & 0o100 else 0o644)
                os.utime(written.fileno(), (FIXED_DATE, FIXED_DATE))


def copy_file(source: Path, target: Path, *, below: Path | None = None) -> None:
    """Copy one file to where none is yet, as :func:`copy` does; ``below`` as in :func:`harness.files.read_bytes`."""
    with reading.opened(source, below=below) as stream, target.open("xb", buffering=0) as written:
        _copy_contents(stream.fileno(), written.fileno(), os.fstat(stream.fileno()).st_size)
        os.fchmod(written.fileno(), 0o644)


class _Target:
    """A folder that files are written into; every folder on the way is opened as it is, not as a link says."""

    def __init__(self, folder: Path) -> None:
        self._path = folder
        self._top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._last, self._last_path = self._top, Path()
        os.fchmod(self._top, 0o755)

    def close(self) -> None:
        """Let go of the folders."""
        if self._last != self._top:
            os.close(self._last)
        os.close(self._top)

    def file(self, relative: Path) -> io.FileIO:
        """A new file there, open for writing."""
        folder = self._folder(relative.parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            try:
                made = os.open(relative.name, flags, 0o600, dir_fd=folder)
            except FileExistsError:
                os.unlink(relative.name, dir_fd=folder)
                made = os.open(relative.name, flags, 0o600, dir_fd=folder)
            return io.FileIO(made, "wb")
        except OSError as error:
            _in_the_way(error, self._path / relative)
            raise

    def _folder(self, relative: Path) -> int:
        """A descriptor of the folder, which is made where it is not there; the last one is kept for the next file."""
        if relative != self._last_path:
            here = self._top
            try:
                for name in relative.parts:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, 0o755, dir_fd=here)
                    inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
                    if here != self._top:
                        os.close(here)
                    here = inner
                    os.fchmod(here, 0o755)
            except OSError as error:
                if here != self._top:
                    os.close(here)
                _in_the_way(error, self._path / relative)
                raise
            if self._last != self._top:
                os.close(self._last)
            self._last, self._last_path = here, relative
        return self._last


def _in_the_way(error: OSError, place: Path) -> None:
    if error.errno in {errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.EPERM, errno.EEXIST}:
        raise CheckFailure(
            f"{shown(place)} cannot be written: something else is in the way ({error.strerror})",
            remedy="a tool, or the model, put a link or a folder where a file belongs; remove it",
        ) from error


def _copy_contents(source: int, target: int, size: int) -> None:
    """Copy ``size`` bytes at most, without what is a hole."""
    position = 0
    while position < size:
        try:
            begin = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # all the rest is a hole
                break
            raise
        position = min(os.lseek(source, begin, os.SEEK_HOLE), size)
        os.lseek(target, begin, os.SEEK_SET)
        while begin < position and (sent := os.sendfile(target, source, begin, min(position - begin, 2**30))):
            begin += sent
    os.ftruncate(target, size)


# --- archives ------------------------------------------------------------------------------------


def pack(folder: Path, archive: Path, *, compression: int = 6) -> None:
    """Write ``folder`` as a ``.tar.gz`` whose bytes depend on the contents alone. It appears whole or not at all."""
    unfinished = archive.with_name(archive.name + ".part")
    with (
        unfinished.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=compression, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        # Two names of one file are two files, wherever it is packed.
        for entry in _entries(folder):
            member = tarfile.TarInfo(entry.relative.as_posix())
            member.mtime = FIXED_DATE
            member.mode = 0o755 if entry.status.st_mode & 0o100 or entry.kind == "link" else 0o644
            if entry.kind == "link":
                member.type, member.linkname = tarfile.SYMTYPE, entry.target()
                tar.addfile(member)
                continue
            with entry.open() as stream:
                member.size = os.fstat(stream.fileno()).st_size
                try:
                    tar.addfile(member, stream)
                except OSError as error:
                    if error.errno is not None:
                        raise
                    raise CheckFailure(  # tarfile's own error: there was less than the file said
                        f"{shown(entry.path)} became shorter while it was read", remedy="let nothing write to it"
                    ) from error
    unfinished.replace(archive)


def unpack(archive: Path, target: Path, *, at_most_bytes: int = LARGEST_UNPACKED) -> None:
    """Unpack what :func:`pack` wrote; no member is written outside ``target``, not even through a link.

    Links themselves may point outside: a virtual environment's do, to its interpreter. CheckFailure where the
    archive is damaged, holds anything but files, folders and symbolic links, or more than ``at_most_bytes``.
    """
    target.mkdir(parents=True, exist_ok=True)
    target.chmod(0o755)
    try:
        with (
            reading.opened(archive) as raw,
            gzip.GzipFile(fileobj=raw, mode="rb") as zipped,
            tarfile.open(fileobj=BoundedArchive(zipped), mode="r:") as tar,
        ):
            tar.extractall(target, members=_harmless(tar, target, at_most_bytes))  # noqa: S202 -- checked one by one
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, BadInput, RecursionError) as error:
        raise CheckFailure(f"{archive} is damaged: {error}", remedy="delete it; it is made again") from error
    except OSError as error:
        if error.errno not in {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP}:
            raise
        raise CheckFailure(f"{archive} is damaged: {error.strerror}", remedy="delete it; it is made again") from error
    for entry in reading.walk(target):
        if stat.S_ISDIR(entry.status.st_mode):
            entry.path.chmod(0o755)


class BoundedArchive(io.BufferedReader):
    """An archive that is unzipped as it is read; a header that claims to be huge is refused before it is read."""

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file."""
        if size is None or not 0 <= size <= _LARGEST_HEADER:
            raise tarfile.ReadError("a header of it is too large")
        return super().read(size)


def _harmless(tar: tarfile.TarFile, target: Path, at_most_bytes: int) -> Iterator[tarfile.TarInfo]:
    """The members, each checked just before it is written, when the links that came before it are there."""
    inside = os.path.realpath(target)
    total = 0
    for number, member in enumerate(tar):
        place = os.path.join(inside, member.name)
        written = os.path.realpath(os.path.dirname(place) if member.issym() else place)
        # A hard link's target would be written through; a sparse file takes no room here, and as much as it says there.
        plain = (member.isreg() and not member.issparse()) or member.isdir() or member.issym()
        if not plain or os.path.commonpath([inside, written]) != inside:
            raise tarfile.ExtractError(f"{shown(member.name)} leaves the folder that it is unpacked to")
        # No more is written of a member than it says, so its word can be taken.
        total += member.size
        if total > at_most_bytes or number >= reading.MAX_ENTRIES or member.name.count("/") > reading.MAX_DEPTH:
            raise tarfile.ExtractError("it holds too much, too many files, or folders nested too deeply")
        member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
        member.uid, member.gid, member.uname, member.gname = os.geteuid(), os.getegid(), "", ""
        yield member
