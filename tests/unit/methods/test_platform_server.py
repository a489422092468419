"""Our server behind the contracts of SageMaker and Vertex AI, without the libraries that speak HTTP."""

from __future__ import annotations

import asyncio
import importlib
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harness.methods import platform_server


class JSONResponse:
    """As Starlette's: what JSON has no word for is refused."""

    def __init__(self, content: Any, status_code: int = 200) -> None:
        self.status = status_code
        self.content = json.loads(json.dumps(content, allow_nan=False))


async def in_threadpool(function: Any, *args: Any) -> Any:
    return function(*args)


@pytest.fixture
def server(runner: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The package ``harness_server``, with stand-ins for Starlette."""
    parts = {
        "applications": {"Starlette": lambda routes: {path: (endpoint, more) for path, endpoint, more in routes}},
        "concurrency": {"run_in_threadpool": in_threadpool},
        "responses": {"JSONResponse": JSONResponse},
        "routing": {"Route": lambda path, endpoint, **more: (path, endpoint, more)},
    }
    monkeypatch.setitem(sys.modules, "starlette", ModuleType("starlette"))
    for name, contents in parts.items():
        module = ModuleType(f"starlette.{name}")
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.syspath_prepend(platform_server.BOUNDS.parent)
    monkeypatch.syspath_prepend(platform_server.FOLDER.parent)
    yield importlib.import_module("harness_server.app")
    for name in [name for name in sys.modules if name.startswith("harness_server")]:
        del sys.modules[name]


class App:
    """An application that is asked."""

    def __init__(self, routes: Any) -> None:
        self.routes = routes

    def get(self, path: str) -> JSONResponse:
        return asyncio.run(self.routes[path][0](None))  # type: ignore[no-any-return]

    def post(self, path: str, body: Any) -> JSONResponse:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()

        async def read() -> bytes:
            return text

        endpoint, more = self.routes[path]
        assert more == {"methods": ["POST"]}
        return asyncio.run(endpoint(SimpleNamespace(body=read)))  # type: ignore[no-any-return]


def app(server: ModuleType, runner: Any, **changes: Any) -> App:
    known = {"model_dir": runner.PACKAGED, "entrypoint": "predictor.py", "health": "/h", "predict": "/p"}
    return App(server.create(runner, **{**known, "inputs": "instances", "outputs": "predictions", **changes}))


def test_it_answers_with_the_contracts_words(server: ModuleType, runner: Any) -> None:
    """A list for a list, and healthy."""
    made = app(server, runner)
    said = made.post("/p", {"instances": [1, 2.5]})
    assert (said.status, said.content) == (200, {"predictions": [2, 5.0]})
    assert made.get("/h").status == 200


def test_facts_come_the_same_way_with_the_servers_own_time(server: ModuleType, runner: Any) -> None:
    """A platform lets nothing but predictions through; its clock is not ours."""
    told = app(server, runner).post("/p", {"facts": True}).content
    assert told["facts"]["python"] == sys.version.split()[0]
    assert told["stamps"]["interpreter"] <= told["stamps"]["imports"] <= told["stamps"]["weights"]
    assert told["stamps"]["weights"] <= told["stamps"]["now"]


def test_a_model_that_cannot_be_loaded_says_why_and_is_not_healthy(server: ModuleType, runner: Any) -> None:
    """Whoever waits for it learns it; the platform sends no traffic."""
    (runner.PACKAGED / "predictor.py").write_text(
        "def load(model_dir):\n    raise ValueError('no weights')\n\n\npredict = load\n"
    )
    made = app(server, runner)
    assert made.get("/h").status == 503
    said = made.post("/p", {"instances": [1]})
    assert said.status == 500
    assert said.content["error"]["stage"] == "load"
    assert made.post("/p", {"facts": True}).status == 200


@pytest.mark.parametrize("body", [b"{", b"[]", b"3", b'{"inputs": []}', b"\xff", b"[" * 100_000, b"9" * 10_000])
def test_what_is_not_a_question_is_the_clients_fault(server: ModuleType, runner: Any, body: bytes) -> None:
    """It is told what is wanted."""
    said = app(server, runner).post("/p", body)
    assert said.status == 400
    assert said.content["error"]["message"] == '{"instances": [...]} is wanted'


@pytest.mark.parametrize(
    ("returned", "kind"),
    [("[1 / 0]", "ZeroDivisionError"), ("[float('nan')]", "ValueError"), ("[]", "PredictorError")],
)
def test_a_failing_prediction_is_the_models_fault(server: ModuleType, runner: Any, returned: str, kind: str) -> None:
    """With the kind of the exception."""
    source = f"def load(model_dir):\n    return 2\n\n\ndef predict(model, inputs):\n    return {returned}\n"
    (runner.PACKAGED / "predictor.py").write_text(source)
    said = app(server, runner).post("/p", {"instances": [1]})
    assert (said.status, said.content["error"]["type"]) == (500, kind)


@pytest.fixture
def served(server: ModuleType, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the server would serve, and where."""
    found: dict[str, Any] = {}

    def serve(_runner: Any, port: int, **contract: Any) -> None:
        found.update(contract, port=port)

    monkeypatch.setattr(server, "serve", serve)
    return found


def test_sagemaker_is_served_as_its_contract_says(served: dict[str, Any]) -> None:
    """``serve``, port 8080, two routes, the model where the platform unpacks it."""
    module = importlib.import_module("harness_server.sagemaker")
    assert module.main(["serve"]) == 0
    assert served["port"] == 8080
    assert (served["health"], served["predict"]) == ("/ping", "/invocations")
    assert served["model_dir"] == "/opt/ml/model"


@pytest.mark.parametrize("argv", [[], ["train"]])
def test_sagemaker_does_nothing_else(served: dict[str, Any], capsys: Any, argv: list[str]) -> None:
    """``train`` is another image's business."""
    assert importlib.import_module("harness_server.sagemaker").main(argv) == 2
    assert served == {}
    assert "usage" in capsys.readouterr().err


def test_vertex_is_served_where_the_platform_says(served: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Port and routes are the environment's."""
    for name, value in (("HTTP_PORT", "9000"), ("HEALTH_ROUTE", "/a"), ("PREDICT_ROUTE", "/b:predict")):
        monkeypatch.setenv(f"AIP_{name}", value)
    assert importlib.import_module("harness_server.vertex").main() == 0
    assert (served["port"], served["health"], served["predict"]) == (9000, "/a", "/b:predict")
    assert (served["inputs"], served["outputs"]) == ("instances", "predictions")


def test_vertex_does_not_serve_another_model_than_was_uploaded(
    served: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The image reads no artifacts; serving its own instead of them would be wrong answers."""
    monkeypatch.setenv("AIP_STORAGE_URI", "gs://bucket/other")
    assert importlib.import_module("harness_server.vertex").main() == 1
    assert served == {}
    assert "AIP_STORAGE_URI" in capsys.readouterr().err


def test_the_port_is_bound_before_the_model_is_loaded(
    server: ModuleType, runner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever connects early waits in the kernel, and is answered once the model is there, and at once."""
    order: list[str] = []

    class Listener:
        def setsockopt(self, *option: int) -> None:
            assert option == (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            order.append("without delay")

        def __str__(self) -> str:
            return "listener"

    monkeypatch.setattr(
        socket,
        "create_server",
        lambda where, **_: order.append(f"bound {where[1]}") or Listener(),  # type: ignore[func-returns-value]
    )
    monkeypatch.setattr(runner, "load", lambda *_: order.append("loaded"))
    uvicorn = ModuleType("uvicorn")
    uvicorn.Config = lambda app, **_: app  # type: ignore[attr-defined]
    uvicorn.Server = lambda _: SimpleNamespace(run=lambda sockets: order.append(f"serves on {sockets[0]}"))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "uvicorn", uvicorn)
    monkeypatch.setattr(importlib.import_module("harness_http"), "protocol", lambda: "bounded")
    contract = {"health": "/h", "predict": "/p", "inputs": "i", "outputs": "o"}
    server.serve(runner, 8080, model_dir=runner.PACKAGED, entrypoint="predictor.py", **contract)
    assert order == ["bound 8080", "without delay", "loaded", "serves on listener"]


def test_the_package_needs_what_is_locked_with_the_model(server: ModuleType) -> None:
    """And nothing else: it is read as a whole."""
    text = "".join(file.read_text() for file in Path(platform_server.FOLDER).glob("*.py"))
    wanted = {line.split("==")[0] for line in platform_server.REQUIREMENTS}
    assert wanted == {"starlette", "uvicorn"}
    assert all(f"import {name}" in text or f"from {name}" in text for name in wanted)
    assert "fastapi" not in text
    assert "pydantic" not in text
