"""The interpreter of this machine as a conda package, for a local channel: what models run under everywhere else.

bin/python3.11, bin/python3, bin/python
lib/python3.11/          the standard library, compiled; without tests, static libraries and other packages
lib/*.so                 the libraries it links, but for those of glibc, found relative to who links them
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from harness import interpreter, process, tools, tree
from harness.errors import BuildFailure
from harness.platforms.conda import tooling

# What no conda package of Python has, or what belongs to the distribution that this one was built for.
_LEFT_OUT = re.compile(
    r"(test|tests|ensurepip|__pycache__|site-packages|dist-packages|config-.*|EXTERNALLY-MANAGED|.*\.a)$"
)
# A program must use the C library of the system that it runs on.
_OF_GLIBC = re.compile(r"(libc|libm|libdl|libpthread|librt|libutil|libresolv|libanl|ld-linux.*)\.so")
_TIMEOUT_S = 300.0


def made(python: interpreter.Interpreter) -> Path:
    """The folder with the packages ``python`` and ``python_abi``, made once for an interpreter."""
    said = [tooling.tools_digest(), tree.sha256(Path(__file__)), str(python.path), python.version]
    said.append(tree.sha256(python.path.resolve()))
    key = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:24]
    folder = tooling.folder("made") / f"python-{key}"
    with tools.alone(folder.with_suffix(".lock")):
        if not folder.is_dir():
            with process.temporary_folder("conda-python") as scratch, process.disk_full_named(scratch):
                _make(scratch, python, key)
                (scratch / "packages").rename(folder)
    return folder


def _make(scratch: Path, python: interpreter.Interpreter, key: str) -> None:
    stage, minor = scratch / "stage", python.minor
    _stage(stage, python)
    abi = scratch / "abi"
    abi.mkdir()
    tag = f"cp{minor.replace('.', '')}"
    package = {
        "name": "python",
        "version": python.version,
        "build": f"h{key[:7]}_0_cpython",
        "folder": str(stage),
        "depends": [f"__glibc >={_floor(stage)}"],
        "constrains": [f"python_abi {minor}.* *_{tag}"],
    }
    empty = {
        "name": "python_abi",
        "version": minor,
        "build": f"0_{tag}",
        "folder": str(abi),
        "depends": [],
        "constrains": [f"python {minor}.* *_cpython"],
    }
    known = {"platform": tooling.platform(), "output": str(scratch / "packages")}
    asked = {"packages": [{**one, **known} for one in (package, empty)]}
    (scratch / "packages").mkdir()
    tooling.task("assemble", asked, timeout_s=_TIMEOUT_S, shows=(stage, abi), writes=(scratch / "packages",))


def _stage(stage: Path, python: interpreter.Interpreter) -> None:
    name = f"python{python.minor}"
    library = stage / python.stdlib.parent.name  # lib; lib64 for some distributions' Python
    program = stage / "bin" / name
    program.parent.mkdir(parents=True)
    shutil.copyfile(python.path.resolve(), program)
    program.chmod(0o755)
    for link in ("python3", "python"):
        (program.parent / link).symlink_to(name)
    _copy_library(python.stdlib, library / name)
    (packages := stage / "lib" / name / "site-packages").mkdir(parents=True, exist_ok=True)
    (packages / "README.txt").write_text("Packages that are installed here are imported by this Python.\n")
    if "dist-packages" in (library / name / "site.py").read_text():
        # Debian's Python looks for packages under this name only.
        (library / name / "dist-packages").symlink_to("site-packages")
    modules = sorted((library / name).rglob("*.so"))
    libraries = _bundle(program, modules, library)
    for relative, files in (
        (f"$ORIGIN/../{library.name}", [program]),
        ("$ORIGIN/../..", modules),
        ("$ORIGIN", libraries),
    ):
        if files:
            _done([str(tools.executable("conda", "patchelf")), "--set-rpath", relative, *map(str, files)])
    # Bytecode travels with a conda package of Python. That of a few files on purpose cannot be made.
    argv = [str(python.path), "-I", "-m", "compileall", "-q", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    process.run([*argv, "-s", str(stage), str(library / name)], env=process.environment(stage), timeout_s=_TIMEOUT_S)


def _copy_library(source: Path, target: Path) -> None:
    for parent, folders, names in os.walk(source):
        folders[:] = [name for name in folders if not _LEFT_OUT.match(name)]
        place = target / Path(parent).relative_to(source)
        place.mkdir(parents=True, exist_ok=True)
        for name in names:
            file = Path(parent, name)
            # Links lead out of the library, to what the distribution configures.
            if not _LEFT_OUT.match(name) and not file.is_symlink():
                shutil.copyfile(file, place / name)
                (place / name).chmod(0o644)


def _bundle(program: Path, modules: Iterable[Path], folder: Path) -> list[Path]:
    """Copy what they link into ``folder``, transitively, as ldd tells."""
    copied = []
    for name, place in sorted(set(re.findall(r"^\s+(\S+) => (/\S+) ", _linked(program, *modules), re.MULTILINE))):
        if not _OF_GLIBC.match(name):
            shutil.copyfile(place, folder / name)
            (folder / name).chmod(0o644)
            copied.append(folder / name)
    return copied


def _linked(*files: Path) -> str:
    return _done(["ldd", *map(str, files)])


def _done(argv: list[str]) -> str:
    done = process.run(argv, env=process.environment(Path("/nonexistent")), timeout_s=_TIMEOUT_S)
    if done.returncode != 0:
        raise BuildFailure(f"packing the interpreter for conda: {Path(argv[0]).name} failed", log=done.output)
    return done.stdout


def _floor(stage: Path) -> str:
    """The newest glibc version whose symbols are asked for: the oldest that it runs with."""
    asked = {(2, 17)}
    for file in (stage / "bin").glob("python3.*"), stage.rglob("*.so*"):
        for one in file:
            asked |= {(int(a), int(b)) for a, b in re.findall(rb"\0GLIBC_(\d+)\.(\d+)(?=[.\0])", one.read_bytes())}
    return "{}.{}".format(*max(asked))
