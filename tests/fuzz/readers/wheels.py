"""What lies in installed wheels: lists of files, native libraries, sources."""

from __future__ import annotations

from pathlib import Path

from fuzz import bundles
from harness.methods import pex, pruning


def record(data: bytes, place: Path) -> None:
    """A ``RECORD``, corrected for what pruning left."""
    info = place / "packages" / "tiny-1.dist-info"
    info.mkdir(parents=True)
    (place / "packages" / "tiny.py").write_bytes(b"pass\n")
    (info / "RECORD").write_bytes(data)
    pex._correct(info / "RECORD")


def library(data: bytes, place: Path) -> None:
    """A native library without its symbols."""
    stripped = pruning.without_symbols(data)
    assert stripped is None or len(stripped) <= len(data), "it has grown"


def packages(data: bytes, place: Path) -> None:
    """A ``site-packages`` of anybody's, pruned by every rule."""
    folder = place / "packages"
    bundles.write(data, folder)
    pruning.prune(folder, list(pruning.RULES))
