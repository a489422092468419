"""What both contracts share: a health check, a prediction route, and how they are served.

The port is bound before the model is loaded and answered on after: platforms want a TCP connection early (Vertex AI
restarts a container that takes none within four attempts, ten seconds apart) and a healthy answer only from a model
that is loaded. In between the kernel keeps whoever asks waiting.
"""

import json
import socket
import time

_BACKLOG = 128


def serve(runner, port, **contract):
    """Bind, load, answer until killed."""
    listener = socket.create_server(("0.0.0.0", port), backlog=_BACKLOG)  # noqa: S104 -- as the contracts demand
    # asyncio does so for sockets of its own making only; without it an answer's body waits for the caller's kernel to
    # acknowledge the head, 40 ms on Linux. Accepted connections have it from the listener.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    import harness_http
    import uvicorn

    app = harness_http.bounded(create(runner, **contract))
    bounds = {"http": harness_http.protocol(), "ws": "none"}
    uvicorn.Server(uvicorn.Config(app, **bounds, log_level="warning", access_log=False)).run(sockets=[listener])


def create(runner, *, model_dir, entrypoint, health, predict, inputs, outputs):
    """The application. ``inputs`` and ``outputs`` are the keys of the lists in a request and in its answer.

    A model that cannot be loaded answers every prediction with the reason, and is never healthy. ``{"facts": true}``
    is what the harness asks for, on the same route, because a platform lets nothing else through.
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    try:
        ask, broken = runner.load(model_dir, entrypoint), None
    except Exception as error:
        ask, broken = None, runner.described(error, "load")

    def answer(body):
        try:
            request = json.loads(body)
            if "facts" in request:
                return JSONResponse({"facts": runner.facts(), "stamps": {**runner.stamps, "now": time.monotonic()}})
            question = request[inputs]
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            wanted = f'{{"{inputs}": [...]}} is wanted'
            return JSONResponse({"error": {**runner.described(error, "input"), "message": wanted}}, status_code=400)
        if ask is None:
            return JSONResponse({"error": broken}, status_code=500)
        try:
            return JSONResponse({outputs: ask(question)})
        except Exception as error:
            return JSONResponse({"error": runner.described(error, "predict")}, status_code=500)

    async def on_predict(request):
        # A prediction computes, so it belongs in a worker thread, not in the event loop.
        return await run_in_threadpool(answer, await request.body())

    async def on_health(request):
        return JSONResponse({"ready": ask is not None}, status_code=200 if ask is not None else 503)

    return Starlette(routes=[Route(predict, on_predict, methods=["POST"]), Route(health, on_health)])
