"""The depot: what nodes fetch artifacts from, and servers that only speak TCP in a network of their own."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import interpreter, process
from harness.platforms import depot as depots
from harness.platforms import engine, host, images, moto, namespaces
from harness.sandbox import Bounds

SERVER = """
import http.server, socket, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = repr([name for _, name in socket.if_nameindex()]).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
"""


def test_a_file_is_fetched_whole_and_nothing_stays(traces_of: Callable[[str], Any], tmp_path: Path) -> None:
    """Through the bucket, as a node does, timed; again where it is wanted again; the server is gone afterwards."""
    traces = traces_of("venv")
    file = tmp_path / "artifact.bin"
    file.write_bytes(os.urandom(3_000_000))
    before = traces.now()
    with depots.session() as depot:
        for _ in range(2):
            fetched = depot.fetch(file, tmp_path / "fetched.bin")
            assert (tmp_path / "fetched.bin").read_bytes() == file.read_bytes()
            assert (fetched.seconds or 0) > 0
            assert (fetched.fidelity, fetched.absent) == ("emulated", "")
        assert traces.now() != before
    assert traces.since(before) == []


def test_without_a_bucket_the_file_comes_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is copied, and there is no time, with the reason."""
    monkeypatch.setattr(moto.tools, "executable", lambda *_: Path("/no/such/moto_server"))
    (tmp_path / "artifact.bin").write_bytes(b"x")
    with depots.session() as depot:
        fetched = depot.fetch(tmp_path / "artifact.bin", tmp_path / "fetched.bin")
    assert (tmp_path / "fetched.bin").read_bytes() == b"x"
    assert fetched.seconds is None
    assert "/no/such/" in fetched.absent


def test_a_node_pulls_all_of_an_image_every_time(traces_of: Callable[[str], Any]) -> None:
    """Its store is empty before each pull; the engine that builds is left as it is; nothing stays."""
    traces = traces_of("container")
    running = engine.connect()
    base = images.base(running, interpreter.default().minor)
    before = traces.now()
    with depots.session() as depot:
        seconds = [depot.pull(running, base.tag).seconds or 0 for _ in range(2)]
        assert depot.push(running, base.tag) == depot.push(running, base.tag)
    # A pull that found the layers there would take a few hundredths of a second.
    assert min(seconds) > max(seconds) / 4
    assert min(seconds) > 0.2
    assert traces.since(before) == []


@pytest.mark.skipif(bool(namespaces.check()), reason="this user may make no namespaces")
def test_a_server_in_a_network_of_its_own_is_reached_there_only(tmp_path: Path) -> None:
    """It has a loopback interface and no other; nobody outside reaches its port; its end is an OSError."""
    with process.temporary_folder("loop", readable=True) as folder:
        home = folder / "home"
        home.mkdir(mode=0o755)
        with (
            host.running(
                [str(interpreter.default().path), "-c", SERVER],
                env=process.environment(home),
                cwd=home,
                bounds=Bounds(memory_bytes=2**28, processes=8, disk_bytes=2**20),
                shows=[],
                kept=[home],
            ) as running,
            namespaces.Inside(running.pid) as inside,
        ):
            connection = _connected(inside)
            with connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert b"['lo']" in b"".join(iter(lambda: connection.recv(4096), b""))
            with pytest.raises(OSError, match=r"refused|unreachable"):
                socket.create_connection(("127.0.0.1", 8080), timeout=2)
    with namespaces.Inside(2**22 + 1) as gone, pytest.raises(OSError):
        gone.connect(8080)


def _connected(inside: namespaces.Inside) -> socket.socket:
    for _ in range(2000):
        try:
            return inside.connect(8080)
        except OSError:
            time.sleep(0.005)
    pytest.fail("it never listened")


def test_this_process_stays_in_its_own_network() -> None:
    """Only who connects for it, a thread or a process, enters another."""
    before = os.readlink("/proc/self/ns/net")
    if not namespaces.check():
        with namespaces.Inside(os.getpid()) as inside, pytest.raises(ConnectionError, match="of its own"):
            inside.connect(1)
    assert os.readlink("/proc/self/ns/net") == before
