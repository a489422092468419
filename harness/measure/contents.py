"""What lies in a folder: bytes, files, how well they compress, and what pruning would leave of installed packages.

Compressed bytes are of each file by itself (zlib, level 6), as in a zip; an archive of all of them is a little smaller,
by about the same share for every model. Of a large file only every fourth megabyte is compressed.
"""

from __future__ import annotations

import os
import re
import shutil
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import process, tree
from harness.methods import pruning
from harness.spec import reading

_PIECE = 2**20
#: Of a file larger than this, one piece in so many is compressed.
_LARGE_BYTES = 4 * _PIECE
_ONE_IN = 4

_LEVEL = 6


@dataclass(frozen=True, kw_only=True)
class Amount:
    """What files have in all; hard links count once."""

    __pydantic_config__ = reading.STRICT

    bytes: int = 0
    files: int = 0
    packed_bytes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            bytes=self.bytes + other.bytes,
            files=self.files + other.files,
            packed_bytes=self.packed_bytes + other.packed_bytes,
        )


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Installed packages, by what a way of packaging may treat differently: shared libraries, bytecode, the rest."""

    __pydantic_config__ = reading.STRICT

    native: Amount
    bytecode: Amount
    other: Amount

    @property
    def total(self) -> Amount:
        """All of it."""
        return self.native + self.bytecode + self.other

    @property
    def without_bytecode(self) -> Amount:
        """What an installer puts down before anything is compiled."""
        return self.native + self.other


class Counter:
    """Counts folders; a file that was compressed once is not compressed again under another name."""

    def __init__(self) -> None:
        self._packed: dict[tuple[int, int], int] = {}

    def of(self, folder: Path) -> Contents:
        """The contents of ``folder``; nothing where it is not there."""
        files = [*tree.files(folder)]
        native = [file for file in files if is_native(file)]
        bytecode = [file for file in files if file.suffix == ".pyc"]
        rest = set(files) - {*native, *bytecode}
        return Contents(native=self.amount(native), bytecode=self.amount(bytecode), other=self.amount(sorted(rest)))

    def amount(self, files: Iterable[Path]) -> Amount:
        """What these files have in all."""
        seen: set[tuple[int, int]] = set()
        total = Amount()
        for file in files:
            status = file.lstat()
            key = status.st_dev, status.st_ino
            if key in seen:
                continue
            seen.add(key)
            packed = 0 if file.is_symlink() else self._packed_of(file, key)
            total += Amount(bytes=status.st_size, files=1, packed_bytes=packed)
        return total

    def pruned(self, packages: Path, rules: Sequence[str]) -> Contents:
        """What ``rules`` would leave of ``packages``, which stay as they are."""
        with process.temporary_folder("pruned") as scratch:
            copy = scratch / "packages"
            if packages.is_dir():
                # Further names suffice: pruning changes no file in place.
                shutil.copytree(packages, copy, symlinks=True, copy_function=_linked)
                pruning.prune(copy, rules)
            return self.of(copy)

    def _packed_of(self, file: Path, key: tuple[int, int]) -> int:
        if key not in self._packed:
            self._packed[key] = packed_bytes(file)
        return self._packed[key]


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


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system, or links are not allowed
        shutil.copy2(source, target, follow_symlinks=False)
