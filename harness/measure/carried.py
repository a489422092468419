"""What an artifact carries and what it leaves to its target, read from its files once it is built.

A folder is walked. A PEX or another zip, and the one file of PyInstaller, are looked into member by member. An image
brings a system along: it needs an engine and a processor, and no more.
"""

from __future__ import annotations

import io
import json
import os
import platform
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from packaging.utils import parse_wheel_filename

from harness import ceiling, files, paths
from harness.errors import BadInput
from harness.measure.needs import Closure, word
from harness.methods.contract import Artifact, Method
from harness.spec import native, reading
from harness.spec.kinds import Count, Word
from harness.spec.native import Native, Unread

#: Whose Python it runs under: its own; the target's, at one path; any that suits its packages; that of the system that
#: it brings along; or the one of a cloud's platform.
Python = Literal["own", "at", "any", "system", "platform"]
_CLOUDS = frozenset({"aws", "google-cloud", "azure"})

_TEXT_BYTES = 2**20
_REQUIRES = re.compile(r"(?mi)^Requires-Python:(.+)$")
_MOST_LINKS = 8
#: PyInstaller's archive at the end of its bootloader: ``PyInstaller/archive/readers.py``, format of version 6.
_COOKIE, _ENTRY = struct.Struct("!8sIIII64s"), struct.Struct("!IIIIBc")
_MAGIC = b"MEI\014\013\012\013\016"
_TAIL = 2**16
_MOST_TABLE = 64 * 2**20
_CHUNK = 2**20


@dataclass(frozen=True, kw_only=True)
class Left:
    """A library that the artifact leaves to its target; ``loaded`` None: not known whether a start needs it."""

    __pydantic_config__ = reading.STRICT

    soname: Word
    needed_by: Word
    loaded: bool | None


@dataclass(frozen=True, kw_only=True)
class Carried:
    """What is read from an artifact's files: see :class:`harness.measure.needs.Needs` for the versions.

    ``python`` says whose Python it runs under. ``path`` is where that has to be (``at``), ``wheels`` are the tags of
    the wheels that have to suit it and ``requires`` their ``Requires-Python`` (``any``). ``unread`` are files that make
    no sense, or why nothing could be looked into.
    """

    __pydantic_config__ = reading.STRICT

    machine: Word
    python: Python
    path: Word = ""
    wheels: tuple[Word, ...] = ()
    requires: tuple[Word, ...] = ()
    level: Count = 0
    glibc: Word = ""
    libstdcxx: Word = ""
    libraries: tuple[Left, ...] = ()
    native_files: Count = 0
    unread: tuple[Word, ...] = ()


def of_artifact(method: Method, artifact: Artifact, closure: Closure) -> Carried:
    """What the artifact carries; ``closure`` is of the model's plain environment.

    It says which files a start loads: those of the same names in the artifact. Never raises for what is in it.
    """
    machine = platform.machine()
    if artifact.image is not None:
        return Carried(machine=machine, python="system" if _CLOUDS.isdisjoint(method.REQUIRES) else "platform")
    assert artifact.path is not None
    python, path = _python(method, artifact.path)
    try:
        found = _Found(artifact.path)
    except (
        BadInput,
        OSError,
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        ValueError,
        RuntimeError,
        EOFError,
    ) as error:
        return Carried(machine=machine, python=python, path=path, unread=(word(str(error)),))
    loaded, traced = found.loaded(closure), closure.traced
    needing = native.from_system(found.native, machine=machine)
    names = {soname.rpartition("/")[2] for one in loaded for soname in one.needed}
    has = {name for one in found.native for name in (one.name, one.soname)}
    opened = sorted(closure.opened - has - needing.keys())
    return Carried(
        machine=machine,
        python=python,
        path=path,
        wheels=tuple(sorted(found.wheels)) if python == "any" else (),
        requires=tuple(sorted(found.requires)) if python == "any" else (),
        level=native.level(loaded),
        glibc=native.dotted(native.newest(loaded, "GLIBC_")),
        # A C++ runtime that the artifact has itself is the one that is loaded.
        libstdcxx=native.dotted(native.newest(loaded, "GLIBCXX_")) if "libstdc++.so.6" in needing else "",
        libraries=(
            *(
                Left(soname=word(name), needed_by=word(by[0]), loaded=name in names if traced.modules else None)
                for name, by in needing.items()
            ),
            *(Left(soname=word(name), needed_by="opened while it answers", loaded=None) for name in opened),
        ),
        native_files=len(found.native),
        unread=tuple(word(f"{one.path}: {one.why}") for one in found.unread),
    )


def _python(method: Method, place: Path) -> tuple[Python, str]:
    """Whose Python it runs under, and where that has to be."""
    if not _CLOUDS.isdisjoint(method.REQUIRES):
        return "platform", ""
    program = place / "bin" / "python"
    for _ in range(_MOST_LINKS):
        if not program.is_symlink():
            return ("own", "") if program.exists() or "python" not in method.REQUIRES else ("any", "")
        aim = os.readlink(program)
        if aim.startswith("/"):
            return "at", word(aim)
        program = program.parent / aim
    return "at", word(str(program))


class _Found:
    """The native files in an artifact, and what its wheels say of the Python that they suit."""

    def __init__(self, place: Path) -> None:
        self.native: list[Native] = []
        self.unread: list[Unread] = []
        self.wheels: set[str] = set()
        self.requires: set[str] = set()
        if place.is_dir():
            found = native.below(place)
        else:
            found = self._of_zip(place) if zipfile.is_zipfile(place) else _of_program(place)
        for one in found:
            if isinstance(one, Unread):
                self.unread.append(one)
            elif one.machine == platform.machine():
                self.native.append(one)

    def loaded(self, closure: Closure) -> Sequence[Native]:
        """Those that a start loads: the program itself and Python's library, and files of names that one loaded."""
        traced = closure.traced
        if not traced.modules:
            return self.native
        names = {path.rpartition("/")[2] for path in (*traced.mapped, *traced.own, *traced.system)}
        names |= {one.soname for one in closure.mapped if one.soname} | closure.loaded
        return [
            one
            for one in self.native
            if names & {one.name, one.soname} or one.name.startswith("libpython") or "/" not in one.path
        ]

    def _of_zip(self, place: Path) -> Iterator[Native | Unread]:
        with files.opened(place) as raw, zipfile.ZipFile(raw) as archive:
            for member in archive.infolist():
                name = PurePosixPath(member.filename)
                if member.filename == "PEX-INFO":
                    self.wheels |= _wheels(archive.read(member) if member.file_size <= _TEXT_BYTES else b"")
                elif name.name == "METADATA" and name.parent.suffix == ".dist-info":
                    with archive.open(member) as stream:
                        told = _REQUIRES.search(stream.read(_TEXT_BYTES).decode("utf-8", "replace"))
                    self.requires |= {word(told[1].strip())} if told else set()
                elif native.may_be(name.name, member.file_size):
                    with archive.open(member) as stream:
                        yield from _member(_pieces(stream, member.file_size), member.filename)


def _wheels(info: bytes) -> set[str]:
    """The tags of the wheels that a PEX was made of, each wheel's in one text; none where it does not say."""
    try:
        names = json.loads(info)["distributions"]
        return {" ".join(sorted(map(str, parse_wheel_filename(str(name))[3]))) for name in names}
    except (ValueError, KeyError, TypeError, RecursionError):
        return set()


def _of_program(place: Path) -> Iterator[Native | Unread]:
    """The program itself, and what PyInstaller has put behind it."""
    with files.opened(place) as raw:
        found = native.read(raw, place.name)
        if found is not None:
            yield found
        for name, begin, size, packed in _archived(raw):
            raw.seek(begin)
            yield from _member(_inflated(_pieces(raw, size)) if packed else _pieces(raw, size), f"./{name}")


def _archived(raw: IO[bytes] | io.RawIOBase) -> Iterator[tuple[str, int, int, bool]]:
    """Name, place, size of each native member of PyInstaller's archive, and whether it is compressed."""
    end = raw.seek(0, os.SEEK_END)
    start = max(end - _TAIL, 0)
    raw.seek(start)
    tail = raw.read(_TAIL) or b""
    at = tail.rfind(_MAGIC)
    if at < 0:
        raise ValueError("what is in it can't be looked into")
    _, length, table_at, table_size, _, _ = _COOKIE.unpack_from(tail, at)
    begin = start + at + _COOKIE.size - length
    if begin < 0 or table_size > _MOST_TABLE:
        raise ValueError("its archive makes no sense")
    raw.seek(begin + table_at)
    table, place = raw.read(table_size) or b"", 0
    while place + _ENTRY.size <= len(table):
        size, data_at, packed_size, _, packed, kind = _ENTRY.unpack_from(table, place)
        if size <= _ENTRY.size:
            raise ValueError("its archive makes no sense")
        name = table[place + _ENTRY.size : place + size].rstrip(b"\0").decode("utf-8", "replace")
        if kind == b"b" and native.may_be(name, packed_size):
            yield name, begin + data_at, packed_size, bool(packed)
        place += size


def _member(pieces: Iterator[bytes], name: str) -> Iterator[Native | Unread]:
    """One member of an archive, copied to the disk where it is native: reading goes to and fro."""
    first, room = next(pieces, b""), ceiling.disk().value * 2**20
    if not first.startswith(b"\x7fELF"):
        return
    with tempfile.TemporaryFile(dir=paths.cache()) as copy:
        copy.write(first)
        for piece in pieces:
            copy.write(piece)
            if copy.tell() > room:
                raise BadInput("is larger than a model may be", file=files.shown(name), remedy="make it smaller")
        copy.seek(0)
        found = native.read(copy, name)
    if found is not None:
        yield found


def _pieces(raw: IO[bytes] | io.RawIOBase, size: int) -> Iterator[bytes]:
    while size > 0 and (piece := raw.read(min(size, _CHUNK))):
        size -= len(piece)
        yield piece


def _inflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    inflating = zlib.decompressobj()
    for piece in pieces:
        packed = piece
        while packed:
            yield inflating.decompress(packed, _CHUNK)
            packed = inflating.unconsumed_tail
