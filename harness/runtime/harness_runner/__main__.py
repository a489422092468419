"""``once``: JSON inputs on standard input, JSON outputs on standard output. ``serve``: a Unix socket.

The socket speaks one JSON object a line. ``{"predict": [...]}`` is answered with ``{"outputs": [...]}`` or
``{"error": {...}}``, ``{"facts": true}`` with ``{"facts": {...}, "stamps": {...}}``. It listens before the
model is loaded, so that whoever waits need not poll; it answers after.
"""

import json
import os
import sys

from harness_runner import model as runner
from harness_runner.packaged import ENTRYPOINT

USAGE = """usage: once [--model DIR] [--entrypoint FILE]
           JSON {"inputs": [...]} on standard input, answers on standard output
       serve --socket PATH [--model DIR] [--entrypoint FILE]
           one JSON object a line on a Unix socket"""


def main(argv):
    """Run the command; the exit code."""
    options = {"--model": runner.PACKAGED, "--entrypoint": ENTRYPOINT, "--socket": None}
    if not argv or argv[0] not in ("once", "serve") or len(argv) % 2 == 0 or not set(argv[1::2]) <= set(options):
        print(USAGE, file=sys.stderr)
        return 2
    options.update(zip(argv[1::2], argv[2::2]))
    if (argv[0] == "serve") != (options["--socket"] is not None):
        print(USAGE, file=sys.stderr)
        return 2
    if argv[0] == "once":
        return once(options["--model"], options["--entrypoint"])
    return serve(options["--model"], options["--entrypoint"], options["--socket"])


def once(model_dir, entrypoint):
    """Answer one request. Whatever the model prints goes to standard error, so answers stay clean JSON."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    stage = "input"
    try:
        request = json.load(sys.stdin)
        inputs = request["inputs"] if isinstance(request, dict) else request
        stage = "load"
        predict = runner.load(model_dir, entrypoint)
        stage = "predict"
        line = json.dumps({"outputs": predict(inputs)}, allow_nan=False)
    except (Exception, SystemExit) as error:  # a model that exits has not answered
        json.dump({"error": runner.described(error, stage)}, answers)
        answers.close()
        return 1
    answers.write(line + "\n")
    answers.close()
    return 0


def serve(model_dir, entrypoint, path):
    """Answer requests on the Unix socket ``path`` until killed, one connection at a time."""
    import contextlib
    import socket

    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(runner.address(path))
    os.chmod(path, 0o666)
    listener.listen(8)
    try:
        predict = runner.load(model_dir, entrypoint)
    except Exception as error:
        import traceback

        traceback.print_exc()
        connection, _ = listener.accept()
        with contextlib.suppress(OSError):
            # Read first: who is answered before he has asked finds nobody to ask.
            connection.makefile("rb").readline()
            connection.sendall(_line({"error": runner.described(error, "load")}))
        return 1
    while True:
        connection, _ = listener.accept()
        # Who hangs up in the middle is gone; the next one is served.
        with contextlib.suppress(OSError), connection:
            for line in connection.makefile("rb"):
                connection.sendall(_answer(predict, line))


def _answer(predict, line):
    try:
        request = json.loads(line)
        if "facts" in request:
            return _line({"facts": runner.facts(), "stamps": runner.stamps})
        return _line({"outputs": predict(request["predict"])})
    except Exception as error:
        return _line({"error": runner.described(error, "predict")})


def _line(value):
    return json.dumps(value, allow_nan=False).encode() + b"\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
