"""``python invoke_once.py HANDLER EVENT``: call a handler once, print its answer as JSON on the last line.

This is what moto expects of the image that it runs functions in. The bounds that an engine does not set are
set here, before any code of the function runs.
"""

import importlib
import json
import os
import resource
import signal
import sys


def expire(number, frame):
    """The function's time is up."""
    raise TimeoutError("Task timed out")


def main(handler, event):
    """Answer, or say what was raised as Lambda does; the exit code."""
    signal.signal(signal.SIGALRM, expire)
    signal.alarm(int(float(os.environ.get("AWS_LAMBDA_FUNCTION_TIMEOUT", "60"))))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    module, _, name = handler.rpartition(".")
    try:
        said = getattr(importlib.import_module(module), name)(json.loads(event), None)
    except BaseException as error:
        json.dump({"errorType": type(error).__name__, "errorMessage": str(error)[:2000]}, answers)
        answers.close()
        return 1
    json.dump(said, answers)
    answers.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
