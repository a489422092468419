"""What lies in a folder: bytes, files, how well they compress, and what pruning would leave of installed packages.

Compression is zlib's, level 6, counted in two ways: each file by itself, as in a zip, and small files one after the
other with what an archive notes of each, as in a ``.tar.gz`` or an image's layer, where thousands of them that are
alike take far less. Of a large file every second quarter of a megabyte is compressed.
"""

from __future__ import annotations

import os
import re
import shutil
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from harness import process
from harness.files import walk
from harness.methods import layout
from harness.spec import reading
from harness.spec.kinds import Count

_PIECE = 2**18
#: Of a file larger than this, one piece in so many is compressed.
_LARGE_BYTES = 2**22
_ONE_IN = 2

#: Up to here a file is smaller than what the compressor looks back on, so what came before it matters.
_SMALL_BYTES = 2**16
#: What an archive has for each file besides its contents: a header of a block, contents filled up to one (POSIX ustar).
_BLOCK = 512

_LEVEL = 6
_PRUNE_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Amount:
    """What files have in all, hard links once; ``packed_bytes`` as in a zip, ``archived_bytes`` as in a ``.tar.gz``."""

    __pydantic_config__ = reading.STRICT

    bytes: Count = 0
    files: Count = 0
    packed_bytes: Count = 0
    archived_bytes: Count = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            bytes=self.bytes + other.bytes,
            files=self.files + other.files,
            packed_bytes=self.packed_bytes + other.packed_bytes,
            archived_bytes=self.archived_bytes + other.archived_bytes,
        )


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Installed packages, by what a way of packaging may treat differently; ``data`` is all that is no code."""

    __pydantic_config__ = reading.STRICT

    native: Amount
    bytecode: Amount
    sources: Amount
    data: Amount

    @property
    def total(self) -> Amount:
        """All of it."""
        return self.native + self.bytecode + self.sources + self.data

    @property
    def without_bytecode(self) -> Amount:
        """What an installer puts down before anything is compiled."""
        return self.native + self.sources + self.data


_KINDS = {".pyc": "bytecode", ".py": "sources"}


class Counter:
    """Counts folders; a file that was compressed once is not compressed again under another name."""

    def __init__(self) -> None:
        self._packed: dict[tuple[int, int], int] = {}

    def of(self, folder: Path) -> Contents:
        """The contents of ``folder``; nothing where it is not there."""
        kinds: dict[str, list[Path]] = {"native": [], "bytecode": [], "sources": [], "data": []}
        there = walk(folder) if folder.is_dir() else ()
        for file in sorted(entry.path for entry in there if entry.kind in {"file", "link"}):
            kinds["native" if is_native(file) else _KINDS.get(file.suffix, "data")].append(file)
        return Contents(**{kind: self.amount(files) for kind, files in kinds.items()})

    def amount(self, files: Iterable[Path]) -> Amount:
        """What these files have in all, archived in this order."""
        files = list(files)
        self._pack(files)
        seen: set[tuple[int, int]] = set()
        total, archive = Amount(), zlib.compressobj(_LEVEL)
        archived = 0
        for file in files:
            status = file.lstat()
            key = status.st_dev, status.st_ino
            if key in seen:
                continue
            seen.add(key)
            link = file.is_symlink()
            packed = 0 if link else self._packed[key]
            archived += len(archive.compress(str(file).encode()[-_BLOCK:].ljust(_BLOCK, b"\0")))
            if status.st_size <= _SMALL_BYTES and not link:
                archived += len(archive.compress(file.read_bytes().ljust(-(-status.st_size // _BLOCK) * _BLOCK, b"\0")))
            else:
                archived += packed
            total += Amount(bytes=status.st_size, files=1, packed_bytes=packed)
        archived += len(archive.flush()) if seen else 0
        return total + Amount(archived_bytes=archived)

    def pruned(self, packages: Path, rules: Sequence[str]) -> Contents:
        """What ``rules`` would leave of ``packages``, which stay as they are."""
        with process.temporary_folder("pruned") as scratch:
            copy = scratch / "packages"
            if packages.is_dir():
                # No further names: who prunes is given the files, and these are everybody's.
                copy.mkdir()
                for entry in walk(packages):
                    place = copy / entry.relative
                    if entry.kind == "folder":
                        place.mkdir()
                    else:
                        shutil.copy2(entry.path, place, follow_symlinks=False)
                layout.prune(copy, rules, timeout_s=_PRUNE_S)
            return self.of(copy)

    def _pack(self, files: Iterable[Path]) -> None:
        """Compress what was not yet; on all processors, as zlib lets go of the interpreter meanwhile."""
        wanted: dict[tuple[int, int], Path] = {}
        for file in files:
            status = file.lstat()
            if not file.is_symlink() and (status.st_dev, status.st_ino) not in self._packed:
                wanted.setdefault((status.st_dev, status.st_ino), file)
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            self._packed.update(zip(wanted, pool.map(packed_bytes, wanted.values()), strict=True))


def packed_bytes(file: Path) -> int:
    """The bytes of ``file`` when compressed; extrapolated where it is large."""
    size = file.stat().st_size
    step = _ONE_IN * _PIECE if size > _LARGE_BYTES else _PIECE
    taken = packed = 0
    with file.open("rb") as stream:
        for start in range(0, size, step):
            stream.seek(start)
            piece = stream.read(_PIECE)
            taken += len(piece)
            packed += len(zlib.compress(piece, _LEVEL))
    return round(packed * size / taken) if taken else 0


def is_native(file: Path) -> bool:
    """Whether it is a shared library, by its name."""
    return not file.is_symlink() and re.search(r"\.so(\.[0-9.]+)?$", file.name) is not None
