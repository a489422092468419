"""The scoring script for Azure ML's inference server: ``init()`` once in each worker, ``run()`` for each request.

``{"inputs": [...]}`` is answered with ``{"outputs": [...]}``, ``{"facts": true}`` with what the harness asks for.
A model that cannot be loaded answers every request with the reason, because a worker that leaves in ``init()``
takes the reason with it.
"""

from harness_runner import model as runner  # first: it stamps the start of the interpreter, here of the worker

import json
import os

from flask import Response
from harness_runner.packaged import ENTRYPOINT

loaded = {}


def init():
    """Load the model from where the platform says it is."""
    try:
        loaded["predict"] = runner.load(os.environ["AZUREML_MODEL_DIR"], ENTRYPOINT)
    except Exception as error:
        loaded["broken"] = runner.described(error, "load")


def run(body):
    """Answer the request's text."""
    try:
        request = json.loads(body)
        if "facts" in request:
            return _answer({"facts": runner.facts(), "stamps": runner.stamps})
        if "broken" in loaded:
            return _answer({"error": loaded["broken"]}, status=500)
        return _answer({"outputs": loaded["predict"](request["inputs"])})
    except Exception as error:
        return _answer({"error": runner.described(error, "predict")}, status=500)


def _answer(value, status=200):
    return Response(json.dumps(value, allow_nan=False), status=status, mimetype="application/json")
