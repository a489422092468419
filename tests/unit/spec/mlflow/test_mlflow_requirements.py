"""What a model needs, from each of the files that MLflow has written it to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.interpreter import Interpreter
from harness.spec.mlflow import requirements
from harness.spec.mlflow.requirements import Needs

Saved = Callable[..., Path]

LOCK = """\
version = 1
requires-python = ">=3.11"

[[package]]
name = "mine"
version = "0.1.0"
source = { virtual = "." }
dependencies = [
    { name = "numpy" },
    { name = "pandas", marker = "sys_platform != 'none'" },
    { name = "pywin32", marker = "sys_platform == 'none'" },
]

[package.dev-dependencies]
dev = [{ name = "pytest" }]

[[package]]
name = "numpy"
version = "2.4.6"
source = { registry = "https://example.org/simple" }

[[package]]
name = "pandas"
version = "3.1.1"
dependencies = [{ name = "python-dateutil" }, { name = "numpy" }, { name = "tzdata", marker = "extra == 'tz'" }]

[[package]]
name = "python-dateutil"
version = "2.9.0"

[[package]]
name = "pytest"
version = "9.0"

[[package]]
name = "pywin32"
version = "300"
"""


@pytest.fixture
def read(here: Interpreter) -> Callable[[Path], Needs]:
    """The needs of a folder for the interpreter of the tests."""
    return lambda folder: requirements.read(folder, here)


def test_requirements_txt_counts_first(saved: Saved, read: Callable[[Path], Needs]) -> None:
    """Also where conda.yaml says less."""
    found = read(saved("2.14"))
    assert found.texts() == ("lightgbm==4.1.0", "mlflow==2.14.2", "numpy==1.26.4")
    assert found.source.name == "requirements.txt"
    assert (found.python, found.notes) == ("3.11.4", ())


def test_conda_yaml_of_1_23(saved: Saved, read: Callable[[Path], Needs]) -> None:
    """The list of pip's; python and pip are not of it."""
    found = read(saved("1.23"))
    assert found.texts() == ("cloudpickle==2.0.0", "mlflow", "scikit-learn==0.24.1")
    assert (found.source.name, found.python) == ("conda.yaml", "3.8.10")


def test_conda_yaml_of_1_0(saved: Saved, read: Callable[[Path], Needs]) -> None:
    """What conda itself would install, by PyPI's names and rules."""
    assert read(saved("1.0")).texts() == ("cloudpickle==0.5.3", "mlflow", "scikit-learn==0.19.1.*")
    text = (
        "dependencies: [python, pip, 'numpy=1.14.*', pandas==0.23.4, 'conda-forge::pytorch=1.1=py3_0', "
        "'scipy>=1.0', six 1.2]"
    )
    found = read(saved("1.0", {"conda.yaml": text})).texts()
    assert found == ("numpy==1.14.*", "pandas==0.23.4", "scipy>=1.0", "six==1.2.*", "torch==1.1.*")


def test_python_env_alone(saved: Saved, read: Callable[[Path], Needs]) -> None:
    """Its own list counts where it has one that is more than a reference."""
    gone: dict[str, str | None] = {"requirements.txt": None, "conda.yaml": None}
    found = read(saved("2.14", {**gone, "python_env.yaml": "python: 3.11.4\ndependencies: [numpy==2.0.0]"}))
    assert (found.texts(), found.source.name) == (("numpy==2.0.0",), "python_env.yaml")
    with pytest.raises(BadInput, match="says what the model needs"):
        read(saved("2.14", gone))


def test_uv_lock_alone(saved: Saved, read: Callable[[Path], Needs]) -> None:
    """What the project itself names for this system, in the versions locked; not its tools for development."""
    gone: dict[str, str | None] = {"requirements.txt": None, "conda.yaml": None}
    found = read(saved("2.14", {**gone, "uv.lock": LOCK}))
    assert (found.texts(), found.source.name) == (("numpy==2.4.6", "pandas==3.1.1"), "uv.lock")
    assert found.pins == {"python-dateutil": "2.9.0"}


def test_uv_lock_pins_what_the_list_leaves_open(saved: Saved, read: Callable[[Path], Needs]) -> None:
    """And what is added to it; a version that the list rules out is not taken."""
    found = read(saved("2.14", {"requirements.txt": "pandas\nnumpy<2\nsix\n", "uv.lock": LOCK}))
    assert found.texts(more=["python-dateutil", "pandas<1"]) == (
        "numpy<2",
        "pandas==3.1.1",
        "python-dateutil==2.9.0",
        "six",
    )


def test_constraints_narrow(saved: Saved, read: Callable[[Path], Needs]) -> None:
    """Those of packages that are named; the others would install what nobody asked for."""
    files = {"requirements.txt": "-c constraints.txt\nNumPy>=1\nsix\n", "constraints.txt": "numpy<2\nother==1\n"}
    assert read(saved("2.14", files)).texts() == ("NumPy<2,>=1", "six")


def test_lines_of_a_requirements_file(saved: Saved, read: Callable[[Path], Needs]) -> None:
    """Comments, hashes, markers, extras, doubles; where packages come from is the user's own business, and said."""
    text = (
        "# made by MLflow\n--extra-index-url https://user:secret@example.org/simple\n--pre\n"
        "numpy==2.4.6 \\\n    --hash=sha256:aa\n\nscipy >= 1 ; python_version >= '3'  # used\n"
        "pywin32==1 ; sys_platform == 'none'\nscipy[x] <2\ntorch==2.1.0+cpu\n"
    )
    found = read(saved("2.14", {"requirements.txt": text}))
    assert found.texts() == ("numpy==2.4.6", "scipy[x]<2,>=1", "torch==2.1.0+cpu")
    assert len(found.notes) == 2
    assert "--extra-index-url" in found.notes[0]
    assert "secret" not in str(found.notes)


@pytest.mark.parametrize(
    "line",
    [
        "-e .",
        "./wheels/mine.whl",
        "mine @ https://example.org/mine.whl",
        "git+https://example.org/x",
        "-r other.txt",
        "a b",
        "==",
    ],
)
def test_what_no_index_has_is_refused(saved: Saved, read: Callable[[Path], Needs], line: str) -> None:
    """With the file and the line."""
    with pytest.raises(BadInput, match=r"requirements\.txt") as raised:
        read(saved("2.14", {"requirements.txt": f"numpy\n{line}\n"}))
    assert line in str(raised.value)
    assert raised.value.remedy


def test_a_list_that_is_no_text_is_refused(saved: Saved, read: Callable[[Path], Needs]) -> None:
    """As it is where it is not UTF-8."""
    place = saved("2.14")
    (place / "requirements.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match=r"requirements\.txt: is not UTF-8"):
        read(place)


def test_two_versions_of_one_package_are_refused(saved: Saved, read: Callable[[Path], Needs]) -> None:
    """Which is meant nobody knows."""
    with pytest.raises(BadInput, match="two versions"):
        read(saved("2.14", {"requirements.txt": "numpy==1.0\nnumpy==2.0\n"}))


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("conda.yaml", "dependencies: 3", "is not a list"),
        ("conda.yaml", "dependencies: [[1]]", "is not a text"),
        ("conda.yaml", "dependencies: ['a  b  c']", "is not a package"),
        ("conda.yaml", "dependencies: [{pip: [{}]}]", "is not a text"),
        ("python_env.yaml", "dependencies: 3", "is not a list"),
        ("python_env.yaml", "dependencies: [3]", "is not a text"),
        ("python_env.yaml", "python: 3.11\ndependencies: [six]", "is not a text"),
        ("uv.lock", "package = 3", "is not a list"),
        ("uv.lock", "[[package]]\nversion = '1'", "package.name"),
        ("uv.lock", "[", "is not valid TOML"),
        ("uv.lock", LOCK.replace("sys_platform != 'none'", "what"), "is not a marker"),
        ("uv.lock", LOCK.replace('version = "', 'version = "what '), "is not a version"),
        ("uv.lock", LOCK.replace('version = "', 'version = "' + "9" * 5000), "is not a version"),
        ("uv.lock", "[[package]]\nname = 'x'\nsource = 3", "is not a table"),
        ("uv.lock", "[[package]]\nname = 'x'\nsource = {virtual = '.'}\ndependencies = 3", "is not a list"),
        ("requirements.txt", "numpy==" + "9" * 5000, "thousand digits"),
    ],
)
def test_wrong_types_are_refused(saved: Saved, read: Callable[[Path], Needs], name: str, text: str, part: str) -> None:
    """With the file that they are in."""
    gone: dict[str, str | None] = {"requirements.txt": None, "conda.yaml": None}
    with pytest.raises(BadInput, match=part) as raised:
        read(saved("2.14", {**gone, name: text}))
    assert name in str(raised.value)


def test_a_list_without_mlflow(saved: Saved, read: Callable[[Path], Needs]) -> None:
    """What is left out is left out, what is added is added once."""
    found = read(saved("2.14"))
    assert found.texts(without=("mlflow",), more=["numpy", "pandas"]) == ("lightgbm==4.1.0", "numpy==1.26.4", "pandas")
    assert json.dumps(found.texts())
