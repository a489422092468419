"""What the cache holds, and clearing it out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import files, leftovers, paths, usage
from harness.errors import MissingComponent
from harness.measure import artifacts
from harness.methods import METHODS
from harness.platforms import builds, engine

Harness = Callable[..., Any]


def keep(method: str, *, image: str | None = None) -> Path:
    """An artifact that an older harness left."""
    folder = paths.cache() / "artifacts" / f"tiny-{method}-{'0' * 24}"
    folder.mkdir(parents=True)
    folder.with_suffix(".lock").touch()
    (folder / "build.json").write_text(json.dumps({"sources": "older", "builds": []}))
    record = {"method": method, "model": "tiny", "digest": "d", "path": str(folder / "built"), "image": image}
    (folder / "artifact.json").write_text(json.dumps(record))
    (folder / "built").write_bytes(bytes(5_000_000))
    os.utime(folder, (1e9, 1e9))
    return folder


def test_what_it_holds_is_told(harness: Harness) -> None:
    """Each folder with its size and what it is for; a lock is no entry."""
    keep("venv")
    (paths.cache() / "left").mkdir()
    found = harness("cache")
    assert found.code == 0
    assert "what was built" in found.out
    assert "not known to this version" in found.out
    assert "1 artifacts (0.01 GB" in found.out
    assert "--prune" in found.out
    table = harness("cache", "--json").json
    (kept,) = [one for one in table["holds"] if one["name"] == "artifacts"]
    assert kept["entries"] == 1
    assert table["outdated"]["artifacts"] == 1
    assert table["bytes"] >= kept["bytes"] >= 5_000_000


def test_an_empty_cache_is_no_error(harness: Harness) -> None:
    """Before the first run there is nothing to tell, and nothing to remove."""
    assert harness("cache").code == 0
    assert "Removed 0" in harness("cache", "--prune").out


def test_what_nothing_asks_for_is_removed(harness: Harness) -> None:
    """And what these sources made stays."""
    old, new = keep("venv"), keep("pex")
    record = new / "build.json"
    record.write_text(json.dumps({"sources": artifacts.own_sources(), "builds": []}))
    assert "Removed 1 artifacts" in harness("cache", "--prune").out
    assert (old.exists(), new.exists()) == (False, True)


def test_images_stay_where_no_engine_answers(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 3, the others are removed, and a later call removes them."""
    asked: list[str] = []

    def missing(_: object) -> None:
        raise MissingComponent("no engine answers", remedy="'harness engine start'")

    image, file = keep("container", image="tiny:1"), keep("venv")
    with monkeypatch.context() as patch:
        patch.setattr(METHODS["container"], "remove", missing)
        found = harness("cache", "--prune")
    assert found.code == 3
    assert "'harness engine start'" in found.err
    assert (image.exists(), file.exists()) == (True, False)
    monkeypatch.setattr(METHODS["container"], "remove", lambda artifact: asked.append(artifact.image))
    table = harness("cache", "--prune", "--json").json
    assert (table["removed"], table["outdated"]["artifacts"]) == (1, 0)
    assert (asked, image.exists()) == (["tiny:1"], False)


def test_nothing_that_lies_in_it_breaks_the_listing(harness: Harness, nested: Any) -> None:
    """Folders nested without end, pipes, names that are no text, records that are none."""
    keep("venv")
    odd = paths.cache() / "odd\n\udcff"
    odd.mkdir()
    for where in (odd, keep("pex")):
        os.mkfifo(where / "pipe")
        nested(where, 3000)
    for name, text in {"a": "[" * 100_000, "b": "[]", "c": '{"sources": 1, "builds": 1}'}.items():
        (keep(name) / "build.json").write_text(text)
    record = keep("d") / "build.json"
    record.unlink()
    os.mkfifo(record)
    found = harness("cache")
    assert found.code == 0
    assert "unknown" in found.out
    assert "cannot be read" in found.out + found.err
    assert {one["name"]: one["bytes"] for one in harness("cache", "--json").json["holds"]}["artifacts"] is None
    assert "Removed 3 artifacts" in harness("cache", "--prune").out
    files.remove(odd)
    assert not odd.exists()


def test_what_killed_harnesses_left_is_removed(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary folders that nobody holds, and images without a name where an engine answers."""
    monkeypatch.setattr(leftovers, "_NEW_S", -1.0)
    monkeypatch.setattr(engine, "look", lambda: ("engine", ""))
    monkeypatch.setattr(builds, "prune_all_stages", lambda _: 2)
    folder = paths.cache() / "tmp" / "disk-abcd1234"
    half, whole = keep("venv"), keep("pex")
    (whole / "build.json").write_text(json.dumps({"sources": artifacts.own_sources(), "builds": []}))
    for name in ("artifact.json", "build.json"):
        (half / name).unlink()
    folder.mkdir(parents=True)
    assert "Removed 4 folders, control groups and images" in harness("cache", "--prune").out
    assert (folder.exists(), half.exists(), whole.exists()) == (False, False, True)
    monkeypatch.setattr(builds, "prune_all_stages", lambda _: 0)
    assert harness("cache", "--prune", "--json").json["leftovers_removed"] == 0


def test_the_budget_is_told_and_held_to_by_prune(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is dropped is no artifact of other versions: it was only used longest ago."""
    folder = keep("venv")
    (folder / "build.json").write_text(json.dumps({"sources": artifacts.own_sources(), "builds": []}))
    os.utime(folder, (1e9, 1e9))
    monkeypatch.setenv("HARNESS_CACHE_BUDGET", "1 MB")
    assert "Budget: 1 MB (set by HARNESS_CACHE_BUDGET)" in harness("cache").out
    assert folder.is_dir()
    found = harness("cache", "--prune")
    assert "Removed 0 artifacts" in found.out
    assert "dropped what was used least recently, 1 entry, 5 MB" in found.out
    assert not folder.exists()
    table = harness("cache", "--prune", "--json").json
    assert table["budget"] == {
        "bytes": 1_000_000,
        "source": "set by HARNESS_CACHE_BUDGET",
        "variable": "HARNESS_CACHE_BUDGET",
    }
    assert table["dropped"] == {"entries": 0, "bytes": 0}


def test_what_is_no_budget_is_bad_input(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is removed."""
    folder = keep("venv")
    monkeypatch.setenv("HARNESS_CACHE_BUDGET", "much")
    found = harness("cache", "--prune")
    assert found.code == 2
    assert "HARNESS_CACHE_BUDGET" in found.err
    assert "20 GB" in found.err
    assert folder.is_dir()


def test_prune_leaves_what_a_running_harness_has_used(harness: Harness) -> None:
    """Though other sources made it."""
    folder = keep("venv")
    usage.used(folder)
    found = harness("cache", "--prune")
    assert "1 artifacts stay: a harness that is running has used them" in found.err
    assert folder.is_dir()
