"""Who uses the private engine, who may stop it, and what becomes of those whose engine goes away."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BuildFailure, DiskFull, EngineGone, MissingComponent
from harness.platforms import engine, engine_processes, engine_reach, engine_users
from harness.platforms.engine_users import EngineInUse, User

SOMEBODY = User(pid=17, command="harness run digits-onnx", since="2026-11-30T12:00:00+00:00")
INFO = {"ServerVersion": "20.10.24", "Driver": "overlay2", "DockerRootDir": "/d"}


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process has used no engine yet, and leaves those that it used here."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{short_folder}/docker.sock")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(engine, "_using", engine._Using())
    monkeypatch.setattr(engine, "_LOOK_S", 0.01)
    yield
    engine_users._leave_all()


# --- the register --------------------------------------------------------------------------------


def test_a_user_is_known_by_number_and_command_until_it_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/harness", "run", "digits onnx"])
    engine_users.join(tmp_path)
    engine_users.join(tmp_path)
    (found,) = engine_users.users(tmp_path)
    assert (found.pid, found.command) == (os.getpid(), "harness run 'digits onnx'")
    assert engine_users.users(tmp_path, others=True) == ()
    assert engine_users.joined(tmp_path)
    engine_users.leave(tmp_path)
    assert engine_users.users(tmp_path) == ()
    assert list((tmp_path / "users").iterdir()) == []


def test_a_file_that_nobody_holds_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "users").mkdir()
    (tmp_path / "users" / "1-ab").write_text('{"pid": 1, "command": "harness run", "since": "now"}')
    assert engine_users.users(tmp_path) == ()
    engine_users.join(tmp_path)
    assert len(list((tmp_path / "users").iterdir())) == 1


def test_a_user_whose_file_was_deleted_joins_again(tmp_path: Path) -> None:
    """Somebody deletes the cache's folder of the engine under it."""
    engine_users.join(tmp_path)
    for file in (tmp_path / "users").iterdir():
        file.unlink()
    assert not engine_users.joined(tmp_path)
    engine_users.join(tmp_path)
    assert len(engine_users.users(tmp_path)) == 1


USER = """
import os, sys, time
from pathlib import Path
from harness.platforms import engine_users
engine_users.join(Path(sys.argv[1]))
if sys.argv[2] == "forks" and os.fork() == 0:
    print(os.getpid(), flush=True)
    time.sleep(60)
if sys.argv[2] != "forks":
    print(os.getpid(), flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def user(folder: Path, how: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that uses the engine, and the number of the one that said it was there."""
    argv = [sys.executable, "-c", USER, str(folder), how]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


@pytest.mark.spawns
def test_a_killed_user_is_none(tmp_path: Path) -> None:
    """It is seen from outside as long as it lives, however often one looks."""
    with user(tmp_path, "stays") as (process, pid):
        for _ in range(2):
            assert [one.pid for one in engine_users.users(tmp_path, others=True)] == [pid]
        engine_users.join(tmp_path)
        assert {one.pid for one in engine_users.users(tmp_path)} == {pid, os.getpid()}
        process.kill()
        process.wait()
        assert engine_users.users(tmp_path, others=True) == ()


@pytest.mark.spawns
def test_a_child_is_no_user(tmp_path: Path) -> None:
    """A copy that a user made of itself lives on: it does not count."""
    with user(tmp_path, "forks") as (process, child):
        try:
            assert [one.pid for one in engine_users.users(tmp_path)] == [process.pid]
            process.kill()
            process.wait()
            assert engine_processes.alive(child)
            assert engine_users.users(tmp_path) == ()
        finally:
            os.kill(child, signal.SIGKILL)


# --- stopping ------------------------------------------------------------------------------------


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An engine that runs, and what is done to it."""
    done: list[str] = []
    engine._places().folder.mkdir(parents=True)
    monkeypatch.setattr(engine_processes, "daemon_pid", lambda _, **__: 4711)
    monkeypatch.setattr(engine_processes, "end_processes", lambda _: done.append("ended") or True)
    monkeypatch.setattr(engine_processes, "clear_runtime", lambda _: True)
    return done


def used_by(monkeypatch: pytest.MonkeyPatch, *rounds: tuple[User, ...]) -> None:
    """These use it, each tuple at one look; the last from then on."""
    looks = list(rounds)
    monkeypatch.setattr(engine_users, "users", lambda *_, **__: looks.pop(0) if len(looks) > 1 else looks[0])


def test_an_engine_in_use_is_not_stopped(ended: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names who uses it, and what can be done."""
    used_by(monkeypatch, (SOMEBODY,))
    with pytest.raises(EngineInUse, match=r"process 17 \(harness run digits-onnx\), since 2026-11-30T12") as raised:
        engine.stop()
    assert "--wait" in raised.value.remedy
    assert "--force" in raised.value.remedy
    assert raised.value.exit_code == 1
    assert ended == []


def test_force_stops_it_all_the_same(ended: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    used_by(monkeypatch, (SOMEBODY,))
    assert engine.stop(force=True) is True
    assert ended == ["ended"]


def test_what_a_dead_engine_left_is_cleared_out_under_those_who_wait_for_it(
    ended: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    used_by(monkeypatch, (SOMEBODY,))
    monkeypatch.setattr(engine_processes, "daemon_pid", lambda _: None)
    assert engine.stop() is True


def test_who_stops_it_is_no_user_that_is_in_the_way(ended: list[str]) -> None:
    engine_users.join(engine._places().folder)
    assert engine.stop() is True
    assert engine_users.users(engine._places().folder) == ()


def test_users_are_waited_for_and_told_once(ended: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    other = User(pid=18, command="harness check x", since="now")
    used_by(monkeypatch, (SOMEBODY, other), (SOMEBODY, other), (other,), ())
    told: list[str] = []
    assert engine.stop_when_unused(told.append) is True
    assert [text.count("process") for text in told] == [2, 1]


def test_a_session_leaves_the_engine_that_it_started_to_those_who_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> engine.Engine:
        raise MissingComponent("none")

    def refuse() -> bool:
        raise EngineInUse([SOMEBODY])

    monkeypatch.setattr(engine, "connect", none)
    monkeypatch.setattr(engine, "start", lambda _say: engine_reach.described("unix:///x", "private", {}))
    monkeypatch.setattr(engine, "stop", refuse)
    with engine.session():
        pass


# --- an engine that goes away --------------------------------------------------------------------


class Daemon:
    """Something that listens where the engine does, and answers what docker-py asks."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._place = place
        monkeypatch.setattr(engine_reach, "client", lambda *_: self)
        engine_reach.client.cache_clear = lambda: None  # type: ignore[attr-defined]
        self.start()

    def start(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self._place))
        self._socket.listen(100)

    def end(self) -> None:
        self._socket.close()
        self._place.unlink(missing_ok=True)

    def info(self) -> dict[str, Any]:
        return INFO


@pytest.fixture
def daemon(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    found = Daemon(short_folder / "docker.sock", monkeypatch)
    yield found
    found.end()


def test_an_engine_that_was_used_is_missed(daemon: Daemon) -> None:
    """Before it was used it is only not there; another one is not taken in its place."""
    assert engine.look()[0] is not None
    daemon.end()
    with pytest.raises(MissingComponent):
        engine.connect()
    daemon.start()
    engine.connect()
    engine.hold()
    daemon.end()
    for ask in (engine.connect, engine.hold):
        with pytest.raises(EngineGone, match="has gone") as raised:
            ask()
        assert raised.value.exit_code == 3
        assert "harness engine start" in raised.value.remedy


def test_gone_is_not_missing() -> None:
    """What can do without something that is missing must not do without the engine of a run."""
    assert not issubclass(EngineGone, MissingComponent)


def test_an_engine_that_is_another_by_now_is_gone(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was started anew: what ran in it is no more."""
    engine.connect()
    monkeypatch.setattr(engine_reach, "listener", lambda _, **__: 4711)
    with pytest.raises(EngineGone, match="anew"):
        engine.hold()
    with pytest.raises(EngineGone, match="anew"):
        engine.connect()


def test_a_resumed_run_misses_the_engine_that_it_began_with() -> None:
    engine.expect()
    with pytest.raises(EngineGone):
        engine.connect()


def test_who_takes_a_gone_engine_for_a_missing_one_is_noticed(daemon: Daemon) -> None:
    engine.connect()
    daemon.end()
    with pytest.raises(EngineGone), engine.noticing(), contextlib.suppress(EngineGone):
        engine.connect()
    with engine.noticing():
        pass


@pytest.mark.parametrize("kind", ["requests", "urllib3", "http", "parse"])
def test_a_connection_that_breaks_is_the_engine_s_end_where_it_is_gone(daemon: Daemon, kind: str) -> None:
    """In whatever way docker-py says so; where the engine is still there, it is no more than a failed request."""
    import http.client

    import docker.errors
    import requests
    import urllib3

    errors: dict[str, Exception] = {
        "requests": requests.exceptions.ConnectionError("reset"),
        "urllib3": urllib3.exceptions.ProtocolError("reset"),
        "http": http.client.IncompleteRead(b""),
        "parse": docker.errors.StreamParseError("half"),
    }
    running = engine.connect()
    with pytest.raises(MissingComponent, match="looking: the Docker engine stopped"), engine.asking(running, "looking"):
        raise errors[kind]
    daemon.end()
    with pytest.raises(EngineGone, match="looking: the Docker engine stopped"), engine.asking(running, "looking"):
        raise errors[kind]


def test_a_refusal_counts_only_while_the_engine_is_there(daemon: Daemon) -> None:
    import docker.errors

    running = engine.connect()
    with pytest.raises(BuildFailure), engine.asking(running, "looking"):
        raise docker.errors.APIError("refused")
    daemon.end()
    with pytest.raises(EngineGone), engine.asking(running, "looking"):
        raise docker.errors.APIError("shutting down")


def test_a_full_disk_of_ours_is_no_silent_engine(daemon: Daemon) -> None:
    with pytest.raises(DiskFull), engine.asking(engine.connect(), "exporting"):
        raise OSError(28, "No space left on device")


def test_it_is_waited_for_and_said_once(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is back, it is used as it is then."""
    engine.connect()
    daemon.end()
    told: list[str] = []

    def say(text: str) -> None:
        told.append(text)
        daemon.start()

    monkeypatch.setattr(engine_reach, "listener", lambda _, before=engine_reach.listener, **__: before(_) + len(told))
    engine.wait_until_back(EngineGone("it has gone"), say)
    assert told[0].startswith("it has gone. Waiting up to 60 s")
    assert len(told) == 1
    engine.hold()


def test_it_is_not_waited_for_for_ever(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.connect()
    daemon.end()
    monkeypatch.setenv("HARNESS_ENGINE_WAIT_S", "0.05")
    with pytest.raises(EngineGone, match=r"did not come back within 0\.05 s"):
        engine.wait_until_back(EngineGone("it has gone"), lambda _: None)
