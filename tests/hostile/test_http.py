"""Hostile requests against the REST API of an artifact: it answers or hangs up, stays small, and goes on serving."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hostile import campaign, making
from hostile.campaign import Kind, Need
from hostile.ground import Witness

_READY_S, _ANSWER_S, _PEAK_MB, _MB = 30.0, 10.0, 300, 2**20
_JSON = "Content-Type: application/json"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is sent, piece by piece, and the status lines that may come; empty for one that is hung up on.

    ``never`` are patterns that the answer may not match.
    """

    name: str
    sends: Callable[[], Iterator[bytes]]
    statuses: tuple[int, ...]
    hangs_up: bool = False
    never: tuple[str, ...] = ()
    kind: Kind = "http"
    needs: tuple[Need, ...] = ("network",)
    without_root: str = "held"


def _post(body: bytes, *headers: str, path: str = "/predict") -> Callable[[], Iterator[bytes]]:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", *(headers or (_JSON,)), f"Content-Length: {len(body)}", "", ""]
    return lambda: iter(["\r\n".join(lines).encode("latin-1") + body])


def _raw(*parts: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: iter(parts)


def _endless(head: bytes, part: bytes, most: int) -> Callable[[], Iterator[bytes]]:
    """A request that goes on and on, as far as it is taken."""

    def sends() -> Iterator[bytes]:
        yield head
        for _ in range(most // len(part)):
            yield part

    return sends


def _head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode()


_HEAD = ("POST /predict HTTP/1.1", "Host: localhost", _JSON)
_INPUTS = b'{"inputs": [1]}'

REQUESTS = [
    Request(
        name="http-huge-length",
        sends=_endless(_head(*_HEAD, "Content-Length: 10000000000"), bytes(_MB), 600 * _MB),
        statuses=(413,),
        hangs_up=True,
    ),
    Request(
        name="http-huge-length-alone",
        sends=_raw(_head(*_HEAD, f"Content-Length: {10**18}")),
        statuses=(413, 400),
        hangs_up=True,
    ),
    Request(
        name="http-endless-chunks",
        sends=_endless(_head(*_HEAD, "Transfer-Encoding: chunked"), b"100000\r\n" + bytes(_MB) + b"\r\n", 600 * _MB),
        statuses=(413,),
        hangs_up=True,
    ),
    Request(
        name="http-endless-headers",
        sends=_endless(b"GET /healthz HTTP/1.1\r\n", b"X-A: " + b"a" * 8000 + b"\r\n", 200 * _MB),
        statuses=(400, 431),
        hangs_up=True,
    ),
    Request(
        name="http-endless-line",
        sends=_endless(b"GET /", b"a" * _MB, 200 * _MB),
        statuses=(400, 414, 431),
        hangs_up=True,
    ),
    Request(
        name="http-negative-length", sends=_raw(_head(*_HEAD, "Content-Length: -1")), statuses=(400, 422), hangs_up=True
    ),
    Request(
        name="http-two-lengths",
        sends=_raw(_head(*_HEAD, "Content-Length: 15", "Content-Length: 3") + _INPUTS),
        statuses=(400,),
        hangs_up=True,
    ),
    Request(
        name="http-length-and-chunks",
        sends=_raw(
            _head(*_HEAD, "Content-Length: 3", "Transfer-Encoding: chunked") + b"f\r\n" + _INPUTS + b"\r\n0\r\n\r\n"
        ),
        statuses=(200, 400),
        hangs_up=True,
    ),
    Request(name="http-not-http", sends=_raw(b"\x16\x03\x01\x02\x00\x01" + bytes(600)), statuses=(400,), hangs_up=True),
    Request(
        name="http-zero-bytes", sends=_raw(b"GET /\0 HTTP/1.1\r\nHost: \0\r\n\r\n"), statuses=(400,), hangs_up=True
    ),
    Request(name="http-not-json", sends=_post(b"{"), statuses=(400, 422)),
    Request(name="http-not-utf-8", sends=_post(b'{"inputs": ["\xff\xfe"]}'), statuses=(400, 422)),
    Request(
        name="http-nested-json",
        sends=_post(b'{"inputs": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
        statuses=(400, 413, 422),
    ),
    Request(name="http-nan", sends=_post(b'{"inputs": [NaN]}'), statuses=(400, 422, 500), never=(r"\bNaN\b.*outputs",)),
    Request(name="http-infinite", sends=_post(b'{"inputs": [1e999]}'), statuses=(400, 422, 500)),
    Request(
        name="http-million-digits", sends=_post(b'{"inputs": [' + b"9" * 10**6 + b"]}"), statuses=(400, 413, 422, 500)
    ),
    Request(name="http-no-object", sends=_post(b"[]"), statuses=(422,)),
    Request(name="http-inputs-of-other-type", sends=_post(b'{"inputs": {"a": 1}}'), statuses=(422,)),
    Request(name="http-no-inputs", sends=_post(b'{"inputs": []}'), statuses=(200, 422)),
    Request(name="http-million-inputs", sends=_post(b'{"inputs": [' + b"1," * 10**6 + b"1]}"), statuses=(200, 413)),
    Request(
        name="http-inputs-that-raise",
        sends=_post(b'{"inputs": [{}]}'),
        statuses=(500,),
        never=(r"Traceback", r"File \\?\"/"),
    ),
    Request(name="http-half-characters", sends=_post(b'{"inputs": ["\\ud800"]}'), statuses=(200, 400, 422, 500)),
    Request(name="http-control-characters", sends=_post(b'{"inputs": ["\x01\x1b[2J"]}'), statuses=(400, 422)),
    Request(name="http-other-type", sends=_post(_INPUTS, "Content-Type: text/html"), statuses=(415, 422)),
    Request(
        name="http-compressed-bomb", sends=_post(bytes(1000), _JSON, "Content-Encoding: gzip"), statuses=(400, 415, 422)
    ),
    Request(
        name="http-path-above",
        sends=_raw(_head("GET /../../../../etc/passwd HTTP/1.1", "Host: localhost")),
        statuses=(400, 404),
        never=(r"root:",),
    ),
    Request(
        name="http-path-encoded",
        sends=_raw(_head("GET /%2e%2e/%2e%2e/etc/passwd%00 HTTP/1.1", "Host: localhost")),
        statuses=(400, 404),
        never=(r"root:",),
    ),
    Request(
        name="http-other-verb",
        sends=_raw(_head("TRACE /predict HTTP/1.1", "Host: localhost", "X-Secret: x")),
        statuses=(400, 405),
        never=(r"X-Secret",),
    ),
    Request(
        name="http-markup-in-path",
        sends=_raw(_head("GET /<script>alert(1)</script> HTTP/1.1", "Host: localhost")),
        statuses=(400, 404),
        never=(r"<script>",),
    ),
    Request(
        name="http-header-injection",
        sends=_raw(_head("GET /healthz?a=%0d%0aX-Evil:1 HTTP/1.1", "Host: localhost")),
        statuses=(200, 400, 404),
        never=(r"(?m)^X-Evil",),
    ),
    Request(
        name="http-upgrade",
        sends=_raw(
            _head(
                "GET / HTTP/1.1",
                "Host: localhost",
                "Upgrade: websocket",
                "Connection: Upgrade",
                "Sec-WebSocket-Key: x",
                "Sec-WebSocket-Version: 13",
            )
        ),
        statuses=(200, 400, 403, 404, 426),
        hangs_up=True,
    ),
]


@dataclass(frozen=True)
class Server:
    """A server that runs, and the port on loopback that it listens on."""

    process: subprocess.Popen[bytes]
    port: int

    def ask(self, sends: Iterator[bytes]) -> tuple[int | None, str]:
        """Send the pieces, as far as they are taken; the status, None where it hung up, and the whole answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=_ANSWER_S) as connection:
            with contextlib.suppress(OSError):
                for part in sends:
                    connection.sendall(part)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while (chunk := connection.recv(65536)) and not _whole(answer := answer + chunk):
                    pass
        found = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
        return int(found[1]) if found else None, answer.decode(errors="replace")

    def peak_mb(self) -> float:
        """The most memory that it ever had."""
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None, "the server has ended"
        return int(found[1]) / 1024


def _whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    return bool(end) and (length is None or len(body) >= int(length[1]))


@pytest.fixture(scope="module")
def artifact(witness: Witness) -> Path:
    """The REST API of a good model, packaged and unpacked as its README says."""
    place = witness.ground("http")
    making.model(place)
    campaign.give(place.folder, witness)
    out = place.folder / "out"
    made = campaign.harness(
        witness, "package", str(place.model), "--method", "rest-api", "--out", str(out), timeout_s=300
    )
    assert made.returncode == 0, made.stdout
    (place.folder / "app").mkdir()
    archive = next(out.glob("*.tar.gz"))
    subprocess.run(["/bin/tar", "-xzf", str(archive), "-C", str(place.folder / "app")], check=True)
    return place.folder / "app"


@pytest.fixture
def server(artifact: Path) -> Iterator[Server]:
    """It, started anew for each request: what one does to its memory is told apart."""
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        port = any_port.getsockname()[1]
    with subprocess.Popen(
        [str(artifact / "bin" / "python"), "-m", "harness_rest", "--port", str(port)],
        env={"PATH": "/usr/bin:/bin"},
        cwd=artifact,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            deadline = time.monotonic() + _READY_S
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                assert time.monotonic() < deadline, "the server does not listen"
                time.sleep(0.05)
            yield Server(process, port)
        finally:
            process.kill()


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case.name)
def test_it_is_answered_and_survived(case: Request, needed: None, server: Server) -> None:
    """The status is one of those, memory stays bounded, and the next request is answered right."""
    complaints = []
    try:
        status, answer = server.ask(case.sends())
    except TimeoutError:
        status, answer = -1, ""
        complaints.append(f"neither an answer nor an end within {_ANSWER_S:g} s")
    if status not in case.statuses and not (status is None and case.hangs_up) and status != -1:
        complaints.append(f"status {status}, not {' or '.join(map(str, case.statuses))}: {answer[:300]!r}")
    complaints += [f"answers /{text}/: {answer[:300]!r}" for text in case.never if re.search(text, answer)]
    if (peak := server.peak_mb()) > _PEAK_MB:
        complaints.append(f"the server took {peak:.0f} MB of memory, {_PEAK_MB} are enough")
    with contextlib.suppress(TimeoutError):
        status, answer = server.ask(_post(_INPUTS)())
    if status != 200 or json.loads(answer.partition("\r\n\r\n")[2]) != {"outputs": [2]}:
        complaints.append(f"the next request is not answered: {status} {answer[:200]!r}")
    if complaints:
        pytest.fail("\n  - ".join([f"{case.name} was not held:", *complaints]), pytrace=False)
