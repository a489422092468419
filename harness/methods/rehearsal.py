"""Answering a model's examples once while it is built, to learn what its start loads.

The model's code runs in the bounds of any instance: no network, no secrets, unprivileged. What it leaves behind
was written by it: take names from it at most, and those only where they are names of something of ours.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from harness import ceiling, paths, process
from harness.methods import placement
from harness.spec import environments
from harness.spec.weights import LockedModel

_SCRIPT = paths.PACKAGE / "resources" / "rehearsal" / "loaded.py"
_LARGEST_LIST = 8 * 2**20
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def modules(locked: LockedModel, python: Path, sources: Path, *, scratch: Path, timeout_s: float) -> list[str]:
    """The names of the modules that answering the examples loads, sorted; empty where they are not answered.

    ``python`` is the environment's, ``sources`` the folder with runner and model.
    """
    script, written = Path(shutil.copyfile(_SCRIPT, scratch / _SCRIPT.name)), scratch / "home" / "loaded"
    argv = [str(python), "-P", "-s", str(script), str(sources), str(written)]
    needed = (python.parent.parent, sources)
    if not answered(locked, argv, scratch=scratch, needed=needed, timeout_s=timeout_s, PYTHONDONTWRITEBYTECODE="1"):
        return []
    # The model could have written this: whoever takes a name from it must find something of that name, or nothing.
    if written.is_symlink() or not written.is_file() or written.stat().st_size > _LARGEST_LIST:
        return []
    names = written.read_text(encoding="utf-8", errors="replace").splitlines()
    return [name for name in names if _NAME.fullmatch(name)]


def answered(
    locked: LockedModel,
    argv: Sequence[str],
    *,
    scratch: Path,
    needed: Sequence[Path] = (),
    weights: Path | None = None,
    writable: Sequence[Path] = (),
    timeout_s: float,
    **env: str,
) -> bool:
    """Whether ``argv``, given all examples as ``once`` reads them, ended well.

    What is wrong with a model is found out, and said, where it is started; no build fails of it. ``scratch`` must be
    a folder that other users can walk through; the home made there, and ``writable``, are the model's to write to;
    ``needed`` is what it has to reach elsewhere. ``weights`` is the folder that it finds those in, where they are not
    in what is asked.
    """
    home = scratch / "home"
    home.mkdir()
    if weights is not None:
        needed, env = (*needed, weights), {**env, **placement.environment(weights, home)}
    allowed = ceiling.bounded(locked.model.file.resources)
    with environments.bounds(locked.model, *environments.needed_paths(scratch, *needed)) as policy:
        environments.give_to(policy, home, *writable)
        try:
            done = process.run(
                argv,
                env=process.environment(home, **env),
                cwd=home,
                stdin=json.dumps({"inputs": list(locked.model.examples.inputs)}),
                timeout_s=min(timeout_s, allowed.start_timeout_s + allowed.predict_timeout_s),
                policy=policy,
                kind="instances",
            )
        except process.TimedOut:
            return False
    return done.returncode == 0
