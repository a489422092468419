"""Answering a model's examples once while it is built, to learn what its start loads.

The model's code runs behind the door, within what any instance may use. What it leaves behind was written by it: take
names from it at most, and those only where they are names of something of ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from harness import ceiling, door, files, paths, process
from harness.errors import BadInput, CheckFailure
from harness.methods import placement
from harness.spec import environments
from harness.spec.weights import LockedModel

_SCRIPT = paths.PACKAGE / "resources" / "rehearsal" / "loaded.py"
_LARGEST_LIST = 8 * 2**20
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def modules(locked: LockedModel, python: Path, sources: Path, *, timeout_s: float) -> list[str]:
    """The names of the modules that answering the examples loads, sorted; empty where they are not answered.

    ``python`` is the environment's, ``sources`` the folder with runner and model.
    """
    with door.workspace(environments.bounds(locked.model).disk_bytes) as disk:
        written = disk / "home" / "loaded"
        argv = [str(python), "-P", "-s", str(_SCRIPT), str(sources), str(written)]
        shows = (_SCRIPT, python.parent.parent, sources)
        if not answered(locked, argv, disk=disk, shows=shows, timeout_s=timeout_s, PYTHONDONTWRITEBYTECODE="1"):
            return []
        # The model could have written this: whoever takes a name from it must find something of that name, or nothing.
        try:
            names = files.read_text(written, at_most=_LARGEST_LIST, below=disk).splitlines()
        except BadInput:
            return []
    return [name for name in names if _NAME.fullmatch(name)]


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
