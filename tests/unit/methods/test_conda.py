"""The ``conda`` method around its tools: what it makes of their answers. Nothing is solved or installed here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import interpreter, process, tools
from harness.errors import BuildFailure
from harness.methods import conda, hosted
from harness.methods.contract import Artifact, BuildOptions, Installed
from harness.platforms.conda import tooling
from harness.spec import environments


def completed(argv: Any, code: int = 0, stderr: str = "", wall_s: float = 0.0) -> process.Completed:
    """A process that ended so."""
    return process.Completed(argv=tuple(argv), returncode=code, stdout="", stderr=stderr, wall_s=wall_s)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """An artifact that is there."""
    folder = tmp_path / "conda"
    folder.mkdir()
    return Artifact(method="conda", model="tiny", digest="0" * 64, path=folder, facts={"channel": "the one"})


@pytest.mark.usefixtures("here")
def test_it_is_not_ready_where_conda_packages_are_not_made_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """On another processor or without glibc the reason is told."""
    assert conda.check().ready
    monkeypatch.setattr(tooling, "glibc", lambda: None)
    found = conda.check()
    assert not found.ready
    assert "glibc" in found.reason
    assert found.remedy


def test_an_artifact_of_another_channel_is_not_the_one_that_is_wanted(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result must not say a channel that was not asked for; before one was decided on, what is there counts."""
    decided: dict[str, str] = {}
    monkeypatch.setattr(conda, "_channels", decided)
    assert conda.present(artifact)
    decided["tiny"] = "another"
    assert not conda.present(artifact)
    decided["tiny"] = "the one"
    assert conda.present(artifact)
    conda.remove(artifact)
    assert not conda.present(artifact)


def test_an_installation_takes_what_fetching_unpacking_and_conda_unpack_take(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a bucket there is no such number, and none is made up. A cold start reads the artifact alone."""
    for fetched_s, expected_s in ((2.0, 2.5), (None, None)):
        done = Installed(
            artifact=artifact,
            root=tmp_path,
            own_paths=(tmp_path,),
            cold_paths=(tmp_path,),
            install_s=fetched_s,
        )
        monkeypatch.setattr(hosted, "install_archive", lambda *_, done=done: done)
        monkeypatch.setattr(conda, "_unpacked", lambda _: 0.5)
        installed = conda.install(artifact, tmp_path, None)  # type: ignore[arg-type]  # the depot is not reached
        assert installed.install_s == expected_s
        assert installed.cold_paths == (tmp_path,)


@pytest.mark.parametrize(("code", "told"), [(1, "conda-pack ended with exit code 1"), (0, "packed no conda-unpack")])
def test_a_pack_that_failed_is_a_failed_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, told: str
) -> None:
    """Also where conda-pack ends with exit code 0, as it does where it gave up silently."""
    monkeypatch.setattr(tools, "executable", lambda _, name: Path("/tools", name))

    def run(argv: list[str], **_: Any) -> process.Completed:
        (tmp_path / "conda-pack.tar").touch()
        return completed(argv, code, stderr="it said why")

    monkeypatch.setattr(tooling, "run", run)
    with pytest.raises(BuildFailure, match=told) as caught:
        conda._relocatable(tmp_path, tmp_path / "prefix", tmp_path / "conda", 10.0)
    assert "it said why" in str(caught.value)


class Compiling:
    """Stands in for the compiler; ``argv`` is its last command line."""

    def __init__(self) -> None:
        self.argv: list[str] = []

    def __call__(self, argv: list[str], **_: Any) -> process.Completed:
        self.argv = argv
        return completed(argv)


@pytest.fixture
def compiling(monkeypatch: pytest.MonkeyPatch, here: Any, open_door: object) -> Compiling:
    """A compiler that notes how it was called."""
    found = Compiling()
    monkeypatch.setattr(process, "run", found)
    return found


def environment(folder: Path, flags: bytes) -> Path:
    """An environment whose standard library has bytecode with these flags; its site-packages."""
    packages = environments.site_packages(folder, interpreter.default())
    for library in (packages.parent, packages / "dep"):
        (library / "__pycache__").mkdir(parents=True)
        (library / "__pycache__" / "os.cpython-311.pyc").write_bytes(b"\xa7\x0d\x0d\x0a" + flags + bytes(8))
    return packages


@pytest.mark.usefixtures("compiling")
def test_without_bytecode_no_package_has_any(tmp_path: Path) -> None:
    """What channels ship is left out as well; the standard library's is Python's own."""
    packages = environment(tmp_path, b"\x01\0\0\0")
    conda._compile(tmp_path, interpreter.default(), BuildOptions(tool_cache=tmp_path, bytecode="none"))
    assert not list(packages.rglob("*.pyc"))
    assert list(packages.parent.glob("__pycache__/*.pyc"))


@pytest.mark.parametrize(("flags", "all_of_it"), [(b"\x01\0\0\0", False), (b"\x03\0\0\0", False), (bytes(4), True)])
def test_bytecode_that_goes_by_dates_is_made_anew(
    tmp_path: Path, compiling: Compiling, flags: bytes, all_of_it: bool
) -> None:
    """Packing fixes dates, so a channel's Python needs its library compiled again; ours does not."""
    packages = environment(tmp_path, flags)
    conda._compile(tmp_path, interpreter.default(), BuildOptions(tool_cache=tmp_path, bytecode="unchecked-hash"))
    assert compiling.argv[-1] == str(packages.parent if all_of_it else packages)
    assert "unchecked-hash" in compiling.argv
    assert not list(packages.rglob("*.pyc"))


@pytest.mark.parametrize("place", ["lib", "lib/python3.11", "lib/python3.11/site-packages"])
def test_a_package_cannot_lead_the_harness_elsewhere(tmp_path: Path, here: Any, place: str) -> None:
    """The model's files are written among the packages: each folder on the way is one, and no link leaves the whole."""
    place = place.replace("3.11", here.minor)
    root, elsewhere = tmp_path / "conda", tmp_path / "conda" / "elsewhere"
    environments.site_packages(root, interpreter.default()).mkdir(parents=True)
    (root / "bin").mkdir()
    (root / "bin" / "python").symlink_to("python3")
    conda._checked(root, interpreter.default())
    (root / place).rename(elsewhere)
    (root / place).symlink_to(elsewhere)
    with pytest.raises(BuildFailure, match="something else than a folder"):
        conda._checked(root, interpreter.default())
    (root / place).unlink()
    (root / place).symlink_to(tmp_path)
    with pytest.raises(BuildFailure, match=r"harmful: .* leaves the folder"):
        conda._checked(root, interpreter.default())
