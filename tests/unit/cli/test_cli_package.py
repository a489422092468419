"""Leaving a package: what is in the folder, and what is never overwritten. Nothing is built here."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import paths
from harness.cli import manuals, package
from harness.errors import ModelFailure
from harness.interpreter import Interpreter
from harness.measure import artifacts, start, verdict
from harness.measure.carried import Carried
from harness.methods import METHODS
from harness.methods.contract import Artifact, Availability, Installed, Limit, Sizes
from harness.platforms import depot
from harness.spec import weights
from harness.spec.locked import Lock
from harness.spec.weights import LockedModel

Harness = Callable[..., Any]


@dataclasses.dataclass
class Stage:
    """What the command finds; a test changes what it wants to see."""

    available: Availability = dataclasses.field(default_factory=lambda: Availability(ready=True))
    right: bool = True
    sizes: Sizes = dataclasses.field(default_factory=lambda: Sizes(packed_bytes=3, unpacked_bytes=7, files=1))
    asked: list[str] = dataclasses.field(default_factory=list)
    carried: Carried = dataclasses.field(
        default_factory=lambda: Carried(machine="x86_64", python="any", glibc="2.17", level=2)
    )
    lacking: tuple[str, ...] = ()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Any, here: Interpreter) -> Stage:
    """The method ``pex`` with an artifact of three bytes of the model ``tiny``, in the place of real packaging."""
    made = Stage()
    method = METHODS["pex"]
    file = tmp_path / "cache" / "tiny.pex"
    file.parent.mkdir()
    file.write_bytes(b"pex")
    file.chmod(0o755)
    requirements = tmp_path / "cache" / "requirements.txt"
    lock = Lock(
        python=here,
        requirements=requirements,
        wheels=file.parent,
        digest="l",
        packages=(("numpy", "2.0"),),
        wheel_bytes=1,
        download_s=None,
    )
    locked = LockedModel(model=folder.read(), lock=lock, payload=folder.path, digest="p")
    artifact = Artifact(method="pex", model="tiny", digest="d" * 64, path=file, facts={"pex": "2.99"})

    def right_answers(*_: Any) -> dict[str, str]:
        made.asked.append("answers")
        if not made.right:
            raise ModelFailure("1 of 3 answers are wrong")
        return {}

    @contextlib.contextmanager
    def session() -> Iterator[None]:
        yield None

    monkeypatch.setattr(method, "check", lambda: made.available)
    monkeypatch.setattr(method, "prepare", lambda *_: None)
    monkeypatch.setattr(method, "install", lambda artifact, *_: Installed(artifact=artifact))
    monkeypatch.setattr(weights, "locked", lambda *_, **__: locked)
    monkeypatch.setattr(artifacts, "up_to_date", lambda *_: artifact)
    monkeypatch.setattr(artifacts, "sizes", lambda *_: made.sizes)
    monkeypatch.setattr(start, "right_answers", right_answers)
    monkeypatch.setattr(depot, "session", session)
    monkeypatch.setattr(verdict, "known", lambda *_, **__: SimpleNamespace(carried=made.carried))
    monkeypatch.setattr(verdict, "lacking", lambda _: made.lacking)
    return made


def leave(harness: Harness, folder: Any, out: Path, *more: str) -> Any:
    """``harness package`` of the model ``tiny`` as ``pex``."""
    return harness("package", folder.path, "--method", "pex", "--out", out, *more)


def test_a_package_is_the_artifact_with_a_readme(harness: Harness, stage: Stage, folder: Any, tmp_path: Path) -> None:
    """The artifact as it travels, an example with its answer, a README, and a record of each file's digest."""
    out = tmp_path / "new" / "package"
    found = leave(harness, folder, out)
    assert found.code == 0
    names = ["README.md", "expected.json", "package.json", "request.json", "tiny.pex"]
    assert sorted(entry.name for entry in out.iterdir()) == names
    assert (out / "tiny.pex").read_bytes() == b"pex"
    assert (out / "tiny.pex").stat().st_mode & 0o111
    assert json.loads((out / "request.json").read_text()) == {"inputs": [1]}
    assert json.loads((out / "expected.json").read_text()) == {"outputs": [2]}
    record = json.loads((out / "package.json").read_text())
    assert sorted([*record["files"], "package.json"]) == names
    for name, file in record["files"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == file["sha256"]
    assert (record["model"]["name"], record["method"]["id"], record["packages"]) == ("tiny", "pex", ["numpy==2.0"])
    assert record["examples_answered_right"] == 3
    assert stage.asked == ["answers"]
    text = (out / "README.md").read_text()
    assert "tiny.pex once < request.json" in text
    assert record["files"]["tiny.pex"]["sha256"] in text
    assert str(tmp_path) not in text + json.dumps(record)
    assert [entry.name for entry in out.parent.iterdir()] == ["package"]


def test_machines_are_told_the_record(harness: Harness, stage: Stage, folder: Any, tmp_path: Path) -> None:
    """With --json on standard output, with the folder."""
    told = leave(harness, folder, tmp_path / "out", "--json").json
    assert told["folder"] == str(tmp_path / "out")
    assert set(told["files"]) == {"tiny.pex", "request.json", "expected.json", "README.md"}


def test_packaging_holds_the_cache_to_its_budget(
    harness: Harness, stage: Stage, folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the package is left; a variable that is no size, and a disk without room, leave none."""
    monkeypatch.setenv("HARNESS_CACHE_BUDGET", "1e3")
    assert leave(harness, folder, tmp_path / "out").code == 2
    monkeypatch.setenv("HARNESS_CACHE_BUDGET", "1 B")
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        found = leave(harness, folder, tmp_path / "out")
        assert (found.code, (tmp_path / "out").exists()) == (1, False)
        assert "there is no room to package tiny" in found.err
    old = paths.cache() / "environments" / "old"
    old.mkdir(parents=True)
    (old / "file").write_bytes(bytes(5_000_000))
    os.utime(old, (1e9, 1e9))
    found = leave(harness, folder, tmp_path / "out", "--json")
    assert found.json["cache"]["dropped_bytes"] >= 5_000_000
    assert "HARNESS_CACHE_BUDGET" in found.err
    assert (old.exists(), (tmp_path / "out" / "package.json").is_file()) == (False, True)


def test_wrong_answers_leave_nothing(harness: Harness, stage: Stage, folder: Any, tmp_path: Path) -> None:
    """Exit code 1; --no-check leaves it, and says that it was not tried."""
    stage.right = False
    found = leave(harness, folder, tmp_path / "out")
    assert found.code == 1
    assert "answers are wrong" in found.err
    assert not (tmp_path / "out").exists()
    assert leave(harness, folder, tmp_path / "out", "--no-check").code == 0
    assert "not tried" in (tmp_path / "out" / "README.md").read_text()
    assert json.loads((tmp_path / "out" / "package.json").read_text())["examples_answered_right"] is None


def test_what_does_not_fit_is_not_left(
    harness: Harness, stage: Stage, folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1 with both numbers; --no-check leaves it, with the limit in its README."""
    limit = Limit(name="zip", value=5, unit="bytes", source="AWS", read_on="2026-11-23", metric="unpacked_bytes")
    monkeypatch.setattr(METHODS["pex"], "LIMITS", (limit,))
    found = leave(harness, folder, tmp_path / "out")
    assert found.code == 1
    assert "does not fit" in found.err
    assert not (tmp_path / "out").exists()
    found = leave(harness, folder, tmp_path / "out", "--no-check")
    assert found.code == 0
    assert "does not fit" in found.err
    assert "**Does not fit: " in (tmp_path / "out" / "README.md").read_text()


def test_a_method_that_is_not_ready_is_a_missing_component(
    harness: Harness, stage: Stage, folder: Any, tmp_path: Path
) -> None:
    """Exit code 3 with the remedy."""
    stage.available = Availability(ready=False, reason="no tool", remedy="get it")
    found = leave(harness, folder, tmp_path / "out")
    assert found.code == 3
    assert "no tool" in found.err
    assert "remedy: get it" in found.err


def test_an_unknown_method_is_bad_input(harness: Harness, folder: Any, tmp_path: Path) -> None:
    """Those that there are are named."""
    found = harness("package", folder.path, "--method", "nonesuch", "--out", tmp_path / "out")
    assert found.code == 2
    assert "container, " in found.err.partition("remedy:")[2]


@pytest.mark.parametrize("kind", ["a file", "below a file", "full", "full, forced", "a package and more, forced"])
def test_nothing_of_others_is_overwritten(
    harness: Harness, stage: Stage, folder: Any, tmp_path: Path, kind: str
) -> None:
    """Exit code 2 before anything is built; everything is as it was."""
    out = tmp_path / "out"
    if kind == "a package and more, forced":
        leave(harness, folder, out)
        stage.asked.clear()
    out.mkdir(exist_ok=True)
    (out / "mine.txt").write_text("mine")
    before = {path: path.read_bytes() for path in out.iterdir()}
    place = {"a file": out / "mine.txt", "below a file": out / "mine.txt" / "x"}.get(kind, out)
    found = leave(harness, folder, place, *(["--force"] if "forced" in kind else []))
    assert found.code == 2
    assert str(place) in found.err
    assert "remedy:" in found.err
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_an_empty_folder_is_filled(harness: Harness, stage: Stage, folder: Any, tmp_path: Path) -> None:
    """It is as good as a new one, also where it is the current one."""
    (tmp_path / "out").mkdir()
    with contextlib.chdir(tmp_path / "out"):
        assert leave(harness, folder, Path()).code == 0
        assert Path("package.json").is_file()


def test_an_earlier_package_is_replaced_where_that_is_asked(
    harness: Harness, stage: Stage, folder: Any, tmp_path: Path
) -> None:
    """Wholly: what the new one has not is gone."""
    out = tmp_path / "out"
    leave(harness, folder, out)
    assert leave(harness, folder, out).code == 2
    record = json.loads((out / "package.json").read_text())
    record["files"]["old.pex"] = {}
    (out / "package.json").write_text(json.dumps(record))
    (out / "old.pex").write_text("old")
    assert leave(harness, folder, out, "--force").code == 0
    assert not (out / "old.pex").exists()
    assert len([*out.iterdir()]) == 5


def test_half_a_package_is_not_left(
    harness: Harness, stage: Stage, folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever breaks while it is written, the folder is not there, and nothing lies beside it."""

    def interrupt(*_: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(manuals, "readme", interrupt)
    place = tmp_path / "places"
    place.mkdir()
    assert leave(harness, folder, place / "out").code == 130
    assert [*place.iterdir()] == []


# --- the manuals ---------------------------------------------------------------------------------


def test_every_method_has_a_manual() -> None:
    """And what it says of requests and answers; none is of a method that there is not, but those to come."""
    assert set(METHODS) <= set(manuals.MANUALS)
    written = {file.stem for file in manuals.FOLDER.glob("*.md")} - {"README"}
    assert written == set(manuals.MANUALS)


@pytest.mark.parametrize("method", METHODS)
def test_a_manual_is_filled(method: str, stage: Stage, folder: Any, here: object, tmp_path: Path) -> None:
    """Every placeholder has a value; there are commands, and what the target needs."""
    locked = weights.locked(folder.read(), extra=())
    artifact = Artifact(
        method=method, model="tiny", digest="d", path=tmp_path, image="harness/tiny:1", facts={"a": "b"}
    )
    known: Any = SimpleNamespace(carried=stage.carried)
    made = package._Package(
        method=METHODS[method], locked=locked, artifact=artifact, sizes=stage.sizes, known=known, checked=True
    )
    (tmp_path / "file").write_text("content")
    text = manuals.readme(made.record(tmp_path, ["file"]), manuals.MANUALS[method])
    assert not re.search(r"\{\{\w+\}\}", text)
    assert "```console\n$ " in text
    assert "request.json" in text
    for limit in METHODS[method].LIMITS:
        assert limit.source in text


def test_what_a_description_says_is_no_placeholder() -> None:
    """A model's description is shown as it is."""
    assert manuals._filled("{{a}} {{b}}", {"a": "{{b}}", "b": "2"}) == "{{b}} 2"


def test_what_it_needs_of_its_target_is_told(harness: Harness, stage: Stage, folder: Any, tmp_path: Path) -> None:
    """On the screen, in the record and in the README; what works here alone is said to."""
    said = leave(harness, folder, tmp_path / "out")
    assert "Needs: x86_64, glibc 2.17 or newer, a Python, a processor of x86-64-v2." in said.out
    assert "Works here" not in said.out
    assert "apt-get" not in (tmp_path / "out" / "README.md").read_text()
    stage.lacking = ("libxcb1",)
    said = leave(harness, folder, tmp_path / "lacking")
    assert "Works here, needs libxcb1 on the target." in said.out
    text = (tmp_path / "lacking" / "README.md").read_text()
    assert "glibc 2.17 or newer" in text
    assert "apt-get install libxcb1" in text
    needs = json.loads((tmp_path / "lacking" / "package.json").read_text())["needs"]
    assert (needs["packages"], needs["python"], needs["level"]) == (["libxcb1"], "any", 2)
