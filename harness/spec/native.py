"""What native files need of the system that they run on, read from their ELF headers.

Only what the dynamic loader itself reads is read: program headers, the dynamic table, the versions needed and defined,
and the note on processors. Section headers may be missing or wrong. Nothing is executed. A file that makes no sense is
an :class:`Unread` with its reason, whatever it holds; the number and size of reads of each file are bounded.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from elftools.common.exceptions import ELFError
from elftools.common.utils import struct_parse
from elftools.elf.elffile import ELFFile

from harness import files
from harness.errors import BadInput, one_line

#: How often one file is read from, and how much at once. libtorch_cpu.so, among the largest there are, takes 1,100.
_MOST_READS = 20_000
_LONGEST_READ = 2**16
#: Of how many segments the notes are looked at: compilers write one or two.
_MOST_NOTES = 16
#: The longest name of a library, version or folder: PATH_MAX.
_LONGEST_NAME = 4096
#: How many native files of a closure are read: the largest on PyPI have some hundreds.
MOST_FILES = 20_000
#: The smallest ELF header.
_SMALLEST = 52

#: What is never native, and most of what packages hold.
_NOT_NATIVE = frozenset({".py", ".pyc", ".pyi", ".h", ".hpp", ".cuh", ".txt", ".json", ".js", ".html", ".css", ".csv"})

_MACHINES = {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64", "EM_386": "i686", "EM_ARM": "armv7l"}

#: What comes with the C library itself: whether a system has these is said by its version alone. See auditwheel's
#: policies (manylinux-policy.json, ``lib_whitelist``), which take all of them for granted as well.
_OF_GLIBC = re.compile(
    r"(ld-linux[\w-]*|ld64|linux-vdso|lib(c|m|mvec|dl|pthread|rt|util|resolv|anl|BrokenLocale|thread_db|nss_\w+))"
    r"\.so(\.\d+)*"
)

_PROPERTY_NOTE = 5  # NT_GNU_PROPERTY_TYPE_0
_ISA_NEEDED = 0xC0008002  # GNU_PROPERTY_X86_ISA_1_NEEDED, of the x86-64 psABI: bit n stands for x86-64-v(n+1)
#: Symbols of relative relocations: no version of their own, and no older C library has them.
_RELR = "GLIBC_ABI_DT_RELR"
_RELR_SINCE = (2, 36)


@dataclass(frozen=True, kw_only=True)
class Native:
    """What one native file says: where it lies, its ``soname``, and what it needs.

    ``search`` is its RUNPATH or RPATH, ``versions`` are the (library, version) pairs that it needs, ``defines`` the
    versions that it has itself. ``level`` is the x86-64 level that it was marked as needing (0: not marked), ``loader``
    the program that starts it, where it is a program.
    """

    path: str
    machine: str
    soname: str = ""
    needed: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    defines: tuple[str, ...] = ()
    level: int = 0
    loader: str = ""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class Unread:
    """A file that begins as a native one and makes no sense: where it lies, and why."""

    path: str
    why: str


def read(stream: IO[bytes] | io.RawIOBase, path: str) -> Native | Unread | None:
    """What the file says; None where it is not native. Never raises, but for what reading the disk may raise."""
    bounded = _Bounded(cast("io.RawIOBase", stream))
    try:
        if bounded.read(4) != b"\x7fELF":
            return None
        return _read(bounded, path)
    except OSError:
        raise
    except Exception as error:  # pyelftools has many ways to say that a header makes no sense
        return Unread(path=path, why=one_line(str(error))[:200] or type(error).__name__)
    finally:
        bounded.detach()  # the stream is the caller's to close


def below(folder: Path, *, at: str = "") -> Iterator[Native | Unread]:
    """Each native file below ``folder``, sorted; its ``path`` is the one below the folder, with ``at`` before it.

    BadInput where the folder cannot be read, or has more than ``MOST_FILES`` of them.
    """
    count = 0
    for entry in files.walk(folder):
        if entry.kind != "file" or not may_be(entry.path.name, entry.status.st_size):
            continue
        with entry.open() as stream:
            found = read(stream, at + entry.relative.as_posix())
        if found is not None:
            count += 1
            if count > MOST_FILES:
                raise BadInput(
                    f"holds more than {MOST_FILES:,} native files", file=files.shown(folder), remedy="make it smaller"
                )
            yield found


def may_be(name: str, size: int) -> bool:
    """Whether a file of that name and size in bytes is worth a look."""
    return size >= _SMALLEST and PurePosixPath(name).suffix not in _NOT_NATIVE


def of_glibc(soname: str) -> bool:
    """Whether the library comes with the C library."""
    return _OF_GLIBC.fullmatch(soname.rpartition("/")[2]) is not None


def from_system(found: Iterable[Native], *, machine: str) -> Mapping[str, tuple[str, ...]]:
    """The libraries that none of the files is: by soname, who needs it. Those of the C library are left out.

    What any of the files is counts as had, wherever it lies: packages load such libraries by their path before those
    that need them (PyTorch's, NVIDIA's), and the loader then takes what it has. Files of another ``machine`` are never
    loaded here and need nothing.
    """
    native = [one for one in found if one.machine == machine]
    had = {name for one in native for name in (one.name, one.soname) if name}
    needing: dict[str, list[str]] = {}
    for one in native:
        for soname in one.needed:
            name = soname.rpartition("/")[2]
            if name and name not in had and not of_glibc(name):
                needing.setdefault(name, []).append(one.path)
    return {name: tuple(sorted(set(paths))) for name, paths in sorted(needing.items())}


def newest(found: Iterable[Native], prefix: str) -> tuple[int, ...]:
    """The highest version needed of those that begin with ``prefix`` (``GLIBC_``, ``GLIBCXX_``); empty for none."""
    return max((_numbers(version, prefix) for one in found for _, version in one.versions), default=())


def defined(found: Native, prefix: str) -> tuple[int, ...]:
    """The highest version of that kind that a library has; empty for none."""
    return max((_numbers(version, prefix) for version in found.defines), default=())


def level(found: Iterable[Native]) -> int:
    """The highest x86-64 level that a file says it needs; 0 where none says so."""
    return max((one.level for one in found), default=0)


def dotted(version: Sequence[int]) -> str:
    """``2.17`` of its numbers."""
    return ".".join(map(str, version))


def numbers(version: str) -> tuple[int, ...]:
    """The numbers of ``2.17``; empty where it is none."""
    return _numbers(f"-{version}", "-")


def _numbers(version: str, prefix: str) -> tuple[int, ...]:
    if version == _RELR and prefix == "GLIBC_":
        return _RELR_SINCE
    number = version.removeprefix(prefix)
    if number == version or not re.fullmatch(r"\d{1,6}(\.\d{1,6}){1,3}", number):
        return ()
    return tuple(map(int, number.split(".")))


class _Bounded(io.BufferedReader):
    """A file that is read from so often and no more."""

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__(raw, buffer_size=1024)
        self._left = _MOST_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """As every file; ELFError beyond the bounds."""
        self._left -= 1
        if self._left < 0 or size is None or not 0 <= size <= _LONGEST_READ:
            raise ELFError("its tables have no end")
        return super().read(size)


def _read(stream: _Bounded, path: str) -> Native:
    elf = ELFFile(stream)
    segments = [
        struct_parse(elf.structs.Elf_Phdr, stream, stream_pos=elf["e_phoff"] + number * elf["e_phentsize"])
        for number in range(elf["e_phnum"])
    ]
    tables = _Tables(elf, stream, segments)
    machine = str(elf["e_machine"])
    return Native(
        path=path,
        machine=_MACHINES.get(machine, machine.removeprefix("EM_").lower()),
        soname=next(tables.strings("DT_SONAME"), ""),
        needed=tuple(tables.strings("DT_NEEDED")),
        # The loader takes RPATH only where there is no RUNPATH: ld.so(8).
        search=tuple(tables.strings("DT_RUNPATH")) or tuple(tables.strings("DT_RPATH")),
        versions=tuple(tables.needed_versions()),
        defines=tuple(tables.defined_versions()),
        level=_level(stream, segments, "<" if elf.little_endian else ">", 8 if elf.elfclass == 64 else 4),  # noqa: PLR2004
        loader=tables.loader(),
    )


class _Tables:
    """The dynamic table of a file, and the tables that it points to."""

    def __init__(self, elf: ELFFile, stream: _Bounded, segments: Sequence[Any]) -> None:
        self._structs, self._stream, self._segments = elf.structs, stream, segments
        self._tags: list[tuple[str, int]] = []
        for segment in segments:
            if segment["p_type"] == "PT_DYNAMIC":
                self._tags = list(self._entries(segment["p_offset"]))
                break

    def _entries(self, place: int) -> Iterator[tuple[str, int]]:
        entry = struct_parse(self._structs.Elf_Dyn, self._stream, stream_pos=place)
        while entry["d_tag"] != "DT_NULL":
            yield str(entry["d_tag"]), int(entry["d_val"])
            entry = struct_parse(self._structs.Elf_Dyn, self._stream)

    def strings(self, tag: str) -> Iterator[str]:
        """The strings that entries of that tag point to."""
        for name, value in self._tags:
            if name == tag:
                yield self._string(value)

    def needed_versions(self) -> Iterator[tuple[str, str]]:
        """(library, version) of everything in the table of needed versions."""
        for place, entry in self._chain("DT_VERNEED", self._structs.Elf_Verneed, "vn_next"):
            library = self._string(entry["vn_file"])
            inner = place + entry["vn_aux"]
            for _ in range(entry["vn_cnt"]):
                version = struct_parse(self._structs.Elf_Vernaux, self._stream, stream_pos=inner)
                yield library, self._string(version["vna_name"])
                inner += version["vna_next"]

    def defined_versions(self) -> Iterator[str]:
        """Every version in the table of defined ones."""
        for place, entry in self._chain("DT_VERDEF", self._structs.Elf_Verdef, "vd_next"):
            first = struct_parse(self._structs.Elf_Verdaux, self._stream, stream_pos=place + entry["vd_aux"])
            yield self._string(first["vda_name"])

    def loader(self) -> str:
        """The program that starts this one; empty for a library."""
        for segment in self._segments:
            if segment["p_type"] == "PT_INTERP":
                return self._text(segment["p_offset"])
        return ""

    def _chain(self, tag: str, kind: Any, following: str) -> Iterator[tuple[int, Any]]:
        """The entries of a table in which each says how far it is to the next, with their places."""
        address, count = self._value(tag), self._value(f"{tag}NUM")
        if address is None:
            return
        place = self._offset(address)
        for _ in range(count or 0):
            entry = struct_parse(kind, self._stream, stream_pos=place)
            yield place, entry
            if not entry[following]:
                return
            place += entry[following]

    def _value(self, tag: str) -> int | None:
        return next((value for name, value in self._tags if name == tag), None)

    def _string(self, index: int) -> str:
        table = self._value("DT_STRTAB")
        if table is None:
            raise ELFError("it has no table of strings")
        return self._text(self._offset(table) + index)

    def _text(self, place: int) -> str:
        self._stream.seek(place)
        text, end, _ = self._stream.read(_LONGEST_NAME).partition(b"\0")
        if not end:
            raise ELFError("a name in it has no end")
        return text.decode("utf-8", "backslashreplace")

    def _offset(self, address: int) -> int:
        """Where in the file that lies which is loaded at the address."""
        for segment in self._segments:
            begin = segment["p_vaddr"]
            if segment["p_type"] == "PT_LOAD" and begin <= address < begin + segment["p_filesz"]:
                return int(segment["p_offset"] + address - begin)
        raise ELFError("a table lies outside of what is loaded")


def _level(stream: _Bounded, segments: Sequence[Any], order: str, align: int) -> int:
    """The level of x86-64 that the file's property note says it needs; 0 where it says nothing."""
    found = 0
    for segment in [one for one in segments if one["p_type"] in ("PT_NOTE", "PT_GNU_PROPERTY")][:_MOST_NOTES]:
        stream.seek(segment["p_offset"])
        notes = stream.read(min(segment["p_filesz"], _LONGEST_READ))
        for kind, value in _properties(notes, order, align):
            if kind == _ISA_NEEDED:
                found = max(found, value.bit_length())
    return min(found, 4)


def _properties(notes: bytes, order: str, align: int) -> Iterator[tuple[int, int]]:
    """The (type, value) pairs of the GNU property notes among ``notes``, whose values are numbers of four bytes."""
    place = 0
    while place + 16 <= len(notes):
        name_size, size, kind = struct.unpack_from(order + "3I", notes, place)
        content = place + 12 + _rounded(name_size, 4)
        if kind == _PROPERTY_NOTE and notes[place + 12 : place + 16] == b"GNU\0":
            inner, end = content, min(content + size, len(notes))
            while inner + 8 <= end:
                what, length = struct.unpack_from(order + "2I", notes, inner)
                if length == 4 and inner + 12 <= end:  # noqa: PLR2004 -- a number
                    yield what, struct.unpack_from(order + "I", notes, inner + 8)[0]
                inner += 8 + _rounded(length, align)
        place = content + _rounded(size, align if kind == _PROPERTY_NOTE else 4)


def _rounded(size: int, to: int) -> int:
    return -(-size // to) * to
