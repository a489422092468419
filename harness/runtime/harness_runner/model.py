"""Loading a model and asking it, with a stamp after each phase.

Stamps are seconds on ``CLOCK_MONOTONIC``, which all processes of a machine share, containers
included; so the harness can subtract its own from them.
"""

import contextlib
import gc
import importlib.util
import os
import re
import sys
import time
from pathlib import Path

from harness_runner import STARTED_S
from harness_runner.packaged import ENVIRONMENT, PRUNED

#: Where an artifact has the model: beside this package.
PACKAGED = Path(__file__).resolve().parent.parent / "harness_model"

stamps = {"interpreter": STARTED_S}

#: Bytes of ``sun_path``, the zero at its end among them.
_LONGEST_ADDRESS = 108


class PredictorError(Exception):
    """The predictor broke its contract without raising anything itself."""


def load(model_dir, entrypoint):
    """Import the predictor and load the model; returns a function from inputs to outputs."""
    model_dir = Path(model_dir)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    sys.path.insert(0, str(model_dir))
    spec = importlib.util.spec_from_file_location("predictor", model_dir / entrypoint)
    predictor = importlib.util.module_from_spec(spec)
    sys.modules["predictor"] = predictor
    with _no_collections():
        spec.loader.exec_module(predictor)
        for name in ("load", "predict"):
            if not callable(getattr(predictor, name, None)):
                raise PredictorError(f"{entrypoint} has no function {name}()")
        stamps["imports"] = time.monotonic()
        if "HARNESS_WEIGHTS" in os.environ:  # the artifact was built without its weights: getting them is loading
            from harness_runner import placing

            model_dir = placing.placed(model_dir)
        model = predictor.load(model_dir)
        stamps["weights"] = time.monotonic()

    def predict(inputs):
        outputs = predictor.predict(model, inputs)
        if not isinstance(outputs, list) or len(outputs) != len(inputs):
            got = f"{len(outputs)} outputs" if isinstance(outputs, list) else f"a {type(outputs).__name__}"
            raise PredictorError(f"predict() was given {len(inputs)} inputs and returned {got}, not a list as long")
        return outputs

    return predict


@contextlib.contextmanager
def _no_collections():
    """What is imported and loaded stays: looking through it for garbage takes a tenth of the time, and finds none."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def address(path):
    """A name for the Unix socket at ``path`` that is short enough to be one, however long that is (unix(7))."""
    if len(os.fsencode(path)) < _LONGEST_ADDRESS:
        return str(path)
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)  # left open: the name is good as long
    return f"/proc/self/fd/{folder}/{os.path.basename(path)}"


def described(error, stage):
    """An exception as the harness is told of it: kind, message, and the last place in the model's code."""
    where = ""
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if os.path.dirname(file) != os.path.dirname(__file__) and not file.startswith("<frozen"):
            where = f"{os.path.basename(file)}:{trace.tb_lineno}"
        trace = trace.tb_next
    message = str(error)[:2000] + pruned(error)
    return {"stage": stage, "type": type(error).__name__, "message": message, "where": where}


def pruned(error):
    """What to add to the message of an error about a file or module that is missing, and that pruning leaves out."""
    missing = ""
    if isinstance(error, FileNotFoundError):
        file = str(error.filename or "")
        places = [place for place in sys.path if place and file.startswith(place + os.sep)]
        if places and not file.startswith(str(PACKAGED)):
            missing = file[len(max(places, key=len)) + 1 :]
    elif isinstance(error, ModuleNotFoundError):
        missing = str(error.name or "")
    rules = [rule for rule, sign in PRUNED.items() if re.search(sign, missing)] if missing else []
    if not rules:
        return ""
    return f" (pruned: the rule '{rules[0]}' leaves such files out; take it from 'prune' in model.toml)"


def facts():
    """What this process is: interpreter, and how many of its modules came from bytecode that was there before."""
    begun_at = time.time() - (time.monotonic() - STARTED_S)
    compiled = source = 0
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        frozen = getattr(getattr(module, "__spec__", None), "origin", None) == "frozen"  # in the interpreter itself
        # Some modules (torch.ops) answer any attribute with an object of their own.
        if isinstance(file, str) and file.endswith(".py") and not frozen:
            cached = getattr(module, "__cached__", None)
            # An executable made by PyInstaller has its modules as bytecode in an archive, whatever lies beside it.
            loader = type(getattr(module, "__loader__", None)).__name__
            packed = getattr(sys, "frozen", False) and (loader != "SourceFileLoader" or not os.path.exists(file))
            if packed or (isinstance(cached, str) and counts(cached, file, begun_at)):
                compiled += 1
            else:
                source += 1
    return {
        "python": sys.version.split()[0],
        "executable": sys.executable,
        "pid": os.getpid(),
        "user": os.getuid(),
        "modules_from_bytecode": compiled,
        "modules_from_source": source,
    }


def counts(cached, file, begun_at):
    """Whether Python loads ``file`` from its bytecode in ``cached`` (PEP 552), not written by this process itself."""
    try:
        with open(cached, "rb") as opened:
            written_at, header = os.fstat(opened.fileno()).st_mtime, opened.read(16)
        status = os.stat(file)
        kind = header[4]
        if header[:4] != importlib.util.MAGIC_NUMBER or written_at >= begun_at:
            return False
        if kind == 0:
            fields = (int(status.st_mtime), status.st_size)
            return header[8:] == b"".join((field & 0xFFFFFFFF).to_bytes(4, "little") for field in fields)
        if kind & 2:
            with open(file, "rb") as opened:
                return header[8:] == importlib.util.source_hash(opened.read())
        return True
    except (OSError, IndexError):
        return False
