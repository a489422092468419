"""``harness import-mlflow`` with models that a real MLflow saves here: both variants answer as MLflow does.

MLflow lives in an environment of its own below the cache, hash-locked in ``mlflow_models/mlflow.txt``. All models but
one have the same requirements, so that there is one environment for their native variants, and one for MLflow's.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import interpreter, process, tools, tree
from harness.measure import start
from harness.measure.start import limits_of
from harness.methods import METHODS
from harness.methods.contract import BuildOptions
from harness.platforms import depot as depots
from harness.platforms.depot import Depot
from harness.spec import model as models
from harness.spec import weights
from harness.spec.model import answers_match

DATA = Path(__file__).with_name("mlflow_models")
LOCK = DATA / "mlflow.txt"
KINDS = ("sklearn", "pickled", "python_model", "lightgbm", "onnx")
#: What the models need, as their author would list it; the versions are the lock's.
NEEDED = ("mlflow", "cloudpickle", "lightgbm", "numpy", "onnxruntime", "pandas", "scikit-learn", "skops")


def versions() -> list[str]:
    """The needed packages, pinned as in the lock."""
    pins = dict(line.split(" ")[0].split("==") for line in LOCK.read_text().splitlines() if "==" in line)
    return [f"{name}=={pins[name]}" for name in NEEDED]


@pytest.fixture(scope="module")
def mlflow(cache: Path) -> Path:
    """The Python of an environment with MLflow, made once and kept below the cache."""
    folder = cache / "tools" / f"test-mlflow-{tree.sha256(LOCK)[:16]}"
    python = folder / "bin" / "python"
    if not (folder / "complete").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        env = tools.uv_environment()
        venv = [str(tools.uv()), "venv", "--quiet", "--python", str(interpreter.default().path), str(folder)]
        sync = [str(tools.uv()), "pip", "sync", "--quiet", "--require-hashes", "--python", str(python), str(LOCK)]
        for argv in (venv, sync):
            done = process.run(argv, env=env, timeout_s=900)
            assert done.returncode == 0, done.output
        (folder / "complete").touch()
    return python


@pytest.fixture(scope="module")
def saved(mlflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that MLflow saved a model of each kind in, and what it answers (``answers.json``)."""
    folder = tmp_path_factory.mktemp("saved")
    env = process.environment(folder, MLFLOW_DISABLE_TELEMETRY="true", PYTHONWARNINGS="ignore")
    done = process.run(
        [str(mlflow), str(DATA / "save.py"), str(folder), *versions()], env=env, cwd=folder, timeout_s=300
    )
    assert done.returncode == 0, done.output
    return folder


@pytest.fixture(scope="module")
def depot() -> Iterator[Depot]:
    """Where an installation is fetched from."""
    with depots.session() as found:
        yield found


def started(folder: Path, depot: Depot) -> dict[str, str]:
    """Package the model in ``folder`` as a virtual environment, start it, ask every example: what it says of itself."""
    method, model = METHODS["venv"], models.read(folder)
    locked = weights.locked(model, extra=method.REQUIREMENTS)
    with process.temporary_folder("case", readable=True) as place, process.temporary_folder("tools") as cache:
        # What is looked at here is whether it answers: nothing is gained by compiling its packages once more.
        artifact = method.build(locked, place, BuildOptions(tool_cache=cache, bytecode="none"))
        target = place / "target"
        target.mkdir(mode=0o755)
        return dict(start.right_answers(method, method.install(artifact, target, depot), limits_of(model), model))


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_mlflow_saved(kind: str, saved: Path, harness: Any, tmp_path: Path) -> None:
    """Both variants answer as MLflow itself, one without any of MLflow; and 'harness check' finds nothing wrong."""
    expected = json.loads((saved / "answers.json").read_text())[kind]
    ran = harness("import-mlflow", saved / kind, tmp_path / "out", "--variant", "both", "--json").expect(0)
    assert ran.json["compared"] is True
    native, pyfunc = (models.read(tmp_path / "out" / name) for name in ("native", "pyfunc"))
    for model in (native, pyfunc):
        assert answers_match(expected, model.examples.outputs[0], 1e-6), (expected, model.examples.outputs[0])
    assert not [text for text in native.file.requirements if text.startswith("mlflow")]
    assert any(text.startswith("mlflow-skinny==") for text in pyfunc.file.requirements)
    # Loading it by MLflow needs no network, no git and no folder to write to: one of that variant shows it.
    harness("check", (pyfunc if kind == "python_model" else native).folder).expect(0)


def test_an_imported_model_starts_as_a_virtual_environment(
    saved: Path, harness: Any, tmp_path: Path, depot: Depot
) -> None:
    """Packed, fetched, unpacked and asked as any model is; the native variant is the one that is made by default."""
    harness("import-mlflow", saved / "python_model", tmp_path / "out").expect(0)
    assert started(tmp_path / "out", depot)["python"].startswith(interpreter.default().minor)


def test_the_same_model_in_the_shape_of_1_23(saved: Path, harness: Any, tmp_path: Path) -> None:
    """The folder as MLflow 1.23 would have left it: less in MLmodel, conda.yaml alone, the example wrapped."""
    old = tmp_path / "old"
    old.mkdir()
    shutil.copyfile(saved / "pickled" / "model.pkl", old / "model.pkl")
    minor = interpreter.default().minor
    (old / "MLmodel").write_text(
        "artifact_path: model\nflavors:\n  python_function:\n    env: conda.yaml\n    loader_module: mlflow.sklearn\n"
        f"    model_path: model.pkl\n    python_version: {interpreter.default().version}\n  sklearn:\n"
        "    pickled_model: model.pkl\n    serialization_format: cloudpickle\n    sklearn_version: 1.0\n"
        "saved_input_example_info:\n  artifact_path: input_example.json\n  format: tf-serving\n  type: ndarray\n"
        'signature:\n  inputs: \'[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 4]}}]\'\n'
    )
    pins = "".join(f"  - {text}\n" for text in versions())
    (old / "conda.yaml").write_text(f"channels:\n- conda-forge\ndependencies:\n- python={minor}\n- pip\n- pip:\n{pins}")
    (old / "input_example.json").write_text('{"inputs": [[5.1, 3.5, 1.4, 0.2]]}')
    ran = harness("import-mlflow", old, tmp_path / "out", "--json").expect(0)
    assert ran.json["compared"] is True
    assert models.read(tmp_path / "out").examples.outputs == ([0],)


def test_variants_that_disagree_are_refused(saved: Path, harness: Any, tmp_path: Path) -> None:
    """A model that answers otherwise where MLflow is there: nothing is left of it."""
    sly = tmp_path / "sly"
    shutil.copytree(saved / "python_model", sly)
    (sly / "code").mkdir()
    (sly / "code" / "sly_loader.py").write_text(
        "import sys\n\n\nclass Sly:\n    def predict(self, data):\n"
        "        return [1 if 'mlflow' in sys.modules else 2]\n\n\n"
        "def _load_pyfunc(path):\n    return Sly()\n"
    )
    mlmodel = (sly / "MLmodel").read_text()
    for old, new in (("mlflow.pyfunc.model", "sly_loader"), ("code: null", "code: code")):
        assert old in mlmodel
        mlmodel = mlmodel.replace(old, new)
    (sly / "MLmodel").write_text(mlmodel)
    ran = harness("import-mlflow", sly, tmp_path / "out").expect(1)
    assert "run by MLflow the model answers [1], without it [2]" in ran.err
    assert not (tmp_path / "out").exists()


class _Trap:
    """Writes a file wherever it is unpickled and may."""

    def __init__(self, marks: list[str]) -> None:
        self.marks = marks

    def __reduce__(self) -> Any:
        return os.system, ("; ".join(f"id > {mark}" for mark in self.marks),)


def test_a_pickle_reaches_nothing(saved: Path, harness: Any, tmp_path: Path, traces_of: Any) -> None:
    """It is run in bounds alone: nothing is written outside, and nothing is left where the import failed."""
    evil, marks = tmp_path / "evil", [tmp_path / "mark", Path(f"/tmp/harness-mark-{os.getpid()}")]
    shutil.copytree(saved / "pickled", evil)
    (evil / "model.pkl").write_bytes(pickle.dumps(_Trap([str(mark) for mark in marks])))
    traces = traces_of("venv")
    before = traces.now()
    ran = harness("import-mlflow", evil, tmp_path / "out" / "m").expect(1)
    assert "the model failed to" in ran.err
    assert not [mark for mark in marks if mark.exists()]
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".harness-import-*"))
    assert traces.since(before) == []
