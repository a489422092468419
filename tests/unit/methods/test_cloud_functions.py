"""The function for Google Cloud Functions: what is uploaded, what its deployment does, what it answers."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import json
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import process, tree
from harness.errors import DoesNotFit
from harness.methods import cloud_functions, hosted, layout
from harness.methods.contract import Artifact, Availability, BuildOptions
from harness.platforms import namespaces
from harness.platforms.depot import Fetched
from harness.spec import environments, weights
from harness.spec.locked import Lock, Source
from harness.spec.weights import LockedModel

WHEELS = ("functions_framework-3.10.2-py3-none-any.whl", "numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl")

# --- the function --------------------------------------------------------------------------------


@pytest.fixture
def function(runner: Any) -> Any:
    """``main.py``, imported from its path as the framework does."""
    spec = importlib.util.spec_from_file_location("main", cloud_functions._SOURCE / "main.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def asked(function: Any, value: Any) -> tuple[Any, int]:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    said, status, headers = function.predict(SimpleNamespace(stream=io.BytesIO(text)))
    assert headers == {"Content-Type": "application/json"}
    return json.loads(said), status


def test_the_model_is_loaded_by_the_first_request(function: Any, runner: Any) -> None:
    """Not when the file is imported: the framework forks its worker after that. And once only."""
    assert "weights" not in runner.stamps
    assert asked(function, {"inputs": [1, 4]}) == ({"outputs": [2, 8]}, 200)
    loaded_s = runner.stamps["weights"]
    assert asked(function, {"inputs": []}) == ({"outputs": []}, 200)
    assert runner.stamps["weights"] == loaded_s
    told, _ = asked(function, {"facts": True})
    assert told["facts"]["python"] == sys.version.split()[0]


def test_a_model_that_cannot_be_loaded_answers_with_the_reason(function: Any, runner: Any) -> None:
    """Every time, without trying again."""
    (runner.PACKAGED / "predictor.py").write_text(
        "def load(model_dir):\n    raise OSError('no weights')\n\n\ndef predict(model, inputs):\n    return inputs\n"
    )
    for _ in range(2):
        said, status = asked(function, {"inputs": [1]})
        assert status == 500
        assert (said["error"]["stage"], said["error"]["type"]) == ("load", "OSError")


@pytest.mark.parametrize("question", [b"{", {"inputs": [None]}, {}])
def test_what_fails_is_said(function: Any, question: Any) -> None:
    """Whatever it is."""
    said, status = asked(function, question)
    assert status == 500
    assert said["error"]["stage"] == "predict"


# --- what is uploaded ----------------------------------------------------------------------------


@pytest.fixture
def locked(folder: Any, here: Any, tmp_path: Path) -> LockedModel:
    """A model whose lock names two wheels."""
    made = weights.locked(folder.read())
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name in WHEELS:
        (wheels / name).write_bytes(b"wheel")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("functions-framework==3.10.2 --hash=sha256:00\n")
    packages = (("functions-framework", "3.10.2"), ("numpy", "2.4.6"))
    lock = dataclasses.replace(made.lock, wheels=wheels, requirements=requirements, packages=packages)
    return dataclasses.replace(made, lock=lock)


@pytest.fixture
def built(locked: LockedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    """It, built; bytecode is another test's business."""
    monkeypatch.setattr(layout, "compile_bytecode", lambda *_, **__: None)
    return cloud_functions.build(locked, tmp_path / "work", BuildOptions(tool_cache=tmp_path / "cache"))


def test_the_source_is_what_google_wants(built: Artifact, locked: LockedModel) -> None:
    """``main.py``, requirements with hashes, the model; no wheel is in what is uploaded."""
    assert built.path is not None
    names = {file.relative_to(built.path).as_posix() for file in tree.files(built.path)}
    assert {"main.py", "requirements.txt", "harness_model/predictor.py", "harness_runner/packaged.py"} <= names
    assert not [name for name in names if name.endswith(".whl")]
    assert (built.path / "requirements.txt").read_bytes() == locked.lock.requirements.read_bytes()
    assert {file.name for file in (built.path.parent / "wheels").iterdir()} == set(WHEELS)
    assert {file.stat().st_mtime for file in tree.files(built.path)} == {tree.FIXED_DATE}


def test_what_was_built_here_travels_by_its_source(
    locked: LockedModel, installs: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Google has another wheel's digest; what is installed here is the wheel that was built, and that is said."""
    wheel, source = "a" * 64, "b" * 64
    text = f"docopt==0.6.2 \\\n    --hash=sha256:{wheel}\n    # built from source sha256:{source}\n"
    locked.lock.requirements.write_text(text)
    sources = (Source(name="docopt", version="0.6.2", sdist=source, wheel=wheel),)
    locked = dataclasses.replace(locked, lock=dataclasses.replace(locked.lock, sources=sources))
    monkeypatch.setattr(layout, "compile_bytecode", lambda *_, **__: None)
    built = cloud_functions.build(locked, tmp_path / "work", BuildOptions(tool_cache=tmp_path / "cache"))
    assert built.path is not None
    uploaded = (built.path / "requirements.txt").read_text()
    assert (f"sha256:{source} " in uploaded.replace("\n", " "), f"sha256:{wheel}" in uploaded) == (True, False)
    assert built.facts["built_at_deployment"].startswith("docopt;")
    cloud_functions.sizes(built, Depot())  # type: ignore[arg-type]
    assert installs[0][0].requirements.read_text() == text


def test_it_is_the_same_every_time(
    built: Artifact, locked: LockedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Digest and zip."""
    again = cloud_functions.build(locked, tmp_path / "again", BuildOptions(tool_cache=tmp_path / "cache"))
    assert again.digest == built.digest
    archives = [cloud_functions.archive_of(each) for each in (built, again)]
    assert archives[0] != archives[1]
    assert archives[0].read_bytes() == archives[1].read_bytes()


# --- its deployment ------------------------------------------------------------------------------


@pytest.fixture
def installs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Lock, str]]:
    """The environments that are made, of one file of 1000 bytes each."""
    made: list[tuple[Lock, str]] = []

    def install(lock: Lock, folder: Path, *, cache: Path, bytecode: str, timeout_s: float) -> None:
        made.append((lock, bytecode))
        folder.mkdir()
        (folder / "numpy.py").write_bytes(b"#" * 1000)

    monkeypatch.setattr(environments, "install", install)
    return made


class Depot:
    """Fetches by copying, in half a second."""

    cloud = "moto"

    def fetch(self, file: Path, to: Path) -> Fetched:
        to.write_bytes(file.read_bytes())
        return Fetched(seconds=0.5, fidelity="emulated")


def test_sizes_are_of_the_zip_and_of_sources_with_modules(built: Artifact, installs: list[Any]) -> None:
    """Which is what Google's limits count."""
    assert built.path is not None
    found = cloud_functions.sizes(built, Depot())  # type: ignore[arg-type]
    source_bytes, files = tree.size(built.path)
    assert (found.unpacked_bytes, found.files) == (source_bytes + 1000, files + 1)
    assert found.packed_bytes == cloud_functions.archive_of(built).stat().st_size == sum(found.pieces.values())
    assert len(installs) == 1


def test_it_is_deployed_from_what_was_uploaded(built: Artifact, installs: list[Any], tmp_path: Path) -> None:
    """The lock is the one in the source, the wheels those beside the artifact, the time is counted."""
    (tmp_path / "target").mkdir()
    installed = cloud_functions.install(built, tmp_path / "target", Depot())  # type: ignore[arg-type]
    assert built.path is not None
    assert installed.root is not None
    assert tree.digest(installed.root / "source") == built.digest
    (lock, bytecode), *_ = installs
    assert lock.requirements == installed.root / "source" / "requirements.txt"
    assert lock.wheels == built.path.parent / "wheels"
    assert lock.packages == (("functions-framework", "3.10.2"), ("numpy", "2.4.6"))
    assert bytecode == "unchecked-hash"
    assert installed.install_s is not None
    assert installed.install_s >= 0.5
    assert installed.install_fidelity == "emulated"
    assert not list((tmp_path / "target").glob("*.zip"))


def test_more_memory_than_an_instance_has_does_not_fit(built: Artifact, tmp_path: Path) -> None:
    """That is found out before anything is fetched."""
    greedy = dataclasses.replace(built, facts={**built.facts, "memory_mb": str(33 * 1024)})
    with pytest.raises(DoesNotFit, match="33 GiB of 32 GiB"):
        cloud_functions.install(greedy, tmp_path, Depot())  # type: ignore[arg-type]


def test_nothing_is_left_when_it_is_removed(built: Artifact, installs: list[Any]) -> None:
    """Neither the zip nor the wheels; and it is not there without its wheels."""
    assert built.path is not None
    cloud_functions.archive_of(built)
    assert cloud_functions.present(built)
    cloud_functions.remove(built)
    assert not built.path.parent.exists()
    assert not cloud_functions.present(built)


def test_the_size_limits_are_held_by_the_harness() -> None:
    """100 and 500 MB, in Google's words of sources and modules."""
    held = {limit.metric: limit.value for limit in cloud_functions.LIMITS if limit.metric}
    assert held == {"packed_bytes": 100 * 2**20, "unpacked_bytes": 500 * 2**20}
    assert "memory" in cloud_functions._MEMORY.name


def test_it_is_not_ready_where_its_port_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that only speaks TCP is kept in a network of its own, which only root may enter."""
    monkeypatch.setattr(hosted, "check", lambda: Availability(ready=True))
    monkeypatch.setattr(namespaces, "check", lambda: "only root may")
    found = cloud_functions.check()
    assert not found.ready
    assert "only root may" in found.reason
    assert found.remedy
    monkeypatch.setattr(namespaces, "check", lambda: "")
    assert cloud_functions.check().ready


def test_time_of_packing_is_a_tools(built: Artifact) -> None:
    """It is not the harness's own."""
    before = process.ledger.spent_s.get("tools", 0.0)
    cloud_functions.archive_of(built)
    assert process.ledger.spent_s["tools"] > before
    with zipfile.ZipFile(cloud_functions.archive_of(built)) as archive:
        assert archive.testzip() is None
