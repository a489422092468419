"""What goes into artifacts: sources, a Dockerfile, an archive. Nothing is built here."""

from __future__ import annotations

import dataclasses
import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness import interpreter, process, tree
from harness.errors import BuildFailure, HarnessError
from harness.methods import METHODS, container, hosted, imaging, layout, pex
from harness.methods.contract import Artifact, BuildOptions
from harness.platforms.depot import Fetched
from harness.platforms.images import BaseImage
from harness.runtime import RUNNER
from harness.spec import weights
from harness.spec.weights import LockedModel

pytestmark = pytest.mark.usefixtures("here")
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def locked(folder: Any) -> LockedModel:
    """A model that is ready to be packaged."""
    folder.write(env={"B": "it's", "A": "1"}, description="Doubles <numbers>.")
    return weights.locked(folder.read())


def names(folder: Path) -> list[str]:
    """The files below ``folder``."""
    return [file.relative_to(folder).as_posix() for file in tree.files(folder)]


def test_the_sources_are_the_runner_and_the_model(locked: LockedModel, tmp_path: Path) -> None:
    """No bytecode, no stray file; dates fixed, readable by everyone."""
    layout.write_sources(locked, tmp_path / "out", bytecode="none")
    runner = [f"harness_runner/{name}" for name in sorted(p.name for p in RUNNER.glob("*.py")) if name != "placing.py"]
    assert names(tmp_path / "out") == ["harness_model/predictor.py", *runner]
    for file in tree.files(tmp_path / "out"):
        assert file.stat().st_mtime == tree.FIXED_DATE
        assert file.stat().st_mode & 0o777 == 0o644


def test_what_a_start_needs_of_model_toml_is_written_as_python(locked: LockedModel, tmp_path: Path) -> None:
    """The entry point and the environment, whatever signs are in them, in a fixed order."""
    layout.write_sources(locked, tmp_path / "out", bytecode="none")
    found = runpy.run_path(str(tmp_path / "out" / "harness_runner" / "packaged.py"))
    assert found["ENTRYPOINT"] == "predictor.py"
    assert list(found["ENVIRONMENT"].items()) == [("A", "1"), ("B", "it's")]


def test_the_sources_are_the_same_every_time(locked: LockedModel, tmp_path: Path) -> None:
    """Two builds have one digest."""
    for name in ("one", "two"):
        layout.write_sources(locked, tmp_path / name, bytecode="none")
    assert tree.digest(tmp_path / "one") == tree.digest(tmp_path / "two")


def test_a_form_page_gets_name_description_and_example(locked: LockedModel, tmp_path: Path) -> None:
    """As JSON, with a fixed date."""
    layout.write_examples(locked, tmp_path)
    found = json.loads((tmp_path / "about.json").read_text())
    assert found == {"name": "tiny", "version": "1.0", "description": "Doubles <numbers>.", "example": 1}
    assert (tmp_path / "about.json").stat().st_mtime == tree.FIXED_DATE


def compile_bytecode(folder: Path) -> None:
    """As a method does."""
    layout.compile_bytecode(folder, python=interpreter.default(), bytecode="checked-hash")


@pytest.mark.usefixtures("open_door")
def test_bytecode_that_cannot_be_made_is_a_build_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the compiler said is in the message."""

    def run(argv: list[str], **_: Any) -> process.Completed:
        # Relative to the folder that it is in, so that bytecode is the same wherever that lies.
        assert argv[-5:] == ["--invalidation-mode", "checked-hash", "-s", str(tmp_path.parent), str(tmp_path)]
        return process.Completed(argv=tuple(argv), returncode=1, stdout="SyntaxError: x.py", stderr="", wall_s=0.1)

    monkeypatch.setattr(process, "run", run)
    layout.compile_bytecode(tmp_path, python=interpreter.default(), bytecode="none")
    with pytest.raises(BuildFailure, match=r"SyntaxError: x\.py"):
        compile_bytecode(tmp_path)


@pytest.mark.usefixtures("open_door")
@pytest.mark.parametrize("method", ["venv", "pex", "layout"])
def test_a_tool_that_hangs_is_a_build_failure(
    locked: LockedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Its time limit and the end of what it printed stand in the message."""

    def run(argv: list[str], **_: Any) -> process.Completed:
        raise process.TimedOut(argv, 900, "resolving")

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(pex.tools, "executable", lambda tool, *_, **__: Path("/tools/bin") / tool)
    monkeypatch.setattr(layout, "write_sources", lambda *_, **__: None)
    (tmp_path / "cache").mkdir(exist_ok=True)
    options = BuildOptions(tool_cache=tmp_path / "cache")
    build: Any = METHODS[method].build if method in METHODS else lambda *_: compile_bytecode(tmp_path)
    with pytest.raises(BuildFailure, match=r"(?s)did not end within 900 s.*resolving"):
        build(locked, tmp_path, options)


def test_a_fresh_folder_is_empty(tmp_path: Path) -> None:
    """What an earlier build left there is gone."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "old").touch()
    assert list(layout.fresh_folder(tmp_path, "x").iterdir()) == []


BASE = BaseImage(
    reference="sha256:1",
    tag="ml-packaging-harness/base:3.11",
    source="debian bookworm",
    python="/usr/bin/python3.11",
    python_minor="3.11",
    packages=(),
)
BUILD_BASE = dataclasses.replace(BASE, reference="sha256:2", tag="ml-packaging-harness/base:3.11-build")


@pytest.mark.parametrize(
    ("name", "packages", "bytecode"),
    [
        ("container", (("numpy", "2.0.0"),), "unchecked-hash"),
        ("container-without-dependencies", (), "unchecked-hash"),
        ("container-without-bytecode", (("numpy", "2.0.0"),), "none"),
    ],
)
def test_the_dockerfile_is_the_golden_file(
    locked: LockedModel, tmp_path: Path, name: str, packages: tuple[tuple[str, str], ...], bytecode: Any
) -> None:
    """Multi-stage, offline, by hash, non-root; to change it on purpose, change the golden file with it."""
    model = dataclasses.replace(locked, lock=dataclasses.replace(locked.lock, packages=packages))
    options = BuildOptions(tool_cache=tmp_path, bytecode=bytecode)
    found = imaging.dockerfile(container.RECIPE, model, BASE, BUILD_BASE, options)
    assert found == (GOLDEN / f"{name}.Dockerfile").read_text()


class FakeDepot:
    """Fetches by copying, in half a second."""

    def fetch(self, file: Path, to: Path) -> Fetched:
        """Copy it."""
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, to)
        return Fetched(seconds=0.5, fidelity="emulated")


def artifact(tmp_path: Path) -> Artifact:
    """A folder that was built."""
    folder = tmp_path / "work" / "venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to("/usr/bin/python3")
    (folder / "app.py").write_text("x" * 1000)
    return Artifact(method="venv", model="tiny", digest=tree.digest(folder), path=folder)


def test_a_folder_travels_as_an_archive(tmp_path: Path) -> None:
    """Packed once; what is unpacked on the target is what was built; removing leaves nothing."""
    one = artifact(tmp_path)
    sizes = hosted.folder_sizes(one)
    assert (sizes.unpacked_bytes, sizes.files) == (1000 + len("/usr/bin/python3"), 2)
    archive = hosted.archive_of(one)
    assert sizes.packed_bytes == archive.stat().st_size
    assert (sizes.pieces, sizes.shared_bytes) == ({f"sha256:{tree.sha256(archive)}": archive.stat().st_size}, 0)
    installed = hosted.install_archive(one, tmp_path / "target", FakeDepot())
    assert installed.root == tmp_path / "target" / "app"
    assert tree.digest(installed.root) == one.digest
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["app"]
    assert (installed.install_s or 0) > 0.5
    assert installed.install_fidelity == "emulated"
    assert installed.own_paths == (installed.root,)
    assert installed.root in installed.cold_paths
    assert hosted.present(one)
    hosted.remove(one)
    assert not hosted.present(one)
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "rubbish", "empty"])
def test_a_damaged_archive_is_an_error_of_ours(tmp_path: Path, damage: str) -> None:
    """An archive in the cache that is not whole fails its cell with a reason, or is packed anew; no traceback."""
    one = artifact(tmp_path)
    archive = hosted.archive_of(one)
    whole = archive.read_bytes()
    archive.write_bytes({"cut": whole[:-20], "rubbish": b"rubbish", "empty": b""}[damage])
    try:
        root = hosted.install_archive(one, tmp_path / "target", FakeDepot()).root
    except (HarnessError, OSError):
        return
    assert tree.digest(root) == one.digest


def test_a_single_file_is_copied_for_everyone(tmp_path: Path) -> None:
    """PEX: one file, whose extraction folder is empty and must be so for a cold start."""
    file = tmp_path / "work" / "tiny.pex"
    file.parent.mkdir()
    file.write_bytes(b"x" * 100)
    one = Artifact(method="pex", model="tiny", digest="d", path=file)
    (tmp_path / "target").mkdir()
    installed = pex.install(one, tmp_path / "target", FakeDepot())
    assert (installed.root / "tiny.pex").stat().st_mode & 0o777 == 0o755
    assert [list(cache.iterdir()) for cache in installed.extraction_caches] == [[]]
    assert set(installed.extraction_caches) <= set(installed.cold_paths)
    sizes = pex.sizes(one, FakeDepot())
    assert (sizes.packed_bytes, sizes.unpacked_bytes, sizes.files) == (100, 100, 1)
    assert list(sizes.pieces.values()) == [100]
    pex.remove(one)
    assert not pex.present(one)
