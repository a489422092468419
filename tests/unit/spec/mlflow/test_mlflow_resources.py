"""What is shipped in an imported folder, as far as it needs no package: answers as JSON, pickles without MLflow."""

from __future__ import annotations

import base64
import datetime as dt
import importlib.util
import pickle
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harness.spec.mlflow import variants


def shipped(name: str) -> ModuleType:
    """A resource as a module."""
    spec = importlib.util.spec_from_file_location(f"shipped_{name}", variants.RESOURCES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Frame:
    """As much of a DataFrame as is looked at."""

    columns = ("a",)

    def to_dict(self, orient: str) -> list[dict[str, Any]]:
        """Its records."""
        return [{"a": float("nan")}] if orient == "records" else []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        (float("nan"), None),
        ({"a": (1, 2)}, {"a": [1, 2]}),
        ({1: "x"}, {"1": "x"}),
        (b"\x00", base64.b64encode(b"\x00").decode()),
        (Frame(), [{"a": None}]),
        (SimpleNamespace(tolist=lambda: [1, float("nan")]), [1, None]),
        (SimpleNamespace(toarray=lambda: SimpleNamespace(tolist=lambda: [[1]])), [[1]]),
        (SimpleNamespace(model_dump=lambda: {"a": 1}), {"a": 1}),
        (dt.date(2026, 11, 23), "2026-11-23"),
        (type("NAType", (), {})(), None),
    ],
)
def test_answers_become_json(answer: Any, expected: Any) -> None:
    """Whatever libraries answer with; a missing number is null."""
    assert shipped("harness_conversion").plain(answer) == expected


def test_an_answer_without_a_form_in_json() -> None:
    """It is said what it is."""
    with pytest.raises(TypeError, match="object"):
        shipped("harness_conversion").plain(object())


def test_a_plain_input_stays() -> None:
    """The model is given it as it is."""
    assert shipped("harness_conversion").built({"a": [1]}, {"kind": "plain"}) == {"a": [1]}


class Model:
    """A model as MLflow's users write them, but for its base."""

    def __init__(self) -> None:
        self.offset = 0

    def load_context(self, context: Any) -> None:
        """Read an artifact and the configuration."""
        self.offset = int(Path(context.artifacts["offset"]).read_text()) + context.model_config["more"]

    def predict(self, context: Any, model_input: list[int], params: Any = None) -> list[int]:
        """Add."""
        assert params is None
        assert context is None or context.model_config == {"more": 2}
        return [one + self.offset for one in model_input]


def test_a_python_model_is_loaded_and_asked(tmp_path: Path) -> None:
    """With its context, whether or not predict() takes it; from a compressed pickle too."""
    loader = shipped("python_model")
    (tmp_path / "offset.txt").write_text("40")
    settings = {"file": "m.pkl", "compression": "gzip", "artifacts": {"offset": "offset.txt"}, "code": None}
    with loader._OPEN["gzip"](tmp_path / "m.pkl", "wb") as stream:
        pickle.dump(Model(), stream)
    assert loader.load(tmp_path, {**settings, "config": {"more": 2}})([1, 2]) == [43, 44]


def test_the_names_of_mlflow_in_a_pickle(tmp_path: Path) -> None:
    """A few have stand-ins; for any other it is said that only MLflow has it."""
    loader = shipped("python_model")
    for name, known in (("PythonModel", True), ("ChatModel", False)):
        (tmp_path / "m.pkl").write_bytes(f"cmlflow.pyfunc.model\n{name}\n.".encode())
        with (tmp_path / "m.pkl").open("rb") as stream:
            if known:
                assert loader._Unpickler(stream).load() is loader.PythonModel
            else:
                with pytest.raises(
                    ModuleNotFoundError, match=r"mlflow\.pyfunc\.model\.ChatModel, which only MLflow has"
                ):
                    loader._Unpickler(stream).load()


def test_a_pickled_model_and_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The method that MLflow would call; its code is found."""
    import sys

    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(Model()))
    settings = {"file": "m.pkl", "format": "pickle", "trusted": None, "predict": "predict", "code": "code"}
    assert shipped("pickled").load(tmp_path, settings)(None, [1]) == [1]
    assert sys.path[0] == str(tmp_path / "code")


def test_a_loader_of_the_models_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given its data, and a configuration where there is one."""
    import sys

    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "own_loader_of_a_test.py").write_text(
        "from types import SimpleNamespace\n"
        "def _load_pyfunc(path, config=None):\n    return SimpleNamespace(predict=lambda data: (path, config, data))\n"
    )
    settings = {
        "code": "code",
        "module": "own_loader_of_a_test",
        "data": None,
        "config": {"a": 1},
        "predict": "predict",
    }
    assert shipped("loader_module").load(tmp_path, settings)([1]) == (str(tmp_path), {"a": 1}, [1])
    settings |= {"data": "data", "config": None}
    assert shipped("loader_module").load(tmp_path, settings)([1]) == (str(tmp_path / "data"), None, [1])
