"""Environments that the harness itself runs a model's code in: for training, and for checking answers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from harness import ceiling, files, interpreter, paths, process, tools
from harness.errors import BuildFailure
from harness.sandbox import Bounds
from harness.spec.locked import Lock
from harness.spec.model import Model
from harness.tools import Bench

#: The rules of pruning, which run by themselves wherever packages are installed.
PRUNING = paths.PACKAGE / "methods" / "pruning.py"

#: As many compilers at once, and no more: each takes memory.
_COMPILERS = str(min(os.cpu_count() or 1, 16))


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
            with process.temporary_folder("uv") as cache:
                install(lock, folder, cache=cache, bytecode="unchecked-hash", timeout_s=600)
            done.touch()
    return python


def install(
    lock: Lock, folder: Path, *, cache: Path, bytecode: str, timeout_s: float, prune: Sequence[str] = ()
) -> None:
    """Make a virtual environment in ``folder`` from the lock's wheels, offline; BuildFailure where uv refuses.

    ``prune`` are rules of :mod:`harness.methods.pruning` that are applied to its packages. It is made behind the door,
    in uv's ``cache``, where files can be links to what uv unpacked, and moved when nothing runs there any more.

    Not compiled by uv: its bytecode has the folder's place in it, and is another wherever it is made. Python itself
    corrects the place of a source when it loads bytecode. It takes as long: 3.9 s for 2,837 files here, uv's 3.1 s.
    """
    made = cache / "made" / folder.name
    files.remove(made)
    made.parent.mkdir(exist_ok=True)
    env, python = tools.uv_offline(cache), interpreter.default().path
    make = [str(tools.uv()), "venv", "--quiet", "--relocatable", "--python", str(python), str(made)]
    fill = [str(tools.uv()), "pip", "install", "--quiet", "--no-index", "--find-links", str(lock.wheels), "--no-build"]
    fill += ["--require-hashes", "--no-deps", "--python", str(made / "bin" / "python"), "-r", str(lock.requirements)]
    shows = (tools.uv(), lock.wheels, lock.requirements, PRUNING)
    with tools.bench("making the environment", shows=shows, writes=(cache,)) as bench:
        for argv in (make, fill) if lock.packages else (make,):
            bench.run(argv, env=env, timeout_s=timeout_s)
        if lock.packages and prune:
            packages = made / "lib" / f"python{interpreter.default().minor}" / "site-packages"
            pruned(bench, packages, prune, timeout_s=timeout_s)
        if lock.packages and bytecode != "none":
            compiled(bench, ["-s", str(made), str(made / "lib")], bytecode, timeout_s=timeout_s)
    check_links(made / "lib")
    if folder.is_dir():
        folder.rmdir()
    shutil.move(made, folder)


def pruned(bench: Bench, packages: Path, rules: Sequence[str], *, timeout_s: float) -> None:
    """Leave out of the folder of ``packages`` what the ``rules`` say; they read what packages bring."""
    argv = [str(interpreter.default().path), "-I", str(PRUNING), str(packages), *rules]
    bench.run(argv, env=process.environment(packages), timeout_s=timeout_s)


def compiled(bench: Bench, arguments: Sequence[str], bytecode: str, *, timeout_s: float, whole: bool = False) -> None:
    """Have Python's ``compileall`` compile what its ``arguments`` say.

    Packages carry files for other Pythons: what can't be compiled is left out, or a BuildFailure where the ``whole``
    must be. So is, either way, a source that takes too much time or memory.
    """
    argv = [str(interpreter.default().path), "-I", "-m", "compileall", "-q", "-j", "1" if whole else _COMPILERS]
    argv += ["--invalidation-mode", bytecode, *arguments]
    env = process.environment(Path("/nonexistent"))
    done = bench.run(argv, env=env, timeout_s=timeout_s, fine=(0, 1))
    if done.returncode != 0 and whole:
        raise BuildFailure("a Python file of the model cannot be compiled", log=done.output, remedy="mend it")
    if "BrokenProcessPool" in done.stderr:
        raise BuildFailure(
            f"{bench.what}: a Python file takes too much memory to be compiled, or crashes Python",
            log=done.output,
            remedy="leave the package out, or take another version of it",
        )


def check_links(folder: Path) -> None:
    """BuildFailure for a link among packages: the harness writes there, and wheels have none."""
    for entry in files.walk(folder):
        if entry.kind == "link":
            raise BuildFailure(f"{entry.relative} in the environment is a link", remedy="leave that package out")


def bounds(model: Model) -> Bounds:
    """What the model's own code may use: what its ``[resources]`` say, below this machine's ceiling."""
    allowed = ceiling.bounded(model.file.resources)
    return Bounds(memory_bytes=allowed.memory_bytes, processes=allowed.processes, disk_bytes=allowed.disk_bytes)
