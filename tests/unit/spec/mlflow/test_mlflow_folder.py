"""Reading what MLflow wrote: old shapes and new, and everything that a stranger's folder may try."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.spec.mlflow import folder, safe_yaml
from harness.spec.mlflow.folder import Field

Saved = Callable[..., Path]


def refused(place: Path, *parts: str) -> BadInput:
    """The folder is refused with exit code 2, a remedy, and these words."""
    with pytest.raises(BadInput) as raised:
        folder.read(place)
    assert raised.value.exit_code == 2
    assert raised.value.remedy
    for part in parts:
        assert part in str(raised.value)
    return raised.value


def test_a_folder_of_1_0_is_read(saved: Saved) -> None:
    """No signature, no example, no version: none of them was there then."""
    found = folder.read(saved("1.0"))
    assert (found.loader, found.flavor_name, found.mlflow_version) == ("mlflow.sklearn", "sklearn", None)
    assert (found.fields, found.example, found.type_hints) == (None, None, False)
    assert found.pyfunc["data"] == "model.pkl"
    assert found.files == ("MLmodel", "conda.yaml", "model.pkl")


def test_a_folder_of_1_23_is_read(saved: Saved) -> None:
    """The environment is a text; columns are required unless they say otherwise."""
    found = folder.read(saved("1.23"))
    assert found.fields == (Field(name="a", type="double"), Field(name="b", type="long"))
    assert found.example is not None
    assert found.example["artifact_path"] == "input_example.json"
    assert not found.tensors


def test_a_folder_of_2_14_is_read(saved: Saved) -> None:
    """A tensor has a dtype; the flavour is the one that the loader is of."""
    found = folder.read(saved("2.14"))
    assert found.fields == (Field(name=None, type="tensor", dtype="float64"),)
    assert found.tensors
    assert (found.flavor_name, found.flavor["lgb_version"], found.mlflow_version) == ("lightgbm", "4.1.0", "2.14.2")


def test_a_folder_of_3_17_is_read(saved: Saved) -> None:
    """A model of MLflow's own class has no other flavour; artifacts lie in the folder, wherever they came from."""
    found = folder.read(saved("3.17"))
    assert (found.loader, found.flavor_name) == ("mlflow.pyfunc.model", "python_function")
    assert found.has("artifacts/words.json")
    assert found.has("artifacts")
    assert not found.has("artifact")
    hinted = saved("3.17", None, ("is_signature_from_type_hint: false", "is_signature_from_type_hint: true"))
    assert folder.read(hinted).type_hints


def test_optional_columns_of_both_spellings(saved: Saved) -> None:
    """ "optional" before 2.9, "required" since."""
    text = '[{"name": "a", "type": "double", "optional": true}, {"name": "b", "type": "long", "required": false}]'
    found = folder.read(
        saved("1.23", None, ('[{"name": "a", "type": "double"}, {"name":\n    "b", "type": "long"}]', text))
    )
    assert [field.required for field in found.fields or ()] == [False, False]


def test_mlflow_is_not_imported(saved: Saved) -> None:
    """Nor is anything that a model would need."""
    folder.read(saved("3.17"))
    assert not {"mlflow", "numpy", "pandas", "sklearn"} & set(sys.modules)


@pytest.mark.parametrize(
    ("version", "old", "new", "key"),
    [
        ("1.23", "model_path: model.pkl", "model_path: ../model.pkl", "python_function.model_path"),
        ("1.23", "pickled_model: model.pkl", "pickled_model: /etc/passwd", "sklearn.pickled_model"),
        ("2.14", "    data: model.lgb\n    env", "    data: ../../model.lgb\n    env", "python_function.data"),
        ("1.0", "data: model.pkl", "data: sub/../../model.pkl", "python_function.data"),
        ("3.17", "path: artifacts/words.json", "path: ../words.json", "artifacts.words.path"),
        ("3.17", "python_model: python_model.pkl", "python_model: /dev/zero", "python_model"),
        ("3.17", "    code: null", "    code: ../code", "python_function.code"),
        ("3.17", "artifact_path: input_example.json", "artifact_path: ../secret.json", "artifact_path"),
        ("3.17", "path: serving_input_example.json", "path: /etc/passwd", "serving_input_path"),
    ],
)
def test_paths_that_leave_the_folder_are_refused(saved: Saved, version: str, old: str, new: str, key: str) -> None:
    """File, key and value are named."""
    error = refused(saved(version, None, (old, new)), "MLmodel", key, "leaves the folder")
    assert error.key.endswith(key)
    assert str(error.value) in new


def test_links_that_leave_the_folder_are_refused(saved: Saved, tmp_path: Path) -> None:
    """Whether MLmodel names them or not; links inside are taken for what they point to, those to folders are not."""
    place = saved("1.23")
    (place / "same.pkl").symlink_to("model.pkl")
    assert folder.read(place).has("same.pkl")
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    link = place / "more" / "link"
    link.parent.mkdir()
    for target in (secret, "/etc/passwd", "../../secret", "nowhere", place.parent, ".."):
        link.symlink_to(target)
        refused(place, "more/link", "is a link")
        link.unlink()


def test_a_linked_mlmodel_is_refused(saved: Saved, tmp_path: Path) -> None:
    """It is looked at before anything else is read."""
    place = saved("1.23")
    (place / "MLmodel").rename(tmp_path / "elsewhere")
    (place / "MLmodel").symlink_to(tmp_path / "elsewhere")
    refused(place, "MLmodel", "is a link, not a file")


def test_pipes_and_odd_names_are_refused(saved: Saved) -> None:
    """Copying a pipe would wait for ever."""
    place = saved("1.23")
    os.mkfifo(place / "pipe")
    refused(place, "pipe", "neither a file nor a folder")
    (place / "pipe").unlink()
    with open(os.fsencode(place) + b"/\xff", "w"):
        pass
    refused(place, "not UTF-8")


def test_bytecode_is_not_taken(saved: Saved) -> None:
    """It is made again where the model is packaged."""
    place = saved("1.23", {"code/__pycache__/a.cpython-38.pyc": "old", "code/a.py": "pass"})
    assert folder.read(place).files == ("MLmodel", "code/a.py", "conda.yaml", "input_example.json", "model.pkl")


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("  python_function:", "  other:", ["flavors.python_function", "is missing", "other"]),
        ("    loader_module: mlflow.sklearn\n", "", ["loader_module", "is missing"]),
        ("loader_module: mlflow.sklearn", "loader_module: [1]", ["loader_module", "is not a text"]),
        ("model_path: model.pkl", "model_path: gone.pkl", ["model_path", "'gone.pkl'", "is not there"]),
        ("model_path: model.pkl", "model_path: 7", ["model_path", "is not a text"]),
        ("  type: dataframe\n", "", ["saved_input_example_info.type", "is missing"]),
        ("  artifact_path: input_example.json", "  artifact_path: {}", ["artifact_path", "is not a text"]),
        ("artifact_path: model\nflavors:", "flavours:", ["flavors", "is missing"]),
        ("  sklearn:\n", "  sklearn: 1\n  x:\n", ["flavors.sklearn", "is not a mapping"]),
        ("signature:\n  inputs: '[", "signature:\n  inputs: '[[", ["signature.inputs", "is not JSON"]),
        ('{"name": "a", "type": "double"}', '{"name": "a"}', ["signature.inputs.0.type", "is missing"]),
        ('{"name": "a", "type": "double"}', '{"name": "a", "type": "tensor"}', ["inputs.0.tensor-spec"]),
        ("signature:\n  inputs: '[{", "signature:\n  inputs: '{}'\n  x: '[{", ["signature.inputs", "not a JSON array"]),
        ('{"name": "a", "type": "double"}', "3", ["signature.inputs.0", "is not a mapping"]),
        ("utc_time_created: '", "mlflow_version: 2.1\nutc_time_created: '", ["mlflow_version", "is not a text"]),
    ],
)
def test_what_is_missing_or_of_a_wrong_type_is_named(saved: Saved, old: str, new: str, parts: list[str]) -> None:
    """With its key."""
    refused(saved("1.23", None, (old, new)), "MLmodel", *parts)


def test_no_folder_and_no_mlmodel(saved: Saved, tmp_path: Path) -> None:
    """Said as such."""
    refused(tmp_path / "nowhere", "there is no such folder")
    refused(saved("1.23", {"MLmodel": None}), "MLmodel", "there is no such file", "save_model")


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {k: 1}\n" + "".join(
    f"{new}: &{new}\n  <<: [*{old}, *{old}]\n" for old, new in zip("abc", "bcd", strict=True)
)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (BOMB, "more than"),
        ("a: &a [*a]", "more than"),
        (MERGES, "merge key"),
        ("[" * 5000, "nested too deeply"),
        ("{a: " * 5000, "nested too deeply"),
        ("a: [" + "x, " * 150_000 + "]", "holds more than"),
        ("a: !!python/object/apply:os.system ['touch owned']", "not YAML of plain values"),
        ("a: !!python/name:os.system", "not YAML of plain values"),
        ("a: 2022-99-99", "not YAML of plain values"),
        ("a: " + "9" * 5000, "not YAML of plain values"),
        ("a: [", "not YAML of plain values"),
        ("a: 1\n---\nb: 2", "not YAML of plain values"),
        ("a: *unknown", "not YAML of plain values"),
        ("{[1]: 2}", "not YAML of plain values"),
        ("- a", "not a mapping"),
        ("1: a", "not a mapping"),
        ("", "not a mapping"),
        ("a: \x00", "not YAML of plain values"),
    ],
    ids=lambda text: text[:16],
)
def test_yaml_that_is_none_of_mlflows_is_refused(tmp_path: Path, text: str, part: str) -> None:
    """Bombs, objects, cycles: with a message, at once, and nothing is run."""
    file = tmp_path / "MLmodel"
    file.write_text(text)
    with pytest.raises(BadInput, match=part) as raised:
        safe_yaml.table(file, remedy="save it again")
    assert raised.value.remedy
    assert not Path("owned").exists()


def test_yaml_that_is_too_large_or_no_text_is_refused(tmp_path: Path) -> None:
    """It is not read then."""
    file = tmp_path / "MLmodel"
    file.write_bytes(b"a: " + b"x" * safe_yaml.MAX_BYTES)
    with pytest.raises(BadInput, match="is larger than"):
        safe_yaml.table(file, remedy="save it again")
    file.write_bytes(b"a: \xff")
    with pytest.raises(BadInput, match="is not UTF-8"):
        safe_yaml.table(file, remedy="save it again")
    with pytest.raises(BadInput, match="is a folder, not a file"):
        safe_yaml.table(tmp_path, remedy="save it again")


def test_aliases_are_read(tmp_path: Path) -> None:
    """PyYAML writes them where MLflow gives it one object twice."""
    file = tmp_path / "MLmodel"
    file.write_text("a: &id001 {x: 1}\nb: *id001\n")
    assert safe_yaml.table(file, remedy="save it again") == {"a": {"x": 1}, "b": {"x": 1}}
