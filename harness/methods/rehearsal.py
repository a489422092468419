"""Answering a model's examples once while it is built, to learn what its start loads.

The model's code runs in the bounds of any instance: no network, no secrets, unprivileged. What it leaves behind
was written by it: take names from it at most, and those only where they are names of something of ours.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from harness import process
from harness.methods import placement
from harness.spec import environments
from harness.spec.weights import LockedModel


def answered(
    locked: LockedModel,
    argv: Sequence[str],
    *,
    scratch: Path,
    weights: Path | None = None,
    writable: Sequence[Path] = (),
    timeout_s: float,
    **env: str,
) -> bool:
    """Whether ``argv``, given all examples as ``once`` reads them, ended well.

    What is wrong with a model is found out, and said, where it is started; no build fails of it. ``scratch`` must be
    a folder that other users can walk through; the home made there, and ``writable``, are the model's to write to.
    ``weights`` is the folder that it finds those in, where they are not in what is asked.
    """
    home = scratch / "home"
    home.mkdir()
    needed: tuple[Path, ...] = ()
    if weights is not None:
        needed, env = (weights,), {**env, **placement.environment(weights, home)}
    resources = locked.model.file.resources
    with environments.bounds(locked.model, *environments.needed_paths(scratch, *needed)) as policy:
        environments.give_to(policy, home, *writable)
        try:
            done = process.run(
                argv,
                env=process.environment(home, **env),
                cwd=home,
                stdin=json.dumps({"inputs": list(locked.model.examples.inputs)}),
                timeout_s=min(timeout_s, resources.start_timeout_s + resources.predict_timeout_s),
                policy=policy,
                kind="instances",
            )
        except process.TimedOut:
            return False
    return done.returncode == 0
