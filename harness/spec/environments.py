"""Environments that the harness itself runs a model's code in: for training, and for checking answers."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness import ceiling, files, interpreter, paths, process, tools, usage
from harness.errors import BuildFailure
from harness.interpreter import Interpreter
from harness.sandbox import Bounds
from harness.spec.locked import Lock
from harness.spec.model import Model
from harness.tools import Bench

#: The rules of pruning, which run by themselves wherever packages are installed.
PRUNING = paths.PACKAGE / "methods" / "pruning.py"

#: As many compilers at once, and no more: each takes memory.
_COMPILERS = str(min(os.cpu_count() or 1, 16))


def site_packages(environment: Path, python: Interpreter) -> Path:
    """The folder of a virtual environment of ``python`` that its packages are in."""
    return environment / "lib" / f"python{python.minor}" / "site-packages"


def installed(lock: Lock) -> Path:
    """The interpreter of an environment with exactly what ``lock`` holds, made once and kept in the cache."""
    folder, python, done = _kept(lock)
    if usage.used(folder) and done.is_file():
        return python
    with tools.alone(folder.with_suffix(".lock")), process.disk_full_named(folder):
        if not (usage.used(folder) and done.is_file()):
            files.remove(folder)
            with process.temporary_folder("uv") as cache:
                install(lock, folder, cache=cache, bytecode="unchecked-hash", timeout_s=600)
            done.touch()
    return python


@contextmanager
def at_hand(lock: Lock) -> Iterator[Path]:
    """The interpreter of the environment that is kept, else of one that is gone after the block and not compiled."""
    folder, python, done = _kept(lock)
    if usage.used(folder) and done.is_file():
        yield python
        return
    with process.temporary_folder("environment", readable=True) as scratch:
        cache = scratch / "uv"
        cache.mkdir()
        install(lock, scratch / "made", cache=cache, bytecode="none", timeout_s=600)
        yield scratch / "made" / "bin" / "python"


def _kept(lock: Lock) -> tuple[Path, Path, Path]:
    """Where the environment of the lock is kept, its interpreter, and the file that says that it is whole."""
    key = hashlib.sha256(f"{lock.digest} {lock.python.path} {lock.python.version}".encode()).hexdigest()[:24]
    folder = paths.cache() / "environments" / key
    return folder, folder / "bin" / "python", folder / "complete"


def install(
    lock: Lock,
    folder: Path,
    *,
    cache: Path,
    bytecode: str,
    timeout_s: float,
    prune: Sequence[str] = (),
    keep: Sequence[str] = (),
) -> None:
    """Make a virtual environment in ``folder`` from the lock's wheels, offline; BuildFailure where uv refuses.

    ``prune`` are rules of :mod:`harness.methods.pruning` that are applied to its packages, but to what they must
    ``keep``. It is made behind the door,
    in uv's ``cache``, where files can be links to what uv unpacked, and moved when nothing runs there any more.

    Not compiled by uv: its bytecode has the folder's place in it, and is another wherever it is made. Python itself
    corrects the place of a source when it loads bytecode. It takes as long: 3.9 s for 2,837 files here, uv's 3.1 s.
    """
    made = cache / "made" / folder.name
    files.remove(made)
    made.parent.mkdir(exist_ok=True)
    env, python = tools.uv_offline(cache), lock.python.path
    make = [str(tools.uv()), "venv", "--quiet", "--relocatable", "--python", str(python), str(made)]
    fill = [str(tools.uv()), "pip", "install", "--quiet", "--no-index", "--find-links", str(lock.wheels), "--no-build"]
    fill += ["--require-hashes", "--no-deps", "--python", str(made / "bin" / "python"), "-r", str(lock.requirements)]
    shows = (tools.uv(), lock.wheels, lock.requirements, PRUNING)
    with tools.bench("making the environment", shows=shows, writes=(cache,)) as bench:
        for argv in (make, fill) if lock.packages else (make,):
            bench.run(argv, env=env, timeout_s=timeout_s)
        if lock.packages and prune:
            packages = site_packages(made, lock.python)
            pruned(bench, packages, prune, keep, timeout_s=timeout_s)
        if lock.packages and bytecode != "none":
            compiled(bench, lock.python, ["-s", str(made), str(made / "lib")], bytecode, timeout_s=timeout_s)
    check_links(made / "lib")
    if folder.is_dir():
        folder.rmdir()
    shutil.move(made, folder)


def pruned(bench: Bench, packages: Path, rules: Sequence[str], keep: Sequence[str] = (), *, timeout_s: float) -> None:
    """Leave out of the folder of ``packages`` what the ``rules`` say, but what they must ``keep``.

    They read what packages bring.
    """
    argv = [str(interpreter.default().path), "-I", str(PRUNING), "--keep", "-", str(packages), *rules]
    bench.run(argv, env=process.environment(packages), timeout_s=timeout_s, stdin="\n".join(keep))


def removable(packages: Path, rules: Sequence[str], keep: Sequence[str] = (), *, timeout_s: float) -> str:
    """What the ``rules`` would remove of the ``packages`` in that folder: the JSON that :data:`PRUNING` prints.

    Nothing is removed. What packages bring is read there, so it is to be looked at as any file of others.
    """
    argv = [str(interpreter.default().path), "-I", str(PRUNING), "--list", "--keep", "-", str(packages), *rules]
    with tools.bench("looking at what pruning removes", shows=(PRUNING, packages)) as bench:
        env = process.environment(Path("/nonexistent"))
        return bench.run(argv, env=env, timeout_s=timeout_s, stdin="\n".join(keep)).stdout


def compiled(
    bench: Bench,
    python: Interpreter,
    arguments: Sequence[str],
    bytecode: str,
    *,
    timeout_s: float,
    whole: bool = False,
) -> None:
    """Have ``compileall`` of the Python that will run it compile what its ``arguments`` say.

    Packages carry files for other Pythons: what can't be compiled is left out, or a BuildFailure where the ``whole``
    must be. So is, either way, a source that takes too much time or memory.
    """
    argv = [str(python.path), "-I", "-m", "compileall", "-q", "-j", "1" if whole else _COMPILERS]
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
