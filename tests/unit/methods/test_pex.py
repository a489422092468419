"""What the harness does around PEX: the lists it corrects, the bytecode it adds. PEX itself is run by tests/real."""

from __future__ import annotations

import dataclasses
import json
import runpy
import zipfile
from pathlib import Path
from typing import Any

import pytest

from harness import interpreter, process, tree
from harness.errors import BuildFailure
from harness.methods import layout, pex, rehearsal
from harness.methods.contract import BuildOptions, Bytecode
from harness.spec import environments, weights
from harness.spec.weights import LockedModel

pytestmark = pytest.mark.usefixtures("here", "open_door")
PEX_HASH = "0123"


@pytest.fixture
def locked(folder: Any) -> LockedModel:
    """A model that is ready to be packaged, with wheels that leave room for a lot of bytecode."""
    found = weights.locked(folder.read())
    return dataclasses.replace(found, lock=dataclasses.replace(found.lock, wheel_bytes=10**6))


def kept_at(name: str) -> str:
    """Where an archive has the bytecode of a source for the Python that models run under here."""
    return pex._cached(name, interpreter.default())


def options(tmp_path: Path, bytecode: Bytecode = "unchecked-hash") -> BuildOptions:
    return BuildOptions(tool_cache=tmp_path / "tools", bytecode=bytecode)


def archive(file: Path, **sources: str) -> Path:
    """A file as PEX makes it, as far as it matters here: a script in front, sources, PEX-INFO."""
    file.write_text("#!/bin/sh\n")
    with zipfile.ZipFile(file, "a") as made:
        made.writestr("PEX-INFO", json.dumps({"pex_hash": PEX_HASH}))
        for name, source in sources.items():
            made.writestr(name, source)
    return file


def names(file: Path) -> list[str]:
    with zipfile.ZipFile(file) as made:
        return made.namelist()


@pytest.fixture
def rehearsed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A start that loads ``.deps/w.whl/used.py``, without starting anything; compiling makes empty bytecode."""
    asked: list[Any] = []

    def answered(locked: LockedModel, argv: Any, *, writes: Any, **more: Any) -> bool:
        asked.append((argv, more))
        cached = writes[0] / "unzipped_pexes" / "4" / PEX_HASH / kept_at(".deps/w.whl/used.py")
        cached.parent.mkdir(parents=True)
        cached.touch()
        (writes[0] / "unzipped_pexes" / "4" / "other").mkdir()
        return True

    def compiled(folder: Path, **_: Any) -> None:
        for source in folder.rglob("*.py"):
            made = folder / kept_at(source.relative_to(folder).as_posix())
            made.parent.mkdir(exist_ok=True)
            made.write_bytes(b"bytecode")

    monkeypatch.setattr(rehearsal, "answered", answered)
    monkeypatch.setattr(layout, "compile_packages", compiled)
    return asked


SOURCES = {".deps/w.whl/used.py": "1", ".deps/w.whl/unused.py": "2"}


def test_only_what_a_start_loads_gets_bytecode(locked: LockedModel, tmp_path: Path, rehearsed: list[Any]) -> None:
    """It stands beside its source; the script in front stays, and so does every entry that was there."""
    file = archive(tmp_path / "m.pex", **SOURCES)
    before = names(file)
    assert pex._add_bytecode(locked, file, options(tmp_path)) == 1
    assert names(file) == [*before, kept_at(".deps/w.whl/used.py")]
    assert file.read_bytes().startswith(b"#!/bin/sh\n")
    with zipfile.ZipFile(file) as made:
        added = made.infolist()[-1]
        assert made.testzip() is None
    assert added.date_time == (1980, 1, 1, 0, 0, 0)
    assert added.external_attr >> 16 == 0o100644
    [(argv, more)] = rehearsed
    assert argv[-1] == "once"
    assert set(more) == {"disk", "shows", "timeout_s", "weights", "PEX_ROOT", "PEX_IGNORE_RCFILES"}
    assert more["shows"] == (file,)


def test_no_bytecode_that_is_not_wanted(locked: LockedModel, tmp_path: Path, rehearsed: list[Any]) -> None:
    """Nothing is started then."""
    file = archive(tmp_path / "m.pex", **SOURCES)
    assert pex._add_bytecode(locked, file, options(tmp_path, "none")) == 0
    assert rehearsed == []


def test_bytecode_takes_no_more_room_than_pruning_made(
    locked: LockedModel, tmp_path: Path, rehearsed: list[Any]
) -> None:
    """Dependencies that take as much as their wheels leave none: the file stays as PEX made it."""
    file = archive(tmp_path / "m.pex", **SOURCES)
    before = file.read_bytes()
    full = dataclasses.replace(locked, lock=dataclasses.replace(locked.lock, wheel_bytes=2))
    assert pex._add_bytecode(full, file, options(tmp_path)) == 0
    assert file.read_bytes() == before
    tight = dataclasses.replace(locked, lock=dataclasses.replace(locked.lock, wheel_bytes=20))
    assert pex._add_bytecode(tight, file, options(tmp_path)) == 0
    assert names(file) == ["PEX-INFO", *SOURCES]


def test_the_largest_modules_come_first(tmp_path: Path) -> None:
    """They take longest to compile; the file never grows beyond what it may."""
    sources = tmp_path / "sources"
    for name, size in (("small.py", 10), ("large.py", 1000), ("broken.py", 2000)):
        cached = sources / kept_at(name)
        cached.parent.mkdir(parents=True, exist_ok=True)
        (sources / name).write_text("#" * size)
        if name != "broken.py":  # it can't be compiled
            cached.write_bytes(bytes(range(200)))
    for room, expected in ((2000, ["large.py", "small.py"]), (700, ["large.py"]), (100, [])):
        file = archive(tmp_path / f"{room}.pex")
        at_most = file.stat().st_size + room
        added = pex._append(
            file, sources, ["small.py", "large.py", "broken.py"], interpreter.default(), at_most=at_most
        )
        assert names(file)[1:] == [kept_at(name) for name in expected]
        assert added == len(expected)
        assert file.stat().st_size <= at_most


def test_what_the_model_wrote_names_nothing_but_our_own(
    locked: LockedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else lies where it could write is not looked at."""

    def answered(locked: LockedModel, argv: Any, *, writes: Any, **more: Any) -> bool:
        place = writes[0] / "unzipped_pexes" / "4" / PEX_HASH
        place.parent.mkdir(parents=True)
        place.symlink_to("/")
        return True

    monkeypatch.setattr(rehearsal, "answered", answered)
    file = archive(tmp_path / "m.pex", **SOURCES)
    assert pex._loaded(locked, file, options(tmp_path)) == []


def test_lists_say_what_pruning_left(tmp_path: Path) -> None:
    """Files that are gone are not listed; files that were stripped are listed as they are; others as before."""
    packages = tmp_path / "site-packages"
    record = packages / "a-1.dist-info" / "RECORD"
    record.parent.mkdir(parents=True)
    (packages / "same.py").write_text("x")
    (packages / "stripped.so").write_bytes(b"now")
    (packages / "a, b.txt").write_text("x")
    shared = tmp_path / "in-uvs-cache"
    shared.write_text(
        'same.py,sha256=old,1\nstripped.so,sha256=old,99\ngone.py,sha256=old,5\n"a, b.txt",sha256=old,1\n'
        "a-1.dist-info/RECORD,,\n"
    )
    record.hardlink_to(shared)
    before = shared.read_text()
    runpy.run_path(str(pex._RECORDS))["correct"](record)
    assert record.read_text().splitlines() == [
        "same.py,sha256=old,1",
        "stripped.so,sha256=7V65o34tgjGvM4gxm5QZlfbch1XFYEPQzFK1_kBah94,3",
        '"a, b.txt",sha256=old,1',
        "a-1.dist-info/RECORD,,",
    ]
    assert shared.read_text() == before


def test_pex_runs_offline_and_says_what_went_wrong(
    locked: LockedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes from the environment what the lock names, no index; its exit code is a failed build with its log."""
    ran: list[Any] = []

    def run(argv: Any, **how: Any) -> process.Completed:
        ran.append((argv, how))
        return process.Completed(argv=tuple(argv), returncode=1, stdout="", stderr="no such wheel", wall_s=0.1)

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(pex.tools, "executable", lambda *names, **_: Path("/tools/bin") / names[-1])
    one = dataclasses.replace(locked, lock=dataclasses.replace(locked.lock, packages=(("numpy", "2.4"),)))
    monkeypatch.setattr(environments, "install", lambda *_, **__: None)
    with pytest.raises(BuildFailure, match="exit code 1") as raised:
        pex._run_pex(one, tmp_path / "sources", tmp_path, [], options(tmp_path), "m.pex")
    assert raised.value.log == "no such wheel"
    [(argv, how)] = ran
    assert argv[0] == "/tools/bin/pex"
    assert how["policy"].bounds == pex.tools.BOUNDS
    assert {"--no-pypi", "--no-build", "--sh-boot"} <= set(argv)
    assert argv[argv.index("--venv-repository") + 1 :] == [str(tmp_path / "environment"), "numpy==2.4"]
    assert how["env"]["SOURCE_DATE_EPOCH"] == str(tree.FIXED_DATE)
    assert not [name for name in how["env"] if "PROXY" in name.upper() or name.startswith(("PIP_", "UV_"))]


def test_an_answer_that_does_not_come_fails_no_build(
    locked: LockedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit codes and time limits of the model's own say only that nothing was learnt."""
    results: list[Any] = [0, 1, process.TimedOut(["x"], 1, "")]
    given: list[Any] = []

    def run(argv: Any, **how: Any) -> process.Completed:
        given.append(how)
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return process.Completed(argv=tuple(argv), returncode=result, stdout="", stderr="", wall_s=0.1)

    monkeypatch.setattr(process, "run", run)
    found = []
    for number in range(3):
        disk = tmp_path / str(number)
        disk.mkdir()
        found.append(rehearsal.answered(locked, ["x"], disk=disk, shows=(), timeout_s=5.0, A="b"))
    assert found == [True, False, False]
    assert json.loads(given[0]["stdin"]) == {"inputs": [1, 2.5, 3]}
    assert given[0]["timeout_s"] == 5.0
    assert given[0]["policy"].bounds.memory_bytes == locked.model.file.resources.memory_mb * 2**20
    assert given[0]["env"]["A"] == "b"
