"""Answering a model's examples once, to learn what its start needs: modules, files, folders, native libraries.

The model's code runs behind the door, within what any instance may use. What it leaves behind was written by it: only
names are taken from it, and only those of something that is in the environment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from harness import ceiling, door, files, paths, process
from harness.errors import BadInput, CheckFailure
from harness.methods import placement
from harness.methods.contract import Traced
from harness.spec import environments
from harness.spec.weights import LockedModel

_SCRIPT = paths.PACKAGE / "resources" / "rehearsal" / "loaded.py"
_LARGEST_LIST = 8 * 2**20
_MOST, _LONGEST = 20_000, 1000
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def traced(locked: LockedModel, python: Path, sources: Path, *, timeout_s: float) -> Traced:
    """What answering the examples needs of the environment; nothing where they are not answered.

    ``python`` is the environment's, ``sources`` the folder with runner and model.
    """
    said = told(locked, python, sources, timeout_s=timeout_s)
    return believed(said, environments.site_packages(python.parent.parent, locked.lock.python), sources)


def told(locked: LockedModel, python: Path, sources: Path, *, timeout_s: float) -> Any:
    """What the model's own process says of answering the examples, unchecked; None where they are not answered."""
    with door.workspace(environments.bounds(locked.model).disk_bytes) as disk:
        written = disk / "home" / "loaded"
        argv = [str(python), "-s", str(_SCRIPT), str(sources), str(written)]
        shows = (_SCRIPT, python.parent.parent, sources)
        if not answered(locked, argv, disk=disk, shows=shows, timeout_s=timeout_s, PYTHONDONTWRITEBYTECODE="1"):
            return None
        try:
            return json.loads(files.read_text(written, at_most=_LARGEST_LIST, below=disk))
        except (BadInput, ValueError, RecursionError):
            return None


def believed(said: Any, packages: Path, sources: Path) -> Traced:
    """What is left of what a model's process ``said``: names of modules, and of what lies in the two folders.

    No link, nothing that is not there, and no more than 20,000 of each. Paths of elsewhere are kept as they were told.
    """
    if not isinstance(said, dict):
        return Traced()
    names = {kind: _texts(said.get(kind)) for kind in ("modules", "sources", "opened", "listed", "mapped")}
    return Traced(
        modules=tuple(name for name in names["modules"] if _NAME.fullmatch(name)),
        sources=_below(packages, names["sources"], folders=False),
        opened=_below(packages, names["opened"], folders=False),
        listed=_below(packages, names["listed"], folders=True),
        mapped=_below(packages, names["mapped"], folders=False),
        own=_below(sources, names["mapped"], folders=False),
        system=tuple(name for name in names["mapped"] if _elsewhere(name, packages, sources)),
    )


def _elsewhere(name: str, *folders: Path) -> bool:
    return name.startswith("/") and "\0" not in name and not name.startswith(tuple(f"{folder}/" for folder in folders))


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list):
        return []
    return sorted({one for one in value[:_MOST] if isinstance(one, str) and len(one) <= _LONGEST})


def _below(packages: Path, names: Iterable[str], *, folders: bool) -> tuple[str, ...]:
    """Those of the absolute paths that are files, or folders, below ``packages``, seen from there."""
    top, found = f"{packages}/", []
    for name in names:
        relative = name[len(top) :]
        plain = name.startswith(top) and relative.isprintable() and ".." not in relative.split("/")
        if not plain or not relative or str(PurePosixPath(relative)) != relative:
            continue
        # Nor can a folder on the way be a link: what is installed was looked at.
        if files.kind(packages / relative) == ("folder" if folders else "file"):
            found.append(relative)
    return tuple(found)


def answered(
    locked: LockedModel,
    argv: Sequence[str],
    *,
    disk: Path,
    shows: Sequence[Path],
    weights: Path | None = None,
    writes: Sequence[Path] = (),
    timeout_s: float,
    **env: str,
) -> bool:
    """Whether ``argv``, given all examples as ``once`` reads them, ended well.

    What is wrong with a model is found out, and said, where it is started; no build fails of it. ``disk`` is a
    workspace, in which its home is made; it writes to that and to ``writes``. It sees what it ``shows``, and
    ``weights``, the folder that it finds those in where they are not in what is asked.
    """
    home = disk / "home"
    home.mkdir()
    if weights is not None:
        shows, env = (*shows, weights), {**env, **placement.environment(weights, home)}
    allowed = ceiling.bounded(locked.model.file.resources)
    try:
        done = door.run(
            argv,
            bounds=environments.bounds(locked.model),
            shows=shows,
            writes=(home, *writes),
            env=process.environment(home, **env),
            cwd=home,
            stdin=json.dumps({"inputs": list(locked.model.examples.inputs)}),
            timeout_s=min(timeout_s, allowed.start_timeout_s + allowed.predict_timeout_s),
            kind="instances",
        )
    except (process.TimedOut, CheckFailure, BadInput):  # the last two: of what it left behind
        return False
    return done.returncode == 0
