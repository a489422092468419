"""Wheels, and what lies in those that are installed: native libraries, sources."""

from __future__ import annotations

import contextlib
from pathlib import Path

from fuzz import bundles
from harness import archives
from harness.methods import pruning
from harness.spec import native, wheels
from harness.spec.native import Native


def wheel(data: bytes, place: Path) -> None:
    """A wheel, looked at before it is installed."""
    file = place / "tiny-1-py3-none-any.whl"
    file.write_bytes(data)
    with contextlib.suppress(archives.UnsoundError):
        wheels.check(file, file.name)


def library(data: bytes, place: Path) -> None:
    """A native library without its symbols."""
    stripped = pruning.without_symbols(data)
    assert stripped is None or len(stripped) <= len(data), "it has grown"


def native_file(data: bytes, place: Path) -> None:
    """What a native file says that it needs: it is refused by a value, never by an exception."""
    (place / "closure").mkdir()
    (place / "closure" / "mod.so").write_bytes(data)
    found = [one for one in native.below(place / "closure") if isinstance(one, Native)]
    native.from_system(found, machine="x86_64")
    native.newest(found, "GLIBC_")
    assert native.level(found) in range(5), "no such level"


def packages(data: bytes, place: Path) -> None:
    """A ``site-packages`` of anybody's, pruned by every rule."""
    folder = place / "packages"
    bundles.write(data, folder)
    pruning.prune(folder, list(pruning.RULES))
