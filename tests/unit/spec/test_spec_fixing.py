"""What is written into a model.toml leaves all else as it is."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput
from harness.spec import fixing

HEAD = """\
# Ours.
spec_version = 1
name = "tiny"   # short
version = "1"
description = "d"
framework = "f"
requirements = [
    "numpy==2.0",  # pinned
]
"""
TAIL = """\
# How it is found.
[env]
A = "b"
"""


def written(folder: Any, text: str, *packages: str) -> str:
    """What model.toml holds afterwards."""
    file: Path = folder.path / "model.toml"
    file.write_bytes(text.encode())
    fixing.add_system_packages(folder.read(), packages)
    return file.read_bytes().decode()


def test_the_line_comes_after_the_requirements(folder: Any) -> None:
    """The comment before a table stays with it; packages are sorted, each once."""
    found = written(folder, HEAD + TAIL, "libxcb1", "libgl1", "libxcb1")
    assert found == f'{HEAD}system_packages = ["libgl1", "libxcb1"]\n{TAIL}'
    assert folder.read().file.system_packages == ("libgl1", "libxcb1")


def test_without_requirements_it_comes_after_the_version(folder: Any) -> None:
    """Never behind a table, whose key it would be."""
    head = HEAD[: HEAD.index("requirements")]
    found = written(folder, head + TAIL, "libgl1")
    assert found == (head + TAIL).replace("spec_version = 1\n", 'spec_version = 1\nsystem_packages = ["libgl1"]\n')


def test_a_file_without_a_last_line_end(folder: Any) -> None:
    """The line stands by itself."""
    assert written(folder, HEAD.rstrip("\n"), "libgl1") == f'{HEAD}system_packages = ["libgl1"]\n'


def test_what_is_there_is_added_to(folder: Any) -> None:
    """With its comments, in its layout; what is named already is not named twice."""
    list_of_lines = 'system_packages = [\n    "libgomp1",  # OpenMP\n]  # Debian\n'
    found = written(folder, HEAD + list_of_lines + TAIL, "libgl1", "libgomp1")
    assert found == HEAD + list_of_lines.replace("OpenMP\n", 'OpenMP\n    "libgl1",\n') + TAIL
    found = written(folder, f'{HEAD}system_packages = ["libgomp1"]  # why\n{TAIL}', "libgl1")
    assert found == f'{HEAD}system_packages = ["libgomp1", "libgl1"]  # why\n{TAIL}'


def test_line_ends_of_other_systems_stay(folder: Any) -> None:
    """Every line has the same end."""
    found = written(folder, (HEAD + TAIL).replace("\n", "\r\n"), "libgl1")
    assert found == f'{HEAD}system_packages = ["libgl1"]\n{TAIL}'.replace("\n", "\r\n")


def test_the_line_is_told_as_it_will_stand(folder: Any) -> None:
    """With what is there already first."""
    folder.write(system_packages=["libz1", "liba1"])
    line = 'system_packages = ["libz1", "liba1", "libb1"]'
    assert fixing.line(folder.read(), ["libb1", "liba1"]) == line
    assert fixing.add_system_packages(folder.read(), ["libb1", "liba1"]) == line
    assert tomllib.loads((folder.path / "model.toml").read_text())["system_packages"] == ["libz1", "liba1", "libb1"]


def test_what_cannot_be_changed_is_told_with_the_line(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written."""
    model, file = folder.read(), folder.path / "model.toml"
    before = file.read_bytes()
    monkeypatch.setattr(fixing, "_changed", lambda *_: "name = 1")
    with pytest.raises(BadInput, match="cannot be changed by itself") as refused:
        fixing.add_system_packages(model, ["libgl1"])
    assert 'system_packages = ["libgl1"]' in refused.value.remedy
    assert file.read_bytes() == before


def test_a_link_in_its_place_is_not_written_through(folder: Any, tmp_path: Path) -> None:
    """Put there after the model was read."""
    model, file = folder.read(), folder.path / "model.toml"
    os.rename(file, tmp_path / "elsewhere.toml")
    file.symlink_to(tmp_path / "elsewhere.toml")
    with pytest.raises(BadInput, match="is a link"):
        fixing.add_system_packages(model, ["libgl1"])
