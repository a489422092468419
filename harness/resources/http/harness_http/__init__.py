"""What a server of ours bears from whoever asks: so much of a body, in so long a time, on so many connections.

uvicorn bounds neither bodies, nor the time that a request may take to arrive, nor what waits to be read by a slow
caller. Nothing is imported here that a server on asyncio has not imported already, and no request costs more than a
timer.
"""

import asyncio
import os

#: The longest body of a request, and all bodies together that are being received or answered.
BODY_BYTES = int(os.environ.get("HARNESS_HTTP_BODY_BYTES") or 32 * 2**20)
BODIES_BYTES = 2 * BODY_BYTES

#: Connections at a time; the next one is hung up on.
CONNECTIONS = 128

#: Seconds for the head of a request, for its body, and for taking an answer.
HEAD_S, BODY_S, ANSWER_S = 15.0, 60.0, 60.0


#: What is said of a refusal.
WHY = {
    408: f"a request's body may take {BODY_S:g} s",
    413: f"a request's body may have {BODY_BYTES} bytes",
    503: "too much is asked at once",
}
_GONE = 499


def bounded(app):
    """The ASGI application ``app``, which gets requests whose body has arrived and is no longer than allowed."""
    held = 0

    async def arrived(scope, receive, body):
        """0 once ``body`` is whole, or the status to refuse it with."""
        nonlocal held
        if _declared(scope) > BODY_BYTES:
            return 413
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return _GONE
            body += message.get("body", b"")
            held += len(message.get("body", b""))
            if len(body) > BODY_BYTES:
                return 413
            if held > BODIES_BYTES:
                return 503
            if not message.get("more_body", False):
                return 0

    async def answer(scope, receive, send):
        nonlocal held
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        body = bytearray()
        try:
            try:
                status = await _within(BODY_S, arrived(scope, receive, body))
            except (TimeoutError, asyncio.TimeoutError):  # two errors before Python 3.11
                status = 408
            if status == 0:
                await app(scope, _again(bytes(body), receive), send)
            elif status != _GONE:
                await _refuse(send, status)
        finally:
            held -= len(body)

    return answer


async def _within(seconds, waiting):
    """What comes of ``waiting``; a timeout error where that takes longer."""
    if not hasattr(asyncio, "timeout"):  # before Python 3.11
        return await asyncio.wait_for(waiting, seconds)
    async with asyncio.timeout(seconds):
        return await waiting


def _declared(scope):
    """How long the body is by its own word; what is no number, the server has refused."""
    return max((int(value) for name, value in scope["headers"] if name == b"content-length"), default=0)


def _again(body, receive):
    """``receive`` with what it has given already, first."""
    given = False

    async def again():
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _refuse(send, status):
    """Say so, and hang up: what is still being sent is of no use to anybody."""
    text = f'{{"error": {{"stage": "input", "type": "Refused", "message": "{WHY[status]}", "where": ""}}}}'.encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    headers += [(b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def protocol():
    """uvicorn's own protocol with bounds on connections, on the time of a head, and on callers that do not read.

    The one on h11, which bounds heads (16 KiB); that on httptools does not.
    """
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Bounded(H11Protocol):
        late = None

        def connection_made(self, transport):
            super().connection_made(transport)
            if len(self.connections) > CONNECTIONS:
                transport.abort()
            self.watch()

        def connection_lost(self, exc):
            self.stop_watching()
            super().connection_lost(exc)

        def data_received(self, data):
            super().data_received(data)
            self.watch()

        def on_response_complete(self):
            super().on_response_complete()
            if self.transport.get_write_buffer_size():
                self.loop.call_later(ANSWER_S, self.hang_up_unread)

        def send_400_response(self, msg):
            try:
                super().send_400_response(msg)
            except h11.LocalProtocolError:  # an answer has begun already
                self.transport.abort()

        def watch(self):
            """Give a head that is being waited for its time, however it trickles in."""
            if self.conn.their_state is not h11.IDLE:
                self.stop_watching()
            elif self.late is None:
                self.late = self.loop.call_later(HEAD_S, self.transport.abort)

        def stop_watching(self):
            if self.late is not None:
                self.late.cancel()
                self.late = None

        def hang_up_unread(self):
            if self.transport.get_write_buffer_size():
                self.transport.abort()

    return Bounded
