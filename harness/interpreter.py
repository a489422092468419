"""The Python that models run under on this machine.

Container images carry their distribution's Python. So that a comparison shows what packaging does and
not who compiled the interpreter, the distribution's own is preferred here as well, where it is of
the same minor version. ``HARNESS_PYTHON`` names another.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from packaging.specifiers import SpecifierSet

from harness import process, settings
from harness.errors import BadInput, MissingComponent

_ASK = (
    "import json,sys,sysconfig;print(json.dumps({'version':sys.version.split()[0],"
    "'stdlib':sysconfig.get_path('stdlib'),'prefixes':[sys.prefix,sys.base_prefix],"
    "'library':sysconfig.get_config_var('LDLIBRARY') or '',"
    "'folder':sysconfig.get_config_var('LIBDIR') or ''}))"
)


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """An interpreter on this machine: ``path`` is the executable, ``stdlib`` its library folder.

    ``prefixes`` are the folders that it is installed in.
    """

    path: Path
    version: str
    stdlib: Path
    library: Path | None
    prefixes: tuple[Path, ...] = ()

    @property
    def minor(self) -> str:
        """``3.11`` of ``3.11.2``."""
        return ".".join(self.version.split(".")[:2])

    @property
    def files(self) -> tuple[Path, ...]:
        """What a start reads of it: executable, shared library, standard library."""
        return tuple(path for path in (self.path.resolve(), self.library, self.stdlib) if path is not None)


@lru_cache(maxsize=1)
def default() -> Interpreter:
    """``HARNESS_PYTHON``, else the distribution's Python of the harness's own minor version, else the harness's own."""
    given = settings.text("HARNESS_PYTHON")
    if given:
        return _described(Path(given))
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    system = Path(f"/usr/bin/python{minor}")
    base = Path(getattr(sys, "_base_executable", sys.executable) or sys.executable)
    return _described(system if os.access(system, os.X_OK) else base)


def folders() -> tuple[Path, ...]:
    """What a process under this interpreter has to see: its installation, and that of a virtual environment."""
    python = default()
    return (python.path.parent, python.stdlib, *python.prefixes)


def suits(specifier: str, *, file: object) -> Interpreter:
    """The interpreter, where the model's ``python`` allows it; BadInput otherwise."""
    found = default()
    if found.version not in SpecifierSet(specifier):
        raise BadInput(
            f"the Python that is used here is {found.version} ({found.path})",
            file=file,
            key="python",
            value=specifier,
            remedy="set HARNESS_PYTHON to an interpreter that suits, or widen 'python'",
        )
    return found


def _described(path: Path) -> Interpreter:
    try:
        done = process.run(
            [str(path), "-I", "-S", "-c", _ASK], env=process.environment(Path("/nonexistent")), timeout_s=30
        )
        answer = json.loads(done.stdout)
    except (MissingComponent, process.TimedOut, ValueError) as error:
        raise MissingComponent(
            f"{path} is not a Python that works: {error}", remedy="set HARNESS_PYTHON to the path of an interpreter"
        ) from error
    if tuple(int(part) for part in answer["version"].split(".")[:2]) < (3, 11):
        raise MissingComponent(
            f"{path} is Python {answer['version']}; the runner needs 3.11 or newer", remedy="set HARNESS_PYTHON"
        )
    library = Path(answer["folder"], answer["library"])
    return Interpreter(
        path=path,
        version=answer["version"],
        stdlib=Path(answer["stdlib"]),
        library=library.resolve() if library.suffix != ".a" and library.is_file() else None,
        prefixes=tuple(Path(prefix) for prefix in answer["prefixes"]),
    )
