"""Nothing starts a process but through the one door, or is a tool of ours that executes nobody's code.

Each place that starts a process is listed here, with the reason why it may. A new one is to be thought about: does what
it runs execute, or import, anything of a model or of a package that a model names? Then it belongs behind the door.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import paths

#: Who may name what starts processes in Python itself.
_PRIMITIVES = {
    "process.py": "the only place that starts processes",
    "enclosure.py": "forks once more to become a namespace's child",
    "sandbox.py": "forks to try out what this machine allows",
    "watchdog.py": "ends what a harness that was killed has left; starts nothing",
    "resources/pyinstaller/entry.py": "travels in artifacts: a model's own children, behind the door with it",
    "resources/pex/lift.py": "runs behind the door, and starts there what it is told to",
}

#: Who may start a process outside the door, and what that executes.
_OUTSIDE = {
    "door.py": "the door; and mkfs.ext4, on a file that was just made",
    "interpreter.py": "the interpreter that the user chose, isolated, to ask for its version",
    "measure/sentinel.py": "the interpreter, isolated, with a program of ours",
    "methods/pex_scie.py": "the tool science, as released and checked against its digest, to fetch its own assets",
    "platforms/conda/python_package.py": "ldd, patchelf and compileall on a copy of the user's own interpreter",
    "platforms/conda/tooling.py": "conda-lock, py-rattler and our tasks, to read lists of packages and download them",
    "platforms/engine.py": "the Docker engine; what runs in its containers has bounds of its own",
    "platforms/engine_processes.py": "umount, on the engine's folders",
    "platforms/host.py": "an instance, behind the door's policy",
    "platforms/images.py": "mmdebstrap and apt, with names of Debian's packages; no script of a package is run",
    "platforms/loopback.py": "nothing: it waits for a server that another has started",
    "platforms/moto.py": "the stand-in for AWS; functions run in containers of the engine, in bounds of their own",
    "platforms/registry.py": "the registry of images, which keeps layers and opens none",
    "platforms/targets.py": "tar, on a root file system that was made of Debian's packages",
    "spec/fetching.py": "Python, isolated, with a program of ours that downloads one file",
    "spec/pythons.py": "uv, to list the interpreters that are here and to fetch one; it installs no package",
    "spec/resolving.py": "uv and pip, to resolve and to say how they are configured; no package is built or installed",
    "spec/wheelhouse.py": "pip, to download wheels alone; no package is built or installed",
    "tools.py": "uv, to install the tools that are locked by hash in the harness",
}

_STARTING = {"run", "Child", "start_daemon", "enclosed"}
_OF_OS = {"fork", "forkpty", "system", "popen", "posix_spawn", "posix_spawnp", "startfile"}
_MODULES = {"subprocess", "multiprocessing", "pty", "_posixsubprocess", "concurrent.futures.process"}
_NAMES = {"Popen", "ProcessPoolExecutor"}


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(paths.PACKAGE.rglob("*.py")):
        name = file.relative_to(paths.PACKAGE).as_posix()
        # What travels in artifacts, or is run by tools there, is started behind the door or in a container itself.
        if not name.startswith(("runtime/harness_runner/", "_data/")):
            yield name, ast.parse(file.read_text(encoding="utf-8"))


def _primitives(tree: ast.AST) -> Iterator[str]:
    """What of Python's own starts a process, by any name that it is imported under."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in _MODULES)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield from ([module] if module in _MODULES else [])
            names = {alias.name for alias in node.names}
            yield from names & _NAMES
            if module == "os":
                yield from (name for name in names if name in _OF_OS or name.startswith(("exec", "spawn")))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = node.attr
            if node.value.id == "os" and (name in _OF_OS or name.startswith(("exec", "spawn"))):
                yield f"os.{name}"
            elif node.value.id == "asyncio" and name.startswith("create_subprocess"):
                yield f"asyncio.{name}"


def _starts(tree: ast.AST) -> Iterator[str]:
    """What of ``harness.process`` that starts a process is used or imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "process" and node.attr in _STARTING:
                yield node.attr
        elif isinstance(node, ast.ImportFrom) and node.module == "harness.process":
            yield from {alias.name for alias in node.names} & _STARTING


def test_only_a_few_name_what_starts_processes() -> None:
    """And each that is listed does."""
    found = {name for name, tree in _modules() if [*_primitives(tree)]}
    assert found == set(_PRIMITIVES) - {"watchdog.py"}


def test_what_is_started_outside_the_door_is_listed() -> None:
    """And each that is listed starts something: the list is no longer than it has to be."""
    found = {name for name, tree in _modules() if [*_starts(tree)]}
    assert found - set(_OUTSIDE) == set(), "may it execute anybody's code? then use harness.door or tools.bench"
    assert set(_OUTSIDE) - found == set()


@pytest.mark.parametrize(
    "text",
    [
        "import subprocess",
        "import subprocess as s",
        "from subprocess import run",
        "import multiprocessing",
        "from concurrent.futures import ProcessPoolExecutor",
        "from os import posix_spawn as p",
        "import os\nos.system('x')",
        "import os\nos.execv('x', [])",
    ],
)
def test_the_scan_sees_it(text: str) -> None:
    """By any name."""
    assert [*_primitives(ast.parse(text))]


def test_the_scan_sees_what_starts() -> None:
    """Also where it is imported by its name."""
    assert [*_starts(ast.parse("from harness.process import run as go"))] == ["run"]
    assert [*_starts(ast.parse("process.Child([])"))] == ["Child"]
    assert Path("process.py").name in _PRIMITIVES
