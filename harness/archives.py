"""Zip archives that others made: looked at before we, or a tool, unpack them.

Nothing is believed that an archive says of itself: names are held to be plain, sizes are counted while it is read.

Sources: PKWARE's APPNOTE.TXT 6.3.10, 4.3.7 (entries), 4.3.14 to 4.3.16 (where the directory lies); inode(7) for modes.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator

#: What a directory may have; Python takes ten times that in memory while it is read. PyTorch's has 1.5 MB.
_DIRECTORY_BYTES = 32 * 2**20
_MOST_NAMES = 200_000
_DEEPEST, _LONGEST, _LONGEST_PART = 50, 1024, 255  # the latter two in bytes, as file systems count
_CHUNK = 2**20

_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_BYTES = 20
_COMMENT_BYTES = 2**16
_KINDS = {0, stat.S_IFREG, stat.S_IFDIR}
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_ENCRYPTED = 0x1


class UnsoundError(Exception):
    """An archive that is damaged, or could do harm; says what is wrong with it."""


@contextlib.contextmanager
def opened(stream: io.FileIO, *, at_most_bytes: int) -> Iterator[zipfile.ZipFile]:
    """The archive; UnsoundError unless it can be unpacked into a folder and leaves nothing outside it.

    Each entry is a file or a folder with a plain name of its own, and all of them say to be no more than
    ``at_most_bytes`` together. Python reads no more of a file than that says, and complains where there is more.
    """
    with _complaints():
        _check_directory(stream)
        with zipfile.ZipFile(stream) as archive:
            _check_entries(archive.infolist(), at_most_bytes)
            yield archive


def read(archive: zipfile.ZipFile, name: str, *, at_most: int) -> bytes:
    """The file called ``name``; UnsoundError where it is not there or has more bytes."""
    with _complaints():
        if archive.getinfo(name).file_size > at_most:
            raise UnsoundError(f"{shown(name)} is larger than {at_most // 2**20} MiB")
        return archive.read(name)


def check_contents(archive: zipfile.ZipFile) -> None:
    """Unpack all of it to nowhere; UnsoundError where a file is damaged or is not as long as it says."""
    with _complaints():
        for entry in archive.infolist():
            with archive.open(entry) as file:
                while file.read(_CHUNK):
                    pass


def plain(name: str) -> bool:
    """Whether ``name`` is a path that stays in the folder it is taken from, and is written in one way only."""
    parts = name.split("/")
    return (
        name.isprintable()
        and "\\" not in name
        and len(name.encode()) <= _LONGEST
        and len(parts) <= _DEEPEST
        and not any(part in {"", ".", ".."} or len(part.encode()) > _LONGEST_PART for part in parts)
    )


def shown(name: str) -> str:
    """A name as it can stand in a message."""
    return repr(name if len(name) <= 200 else f"{name[:200]}…")  # noqa: PLR2004 -- what can be read


@contextlib.contextmanager
def _complaints() -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, ValueError, OverflowError) as error:
        raise UnsoundError(f"it is damaged: {error}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # it points to before its beginning
            raise
        raise UnsoundError("it is damaged: it points outside itself") from error
    except (NotImplementedError, RuntimeError) as error:  # how it is packed, or encrypted
        raise UnsoundError(f"it cannot be read: {error}") from error


def _check_directory(stream: io.FileIO) -> None:
    """UnsoundError where the directory is larger than any that is meant to be read."""
    size = os.fstat(stream.fileno()).st_size
    begin = max(size - _COMMENT_BYTES - _END.size - _LOCATOR_BYTES - _END_64.size, 0)
    stream.seek(begin)
    tail = stream.read(size - begin) or b""
    place = tail.rfind(b"PK\5\6")
    if place < 0:
        raise UnsoundError("it is no zip archive")
    told = _END.unpack_from(tail, place)[5]
    if place >= _LOCATOR_BYTES and tail[place - _LOCATOR_BYTES :].startswith(b"PK\6\7"):
        record = place - _LOCATOR_BYTES - _END_64.size
        if record < 0 or not tail[record:].startswith(b"PK\6\6"):
            raise UnsoundError("its directory is not where it should be")
        told = max(told if told != 2**32 - 1 else 0, _END_64.unpack_from(tail, record)[8])
    if told > _DIRECTORY_BYTES:
        raise UnsoundError(f"its directory is larger than {_DIRECTORY_BYTES // 2**20} MiB")


def _check_entries(entries: list[zipfile.ZipInfo], at_most_bytes: int) -> None:
    if len(entries) > _MOST_NAMES:
        raise UnsoundError(f"it has more than {_MOST_NAMES:,} entries")
    files: set[str] = set()
    folders: set[str] = set()
    for entry in entries:
        name = entry.filename.removesuffix("/")
        if entry.orig_filename != entry.filename or not plain(name):
            raise UnsoundError(f"{shown(entry.orig_filename)} is not a plain name")
        if stat.S_IFMT(entry.external_attr >> 16) not in _KINDS:
            raise UnsoundError(f"{shown(name)} is neither a file nor a folder")
        if entry.flag_bits & _ENCRYPTED or entry.compress_type not in _METHODS:
            raise UnsoundError(f"{shown(name)} is encrypted, or packed in an unusual way")
        if name in files or (name in folders and not entry.is_dir()):
            raise UnsoundError(f"{shown(name)} is there twice")
        (folders if entry.is_dir() else files).add(name)
        parts = name.split("/")
        folders.update("/".join(parts[:count]) for count in range(1, len(parts)))
    both = files & folders
    if both:
        raise UnsoundError(f"{shown(min(both))} is both a file and a folder")
    if sum(entry.file_size for entry in entries) > at_most_bytes:
        raise UnsoundError(f"unpacked, it has more than {at_most_bytes / 2**30:.3g} GiB")
