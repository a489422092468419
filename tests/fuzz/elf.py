"""Native files as small as can be, of any contents: an ELF header, segments, and the tables that the loader reads."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

X86_64, AARCH64 = 62, 183

_LOAD, _DYNAMIC, _INTERP, _NOTE = 1, 2, 3, 4
_NEEDED, _STRTAB, _SONAME, _RPATH, _RUNPATH = 1, 5, 14, 15, 29
_VERDEF, _VERDEFNUM, _VERNEED, _VERNEEDNUM = 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF


def library(
    *,
    machine: int = X86_64,
    soname: str = "",
    needed: Sequence[str] = (),
    rpath: str = "",
    runpath: str = "",
    versions: Mapping[str, Sequence[str]] | None = None,
    defines: Sequence[str] = (),
    isa: int = 0,
    loader: str = "",
) -> bytes:
    """A file of 64 bits, little-endian, without sections.

    ``versions`` are those needed, by library; ``isa`` is the mask of the property note, where it is not 0.
    """
    strings = bytearray(b"\0")

    def put(text: str) -> int:
        place = len(strings)
        strings.extend(text.encode() + b"\0")
        return place

    tags = [(_NEEDED, put(name)) for name in needed]
    tags += [(tag, put(text)) for tag, text in ((_SONAME, soname), (_RPATH, rpath), (_RUNPATH, runpath)) if text]
    wanted = {put(name): [put(one) for one in ones] for name, ones in (versions or {}).items()}
    own = [put(one) for one in defines]
    program = put(loader) if loader else 0
    note = _note(isa) if isa else b""

    count = 2 + bool(loader) + bool(note)
    strings_at = 64 + 56 * count
    need_at = _aligned(strings_at + len(strings))
    need = _needed_versions(wanted)
    define_at = need_at + len(need)
    define = _defined_versions(own)
    note_at = _aligned(define_at + len(define))
    dynamic_at = note_at + len(note)
    tags += [(_STRTAB, strings_at)]
    tags += [(_VERNEED, need_at), (_VERNEEDNUM, len(wanted))] if wanted else []
    tags += [(_VERDEF, define_at), (_VERDEFNUM, len(own))] if own else []
    dynamic = b"".join(struct.pack("<qQ", *tag) for tag in [*tags, (0, 0)])
    size = dynamic_at + len(dynamic)

    segments = [_segment(_LOAD, 0, size), _segment(_DYNAMIC, dynamic_at, len(dynamic))]
    segments += [_segment(_INTERP, strings_at + program, len(loader) + 1)] if loader else []
    segments += [_segment(_NOTE, note_at, len(note))] if note else []
    header = b"\x7fELF\2\1\1" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, count, 64, 0, 0)
    whole = bytearray(size)
    parts = {0: header + b"".join(segments), strings_at: strings, need_at: need, define_at: define, note_at: note}
    for place, part in {**parts, dynamic_at: dynamic}.items():
        whole[place : place + len(part)] = part
    return bytes(whole)


def _segment(kind: int, offset: int, size: int) -> bytes:
    return struct.pack("<IIQQQQQQ", kind, 4, offset, offset, offset, size, size, 8)


def _needed_versions(wanted: Mapping[int, Sequence[int]]) -> bytes:
    made = b""
    for number, (library_name, ones) in enumerate(wanted.items(), start=1):
        following = 16 + 16 * len(ones) if number < len(wanted) else 0
        made += struct.pack("<HHIII", 1, len(ones), library_name, 16, following)
        made += b"".join(
            struct.pack("<IHHII", 0, 0, 2, name, 16 if place < len(ones) else 0)
            for place, name in enumerate(ones, start=1)
        )
    return made


def _defined_versions(own: Sequence[int]) -> bytes:
    return b"".join(
        struct.pack("<HHHHIII", 1, 0, place, 1, 0, 20, 28 if place < len(own) else 0) + struct.pack("<II", name, 0)
        for place, name in enumerate(own, start=1)
    )


def _note(isa: int) -> bytes:
    content = struct.pack("<III4x", 0xC0008002, 4, isa)
    return struct.pack("<III4s", 4, len(content), 5, b"GNU\0") + content


def _aligned(place: int) -> int:
    return -(-place // 8) * 8
