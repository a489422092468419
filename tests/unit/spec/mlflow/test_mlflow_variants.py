"""Which variants there can be, what each needs, and what is written."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.interpreter import Interpreter
from harness.spec import model as models
from harness.spec.mlflow import folder, question, requirements, variants
from harness.spec.mlflow.folder import MlflowModel
from harness.spec.mlflow.question import Question
from harness.spec.mlflow.requirements import Needs
from harness.spec.mlflow.variants import Header, Plan, Refusal

Saved = Callable[..., Path]
HEADER = Header(name="imported", description='said "so" \x7f 🌳', python="==3.11.*")


@pytest.fixture
def read(here: Interpreter) -> Callable[..., tuple[MlflowModel, Question, Needs]]:
    """The three that a variant is made of."""

    def of(place: Path, given: Path | None = None) -> tuple[MlflowModel, Question, Needs]:
        model = folder.read(place)
        return model, question.asked(model, given), requirements.read(place, here)

    return of


def native(read: Any, place: Path) -> Plan:
    """The native variant, which there has to be."""
    found = variants.native(*read(place))
    assert isinstance(found, Plan), found
    return found


def reason(read: Any, place: Path) -> str:
    """Why there is no native variant."""
    found = variants.native(*read(place))
    assert isinstance(found, Refusal), found
    return found.reason


def test_scikit_learn_of_1_23(saved: Saved, read: Any) -> None:
    """Without mlflow; pandas for the frame."""
    found = native(read, saved("1.23"))
    assert (found.framework, found.loader) == ("scikit-learn", "pickled")
    assert found.settings == {
        "code": None,
        "file": "model.pkl",
        "format": "cloudpickle",
        "trusted": None,
        "predict": "predict",
    }
    assert found.requirements == ("cloudpickle==2.0.0", "pandas", "scikit-learn==0.24.1")
    assert found.files == ("model.pkl",)


def test_scikit_learn_of_1_0(saved: Saved, read: Any, tmp_path: Path) -> None:
    """The pickle was "data", its format the only one; a version that no list has is taken from MLmodel."""
    request = tmp_path / "request.json"
    request.write_text('{"inputs": [[1]]}')
    place = saved("1.0", {"conda.yaml": "dependencies: [{pip: [mlflow]}]"})
    found = variants.native(*read(place, request))
    assert isinstance(found, Plan)
    assert (found.settings["file"], found.settings["format"]) == ("model.pkl", "pickle")
    assert found.requirements == ("numpy", "scikit-learn==0.19.1")


def test_lightgbm(saved: Saved, read: Any) -> None:
    """A booster in its own format; one with scikit-learn's interface is pickled."""
    found = native(read, saved("2.14"))
    assert (found.framework, found.loader, found.settings["file"]) == ("lightgbm", "lightgbm", "model.lgb")
    assert found.requirements == ("lightgbm==4.1.0", "numpy==1.26.4")
    swap = ("lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier")
    pickled = native(read, saved("2.14", None, swap))
    assert (pickled.loader, pickled.settings["format"]) == ("pickled", "cloudpickle")
    assert "cloudpickle" in pickled.requirements


def as_flavor(name: str, lines: str = "") -> tuple[tuple[str, str], ...]:
    """Changes that make the folder of 2.14 one of another flavour."""
    old = "  lightgbm:\n    code: null\n    data: model.lgb\n"
    old += "    lgb_version: 4.1.0\n    model_class: lightgbm.basic.Booster\n"
    return (old, f"  {name}:\n    data: model.lgb\n{lines}"), ("mlflow.lightgbm", f"mlflow.{name}")


def test_xgboost(saved: Saved, read: Any) -> None:
    """A booster unless it says otherwise (before 1.22), never a class of others."""
    found = native(read, saved("2.14", None, *as_flavor("xgboost", "    xgb_version: 2.0.3\n")))
    assert (found.loader, found.settings["class"]) == ("xgboost", "xgboost.core.Booster")
    assert "xgboost==2.0.3" in found.requirements
    other = {"requirements.txt": "xgboost-cpu==2.0.3\nnumpy==1.26.4\n"}
    assert native(read, saved("2.14", other, *as_flavor("xgboost"))).requirements == (
        "numpy==1.26.4",
        "xgboost-cpu==2.0.3",
    )
    swaps = as_flavor("xgboost", "    model_class: xgboost.sklearn.XGBClassifier\n")
    assert native(read, saved("2.14", None, *swaps)).settings["class"] == "xgboost.sklearn.XGBClassifier"
    assert "os.system" in reason(read, saved("2.14", None, *as_flavor("xgboost", "    model_class: os.system\n")))


def test_onnx(saved: Saved, read: Any) -> None:
    """The runtime alone, without the package that writes graphs."""
    place = saved("2.14", {"requirements.txt": "mlflow\nonnx==1.20\nonnxruntime==1.32.0\n"}, *as_flavor("onnx"))
    found = native(read, place)
    assert (found.framework, found.requirements) == ("onnxruntime", ("numpy", "onnxruntime==1.32.0"))


def test_a_python_model(saved: Saved, read: Any) -> None:
    """Its pickle, its artifacts, its configuration."""
    found = native(read, saved("3.17"))
    assert found.loader == "python_model"
    assert found.settings["artifacts"] == {"words": "artifacts/words.json"}
    assert found.requirements == ("cloudpickle==3.1.2", "pandas==3.1.1")
    assert found.files == ("artifacts/words.json", "python_model.pkl")


def test_a_loader_of_the_models_own(saved: Saved, read: Any) -> None:
    """A module among its code, or of a package that it needs."""
    swaps = [("mlflow.lightgbm", "mine.loader"), ("python_function:\n", "python_function:\n    code: code\n")]
    found = native(read, saved("2.14", {"code/mine/loader.py": "pass"}, *swaps))
    assert found.settings == {
        "code": "code",
        "module": "mine.loader",
        "data": "model.lgb",
        "config": None,
        "predict": "predict",
    }


@pytest.mark.parametrize("flavor", ["lightgbm", "xgboost", "onnx"])
def test_a_flavour_that_names_no_file(saved: Saved, read: Any, flavor: str) -> None:
    """Nothing is guessed."""
    swaps = [("    data: model.lgb\n", ""), ("mlflow.lightgbm", f"mlflow.{flavor}"), ("  lightgbm:", f"  {flavor}:")]
    assert "'data' is missing" in reason(read, saved("2.14", None, *swaps))


def test_a_pickle_that_is_not_named(saved: Saved, read: Any) -> None:
    """Neither as model_path nor as anything older."""
    swaps = [("    model_path: model.pkl\n", ""), ("    pickled_model: model.pkl\n", "")]
    assert "'pickled_model' is missing" in reason(read, saved("1.23", None, *swaps))


def test_a_version_that_is_none(saved: Saved, read: Any) -> None:
    """Then any."""
    files: dict[str, str | None] = {"requirements.txt": "numpy==1.26.4\n"}
    found = native(read, saved("2.14", files, ("lgb_version: 4.1.0", "lgb_version: not one")))
    assert found.requirements == ("lightgbm", "numpy==1.26.4")


@pytest.mark.parametrize(
    ("version", "old", "new", "part"),
    [
        ("2.14", "mlflow.lightgbm", "mlflow.spark", "mlflow.spark"),
        ("2.14", "mlflow.lightgbm", "mlflow.pytorch", "lightgbm, onnx, pyfunc.model, sklearn, xgboost"),
        ("3.17", "    streamable: false", "    config: {day: 2026-11-23}", "that JSON has not"),
        ("3.17", "    streamable: false", "    config: {most: .inf}", "that JSON has not"),
        ("3.17", "type_hint: false\nmlflow", "type_hint: true\nmlflow", "type hints"),
        ("3.17", "    python_model: python_model.pkl\n", "", "'python_model' is missing"),
        ("3.17", "    streamable: false", "    model_code_path: model.py", "model from code"),
        ("3.17", "mlflow.pyfunc.model\n", "mlflow.pyfunc.loaders.code_model\n", "model from code"),
        ("1.23", "serialization_format: cloudpickle", "serialization_format: joblib", "'joblib' is not known"),
    ],
)
def test_where_there_is_no_native_variant(saved: Saved, read: Any, version: str, old: str, new: str, part: str) -> None:
    """The reason says why, and what there is for others."""
    assert part in reason(read, saved(version, None, (old, new)))


def test_params_are_mlflows(saved: Saved, read: Any) -> None:
    """So only its own variant takes them."""
    value = {"inputs": {"columns": ["a", "b"], "data": [[1.5, 2]]}, "params": {"top": 3}}
    place = saved(
        "3.17", {"input_example.json": json.dumps(value)}, ("  type: dataframe", "  type: dataframe\n  params: 'true'")
    )
    assert "params" in reason(read, place)
    assert variants.pyfunc(*read(place)).settings == {"params": {"top": 3}}


def test_pyfunc(saved: Saved, read: Any) -> None:
    """By mlflow-skinny of the version that it was logged with, which has to be quiet; by all of mlflow if need be."""
    found = variants.pyfunc(*read(saved("2.14")))
    assert found.requirements == ("lightgbm==4.1.0", "mlflow-skinny==2.14.2", "numpy==1.26.4", "pandas")
    assert found.files == tuple(folder.read(saved("2.14")).files)
    assert found.env["MLFLOW_DISABLE_TELEMETRY"] == "true"
    full = variants.pyfunc(*read(saved("2.14")), full=True)
    assert "mlflow==2.14.2" in full.requirements
    assert "mlflow-skinny==2.14.2" not in full.requirements
    unlisted = variants.pyfunc(*read(saved("2.14", {"requirements.txt": "lightgbm==4.1.0\n"})))
    assert "mlflow-skinny==2.14.2" in unlisted.requirements
    extra = variants.pyfunc(*read(saved("2.14", {"requirements.txt": "mlflow[gateway]==2.14.2\n"})))
    assert "mlflow[gateway]==2.14.2" in extra.requirements
    old = variants.pyfunc(*read(saved("1.23")))
    assert "mlflow-skinny" in old.requirements


def test_what_is_written_is_a_model_folder(saved: Saved, read: Any, tmp_path: Path) -> None:
    """With every file of weights and its digest, a predictor that is Python, and the example."""
    place = saved("3.17")
    model, asked, needs = read(place)
    for plan in (variants.pyfunc(model, asked, needs), native(read, place)):
        made = tmp_path / plan.name
        made.mkdir()
        table = variants.write(plan, model, asked, made, HEADER)
        variants.write_examples(made, asked.value, [1.0, 2.0])
        assert tomllib.loads((made / "model.toml").read_text()) == table
        found = models.read(made)
        assert found.file.requirements == plan.requirements
        assert found.file.description == HEADER.description
        assert [artifact.path for artifact in found.file.artifacts] == [
            f"weights/{name}" for name in sorted(plan.files)
        ]
        assert found.examples.inputs == (asked.value,)
        names: dict[str, Any] = {}
        source = (made / "predictor.py").read_text().replace("import harness_", "harness_")
        source = source.replace("harness_conversion\n", "", 1).replace("harness_loader\n", "", 1)
        exec(compile(source, "predictor.py", "exec"), names)  # noqa: S102 -- what was just written
        assert names["FORM"] == asked.form
        assert names["SETTINGS"] == plan.settings
        assert names["predict"]


def test_torch_comes_without_gpu_libraries(saved: Saved, read: Any, tmp_path: Path) -> None:
    """They are gigabytes, and nothing here has a GPU."""
    model, asked, needs = read(saved("3.17", {"requirements.txt": "mlflow==3.17.2\ntorch==2.13.0\n"}))
    table = variants.write(variants.pyfunc(model, asked, needs), model, asked, tmp_path, HEADER)
    assert table["torch_backend"] == "cpu"


def test_toml_of_awkward_texts() -> None:
    """What is written is read back the same."""
    table = {"a": 'quote " and \\ and \x7f and \x01 and 🌳', "b": [], "c": ["x\n"], "d": {"e": 1.5}, "f": [{"g": True}]}
    assert tomllib.loads(variants.toml(table)) == table
