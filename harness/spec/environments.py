"""Environments that the harness itself runs a model's code in: for training, and for checking answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import ceiling, files, interpreter, paths, process, tools
from harness.errors import BuildFailure
from harness.sandbox import Bounds
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
            files.remove(folder)
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


def bounds(model: Model) -> Bounds:
    """What the model's own code may use: what its ``[resources]`` say, below this machine's ceiling."""
    allowed = ceiling.bounded(model.file.resources)
    return Bounds(memory_bytes=allowed.memory_bytes, processes=allowed.processes, disk_bytes=allowed.disk_bytes)
