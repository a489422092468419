"""The function: ``predict(request)``, which Google's Functions Framework calls for each HTTP request.

``{"inputs": [...]}`` is answered with ``{"outputs": [...]}``, ``{"facts": true}`` with what the harness asks for.
The model is loaded by the first request, not when this file is imported: the framework imports it and then forks
its worker, and threads that a model has started by then (ONNX Runtime, OpenMP) would be missing there.
"""

from harness_runner import model as runner  # first: it stamps the start of the interpreter

import json
import threading

from harness_runner.packaged import ENTRYPOINT

#: The longest body of a request; Google's own limit is 32 MiB (10 MB for 1st gen).
BODY_BYTES = 32 * 2**20

lock = threading.Lock()
loaded = {}


def predict(request):
    """Answer a request; a model that cannot be loaded answers every one with the reason."""
    try:
        body = _body(request.stream)
        if len(body) > BODY_BYTES:
            return _answer({"error": runner.described(ValueError(f"longer than {BODY_BYTES} bytes"), "input")}, 413)
        asked = json.loads(body)
        if "facts" in asked:
            return _answer({"facts": runner.facts(), "stamps": runner.stamps})
        with lock:
            if "model" not in loaded and "broken" not in loaded:
                _load()
        if "broken" in loaded:
            return _answer({"error": loaded["broken"]}, 500)
        return _answer({"outputs": loaded["model"](asked["inputs"])})
    except Exception as error:
        return _answer({"error": runner.described(error, "predict")}, 500)


def _body(stream):
    """What was sent, up to one byte more than is allowed."""
    body = bytearray()
    while len(body) <= BODY_BYTES and (chunk := stream.read(BODY_BYTES + 1 - len(body))):
        body += chunk
    return body


def _load():
    try:
        loaded["model"] = runner.load(runner.PACKAGED, ENTRYPOINT)
    except Exception as error:
        loaded["broken"] = runner.described(error, "load")


def _answer(value, status=200):
    return json.dumps(value, allow_nan=False), status, {"Content-Type": "application/json"}
