"""How an instance is talked to: a JSON object a line on a socket, or HTTP; never more received than is waited for."""

from __future__ import annotations

import http.client
import io
import json
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from harness.methods.messages import TooLong, decoded
from harness.spec.model import Json

_CHUNK_BYTES = 64 * 2**10
_GLANCE_S = 0.25  # how often a long wait looks at the process and at the disk
_HEAD_BYTES = 256 * 2**10  # of an answer over HTTP: status and header fields


@dataclass(frozen=True, kw_only=True)
class Http:
    """How a platform's HTTP server is asked.

    ``ask`` makes a request's body of the inputs, ``outputs`` takes the answer's body apart: it returns what the
    runner says, ``{"outputs": [...]}`` or ``{"error": {...}}``. Facts are asked for by ``GET facts_path`` where that
    is given, else with the body ``{"facts": true}`` where predictions are asked for.
    """

    path: str
    ask: Callable[[list[Json]], Any] = lambda inputs: {"inputs": inputs}
    outputs: Callable[[Any], Any] = lambda answer: answer
    facts_path: str | None = None

    def request(self, asked: Mapping[str, Any]) -> tuple[str, str, bytes]:
        """The verb, the path and the body for what the harness asks."""
        if "predict" in asked:
            return "POST", self.path, json.dumps(self.ask(asked["predict"])).encode()
        if self.facts_path is not None:
            return "GET", self.facts_path, b""
        return "POST", self.path, json.dumps({"facts": True}).encode()


#: How the runner of the project's own is asked over HTTP.
REST = Http(path="/predict", facts_path="/runtime")


class Patient:
    """A connection whose reads wait up to a deadline, looking after the other end every now and then.

    It gives no more than ``room`` bytes, which bounds what a reader on top of it can hold; TooLong at the next.
    """

    def __init__(
        self, connection: socket.socket, timeout_s: float, look_after: Callable[[], None], *, room: int
    ) -> None:
        self._connection, self._look_after, self._room = connection, look_after, room
        self._deadline = time.monotonic() + timeout_s

    def sendall(self, data: bytes) -> None:
        """Send it, in the time that is left."""
        self._connection.settimeout(max(self._deadline - time.monotonic(), 0.001))
        self._connection.sendall(data)

    def recv(self, size: int) -> bytes:
        """What has come; TimeoutError at the deadline."""
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(min(left, _GLANCE_S))
            try:
                chunk = self._connection.recv(size)
            except TimeoutError:
                self._look_after()
                continue
            self._room -= len(chunk)
            if self._room < 0:
                raise TooLong
            return chunk

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What ``http.client`` asks for."""
        return io.BufferedReader(_Reader(self))


def over_lines(
    connection: socket.socket,
    request: Mapping[str, Any],
    *,
    timeout_s: float,
    look_after: Callable[[], None],
    most: int,
) -> Any:
    """The answer to a line; TooLong where it has more than ``most`` bytes."""
    waiting = Patient(connection, timeout_s, look_after, room=most)
    waiting.sendall(json.dumps(request).encode() + b"\n")
    begun = waiting.recv(_CHUNK_BYTES)
    return decoded(begun if begun.endswith(b"\n") else _rest_of_line(waiting, begun))


def _rest_of_line(connection: Patient, begun: bytes) -> bytearray:
    received = bytearray(begun)
    chunk: bytes = begun
    while not chunk.endswith(b"\n"):
        if not chunk:
            raise ConnectionError("closed by the instance")
        chunk = connection.recv(_CHUNK_BYTES)
        received += chunk
    return received


def over_http(
    connection: socket.socket,
    request: Mapping[str, Any],
    api: Http,
    *,
    timeout_s: float,
    look_after: Callable[[], None],
    most: int,
) -> tuple[Any, bool]:
    """The answer, and whether the server keeps the connection; TooLong where its body has more than ``most`` bytes."""
    # Chunks have something around them, too.
    waiting = Patient(connection, timeout_s, look_after, room=2 * most + _HEAD_BYTES)
    verb, path, body = api.request(request)
    lines = [f"{verb} {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body)}"]
    waiting.sendall("\r\n".join([*lines, "", ""]).encode() + body)
    response = http.client.HTTPResponse(cast("socket.socket", waiting))  # it calls makefile() and nothing else
    response.begin()
    text = _body(response, most)
    try:
        answer = decoded(text)
    except ValueError:
        raise ValueError(f"HTTP {response.status}: {text[:500].decode(errors='replace')!r} is not JSON") from None
    if "predict" in request:
        answer = api.outputs(answer)
    return answer, not response.will_close


def _body(response: http.client.HTTPResponse, most: int) -> bytearray:
    """Read piece by piece: in one go, room would be made for as much as the server says that will come."""
    if (response.length or 0) > most:
        raise TooLong
    body = bytearray()
    while chunk := response.read(_CHUNK_BYTES):
        body += chunk
        if len(body) > most:
            raise TooLong
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return body


class _Reader(io.RawIOBase):
    """The reading half of a connection, for ``http.client``."""

    def __init__(self, connection: Patient) -> None:
        super().__init__()
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._connection.recv(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)


def hung_up(connection: socket.socket) -> bool:
    """Whether the other end has closed an idle connection."""
    connection.setblocking(False)  # MSG_DONTWAIT alone would wait for the socket's own timeout
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
