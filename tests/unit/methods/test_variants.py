"""Variants of a build: what they are called, and that no method ignores one that it can't honour."""

from __future__ import annotations

import itertools
import typing
from pathlib import Path
from typing import Any

import pytest

from harness import tree
from harness.errors import BadInput
from harness.methods import METHODS, variants
from harness.methods.contract import BuildOptions, Bytecode, Placement
from harness.methods.variants import Variant
from harness.spec import weights

EVERY = [
    Variant(bytecode=bytecode, weights=placement)
    for bytecode, placement in itertools.product(typing.get_args(Bytecode), typing.get_args(Placement))
]


@pytest.mark.parametrize("variant", EVERY, ids=lambda one: one.label)
def test_a_label_reads_as_what_it_is_of(variant: Variant) -> None:
    """There and back; each has its own."""
    assert variants.parse([variant.label]) == variant
    assert [one.label for one in EVERY].count(variant.label) == 1


def test_the_default_is_what_options_are_by_default(tmp_path: Path) -> None:
    """And its label is a word."""
    assert variants.DEFAULT.label == "default"
    assert variants.DEFAULT.options(tmp_path) == BuildOptions(tool_cache=tmp_path)
    assert variants.parse([]) == variants.parse([""]) == variants.parse(["default"]) == variants.DEFAULT


@pytest.mark.parametrize(
    "texts",
    [["bytecode=none,weights=mounted"], ["weights=mounted", "bytecode=none"], [" bytecode = none ,weights=mounted,"]],
)
def test_parts_may_come_together_or_apart(texts: list[str]) -> None:
    """In any order."""
    assert variants.parse(texts) == Variant(bytecode="none", weights="mounted")
    assert variants.parse(texts).label == "bytecode=none,weights=mounted"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bytcode=none", "did you mean 'bytecode'?"),
        ("weights=mount", "did you mean 'mounted'?"),
        ("bytecode", "one of none, timestamp"),
        ("colour=red", "one of bytecode, weights"),
        ("weights=inside,weights=mounted", "one value of each"),
    ],
)
def test_what_is_misspelt_is_told_with_the_nearest(text: str, told: str) -> None:
    """Exit code 2."""
    with pytest.raises(BadInput) as caught:
        variants.parse([text])
    assert told in caught.value.remedy


def test_the_tables_are_of_methods_that_there_are() -> None:
    """A method that is renamed must not be forgotten there."""
    assert {*variants.BYTECODE_REFUSED, *variants.PLACEMENT_REFUSED, *variants._PRUNING_SOURCES} <= set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_builds_the_default(method: str, folder: Any) -> None:
    """Of any model."""
    assert variants.unsupported(method, variants.DEFAULT, folder.read()) == ""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("here")
def test_what_a_method_can_not_honour_it_refuses(method: str, folder: Any, tmp_path: Path) -> None:
    """Before anything is made."""
    (folder.path / "w.bin").write_bytes(b"1")
    folder.write(artifacts=[{"path": "w.bin", "sha256": tree.sha256(folder.path / "w.bin")}])
    locked = weights.locked(folder.read())
    refused = [one for one in EVERY if variants.unsupported(method, one)]
    for variant in refused:
        assert variants.unsupported(method, variant).startswith(f"{method} can't be built with ")
        with pytest.raises(BadInput, match="can't be built with"):
            METHODS[method].build(locked, tmp_path / "work", variant.options(tmp_path))
    assert not (tmp_path / "work").exists()
    taken = {one.weights for one in EVERY if one not in refused}
    assert taken == ({"inside"} if method in variants.PLACEMENT_REFUSED else set(typing.get_args(Placement)))


def test_a_model_without_weights_has_them_nowhere(folder: Any) -> None:
    """Another placement would be a cell that tells nothing."""
    found = variants.unsupported("venv", Variant(weights="fetched"), folder.read())
    assert "lists no weights" in found


def test_a_pex_without_dependencies_has_no_room_for_bytecode(folder: Any) -> None:
    """What was not asked for is not built in its place."""
    asked = Variant(bytecode="checked-hash")
    assert "no dependencies" in variants.unsupported("pex", asked, folder.read())
    assert variants.unsupported("pex", asked, folder.write(requirements=["numpy"]).read()) == ""


def test_without_sources_there_is_no_other_bytecode(folder: Any) -> None:
    """``prune = ["sources"]`` puts bytecode in their place; methods that don't prune don't mind."""
    model = folder.write(prune=["sources"]).read()
    assert "leaves out the sources" in variants.unsupported("container", Variant(bytecode="none"), model)
    assert variants.unsupported("container", variants.DEFAULT, model) == ""
    assert variants.unsupported("venv", Variant(bytecode="none"), model) == ""
