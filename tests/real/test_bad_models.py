"""Models that break in every way, through ``harness run``: each is a result with a reason, and the others go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness import cgroup

LOAD = "def load(model_dir):\n    return 2\n"
PREDICT = "def predict(model, inputs):\n    return [2 * number for number in inputs]\n"
TRAINED = ({"path": "weights.txt", "sha256": "0" * 64},)
QUICK = {"start_timeout_s": 2.0, "predict_timeout_s": 2.0}


@dataclass(frozen=True, kw_only=True)
class Bad:
    """A model and what must be said of it."""

    says: str
    source: str = LOAD + PREDICT
    keys: dict[str, Any] = field(default_factory=dict)


def doing(body: str, *, first: str = "") -> str:
    """A predictor whose predict() does ``body``."""
    indented = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return f"{first}\n{LOAD}\ndef predict(model, inputs):\n{indented}\n    return [2 * number for number in inputs]\n"


def training(body: str, says: str, *, timeout_s: float = 30.0) -> Bad:
    """A model whose weights are made by ``body``."""
    keys = {"train": f"import sys, os, time\nout = sys.argv[1]\n{body}\n", "artifacts": TRAINED}
    return Bad(says=says, keys={**keys, "train_timeout_s": timeout_s})


FILL_MANY = """
import os, time
for number in range(100):
    with open(os.path.join(os.environ.get("FILL", os.getcwd()), str(number)), "wb") as file:
        file.write(bytes(4 * 2**20))
    time.sleep(0.03)
"""
FILL_ONE = "with open('one', 'wb') as file:\n    for _ in range(64):\n        file.write(bytes(2**20))"
# Linear, and each child only sleeps: what a bound must stop, but this machine would survive.
FORK = """
import os, time
for _ in range(300):
    if os.fork() == 0:
        time.sleep(600)
raise RuntimeError("unbounded")
"""

BAD = {
    "load-raises": Bad(
        says=r"loading the model raised ValueError: no such weights \(predictor.py:2\)",
        source="def load(model_dir):\n    raise ValueError('no such weights')\n" + PREDICT,
    ),
    "predict-raises": Bad(
        says=r"predicting raised ZeroDivisionError: division by zero \(predictor.py:\d+\)", source=doing("1 / 0")
    ),
    "import-fails": Bad(
        says="loading the model raised ModuleNotFoundError: No module named 'not_there'",
        source="import not_there\n" + LOAD + PREDICT,
    ),
    "syntax-error": Bad(says="cannot be compiled(.|\n)*SyntaxError", source="def load(:\n"),
    "no-predict": Bad(says=r"predictor.py has no function predict\(\)", source=LOAD),
    "hangs-in-load": Bad(
        says="did not answer within(.|\n)*raise resources.start_timeout_s",
        source="import time\ndef load(model_dir):\n    print('loading', flush=True)\n    time.sleep(600)\n" + PREDICT,
        keys={"resources": QUICK},
    ),
    "hangs-in-predict": Bad(
        says="did not answer within", source=doing("import time\ntime.sleep(600)"), keys={"resources": QUICK}
    ),
    "exits": Bad(says="exited with code 3 before it answered", source=doing("import os\nos._exit(3)")),
    "exits-in-load": Bad(
        says="exited with code 4 before it answered",
        source="import os\ndef load(model_dir):\n    os._exit(4)\n" + PREDICT,
    ),
    "kills-itself": Bad(
        says="was killed by signal 11 before it answered", source=doing("import os\nos.kill(os.getpid(), 11)")
    ),
    "eats-memory": Bad(
        says="ran out of memory: it may use 64 MiB(.|\n)*raise resources.memory_mb"
        if cgroup.version()
        else "MemoryError",
        source=doing("kept = bytearray(300 * 2**20)\nkept[::4096] = b'x' * len(kept[::4096])"),
        keys={"resources": {"memory_mb": 64}},
    ),
    "forks": Bad(
        says="BlockingIOError" if cgroup.version() else "unbounded",
        source=doing(FORK),
        keys={"resources": {"processes": 20, "predict_timeout_s": 10.0}},
    ),
    "fills-the-disk": Bad(
        says=r"(filled|wrote more than) the 16 MiB that it may write(.|\n)*raise resources.disk_mb",
        source=doing(FILL_MANY),
        keys={"resources": {"disk_mb": 16}},
    ),
    "writes-a-large-file": Bad(
        says="predicting raised OSError: .*File too large", source=doing(FILL_ONE), keys={"resources": {"disk_mb": 16}}
    ),
    "prints-endlessly": Bad(
        says="did not answer within(.|\n)*on and on",
        source=doing("while True: print('on and on')"),
        keys={"resources": QUICK},
    ),
    "wrong-answer": Bad(
        says=r"1 of 3 answers are wrong; to inputs\[1\]: 4 instead of 5(.|\n)*mend the model",
        keys={"outputs": [2, 5, 6]},
    ),
    "wrong-length": Bad(
        says=r"predict\(\) was given 3 inputs and returned 2 outputs",
        source=LOAD + "def predict(model, inputs):\n    return [2, 4]\n",
    ),
    "not-a-list": Bad(
        says="returned a int, not a list as long", source=LOAD + "def predict(model, inputs):\n    return 7\n"
    ),
    "not-a-number": Bad(
        says="Out of range float values are not JSON compliant",
        source=LOAD + "def predict(model, inputs):\n    return [float('nan') for _ in inputs]\n",
    ),
    "not-json": Bad(
        says="predicting raised TypeError: Object of type object is not JSON serializable",
        source=LOAD + "def predict(model, inputs):\n    return [object() for _ in inputs]\n",
    ),
    "training-raises": training(
        "raise RuntimeError('bad data')", "train.py ended with exit code 1(.|\n)*bad data(.|\n)*mend"
    ),
    "training-hangs": training(
        "time.sleep(600)", "training did not end within 2 s(.|\n)*raise train.timeout_s", timeout_s=2.0
    ),
    "training-exits": training("os._exit(5)", "train.py ended with exit code 5"),
    "training-is-killed": training("os.kill(os.getpid(), 9)", "train.py ended with exit code -9|killed by signal 9"),
    "training-writes-nothing": training("pass", "training ended without writing weights.txt"),
    "training-writes-another": training(
        "open(out + '/weights.txt', 'w').write('x')", "has sha256 [0-9a-f]{64}, model.toml says 0{64}"
    ),
    "other-weights": Bad(
        says="artifacts.0.sha256(.|\n)*the file's sha256 is [0-9a-f]{64}, not the one given",
        keys={"artifacts": TRAINED, "files": {"weights.txt": "other"}},
    ),
    "unresolvable": Bad(
        says="uv cannot resolve them(.|\n)*packaging>=1000(.|\n)*correct the requirement",
        keys={"requirements": ["packaging>=1000"]},
    ),
}

#: Models that do odd things and answer right all the same.
GOOD = {
    "good": LOAD + PREDICT,
    "prints-rubbish": "import sys, os\nprint('{\"outputs\": [0]}')\n"
    + doing(
        "print('{\"outputs\": [0, 0, 0]}')\nos.write(1, b'\\xff\\x00\\n')\nos.write(2, b'\\x1b[2J')", first="import os"
    ),
    "prints-all-the-time": doing(
        "pass",
        first="import threading\ndef shout():\n    while True: print('x' * 4096)\n"
        "threading.Thread(target=shout, daemon=True).start()",
    ),
    "warns": doing("import warnings\nwarnings.warn('old')"),
    "changes-folder": doing("import os\nos.chdir('/')"),
}


def answered(told: Any, model: str, method: str) -> bool:
    """Whether the model's cell has right answers and starts in every state."""
    found = next(one for one in told["models"] if one["model"] == model)
    states = {
        value["state"]
        for value in found["values"]
        if (value["method"], value["metric"]) == (method, "cold_start_s") and value["interval"]
    }
    return found["methods"][method] == "measured" and "page-warm" in states


@dataclass(frozen=True)
class Batch:
    """One run over several models."""

    told: Any
    left: list[str]
    results: Path


@pytest.fixture(scope="module")
def batch(
    harness: Any, make_model: Any, traces_of: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Batch]:
    """Run models with one method; the command has to end with exit code 1."""

    def run(method: str, bad: dict[str, Bad], good: dict[str, str]) -> Batch:
        folders = [make_model(name, one.source, **one.keys) for name, one in bad.items()]
        folders += [make_model(name, source) for name, source in good.items()]
        results = tmp_path_factory.mktemp("results")
        traces = traces_of(method)
        before = traces.now()
        args = ("--method", method, "--rounds", 1, "--builds", 1, "--results", results, "--json")
        ran = harness("run", *folders, *args, timeout_s=600).expect(1)
        return Batch(ran.json, traces.since(before, but="^image"), results)

    return run


@pytest.fixture(scope="module")
def every(batch: Callable[..., Batch]) -> Iterator[Batch]:
    """All of them as virtual environments, in one run, the good ones last."""
    return batch("venv", BAD, GOOD)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_model_is_a_result_with_a_reason(every: Batch, name: str) -> None:
    """The reason is in the run's outcome, as it is in the stored evidence."""
    import re

    reason = every.told["failed"][f"{name}/venv"]
    assert re.search(BAD[name].says, reason), reason
    found = next(one for one in every.told["models"] if one["model"] == name)
    assert found["methods"]["venv"] == reason


@pytest.mark.parametrize("name", GOOD)
def test_the_other_models_are_measured(every: Batch, name: str) -> None:
    """What comes after bad models is measured all the same; printing does not get into answers."""
    assert f"{name}/venv" not in every.told["failed"]
    assert answered(every.told, name, "venv")


def test_nothing_of_bad_models_is_left(every: Batch) -> None:
    """No process, mount, control group or temporary file, whatever they did."""
    assert every.left == []


def test_people_are_told_as_well(every: Batch, harness: Any) -> None:
    """``compare`` says of a failed cell why, and ends well: the failure is the result."""
    said = harness("compare", "exits", "--results", every.results, "--run", every.told["run"]).expect(0)
    assert "venv: failed: exited with code 3 before it answered" in said.out
    listed = harness("runs", "--results", every.results, "--json").expect(0).json
    assert [(one["run"], one["finished"] != "no") for one in listed] == [(every.told["run"], True)]


@pytest.mark.parametrize("method", ["container", "rest-api", "pex"])
def test_other_methods_see_the_same(batch: Callable[..., Batch], method: str) -> None:
    """Failures are told alike whatever a model is packaged with."""
    import re

    bad = {name: BAD[name] for name in ("load-raises", "exits", "eats-memory", "not-a-number", "hangs-in-predict")}
    if method == "rest-api":  # FastAPI itself needs more than this
        del bad["eats-memory"]
    if method == "pex":  # here only what concerns a launcher in between
        bad = {name: bad[name] for name in ("exits", "eats-memory")}
    ran = batch(method, bad, {"good": GOOD["good"]})
    for name, one in bad.items():
        reason = ran.told["failed"].pop(f"{name}/{method}")
        assert re.search(one.says, reason), reason
    assert ran.told["failed"] == {}
    assert answered(ran.told, "good", method)
    assert ran.left == []


def test_rubbish_in_a_reason_does_no_harm(batch: Callable[..., Batch], harness: Any) -> None:
    """Control characters and halves of characters in an exception are stored, shown and exported."""
    message = "broken \\x00 \\x1b[31m \\ud800 \\u202e end"
    bad = {"garbled": Bad(says="", source=doing(f"raise ValueError('{message}')"))}
    ran = batch("venv", bad, {"good": GOOD["good"]})
    assert "ValueError" in ran.told["failed"]["garbled/venv"]
    said = harness("compare", "garbled", "--run", ran.told["run"], "--results", ran.results).expect(0)
    assert "\x1b[31m" not in said.out
    assert answered(ran.told, "good", "venv")


def test_a_list_that_lies_about_its_length(batch: Callable[..., Batch]) -> None:
    """Even what gets past the runner's own check is a failed cell and not the end of the run."""
    source = LOAD + "class Liar(list):\n    def __len__(self):\n        return 3\n"
    bad = {
        "liar": Bad(says="", source=source + "def predict(model, inputs):\n    return Liar([2, 4])\n"),
        "empty-liar": Bad(says="", source=source + "def predict(model, inputs):\n    return Liar()\n"),
    }
    ran = batch("venv", bad, {"good": GOOD["good"]})
    assert set(ran.told["failed"]) == {"liar/venv", "empty-liar/venv"}
    assert answered(ran.told, "good", "venv")


def test_a_model_that_fails_only_sometimes(batch: Callable[..., Batch]) -> None:
    """A start that breaks after others went well is a failed sample; the cell keeps its other values."""
    # The first start is asked for three answers, the ones that are timed for one.
    bad = {"moody": Bad(says="", source=doing("if len(inputs) == 1: raise OSError('not today')"))}
    ran = batch("venv", bad, {"good": GOOD["good"]})
    assert "predicting raised OSError: not today" in ran.told["failed"]["moody/venv"]
    found = ran.told["models"][0]
    assert found["methods"]["venv"] == "measured"
    starts = [value for value in found["values"] if value["metric"] == "cold_start_s"]
    assert starts
    assert all(value["failed"] == 1 and value["interval"] is None for value in starts)


# --- what is refused before anything is measured -------------------------------------------------


def spoil(folder: Path, file: str, text: str | None) -> Path:
    """Replace a file of the model, or remove it."""
    if text is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(text)
    return folder


REFUSED = {
    "no model.toml": ("model.toml", None, ("model.toml", "there is no such file", "harness init")),
    "not TOML": ("model.toml", "name = [", ("model.toml", "is not valid TOML", "mend the line")),
    "unknown key": (
        "model.toml",
        'spec_version = 1\nname = "x"\nversion = "1"\ndescription = ""\nframework = ""\nrequirement = []\n',
        ("model.toml", "'requirement'", "is not a known key", "did you mean 'requirements'?"),
    ),
    "no entry point": (
        "predictor.py",
        None,
        ("model.toml", "'entrypoint' = 'predictor.py'", "name the file that has load"),
    ),
    "no examples": ("examples.json", None, ("examples.json", "there is no such file", "give a file with")),
    "examples of other lengths": (
        "examples.json",
        json.dumps({"inputs": [1, 2], "outputs": [2]}),
        ("examples.json", "'outputs'", "has 2 inputs and 1 outputs", "one output for each"),
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_bad_input_is_refused_at_once(harness: Any, make_model: Any, tmp_path: Path, what: str) -> None:
    """Exit code 2, and a message that names file, key and remedy; no run is begun, not even for a good model."""
    file, text, says = REFUSED[what]
    folder = spoil(make_model("refused"), file, text)
    ran = harness("run", make_model("good"), folder, "--method", "venv", "--results", tmp_path, "--json").expect(2)
    error = ran.json["error"]
    assert error["exit_code"] == 2
    for part in says:
        assert part in f"{error['problem']} {error['remedy']}"
        assert part in ran.err
    assert list(tmp_path.iterdir()) == []


def test_bad_usage_is_refused_at_once(harness: Any, make_model: Any, tmp_path: Path) -> None:
    """An unknown method, model, run or option: exit code 2 and what would be right."""
    folder = make_model("good")
    for args, says in (
        (("run", folder, "--method", "vnev"), "did you mean 'venv'? one of container, venv"),
        (("run", "digits-forrest"), "did you mean 'digits-forest'?"),
        (("run", folder, "--rounds", "0"), "--rounds"),
        (("run", folder, folder), "is given twice"),
        (("run", "--resume", "nothing", "--results", tmp_path), "there is no run 'nothing'"),
        (("run", "--resume", "nothing", folder), "leave out models"),
        (("run", folder, "--results", folder / "model.toml"), "--results"),
    ):
        ran = harness(*args).expect(2)
        assert says in ran.err, ran.err
