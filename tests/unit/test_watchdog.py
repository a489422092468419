"""What the watchdog ends when the harness was killed, and what it leaves alone."""

from __future__ import annotations

import http.server
import io
import json
import os
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import watchdog as watching


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What ``main`` ends, in order."""
    found: list[Any] = []
    monkeypatch.setattr(watching, "end", found.append)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return found


def told(monkeypatch: pytest.MonkeyPatch, *entries: Any) -> None:
    """Run ``main`` over these entries; a text is a line as it is."""
    lines = [entry if isinstance(entry, str) else json.dumps(entry) + "\n" for entry in entries]
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(lines)))
    watching.main()


def test_what_is_still_listed_is_ended_newest_first(monkeypatch: pytest.MonkeyPatch, ended: list[Any]) -> None:
    """What was struck off stays; the rest goes, the last first."""
    told(
        monkeypatch,
        {"id": 0, "do": {"folder": "/a"}},
        {"id": 1, "do": {"folder": "/b"}},
        {"id": 2, "do": {"folder": "/c"}},
        {"id": 1},
    )
    assert ended == [{"folder": "/c"}, {"folder": "/a"}]


def test_nothing_is_ended_where_all_was_struck_off(monkeypatch: pytest.MonkeyPatch, ended: list[Any]) -> None:
    """An orderly end leaves nothing to do; striking off what was never there is harmless."""
    told(monkeypatch, {"id": 0, "do": {"folder": "/a"}}, {"id": 0}, {"id": 7})
    assert ended == []


def test_a_line_that_was_cut_off_does_not_save_the_rest(monkeypatch: pytest.MonkeyPatch, ended: list[Any]) -> None:
    """The harness may be killed while it writes: what was told before is ended all the same."""
    told(monkeypatch, {"id": 0, "do": {"folder": "/a"}}, '{"id": 1, "do": {"fol')
    assert ended == [{"folder": "/a"}]


def test_a_folder_is_removed_with_all_in_it(tmp_path: Path) -> None:
    """The folder is gone, its neighbour stays; one that is gone already is no error."""
    (tmp_path / "x" / "y").mkdir(parents=True)
    (tmp_path / "x" / "y" / "z").touch()
    (tmp_path / "other").mkdir()
    watching.end({"folder": str(tmp_path / "x")})
    watching.end({"folder": str(tmp_path / "x")})
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_file_is_removed(tmp_path: Path) -> None:
    """One that is half written; one that is gone already is no error."""
    (tmp_path / "run.json.part").touch()
    watching.end({"file": str(tmp_path / "run.json.part")})
    watching.end({"file": str(tmp_path / "run.json.part")})
    assert [*tmp_path.iterdir()] == []


def test_a_process_group_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole group gets SIGKILL; one that is gone, or another user's, is no error."""
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "killpg", lambda *args: killed.append(args))
    watching.end({"process_group": 4711})
    assert killed == [(4711, signal.SIGKILL)]
    for error in (ProcessLookupError, PermissionError):
        monkeypatch.setattr(os, "killpg", lambda *_, error=error: (_ for _ in ()).throw(error()))
        watching.end({"process_group": 4711})


def test_a_control_group_is_emptied_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its processes are killed, then its folders removed, the missing ones passed over."""
    group = tmp_path / "group"
    group.mkdir()
    (group / "cgroup.procs").write_text("4711\n4712\n")
    killed: list[int] = []

    def kill(pid: int, _: int) -> None:
        killed.append(pid)
        (group / "cgroup.procs").unlink(missing_ok=True)

    monkeypatch.setattr(os, "kill", kill)
    watching.end({"control_group": [str(tmp_path / "none"), str(group)]})
    assert killed == [4711, 4712]
    assert not group.exists()


class Engine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A Docker engine that only removes containers."""

    daemon_threads = True


@pytest.fixture
def engine() -> Iterator[tuple[str, list[str]]]:
    """Its socket, and what it was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_DELETE(self) -> None:
            asked.append(self.path)
            self.send_response(404 if self.path.startswith("/containers/late") and len(asked) < 3 else 204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

        def address_string(self) -> str:
            return ""

    with tempfile.TemporaryDirectory(prefix="h", dir="/tmp") as folder, Engine(f"{folder}/s", Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"{folder}/s", asked
        server.shutdown()
        thread.join()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its connection to its exit
def test_a_container_is_removed_by_its_engine(engine: tuple[str, list[str]], tmp_path: Path) -> None:
    """Forcibly, with its volumes; an engine that is gone is no error."""
    socket, asked = engine
    watching.end({"container": "c1", "engine": socket})
    assert asked == ["/containers/c1?force=1&v=1"]
    watching.end({"container": "c1", "engine": str(tmp_path / "none")})


@pytest.mark.parametrize("what", [{}, {"folder": 5}, {"process_group": "x"}, {"other": 1}])
def test_what_is_not_understood_is_left_alone(what: dict[str, Any]) -> None:
    """An entry of another form does nothing."""
    watching.end(what)


@pytest.mark.spawns
def test_it_cleans_up_when_the_pipe_closes(tmp_path: Path) -> None:
    """As a process of its own, with the standard library alone, deaf to Ctrl-C."""
    (tmp_path / "x").mkdir()
    (tmp_path / "kept").mkdir()
    entries = [{"id": 0, "do": {"folder": str(tmp_path / "x")}}, {"id": 1, "do": {"folder": str(tmp_path / "kept")}}]
    lines = "".join(json.dumps(entry) + "\n" for entry in [*entries, {"id": 1}])
    with subprocess.Popen(
        [sys.executable, "-I", "-S", watching.__file__], stdin=subprocess.PIPE, text=True, env={}
    ) as process:
        process.communicate(lines, timeout=20)
    assert process.returncode == 0
    assert not (tmp_path / "x").exists()
    assert (tmp_path / "kept").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_container_that_is_still_being_made_is_waited_for(engine: tuple[str, list[str]]) -> None:
    """A harness killed while it asked for one: the engine has none yet, and has one a moment later."""
    socket, asked = engine
    watching.end({"container": "late", "engine": socket})
    assert asked == ["/containers/late?force=1&v=1"] * 3


def test_a_folder_of_any_depth_is_deleted(tmp_path: Path, nested: Any) -> None:
    """Nested deeper than any path or stack can be."""
    place = tmp_path / "left"
    place.mkdir()
    nested(place)
    watching.remove_folder(str(place))
    assert not place.exists()
