"""The cache is held to its budget: the oldest goes first, and nothing that is in use."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import paths, usage
from harness.errors import BadInput, MissingComponent
from harness.measure import artifacts, budget
from harness.platforms import engine
from harness.spec import weights

MB = 10**6
USER = """
import sys
from pathlib import Path
from harness import usage
print(usage.used(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def hold(name: str, *, day: int, size: int = 10 * MB, image: str | None = None, **noted: Any) -> Path:
    """An entry of the cache, used on a day long ago."""
    place = paths.cache() / name
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.suffix == ".tar":
        place.write_bytes(bytes(size))
    else:
        place.mkdir()
        (place / "file").write_bytes(bytes(size))
    if name.startswith("artifacts/"):
        record = {"method": "one", "model": "tiny", "digest": "d", "path": str(place / "file"), "image": image}
        (place / "artifact.json").write_text(json.dumps(record))
        (place / "sizes.json").write_text(json.dumps(noted))
    os.utime(place, (1e9 + day, 1e9 + day))
    return place


@pytest.fixture
def allow(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the budget; no engine answers."""
    monkeypatch.setattr(engine, "look", lambda: (None, "there is none"))
    return lambda text: monkeypatch.setenv(budget.VARIABLE, text)


def test_the_budget_follows_from_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smaller of 20 GB and a fifth; what the cache holds counts as free, so it does not bite by itself."""
    monkeypatch.delenv(budget.VARIABLE, raising=False)
    disk = shutil.disk_usage(paths.cache())
    now = [disk]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: now[0])
    for free, held, expected in ((10**12, 0, 20 * 10**9), (40 * 10**9, 10 * 10**9, 10**10), (0, 10**9, 2 * 10**8)):
        now[0] = disk._replace(free=free)
        found = budget.budget(held)
        assert found.bytes == expected
        assert budget.VARIABLE in found.source


def test_the_budget_can_be_set(allow: Callable[[str], None]) -> None:
    """To any size, or to none at all."""
    allow("50 GB")
    assert budget.budget(0).bytes == 50 * 10**9
    assert budget.described() == "50.0 GB: set by HARNESS_CACHE_BUDGET"
    for text in ("none", "0"):
        allow(text)
        assert budget.budget(10**15).bytes is None
        assert budget.described() == "none: set by HARNESS_CACHE_BUDGET"
    allow("")
    assert budget.described() == f"{budget.default()}; HARNESS_CACHE_BUDGET sets another"


def test_what_is_no_size_is_told_before_anything_goes(allow: Callable[[str], None]) -> None:
    """With the variable, its value and what may be written."""
    place = hold("artifacts/old", day=1)
    allow("plenty")
    with pytest.raises(BadInput, match=r"HARNESS_CACHE_BUDGET.*'plenty'") as raised:
        budget.apply({})
    assert "20 GB" in raised.value.remedy
    assert place.is_dir()


def test_the_oldest_goes_first(allow: Callable[[str], None]) -> None:
    """Of whatever kind, until it fits; what was dropped, and the variable, are told."""
    names = (
        "payloads/a",
        "artifacts/b",
        "base/c.tar",
        "environments/d",
        "locks/e/wheels",
        "conda",
        "uv",
        "synthetic/f",
    )
    places = [hold(name, day=day) for day, name in enumerate(names)]
    hold("tools/pip-1", day=0)
    allow("65 MB")
    applied = budget.apply({})
    assert [place.exists() for place in places] == [False] * 3 + [True] * 5
    assert applied.dropped == 3
    assert applied.before_bytes - applied.after_bytes == pytest.approx(30 * MB, rel=0.01)
    (told,) = applied.told
    assert "3 entries, 30 MB" in told
    assert "HARNESS_CACHE_BUDGET" in told
    assert budget.apply({}).told == ()


def test_trained_weights_go_last(allow: Callable[[str], None]) -> None:
    """They may have taken hours."""
    weights, artifact = hold("weights/tiny-1", day=0), hold("artifacts/a", day=5)
    allow("15 MB")
    assert budget.apply({}).dropped == 1
    assert (weights.exists(), artifact.exists()) == (True, False)


def test_without_a_budget_nothing_goes(allow: Callable[[str], None]) -> None:
    """However much there is."""
    place = hold("artifacts/a", day=0)
    allow("none")
    assert budget.apply({}).told == ()
    assert place.exists()


def test_what_is_never_dropped_is_told(allow: Callable[[str], None]) -> None:
    """Tools and records stay; and what is being worked on does not count."""
    place, work = hold("tools/pip-1", day=0, size=20 * MB), hold("tmp/build-abc", day=0)
    allow("10 MB")
    applied = budget.apply({})
    assert (applied.dropped, place.is_dir(), work.is_dir()) == (0, True, True)
    assert "holds 20 MB" in applied.told[0]
    assert "HARNESS_CACHE_BUDGET" in applied.told[0]


@pytest.mark.spawns
def test_what_a_running_harness_uses_stays(allow: Callable[[str], None]) -> None:
    """Another process that began before; once it has ended, it goes."""
    used, other = hold("artifacts/used", day=0), hold("artifacts/other", day=1)
    allow("1 MB")
    argv = [sys.executable, "-c", USER, str(used)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "True\n"
        assert budget.apply({}).dropped == 1
        assert (used.exists(), other.exists()) == (True, False)
        child.kill()
        child.communicate()
    assert budget.apply({}).dropped == 1
    assert not used.exists()


def test_a_wheel_that_has_two_names_is_freed_with_the_last(allow: Callable[[str], None]) -> None:
    """A file's bytes are shared among its names, and looked at again when one has gone."""
    wheel, other = hold("wheelhouse/1", day=0), hold("wheelhouse/2", day=3)
    links = paths.cache() / "locks" / "key" / "wheels"
    links.mkdir(parents=True)
    os.link(wheel / "file", links / "file")
    os.utime(links, (1e9 + 1, 1e9 + 1))
    allow("12 MB")
    applied = budget.apply({})
    assert applied.before_bytes == pytest.approx(20 * MB, rel=0.01)
    assert (wheel.exists(), links.exists(), other.exists()) == (False, False, True)


class Removing:
    """A method whose images are removed, or not."""

    def __init__(self, fails: bool = False) -> None:
        self.removed: list[str | None] = []
        self.fails = fails

    def remove(self, artifact: Any) -> None:
        """Its image goes from the engine's folder."""
        if self.fails:
            raise MissingComponent("no engine answers")
        self.removed.append(artifact.image)
        (paths.cache() / "engine" / "layer").unlink()


@pytest.mark.parametrize(("kind", "goes"), [("private", True), ("reachable", False), (None, False)])
def test_an_image_goes_with_its_artifact(
    kind: str | None, goes: bool, allow: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the private engine, whose folder counts; images of another engine are in no folder of ours."""
    answering = type("Engine", (), {"kind": kind}) if kind else None
    monkeypatch.setattr(engine, "look", lambda: (answering, ""))
    place, later = hold("artifacts/a", day=0, image="tiny:1", unpacked_bytes=30 * MB), hold("artifacts/b", day=1)
    (paths.cache() / "engine").mkdir()
    (paths.cache() / "engine" / "layer").write_bytes(bytes(30 * MB))
    allow("45 MB")
    method = Removing()
    applied = budget.apply({"one": method})  # type: ignore[dict-item]
    assert method.removed == (["tiny:1"] if goes else [])
    assert (place.exists(), later.exists()) == ((False, True) if goes else (True, False))
    assert applied.before_bytes - applied.after_bytes == pytest.approx((40 if goes else 10) * MB, rel=0.01)


def test_an_image_that_cannot_be_removed_keeps_its_artifact(
    allow: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be nobody's else; the others go."""
    monkeypatch.setattr(engine, "look", lambda: (type("Engine", (), {"kind": "private"}), ""))
    place, other = hold("artifacts/a", day=0, image="tiny:1"), hold("artifacts/b", day=1)
    allow("12 MB")
    applied = budget.apply({"one": Removing(fails=True)})  # type: ignore[dict-item]
    assert (applied.dropped, place.exists(), other.exists()) == (1, True, False)


def test_what_was_dropped_is_built_again(bench: Any, allow: Callable[[str], None]) -> None:
    """And what this process has used is dropped only once it renewed."""
    method, locked = bench.methods["one"], weights.locked(bench.folder.read())
    artifacts.up_to_date(method, locked)
    (folder,) = (one for one in (paths.cache() / "artifacts").iterdir() if one.is_dir())
    allow("1 B")
    assert budget.apply(bench.methods).dropped == 0
    usage.renew()
    os.utime(folder, (1e9, 1e9))
    assert budget.apply(bench.methods).dropped >= 1
    assert not folder.exists()
    assert artifacts.up_to_date(method, locked).path == folder / "built"
    assert method.calls.count("build") == 2


def test_a_folder_that_cannot_be_read_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could be read of it counts."""
    hold("artifacts/a", day=0)
    hold("artifacts/b", day=0)
    really = os.scandir

    def scandir(place: Any) -> Any:
        if str(place).endswith("artifacts/b"):
            raise PermissionError(13, "Permission denied")
        return really(place)

    monkeypatch.setattr(os, "scandir", scandir)
    (found,) = (one for one in budget.look() if one.name == "artifacts")
    assert not found.read
    assert found.bytes == pytest.approx(10 * MB, rel=0.01)
