"""The runner that is shipped in artifacts, as the small process that it is, and loaded here."""

from __future__ import annotations

import ast
import contextlib
import importlib
import json
import os
import py_compile
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from py_compile import PycInvalidationMode
from types import ModuleType
from typing import Any

import pytest

from harness.runtime import RUNNER

LOAD = "def load(model_dir):\n    return 2\n"
DOUBLE = f"{LOAD}def predict(model, inputs):\n    return [model * value for value in inputs]\n"


def ran(*argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the runner as an artifact does."""
    return subprocess.run(
        [sys.executable, "-s", "-m", "harness_runner", *argv],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": str(RUNNER.parent), "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"},
    )


def once(folder: Path, predictor: str, stdin: str = '{"inputs": [1, 2]}') -> subprocess.CompletedProcess[str]:
    """Ask a model with this predictor once."""
    (folder / "predictor.py").write_text(predictor)
    return ran("once", "--model", str(folder), stdin=stdin)


def test_only_the_standard_library_is_imported() -> None:
    """Whatever the model needs or not, the runner needs nothing besides Python."""
    imported = set()
    for file in RUNNER.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                imported.add(str(node.module).partition(".")[0])
    assert imported - {"harness_runner"} <= sys.stdlib_module_names
    assert imported


@pytest.mark.spawns
def test_nothing_is_loaded_besides_the_standard_library(tmp_path: Path) -> None:
    """And nothing of it that is not needed: neither asyncio nor a web server."""
    listing = "import sys\ndef predict(model, inputs):\n    return [sorted(sys.modules)] * len(inputs)\n"
    done = once(tmp_path, LOAD + listing, '{"inputs": [0]}')
    (modules,) = json.loads(done.stdout)["outputs"]
    names = {name.partition(".")[0] for name in modules}
    # What an interpreter's own start files bring (setuptools has one) is not the runner's.
    start_files = {"sitecustomize", "_distutils_hack"}
    assert names - sys.stdlib_module_names <= {"harness_runner", "predictor", "__main__", *start_files}
    assert not {"asyncio", "http", "socket", "typing", "dataclasses", "logging"} & names


@pytest.mark.spawns
@pytest.mark.parametrize("stdin", ['{"inputs": [1, 2]}', "[1, 2]"])
def test_answers_are_one_line_of_json(tmp_path: Path, stdin: str) -> None:
    """For an object with inputs, and for the bare list of them."""
    done = once(tmp_path, DOUBLE, stdin)
    assert (done.returncode, done.stdout, done.stderr) == (0, '{"outputs": [2, 4]}\n', "")


NOISY = """
import os, subprocess, sys, warnings
print("importing")
def load(model_dir):
    warnings.warn("old weights", DeprecationWarning)
    print("loading", flush=True)
    os.write(1, b"from C\\n")
    os.system("echo from a child")
    return 2
def predict(model, inputs):
    print("predicting")
    sys.stdout.write("without an end")
    return [model * value for value in inputs]
"""


@pytest.mark.spawns
def test_what_a_model_prints_does_not_corrupt_its_answers(tmp_path: Path) -> None:
    """Prints, warnings, writes below Python and children's output go to standard error."""
    done = once(tmp_path, NOISY)
    assert (done.returncode, done.stdout) == (0, '{"outputs": [2, 4]}\n')
    for text in ("importing", "loading", "from C", "from a child", "predicting", "without an end"):
        assert text in done.stderr


@pytest.mark.spawns
def test_the_models_folder_is_on_its_path(tmp_path: Path) -> None:
    """The predictor imports what lies beside it, and load() is given the folder as a path."""
    (tmp_path / "words.py").write_text("KNOWN = 7\n")
    code = "import words\ndef load(model_dir):\n    return (model_dir / 'words.py').is_file()\n"
    done = once(tmp_path, f"{code}def predict(model, inputs):\n    return [[model, words.KNOWN] for _ in inputs]\n")
    assert json.loads(done.stdout) == {"outputs": [[True, 7], [True, 7]]}


def predicting(body: str) -> str:
    """A predictor whose predict() does this."""
    return f"{LOAD}class Float32:\n    pass\ndef predict(model, inputs):\n    {body}\n"


BROKEN: dict[str, tuple[str, str, str]] = {
    "import raises": ("import nonesuch\n", "load", "ModuleNotFoundError"),
    "no Python": ("def load(:\n", "load", "SyntaxError"),
    "no predict": (LOAD, "load", "PredictorError"),
    "load is no function": ("load = 5\npredict = print\n", "load", "PredictorError"),
    "load raises": ("def load(model_dir):\n    raise OSError('no weights')\npredict = print\n", "load", "OSError"),
    "predict raises": (predicting("raise ValueError('no such word')"), "predict", "ValueError"),
    "too few": (predicting("return inputs[:1]"), "predict", "PredictorError"),
    "too many": (predicting("return inputs + [1]"), "predict", "PredictorError"),
    "a tuple": (predicting("return tuple(inputs)"), "predict", "PredictorError"),
    "nothing": (predicting("pass"), "predict", "PredictorError"),
    "a generator": (predicting("return (x for x in inputs)"), "predict", "PredictorError"),
    "NaN": (predicting("return [float('nan'), 1]"), "predict", "ValueError"),
    "infinity": (predicting("return [float('inf'), 1]"), "predict", "ValueError"),
    "no JSON": (predicting("return [Float32(), 1]"), "predict", "TypeError"),
    "bytes": (predicting("return [b'x', 1]"), "predict", "TypeError"),
}


@pytest.mark.spawns
@pytest.mark.parametrize("what", BROKEN)
def test_a_model_that_breaks_is_described_in_json(tmp_path: Path, what: str) -> None:
    """Exit code 1, and stage, kind and message on standard output; never a half answer."""
    predictor, stage, kind = BROKEN[what]
    done = once(tmp_path, predictor)
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert (error["stage"], error["type"]) == (stage, kind)
    assert error["message"]


@pytest.mark.spawns
def test_the_place_in_the_models_code_is_named(tmp_path: Path) -> None:
    """The last line of the model's own code that the error came through."""
    error = json.loads(once(tmp_path, predicting("raise ValueError('x')")).stdout)["error"]
    assert error == {"stage": "predict", "type": "ValueError", "message": "x", "where": "predictor.py:6"}


PRUNED = "PRUNED = {'tests': '(^|[/.])tests?([/.]|$)', 'headers': '[.]cu$'}\n"


@pytest.mark.spawns
@pytest.mark.parametrize(
    ("does", "rule"),
    [
        ("open(sys.path[-1] + '/kern/k.cu')", "headers"),
        ("open(sys.path[-1] + '/kern/k.txt')", ""),
        ("open('/elsewhere/k.cu')", ""),
        ("open(__file__ + '.cu')", ""),
        ("__import__('harness_runner.tests.data')", "tests"),
        ("__import__('harness_runner.data')", ""),
        ("raise FileNotFoundError", ""),
        ("raise OSError(2, 'x', 7)", ""),
    ],
)
def test_a_file_that_pruning_leaves_out_is_told_of(tmp_path: Path, does: str, rule: str) -> None:
    """Only what is missing among the packages, and looks like what a rule removes."""
    shutil.copytree(RUNNER, tmp_path / "app" / RUNNER.name)
    with (tmp_path / "app" / RUNNER.name / "packaged.py").open("a") as file:
        file.write(PRUNED)
    model = tmp_path / "app" / "harness_model"
    model.mkdir()
    (model / "predictor.py").write_text("import sys\n" + predicting(does))
    argv = [sys.executable, "-B", "-m", "harness_runner", "once"]
    env = {"PYTHONPATH": f"{tmp_path / 'app'}"}
    done = subprocess.run(argv, input='{"inputs": [1]}', capture_output=True, text=True, check=False, env=env)
    message = json.loads(done.stdout)["error"]["message"]
    assert (f"pruned: the rule '{rule}' leaves such files out" in message) == bool(rule)
    assert ("pruned" in message) == bool(rule)


@pytest.mark.spawns
@pytest.mark.parametrize("leaving", ["import sys; sys.exit(0)", "raise SystemExit('bye')"])
def test_a_model_that_exits_is_described_in_json(tmp_path: Path, leaving: str) -> None:
    """sys.exit() in a model is a failure of the model, not a success without answers."""
    done = once(tmp_path, predicting(leaving))
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["type"] == "SystemExit"


@pytest.mark.spawns
@pytest.mark.parametrize("stdin", ["", "rubbish", "{}", '{"input": [1]}'])
def test_bad_input_is_described_in_json(tmp_path: Path, stdin: str) -> None:
    """What is no request is told as such, before the model is loaded."""
    done = once(tmp_path, "raise RuntimeError\n", stdin)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["stage"] == "input"


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The runner's main module, loaded here, and everything of it forgotten afterwards."""
    monkeypatch.syspath_prepend(str(RUNNER.parent))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = list(sys.path)
    yield importlib.import_module("harness_runner.__main__")
    sys.path[:] = path
    for name in [name for name in sys.modules if name.partition(".")[0] in {"harness_runner", "predictor"}]:
        del sys.modules[name]


BAD_USAGE = (
    (),
    ("often",),
    ("once", "--model"),
    ("once", "x"),
    ("once", "--colour", "blue"),
    ("once", "--socket", "/s"),
    ("serve",),
    ("serve", "--model", "/m"),
    ("--help",),
)


@pytest.mark.parametrize("argv", BAD_USAGE)
def test_bad_usage_says_how_to_use_it(runner: ModuleType, argv: tuple[str, ...], capsys: Any) -> None:
    """Exit code 2, and the usage on standard error."""
    assert runner.main(list(argv)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"{runner.USAGE}\n"


@pytest.mark.spawns
def test_bad_usage_ends_with_2() -> None:
    """Also as a process."""
    assert ran("often").returncode == 2


def test_stamps_are_in_order(runner: ModuleType, tmp_path: Path) -> None:
    """Interpreter, imports, weights: each after the one before, on the clock that all processes share."""
    (tmp_path / "predictor.py").write_text(DOUBLE)
    predict = runner.runner.load(tmp_path, "predictor.py")
    stamps = runner.runner.stamps
    assert list(stamps) == ["interpreter", "imports", "weights"]
    assert list(stamps.values()) == sorted(stamps.values())
    assert stamps["weights"] <= time.monotonic()
    assert predict([1]) == [2]


def test_the_models_environment_does_not_replace_what_is_set(
    runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What model.toml says holds where whoever starts it says nothing else."""
    monkeypatch.setenv("THREADS", "1")
    monkeypatch.setenv("COLOUR", "")
    monkeypatch.delenv("COLOUR")
    monkeypatch.setattr(runner.runner, "ENVIRONMENT", {"THREADS": "8", "COLOUR": "blue"})
    (tmp_path / "predictor.py").write_text(DOUBLE)
    runner.runner.load(tmp_path, "predictor.py")
    assert (os.environ["THREADS"], os.environ["COLOUR"]) == ("1", "blue")


def test_facts_are_json(runner: ModuleType) -> None:
    """Interpreter, user, and the share of modules from bytecode."""
    facts = json.loads(json.dumps(runner.runner.facts(), allow_nan=False))
    assert facts["pid"] == os.getpid()
    assert facts["python"] == sys.version.split()[0]
    assert facts["modules_from_bytecode"] + facts["modules_from_source"] > 10


KINDS = {
    "timestamp": PycInvalidationMode.TIMESTAMP,
    "checked-hash": PycInvalidationMode.CHECKED_HASH,
    "unchecked-hash": PycInvalidationMode.UNCHECKED_HASH,
}


@pytest.mark.parametrize("kind", KINDS)
def test_bytecode_counts_where_python_takes_it(runner: ModuleType, tmp_path: Path, kind: str) -> None:
    """Not where the source is another by now, unless that is not looked at, and not where this process wrote it."""
    source, later = tmp_path / "module.py", time.time() + 60
    source.write_text("x = 1")
    os.utime(source, (1, 1))
    cached = py_compile.compile(str(source), invalidation_mode=KINDS[kind])
    assert runner.runner.counts(cached, str(source), later)
    assert not runner.runner.counts(cached, str(source), time.time() - 60)
    source.write_text("x = 2")
    os.utime(source, (2, 2))
    assert runner.runner.counts(cached, str(source), later) == (kind == "unchecked-hash")
    Path(cached).write_bytes(b"")
    assert not runner.runner.counts(cached, str(source), later)
    assert not runner.runner.counts(str(tmp_path / "none.pyc"), str(source), later)


def test_a_line_is_answered_by_a_line(runner: ModuleType) -> None:
    """Answers, facts, and for whatever else an error."""

    def answer(line: bytes) -> Any:
        found = runner._answer(lambda inputs: [2 * value for value in inputs], line)
        assert found.endswith(b"\n")
        assert found.count(b"\n") == 1
        return json.loads(found)

    assert answer(b'{"predict": [1]}\n') == {"outputs": [2]}
    assert set(answer(b'{"facts": true}\n')) == {"facts", "stamps"}
    for line in (b"rubbish\n", b"{}\n", b"[]\n", b"5\n", b"\xff\n", b'{"predict": 5}\n', b'{"predict": [{}]}\n'):
        assert answer(line)["error"]["stage"] == "predict"


@contextlib.contextmanager
def serving(folder: Path, predictor: str, name: str = "s") -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A runner that serves, once its socket is there; and where that is."""
    (folder / "predictor.py").write_text(predictor)
    with tempfile.TemporaryDirectory(prefix="h", dir="/tmp") as short:
        path = f"{short}/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-s", "-m", "harness_runner", "serve", "--socket", path, "--model", str(folder)],
            env={"PYTHONPATH": str(RUNNER.parent), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while not os.path.exists(path) and process.poll() is None:
                time.sleep(0.01)
            yield process, path
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def connected(path: str) -> Iterator[socket.socket]:
    """A connection, once it listens: a socket is there a moment before that."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        while True:
            try:
                connection.connect(path)
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
        yield connection


def ask(path: str, *requests: Any) -> list[Any]:
    """Ask over one connection."""
    with connected(path) as connection:
        answers = []
        with connection.makefile("rb") as lines:
            for request in requests:
                connection.sendall(json.dumps(request).encode() + b"\n")
                answers.append(json.loads(lines.readline()))
        return answers


@pytest.mark.spawns
def test_a_served_model_answers_one_connection_after_another(tmp_path: Path) -> None:
    """Answers, errors and facts; a failed prediction does not end it."""
    with serving(tmp_path, DOUBLE) as (process, path):
        first, error, facts = ask(path, {"predict": [1, 2]}, {"predict": [{}]}, {"facts": True})
        assert first == {"outputs": [2, 4]}
        assert error["error"]["type"] == "TypeError"
        assert facts["facts"]["pid"] == process.pid
        assert list(facts["stamps"]) == ["interpreter", "imports", "weights"]
        assert ask(path, {"predict": [3]}) == [{"outputs": [6]}]


@pytest.mark.spawns
def test_a_socket_s_path_may_be_longer_than_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache may lie anywhere, and a model may leave its folder while it is loaded."""
    predictor = f"import os\nos.chdir('/')\n{DOUBLE}"
    with serving(tmp_path, predictor, name=f"{'long' * 20}/{'longer' * 20}/s") as (_, path):
        monkeypatch.chdir(os.path.dirname(path))
        assert ask("s", {"predict": [4]}) == [{"outputs": [8]}]


@pytest.mark.spawns
def test_a_served_model_that_cannot_be_loaded_says_so(tmp_path: Path) -> None:
    """Whoever asks is told why, however late he asks once he is connected; and it ends with 1."""
    with serving(tmp_path, "import nonesuch\n") as (process, path), connected(path) as connection:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        connection.sendall(b'{"predict": [1]}\n')
        answer = json.loads(connection.makefile("rb").readline())
        assert answer["error"]["type"] == "ModuleNotFoundError"
        assert answer["error"]["stage"] == "load"
        assert process.wait(timeout=20) == 1


@pytest.mark.spawns
def test_a_client_that_leaves_does_not_end_a_served_model(tmp_path: Path) -> None:
    """Who hangs up before the answer harms nobody else."""
    with serving(tmp_path, predicting("return ['x' * 5_000_000]")) as (process, path):
        for _ in range(2):
            with connected(path) as connection:
                connection.sendall(b'{"predict": [1]}\n')
                connection.recv(10)
        (answer,) = ask(path, {"facts": True})
        assert answer["facts"]["pid"] == process.pid
