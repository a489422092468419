"""Builds with other bytecode, and with weights elsewhere: right answers, the effect that was asked for, no traces."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import process, tree
from harness.measure import start
from harness.measure.start import limits_of
from harness.methods import METHODS, placement, variants
from harness.methods.contract import Artifact, Installed
from harness.methods.variants import Variant
from harness.platforms.depot import Depot
from harness.spec import model as models
from harness.spec import weights
from harness.spec.model import Model

#: Those that can have their weights elsewhere.
PLACING = [method for method in METHODS if method not in variants.PLACEMENT_REFUSED]

#: Those that are fast to build with a model without dependencies; conda makes a channel first.
QUICK = ["venv", "container", "pex", "rest-api"]


@contextlib.contextmanager
def installed(model: Model, method_id: str, variant: Variant, depot: Depot) -> Iterator[tuple[Artifact, Installed]]:
    """The model built and installed so; nothing of it stays."""
    method = METHODS[method_id]
    assert variants.unsupported(method_id, variant, model) == ""
    locked = weights.locked(model, extra=method.REQUIREMENTS)
    with process.temporary_folder("case", readable=True) as place, process.temporary_folder("tools") as tools:
        artifact = method.build(locked, place, variant.options(tools))
        try:
            assert method.present(artifact)
            (target := place / "target").mkdir(mode=0o755)
            yield artifact, method.install(artifact, target, depot)
        finally:
            method.remove(artifact)
        assert not method.present(artifact)
        left = [file for file in tree.files(place) if placement.FOLDER in file.relative_to(place).parts[:1]]
        assert left == []


def weight_files(folder: Path, model: Model) -> list[Path]:
    """The files below ``folder`` that hold weights, by their contents."""
    digests = {artifact.sha256 for artifact in model.file.artifacts}
    return [file for file in tree.files(folder) if not file.is_symlink() and tree.sha256(file) in digests]


@pytest.mark.parametrize("where", ["mounted", "fetched"])
@pytest.mark.parametrize("method_id", PLACING)
def test_weights_elsewhere(method_id: str, where: Any, depot: Depot, traces_of: Callable[[str], Any]) -> None:
    """The artifact has none; every start has them, cold or warm; getting them is the phase of the weights."""
    model, method = models.find("spam-bayes"), METHODS[method_id]
    traces = traces_of(method_id)
    method.prepare(model)
    weights.locked(model, extra=method.REQUIREMENTS)
    depot.account()
    with installed(model, method_id, Variant(weights=where), depot):
        pass  # what stays for the next: a base image, a registry, a second engine
    before = traces.now()
    with installed(model, method_id, Variant(weights=where), depot) as (artifact, found):
        assert artifact.facts["weights"] == where
        assert int(artifact.facts["weights_bytes"]) == sum(one.bytes or 0 for one in model.file.artifacts)
        if artifact.path is not None and artifact.image is None and artifact.path.is_dir():
            assert weight_files(artifact.path, model) == []
        assert found.weights is not None
        assert len(weight_files(found.weights, model)) == len(model.file.artifacts)
        start.right_answers(method, found, limits_of(model), model)
        for state in ("disk-cold", "page-warm"):
            taken = start.take(method, found, limits_of(model), model, state)
            assert taken.dropped == ""
            assert taken.values["phase_weights_s"] > 0
        assert found.start_fidelity == ("emulated" if where == "fetched" else None)
    assert traces.since(before) == []


@pytest.mark.parametrize("bytecode", ["none", "timestamp", "checked-hash", "unchecked-hash"])
@pytest.mark.parametrize("method_id", QUICK)
def test_bytecode_is_what_was_asked_for(
    method_id: str, bytecode: Any, depot: Depot, traces_of: Callable[[str], Any]
) -> None:
    """Of a model without dependencies: all of it that is ours is from bytecode, or nothing is."""
    traces_of(method_id)
    model, method, variant = models.find("spam-bayes"), METHODS[method_id], Variant(bytecode=bytecode)
    if variants.unsupported(method_id, variant, model):
        assert (method_id, bytecode) in {("pex", "timestamp"), ("pex", "checked-hash")}
        return
    method.prepare(model)
    with installed(model, method_id, variant, depot) as (artifact, found):
        facts = start.right_answers(method, found, limits_of(model), model)
        again = start.right_answers(method, found, limits_of(model), model)
    source = int(facts["modules_from_source"])
    assert artifact.facts["bytecode"].startswith(bytecode if method_id != "pex" else "made on the first start")
    if method_id == "pex":  # it makes room for bytecode by leaving out parts of dependencies, of which there are none
        assert source > 3
        assert int(again["modules_from_source"]) == 0
    elif bytecode == "none":  # nothing is written where an artifact lies: it is so in every start
        assert source == int(again["modules_from_source"]) > 3
    else:
        assert source == 0


@pytest.mark.parametrize("bytecode", ["none", "timestamp"])
def test_bytecode_of_dependencies(bytecode: Any, depot: Depot) -> None:
    """Hundreds of modules: an archive's fixed dates don't make bytecode worthless, not even what goes by dates."""
    model, method = models.find("digits-forest"), METHODS["venv"]
    with installed(model, "venv", Variant(bytecode=bytecode), depot) as (artifact, found):
        assert artifact.path is not None
        compiled = sum(1 for file in tree.files(artifact.path) if file.suffix == ".pyc")
        facts = start.right_answers(method, found, limits_of(model), model)
    counts = int(facts["modules_from_bytecode"]), int(facts["modules_from_source"])
    if bytecode == "none":
        assert compiled == 0
        assert counts[1] > 300
    else:
        assert compiled > 1000
        assert counts[1] <= counts[0] / 50
