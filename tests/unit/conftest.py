"""Unit tests start no process, reach no network, and keep everything below their own temporary folder."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import socket
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import disks, door, files, interpreter, process, removal
from harness.interpreter import Interpreter
from harness.measure.plan import Plan
from harness.measure.sample import Cell, Sample
from harness.metrics import METRICS, PHASES, START_STATES
from harness.sandbox import Abilities, Bounds, Policy
from harness.spec import model as models
from harness.spec.model import Model
from harness.store import query, runs
from harness.store.records import SCHEMA_VERSION, Manifest

# --- bounds --------------------------------------------------------------------------------------

#: What this machine is taken to enforce.
ABLE = Abilities(network=True, unprivileged_user=True, control_group=None, enclosure=True, system_calls=True, disk=True)

_STARTERS = ("fork", "forkpty", "posix_spawn", "posix_spawnp", "system")


class ToldWatchdog:
    """Stands in for the watchdog, which is a process of its own; ``left`` is what it would end now."""

    def __init__(self) -> None:
        self.left: dict[int, Any] = {}
        self.entries: list[Mapping[str, Any]] = []

    def tell(self, entry: Mapping[str, Any]) -> None:
        """As the real one; what is told has to be JSON."""
        self.entries.append(json.loads(json.dumps(entry)))
        if "do" in entry:
            self.left[entry["id"]] = entry["do"]
        else:
            self.left.pop(entry["id"], None)

    def number(self) -> int:
        """A number that was not given before."""
        return len(self.entries)


def _forbid_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        told = [arg for arg in (*args, *kwargs.values()) if isinstance(arg, list | tuple | str)]
        pytest.fail(f"a unit test starts a process: {told!r:.200} (mark it 'spawns' if it has to)")

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
    for name in _STARTERS:
        monkeypatch.setattr(os, name, refuse)


def _forbid_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_unix(original: Any) -> Any:
        def connect(self: socket.socket, address: Any) -> Any:
            if self.family != socket.AF_UNIX:
                pytest.fail(f"a unit test connects to {address}")
            return original(self, address)

        return connect

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, only_unix(getattr(socket.socket, name)))


@pytest.fixture(autouse=True)
def watchdog(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ToldWatchdog:
    """Keep the test in bounds: no process (unless marked ``spawns``), no network, own cache and results."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_RESULTS", str(tmp_path / "results"))
    monkeypatch.delenv("HARNESS_PYTHON", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)  # pytest-xdist sets it
    told = ToldWatchdog()
    monkeypatch.setattr(process, "_watchdog", told)
    monkeypatch.setattr(disks, "available", lambda: "unit tests mount nothing")
    monkeypatch.setattr(door, "_enclosures", lambda: False)
    monkeypatch.setattr(door, "abilities", lambda: ABLE)
    _forbid_network(monkeypatch)
    if request.node.get_closest_marker("spawns") is None:
        _forbid_processes(monkeypatch)
    return told


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Interpreter:
    """The interpreter that models run under: the one of the tests, found without starting it."""
    found = Interpreter(
        path=Path(sys.executable),
        version=platform.python_version(),
        stdlib=Path(sysconfig.get_path("stdlib")),
        library=None,
    )
    monkeypatch.setattr(interpreter, "default", lambda: found)
    monkeypatch.setattr(interpreter, "_known", {found.path: found})
    return found


@pytest.fixture
def open_door(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The door without namespaces, groups, users and disks; what each opening was given. It still takes back."""
    openings: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def opened(bounds: Bounds, **how: Any) -> Iterator[door.Opened]:
        openings.append({"bounds": bounds, **how})
        yield door.Opened(policy=Policy(bounds=bounds))
        for folder in how.get("writes", ()):
            files.take_back(folder, at_most_bytes=bounds.disk_bytes, links=how.get("links", "keep"))

    @contextlib.contextmanager
    def workspace(_: int) -> Iterator[Path]:
        with process.temporary_folder("disk") as folder:
            yield folder

    monkeypatch.setattr(door, "opened", opened)
    monkeypatch.setattr(door, "workspace", workspace)
    monkeypatch.setattr(door, "limit", lambda *_: None)
    return openings


# --- folders ---


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose name is short enough for a Unix socket in it, wherever temporary files are kept."""
    with tempfile.TemporaryDirectory(prefix="h", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def nested() -> Iterator[Callable[..., Path]]:
    """Nests folders deeper than a path can say; they are gone afterwards, as pytest itself can't remove them."""
    made: list[Path] = []

    def nest(folder: Path, levels: int = 1500, name: str = "d") -> Path:
        made.append(folder)
        here = os.open(folder, os.O_RDONLY)
        for _ in range(levels):
            os.mkdir(name, dir_fd=here)
            inner = os.open(name, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        os.close(here)
        return folder

    yield nest
    for folder in made:
        removal.remove(str(folder))


# --- model folders -------------------------------------------------------------------------------

PREDICTOR = '''"""Doubles numbers."""


def load(model_dir):
    return 2


def predict(model, inputs):
    return [model * value for value in inputs]
'''


def _toml(table: Mapping[str, Any]) -> str:
    """``table`` as TOML: plain values first, then tables, then arrays of tables."""
    tables = {key: value for key, value in table.items() if isinstance(value, dict)}
    arrays = {key: v for key, v in table.items() if isinstance(v, list) and v and isinstance(v[0], dict)}
    lines = [f"{key} = {_value(value)}" for key, value in table.items() if key not in tables and key not in arrays]
    for key, value in tables.items():
        lines += [f"[{key}]", _toml(value)]
    for key, values in arrays.items():
        for value in values:
            lines += [f"[[{key}]]", _toml(value)]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def make_wheel(file: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write a wheel that is sound but for ``files``."""
    name, version = file.name.split("-")[:2]
    info = f"{name}-{version}.dist-info"
    contents: dict[str, str | bytes] = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **files,
    }
    contents.setdefault(f"{info}/RECORD", "".join(f"{path},,\n" for path in contents))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in contents.items():
            archive.writestr(path, content)
    return file


@pytest.fixture
def wheel_file() -> Callable[[Path, Mapping[str, str | bytes]], Path]:
    """Writes a wheel that is sound but for the files that it is given."""
    return make_wheel


class Folder:
    """A model folder that is whole; ``write(key=value)`` changes ``model.toml``, a value of None removes the key."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        (path / "predictor.py").write_text(PREDICTOR)
        (path / "examples.json").write_text('{"inputs": [1, 2.5, 3], "outputs": [2, 5.0, 6]}')
        self._table: dict[str, Any] = {
            "spec_version": 1,
            "name": path.name,
            "version": "1.0",
            "description": "Doubles numbers.",
            "framework": "none",
        }
        self.write()

    def write(self, **changes: Any) -> Folder:
        """Write ``model.toml`` with ``changes``."""
        self._table = {key: value for key, value in {**self._table, **changes}.items() if value is not None}
        (self.path / "model.toml").write_text(_toml(self._table), encoding="utf-8")
        return self

    def wheel(self, name: str, files: Mapping[str, str | bytes] | None = None, **changes: Any) -> Path:
        """Put a sound wheel of the name into ``wheels``, with ``files`` besides; ``changes`` are of :func:`write`."""
        (self.path / "wheels").mkdir(exist_ok=True)
        file = make_wheel(self.path / "wheels" / name, files or {})
        self.write(wheels="wheels", **changes)
        return file

    def read(self) -> Model:
        """The model in the folder."""
        return models.read(self.path)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A model folder called ``tiny`` that is whole."""
    return Folder(tmp_path / "models" / "tiny")


@pytest.fixture
def toml() -> Callable[[Mapping[str, Any]], str]:
    """Writes a table as TOML."""
    return _toml


# --- runs ----------------------------------------------------------------------------------------

RUN = "20240102-030405-made"
HOST = {"processor": "Made-up 3000", "cores": 2, "machine": "x86_64", "python": "3.11.2", "memory_bytes": 1}


class Runs:
    """Runs made by hand: ``samples`` makes them, ``write`` stores them."""

    RUN = RUN
    METHODS = ("container", "venv", "pex", "rest-api")

    def __init__(self, results: Path) -> None:
        self.results = results

    def plan(self, **changes: Any) -> Plan:
        """A plan of one model and all methods."""
        known: dict[str, Any] = {
            "models": ("tiny",),
            "methods": self.METHODS,
            "profile": "quick",
            "rounds": 9,
            "builds": 1,
            "seed": 7,
            "folders": {"tiny": "/models/tiny"},
        }
        return Plan(**{**known, **changes})

    def manifest(self, **changes: Any) -> Manifest:
        """Its manifest."""
        known: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "run_id": RUN,
            "created_at": "2024-01-02T03:04:05+00:00",
            "finished_at": "2024-01-02T03:14:05+00:00",
            "harness_version": "0.1.0",
            "plan": self.plan().as_dict(),
            "host": HOST,
            "models": {"tiny": {"features": {"dependencies": 3, "pinned": 3, "system_packages": 0}}},
        }
        return Manifest(**{**known, **changes})

    def sample(
        self, metric: str = "install_s", value: float | None = 1.5, method: str = "venv", **changes: Any
    ) -> Sample:
        """One sample."""
        known: dict[str, Any] = {
            "run": RUN,
            "cell": Cell(model="tiny", method=method),
            "unit": METRICS[metric].unit,
            "round": 0,
            "state": "",
            "fidelity": "measured",
            "at": "2024-01-02T03:04:06.000+00:00",
        }
        return Sample(metric=metric, value=value, **{**known, **changes})

    def samples(self, methods: Sequence[str] = METHODS, rounds: int = 9) -> Iterator[Sample]:
        """A whole run: sizes, times, and starts whose phases add up."""
        for place, method in enumerate(methods, start=1):
            single = {"packed_bytes": 1e7, "unpacked_bytes": 3e7, "files": 300.0, "build_clean_s": 4.5}
            for metric, value in {**single, "install_s": 1.25}.items():
                yield self.sample(metric, value * place, method)
            yield self.sample("parity", 1.0, method)
            for number in range(rounds):
                for state in START_STATES:
                    yield from self.start(method, number, state, 0.25 * place + 0.001 * (number * 7 % 5))

    def start(self, method: str, number: int, state: str, each_s: float) -> Iterator[Sample]:
        """The samples of one start whose phases take ``each_s``."""
        at = f"2024-01-02T03:{10 + number:02}:{len(state):02}.000+00:00"
        values = {f"phase_{phase}_s": each_s for phase in PHASES}
        values |= {"peak_memory_bytes": 5e7, "peak_resident_bytes": 4e7, "cpu_to_first_s": 0.5}
        for metric, value in {**values, "cold_start_s": each_s * len(PHASES)}.items():
            yield self.sample(metric, value, method, round=number, state=state, at=at)

    def write(self, samples: Iterable[Sample] | None = None, *, compact: bool = True, **changes: Any) -> Path:
        """Store a run; its folder."""
        with runs.create(self.results, self.manifest(**changes)) as writer:
            writer.record(self.samples() if samples is None else samples)
        if compact:
            query.compact(writer.folder)
        return writer.folder


@pytest.fixture
def made(tmp_path: Path) -> Runs:
    """Builders of runs below the results folder."""
    return Runs(tmp_path / "results")


# --- the command line ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """What a command ended with: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its standard output, which has to be JSON and nothing else."""
        return json.loads(self.out)


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Said]]:
    """Runs a command as ``harness ARG...`` does, in this process."""
    from harness import cli

    root, ours = logging.getLogger(), logging.getLogger("harness")
    before = (root.handlers[:], root.level, ours.level)

    def run(*argv: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, argv)])
        capsys.readouterr()
        code = cli._run()
        return Said(code, *capsys.readouterr())

    yield run
    root.handlers[:], root.level, ours.level = before
