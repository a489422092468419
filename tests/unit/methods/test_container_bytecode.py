"""Which modules of an image are compiled: those that answering the examples loads, as the model's own run says."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import tree
from harness.errors import BuildFailure
from harness.methods import container, imaging, layout, placement
from harness.methods.contract import Artifact, BuildOptions
from harness.platforms import builds, registry
from harness.platforms.images import BaseImage
from harness.spec import weights
from harness.spec.weights import LockedModel

BASE = BaseImage(
    reference="sha256:1", tag="base", source="here", python="/usr/bin/python3", python_minor="3.11", packages=()
)


class Engine:
    """Stands in for an engine: what it was asked to build and remove, and what its containers write and end with."""

    def __init__(self) -> None:
        self.built: list[tuple[str, str, dict[str, str]]] = []
        self.cached: list[bool] = []
        self.removed: list[str] = []
        self.writes: str | None = "/app/dependencies/b.py\n/app/model/predictor.py\n/usr/lib/json.py\n"
        self.code: int | None = 0
        self.settings: dict[str, Any] = {}
        self.examples: Any = None

    def build_image(
        self, _engine: object, context: Path, text: str, tag: str, *, no_cache: bool, **_: object
    ) -> builds.BuiltImage:
        self.cached.append(not no_cache)
        small = {path.name: path.read_text() for path in context.iterdir() if path.is_file()}
        self.built.append((tag, text, small))
        return builds.BuiltImage(id=f"sha256:{len(self.built)}", tag=tag, log="")

    @contextlib.contextmanager
    def running(self, _: object, image: str, *, mounts: Mapping[Path, str], **settings: Any) -> Iterator[Any]:
        if self.code is None:
            raise BuildFailure("no such program", log="")
        (folder,) = mounts
        self.examples = json.loads((folder / "examples.json").read_text())
        self.settings = {"image": image, **settings}
        if self.writes is not None:
            (folder / "used").write_text(self.writes)
        yield SimpleNamespace(wait=lambda _: self.code)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """In the place of the real one."""
    made = Engine()
    monkeypatch.setattr(imaging.engine, "connect", lambda: SimpleNamespace(described="private 1"))
    monkeypatch.setattr(imaging, "bases", lambda *_: (BASE, dataclasses.replace(BASE, tag="build-base")))
    monkeypatch.setattr(imaging.builds, "build_image", made.build_image)
    monkeypatch.setattr(imaging.builds, "remove_image", lambda _, tag: made.removed.append(tag))
    monkeypatch.setattr(imaging.builds, "prune_stages", lambda *_: 0)
    monkeypatch.setattr(imaging.containers, "running", made.running)
    monkeypatch.setattr(layout, "write_sources", lambda *_, **__: None)
    monkeypatch.setattr(os, "chown", lambda *_: None)
    return made


@pytest.fixture
def locked(folder: Any, here: object) -> LockedModel:
    """A model with one dependency."""
    found = weights.locked(folder.read())
    return dataclasses.replace(found, lock=dataclasses.replace(found.lock, packages=(("numpy", "2.0.0"),)))


def build(locked: LockedModel, tmp_path: Path) -> Any:
    """As the harness does."""
    return container.build(locked, tmp_path / "work", BuildOptions(tool_cache=tmp_path / "cache"))


def test_only_what_the_examples_load_is_compiled(engine: Engine, locked: LockedModel, tmp_path: Path) -> None:
    """The stage is built, asked for the examples in bounds, and is gone when the image is there."""
    artifact = build(locked, tmp_path)
    (stage, first, _), (tag, second, listed) = engine.built
    assert (stage, artifact.image, artifact.digest) == (f"{tag}-stage", tag, "sha256:2")
    assert "--compile-bytecode" not in first
    assert "/build/pruning.py --keep /build/keep.txt /app/dependencies tests" in first
    assert second.startswith(f"FROM {stage} AS build\nCOPY used.txt /build/used.txt\n")
    assert '"-i", "/build/used.txt", "/app/model"]' in second
    # What the model's process wrote is read as names of the image's own files, whatever it is.
    assert listed["used.txt"].splitlines() == ["/app/dependencies/b.py", "/app/model/predictor.py"]
    assert artifact.facts["bytecode"] == "unchecked-hash, of the 2 modules that the examples load"
    assert engine.examples == [1, 2.5, 3]
    assert engine.settings["memory_bytes"] == locked.model.file.resources.memory_mb * 2**20
    assert engine.settings["processes"] == locked.model.file.resources.processes
    assert engine.removed == [stage]
    assert engine.cached == [False, False]


def test_what_an_image_was_built_from_is_not_kept_beside_it(
    engine: Engine, locked: LockedModel, tmp_path: Path
) -> None:
    """The model with its weights lies in the payload and in the image."""
    build(locked, tmp_path)
    assert len(engine.built) == 2
    assert list((tmp_path / "work").iterdir()) == []


def test_a_cache_that_is_kept_is_found_by_the_next_build(engine: Engine, locked: LockedModel, tmp_path: Path) -> None:
    """By the tag, which goes by the tool cache; the stage stays until the image is removed."""
    options = BuildOptions(tool_cache=tmp_path / "cache", keep_cache=True)
    first = container.build(locked, tmp_path / "one", options)
    second = container.build(locked, tmp_path / "other", options)
    assert first.image == second.image
    assert engine.cached == [True] * 4
    assert engine.removed == []
    elsewhere = BuildOptions(tool_cache=tmp_path / "another", keep_cache=True)
    assert container.build(locked, tmp_path / "one", elsewhere).image != first.image
    container.remove(second)
    assert engine.removed == [second.image, f"{second.image}-stage"]


def test_a_build_that_fails_leaves_no_stage_even_then(
    engine: Engine, locked: LockedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would know of it."""

    def fail_second(*given: Any, **more: Any) -> builds.BuiltImage:
        if engine.cached:
            raise BuildFailure("no", log="")
        return engine.build_image(*given, **more)

    monkeypatch.setattr(imaging.builds, "build_image", fail_second)
    with pytest.raises(BuildFailure):
        container.build(locked, tmp_path / "one", BuildOptions(tool_cache=tmp_path / "cache", keep_cache=True))
    assert engine.removed == [engine.built[0][0]]


def test_sizes_are_by_layer_and_the_base_is_shared(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many of the lowest layers as the base had when it was built on."""
    layers = tuple(registry.Layer(digest=f"sha256:{n}", compressed_bytes=n) for n in (30, 5, 7))
    pushed = registry.PushedImage(reference="r", digest="d", layers=layers, config_digest="sha256:c", config_bytes=2)
    unpacked = builds.UnpackedSize(total_bytes=100, files=9, source="layers")
    monkeypatch.setattr(imaging.builds, "unpacked_size", lambda *_: unpacked)
    depot: Any = SimpleNamespace(push=lambda *_: pushed)
    made = Artifact(method="container", model="m", digest="d", image="i", facts={"base_layers": "1"})
    sizes = imaging.sizes(made, depot)
    assert (sizes.packed_bytes, sizes.shared_bytes, sum(sizes.pieces.values())) == (44, 30, 44)
    assert dataclasses.asdict(sizes)["pieces"]["sha256:5"] == 5


@pytest.mark.usefixtures("here")
def test_weights_that_are_not_in_the_image_are_shown_to_what_answers_the_examples(
    engine: Engine, folder: Any, locked: LockedModel, tmp_path: Path
) -> None:
    """They lie beside it from then on, and go with it."""
    (folder.path / "w.bin").write_bytes(b"1")
    folder.write(artifacts=[{"path": "w.bin", "sha256": tree.sha256(folder.path / "w.bin")}])
    apart = dataclasses.replace(weights.locked(folder.read()), lock=locked.lock)
    options = BuildOptions(tool_cache=tmp_path / "cache", weights="mounted")
    artifact = container.build(apart, tmp_path / "work", options)
    kept = tmp_path / "work" / placement.FOLDER
    assert engine.settings["shown"] == {kept: "/weights"}
    assert engine.settings["env"]["HARNESS_WEIGHTS"] == "/weights"
    assert (artifact.path, artifact.facts["weights"]) == (kept, "mounted")
    assert (kept / "w.bin").read_bytes() == b"1"
    container.remove(artifact)
    assert not kept.exists()
    assert not container.present(artifact)


@pytest.mark.parametrize(
    ("code", "writes"),
    [(1, "/app/model/x.py"), (0, None), (0, ""), (0, "/app/../etc/x.py\n/etc/x.py\n; rm\n"), (None, None)],
)
def test_a_model_that_does_not_answer_is_built_all_the_same(
    engine: Engine, locked: LockedModel, tmp_path: Path, code: int | None, writes: str | None
) -> None:
    """Everything is compiled then; what is wrong with the model is found out where it is started."""
    engine.code, engine.writes = code, writes
    artifact = build(locked, tmp_path)
    (stage, _, _), (tag, text, _) = engine.built
    assert "--compile-bytecode" in text
    assert text == imaging.dockerfile(
        container.RECIPE, locked, BASE, dataclasses.replace(BASE, tag="build-base"), BuildOptions(tool_cache=tmp_path)
    )
    assert artifact.image == tag
    assert artifact.facts["bytecode"] == "unchecked-hash"
    assert engine.removed == [stage]


def test_nothing_is_run_where_nothing_is_to_be_compiled(engine: Engine, locked: LockedModel, tmp_path: Path) -> None:
    """One build, no start: without bytecode, without dependencies, and for what serves in another way."""
    options = BuildOptions(tool_cache=tmp_path, bytecode="none")
    imaging.build("container", container.RECIPE, locked, tmp_path / "a", options)
    bare = dataclasses.replace(locked, lock=dataclasses.replace(locked.lock, packages=()))
    container.build(bare, tmp_path / "b", BuildOptions(tool_cache=tmp_path))
    other = dataclasses.replace(container.RECIPE, module="server", measured_bytecode=False)
    imaging.build("vertex", other, locked, tmp_path / "c", BuildOptions(tool_cache=tmp_path))
    assert len(engine.built) == 3
    assert not engine.settings


def test_nothing_pruned_where_the_model_says_so(
    engine: Engine, folder: Any, locked: LockedModel, tmp_path: Path
) -> None:
    """``prune = []``."""
    whole = dataclasses.replace(locked, model=folder.write(prune=[]).read())
    artifact = build(whole, tmp_path)
    assert "pruning.py" not in engine.built[0][1]
    assert artifact.facts["pruned"] == "nothing"


@pytest.mark.spawns
def test_the_modules_are_told_by_the_models_own_process(tmp_path: Path) -> None:
    """The program that runs in the stage: the predictor is asked, and what it printed is not in the list."""
    app = tmp_path / "app"
    shutil.copytree(imaging.paths.PACKAGE / "runtime" / "harness_runner", app / "harness_runner")
    (app / "harness_model").mkdir()
    (app / "harness_model" / "helper.py").write_text("")
    (app / "harness_model" / "predictor.py").write_text(
        "def load(folder):\n    return 2\n\n\n"
        "def predict(model, inputs):\n    import helper\n    print('/app/x.py')\n"
        "    return [model * x for x in inputs]\n"
    )
    (tmp_path / "examples.json").write_text("[1, 2]")
    argv = [sys.executable, imaging._USED, tmp_path / "examples.json", tmp_path / "used"]
    subprocess.run(argv, env={"PYTHONPATH": str(app)}, capture_output=True, check=True)
    listed = (tmp_path / "used").read_text().splitlines()
    assert str(app / "harness_model" / "helper.py") in listed
    assert str(app / "harness_runner" / "model.py") in listed
    assert "/app/x.py" not in listed
