"""The artifact of ``rest-api``, started by hand on loopback as a user would."""

from __future__ import annotations

import contextlib
import html
import http.client
import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import process
from harness.methods import METHODS
from harness.methods.contract import BuildOptions
from harness.spec import model as models
from harness.spec import weights

DESCRIPTION = "Doubles <script>alert('&')</script> \"numbers\" and {{example}} above Ω"

SOURCE = """
def load(model_dir):
    return 2

def predict(model, inputs):
    print("this goes nowhere near the answer")
    if "raise" in inputs:
        raise ValueError("I <b>won't</b>")
    if "nan" in inputs:
        return [float("nan") for _ in inputs]
    return [model * number for number in inputs]
"""
BROKEN = "def load(model_dir):\n    raise OSError('no weights')\n\ndef predict(model, inputs):\n    return inputs\n"


@dataclass(frozen=True)
class Server:
    """A running API on a port of the loopback device."""

    port: int

    def __call__(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None) -> tuple[int, str]:
        """Status and text of the answer."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            sent = raw if raw is not None else json.dumps(body).encode() if body is not None else None
            connection.request(method, path, sent, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Server]:
    """Build the model's API, and start it as its artifact says: ``python -m harness_rest --port N``."""
    method, model = METHODS["rest-api"], models.read(folder)
    locked = weights.locked(model, extra=method.REQUIREMENTS)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with process.temporary_folder("api") as place, process.temporary_folder("tools") as tools:
        artifact = method.build(locked, place, BuildOptions(tool_cache=tools))
        assert artifact.path is not None
        command = [str(artifact.path / "bin" / "python"), "-m", "harness_rest", "--port", str(port)]
        with subprocess.Popen(command, cwd=place, env=process.environment(place)) as running:
            try:
                _wait(port, running)
                yield Server(port)
            finally:
                running.terminate()
                assert running.wait(timeout=30) in {0, -15}


def _wait(port: int, running: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


@pytest.fixture(scope="module")
def api(make_model: Any) -> Iterator[Server]:
    """An API whose model raises when it is asked to."""
    with served(make_model("doubles", SOURCE, description=DESCRIPTION)) as server:
        yield server


def test_predict(api: Server) -> None:
    """The answers, one for each input, also to none and to many at a time."""
    assert api("POST", "/predict", {"inputs": [1, 2.5]}) == (200, '{"outputs":[2,5.0]}')
    assert api("POST", "/predict", {"inputs": []}) == (200, '{"outputs":[]}')
    status, text = api("POST", "/predict", {"inputs": ["né"] * 20_000})
    assert status == 200
    assert json.loads(text)["outputs"] == ["néné"] * 20_000


def test_the_form_page_is_whole_and_safe(api: Server) -> None:
    """Name, description and example are escaped in it, and it needs nothing from elsewhere."""
    status, page = api("GET", "/")
    assert status == 200
    assert "<h1>doubles</h1>" in page
    assert "<script>alert" not in page
    assert page.count("<script") == page.count("</script>") == 1
    assert re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]+", page) == []
    assert re.findall(r"\ssrc=|@import|url\(", page) == []
    links = re.findall(r'href="([^"]*)"', page)
    assert set(links) == {"data:,", "/openapi.json"}
    assert ">1</textarea>" in page


def test_the_description_is_shown_as_it_is(api: Server) -> None:
    """What looks like a placeholder in it is not taken for one."""
    assert f"<p>{html.escape(DESCRIPTION)}</p>" in api("GET", "/")[1]


def test_openapi_is_valid(api: Server) -> None:
    """It names the model and describes /predict, and every reference in it leads somewhere."""
    status, text = api("GET", "/openapi.json")
    assert status == 200
    described = json.loads(text)
    assert described["openapi"].startswith("3.")
    assert described["info"] == {"title": "doubles", "version": "1", "description": DESCRIPTION}
    assert "/" not in described["paths"]
    operation = described["paths"]["/predict"]["post"]
    assert set(operation["responses"]) >= {"200", "422", "500"}
    asked = operation["requestBody"]["content"]["application/json"]["schema"]
    references = set(re.findall(r'"\$ref": ?"#/([^"]*)"', text))
    assert asked["$ref"].removeprefix("#/") in references
    for reference in references:
        place = described
        for part in reference.split("/"):
            place = place[part]
        assert place["type"] == "object"
    assert described["components"]["schemas"]["Question"]["required"] == ["inputs"]


@pytest.mark.parametrize("body", [{}, {"inputs": 3}, {"inputs": None}, {"input": [1]}, [1], None, "text"], ids=repr)
def test_bad_input_is_said_to_be(api: Server, body: Any) -> None:
    """422, and where it is wrong."""
    status, text = api("POST", "/predict", body)
    assert status == 422
    assert json.loads(text)["detail"][0]["loc"][0] == "body"


def test_what_is_not_json_is_said_to_be(api: Server) -> None:
    """422 as well, and other methods and paths are refused as usual."""
    assert api("POST", "/predict", raw=b"{inputs")[0] == 422
    assert api("POST", "/predict", raw=b"\xff\xfe")[0] in {400, 422}
    assert api("GET", "/predict")[0] == 405
    assert api("GET", "/nothing")[0] == 404


def test_a_model_that_raises(api: Server) -> None:
    """500 with the error's kind, message and place; the next request is answered again."""
    status, text = api("POST", "/predict", {"inputs": ["raise"]})
    assert status == 500
    error = json.loads(text)["error"]
    assert (error["type"], error["message"], error["stage"]) == ("ValueError", "I <b>won't</b>", "predict")
    assert error["where"].startswith("predictor.py:")
    status, text = api("POST", "/predict", {"inputs": ["nan"]})
    assert status == 500
    assert "not JSON compliant" in json.loads(text)["error"]["message"]
    assert api("POST", "/predict", {"inputs": [4]}) == (200, '{"outputs":[8]}')
    assert api("GET", "/healthz") == (200, '{"ready":true}')


def test_a_model_that_cannot_be_loaded(make_model: Any) -> None:
    """It says so to everyone who asks, instead of not answering."""
    with served(make_model("broken", BROKEN)) as api:
        assert api("GET", "/healthz") == (503, '{"ready":false}')
        status, text = api("POST", "/predict", {"inputs": [1]})
        assert status == 500
        assert json.loads(text)["error"]["message"] == "no weights"
        assert api("GET", "/")[0] == 200


HOSTILE = {
    "more than fits": (b"Content-Length: 999999999999\r\n\r\n{", 413),
    "less than nothing": (b"Content-Length: -5\r\n\r\n{", 400),
    "no number": (b"Content-Length: abc\r\n\r\n{", 400),
    "nothing": (b"\r\n", 422),
    "another coding": (b"Transfer-Encoding: gzip\r\n\r\n", 400),
    "no chunk": (b"Transfer-Encoding: chunked\r\n\r\n-1\r\nabc", 400),
    "a deep list": (b"Content-Length: 100011\r\n\r\n" + b'{"inputs": ' + b"[" * 100_000, 400),
    "a deep object": (b"Content-Length: 5413\r\n\r\n" + b'{"inputs": ' + b'{"a":' * 900 + b"1" + b"}" * 901, 422),
    "many digits": (b"Content-Length: 100014\r\n\r\n" + b'{"inputs": [1' + b"9" * 99_999 + b"]}", 400),
    "endless heads": (b"A: b\r\n" * 100_000, 400),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_requests_are_refused(api: Server, what: str) -> None:
    """With a status and no traceback; the next one is answered."""
    rest, status = HOSTILE[what]
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(head + rest)
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                said += chunk
    assert said.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Traceback" not in said
    assert api("POST", "/predict", {"inputs": [4]}) == (200, '{"outputs":[8]}')


def test_connections_are_bounded(api: Server) -> None:
    """Whoever comes when there are many is hung up on; the others stay."""
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(socket.create_connection(("127.0.0.1", api.port), timeout=5)) for _ in range(200)]
        many[-1].settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert many[-1].recv(1) == b""
        many[0].settimeout(0.1)
        with pytest.raises(TimeoutError):
            many[0].recv(1)
    time.sleep(0.2)
    assert api("GET", "/healthz")[0] == 200
