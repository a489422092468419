"""``pyinstaller``: one folder with an executable, its own Python and all it needs, made by PyInstaller.

PyInstaller finds modules by reading code, so it misses what is imported by a name in data (the classes in a pickle)
or by compiled code, and libraries that a package loads by their path: its build succeeds then, and the start fails. So
the model first answers its examples in bounds, in the locked environment, and every module that this loads is named to
PyInstaller (``--hidden-import``), as is every file and library that it opens (``--add-data``, ``--add-binary``). The
model's own sources are read for imports as well, for what other inputs load. Data files and metadata of the
dependencies are taken along whole. PyInstaller itself runs offline and unprivileged: its hooks import the dependencies.

``pyinstaller-onefile`` (:mod:`harness.methods.pyinstaller_onefile`) is the same as one file; a model that one of the
two can't carry has no answers with it, which is how it is told which the model tolerates.

Docs: https://pyinstaller.org/en/stable/usage.html and operating-mode.html, of the locked version. The C library is the
target's: https://pyinstaller.org/en/stable/usage.html#making-gnu-linux-apps-forward-compatible.
"""

from __future__ import annotations

import importlib.machinery
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

from harness import door, files, interpreter, paths, process, tools, tree
from harness.errors import BuildFailure
from harness.interpreter import Interpreter
from harness.methods import hosted, layout, mending, placement, rehearsal, variants
from harness.methods.contract import (
    Artifact,
    Availability,
    BuildOptions,
    Installed,
    Layers,
    Limit,
    Limits,
    Mends,
    Sizes,
    Traced,
)
from harness.methods.serving import Served
from harness.platforms.depot import Depot
from harness.spec import capabilities, environments, pythons
from harness.spec.model import Model
from harness.spec.scenario import Facility
from harness.spec.weights import LockedModel

ID = "pyinstaller"
FAMILY = "executable"
LAYERS = Layers(environment="folder with its own Python", interface="command line, Unix socket", platform="self-hosted")
FIDELITY = "measured"
LIMITS: tuple[Limit, ...] = ()
REQUIREMENTS: tuple[str, ...] = ()
REQUIRES: frozenset[Facility] = frozenset()
PROVIDES = capabilities.given(LAYERS)
MENDS: frozenset[Mends] = frozenset({"prune", "collect"})

_RESOURCES = paths.PACKAGE / "resources" / "pyinstaller"
#: Hard links would be copied apart, and PyInstaller takes the lists of installed files for what they say.
_RULES = ("tests", "stubs", "headers", "symbols")

#: Files that are named to PyInstaller one by one: no more than a command line holds.
_MOST_ADDED = 4000
_ADDING = frozenset({"--add-data", "--add-binary"})

#: As with every artifact that lies on the target.
present, remove = hosted.present, hosted.remove


def check() -> Availability:
    """Ready wherever uv, objcopy and an interpreter with its shared library are; PyInstaller is fetched when used."""
    found = hosted.check()
    if found.ready and shutil.which("objcopy") is None:
        return Availability(
            ready=False,
            reason="there is no objcopy, with which PyInstaller joins its launcher and what it starts",
            remedy="install binutils (Debian: apt-get install binutils)",
        )
    if found.ready and (lacking := _lacking(interpreter.default())):
        return Availability(ready=False, reason=lacking[0], remedy=lacking[1])
    return found


def _lacking(python: Interpreter) -> tuple[str, str] | None:
    """What PyInstaller lacks of the interpreter, and the remedy; None where it has all."""
    if _has_library(python):
        return None
    remedy = f"install it (Debian: apt-get install libpython{python.minor}), "
    remedy += "or set HARNESS_PYTHON to a Python that was built with --enable-shared"
    return f"{python.path} has no shared library, which PyInstaller takes along", remedy


def _has_library(python: Interpreter) -> bool:
    folders = (python.stdlib.parent, *python.stdlib.parent.glob("*-linux-gnu*"))
    return python.library is not None or any(any(one.glob(f"libpython{python.minor}*.so*")) for one in folders)


def prepare(model: Model) -> None:
    """Make PyInstaller's own environment; the model itself needs nothing."""
    tools.executable("pyinstaller", python=pythons.of(model))


def build(locked: LockedModel, workdir: Path, options: BuildOptions) -> Artifact:
    """The folder ``MODEL`` with the executable of that name in it."""
    variants.require(ID, options, locked.model)
    made, facts = frozen(locked, layout.fresh_folder(workdir, ID), options, kind="onedir")
    return Artifact(method=ID, model=locked.model.name, digest=tree.digest(made), path=made, facts=facts)


def frozen(
    locked: LockedModel, folder: Path, options: BuildOptions, *, kind: Literal["onedir", "onefile"]
) -> tuple[Path, dict[str, str]]:
    """What PyInstaller makes, moved to ``folder``; and what is to be said of it. BuildFailure where it refuses."""
    if lacking := _lacking(locked.lock.python):
        raise BuildFailure(lacking[0], remedy=lacking[1])
    rules = mending.rules(locked.model, options, _RULES)
    with process.temporary_folder("pyinstaller") as scratch, door.workspace(tools.BOUNDS.disk_bytes) as disk:
        environment, sources = scratch / "environment", scratch / "sources"
        environments.install(
            locked.lock, environment, cache=options.tool_cache, bytecode="none", timeout_s=options.timeout_s
        )
        layout.write_sources(locked, sources, bytecode="none", pruned=rules)
        layout.compile_bytecode(sources, python=locked.lock.python, bytecode=options.bytecode, place="app")
        traced = options.traced
        if traced is None:
            python = environment / "bin" / "python"
            traced = rehearsal.traced(locked, python, sources, timeout_s=options.timeout_s)
        packages = environments.site_packages(environment, locked.lock.python)
        if locked.lock.packages:
            layout.prune(packages, rules, traced.kept, timeout_s=options.timeout_s)
        loaded = _loaded(locked, traced)
        found = _found(packages, loaded, traced, options.mended.collected)
        arguments = _arguments(locked, disk, scratch, loaded, kind, found)
        made = _run_pyinstaller(disk, scratch, locked.lock.python, arguments, options)
        place = folder / locked.model.name
        _copy(made / locked.model.name, place)
    return place, {
        "pyinstaller": tools.version("pyinstaller"),
        "interpreter": locked.lock.python.version,
        "pruned": ", ".join(rules) or "nothing",
        **placement.facts(locked, options),
        "hidden imports": str(len(loaded)) if loaded else "none: the examples could not be answered in the environment",
        "files added": str(sum(option in _ADDING for option in found)),
    }


def _loaded(locked: LockedModel, traced: Traced) -> list[str]:
    """The names of the modules that answering the examples loads, those of the runner and the model left out."""
    own = {"__main__", "predictor", "harness_runner", *_own_modules(locked)}
    return [name for name in traced.modules if name.partition(".")[0] not in own]


def _found(packages: Path, loaded: Sequence[str], traced: Traced, whole: Sequence[str]) -> list[str]:
    """The options for what a start was seen to open, list or map that PyInstaller leaves out, each at its own place.

    It takes data files of the ``loaded`` packages, and the libraries that others are linked to, but no library that is
    loaded by its path (XGBoost's, LightGBM's), and no source that is read as text. Packages taken ``whole`` are those
    that earlier builds had to.
    """
    taken = {module.partition(".")[0] for module in loaded}
    data = [path for path in traced.opened if not _is_taken_as_data(path, taken)]
    for folder in traced.listed:
        there = sorted((packages / folder).iterdir()) if files.kind(packages / folder) == "folder" else ()
        data += [file.relative_to(packages).as_posix() for file in there if file.suffix == ".py"]
    native = [path for path in traced.mapped if not _is_extension(path, loaded)]
    options: list[str] = []
    for option, names in (("--add-data", data), ("--add-binary", native)):
        for name in dict.fromkeys(names[:_MOST_ADDED]):
            # Of these characters the first parts source from place, the others are a pattern's.
            if not set(name) & set(f"{os.pathsep}*?[") and files.kind(packages / name) == "file":
                options += [option, f"{packages / name}{os.pathsep}{Path(name).parent}"]
    for package in whole:
        if package.isidentifier() and (packages / package).is_dir():
            options += ["--collect-all", package]
    return options


def _is_taken_as_data(path: str, taken: Collection[str]) -> bool:
    """Whether ``--collect-data`` or ``--copy-metadata`` takes it, or it is bytecode."""
    top = path.partition("/")[0]
    code = path.endswith(tuple(importlib.machinery.all_suffixes()))
    return top.endswith(".dist-info") or "/__pycache__/" in path or (top in taken and not code)


def _is_extension(path: str, loaded: Collection[str]) -> bool:
    """Whether it is a module, which is taken by its name."""
    place, _, name = path.rpartition("/")
    return ".".join((*filter(None, place.split("/")), name.partition(".")[0])) in loaded


def _own_modules(locked: LockedModel) -> Iterator[str]:
    """The names by which the model's own sources import each other."""
    for path in sorted(locked.payload.iterdir()):
        if path.suffix == ".py" and path.stem.isidentifier():
            yield path.stem
        elif path.is_dir() and (path / "__init__.py").is_file():
            yield path.name


def _arguments(
    locked: LockedModel, disk: Path, scratch: Path, loaded: Sequence[str], kind: str, found: Sequence[str] = ()
) -> list[str]:
    sources, name = scratch / "sources", locked.model.name
    model = sources / layout.MODEL_FOLDER
    arguments = [f"--{kind}", "--name", name, "--noconfirm", "--log-level", "WARN", "--noupx"]
    for option in ("dist", "work", "spec"):
        arguments += [f"--{option}path", str(disk / option)]
    arguments += ["--paths", str(sources), "--paths", str(model)]
    arguments += ["--add-data", f"{model}{os.pathsep}{layout.MODEL_FOLDER}"]
    packages = environments.site_packages(scratch / "environment", locked.lock.python)
    for module in (*loaded, *_own_modules(locked)):
        arguments += ["--hidden-import", module]
    for package in sorted({module.partition(".")[0] for module in loaded}):
        if (packages / package).is_dir():
            arguments += ["--collect-data", package]
    for distribution, _ in locked.lock.packages:
        arguments += ["--copy-metadata", distribution]
    for module in sorted(_top_level(_tool_packages(locked.lock.python)) - _top_level(packages)):
        arguments += ["--exclude-module", module]
    return [*arguments, *found, str(_RESOURCES / "entry.py")]


def _tool_packages(python: Interpreter) -> Path:
    """The folder of PyInstaller's own packages, for that Python."""
    return environments.site_packages(tools.executable("pyinstaller", python=python).parent.parent, python)


def _top_level(packages: Path) -> set[str]:
    names = {path.name.partition(".")[0] for path in packages.iterdir() if path.suffix in ("", ".py")}
    return {name for name in names if name.isidentifier() and name != "__pycache__"}


def _run_pyinstaller(
    disk: Path, scratch: Path, of: Interpreter, arguments: Sequence[str], options: BuildOptions
) -> Path:
    """Run PyInstaller behind the door, since its hooks import the dependencies; the folder of what it made."""
    python, home = scratch / "environment" / "bin" / "python", disk / "own"
    written = [disk / name for name in ("own", "dist", "work", "spec")]
    for folder in written:
        folder.mkdir()
    # Not -P, which came with Python 3.11: the script takes its own folder out of the path.
    argv = [str(python), "-s", str(_RESOURCES / "freeze.py"), str(_tool_packages(of)), *arguments]
    # Both for the same output each time (PyInstaller's "Creating a Reproducible Build").
    env = process.environment(
        home,
        PYINSTALLER_CONFIG_DIR=str(home),
        PYTHONHASHSEED="1",
        PYTHONDONTWRITEBYTECODE="1",
        SOURCE_DATE_EPOCH=str(tree.FIXED_DATE),
    )
    shows = (scratch / "environment", scratch / "sources", _RESOURCES, _tool_packages(of))
    with tools.bench("PyInstaller", shows=shows, writes=written, links="inside") as bench:
        bench.run(argv, env=env, cwd=home, timeout_s=options.timeout_s)
    return disk / "dist"


def _copy(made: Path, place: Path) -> None:
    """Copy what was made, with the links that PyInstaller makes of the libraries that packages share.

    It was taken back, so none leads out, and nobody else can change it.
    """
    if made.is_symlink() or not made.exists():
        raise BuildFailure(f"PyInstaller ended well, but left no {made.name}")
    if made.is_dir():
        shutil.copytree(made, place, symlinks=True)
    else:
        shutil.copy(made, place)


# --- on the target -------------------------------------------------------------------------------


def sizes(artifact: Artifact, depot: Depot) -> Sizes:
    """Packed: the tar.gz. Unpacked: the folder; nothing else is needed but the system's C library."""
    return hosted.folder_sizes(artifact)


def install(artifact: Artifact, target: Path, depot: Depot) -> Installed:
    """Fetch the archive and unpack it on the target."""
    return hosted.install_archive(artifact, target, depot)


def start(installed: Installed, limits: Limits) -> AbstractContextManager[Served]:
    """``MODEL serve``, in bounds."""
    assert installed.root is not None
    program = str(installed.root / installed.artifact.model)
    return hosted.serving(installed, limits, lambda socket: [program, "serve", "--socket", str(socket)])
