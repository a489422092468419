"""What every environment method puts into its artifact: the runner, the model, and their bytecode."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from harness import interpreter, process, tree
from harness.errors import BuildFailure
from harness.methods.contract import Bytecode
from harness.runtime import RUNNER
from harness.spec.weights import LockedModel

#: The package name under which the model lies beside the runner in every artifact.
MODEL_FOLDER = "harness_model"


def write_sources(locked: LockedModel, folder: Path, *, bytecode: Bytecode, model: bool = True) -> None:
    """Put ``harness_runner/`` and ``harness_model/`` into ``folder``, compiled as ``bytecode`` says.

    Without ``model`` only the runner is put there, for platforms that the model's files reach by other ways.
    """
    runner, payload = folder / RUNNER.name, folder / MODEL_FOLDER
    tree.copy(RUNNER, runner, keep=lambda relative: relative.suffix == ".py")
    file = locked.model.file
    (runner / "packaged.py").write_text(
        '"""What model.toml says of a start."""\n\n'
        f"ENTRYPOINT = {file.entrypoint!r}\nENVIRONMENT = {dict(sorted(file.env.items()))!r}\n"
    )
    os.utime(runner / "packaged.py", (tree.FIXED_DATE, tree.FIXED_DATE))
    written = [runner]
    if model:
        tree.copy(locked.payload, payload)
        written.append(payload)
    compile_bytecode(*written, bytecode=bytecode)


def write_examples(locked: LockedModel, folder: Path) -> None:
    """Put the model's name, description and first example into ``folder``, for a form page to show."""
    model = locked.model
    about = {
        "name": model.name,
        "version": model.file.version,
        "description": model.file.description,
        "example": model.examples.inputs[0],
    }
    (folder / "about.json").write_text(json.dumps(about, sort_keys=True))
    os.utime(folder / "about.json", (tree.FIXED_DATE, tree.FIXED_DATE))


def compile_bytecode(*folders: Path, bytecode: Bytecode, place: str = "") -> None:
    """Compile every source of a model or of ours below ``folders`` with the interpreter that will run it.

    ``place`` is where the one folder will lie: bytecode names its source's place, and is the same every time then.
    """
    if bytecode == "none":
        return
    where = ["-s", str(folders[0]), "-p", place] if place else []
    done = _compileall([*where, *map(str, folders)], bytecode, folders[0], 300.0)
    if done.returncode != 0:
        raise BuildFailure("a Python file of the model cannot be compiled", log=done.output, remedy="mend it")


def compile_packages(
    folder: Path, *, bytecode: Bytecode, timeout_s: float, place: str = "", below: Path | None = None
) -> None:
    """Compile the packages in ``folder``, or those ``below`` a folder of it, whose own name the bytecode won't tell.

    ``place`` is where ``folder`` will lie. Packages carry files for other Pythons: what can't be compiled is left out.
    """
    if bytecode == "none":
        return
    where = ["-s", str(folder), *(["-p", place] if place else [])]
    _compileall(["-f", "-j", "0", *where, str(below or folder)], bytecode, folder, timeout_s)


def _compileall(more: list[str], bytecode: Bytecode, home: Path, timeout_s: float) -> process.Completed:
    argv = [str(interpreter.default().path), "-I", "-m", "compileall", "-q", "--invalidation-mode", bytecode, *more]
    try:
        return process.run(argv, env=process.environment(home), timeout_s=timeout_s)
    except process.TimedOut as error:
        raise BuildFailure(f"compiling Python files: {error.problem}", log=error.output) from error


def fresh_folder(workdir: Path, name: str) -> Path:
    """``workdir/name``, empty."""
    folder = workdir / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
