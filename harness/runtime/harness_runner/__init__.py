"""Runs a packaged model: ``python -m harness_runner once|serve``. Standard library only."""

import time

#: The first line of ours that runs: until here it was the launcher and the interpreter.
STARTED_S = time.monotonic()
