"""Generated models: what a name stands for, and that the same comes out each time."""

from __future__ import annotations

import json
import random
import zipfile
import zlib
from pathlib import Path

import pytest

from harness import tree
from harness.errors import BadInput
from harness.spec import model as models
from harness.spec import synthetic

NAME = "synthetic-w2-f130-i3"


def test_a_name_makes_a_model_folder() -> None:
    """It is found like any model, and reads like any model folder."""
    found = models.find(NAME)
    assert found.name == NAME
    assert found.file.family == "synthetic"
    assert found.file.artifacts[0].bytes == 2_000_000
    assert synthetic.is_generated(found.folder)
    assert not synthetic.is_generated(found.folder.parent)
    assert models.find(NAME).folder == found.folder


def test_it_comes_out_the_same_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another cache, too: results of two machines are of one model."""
    first = tree.digest(synthetic.folder(NAME))
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "other"))
    assert tree.digest(synthetic.folder(NAME)) == first


def test_the_dependency_has_what_was_asked_for() -> None:
    """So many modules, each of which is Python; a record of every file; the loop in its import."""
    (wheel,) = (synthetic.folder(NAME) / "wheels").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        modules = [name for name in archive.namelist() if "/module" in name]
        sources = {name: archive.read(name) for name in archive.namelist() if name.endswith(".py")}
        record = next(archive.read(name).decode() for name in archive.namelist() if name.endswith("RECORD"))
    assert len(modules) == 130
    for name, source in sources.items():
        compile(source, name, "exec")
    assert set(modules) <= {line.split(",")[0] for line in record.splitlines()}
    assert b"range(3000000)" in sources["harness_synthetic/__init__.py"]
    assert sources["harness_synthetic/__init__.py"].count(b"import ") == 20


def test_the_expected_answers_are_those_of_its_weights(tmp_path: Path) -> None:
    """They are computed without training; here the weights are made, and the predictor's sum is taken of them."""
    folder = synthetic.folder(NAME)
    source = random.Random(2)
    weights = source.randbytes(1_000_000) + source.randbytes(1_000_000)
    (tmp_path / "weights.bin").write_bytes(weights)
    assert models.read(folder).file.artifacts[0].sha256 == tree.sha256(tmp_path / "weights.bin")
    examples = json.loads((folder / "examples.json").read_text())
    assert examples["outputs"] == [zlib.crc32(str(n).encode(), zlib.crc32(weights)) for n in examples["inputs"]]


@pytest.mark.parametrize("name", ["synthetic-", "synthetic-w1-f0-i1", "synthetic-w01-f1-i1", "synthetic-w1-f1-i1-x"])
def test_another_name_is_refused_with_one_that_works(name: str) -> None:
    """With the form of a name in the remedy."""
    with pytest.raises(BadInput) as raised:
        models.find(name)
    assert name in raised.value.problem
    assert synthetic.DESIGNS[-1].name in raised.value.remedy


@pytest.mark.parametrize("name", ["synthetic-w4001-f1-i1", "synthetic-w1-f50001-i1", "synthetic-w1-f1-i10001"])
def test_what_would_fill_the_disk_is_refused(name: str) -> None:
    """Before anything is written."""
    with pytest.raises(BadInput, match="is more than"):
        synthetic.folder(name)


def test_the_designed_set_tells_effects_apart() -> None:
    """Every two of the three quantities are uncorrelated over its corners, and each has a middle."""
    corners = synthetic.DESIGNS[:-1]
    quantities = ("weight_mb", "files", "import_work")
    for first in quantities:
        for second in quantities:
            if first != second:
                pairs = [(getattr(one, first), getattr(one, second)) for one in corners]
                assert all(pairs.count(pair) == 2 for pair in pairs)
    middle = synthetic.DESIGNS[-1]
    for name in quantities:
        assert min(getattr(one, name) for one in corners) < getattr(middle, name)
        assert getattr(middle, name) < max(getattr(one, name) for one in corners)
