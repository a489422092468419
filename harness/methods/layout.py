"""What every environment method puts into its artifact: the runner, the model, and their bytecode."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from harness import interpreter, process, tree
from harness.errors import BuildFailure
from harness.methods import placement
from harness.methods.contract import BuildOptions, Bytecode, Placement
from harness.runtime import RUNNER
from harness.spec import environments
from harness.spec.weights import LockedModel

#: The package name under which the model lies beside the runner in every artifact.
MODEL_FOLDER = "harness_model"

#: The module of the runner that only artifacts without their weights need.
_PLACING = "placing.py"


def write_sources(
    locked: LockedModel, folder: Path, *, bytecode: Bytecode, model: bool = True, weights: Placement = "inside"
) -> None:
    """Put ``harness_runner/`` and ``harness_model/`` into ``folder``, compiled as ``bytecode`` says.

    Without ``model`` only the runner is put there, for platforms that the model's files reach by other ways. Of
    ``weights`` that are not inside nothing is put there but their names, sizes and digests.
    """
    runner, payload = folder / RUNNER.name, folder / MODEL_FOLDER
    apart = weights != "inside"
    tree.copy(RUNNER, runner, keep=lambda relative: relative.suffix == ".py" and (apart or relative.name != _PLACING))
    file = locked.model.file
    told = {"ENTRYPOINT": file.entrypoint, "ENVIRONMENT": dict(sorted(file.env.items()))}
    lines = [
        f"{name} = {value!r}\n" for name, value in {**told, **(placement.declared(locked) if apart else {})}.items()
    ]
    (runner / "packaged.py").write_text('"""What model.toml says of a start."""\n\n' + "".join(lines))
    os.utime(runner / "packaged.py", (tree.FIXED_DATE, tree.FIXED_DATE))
    written = [runner]
    if model:
        tree.copy(
            locked.payload, payload, keep=lambda relative: not (apart and placement.is_weight(locked.model, relative))
        )
        written.append(payload)
    compile_bytecode(*written, bytecode=bytecode)


def install_packages(locked: LockedModel, folder: Path, options: BuildOptions) -> None:
    """A virtual environment in ``folder`` with the locked packages, compiled as the options say.

    Archives of ours give files a fixed date, which would make bytecode worthless that goes by dates: so for that kind
    the sources have that date before they are compiled.
    """
    dated = options.bytecode == "timestamp"
    environments.install(
        locked.lock,
        folder,
        cache=options.tool_cache,
        bytecode="none" if dated else options.bytecode,
        timeout_s=options.timeout_s,
    )
    if dated:
        compile_dated(folder, folder / "lib", timeout_s=options.timeout_s)


def compile_dated(folder: Path, below: Path, *, timeout_s: float) -> None:
    """Give the sources ``below`` a folder of ``folder`` the date that archives have, and compile them by dates."""
    for source in below.rglob("*.py"):
        if not source.is_symlink():
            os.utime(source, (tree.FIXED_DATE, tree.FIXED_DATE))
    compile_packages(folder, bytecode="timestamp", timeout_s=timeout_s, below=below)


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

    ``place`` is where the one folder will lie. Bytecode names its source's place, which Python corrects when it loads
    it; so that it is the same every time, it names that one, or the place within the folder that all of them are in.
    """
    if bytecode == "none":
        return
    where = ["-s", str(folders[0]), "-p", place] if place else ["-s", str(folders[0].parent)]
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
