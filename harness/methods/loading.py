"""What answering the examples loads: Python's modules, and every file that it maps into memory, the system's as well.

As :mod:`harness.methods.rehearsal`, which tells it. Whoever takes a name from it must find something of that name, or
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import ceiling
from harness.methods import rehearsal
from harness.spec.weights import LockedModel

_MOST, _LONGEST = 100_000, 4096


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Names of modules, and absolute paths of files that were mapped; not of processes that it started."""

    modules: tuple[str, ...]
    mapped: tuple[str, ...]


def by_examples(locked: LockedModel, python: Path, sources: Path) -> Loaded | None:
    """What answering all examples once loads; None where they are not answered.

    ``python`` is the interpreter of the model's environment, ``sources`` the folder with runner and model.
    """
    allowed = ceiling.bounded(locked.model.file.resources)
    timeout_s = allowed.start_timeout_s + allowed.predict_timeout_s
    said = rehearsal.told(locked, python, sources, timeout_s=timeout_s)
    if not isinstance(said, dict):
        return None
    return Loaded(modules=_texts(said.get("modules")), mapped=_texts(said.get("mapped")))


def _texts(value: Any) -> tuple[str, ...]:
    known = value[:_MOST] if isinstance(value, list) else []
    return tuple(sorted({one for one in known if isinstance(one, str) and len(one) <= _LONGEST and "\0" not in one}))
