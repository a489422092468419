"""The two variants of an MLflow model: run by MLflow (``pyfunc``), and by what its flavour is of alone (``native``)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pprint import pformat
from typing import Any, Literal

from packaging.requirements import Requirement

from harness import paths, tree
from harness.errors import BadInput
from harness.spec.mlflow import folder as folders
from harness.spec.mlflow.folder import MLMODEL, MlflowModel
from harness.spec.mlflow.question import Question
from harness.spec.mlflow.requirements import Needs
from harness.spec.model import SPEC_VERSION, Json

Name = Literal["native", "pyfunc"]

RESOURCES = paths.PACKAGE / "resources" / "mlflow"
#: The folder of a variant that MLflow's files are copied to.
WEIGHTS = "weights"
#: Packages that are MLflow itself.
MLFLOW = ("mlflow", "mlflow-skinny", "mlflow-tracing")
#: What is of MLflow alone: a native variant goes without.
_ITS_OWN = frozenset(
    {
        *(MLMODEL, "conda.yaml", "python_env.yaml", "requirements.txt", "constraints.txt", "uv.lock", "pyproject.toml"),
        *("input_example.json", "serving_input_example.json", "environment_variables.txt", "registered_model_meta"),
        ".python-version",
    }
)
#: Packages that give the same module as another.
_ALIKE = {"xgboost": {"xgboost-cpu"}, "onnxruntime": {"onnxruntime-gpu"}}
#: A start imports much, and a model may be large: four times its files, beyond what any model gets.
_MEMORY_MB, _MEMORY_PER_BYTE = 2048, 4
#: MLflow neither tells anybody about itself nor looks for git. (MLFLOW_DISABLE_TELEMETRY: mlflow.org/docs/latest/
#: community/usage-tracking; GIT_PYTHON_REFRESH: GitPython's git/cmd.py; both read 2026-11-23.)
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a variant is made: the ``loader`` among the resources, its ``settings``, requirements, what is copied."""

    name: Name
    framework: str
    loader: str
    settings: Mapping[str, Any]
    requirements: tuple[str, ...]
    files: tuple[str, ...]
    env: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why there is no such variant."""

    reason: str


# --- pyfunc --------------------------------------------------------------------------------------


def pyfunc(model: MlflowModel, question: Question, needs: Needs, *, full: bool = False) -> Plan:
    """MLflow loads and runs it: by ``mlflow-skinny``, or by all of ``mlflow`` where the model needs more of it."""
    listed = next((needs.requirements[name] for name in MLFLOW[:2] if name in needs.requirements), None)
    version = str(listed.specifier) if listed else ""
    if not version and model.mlflow_version:
        version = f"=={model.mlflow_version}"
    package = "mlflow" if full or (listed and listed.extras) else "mlflow-skinny"
    extras = f"[{','.join(sorted(listed.extras))}]" if listed and listed.extras else ""
    # MLflow's pyfunc imports both, whatever the model is given; mlflow-skinny doesn't bring them.
    more = [f"{package}{extras}{version}", "numpy", "pandas"]
    return Plan(
        name="pyfunc",
        framework="mlflow",
        loader="pyfunc",
        settings={"params": question.params},
        requirements=needs.texts(without=MLFLOW, more=[*more, *_of_form(question)]),
        files=model.files,
        env=_QUIET,
    )


# --- native --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Native:
    """What a flavour's native variant is: its framework, loader, settings; packages besides, and those not needed."""

    framework: str
    loader: str
    settings: Mapping[str, Any]
    more: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


def native(model: MlflowModel, question: Question, needs: Needs) -> Plan | Refusal:
    """The flavour's own file, loaded by what wrote it; or why that can't be."""
    make = _MAKERS.get(model.loader)
    if make is None and model.loader.split(".")[0] == "mlflow":
        known = ", ".join(sorted(loader.removeprefix("mlflow.") for loader in _MAKERS if "loaders" not in loader))
        return Refusal(
            reason=f"only MLflow knows how a model of {model.loader} is run; native variants are there for {known} "
            "and for loaders of the model's own"
        )
    found = (make or _own_loader)(model)
    if isinstance(found, Refusal):
        return found
    if question.params is not None:
        return Refusal(reason="its example has params, which MLflow takes and the model itself may not")
    try:
        json.dumps(found.settings, allow_nan=False)
    except (TypeError, ValueError):  # a date, or no number: YAML has them, and what is written here has not
        return Refusal(reason="its configuration in MLmodel holds values that JSON has not")
    return Plan(
        name="native",
        framework=found.framework,
        loader=found.loader,
        settings={"code": _code(model), **found.settings},
        requirements=needs.texts(
            without=(*MLFLOW, *found.without), more=(*_lacking(found, needs), *_of_form(question))
        ),
        files=tuple(file for file in model.files if file not in _ITS_OWN and not file.startswith("metadata/")),
        env={},
    )


def _sklearn(model: MlflowModel) -> _Native | Refusal:
    # "model_path" since 0.9, "data" before; the flavour's "pickled_model" has been there always.
    file = model.pyfunc.get("model_path") or model.flavor.get("pickled_model") or model.pyfunc.get("data")
    return _pickled(model, file, "scikit-learn", "sklearn_version", default="pickle")


def _lightgbm(model: MlflowModel) -> _Native | Refusal:
    file = model.flavor.get("data") or model.pyfunc.get("data")
    if model.flavor.get("model_class", "lightgbm.basic.Booster") != "lightgbm.basic.Booster":
        return _pickled(model, file, "lightgbm", "lgb_version", default="cloudpickle")
    if file is None:
        return _no_file("data")
    more = (_versioned("lightgbm", model, "lgb_version"),)
    return _Native(framework="lightgbm", loader="lightgbm", settings={"file": file}, more=more)


def _xgboost(model: MlflowModel) -> _Native | Refusal:
    file = model.flavor.get("data") or model.pyfunc.get("data")
    kind = model.flavor.get("model_class") or "xgboost.core.Booster"
    if file is None:
        return _no_file("data")
    if not isinstance(kind, str) or not kind.startswith("xgboost."):
        return Refusal(reason=f"its model_class is {kind!r}, not one of XGBoost's")
    more = (_versioned("xgboost", model, "xgb_version"),)
    return _Native(framework="xgboost", loader="xgboost", settings={"file": file, "class": kind}, more=more)


def _onnx(model: MlflowModel) -> _Native | Refusal:
    file = model.flavor.get("data") or model.pyfunc.get("data")
    if file is None:
        return _no_file("data")
    return _Native(
        framework="onnxruntime", loader="onnx", settings={"file": file}, more=("onnxruntime",), without=("onnx",)
    )


def _python_model(model: MlflowModel) -> _Native | Refusal:
    if model.pyfunc.get("model_code_path"):
        return _from_code(model)
    if model.type_hints:
        return Refusal(reason="its inputs are made and checked by MLflow from the type hints of predict()")
    if model.pyfunc.get("python_model") is None:
        return _no_file("python_model")
    artifacts = {name: entry["path"] for name, entry in (model.pyfunc.get("artifacts") or {}).items()}
    return _Native(
        framework="python",
        loader="python_model",
        settings={
            "file": model.pyfunc["python_model"],
            "compression": model.pyfunc.get("python_model_compression"),
            "artifacts": artifacts,
            "config": model.pyfunc.get("config"),
        },
        more=(_versioned("cloudpickle", model, "cloudpickle_version"),),
    )


def _from_code(_: MlflowModel) -> Refusal:
    return Refusal(reason="it is a model from code, whose code hands the model to MLflow (mlflow.models.set_model)")


def _own_loader(model: MlflowModel) -> _Native:
    return _Native(
        framework="python",
        loader="loader_module",
        settings={
            "module": model.loader,
            "data": model.pyfunc.get("data"),
            "config": model.pyfunc.get("config"),
            "predict": model.pyfunc.get("predict_fn", "predict"),
        },
    )


_MAKERS: Mapping[str, Callable[[MlflowModel], _Native | Refusal]] = {
    "mlflow.sklearn": _sklearn,
    "mlflow.lightgbm": _lightgbm,
    "mlflow.xgboost": _xgboost,
    "mlflow.onnx": _onnx,
    "mlflow.pyfunc.model": _python_model,
    "mlflow.pyfunc.loaders.code_model": _from_code,
}


def _pickled(model: MlflowModel, file: Any, package: str, version_key: str, *, default: str) -> _Native | Refusal:
    written = model.flavor.get("serialization_format") or default
    if file is None:
        return _no_file("pickled_model")
    if written not in {"pickle", "cloudpickle", "skops"}:
        return Refusal(reason=f"its serialization_format {written!r} is not known")
    settings = {
        "file": file,
        "format": written,
        "trusted": model.flavor.get("skops_trusted_types"),
        "predict": model.pyfunc.get("predict_fn", "predict"),
    }
    more = [_versioned(package, model, version_key), *([written] if written != "pickle" else [])]
    return _Native(framework=package, loader="pickled", settings=settings, more=tuple(more))


def _versioned(package: str, model: MlflowModel, key: str) -> str:
    """The package in the version that MLmodel tells, for a list of requirements that lacks it."""
    told = model.flavor.get(key) or model.pyfunc.get(key)
    try:
        return str(Requirement(f"{package}=={told}" if isinstance(told, str) else package))
    except ValueError:  # InvalidRequirement is one
        return package


def _no_file(key: str) -> Refusal:
    return Refusal(reason=f"MLmodel doesn't say where its file is ('{key}' is missing)")


def _lacking(native: _Native, needs: Needs) -> list[str]:
    """What the variant needs besides, but for packages that another of the list is a build of."""
    return [text for text in native.more if not _ALIKE.get(Requirement(text).name, set()) & set(needs.requirements)]


def _code(model: MlflowModel) -> str | None:
    code = model.pyfunc.get("code") or model.flavor.get("code")
    return code if isinstance(code, str) and model.has(code) else None


def _of_form(question: Question) -> list[str]:
    """The packages that the input itself is built with."""
    kind = question.form["kind"]
    if question.framed:
        return ["pandas"]
    return {"array": ["numpy"], "arrays": ["numpy"], "csr": ["numpy", "scipy"], "csc": ["numpy", "scipy"]}.get(kind, [])


# --- writing -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Header:
    """What ``model.toml`` says beside the plan."""

    name: str
    description: str
    python: str


def write(plan: Plan, model: MlflowModel, question: Question, folder: Path, header: Header) -> dict[str, Any]:
    """Write the variant into ``folder``, which is made; what its ``model.toml`` holds.

    ``examples.json`` is left out: :func:`write_examples` writes it once the answer is known.
    """
    weights = folder / WEIGHTS
    for relative in plan.files:
        target = weights / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        source = folders.real_file(model.folder, relative)
        if source is None:
            raise BadInput("is not there any more", file=model.folder / relative, remedy="let nothing write there")
        tree.copy_file(source, target, below=Path(os.path.realpath(model.folder)))
    shutil.copyfile(RESOURCES / "harness_conversion.py", folder / "harness_conversion.py")
    shutil.copyfile(RESOURCES / f"{plan.loader}.py", folder / "harness_loader.py")
    (folder / "predictor.py").write_text(_predictor(plan, question), encoding="utf-8")
    table = _table(plan, header, weights)
    (folder / "model.toml").write_text(toml(table), encoding="utf-8")
    return table


def write_examples(folder: Path, value: Json, answer: Json) -> None:
    """Write what the model is asked, and what it answered."""
    text = json.dumps({"inputs": [value], "outputs": [answer]}, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "examples.json").write_text(text + "\n", encoding="utf-8")


def _predictor(plan: Plan, question: Question) -> str:
    source = (RESOURCES / "predictor.py").read_text(encoding="utf-8")
    for name, value in (("FORM", question.form), ("SETTINGS", plan.settings)):
        empty = f"{name}: dict[str, Any] = {{}}\n"
        assert empty in source, "the template of the predictor has the line that is filled in"
        literal = pformat(dict(value), width=100, sort_dicts=False)
        source = source.replace(empty, f"{name}: dict[str, Any] = {literal}\n")
    return source


def _table(plan: Plan, header: Header, weights: Path) -> dict[str, Any]:
    files = [weights / relative for relative in sorted(plan.files)]
    weight = sum(file.stat().st_size for file in files)
    torch = any(Requirement(text).name == "torch" for text in plan.requirements)
    return {
        "spec_version": SPEC_VERSION,
        "name": header.name,
        "version": "1",
        "description": header.description,
        "framework": plan.framework,
        "python": header.python,
        "requirements": list(plan.requirements),
        # A plain torch brings gigabytes of GPU libraries.
        **({"torch_backend": "cpu"} if torch else {}),
        "examples": {"path": "examples.json", "tolerance": 1e-6},
        **({"env": dict(plan.env)} if plan.env else {}),
        "resources": {"memory_mb": _MEMORY_MB + _MEMORY_PER_BYTE * weight // 2**20},
        "artifacts": [
            {
                "path": file.relative_to(weights.parent).as_posix(),
                "sha256": tree.sha256(file),
                "bytes": file.stat().st_size,
            }
            for file in files
        ],
    }


def toml(table: Mapping[str, Any]) -> str:
    """``table`` as TOML: plain values, then tables, then arrays of tables."""
    lines = [f"{key} = {_toml_value(value)}" for key, value in table.items() if not _nested(value)]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += ["", f"[{key}]", *(f"{name} = {_toml_value(one)}" for name, one in value.items())]
    for key, value in table.items():
        if isinstance(value, list) and _nested(value):
            for entry in value:
                lines += ["", f"[[{key}]]", *(f"{name} = {_toml_value(one)}" for name, one in entry.items())]
    return "\n".join(lines) + "\n"


def _nested(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _toml_value(value: Any) -> str:
    if isinstance(value, list):
        return "[\n" + "".join(f"    {_toml_value(one)},\n" for one in value) + "]" if value else "[]"
    # JSON's texts are TOML's, but for one control character that JSON lets stand.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
