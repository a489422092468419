"""Tools in environments of their own, and the locks that keep two harnesses apart. Nothing is installed here."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness import paths, process, tools
from harness.errors import BadInput, BuildFailure, DiskFull, HarnessError, ModelFailure


@pytest.mark.parametrize("tool", ["pip", "pex"])
def test_the_version_of_a_tool_is_the_locked_one(tool: str) -> None:
    """It stands in the tool's lock; a tool that the lock does not name is unknown."""
    assert f"{tool}=={tools.version(tool)}" in (tools._LOCKS / f"{tool}.txt").read_text()
    assert tools.version(tool)[0].isdigit()


def test_every_locked_tool_is_locked_by_hash() -> None:
    """No line of a tool's lock goes without a hash."""
    for lock in tools._LOCKS.glob("*.txt"):
        entries = [line for line in lock.read_text().replace("\\\n", " ").splitlines() if line.strip()]
        assert all("--hash=sha256:" in line for line in entries if not line.lstrip().startswith("#")), lock


@pytest.mark.usefixtures("here")
def test_a_tool_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """uv makes its environment from the lock, with hashes; afterwards it is there."""
    commands: list[list[str]] = []

    def run(argv: list[str], **_: Any) -> process.Completed:
        commands.append(argv)
        if "sync" in argv:
            place = Path(argv[argv.index("--python") + 1]).parent
            place.mkdir(parents=True)
            (place / "pip").touch()
        return process.Completed(argv=tuple(argv), returncode=0, stdout="", stderr="", wall_s=0.0)

    monkeypatch.setattr(process, "run", run)
    found = tools.executable("pip")
    assert found.is_file()
    assert paths.cache() / "tools" in found.parents
    assert tools.executable("pip") == found
    assert len(commands) == 2
    assert "--require-hashes" in commands[1]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("timed_out", [True, False])
def test_a_tool_that_cannot_be_made_leaves_nothing(monkeypatch: pytest.MonkeyPatch, timed_out: bool) -> None:
    """What uv said is in the message, and no half environment is left to be taken for one."""

    def run(argv: list[str], **_: Any) -> process.Completed:
        (paths.cache() / "tools" / "made-by-uv").mkdir(parents=True, exist_ok=True)
        if timed_out:
            raise process.TimedOut(argv, 300, "no route to host")
        return process.Completed(argv=tuple(argv), returncode=2, stdout="", stderr="no route to host", wall_s=0.0)

    monkeypatch.setattr(process, "run", run)
    with pytest.raises(BuildFailure, match="no route to host"):
        tools.executable("pip")
    assert not [path for path in (paths.cache() / "tools").iterdir() if path.name.startswith("pip-") and path.is_dir()]


def test_a_lock_is_held_while_inside(tmp_path: Path) -> None:
    """Another who wants it has to wait; afterwards it is free."""
    file = tmp_path / "deep" / "x.lock"
    with tools.alone(file), file.open("w") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with file.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_uv_downloads_no_python_and_caches_below_ours() -> None:
    """The user's own cache is left alone."""
    found = tools.uv_environment()
    assert found["UV_PYTHON_DOWNLOADS"] == "never"
    assert found["UV_CACHE_DIR"] == str(paths.cache() / "uv")
    assert tools.uv_environment(Path("/other"))["UV_CACHE_DIR"] == "/other"


def with_room(monkeypatch: pytest.MonkeyPatch, free_bytes: int) -> None:
    """Have the cache's disk have so much room."""
    usage = shutil.disk_usage(paths.cache())._replace(free=free_bytes)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)


FAILED = BuildFailure("pex failed", log="[Errno 5] Input/output error")
SAYS_SO = BuildFailure("pex failed", log="OSError: [Errno 28] No space left on device")


@pytest.mark.parametrize(
    ("free_bytes", "error", "full"),
    [
        (0, FAILED, True),
        (2**20, BadInput("uv cannot resolve them"), True),
        (2**30, FAILED, False),
        (2**30, SAYS_SO, True),  # it removed what it had written
        (2**30, BuildFailure("x", log="write /x: Disk quota exceeded"), True),
        (2**40, SAYS_SO, False),  # some disk of its own
    ],
)
def test_a_tool_that_fails_where_the_cache_is_full_is_not_to_blame(
    monkeypatch: pytest.MonkeyPatch, free_bytes: int, error: HarnessError, full: bool
) -> None:
    """A full disk ends the run, which can be resumed; it is no failed build."""
    with_room(monkeypatch, free_bytes)
    with pytest.raises(DiskFull if full else type(error)), tools.full_disk_named():
        raise error


def test_what_a_model_says_of_its_own_disk_is_its_own_affair(monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails its cell; the run goes on."""
    with_room(monkeypatch, 2**30)
    assert tools.full_disk(ModelFailure("OSError: [Errno 28] No space left on device")) is None
    with_room(monkeypatch, 0)
    assert tools.full_disk(ModelFailure("bus error")) is not None


@pytest.mark.usefixtures("open_door")
def test_a_step_of_a_build_that_fails_where_the_cache_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy says how to go on."""
    monkeypatch.setattr(
        process,
        "run",
        lambda argv, **_: process.Completed(argv=tuple(argv), returncode=1, stdout="", stderr="oops", wall_s=0.0),
    )
    with pytest.raises(BuildFailure, match="oops"), tools.bench("packing") as bench:
        bench.run(["/bin/pex"], env={}, timeout_s=1)
    with_room(monkeypatch, 0)
    with pytest.raises(DiskFull, match="is full") as raised, tools.bench("packing") as bench:
        bench.run(["/bin/pex"], env={}, timeout_s=1)
    assert "--resume" in raised.value.remedy
