"""The environment of everything that is started, folders that are gone afterwards, time spent by others."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import paths, process
from harness.errors import DiskFull, MissingComponent

SECRETS = ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "LD_PRELOAD", "PASSWORD")


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's environment."""
    for name in SECRETS:
        monkeypatch.setenv(name, "s3cr3t")


@pytest.mark.usefixtures("secrets")
def test_nothing_of_our_own_environment_gets_in(tmp_path: Path) -> None:
    """What a process is given is composed; only what the caller adds comes on top."""
    found = process.environment(tmp_path, THREADS="1")
    assert set(found) == {"PATH", "LANG", "LC_ALL", "TZ", "HOME", "TMPDIR", "THREADS"}
    assert found["HOME"] == found["TMPDIR"] == str(tmp_path)
    assert "s3cr3t" not in " ".join(found.values())
    assert found["PATH"] != os.environ["PATH"]


@pytest.mark.usefixtures("secrets")
def test_downloads_get_proxies_and_indexes_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where to fetch from, through what, and whom to trust passes; nothing else does."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror")
    monkeypatch.setenv("HOME", "/home/someone")
    found = process.network_environment(tmp_path, UV_OFFLINE="1")
    assert found["HTTPS_PROXY"] == "http://proxy"
    assert found["PIP_INDEX_URL"] == "https://mirror"
    assert found["UV_OFFLINE"] == "1"
    assert found["HOME"] == "/home/someone"
    assert found["XDG_CACHE_HOME"].startswith(str(paths.cache()))
    assert "s3cr3t" not in " ".join(found.values())


def test_a_temporary_folder_is_gone_afterwards(watchdog: Any) -> None:
    """Also after an error; others may walk through it only where that is asked for."""
    with process.temporary_folder("closed") as closed, process.temporary_folder("open", readable=True) as opened:
        assert closed.stat().st_mode & 0o777 == 0o700
        assert opened.stat().st_mode & 0o777 == 0o755
        assert len(watchdog.left) == 2
    with pytest.raises(KeyError), process.temporary_folder("x") as third:
        raise KeyError
    assert not any(folder.exists() for folder in (closed, opened, third))
    assert watchdog.left == {}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named(number: int) -> None:
    """The place and what to do stand in the message."""
    with pytest.raises(DiskFull, match="the disk that holds /some/where is full") as raised:
        with process.disk_full_named(Path("/some/where")):
            raise OSError(number, "no space")
    assert "--resume" in raised.value.remedy
    assert str(paths.cache()) in raised.value.remedy


def test_another_error_is_not_a_full_disk() -> None:
    """Anything else passes as it is."""
    with pytest.raises(PermissionError), process.disk_full_named(Path("/x")):
        raise PermissionError(errno.EACCES, "no")


def test_only_the_outermost_wait_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait inside another is the other's; time goes by kind; an error does not lose it."""
    now = iter([0.0, 1.0, 4.0, 10.0, 12.5, 20.0, 21.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    ledger = process.Ledger()
    with ledger.waiting_for("tools"), ledger.waiting_for("engine"):
        pass
    with pytest.raises(KeyError), ledger.waiting_for("instances"):
        raise KeyError
    with ledger.waiting_for("tools"):
        pass
    assert ledger.spent_s == {"tools": 5.0, "instances": 2.5}


def test_the_watchdog_is_told_in_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is started on first use, once, in a session and an environment of its own; a dead one is no error."""
    started: list[tuple[Any, dict[str, Any]]] = []

    class Pipe:
        def __init__(self, argv: Any, **options: Any) -> None:
            started.append((argv, options))
            self.stdin = io.StringIO()

    monkeypatch.setattr(subprocess, "Popen", Pipe)
    monkeypatch.setattr(process.atexit, "register", lambda _: None)
    told = process._Watchdog()
    told.tell({"id": told.number(), "do": {"folder": "/x"}})
    told.tell({"id": 0})
    assert len(started) == 1
    assert started[0][1]["env"] == {}
    assert started[0][1]["start_new_session"] is True
    assert "-I" in started[0][0]
    pipe = told._process.stdin
    assert [json.loads(line) for line in pipe.getvalue().splitlines()] == [{"id": 0, "do": {"folder": "/x"}}, {"id": 0}]
    monkeypatch.setattr(pipe, "write", lambda _: (_ for _ in ()).throw(BrokenPipeError()))
    told.tell({"id": 1})


def test_what_is_gone_is_struck_off_before_the_block_ends(watchdog: Any) -> None:
    """Ctrl-C leaves what is listed to the watchdog, but not what is known to be gone."""
    with pytest.raises(KeyboardInterrupt), process.guarded(container="c1"):
        raise KeyboardInterrupt
    with contextlib.suppress(KeyboardInterrupt), process.guarded(container="c2") as gone:
        gone()
        raise KeyboardInterrupt
    assert list(watchdog.left.values()) == [{"container": "c1"}]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_is_put_off_until_the_block_has_ended(number: signal.Signals) -> None:
    """The block is done wholly, then whoever handles the signal is called, once, and handles the next ones itself."""
    came: list[int] = []
    before = signal.signal(number, lambda number, _: came.append(number))
    try:
        with process.uninterrupted():
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
            assert came == []
        assert came == [number]
        os.kill(os.getpid(), number)
        assert came == [number, number]
    finally:
        signal.signal(number, before)


def test_an_interrupt_after_an_error_is_not_lost() -> None:
    """What went wrong inside gives way to the interrupt, which names it as its context."""

    def broken() -> None:
        with process.uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            raise ValueError("inside")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            broken()
    finally:
        signal.signal(signal.SIGINT, before)
    assert isinstance(caught.value.__context__, ValueError)


STARTERS: dict[str, Callable[[], Any]] = {
    "run": lambda: process.run(["/no/such/program"], env={}, timeout_s=1),
    "child": lambda: process.Child(["/no/such/program"], env={}),
}


@pytest.mark.parametrize("how", STARTERS)
def test_a_program_that_is_not_there_is_a_missing_component(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """The message names the program."""
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError()))
    with pytest.raises(MissingComponent, match="/no/such/program"):
        STARTERS[how]()


@pytest.mark.parametrize("how", STARTERS)
@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(8, "Exec format error")])
def test_a_program_that_cannot_be_run_is_a_missing_component(
    monkeypatch: pytest.MonkeyPatch, how: str, error: OSError
) -> None:
    """A file that is no program (HARNESS_PYTHON=/etc/passwd, say) is named like one that is not there."""
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: (_ for _ in ()).throw(error))
    with pytest.raises(MissingComponent):
        STARTERS[how]()


@pytest.mark.spawns
def test_a_process_runs_to_its_end(tmp_path: Path, watchdog: Any) -> None:
    """Streams, exit code, input, folder and environment are what was asked for; it is struck off afterwards."""
    code = "import os, sys; print(sys.stdin.read(), os.getcwd(), sorted(os.environ)); print('e', file=sys.stderr)"
    env = {"HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    done = process.run(
        [sys.executable, "-c", f"{code}; sys.exit(3)"], env=env, timeout_s=30, cwd=tmp_path, stdin="hello"
    )
    assert done.returncode == 3
    assert done.stdout == f"hello {tmp_path} {sorted(env)}\n"
    assert done.stderr == "e\n"
    assert done.output == f"{done.stdout.strip()}\ne"
    assert watchdog.left == {}


@pytest.mark.spawns
@pytest.mark.parametrize(("parent", "code"), [("os.getppid()", 0), ("1234567", 1)], ids=["alive", "died before"])
def test_who_is_to_die_with_a_parent_that_has_died_already_ends(parent: str, code: int) -> None:
    """The kernel tells of a death only to those who asked for it before."""
    program = f"import os; from harness import enclosure; enclosure.die_with_parent({parent})"
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == code


@pytest.mark.spawns
def test_a_process_that_takes_too_long_is_killed() -> None:
    """What it had printed is kept."""
    code = "import time; print('begun', flush=True); time.sleep(60)"
    with pytest.raises(process.TimedOut, match=r"did not end within 0\.5 s") as raised:
        process.run([sys.executable, "-I", "-S", "-c", code], env={}, timeout_s=0.5)
    assert "begun" in raised.value.output


LEAVING = """
import os, time
if os.fork() == 0:
    os.setsid()
    time.sleep(0.8)
    open("left", "w").close()
    os._exit(0)
time.sleep(60)
"""


@pytest.mark.spawns
def test_a_descendant_that_left_its_group_is_not_waited_for(tmp_path: Path) -> None:
    """The time limit holds, whoever has the streams open still."""
    with pytest.raises(process.TimedOut):
        process.run([sys.executable, "-I", "-S", "-c", LEAVING], env={}, timeout_s=0.3, cwd=tmp_path)
    assert not (tmp_path / "left").exists()


@pytest.mark.spawns
def test_a_child_keeps_the_end_of_what_it_prints() -> None:
    """Both streams, the last part of them; ending it twice is harmless."""
    code = "import sys; print('x' * 200_000, flush=True); print('the end', file=sys.stderr, flush=True); sys.exit(5)"
    child = process.Child([sys.executable, "-I", "-S", "-c", code], env={})
    child._process.wait(timeout=30)
    code, output = child.exit_code(), child.output()
    child.end()
    child.end()
    assert code == 5
    assert output.endswith("the end\n")
    assert len(output) <= process._TAIL_BYTES
    assert child.spawned_s <= child.exec_done_s
