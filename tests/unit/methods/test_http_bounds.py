"""What an HTTP server of ours bears: bodies that are too long, too slow or too many at once, and no body at all."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from harness.methods import platform_server


@pytest.fixture
def http(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The package, with small bounds."""
    monkeypatch.syspath_prepend(platform_server.BOUNDS.parent)
    found = importlib.import_module("harness_http")
    monkeypatch.setattr(found, "BODY_BYTES", 10)
    monkeypatch.setattr(found, "BODIES_BYTES", 15)
    yield found
    del sys.modules["harness_http"]


class Echo:
    """An application that answers what it is sent."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002
        """Answer."""
        message = await receive()
        assert message["more_body"] is False
        self.asked.append(message["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": message["body"]})


async def ask(app: Any, *chunks: bytes | Callable[[], Awaitable[None]], length: int | None = None) -> tuple[int, bytes]:
    """Status and body of the answer to a request in these pieces; a function is waited for in between."""
    pieces = list(chunks)
    said: list[Any] = []

    async def receive() -> Any:
        while pieces and not isinstance(pieces[0], bytes):
            await pieces.pop(0)()  # type: ignore[operator]
        if not pieces:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        said.append(message)

    headers = [] if length is None else [(b"content-length", str(length).encode())]
    await app({"type": "http", "headers": headers}, receive, send)
    return (said[0]["status"], said[1]["body"]) if said else (0, b"")


def test_what_is_within_bounds_arrives_whole(http: Any) -> None:
    """In one piece, however it was sent; nothing too."""
    app = Echo()
    bounded = http.bounded(app)
    assert asyncio.run(ask(bounded, b"12345", b"67890", length=10)) == (200, b"1234567890")
    assert asyncio.run(ask(bounded, b"")) == (200, b"")
    assert app.asked == [b"1234567890", b""]


@pytest.mark.parametrize(("chunks", "length"), [([b"x"], 11), ([b"123456", b"78901"], None), ([b"x"], 10**20)])
def test_a_body_that_is_too_long_is_refused(http: Any, chunks: list[bytes], length: int | None) -> None:
    """By what is said of it before it is read, and by what comes."""
    app = Echo()
    status, text = asyncio.run(ask(http.bounded(app), *chunks, b"more", length=length))
    assert status == 413
    assert "bytes" in json.loads(text)["error"]["message"]
    assert app.asked == []


def test_all_bodies_together_are_bounded(http: Any) -> None:
    """What is being received counts until it is answered, and no longer."""
    app = http.bounded(Echo())

    async def several() -> list[int]:
        waiting = asyncio.Event()
        first = asyncio.create_task(ask(app, b"12345678", waiting.wait, b"9"))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        second = (await ask(app, b"12345678"))[0]
        waiting.set()
        return [second, (await first)[0], (await ask(app, b"12345678"))[0]]

    assert asyncio.run(several()) == [503, 200, 200]


def test_a_body_that_does_not_come_is_given_up(http: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason; whoever hangs up gets none."""
    monkeypatch.setattr(http, "BODY_S", 0.01)
    app = Echo()

    async def sleep() -> None:
        await asyncio.sleep(5)

    assert asyncio.run(ask(http.bounded(app), b"1", sleep, b"2"))[0] == 408
    assert asyncio.run(ask(http.bounded(app))) == (0, b"")
    assert app.asked == []


def test_what_an_application_raises_passes(http: Any) -> None:
    """A time that it has run out of is no body that did not come."""

    async def late(scope: Any, receive: Any, send: Any) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        asyncio.run(ask(http.bounded(late), b"1"))


def test_other_kinds_of_events_pass(http: Any) -> None:
    """Starting and stopping."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    asyncio.run(http.bounded(app)({"type": "lifespan"}, None, None))
    assert seen == ["lifespan"]
