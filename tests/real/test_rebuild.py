"""Rebuilds after changes and builds that come to the same, with real tools, for every way of building."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import interpreter, process
from harness.measure import plain, rebuild, reproducing, start
from harness.measure.part import Subject
from harness.measure.sample import Cell
from harness.measure.start import limits_of
from harness.methods import METHODS
from harness.methods.contract import Artifact, BuildOptions, Method, Sizes
from harness.platforms import images
from harness.platforms.depot import Depot
from harness.spec import environments, weights
from harness.spec import model as models
from harness.spec.weights import LockedModel

#: A megabyte of weights and a dependency of 40 modules, both generated: nothing is downloaded for them.
MODEL = "synthetic-w1-f40-i0"
WEIGHT_BYTES = 10**6

#: Where a change of the weights leaves most of what travels as it is.
IN_PIECES = {"container", "sagemaker"}

#: Whose way of building no other's is: the other images are built as these two, the other archives as ``venv``.
OF_THEIR_OWN = ("container", "sagemaker", "venv", "conda", "lambda-zip", "cloud-functions", "pex", "pyinstaller")


@pytest.fixture(params=OF_THEIR_OWN)
def method(request: pytest.FixtureRequest, traces_of: Callable[[str], Any]) -> Method:
    """Each of them that is ready, what it needs being there."""
    traces_of(request.param)
    found: Method = METHODS[request.param]
    available = found.check()
    assert available.ready, available
    return found


def locked_for(method: Method) -> LockedModel:
    """The generated model, ready to be built."""
    model = models.find(MODEL)
    locked = weights.locked(model, extra=method.REQUIREMENTS)
    method.prepare(model)
    return locked


@contextlib.contextmanager
def built(method: Method, locked: LockedModel) -> Iterator[Artifact]:
    """A clean build, in a folder of its own."""
    with process.temporary_folder("case", readable=True) as place, process.temporary_folder("tools") as tools:
        artifact = method.build(locked, place, BuildOptions(tool_cache=tools))
        try:
            yield artifact
        finally:
            method.remove(artifact)


def test_it_is_built_again_after_each_change(
    method: Method, depot: Depot, traces_of: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every build works, the clean one comes to the same as the one before, and nothing is left.

    Of an image the layer of the model travels again, of an archive all.
    """
    locked, traces = locked_for(method), traces_of(method.ID)
    sizes: list[Sizes] = []
    original = method.sizes

    def remembered(artifact: Artifact, depot: Depot) -> Sizes:
        sizes.append(original(artifact, depot))
        return sizes[-1]

    monkeypatch.setattr(method, "sizes", remembered)
    if traces.engine is not None:
        # The registry stays for as long as the depot.
        depot.push(traces.engine, images.base(traces.engine, interpreter.default().minor).tag)
    before = traces.now()
    any_thing: Any = None
    with built(method, locked) as artifact:
        subject = Subject(
            cell=Cell(model=MODEL, method=method.ID),
            method=method,
            locked=locked,
            artifact=artifact,
            installed=any_thing,
            limits=any_thing,
            depot=depot,
        )
        time.sleep(2.1)  # a zip has dates to two seconds
        taken = rebuild.PART.take(subject, "", 0)
    assert traces.since(before) == []
    assert taken.build is not None
    assert (taken.build.differing, taken.build.wall_s > 0) == ((), True)
    assert (taken.absent, taken.note) == ("", "")
    assert min(taken.values.values()) > 0
    assert set(taken.values) == {"build_weights_s", "build_code_s", "build_dependency_s", "update_bytes"}
    for one in sizes:
        assert sum(one.pieces.values()) == one.packed_bytes
        assert 0 <= one.shared_bytes < (one.packed_bytes or 0)
        assert (one.shared_bytes > 0) == (method.ID in IN_PIECES)
    update, packed = taken.values["update_bytes"], sizes[-1].packed_bytes or 0
    assert len(sizes) == 2
    # Random bytes, which nothing makes smaller.
    assert WEIGHT_BYTES < update <= packed
    assert update == packed if method.ID not in IN_PIECES else update < 1.2 * WEIGHT_BYTES


@pytest.mark.parametrize("name", ["container", "venv", "pex"])
def test_a_build_that_differs_is_told_by_the_files(name: str, traces_of: Callable[[str], Any]) -> None:
    """Of an image, a folder and a file."""
    traces_of(name)
    method = METHODS[name]
    locked = locked_for(method)
    with process.temporary_folder("changed", readable=True) as place:
        changed = rebuild.with_other_code(locked, place / "payload")
        with built(method, locked) as one, built(method, changed) as other:
            found = reproducing.differences(method, one, other)
    assert any("predictor" in name for name in found), found


@pytest.mark.parametrize("name", ["digits-forest", "digits-onnx"])
def test_changed_weights_answer_as_before(name: str) -> None:
    """Formats mind no such change, so that a build that asks the model does the same work."""
    model = models.find(name)
    locked = weights.locked(model)
    python = environments.installed(locked.lock)
    with process.temporary_folder("other", readable=True) as place:
        other = rebuild.with_other_weights(locked, place / "payload")
        assert other is not None
        (declared,) = model.file.artifacts
        assert (other.payload / declared.path).stat().st_size > (locked.payload / declared.path).stat().st_size
        with plain.laid_out(other, python) as (method, installed):
            start.right_answers(method, installed, limits_of(model), model)
