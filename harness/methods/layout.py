"""What every environment method puts into its artifact: the runner, the model, and their bytecode."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from harness import door, files, tools, tree
from harness.interpreter import Interpreter
from harness.methods import placement, pruning
from harness.methods.contract import BuildOptions, Bytecode, Placement
from harness.runtime import RUNNER
from harness.spec import environments
from harness.spec.weights import LockedModel

#: The package name under which the model lies beside the runner in every artifact.
MODEL_FOLDER = "harness_model"

#: The module of the runner that only artifacts without their weights need.
_PLACING = "placing.py"

_COMPILE_S = 300.0


def write_sources(
    locked: LockedModel,
    folder: Path,
    *,
    bytecode: Bytecode,
    model: bool = True,
    weights: Placement = "inside",
    pruned: Sequence[str] = (),
) -> None:
    """Put ``harness_runner/`` and ``harness_model/`` into ``folder``, compiled as ``bytecode`` says.

    Without ``model`` only the runner is put there, for platforms that the model's files reach by other ways. Of
    ``weights`` that are not inside nothing is put there but their names, sizes and digests. Which rules of pruning
    were applied to the packages (``pruned``) is told, so that a message can say so of a file that is missing.
    """
    runner, payload = folder / RUNNER.name, folder / MODEL_FOLDER
    for place in (runner, payload):  # a package could have something of this name
        files.remove(place)
    apart = weights != "inside"
    tree.copy(RUNNER, runner, keep=lambda relative: relative.suffix == ".py" and (apart or relative.name != _PLACING))
    file = locked.model.file
    told: dict[str, object] = {"ENTRYPOINT": file.entrypoint, "ENVIRONMENT": dict(sorted(file.env.items()))}
    told["PRUNED"] = {rule: sign for rule, sign in pruning.SIGNS.items() if rule in pruned}
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
    compile_bytecode(*written, python=locked.lock.python, bytecode=bytecode)


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
        compile_dated(folder, folder / "lib", locked.lock.python, timeout_s=options.timeout_s)


def compile_dated(folder: Path, below: Path, python: Interpreter, *, timeout_s: float) -> None:
    """Give the sources ``below`` a folder of ``folder`` the date that archives have, and compile them by dates."""
    dates = tree.FIXED_DATE, tree.FIXED_DATE
    for entry in files.walk(below):
        if entry.kind == "file" and entry.path.suffix == ".py":
            os.utime(entry.path.name, dates, dir_fd=entry.parent, follow_symlinks=False)
    compile_packages(folder, python=python, bytecode="timestamp", timeout_s=timeout_s, below=below)


def prune(packages: Path, rules: Sequence[str], keep: Sequence[str] = (), *, timeout_s: float) -> None:
    """Leave out of ``packages`` what the ``rules`` of :mod:`harness.methods.pruning` say, but not what to ``keep``."""
    if rules:
        with tools.bench("pruning", shows=(environments.PRUNING,), writes=(packages,)) as bench:
            environments.pruned(bench, packages, rules, keep, timeout_s=timeout_s)


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


def compile_bytecode(*folders: Path, python: Interpreter, bytecode: Bytecode, place: str = "") -> None:
    """Compile every source of a model or of ours below ``folders`` with the ``python`` that will run it.

    ``place`` is where the one folder will lie. Bytecode names its source's place, which Python corrects when it loads
    it; so that it is the same every time, it names that one, or the place within the folder that all of them are in.
    """
    if bytecode == "none":
        return
    where = ["-s", str(folders[0]), "-p", place] if place else ["-s", str(folders[0].parent)]
    with tools.bench("compiling the model's Python files", writes=folders, bounds=tools.COMPILING) as bench:
        environments.compiled(bench, python, [*where, *map(str, folders)], bytecode, timeout_s=_COMPILE_S, whole=True)


def compile_packages(
    folder: Path,
    *,
    python: Interpreter,
    bytecode: Bytecode,
    timeout_s: float,
    place: str = "",
    below: Path | None = None,
) -> None:
    """Compile the packages in ``folder``, or those ``below`` a folder of it, whose own name the bytecode won't tell.

    ``place`` is where ``folder`` will lie. Packages carry files for other Pythons: what can't be compiled is left out.
    """
    if bytecode == "none":
        return
    where = ["-s", str(folder), *(["-p", place] if place else [])]
    below = below or folder
    with tools.bench("compiling packages", writes=(below,)) as bench:
        environments.compiled(bench, python, ["-f", *where, str(below)], bytecode, timeout_s=timeout_s)


def bench_folder(options: BuildOptions, name: str) -> Path:
    """A folder in the tools' cache, on a disk of its own: for tools that execute what packages bring.

    It is kept as long as that cache is.
    """
    folder = options.tool_cache / name
    folder.mkdir(exist_ok=True)
    door.limit(folder, tools.BOUNDS.disk_bytes)
    return folder


def fresh_folder(workdir: Path, name: str) -> Path:
    """``workdir/name``, empty."""
    folder = workdir / name
    files.remove(folder)
    folder.mkdir(parents=True)
    return folder
