"""What answering the examples loads: Python's modules, and every file that it maps into memory, the system's as well.

The model's code runs behind the door, within what any instance may use. What it leaves behind was written by it:
whoever takes a name from it must find something of that name, or nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import ceiling, door, files, paths
from harness.errors import BadInput
from harness.methods import rehearsal
from harness.spec import environments
from harness.spec.weights import LockedModel

_SCRIPT = paths.PACKAGE / "resources" / "rehearsal" / "seen.py"
_LARGEST = 8 * 2**20
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
    with door.workspace(environments.bounds(locked.model).disk_bytes) as disk:
        written = disk / "home" / "seen"
        answered = rehearsal.answered(
            locked,
            [str(python), "-P", "-s", str(_SCRIPT), str(sources), str(written)],
            disk=disk,
            shows=(_SCRIPT, python.parent.parent, sources),
            timeout_s=allowed.start_timeout_s + allowed.predict_timeout_s,
            PYTHONDONTWRITEBYTECODE="1",
        )
        if not answered:
            return None
        try:
            said = json.loads(files.read_text(written, at_most=_LARGEST, below=disk))
        except (BadInput, ValueError, RecursionError):
            return None
    if not isinstance(said, dict):
        return None
    return Loaded(modules=_texts(said.get("modules")), mapped=_texts(said.get("mapped")))


def _texts(value: Any) -> tuple[str, ...]:
    known = value[:_MOST] if isinstance(value, list) else []
    return tuple(sorted({one for one in known if isinstance(one, str) and len(one) <= _LONGEST and "\0" not in one}))
