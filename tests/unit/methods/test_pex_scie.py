"""Whether a scie can be made here is found out quickly, and what is lacking is said; no asset is fetched."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import process, tools
from harness.errors import BuildFailure, MissingComponent
from harness.methods import pex, pex_scie
from harness.methods.contract import Artifact, BuildOptions, Method
from harness.spec import weights

pytestmark = pytest.mark.usefixtures("here", "nothing_cached", "open_door")
LINUX = "linux-x86_64"
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
ARCHIVE = "download/20260320/cpython-3.x+20260320-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz"


@pytest.fixture
def nothing_cached(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What was found out is kept for a process; a test is not one."""
    monkeypatch.delenv(pex_scie.ASSETS, raising=False)
    monkeypatch.setattr(pex_scie, "_platform", lambda: LINUX)
    pex_scie._lack.cache_clear()
    yield
    pex_scie._lack.cache_clear()


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    """A folder with everything, as ``science download`` lays it out, and science."""
    folder = tmp_path / "assets"
    names = pex_scie._names(LINUX, MINOR)[:-1]
    for name in (*names, f"{pex_scie._PROVIDER}/{ARCHIVE}"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    list_in(folder, {"rel_path": ARCHIVE, "target_triple": "x86_64-unknown-linux-gnu"})
    (folder / names[0]).chmod(0o755)
    return folder


def list_in(folder: Path, *entries: Any) -> None:
    (folder / pex_scie._names(LINUX, MINOR)[-1]).write_text(
        json.dumps({"assets": [{"target_triple": "other"}, *entries]})
    )


def test_it_is_a_method() -> None:
    """It has what the contract wants, and needs no Python on the target."""
    method: Method = pex_scie
    assert not method.REQUIRES
    assert "carries-python" in method.PROVIDES


def test_the_versions_are_those_of_the_locked_pex() -> None:
    """What PEX asks for is read from its sources: another PEX may ask for others."""
    assert tools.version("pex") == pex_scie.PEX_VERSION


def test_a_folder_of_assets_is_honoured(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked of the network, and it is used where it is."""
    monkeypatch.setenv(pex_scie.ASSETS, str(assets))
    assert pex_scie.check().ready
    assert pex_scie._assets(MINOR) == assets


def test_what_a_folder_lacks_is_said(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, with what to do; and fetching fails in the same words."""
    monkeypatch.setenv(pex_scie.ASSETS, str(assets))
    jump = pex_scie._names(LINUX, MINOR)[1]
    (assets / jump).unlink()
    found = pex_scie.check()
    assert not found.ready
    assert found.reason == f"{assets} ({pex_scie.ASSETS}) does not have {jump}"
    assert pex_scie.ASSETS in found.remedy
    with pytest.raises(MissingComponent, match="does not have"):
        pex_scie._assets(MINOR)


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([], "has no interpreter for x86_64-unknown-linux-gnu"),
        ([{"rel_path": "../../etc/passwd", "target_triple": "x86_64-unknown-linux-gnu"}], "has no interpreter"),
        ([{"target_triple": "x86_64-unknown-linux-gnu"}], "is not a list of interpreters"),
        ([{"rel_path": "elsewhere.tar.gz", "target_triple": "x86_64-unknown-linux-gnu"}], "elsewhere.tar.gz"),
    ],
)
def test_the_interpreter_is_looked_for_in_the_list(
    assets: Path, monkeypatch: pytest.MonkeyPatch, entries: Any, reason: str
) -> None:
    """A list without one for this machine, or one that leads elsewhere, is told."""
    monkeypatch.setenv(pex_scie.ASSETS, str(assets))
    list_in(assets, *entries)
    assert reason in pex_scie.check().reason


def test_science_must_be_executable(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was only copied there is told apart from one that is not there."""
    monkeypatch.setenv(pex_scie.ASSETS, str(assets))
    (assets / pex_scie._names(LINUX, MINOR)[0]).chmod(0o644)
    assert "is not executable" in pex_scie.check().reason


def test_no_answer_from_github_is_said_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the address that was tried; it is tried once for a process."""
    asked: list[str] = []

    def urlopen(request: urllib.request.Request, timeout: float) -> Any:
        asked.append(request.full_url)
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    for _ in range(2):
        found = pex_scie.check()
        assert not found.ready
        assert "scie-jump" in found.reason
        assert "no route" in found.reason
    assert asked == ["https://github.com/a-scie/lift/releases/download/v0.21.0/science-fat-linux-x86_64"]


def test_a_mirror_is_asked_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what never answers is given up."""
    monkeypatch.setenv(pex_scie.ASSETS, "https://mirror.example/scie/")
    monkeypatch.setattr(pex_scie, "_PATIENCE_S", -0.9)
    asked: list[str] = []
    monkeypatch.setattr(pex_scie.threading, "Thread", lambda **_: type("Never", (), {"start": lambda _: None})())
    found = pex_scie.check()
    assert asked == []
    assert "https://mirror.example/scie/science-fat-linux-x86_64 can't be had (no answer within" in found.reason


def test_other_systems_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to fetch for them."""
    monkeypatch.setattr(pex_scie, "_platform", lambda: "darwin-arm64")
    assert "darwin-arm64" in pex_scie.check().reason


def test_a_mirror_is_copied_once(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file that a build asks for, by its place in the mirror."""
    monkeypatch.setenv(pex_scie.ASSETS, "https://mirror.example/scie")
    asked: list[str] = []

    def urlopen(url: str, timeout: float) -> Any:
        asked.append(url.removeprefix("https://mirror.example/scie/"))
        return (assets / asked[-1].replace("%2B", "+")).open("rb")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    folder = pex_scie._assets(MINOR)
    assert asked == [*pex_scie._names(LINUX, MINOR), f"{pex_scie._PROVIDER}/{ARCHIVE.replace('+', '%2B')}"]
    assert pex_scie._lack_in(folder, LINUX, MINOR) == ""
    assert pex_scie._assets(MINOR) == folder
    assert pex_scie.check().ready
    assert len(asked) == 5


def test_a_mirror_that_fails_leaves_nothing_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt starts anew."""
    monkeypatch.setenv(pex_scie.ASSETS, "https://mirror.example/scie")

    def urlopen(url: str, timeout: float) -> Any:
        raise urllib.error.URLError("reset")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    with pytest.raises(MissingComponent, match="reset"):
        pex_scie._assets(MINOR)
    assert not (pex_scie._cached("https://mirror.example/scie", MINOR) / "complete").exists()


@pytest.mark.parametrize("made", [None, b"#!/bin/sh\nPK...........", b"\x7fELF"])
def test_a_build_that_left_only_the_pex_has_failed(
    folder: Any, assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: bytes | None
) -> None:
    """No file, a PEX under its name, or a launcher without the PEX in it: none of them is a scie."""
    monkeypatch.setenv(pex_scie.ASSETS, str(assets))
    locked = weights.locked(folder.read())

    def write(locked: Any, file: Path, options: Any) -> dict[str, str]:
        file.write_bytes(b"0123456789")
        return {}

    def lift(inside: Path, bench: Path, *_: Any) -> str:
        (bench / "lifted").mkdir()
        if made is not None:
            (bench / "lifted" / locked.model.name).write_bytes(made)
        return "could not fetch"

    monkeypatch.setattr(pex, "write", write)
    monkeypatch.setattr(pex_scie, "_lift", lift)
    (tmp_path / "tools").mkdir()
    with pytest.raises(BuildFailure, match="no executable") as raised:
        pex_scie.build(locked, tmp_path / "work", BuildOptions(tool_cache=tmp_path / "tools"))
    assert raised.value.log == "could not fetch"


def test_a_scie_is_asked_of_pex_with_everything_pinned(
    folder: Any, assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tool by its file, the others from an address on loopback, the interpreter by release and version."""
    monkeypatch.setenv(pex_scie.ASSETS, str(assets))
    locked = weights.locked(folder.read())
    ran: list[Any] = []

    def write(locked: Any, file: Path, options: Any) -> dict[str, str]:
        file.write_bytes(b"0123456789")
        return {"pex": "1"}

    def run(argv: Any, **how: Any) -> process.Completed:
        ran.append((argv, how))
        place = Path(argv[argv.index("--dest-dir") + 1])
        (place / locked.model.name).write_bytes(b"\x7fELF and 0123456789")
        (place / f"{locked.model.name}.pex").touch()
        return process.Completed(argv=tuple(argv), returncode=0, stdout="", stderr="", wall_s=0.1)

    monkeypatch.setattr(pex, "write", write)
    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(tools, "executable", lambda *names: Path("/tools/bin") / names[-1])
    (tmp_path / "tools").mkdir()
    artifact = pex_scie.build(locked, tmp_path / "work", BuildOptions(tool_cache=tmp_path / "tools"))
    assert isinstance(artifact, Artifact)
    assert artifact.path is not None
    assert [path.name for path in artifact.path.parent.iterdir()] == [locked.model.name]
    assert artifact.facts["scie-jump"] == "1.13.0"
    [(argv, how)] = ran
    assert argv[2:4] == [str(pex_scie._SERVING), str(assets)]
    assert argv[4:9] == ["/tools/bin/pex3", "scie", "create", "--style", "eager"]
    assert how["policy"].bounds == tools.BOUNDS
    assert argv[argv.index("--scie-science-binary") + 1] == str(assets / "science-fat-linux-x86_64")
    assert argv[argv.index("--scie-assets-base-url") + 1] == "{url}"
    assert argv[argv.index("--scie-pbs-release") + 1] == "20260320"
    assert "--scie-pbs-stripped" in argv
    assert not [name for name in how["env"] if "PROXY" in name.upper()]
