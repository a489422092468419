"""A reader's surroundings: no process is started, and all that is written lies below one folder."""

from __future__ import annotations

import contextlib
import io
import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb

from harness import interpreter, process
from harness.interpreter import Interpreter

PYTHON = Interpreter(
    path=Path(sys.executable),
    version=platform.python_version(),
    stdlib=Path(sysconfig.get_path("stdlib")),
    library=None,
)


class _NoWatchdog:
    """Stands in for the watchdog, which is a process."""

    def tell(self, entry: Mapping[str, Any]) -> None:
        """Nothing outlives a reader here."""

    def number(self) -> int:
        """Any."""
        return 0


def _refuse(*_args: object, **_kwargs: object) -> None:
    raise FileNotFoundError(2, "no process is started while readers are tried")


@contextlib.contextmanager
def surroundings() -> Iterator[None]:
    """For all the inputs that are read inside: what starts a process finds no program, which the harness tells of.

    DuckDB is started once, and each connection is one more to it: to start it takes longer than to read a run.
    """
    with (
        duckdb.connect(config={"threads": 1}) as started,
        mock.patch.object(duckdb, "connect", side_effect=lambda **_: started.cursor()),
        mock.patch.object(process, "_watchdog", _NoWatchdog()),
        mock.patch.object(subprocess.Popen, "__init__", _refuse),
        mock.patch.object(interpreter, "default", return_value=PYTHON),
    ):
        yield


@contextlib.contextmanager
def quietly(place: Path) -> Iterator[None]:
    """For one input: a cache and results of its own below ``place``, and nothing on the terminal."""
    own = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(place / "home"),
        "HARNESS_CACHE": str(place / "cache"),
        "HARNESS_RESULTS": str(place / "results"),
        "DOCKER_HOST": "unix:///nonexistent/docker.sock",
    }
    said = io.StringIO()
    with (
        mock.patch.dict(os.environ, own, clear=True),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        yield


def remove(folder: Path) -> None:
    """Delete a folder however deep it is: each folder in it is moved to the top before it is emptied."""
    waiting = [str(folder)]
    for number, parent in enumerate(waiting):
        os.chmod(parent, 0o700)
        with os.scandir(parent) as entries:
            for place, entry in enumerate(entries):
                if entry.is_dir(follow_symlinks=False):
                    top = f"{folder}.{number}.{place}"
                    os.rename(entry.path, top)
                    waiting.append(top)
                else:
                    os.unlink(entry.path)
        os.rmdir(parent)
