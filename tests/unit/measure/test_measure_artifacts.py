"""Artifacts: built once for the same inputs, never taken when they are not whole."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import interpreter, paths
from harness.errors import BuildFailure, MissingComponent
from harness.measure import artifacts
from harness.methods.variants import Variant
from harness.spec import weights
from harness.spec.weights import LockedModel


@pytest.fixture
def one(bench: Any) -> Any:
    """A method."""
    return bench.methods["one"]


@pytest.fixture
def locked(bench: Any) -> LockedModel:
    """A model that is ready to be packaged."""
    return weights.locked(bench.folder.read())


def kept() -> list[Path]:
    """The folders of artifacts."""
    return [path for path in (paths.cache() / "artifacts").iterdir() if path.is_dir()]


def test_the_same_inputs_are_built_once(one: Any, locked: LockedModel) -> None:
    """The second time the record of the first is read."""
    assert artifacts.cached(one, locked) is None
    first = artifacts.up_to_date(one, locked)
    assert artifacts.up_to_date(one, locked) == first == artifacts.cached(one, locked)
    assert one.calls.count("build") == 1
    assert first.path is not None
    assert first.path.is_file()


def test_other_inputs_are_built_anew(bench: Any, one: Any, locked: LockedModel) -> None:
    """Another payload, another bytecode, another method, another interpreter: each has its own artifact."""
    artifacts.up_to_date(one, locked)
    artifacts.up_to_date(one, locked, variant=Variant(bytecode="none"))
    artifacts.up_to_date(bench.methods["two"], locked)
    (bench.folder.path / "predictor.py").write_text("# changed")
    artifacts.up_to_date(one, weights.locked(bench.folder.read()))
    other = dataclasses.replace(interpreter.default(), version="3.12.1")
    artifacts.up_to_date(one, dataclasses.replace(locked, lock=dataclasses.replace(locked.lock, python=other)))
    assert len(kept()) == 5


def test_what_model_toml_says_of_a_start_is_an_input(bench: Any, one: Any, locked: LockedModel) -> None:
    """env and entrypoint are written into every artifact, so another env is another artifact."""
    artifacts.up_to_date(one, locked)
    bench.folder.write(env={"THREADS": "4"})
    artifacts.up_to_date(one, weights.locked(bench.folder.read()))
    assert one.calls.count("build") == 2


DAMAGES: dict[str, Callable[[Path], object]] = {
    "gone": lambda folder: (folder / "built").unlink(),
    "record gone": lambda folder: (folder / "artifact.json").unlink(),
    "record torn": lambda folder: (folder / "artifact.json").write_text('{"method": "o'),
    "record empty": lambda folder: (folder / "artifact.json").write_text(""),
    "record of nothing": lambda folder: (folder / "artifact.json").write_text("null"),
    "record of another form": lambda folder: (folder / "artifact.json").write_text('{"path": null, "colour": 1}'),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_an_artifact_that_is_not_whole_is_built_again(one: Any, locked: LockedModel, what: str) -> None:
    """Whatever happened to the cache, the next use mends it."""
    artifacts.up_to_date(one, locked)
    (folder,) = kept()
    DAMAGES[what](folder)
    assert artifacts.up_to_date(one, locked).path == folder / "built"
    assert one.calls.count("build") == 2


def test_a_build_that_fails_leaves_nothing(one: Any, locked: LockedModel) -> None:
    """Half an artifact is not taken for one."""

    def fail(_: int) -> None:
        raise BuildFailure("refused")

    one.at("build", fail)
    with pytest.raises(BuildFailure):
        artifacts.clean_build(one, locked)
    assert kept() == []


def test_a_clean_build_is_kept_only_where_none_was(one: Any, locked: LockedModel) -> None:
    """The first is kept; a later one is timed and thrown away."""
    assert artifacts.clean_build(one, locked).wall_s >= 0
    first = artifacts.cached(one, locked)
    assert first is not None
    artifacts.clean_build(one, locked)
    assert one.calls.count("build") == 2
    assert artifacts.cached(one, locked) == first
    assert list((paths.cache() / "tmp").iterdir()) == []


def test_an_artifact_that_another_harness_built_meanwhile_is_used(
    one: Any, locked: LockedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waited for the lock looks again: the other may be measuring from that folder."""
    first = artifacts.up_to_date(one, locked)
    cached, answers = artifacts.cached, iter([None])
    monkeypatch.setattr(artifacts, "cached", lambda *a, **k: next(answers, "look") and cached(*a, **k))
    assert artifacts.up_to_date(one, locked) == first
    assert one.calls.count("build") == 1


def test_an_estimate_looks_for_what_these_sources_made(one: Any, locked: LockedModel) -> None:
    """An artifact that an older harness left does not stand for a build; nor does another method's."""
    nothing = (0, frozenset())
    assert artifacts.seem_kept("tiny", "one") == nothing
    artifact = artifacts.up_to_date(one, locked)
    artifacts.clean_build(one, locked)
    artifacts.note(one, locked, artifact, "rebuild", {})
    builds, names = artifacts.seem_kept("tiny", "one")
    assert (builds, "rebuild" in names) == (2, True)
    assert artifacts.seem_kept("tiny", "on") == nothing
    (record,) = (paths.cache() / "artifacts").glob("tiny-one-*/build.json")
    table = json.loads(record.read_text())
    for text in (json.dumps({**table, "sources": "older"}), json.dumps([]), "{"):
        record.write_text(text)
        assert artifacts.seem_kept("tiny", "one") == nothing


def outdate(folder: Path) -> None:
    """Have an older harness made the artifact, which nobody has used since."""
    record = folder / "build.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "sources": "older"}))
    os.utime(folder, (1e9, 1e9))


def test_what_other_sources_made_is_outdated(bench: Any, one: Any, locked: LockedModel) -> None:
    """It is removed, and only it; what is torn or being built belongs to nobody yet."""
    artifacts.up_to_date(one, locked)
    artifacts.up_to_date(bench.methods["two"], locked)
    assert artifacts.outdated() == []
    first, second = sorted(kept())
    for folder in (first, second):
        outdate(folder)
    (second / "artifact.json").unlink()
    (found,) = artifacts.outdated()
    assert (found.folder, found.artifact.method) == (first, "one")
    artifacts.discard(found.folder, found.artifact, bench.methods)
    assert kept() == [second]
    assert "remove" not in one.calls, "a file goes with its folder"


@pytest.mark.parametrize("answers", [True, False])
def test_an_image_goes_with_its_artifact(bench: Any, one: Any, locked: LockedModel, answers: bool) -> None:
    """Where no engine answers, both stay, so that they can be removed later; a method that is gone has no images."""
    artifacts.up_to_date(one, locked)
    (folder,) = kept()
    outdate(folder)
    record = folder / "artifact.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "image": "tiny:1"}))
    (found,) = artifacts.outdated()
    if answers:
        artifacts.discard(found.folder, found.artifact, bench.methods)
        assert "remove" in one.calls
    else:
        one.at("remove", missing)
        with pytest.raises(MissingComponent):
            artifacts.discard(found.folder, found.artifact, bench.methods)
        assert kept() == [folder]
        artifacts.discard(found.folder, found.artifact, {})
    assert kept() == []


def missing(_: int) -> None:
    """No engine answers."""
    raise MissingComponent("no engine answers", remedy="'harness engine start'")


def test_clean_builds_are_kept_in_mind(one: Any, locked: LockedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest of them, with what differed from the first; none of an artifact that is gone or was never built."""
    assert artifacts.kept_builds(one, locked) == []
    first = artifacts.clean_build(one, locked)
    monkeypatch.setattr(artifacts.reproducing, "differences", lambda *_: ["a.py"])
    second = artifacts.clean_build(one, locked)
    assert (first.differing, second.differing) == (None, ("a.py",))
    assert artifacts.kept_builds(one, locked) == [first, second]
    for _ in range(8):
        artifacts.clean_build(one, locked)
    assert len(artifacts.kept_builds(one, locked)) == 8
    assert first not in artifacts.kept_builds(one, locked)
    (folder,) = kept()
    (folder / "built").unlink()
    assert artifacts.kept_builds(one, locked) == []


@pytest.mark.parametrize(
    "text", ["", "null", "[]", '{"builds": 1}', '{"builds": [{"wall_s": "x"}]}', '{"builds": [1]}']
)
def test_builds_that_cannot_be_read_are_none(one: Any, locked: LockedModel, text: str) -> None:
    """They are taken again."""
    artifacts.clean_build(one, locked)
    (folder,) = kept()
    (folder / "build.json").write_text(text)
    assert artifacts.kept_builds(one, locked) == []
    artifacts.clean_build(one, locked)
    assert len(artifacts.kept_builds(one, locked)) == 1


def test_a_note_is_of_one_artifact(one: Any, locked: LockedModel) -> None:
    """What was found of another is not taken for this one's; nor what can't be read."""
    artifact = artifacts.up_to_date(one, locked)
    assert artifacts.noted(one, locked, artifact, "found") is None
    artifacts.note(one, locked, artifact, "found", {"value": 1})
    assert artifacts.noted(one, locked, artifact, "found") == {"value": 1}
    assert artifacts.noted(one, locked, replace(artifact, digest="o" * 64), "found") is None
    (folder,) = kept()
    for text in ("", "[]", "null", "{}"):
        (folder / "found.json").write_text(text)
        assert artifacts.noted(one, locked, artifact, "found") is None
