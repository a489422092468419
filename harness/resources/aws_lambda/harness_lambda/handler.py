"""``{"inputs": [...]}`` is answered with ``{"outputs": [...]}``, ``{"facts": true}`` with facts and phase stamps.

The model is loaded when this module is imported, in the phase that Lambda calls Init. One that cannot be loaded
answers every event with the reason, so that whoever asks learns it.
"""

from harness_runner import model as runner  # first: it stamps the start of the interpreter

import json
import time

from harness_runner.packaged import ENTRYPOINT

try:
    PREDICT, BROKEN = runner.load(runner.PACKAGED, ENTRYPOINT), None
except Exception as error:
    PREDICT, BROKEN = None, runner.described(error, "load")

#: When the last prediction was answered, on the clock of the stamps: the caller's may be another machine's.
ANSWERED = {}


def handle(event, context):
    """Lambda's handler; errors are said in the runner's own way."""
    if not isinstance(event, dict) or not ("facts" in event or "inputs" in event):
        return {"error": runner.described(ValueError('{"inputs": [...]} is wanted'), "input")}
    if "facts" in event:
        return {"facts": runner.facts(), "stamps": {**runner.stamps, **ANSWERED}}
    if PREDICT is None:
        return {"error": BROKEN}
    try:
        outputs = PREDICT(event["inputs"])
        # What Lambda's own encoder would pass through (NaN) or choke on is the model's error.
        json.dumps(outputs, allow_nan=False)
    except Exception as error:
        return {"error": runner.described(error, "predict")}
    ANSWERED["answered"] = time.monotonic()
    return {"outputs": outputs}
