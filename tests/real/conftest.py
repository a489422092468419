"""What tests that package for real share: a cache, an engine, small models, the command line, and traces.

Nothing is skipped silently: what is missing on this machine is an error, unless ``HARNESS_TEST_WITHOUT``
(``engine``, ``root``, ``user``, ``podman``, separated by commas) says what to leave out.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import harness as package
from harness import door, paths
from harness.platforms import depot as depots
from harness.platforms import engine as engines
from harness.platforms.depot import Depot
from harness.platforms.engine import Engine

#: Of the cache, for commands that need not be tried with one: what a test has packaged is there for the next.
_BUDGET = os.environ.get("HARNESS_CACHE_BUDGET", "none")

#: How long the watchdog may take to clean up after a killed harness.
PATIENCE_S = 10.0

# --- what this machine has -----------------------------------------------------------------------


def _leave_out(what: str) -> None:
    without = {part.strip() for part in os.environ.get("HARNESS_TEST_WITHOUT", "").split(",")}
    if what in without:
        pytest.skip(f"HARNESS_TEST_WITHOUT leaves out what needs: {what}")


@pytest.fixture(scope="session")
def browser() -> str:
    """Chromium, headless: the pages are looked at by what people look at them with."""
    _leave_out("browser")
    return _program("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def npm() -> str:
    """What fetches a package from its registry."""
    _leave_out("npm")
    return _program("npm")


@pytest.fixture(scope="session")
def ordinary_wanted() -> None:
    """For a test that becomes an ordinary user: left out where nobody else may walk to the checkout."""
    _leave_out("user")


@pytest.fixture(scope="session")
def podman() -> None:
    """What an ordinary user's engine needs."""
    _leave_out("podman")
    for name in ("podman", "newuidmap", "mmdebstrap"):
        _program(name)


def _program(*names: str) -> str:
    found = next((path for name in names if (path := shutil.which(name))), None)
    assert found is not None, f"{names[0]} is not installed; HARNESS_TEST_WITHOUT leaves out what needs it"
    return found


@pytest.fixture(scope="session", autouse=True)
def cache() -> Iterator[Path]:
    """The cache that all tests here share: HARNESS_CACHE, else one for the session."""
    given = os.environ.get("HARNESS_CACHE")
    # Two that work side by side share nothing: traces are told apart by the cache.
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if given:
        with pytest.MonkeyPatch.context() as patch:
            own = f"{given}-{worker}" if worker else given
            patch.setenv("HARNESS_CACHE", own)
            patch.setenv("HARNESS_CACHE_BUDGET", _BUDGET)
            yield Path(own).absolute()
        return
    # Not below pytest's own folder, which only its owner can walk through: models run as another user.
    folder = Path(tempfile.mkdtemp(prefix="harness-real-", dir="/var/tmp"))
    folder.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(folder))
        patch.setenv("HARNESS_CACHE_BUDGET", _BUDGET)
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def engine(cache: Path) -> Iterator[Engine]:
    """A Docker engine for the whole session: the machine's own, else the private one, which is stopped at the end."""
    _leave_out("engine")
    with engines.session() as found:
        yield found


@pytest.fixture(scope="session")
def engine_wanted() -> None:
    """For a test that starts an engine of its own: left out where the runner says so."""
    _leave_out("engine")


@pytest.fixture(scope="session")
def root() -> None:
    """For tests that only root can do."""
    _leave_out("root")
    assert os.geteuid() == 0, "needs root; HARNESS_TEST_WITHOUT=root leaves this test out"


#: The files whose tests share a worker by their method or model: what is fetched for one is there for the next.
_APART = {"test_conformance.py", "test_models.py", "test_package.py"}


#: What takes long comes first, so that no worker is left alone with it at the end.
_LONG = (
    *("test_interrupt.py", "test_bad_models.py", "test_import_mlflow.py", "test_models.py"),
    *("test_rebuild.py", "test_variants.py", "test_proven.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long ones; of a file, or a method, the order stays."""
    items.sort(key=lambda item: _LONG.index(item.path.name) if item.path.name in _LONG else len(_LONG))


def pytest_itemcollected(item: pytest.Item) -> None:
    """Say which tests share a worker, where there are several: those of a method or model, else those of a file."""
    params = getattr(getattr(item, "callspec", None), "params", {})
    apart = params.get("case") or params.get("method") or params.get("name") if item.path.name in _APART else None
    item.add_marker(pytest.mark.xdist_group(apart or item.path.name))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fail where groups are asked for and not kept, as under a pytest that pytest-xdist does not know yet."""
    if session.config.getoption("loadgroup", default=False) and any("@" not in item.nodeid for item in session.items):
        pytest.exit("pytest-xdist does not keep groups of tests together under this pytest", returncode=3)


@pytest.fixture(scope="module")
def depot() -> Iterator[Depot]:
    """One for all tests of a file: what it starts is what takes long."""
    with depots.session() as found:
        yield found


# --- small models --------------------------------------------------------------------------------

PREDICTOR = """
def load(model_dir):
    return 2

def predict(model, inputs):
    return [model * number for number in inputs]
"""


@dataclass(frozen=True)
class ModelMaker:
    """Writes model folders. A model doubles numbers unless its source says otherwise."""

    parent: Path

    def __call__(
        self,
        name: str,
        source: str = PREDICTOR,
        *,
        train: str | None = None,
        inputs: Sequence[Any] = (1, 2, 3),
        outputs: Sequence[Any] | None = None,
        files: Mapping[str, str] | None = None,
        artifacts: Sequence[Mapping[str, Any]] = (),
        resources: Mapping[str, Any] | None = None,
        train_timeout_s: float = 60.0,
        **keys: Any,
    ) -> Path:
        """Make the folder; ``keys`` stand at the top of ``model.toml`` as they are."""
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.parent))
        (folder / "predictor.py").write_text(source)
        expected = [2 * number for number in inputs] if outputs is None else list(outputs)
        (folder / "examples.json").write_text(json.dumps({"inputs": list(inputs), "outputs": expected}))
        for path, text in (files or {}).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        table = {
            "spec_version": 1,
            "name": name,
            "version": "1",
            "description": "made by a test",
            "framework": "none",
            **keys,
        }
        lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
        for artifact in artifacts:
            lines += ["[[artifacts]]", *(f"{key} = {json.dumps(value)}" for key, value in artifact.items())]
        if train is not None:
            (folder / "train.py").write_text(train)
            lines += ["[train]", f"timeout_s = {train_timeout_s}"]
        limits = {"memory_mb": 512, "start_timeout_s": 60.0, "predict_timeout_s": 30.0, **(resources or {})}
        lines += ["[resources]", *(f"{key} = {json.dumps(value)}" for key, value in limits.items())]
        (folder / "model.toml").write_text("\n".join(lines) + "\n")
        return folder


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> ModelMaker:
    """Make a small model's folder: ``make_model(name, source, ...)``."""
    return ModelMaker(tmp_path_factory.mktemp("models"))


# --- the command line ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed with ``--json``."""
        return json.loads(self.out)

    def expect(self, code: int) -> Ran:
        """Itself, where it ended with this exit code and without a traceback."""
        assert self.code == code, f"exit code {self.code}, not {code}\n{self.out[-3000:]}\n{self.err[-6000:]}"
        assert "Traceback (most recent call last)" not in self.err, self.err
        return self


class Launched:
    """A command that is running; what it prints lies in files."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process, self._out, self._err = process, out, err

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_for(self, pattern: str, *, timeout_s: float = 120.0) -> None:
        """Wait until it has printed a match of ``pattern`` to standard error."""
        deadline = time.monotonic() + timeout_s
        while not re.search(pattern, self._err.read_text(errors="replace")):
            assert self.process.poll() is None, f"ended before {pattern!r}:\n{self._err.read_text()}"
            assert time.monotonic() < deadline, f"no {pattern!r} in time:\n{self._err.read_text()}"
            time.sleep(0.01)

    def end(self, *, timeout_s: float = 120.0) -> Ran:
        """Wait for its end."""
        code = self.process.wait(timeout=timeout_s)
        return Ran(code=code, out=self._out.read_text(), err=self._err.read_text(errors="replace"))


def _like_a_terminal() -> None:
    # A shell's background job has SIGINT ignored, and would pass that on.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass(frozen=True)
class CommandLine:
    """``harness ...`` in a process of its own, in an empty folder."""

    folder: Path

    def __call__(self, *args: object, timeout_s: float = 300.0, **env: str) -> Ran:
        """Run it to its end."""
        with self.started(*args, **env) as launched:
            return launched.end(timeout_s=timeout_s)

    @contextlib.contextmanager
    def started(self, *args: object, **env: str) -> Iterator[Launched]:
        """Start it; what is left of it at the end of the block is killed."""
        place = Path(tempfile.mkdtemp(dir=self.folder))
        (place / "cwd").mkdir()
        source = str(Path(package.__file__).parents[1])  # a checkout need not be installed
        with (place / "out").open("wb") as out, (place / "err").open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "harness", *map(str, args)],
                cwd=place / "cwd",
                env={**os.environ, "PYTHONPATH": source, **env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=_like_a_terminal,  # noqa: PLW1509 -- no other thread is at work here
            )
        try:
            yield Launched(process, place / "out", place / "err")
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def harness(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """The command line: ``harness("run", ...)``."""
    return CommandLine(tmp_path_factory.mktemp("commands"))


# --- traces --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Traces:
    """Everything that a harness with this cache could leave behind on this machine."""

    cache: Path
    engine: Engine | None

    def now(self) -> frozenset[str]:
        """A line for each process, container, image, mount, control group and temporary file there is."""
        door.let_go()  # of the test's own process, which is no harness that has ended
        return frozenset(
            [*self._processes(), *self._in_engine(), *self._mounts(), *self._control_groups(), *self._files()]
        )

    def since(self, before: frozenset[str], *, but: str = "", patience_s: float = PATIENCE_S) -> list[str]:
        """What is there and was not there before, given some time to go away; without lines that match ``but``."""
        deadline = time.monotonic() + patience_s
        while True:
            left = [line for line in sorted(self.now() - before) if not (but and re.search(but, line))]
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.1)

    def _marks(self) -> tuple[str, ...]:
        runtime = f"{engines._places().runtime}/"
        return (f"{self.cache}/", runtime, "/harness/watchdog.py")

    def _processes(self) -> Iterator[str]:
        marks = [mark.encode() for mark in self._marks()]
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                arguments = (entry / "cmdline").read_bytes()
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                known = arguments + _content(entry / "environ") + _root_mount(entry)
                groups = (entry / "cgroup").read_text()
            except (OSError, ProcessLookupError):
                continue
            of_ours = any(mark in known for mark in marks[:2]) or f"/harness-{paths.key()}-" in groups
            own_watchdog = marks[2] in arguments and int(fields[1]) == os.getpid()
            if of_ours and not own_watchdog and fields[0] != "Z":
                shown = arguments.replace(b"\0", b" ").decode(errors="replace")[:200]
                yield f"process {entry.name}, since {fields[19]}: {shown}"

    def _in_engine(self) -> Iterator[str]:
        if self.engine is None:
            return
        asked = engines.client(self.engine)
        yield from (f"container {one['Id'][:12]} {one['Names']}" for one in asked.containers(all=True))
        yield from (f"image {one['Id'][7:19]} {sorted(one['RepoTags'] or [])}" for one in asked.images(all=True))

    def _mounts(self) -> Iterator[str]:
        for line in Path("/proc/self/mounts").read_text().splitlines():
            if any(mark in line for mark in self._marks()):
                yield f"mount {line[:200]}"

    def _control_groups(self) -> Iterator[str]:
        for pattern in ("", "*/"):
            for folder in Path("/sys/fs/cgroup").glob(f"{pattern}harness-{paths.key()}-*"):
                yield f"control group {folder}"

    def _files(self) -> Iterator[str]:
        yield from (f"file {path}" for path in (self.cache / "tmp").glob("*"))


#: The methods that need no Docker engine; of any other it is assumed.
ON_THE_HOST = frozenset(
    {"venv", "conda", "pex", "pex-scie", "pyinstaller", "pyinstaller-onefile", "rest-api", "cloud-functions"}
)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""  # another user's


def _root_mount(process: Path) -> bytes:
    """The line of a process's root mount: a container's names the folders of its layers."""
    for line in _content(process / "mountinfo").splitlines():
        if line.split()[4] == b"/":
            return line
    return b""


@pytest.fixture(scope="session")
def traces_of(request: pytest.FixtureRequest, cache: Path) -> Callable[[str], Traces]:
    """``traces_of(method)`` sees to it that what the method needs is there, and looks for what it leaves behind."""

    def see_to(method: str) -> Traces:
        return Traces(cache, None if method in ON_THE_HOST else request.getfixturevalue("engine"))

    return see_to
