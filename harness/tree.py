"""Folders as values: their digest, their size, and archives of them that are the same every time."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.errors import CheckFailure

#: The date of every entry of an archive, 1980-01-01: the earliest that zip can hold as well.
FIXED_DATE = 315532800


def files(folder: Path) -> Iterator[Path]:
    """Every file and link below ``folder``, in sorted order."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted([*names, *(d for d in folders if os.path.islink(os.path.join(parent, d)))]):
            yield Path(parent, name)


def sha256(file: Path) -> str:
    """The digest of a file's contents."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(folder: Path) -> str:
    """One digest of names, contents, link targets and executable bits; dates and owners don't count."""
    total = hashlib.sha256()
    for file in files(folder):
        name = file.relative_to(folder).as_posix()
        if file.is_symlink():
            entry = f"link\0{name}\0{os.readlink(file)}"
        else:
            executable = bool(file.stat().st_mode & 0o100)
            entry = f"file\0{name}\0{sha256(file)}\0{executable}"
        total.update(entry.encode() + b"\n")
    return total.hexdigest()


def size(*places: Path) -> tuple[int, int]:
    """Apparent bytes and number of files below these folders (or of the files themselves); hard links count once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for place in places:
        for file in files(place) if place.is_dir() else [place]:
            status = file.lstat()
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_size
    return total, len(seen)


def pieces(*files: Path) -> dict[str, int]:
    """The bytes of each file by its digest: what must travel to who has none of them."""
    return {f"sha256:{sha256(file)}": file.stat().st_size for file in files}


def copy(source: Path, target: Path, *, keep: Callable[[Path], bool] = lambda _: True) -> None:
    """Copy the files below ``source`` for which ``keep(relative path)`` holds; readable by all, dates fixed.

    A link is refused with CheckFailure: what it points to need not be there where the copy is used.
    """
    target.mkdir(parents=True, exist_ok=True)
    for file in files(source):
        relative = file.relative_to(source)
        if not keep(relative):
            continue
        if file.is_symlink():
            raise CheckFailure(f"{file} is a link", remedy="replace it by the file that it points to")
        place = target / relative
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
        place.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
        os.utime(place, (FIXED_DATE, FIXED_DATE))
    for parent, _, _ in os.walk(target):
        os.chmod(parent, 0o755)


def pack(folder: Path, archive: Path, *, compression: int = 6) -> None:
    """Write ``folder`` as a ``.tar.gz`` whose bytes depend on the contents alone. It appears whole or not at all."""
    unfinished = archive.with_name(archive.name + ".part")
    with (
        unfinished.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=compression, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for file in files(folder):
            # Two names of one file are two files, wherever it is packed (the attribute is not in the type stubs).
            tar.inodes.clear()  # type: ignore[attr-defined]
            entry = tar.gettarinfo(file, arcname=file.relative_to(folder).as_posix())
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = FIXED_DATE
            entry.mode = 0o755 if entry.mode & 0o100 or entry.issym() else 0o644
            if entry.isreg():
                with file.open("rb") as stream:
                    tar.addfile(entry, stream)
            else:
                tar.addfile(entry)
    unfinished.replace(archive)


def unpack(archive: Path, target: Path) -> None:
    """Unpack what :func:`pack` wrote; no member is written outside ``target``, not even through a link.

    Links themselves may point outside: a virtual environment's do, to its interpreter. CheckFailure where the
    archive is damaged, or holds anything but files, folders and symbolic links.
    """
    target.mkdir(parents=True, exist_ok=True)
    target.chmod(0o755)
    try:
        with tarfile.open(archive, mode="r:gz") as tar:
            # Python 3.11 has filters since 3.11.4 only, and Debian's is 3.11.2.
            safe: dict[str, Any] = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
            tar.extractall(target, members=_staying_inside(tar, target), **safe)  # noqa: S202 -- checked one by one
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CheckFailure(f"{archive} is damaged: {error}", remedy="delete it; it is made again") from error
    for parent, _, _ in os.walk(target):
        os.chmod(parent, 0o755)


def _staying_inside(tar: tarfile.TarFile, target: Path) -> Iterator[tarfile.TarInfo]:
    """The members, each checked just before it is written, when the links that came before it are there."""
    inside = os.path.realpath(target)
    for member in tar:
        place = os.path.join(inside, member.name)
        written = os.path.realpath(os.path.dirname(place) if member.issym() else place)
        # A hard link's target would be written through.
        if not (member.isreg() or member.isdir() or member.issym()) or os.path.commonpath([inside, written]) != inside:
            raise tarfile.ExtractError(f"{member.name} leaves the folder that it is unpacked to")
        yield member
