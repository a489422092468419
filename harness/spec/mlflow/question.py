"""The input example of an MLflow model as a JSON value, and how that becomes what the model is given.

Old shapes and new: before 2.11 or so every example was a ``dataframe`` (``pandas_orient`` ``split``) or an
``ndarray`` inside ``{"inputs": ...}`` with ``format: tf-serving``; since then lists, dicts and single values are
``json_object``, and arrays stand bare. ``serving_input_example.json`` (2.16 and newer) says the same as a request.
(``mlflow/models/utils.py`` of 1.24, 2.0.1, 2.13.2 and 3.17.2, read 2026-11-23.)
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.spec import reading
from harness.spec.mlflow.folder import MlflowModel, real_file
from harness.spec.model import Json

SERVING = (
    'JSON as MLflow\'s own server is asked: {"dataframe_split": {"columns": [...], "data": [...]}}, '
    '{"dataframe_records": [...]}, {"inputs": ...} or {"instances": ...}'
)
_AGAIN = "log the model again with input_example=..., or give one: --input FILE"
_REQUESTS = ("dataframe_split", "dataframe_records", "inputs", "instances")
#: MLflow's types of columns that a frame can be built of; with others values stay as they are.
_COLUMN_TYPES = {"boolean", "integer", "long", "float", "double", "string", "binary", "datetime"}
#: Columns whose values are lists and dicts; they stay as they are.
_NESTED_TYPES = {"array", "object"}


@dataclass(frozen=True, kw_only=True)
class Question:
    """What the model is asked: ``value`` as in ``examples.json``, ``form`` as ``harness_conversion`` takes it.

    ``form["kind"]`` is ``records`` (a list of ``{column: value}``), ``rows``, ``array``, ``arrays`` (by name),
    ``csr``, ``csc`` or ``plain``. ``params`` are MLflow's parameters of a request, the same for every request.
    """

    value: Json
    form: Mapping[str, Any]
    params: Mapping[str, Any] | None = None

    @property
    def framed(self) -> bool:
        """Whether the model is given a pandas DataFrame."""
        return self.form["kind"] in {"records", "rows"}


def asked(model: MlflowModel, given: Path | None) -> Question:
    """The question: the request in the file ``given``, else the model's own example. BadInput where there is none."""
    if given is not None:
        return _of_request(model, given)
    if model.example is None:
        raise BadInput(
            "has no input example, so nobody knows what to ask it",
            file=model.file,
            key="saved_input_example_info",
            remedy=f"{_AGAIN} ({SERVING})",
        )
    file = model.folder / str(model.example["artifact_path"])
    # MLflow writes a missing number of a column as NaN, which JSON has not: null here.
    value = reading.json_value(
        real_file(model.folder, str(model.example["artifact_path"])) or file, remedy=_AGAIN, missing_number=True
    )
    params = None
    # The flag is the text "true" (2.7 and newer).
    if model.example.get("params"):
        if not isinstance(value, dict) or set(value) != {"inputs", "params"}:
            raise BadInput("is not {inputs, params}, as MLmodel says", file=file, remedy=_AGAIN)
        params, value = _mapping(value["params"], file, "params"), value["inputs"]
    kind = model.example["type"]
    if kind == "dataframe":
        form, value = _frame(model, value, file)
    elif kind == "ndarray":
        old = model.example.get("format") == "tf-serving" or (
            isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _REQUESTS and not _names(model, value)
        )
        form, value = _array(model, _unwrapped(value, file) if old else value, file)
    elif kind in {"sparse_matrix_csr", "sparse_matrix_csc"}:
        form, value = _sparse(model, value, str(kind)[-3:], file)
    elif kind == "json_object":
        form, value = _object(model, value, file)
    else:
        raise BadInput(
            "is a type of example that is not known here",
            file=model.file,
            key="saved_input_example_info.type",
            value=kind,
            remedy=f"give a request instead: --input FILE ({SERVING})",
        )
    return Question(value=value, form=form, params=params)


def _of_request(model: MlflowModel, file: Path) -> Question:
    """The question in a file with a request as MLflow's server takes it."""
    # It is the user who names it: a link is what it points to.
    real = Path(os.path.realpath(file))
    request = reading.json_value(real, remedy=f"give a file: {SERVING}", missing_number=True)
    known = [key for key in _REQUESTS if isinstance(request, dict) and key in request]
    if len(known) != 1 or set(request) - {*known, "params"}:
        raise BadInput("is not such a request", file=file, key="--input", remedy=f"give {SERVING}")
    params = _mapping(request["params"], file, "params") if "params" in request else None
    key, value = known[0], request[known[0]]
    if key.startswith("dataframe"):
        form, value = _frame(model, value, file)
    elif model.fields and not model.tensors:
        form, value = _object(model, value, file)
    elif model.tensors or _numbers(value):
        form, value = _array(model, value, file)
    else:
        form = {"kind": "plain"}
    return Question(value=value, form=form, params=params)


# --- frames --------------------------------------------------------------------------------------


def _frame(model: MlflowModel, value: Json, file: Path) -> tuple[dict[str, Any], Json]:
    """A DataFrame: a list of records where its columns have distinct names, else rows."""
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return _of_records(model, value)
    columns = value.get("columns") if isinstance(value, dict) else None
    rows = value.get("data") if isinstance(value, dict) else value
    ragged = not isinstance(rows, list) or not all(isinstance(row, list) for row in rows)
    if ragged or not (columns is None or isinstance(columns, list)) or not rows:
        raise BadInput('is not a DataFrame with rows: {"columns": [...], "data": [...]}', file=file, remedy=_AGAIN)
    widths = {len(row) for row in rows} | ({len(columns)} if columns is not None else set())
    if len(widths) > 1:
        raise BadInput("has rows of different lengths", file=file, key="data", remedy=_AGAIN)
    return _of_rows(model, columns, rows)


def _of_rows(
    model: MlflowModel, columns: Sequence[Json] | None, rows: Sequence[Sequence[Json]]
) -> tuple[dict[str, Any], Json]:
    if columns and all(isinstance(name, str) for name in columns) and len(set(columns)) == len(columns):
        return _of_records(model, [dict(zip(columns, row, strict=True)) for row in rows])
    fields = model.fields or ()
    types = [field.type if field.type in _COLUMN_TYPES else None for field in fields]
    return {"kind": "rows", "columns": columns and list(columns), "types": types}, [list(row) for row in rows]


def _of_records(model: MlflowModel, records: Sequence[Mapping[str, Json]]) -> tuple[dict[str, Any], Json]:
    names = list(dict.fromkeys(name for record in records for name in record))
    fields = [field for field in model.fields or () if field.name]
    columns = [str(field.name) for field in fields] or names
    if not set(columns) & set(names):  # a signature of one unnamed tensor, or of other columns
        columns, fields = names, []
    form = {
        "kind": "records",
        "columns": columns,
        "required": [field.name for field in fields if field.required],
        "types": {str(field.name): field.type for field in fields if field.type in _COLUMN_TYPES},
    }
    return form, [dict(record) for record in records]


def _object(model: MlflowModel, value: Json, file: Path) -> tuple[dict[str, Any], Json]:
    """Any JSON value. With a signature of columns MLflow makes a frame of it (``_enforce_schema``), and so do we."""
    fields = model.fields or ()
    kinds = {field.type for field in fields}
    if not kinds or model.type_hints or kinds - _COLUMN_TYPES - _NESTED_TYPES:
        return {"kind": "plain"}, value
    if isinstance(value, dict):
        columns = list(value)
        if kinds & _NESTED_TYPES:  # its lists are values of one row, not columns
            return _of_records(model, [value])
        if columns and all(isinstance(column, list) and not _texts(column) for column in value.values()):
            if len({len(column) for column in value.values()}) != 1:
                raise BadInput("has columns of different lengths", file=file, remedy=_AGAIN)
            return _of_rows(model, columns, list(zip(*value.values(), strict=True)))
        return _of_records(model, [value])
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return _of_records(model, value)
    if isinstance(value, list) and value and all(isinstance(row, list) for row in value):
        return _of_rows(model, None, value)
    rows = [[one] for one in value] if isinstance(value, list) else [[value]]
    name = fields[0].name
    return _of_rows(model, [name] if name else None, rows)


# --- arrays --------------------------------------------------------------------------------------


def _array(model: MlflowModel, value: Json, file: Path) -> tuple[dict[str, Any], Json]:
    fields = model.fields or ()
    if isinstance(value, dict):
        dtypes = {str(field.name): field.dtype for field in fields if field.dtype and field.name}
        return {"kind": "arrays", "dtypes": dtypes}, value
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):  # "instances" by name
        names = list(value[0])
        if any(list(row) != names for row in value):
            raise BadInput("has instances with different names", file=file, remedy=_AGAIN)
        return _array(model, {name: [row[name] for row in value] for name in names}, file)
    if not isinstance(value, list):
        raise BadInput("is not an array", file=file, value=type(value).__name__, remedy=_AGAIN)
    if fields and not model.tensors:  # a signature of columns: MLflow makes a frame of the array
        return _object(model, value, file)
    dtype = fields[0].dtype if fields else ""
    return {"kind": "array", "dtype": dtype}, value


def _sparse(model: MlflowModel, value: Json, kind: str, file: Path) -> tuple[dict[str, Any], Json]:
    matrix = _mapping(value, file, "")
    for key in ("data", "indices", "indptr", "shape"):
        if not isinstance(matrix.get(key), list):
            raise BadInput("is missing, or no list", file=file, key=key, remedy=_AGAIN)
    dtype = model.fields[0].dtype if model.fields else ""
    return {"kind": kind, "dtype": dtype}, matrix


def _unwrapped(value: Json, file: Path) -> Json:
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in {"inputs", "instances"}:
        return next(iter(value.values()))
    raise BadInput('is not {"inputs": ...}, as examples of that format are', file=file, remedy=_AGAIN)


def _names(model: MlflowModel, value: Mapping[str, Json]) -> bool:
    """Whether these are the names of the signature's tensors."""
    return {field.name for field in model.fields or ()} == set(value)


def _texts(values: Sequence[Json]) -> bool:
    return bool(values) and all(isinstance(value, str) for value in values)


def _numbers(value: Json) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_numbers(part) for part in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _mapping(value: Any, file: Path, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInput("is not an object", file=file, key=key, value=value, remedy=_AGAIN)
    return value
