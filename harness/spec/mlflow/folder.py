"""What MLflow 1, 2 and 3 write into a model's folder, read into a frozen record.

Formats: ``mlflow/models/model.py`` and ``mlflow/pyfunc/__init__.py`` of MLflow 3.17.2 (read 2026-11-23), and folders
that 1.x and 2.x left. What changed: ``python_function.env`` was a string before 2.0; ``mlflow_version``,
``python_env.yaml`` and ``requirements.txt`` came later than 1.0; ``serving_input_path`` with 2.16.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import files
from harness.errors import BadInput
from harness.spec import reading
from harness.spec.mlflow import safe_yaml
from harness.spec.model import LARGEST_BYTES

MLMODEL = "MLmodel"
_SAVED = "give the folder that mlflow's save_model or download_artifacts wrote"
_AGAIN = "it has to be as MLflow wrote it; save the model again"

#: The keys of ``python_function`` whose value is a path inside the folder.
_PYFUNC_PATHS = ("data", "code", "model_path", "python_model")
#: The same for the flavours that have a native variant.
_FLAVOR_PATHS = ("pickled_model", "data", "code")


@dataclass(frozen=True, kw_only=True)
class Field:
    """One input of the signature: a column (``type`` is MLflow's name for it), or a tensor with a numpy ``dtype``."""

    name: str | None
    type: str
    required: bool = True
    dtype: str = ""


@dataclass(frozen=True, kw_only=True)
class MlflowModel:
    """An MLflow model folder that was read and found whole.

    ``pyfunc`` is the flavour that says how any model is run, ``flavor`` what its own flavour says, which is called
    ``flavor_name``. ``fields`` are None where there is no signature; ``type_hints`` says that it came from those of
    ``predict``, which MLflow then holds inputs against. ``files`` are all its files, relative.
    """

    folder: Path
    mlflow_version: str | None
    pyfunc: Mapping[str, Any]
    flavor_name: str
    flavor: Mapping[str, Any]
    fields: tuple[Field, ...] | None
    type_hints: bool
    example: Mapping[str, Any] | None
    files: tuple[str, ...]

    @property
    def file(self) -> Path:
        """Its ``MLmodel``."""
        return self.folder / MLMODEL

    @property
    def loader(self) -> str:
        """The module that loads it, such as ``mlflow.sklearn``."""
        return str(self.pyfunc["loader_module"])

    @property
    def tensors(self) -> bool:
        """Whether the signature is of tensors, not of columns."""
        return bool(self.fields) and all(field.type == "tensor" for field in self.fields or ())

    def has(self, relative: str) -> bool:
        """Whether there is such a file, or a folder with files in it."""
        name = relative.strip("/").removeprefix("./")
        return any(file == name or file.startswith(f"{name}/") for file in self.files)


def read(folder: Path) -> MlflowModel:
    """The MLflow model in ``folder``; BadInput for the first thing wrong with it."""
    if not os.path.isdir(folder):
        raise BadInput("there is no such folder", file=folder, remedy=_SAVED)
    file = folder / MLMODEL
    table = safe_yaml.table(file, remedy=_SAVED)
    flavors = _mapping(table.get("flavors"), file, "flavors")
    if "python_function" not in flavors:
        raise BadInput(
            "is missing: without it nobody can say how the model is run",
            file=file,
            key="flavors.python_function",
            remedy=f"save it with a flavour that MLflow runs as a Python function; this has {', '.join(flavors)}",
        )
    pyfunc = _mapping(flavors["python_function"], file, "flavors.python_function")
    loader = _text(pyfunc.get("loader_module"), file, "flavors.python_function.loader_module")
    name = _flavor_name(loader, flavors)
    found = MlflowModel(
        folder=folder,
        mlflow_version=_optional_text(table.get("mlflow_version"), file, "mlflow_version"),
        pyfunc=pyfunc,
        flavor_name=name,
        flavor=_mapping(flavors[name], file, f"flavors.{name}"),
        fields=_fields(table.get("signature"), file),
        type_hints=bool(table.get("is_signature_from_type_hint") or table.get("type_hint_from_example")),
        example=_example(table.get("saved_input_example_info"), file),
        files=tuple(_files(folder)),
    )
    _check_paths(found)
    return found


def _flavor_name(loader: str, flavors: Mapping[str, Any]) -> str:
    """The flavour that the loader is of, where the folder has it: ``mlflow.sklearn`` is of ``sklearn``."""
    name = loader.removeprefix("mlflow.").split(".")[0]
    return name if loader.startswith("mlflow.") and name in flavors else "python_function"


# --- paths ---------------------------------------------------------------------------------------


def _files(folder: Path) -> list[str]:
    """Every file, relative, sorted. BadInput for what must not be copied: links that leave, pipes, odd names."""
    found, total = [], 0
    for entry in files.walk(folder):
        path = entry.path
        try:
            entry.relative.as_posix().encode()
        except UnicodeEncodeError:
            raise BadInput("has a name that is not UTF-8", file=files.shown(path), remedy="rename it") from None
        if entry.kind == "link" and real_file(folder, entry.relative) is None:
            raise BadInput(
                "is a link that leaves the model's folder, or leads to no file",
                file=path,
                value=entry.target(),
                remedy="replace it by what it points to",
            )
        if entry.kind == "other":
            raise BadInput("is neither a file nor a folder", file=path, remedy="remove it")
        if entry.kind != "folder":
            found.append(entry.relative.as_posix())
            total += os.stat(path).st_size if entry.kind == "link" else entry.status.st_size
        if total > LARGEST_BYTES:
            raise BadInput(
                f"is too large: its files have more than {LARGEST_BYTES / 2**30:g} GiB, holes counted",
                file=folder,
                remedy="leave out what the model does not need",
            )
    return sorted(one for one in found if "__pycache__" not in one.split("/"))


def real_file(folder: Path, relative: Path | str) -> Path | None:
    """The regular file that lies there or that a link there leads to, inside ``folder``; None where there is none.

    No component of the path that is given is a link, below the real path of ``folder``.
    """
    root = Path(os.path.realpath(folder))
    place = Path(os.path.realpath(root / relative))
    return place if place.is_relative_to(root) and files.kind(place) == "file" else None


def _check_paths(model: MlflowModel) -> None:
    """Every path that MLmodel names lies inside the folder and is there."""
    own = f"flavors.{model.flavor_name}"
    named = [(f"flavors.python_function.{key}", model.pyfunc.get(key)) for key in _PYFUNC_PATHS]
    named += [(f"{own}.{key}", model.flavor.get(key)) for key in _FLAVOR_PATHS]
    artifacts = _mapping(model.pyfunc.get("artifacts") or {}, model.file, "flavors.python_function.artifacts")
    for name, artifact in artifacts.items():
        key = f"flavors.python_function.artifacts.{name}"
        path = _mapping(artifact, model.file, key).get("path")
        named.append((f"{key}.path", _text(path, model.file, f"{key}.path")))
    for name in ("artifact_path", "serving_input_path"):
        named.append((f"saved_input_example_info.{name}", (model.example or {}).get(name)))
    for key, value in named:
        if value is None:
            continue
        relative = _text(value, model.file, key)
        reading.inside(model.folder, relative, file=model.file, key=key)
        if not model.has(relative) and not key.endswith(".code"):
            raise BadInput("is not there", file=model.file, key=key, value=relative, remedy=_AGAIN)


# --- values --------------------------------------------------------------------------------------


def _mapping(value: Any, file: Path, key: str) -> dict[str, Any]:
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return value
    problem = "is missing" if value is None else "is not a mapping of names to values"
    raise BadInput(problem, file=file, key=key, value=value, remedy=_AGAIN)


def _text(value: Any, file: Path, key: str) -> str:
    if isinstance(value, str) and value:
        return value
    problem = "is missing" if value is None else "is not a text"
    raise BadInput(problem, file=file, key=key, value=value, remedy=_AGAIN)


def _optional_text(value: Any, file: Path, key: str) -> str | None:
    return None if value is None else _text(value, file, key)


def _example(value: Any, file: Path) -> Mapping[str, Any] | None:
    if value is None:
        return None
    info = _mapping(value, file, "saved_input_example_info")
    for key in ("artifact_path", "type"):
        _text(info.get(key), file, f"saved_input_example_info.{key}")
    return info


def _fields(signature: Any, file: Path) -> tuple[Field, ...] | None:
    """The inputs of the signature, which MLmodel holds as JSON in a text."""
    if signature is None:
        return None
    inputs = _mapping(signature, file, "signature").get("inputs")
    if inputs is None:
        return None
    key = "signature.inputs"
    try:
        entries = json.loads(_text(inputs, file, key))
    except (ValueError, RecursionError):
        raise BadInput("is not JSON", file=file, key=key, value=inputs, remedy=_AGAIN) from None
    if not isinstance(entries, list):
        raise BadInput("is not a JSON array", file=file, key=key, value=inputs, remedy=_AGAIN)
    return tuple(_field(entry, file, f"{key}.{number}") for number, entry in enumerate(entries))


def _field(entry: Any, file: Path, key: str) -> Field:
    table = _mapping(entry, file, key)
    kind = _text(table.get("type"), file, f"{key}.type")
    name = _optional_text(table.get("name"), file, f"{key}.name") if table.get("name") != "" else ""
    dtype = ""
    if kind == "tensor":
        dtype = _text(_mapping(table.get("tensor-spec"), file, f"{key}.tensor-spec").get("dtype"), file, f"{key}.dtype")
    # "optional" stood where "required" stands since 2.9.
    required = table.get("required", not table.get("optional", False))
    return Field(name=name, type=kind, required=bool(required), dtype=dtype)
