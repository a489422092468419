"""Vertex AI's contract: port and routes from ``AIP_...``, ``{"instances": [...]}`` to ``{"predictions": [...]}``.

The model is in the image, so the platform has no artifacts to hand over: ``AIP_STORAGE_URI`` has to be empty.
"""

from harness_runner import model as runner  # first: it stamps the start of the interpreter

import os
import sys

from harness_runner.packaged import ENTRYPOINT
from harness_server import app


def main():
    """Serve; 1 where other artifacts than those in the image are to be served."""
    if os.environ.get("AIP_STORAGE_URI"):
        sys.stderr.write(
            "AIP_STORAGE_URI is set, but this image serves the model inside: upload it without artifacts\n"
        )
        return 1
    app.serve(
        runner,
        int(os.environ.get("AIP_HTTP_PORT", "8080")),
        model_dir=runner.PACKAGED,
        entrypoint=ENTRYPOINT,
        health=os.environ.get("AIP_HEALTH_ROUTE", "/health"),
        predict=os.environ.get("AIP_PREDICT_ROUTE", "/predict"),
        inputs="instances",
        outputs="predictions",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
