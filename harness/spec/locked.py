"""What a lock is to those who install from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.interpreter import Interpreter


@dataclass(frozen=True, kw_only=True)
class Source:
    """A package that has no wheel, and was built from source here: the sha256 of both files."""

    name: str
    version: str
    sdist: str
    wheel: str


@dataclass(frozen=True, kw_only=True)
class Lock:
    """Locked requirements: ``requirements`` is the file with hashes, ``wheels`` a folder of links into the wheelhouse.

    ``python`` is the interpreter that it was resolved for, and that the model runs under. ``packages`` are the
    (name, version) pairs that are installed for it, ``sources`` those of them that were built from source;
    ``download_s`` is None where every wheel was there already.
    """

    python: Interpreter
    requirements: Path
    wheels: Path
    digest: str
    packages: tuple[tuple[str, str], ...]
    wheel_bytes: int
    download_s: float | None
    sources: tuple[Source, ...] = ()

    @property
    def built_from_source(self) -> dict[str, dict[str, str]]:
        """Version and both sha256 of each package that was built from source, by its name."""
        return {one.name: {"version": one.version, "sdist": one.sdist, "wheel": one.wheel} for one in self.sources}
