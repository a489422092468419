"""Amazon SageMaker's contract: ``docker run IMAGE serve``, port 8080, ``GET /ping``, ``POST /invocations``.

The model lies at ``/opt/ml/model``, where the platform unpacks ``model.tar.gz``; the image has none.
"""

from harness_runner import model as runner  # first: it stamps the start of the interpreter

import sys

from harness_runner.packaged import ENTRYPOINT
from harness_server import app

MODEL = "/opt/ml/model"
PORT = 8080


def main(argv):
    """Serve; 2 where the platform asks for something else (``train``, say)."""
    if argv != ["serve"]:
        sys.stderr.write("usage: serve\n")
        return 2
    contract = {"health": "/ping", "predict": "/invocations", "inputs": "inputs", "outputs": "outputs"}
    app.serve(runner, PORT, model_dir=MODEL, entrypoint=ENTRYPOINT, **contract)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
