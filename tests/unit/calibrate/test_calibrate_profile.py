"""Profiles on disk; taking one is for the real tests."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from harness.calibrate import predicting
from harness.errors import BadInput
from harness.measure import profile as profiles
from harness.measure.needs import Library
from harness.measure.profile import LocalStart


def test_it_comes_back_from_disk(lab: Any, tmp_path: Path) -> None:
    """What is read is what was written; its name has the model and the payload."""
    one = lab.profile("tiny")
    file = profiles.write(one, tmp_path / "profiles")
    assert profiles.read(file) == one
    assert profiles.read(file).digest == one.digest
    assert file.name == f"tiny-{one.payload}.json"


def test_what_it_needs_of_the_system_comes_back_too(lab: Any, tmp_path: Path) -> None:
    """A profile that was made before that was known is read, and keeps the digest that calibrations name."""
    one = lab.profile("tiny", needs=lab.NEEDS)
    assert profiles.read(profiles.write(one, tmp_path)) == one
    without = lab.profile("tiny")
    assert without.digest != one.digest
    file = profiles.write(without, tmp_path)
    table = json.loads(file.read_text())
    del table["needs"], table["built_from_source"], table["python"]
    file.write_text(json.dumps(table))
    assert profiles.read(file).digest == without.digest
    digest = hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()
    assert without.digest == digest


def test_decisions_know_what_a_target_must_have(lab: Any) -> None:
    """The packages that a bare system lacks; a profile that does not say has none."""
    known: dict[str, Any] = {"needed_by": ("a.so",), "loaded": True, "here": True, "in_image": True}
    libraries = (
        Library(soname="liba.so.1", in_base=False, package="liba1", **known),
        Library(soname="libb.so.1", in_base=False, **known),
        Library(soname="libz.so.1", in_base=True, **known),
    )
    noted = predicting._noted(lab.profile("tiny", needs=dataclasses.replace(lab.NEEDS, libraries=libraries)))
    assert noted["system_packages"] == ["liba1", "libb.so.1"]
    assert predicting._noted(lab.profile("tiny"))["system_packages"] == []


@pytest.mark.parametrize("version", [3, 0, None])
def test_other_versions_are_refused(lab: Any, tmp_path: Path, version: object) -> None:
    """With the remedy."""
    file = profiles.write(lab.profile("tiny"), tmp_path)
    file.write_text(json.dumps({**json.loads(file.read_text()), "schema_version": version}))
    with pytest.raises(BadInput, match="schema_version") as refused:
        profiles.read(file)
    assert ("upgrade" if version == 3 else "harness profile") in refused.value.remedy


def test_a_key_that_is_missing_is_named(lab: Any, tmp_path: Path) -> None:
    """The message names file and key."""
    file = profiles.write(lab.profile("tiny"), tmp_path)
    table = json.loads(file.read_text())
    del table["wheel_bytes"]
    file.write_text(json.dumps(table))
    with pytest.raises(BadInput, match="wheel_bytes"):
        profiles.read(file)


def test_medians_are_of_one_state(lab: Any) -> None:
    """None where nothing was taken in it, or where the quantity was not known."""

    def start(state: Any, seconds: float, peak: float | None) -> LocalStart:
        return LocalStart(
            state=state,
            sentinel_s=0.1,
            interpreter_s=0.1,
            imports_s=0.1,
            load_s=0.1,
            predict_s=0.1,
            start_s=seconds,
            peak_resident_bytes=peak,
        )

    starts = (start("page-warm", 3.0, 5.0), start("page-warm", 1.0, None), start("page-warm", 2.0, 7.0))
    one = lab.profile("tiny", starts=starts)
    assert one.median("start_s", "page-warm") == 2.0
    assert one.median("peak_resident_bytes", "page-warm") == 6.0
    assert one.median("cpu_s", "page-warm") is None
    assert one.median("start_s", "disk-cold") is None


def test_the_profile_of_the_model_as_it_is_now_is_found(lab: Any, folder: Any, tmp_path: Path) -> None:
    """The newest of those whose sources are the model's; another model whose name begins alike is another model."""
    model = folder.read()
    assert profiles.find(model) is None
    sources = profiles.sources_digest(model)
    old = lab.profile("tiny", sources=sources, payload="1" * 24, created_at="2024-01-01T00:00:00+00:00")
    new = lab.profile("tiny", sources=sources, payload="2" * 24, created_at="2024-01-02T00:00:00+00:00")
    profiles.write(old, profiles.kept())
    profiles.write(new, tmp_path / "beside")
    profiles.write(lab.profile("tiny-er", sources=sources, created_at="2025"), profiles.kept())
    profiles.write(lab.profile("tiny", payload="3" * 24, created_at="2025"), profiles.kept())
    assert profiles.find(model) == old
    assert profiles.find(model, tmp_path / "beside") == new
    stale = profiles.write(lab.profile("tiny", sources=sources, payload="4" * 24, created_at="2026"), profiles.kept())
    stale.write_text(stale.read_text().replace('"schema_version": 2', '"schema_version": 1'))
    assert profiles.find(model) == old


def test_sources_change_with_code_and_not_with_caches(folder: Any) -> None:
    """Everything that would change the profile changes the digest; prose does not, and large files count by size."""
    before = profiles.sources_digest(folder.read())
    (folder.path / "__pycache__").mkdir()
    (folder.path / "__pycache__" / "predictor.py").write_text("")
    (folder.path / "README.md").write_text("Read me.")
    assert profiles.sources_digest(folder.read()) == before
    seen = {before}
    for name, content in (("data.txt", b"1"), ("data.txt", b"2"), ("large", b"0" * 2**21), ("large", b"1" * 2**22)):
        (folder.path / name).write_bytes(content)
        seen.add(profiles.sources_digest(folder.read()))
    (folder.path / "predictor.py").write_text((folder.path / "predictor.py").read_text() + "\n# changed\n")
    assert len({*seen, profiles.sources_digest(folder.read())}) == 6


def test_bytecode_is_found_by_the_module_name(tmp_path: Path) -> None:
    """Of a module and of a package; of a name that is neither, and of none of ours, there is none."""
    for name in ("a/__pycache__/b.cpython-311.pyc", "a/__pycache__/__init__.cpython-311.pyc", "a/__pycache__/bb.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = {name: [file.name for file in profiles._bytecode_of(tmp_path, name)] for name in ("a", "a.b", "c", "a.c")}
    assert found == {"a": ["__init__.cpython-311.pyc"], "a.b": ["b.cpython-311.pyc"], "c": [], "a.c": []}
