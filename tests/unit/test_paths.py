"""Where things lie."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from harness import paths
from harness.errors import BadInput


def test_the_cache_is_where_it_is_told_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HARNESS_CACHE names it, also relative to the current folder; it is made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", "a/b")
    assert paths.cache() == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()


def test_the_cache_of_a_user_is_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without HARNESS_CACHE an ordinary user's lies below XDG_CACHE_HOME, else ~/.cache."""
    monkeypatch.delenv("HARNESS_CACHE")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert paths.cache() == tmp_path / "xdg" / "ml-packaging-harness"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.cache() == tmp_path / ".cache" / "ml-packaging-harness"


def test_what_the_cache_holds_is_told() -> None:
    """Every folder that the sources make in it is explained by 'harness cache', and no other."""
    sources = "".join(file.read_text(encoding="utf-8") for file in paths.PACKAGE.rglob("*.py"))
    made = set(re.findall(r"""cache\(\)(?:\.resolve\(\))? / "(\w+)\"""", sources))
    assert made | {"artifacts"} == set(paths.HOLDS)


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_cache_that_cannot_be_made_is_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """The message names the place and the variable."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / place))
    with pytest.raises(BadInput, match="cannot be made") as raised:
        paths.cache()
    assert str(tmp_path / place) in raised.value.problem
    assert "HARNESS_CACHE" in raised.value.remedy


@pytest.mark.parametrize("kind", ["sample_models", "scenarios"])
def test_shipped_data_is_there(kind: str) -> None:
    """In a checkout it lies beside the package."""
    assert paths.data(kind).is_dir()


def test_in_a_wheel_data_lies_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed, data is in the package and results are below the current folder."""
    (tmp_path / "_data" / "scenarios").mkdir(parents=True)
    monkeypatch.setattr(paths, "PACKAGE", tmp_path)
    monkeypatch.delenv("HARNESS_RESULTS")
    monkeypatch.chdir(tmp_path)
    assert paths.data("scenarios") == tmp_path / "_data" / "scenarios"
    assert paths.results() == tmp_path / "results"


def test_results_are_where_they_are_told_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is given goes before HARNESS_RESULTS, and that before the checkout's own."""
    monkeypatch.chdir(tmp_path)
    assert paths.results(Path("given")) == tmp_path / "given"
    monkeypatch.setenv("HARNESS_RESULTS", "from_env")
    assert paths.results() == tmp_path / "from_env"
    monkeypatch.delenv("HARNESS_RESULTS")
    monkeypatch.setattr(paths, "PACKAGE", tmp_path / "checkout" / "harness")
    assert paths.results() == tmp_path / "checkout" / "results"
