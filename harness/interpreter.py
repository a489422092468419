"""The interpreters on this machine, and the one that models run under where they ask for no other.

Container images carry their distribution's Python. So that a comparison shows what packaging does and
not who compiled the interpreter, the distribution's own is preferred here as well, where it is of
the same minor version. ``HARNESS_PYTHON`` names another. Which one a model gets, :mod:`harness.spec.pythons` decides.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from harness import process, settings
from harness.errors import MissingComponent

#: Debian's release for each Python: no release has two.
DEBIAN = {"3.9": "bullseye", "3.11": "bookworm", "3.13": "trixie"}
#: The runner that answers for a model needs this one or a newer.
OLDEST = (3, 9)

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
    def folders(self) -> tuple[Path, ...]:
        """What a process under it has to see: its installation, and that of a virtual environment."""
        return (self.path.parent, self.stdlib, *self.prefixes)

    @property
    def files(self) -> tuple[Path, ...]:
        """What a start reads of it: executable, shared library, standard library."""
        return tuple(path for path in (self.path.resolve(), self.library, self.stdlib) if path is not None)


def named() -> list[Path]:
    """Those that ``HARNESS_PYTHON`` names, parted by ``:``; models take the first that suits them."""
    return [Path(part) for part in settings.text("HARNESS_PYTHON").split(os.pathsep) if part]


@lru_cache(maxsize=1)
def default() -> Interpreter:
    """``HARNESS_PYTHON``, else the distribution's Python of the harness's own minor version, else the harness's own."""
    given = named()
    if given:
        return described(given[0])
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    system = Path(f"/usr/bin/python{minor}")
    base = Path(getattr(sys, "_base_executable", sys.executable) or sys.executable)
    return described(system if os.access(system, os.X_OK) else base)


def folders() -> tuple[Path, ...]:
    """What processes have to see of the interpreters that were described so far: their installations."""
    return tuple(dict.fromkeys(folder for python in known() for folder in python.folders))


def known() -> tuple[Interpreter, ...]:
    """The one that models run under where they ask for no other, and all that were described so far."""
    return tuple(dict.fromkeys((default(), *_known.values())))


#: Those that were described so far. Any of them can be what a process that is started next runs under.
_known: dict[Path, Interpreter] = {}


def described(path: Path) -> Interpreter:
    """The interpreter at ``path``, asked once; MissingComponent where there is none that works and is new enough."""
    if path not in _known:
        _known[path] = _asked(path)
    return _known[path]


def _asked(path: Path) -> Interpreter:
    try:
        done = process.run(
            [str(path), "-I", "-S", "-c", _ASK], env=process.environment(Path("/nonexistent")), timeout_s=30
        )
        answer = json.loads(done.stdout)
    except (MissingComponent, process.TimedOut, ValueError) as error:
        raise MissingComponent(
            f"{path} is not a Python that works: {error}", remedy="set HARNESS_PYTHON to the path of an interpreter"
        ) from error
    if tuple(int(part) for part in answer["version"].split(".")[:2]) < OLDEST:
        least = ".".join(map(str, OLDEST))
        raise MissingComponent(
            f"{path} is Python {answer['version']}; the runner needs {least} or newer", remedy="set HARNESS_PYTHON"
        )
    library = Path(answer["folder"], answer["library"])
    return Interpreter(
        path=path,
        version=answer["version"],
        stdlib=Path(answer["stdlib"]),
        library=library.resolve() if library.suffix != ".a" and library.is_file() else None,
        prefixes=tuple(Path(prefix) for prefix in answer["prefixes"]),
    )
