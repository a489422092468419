"""Environments that the harness itself runs a model's code in: for training, and for checking answers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from harness import ceiling, interpreter, paths, process, sandbox, tools
from harness.errors import BuildFailure
from harness.spec.lock import Lock
from harness.spec.model import Model


def installed(lock: Lock) -> Path:
    """The interpreter of an environment with exactly what ``lock`` holds, made once and kept in the cache."""
    folder = paths.cache() / "environments" / lock.digest[:24]
    python = folder / "bin" / "python"
    done = folder / "complete"
    if done.is_file():
        return python
    with tools.alone(folder.with_suffix(".lock")), process.disk_full_named(folder):
        if not done.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            install(lock, folder, cache=paths.cache() / "uv", bytecode="unchecked-hash", timeout_s=600)
            done.touch()
    return python


def install(lock: Lock, folder: Path, *, cache: Path, bytecode: str, timeout_s: float) -> None:
    """Make a virtual environment in ``folder`` from the lock's wheels, offline; BuildFailure where uv refuses.

    Not compiled by uv: its bytecode has the folder's place in it, and is another wherever it is made. Python itself
    corrects the place of a source when it loads bytecode. It takes as long: 3.9 s for 2,837 files here, uv's 3.1 s.
    """
    env = {**tools.uv_environment(cache), **tools.UV_SAME_EVERY_TIME, "UV_OFFLINE": "1"}
    python = interpreter.default().path
    make = [str(tools.uv()), "venv", "--quiet", "--relocatable", "--python", str(python), str(folder)]
    fill = [str(tools.uv()), "pip", "install", "--quiet", "--no-index", "--find-links", str(lock.wheels)]
    fill += ["--require-hashes", "--no-deps", "--python", str(folder / "bin" / "python"), "-r", str(lock.requirements)]
    for argv in (make, fill) if lock.packages else (make,):
        done = _ran(argv, env, timeout_s)
        if done.returncode != 0:
            raise BuildFailure("uv could not make the environment", log=done.output)
    if lock.packages and bytecode != "none":
        compiling = [str(python), "-I", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", bytecode]
        # Packages carry files for other Pythons: what can't be compiled is left out.
        _ran([*compiling, "-s", str(folder), str(folder / "lib")], process.environment(folder), timeout_s)


def _ran(argv: Sequence[str], env: Mapping[str, str], timeout_s: float) -> process.Completed:
    try:
        return process.run(argv, env=env, timeout_s=timeout_s)
    except process.TimedOut as error:
        raise BuildFailure(f"making the environment: {error}", log=error.output) from error


def bounds(model: Model, *needed: Path) -> AbstractContextManager[sandbox.Policy]:
    """The policy that the model's own code runs under; its control group is gone afterwards."""
    allowed = ceiling.bounded(model.file.resources)
    return process.bounds(
        memory_bytes=allowed.memory_bytes,
        processes=allowed.processes,
        disk_bytes=allowed.disk_bytes,
        needed=needed,
    )


def give_to(policy: sandbox.Policy, *folders: Path) -> None:
    """Let the user that the policy runs as write into ``folders``."""
    for folder in folders:
        if policy.user_id is not None:
            os.chown(folder, policy.user_id, policy.user_id)


def needed_paths(*more: Path) -> Sequence[Path]:
    """The folders that a model's process has to reach: the interpreter's, and ``more``."""
    python = interpreter.default()
    return (python.path.parent, python.stdlib, *more)
