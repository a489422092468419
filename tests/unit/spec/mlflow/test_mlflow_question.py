"""Input examples in the shapes of all versions, and requests from a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput
from harness.spec.mlflow import folder, question
from harness.spec.mlflow.question import Question

Saved = Callable[..., Path]
RECORDS = [{"a": 1.5, "b": 2}, {"a": 2.5, "b": 3}]
FORM = {"kind": "records", "columns": ["a", "b"], "required": ["a", "b"], "types": {"a": "double", "b": "long"}}


def asked(place: Path, given: Path | None = None) -> Question:
    """The question of the folder."""
    return question.asked(folder.read(place), given)


def example(saved: Saved, value: Any, kind: str, signature: str | None = None, **info: str) -> Path:
    """The folder of 1.23 with another example."""
    lines = "".join(f"  {name}: {text}\n" for name, text in {"type": kind, **info}.items())
    swaps = [("  pandas_orient: split\n  type: dataframe\n", lines)]
    whole = '\'[{"name": "a", "type": "double"}, {"name":\n    "b", "type": "long"}]\''
    if signature is not None:
        swaps.append((whole, signature))
    return saved("1.23", {"input_example.json": json.dumps(value)}, *swaps)


@pytest.mark.parametrize("version", ["1.23", "3.17"])
def test_a_frame_becomes_records(saved: Saved, version: str) -> None:
    """With the types and the order of the signature."""
    found = asked(saved(version))
    assert (found.value, found.form, found.params) == (RECORDS, FORM, None)
    assert found.framed


def test_an_array_of_2_14(saved: Saved) -> None:
    """Out of its wrapping, with the signature's dtype."""
    found = asked(saved("2.14"))
    assert (found.value, found.form) == ([[1.0, 2.0], [3.0, None]], {"kind": "array", "dtype": "float64"})


def test_arrays_bare_and_by_name(saved: Saved) -> None:
    """Newer examples are not wrapped; a tensor may itself be called "inputs"."""
    assert asked(example(saved, [[1, 2]], "ndarray", "null")).form == {"kind": "array", "dtype": ""}
    named = '\'[{"name": "inputs", "type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]\''
    found = asked(example(saved, {"inputs": [1, 2]}, "ndarray", named))
    assert (found.value, found.form) == ({"inputs": [1, 2]}, {"kind": "arrays", "dtypes": {"inputs": "int64"}})
    wrapped = asked(example(saved, {"inputs": {"inputs": [1, 2]}}, "ndarray", named, format="tf-serving"))
    assert wrapped.value == {"inputs": [1, 2]}


def test_an_array_for_columns_becomes_a_frame(saved: Saved) -> None:
    """As MLflow does it."""
    found = asked(example(saved, [[1, 2], [3, 4]], "ndarray"))
    assert (found.value, found.form) == (
        [[1, 2], [3, 4]],
        {"kind": "rows", "columns": None, "types": ["double", "long"]},
    )


@pytest.mark.parametrize(
    ("value", "columns"),
    [
        ({"data": [[1, 2]]}, None),
        ([[1, 2]], None),
        ({"columns": [10, 20], "data": [[1, 2]]}, [10, 20]),
        ({"columns": ["x", "x"], "data": [[1, 2]]}, ["x", "x"]),
    ],
)
def test_frames_without_names_to_tell_columns_by(saved: Saved, value: Any, columns: Any) -> None:
    """They stay rows."""
    found = asked(example(saved, value, "dataframe", "null", pandas_orient="values"))
    assert (found.value, found.form) == ([[1, 2]], {"kind": "rows", "columns": columns, "types": []})


@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_sparse_matrices(saved: Saved, kind: str) -> None:
    """As their parts."""
    matrix = {"data": [1.0], "indices": [0], "indptr": [0, 1], "shape": [1, 2]}
    found = asked(example(saved, matrix, f"sparse_matrix_{kind}", "null"))
    assert (found.value, found.form) == (matrix, {"kind": kind, "dtype": ""})
    with pytest.raises(BadInput, match="indptr"):
        asked(example(saved, {**matrix, "indptr": 1}, f"sparse_matrix_{kind}"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": 1.5, "b": 2}, [{"a": 1.5, "b": 2}]),
        ({"a": [1.5, 2.5], "b": [2, 3]}, RECORDS),
        (RECORDS, RECORDS),
        ([[1.5, 2]], [[1.5, 2]]),
        ({"a": ["x", "y"]}, [{"a": ["x", "y"]}]),
    ],
)
def test_any_value_for_columns_becomes_a_frame(saved: Saved, value: Any, expected: Any) -> None:
    """As MLflow's enforcement of the schema does it; a list of texts is one value."""
    found = asked(example(saved, value, "json_object"))
    assert found.framed
    assert found.value == expected


def test_other_columns_than_the_signatures(saved: Saved) -> None:
    """They stay as they are, for the model to say what it thinks of them."""
    found = asked(example(saved, {"columns": ["x"], "data": [[1]]}, "dataframe", pandas_orient="split"))
    assert found.form == {"kind": "records", "columns": ["x"], "required": [], "types": {}}


def test_an_old_array_without_its_wrapping(saved: Saved) -> None:
    """Its format says that there has to be one."""
    with pytest.raises(BadInput, match="as examples of that format are"):
        asked(example(saved, [[1, 2]], "ndarray", format="tf-serving"))


@pytest.mark.parametrize("value", [["x", "y"], "x"])
def test_texts_for_one_column(saved: Saved, value: Any) -> None:
    """A row for each."""
    named = '\'[{"name": "text", "type": "string"}]\''
    found = asked(example(saved, value, "json_object", named))
    assert found.value == [{"text": text} for text in value]
    unnamed = asked(example(saved, value, "json_object", '\'[{"type": "string"}]\''))
    assert (unnamed.value, unnamed.form["columns"]) == ([[text] for text in value], None)


def test_lists_in_a_column(saved: Saved) -> None:
    """One record, whose list is one value."""
    nested = '\'[{"name": "a", "type": "array", "items": {"type": "long"}}]\''
    found = asked(example(saved, {"a": [1, 2]}, "json_object", nested))
    assert (found.value, found.form["types"]) == ([{"a": [1, 2]}], {})


@pytest.mark.parametrize("signature", ["null", '\'[{"name": "a", "type": "map", "values": {"type": "long"}}]\''])
def test_any_value_without_plain_columns_stays(saved: Saved, signature: str) -> None:
    """The model is given it as it is."""
    found = asked(example(saved, {"a": [1, 2]}, "json_object", signature))
    assert (found.value, found.form) == ({"a": [1, 2]}, {"kind": "plain"})


def test_params(saved: Saved) -> None:
    """They are apart from the input."""
    value = {"inputs": {"columns": ["a", "b"], "data": [[1.5, 2]]}, "params": {"top": 3}}
    found = asked(example(saved, value, "dataframe", params="'true'"))
    assert (found.value, found.params) == ([{"a": 1.5, "b": 2}], {"top": 3})
    with pytest.raises(BadInput, match=r"is not \{inputs, params\}"):
        asked(example(saved, {"inputs": 1}, "dataframe", params="'true'"))


def test_no_example_says_what_to_do(saved: Saved) -> None:
    """Log one, or give a request."""
    with pytest.raises(BadInput, match="has no input example") as raised:
        asked(saved("1.0"))
    assert "input_example=" in raised.value.remedy
    assert "--input FILE" in raised.value.remedy
    assert "dataframe_split" in raised.value.remedy


@pytest.mark.parametrize(
    ("version", "request_", "expected"),
    [
        ("1.0", {"dataframe_split": {"columns": ["a"], "data": [[1]]}}, [{"a": 1}]),
        ("1.0", {"dataframe_records": [{"a": 1}]}, [{"a": 1}]),
        ("1.0", {"inputs": [[1, 2.5]]}, [[1, 2.5]]),
        ("1.0", {"inputs": "a text"}, "a text"),
        ("2.14", {"instances": [[1, 2]], "params": {"top": 3}}, [[1, 2]]),
        ("2.14", {"instances": [{"x": [1], "y": [2]}, {"x": [3], "y": [4]}]}, {"x": [[1], [3]], "y": [[2], [4]]}),
        ("3.17", {"inputs": {"a": [1.5, 2.5], "b": [2, 3]}}, RECORDS),
    ],
)
def test_requests_from_a_file(saved: Saved, tmp_path: Path, version: str, request_: Any, expected: Any) -> None:
    """In every form that MLflow's server takes."""
    file = tmp_path / "request.json"
    file.write_text(json.dumps(request_))
    found = asked(saved(version), file)
    assert found.value == expected
    assert found.params == request_.get("params")


@pytest.mark.parametrize(
    "request_",
    [
        [1],
        {},
        {"inputs": [1], "instances": [1]},
        {"inputs": [1], "more": 1},
        {"data": [1]},
        {"inputs": [1], "params": 3},
    ],
)
def test_other_requests_are_refused(saved: Saved, tmp_path: Path, request_: Any) -> None:
    """With the forms that there are."""
    file = tmp_path / "request.json"
    file.write_text(json.dumps(request_))
    with pytest.raises(BadInput) as raised:
        asked(saved("1.0"), file)
    assert str(file) in str(raised.value)
    with pytest.raises(BadInput, match="there is no such file"):
        asked(saved("1.0"), tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("value", "kind", "part"),
    [
        ({"columns": ["a"], "data": [[1, 2]]}, "dataframe", "different lengths"),
        ({"columns": 1, "data": [[1, 2]]}, "dataframe", "is not a DataFrame"),
        ({"columns": ["a"], "data": []}, "dataframe", "is not a DataFrame"),
        ({"columns": ["a"], "data": [1]}, "dataframe", "is not a DataFrame"),
        ("text", "dataframe", "is not a DataFrame"),
        (7, "ndarray", "is not an array"),
        ([{"a": 1}, {"b": 1}], "ndarray", "different names"),
        ({"a": [1], "b": [1, 2]}, "json_object", "different lengths"),
        ([1], "sparse_matrix_csr", "is not an object"),
        ([1], "spark", "not known here"),
    ],
)
def test_examples_of_a_wrong_shape_are_refused(saved: Saved, value: Any, kind: str, part: str) -> None:
    """With what is wrong about them."""
    with pytest.raises(BadInput, match=part) as raised:
        asked(example(saved, value, kind))
    assert raised.value.remedy


def test_an_example_that_is_not_json(saved: Saved) -> None:
    """Nor one with an infinite number; whether bytes are text is seen as well."""
    for text in ("[", '{"columns": ["a"], "data": [[Infinity]]}', "[" * 100_000):
        with pytest.raises(BadInput, match="input_example"):
            asked(saved("1.23", {"input_example.json": text}))
    place = saved("1.23")
    (place / "input_example.json").write_bytes(b"\xff")
    with pytest.raises(BadInput, match="is not UTF-8"):
        asked(place)


def test_a_missing_number_is_null(saved: Saved) -> None:
    """MLflow 3.17 with pandas 3 writes NaN into its JSON."""
    found = asked(saved("1.23", {"input_example.json": '{"columns": ["a", "b"], "data": [[NaN, 2]]}'}))
    assert found.value == [{"a": None, "b": 2}]
