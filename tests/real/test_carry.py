"""A sample of the libraries that people use most, packaged by the two methods that break them most easily."""

from __future__ import annotations

from pathlib import Path

import carry
import carry_table
import pytest
from carry_table import Library

TABLE = carry_table.read()
METHODS = ("pex", "pyinstaller")


@pytest.mark.parametrize("library", TABLE.named(TABLE.sample), ids=lambda one: one.name)
def test_a_library_answers_as_it_does_unpackaged(library: Library, cache: Path, tmp_path: Path) -> None:
    found = list(carry.carried(carry.Place(home=tmp_path), library, METHODS, ready=dict.fromkeys(METHODS, "")))

    assert [(one.method, one.verdict, one.reason) for one in found] == [(method, "right", "") for method in METHODS]


def test_a_model_that_answers_everything_alike_says_nothing(cache: Path, tmp_path: Path) -> None:
    source = "def load(model_dir):\n    return 1\n\n\ndef predict(model, inputs):\n    return [model for _ in inputs]\n"
    library = Library(name="constant", rank=1, does="nothing", requirements=(), inputs=(1, 2), predictor=source)

    (one,) = carry.carried(carry.Place(home=tmp_path), library, ["venv"], ready={"venv": ""})

    assert (one.verdict, one.unpackaged) == ("failed", False)
    assert "answered alike" in one.reason


def test_a_model_that_answers_otherwise_each_time_says_nothing(cache: Path, tmp_path: Path) -> None:
    source = "import os\n\n\ndef load(model_dir):\n    return os.urandom(8).hex()\n\n\n"
    source += "def predict(model, inputs):\n    return [[model, one] for one in inputs]\n"
    library = Library(name="random", rank=1, does="nothing", requirements=(), inputs=(1, 2), predictor=source)

    (one,) = carry.carried(carry.Place(home=tmp_path), library, ["venv"], ready={"venv": ""})

    assert (one.verdict, one.unpackaged) == ("failed", False)
    assert "a second start answers" in one.reason
