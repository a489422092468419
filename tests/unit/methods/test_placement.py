"""Weights that are not in the artifact: kept beside it, shown to a start or fetched by it, and gone with it."""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from harness import tree
from harness.methods import layout, placement
from harness.methods.contract import Artifact, BuildOptions, Installed, Placement
from harness.platforms.depot import Fetched
from harness.spec import weights
from harness.spec.weights import LockedModel

pytestmark = pytest.mark.usefixtures("here")

SOURCE = """
from pathlib import Path

def load(model_dir):
    assert (model_dir / "settings" / "scale.txt").read_text() == "1"
    assert (model_dir / "predictor.py").is_file()
    parts = [model_dir / "weights" / "a.txt", model_dir / "more" / "deep" / "b.txt", model_dir / "top.txt"]
    return sum(int(part.read_text()) for part in parts)

def predict(model, inputs):
    return [model * value for value in inputs]
"""


@pytest.fixture
def locked(folder: Any) -> LockedModel:
    """A model with code, settings beside weights in one folder, a folder of weights, and weights at the top."""
    files = {"settings/scale.txt": "1", "weights/a.txt": "1", "weights/notes.txt": "no weights", "top.txt": "3"}
    for name, text in {**files, "more/deep/b.txt": "2", "predictor.py": SOURCE}.items():
        (folder.path / name).parent.mkdir(exist_ok=True, parents=True)
        (folder.path / name).write_text(text)
    folder.write(
        artifacts=[
            {"path": path, "sha256": tree.digest(place) if place.is_dir() else tree.sha256(place)}
            for path in ("weights/a.txt", "more/", "top.txt")
            if (place := folder.path / path)
        ]
    )
    return weights.locked(folder.read())


WEIGHTS = ["more/deep/b.txt", "top.txt", "weights/a.txt"]


def options(tmp_path: Path, place: Placement) -> BuildOptions:
    return BuildOptions(tool_cache=tmp_path / "tools", bytecode="none", weights=place)


def names(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in tree.files(folder))


def built(locked: LockedModel, tmp_path: Path, place: Placement) -> Artifact:
    """What a method makes: a folder, and the weights beside it."""
    folder = layout.fresh_folder(tmp_path / "work", "app")
    layout.write_sources(locked, folder, bytecode="none", weights=place)
    placement.kept_apart(locked, options(tmp_path, place), tmp_path / "work")
    facts = placement.facts(locked, options(tmp_path, place))
    return Artifact(method="venv", model="tiny", digest="d", path=folder, facts=facts)


def test_weights_inside_leave_no_trace_of_other_ways(locked: LockedModel, tmp_path: Path) -> None:
    """Neither a file nor a line more than before; what an earlier build has put beside it is gone."""
    (tmp_path / "work" / placement.FOLDER).mkdir(parents=True)
    artifact = built(locked, tmp_path, "inside")
    assert artifact.path is not None
    assert set(WEIGHTS) <= set(names(artifact.path / "harness_model"))
    assert "placing.py" not in names(artifact.path / "harness_runner")
    assert set(runpy.run_path(str(artifact.path / "harness_runner" / "packaged.py"))) >= {"ENTRYPOINT", "ENVIRONMENT"}
    assert "WEIGHTS" not in (artifact.path / "harness_runner" / "packaged.py").read_text()
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["app"]
    assert placement.folder_of(artifact) is None
    assert artifact.facts == {"bytecode": "none", "weights": "inside"}


@pytest.mark.parametrize("place", ["mounted", "fetched"])
def test_weights_apart_are_not_in_the_artifact(locked: LockedModel, tmp_path: Path, place: Placement) -> None:
    """What is left is the code, with names, sizes and digests; beside it are the weights, which go with it."""
    artifact = built(locked, tmp_path, place)
    assert artifact.path is not None
    assert names(artifact.path / "harness_model") == ["predictor.py", "settings/scale.txt", "weights/notes.txt"]
    told = runpy.run_path(str(artifact.path / "harness_runner" / "packaged.py"))
    assert told["WEIGHTS"] == ["more", "top.txt", "weights/a.txt"]
    assert sorted(told["FILES"]) == WEIGHTS
    assert told["FILES"]["top.txt"] == (tree.sha256(locked.payload / "top.txt"), 1)
    folder = placement.folder_of(artifact)
    assert folder is not None
    assert names(folder) == WEIGHTS
    assert artifact.facts == {"bytecode": "none", "weights": place, "weights_bytes": "3"}
    assert placement.present(artifact)
    placement.remove(artifact)
    assert not placement.present(artifact)
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["app"]


class FakeDepot:
    """Fetches by copying, in half a second; or can't say how long it took."""

    def __init__(self, seconds: float | None = 0.5) -> None:
        self.seconds = seconds

    def fetch(self, file: Path, to: Path) -> Fetched:
        """Copy it."""
        shutil.copyfile(file, to)
        return Fetched(seconds=self.seconds, fidelity="emulated", absent="" if self.seconds else "no bucket")


def installed(artifact: Artifact, target: Path, depot: Any) -> Installed:
    """After a method's own installation, which took two seconds."""
    target.mkdir(exist_ok=True)
    found = Installed(artifact=artifact, root=target, own_paths=(target / "app",), cold_paths=(target,), install_s=2.0)
    return placement.installed(found, target, depot)


def test_mounted_weights_are_fetched_by_the_installation(locked: LockedModel, tmp_path: Path) -> None:
    """They lie on the target, count for a cold start, and their transfer is added."""
    artifact = built(locked, tmp_path, "mounted")
    found = installed(artifact, tmp_path / "target", FakeDepot())
    assert found.weights == tmp_path / "target" / placement.FOLDER
    assert names(found.weights) == WEIGHTS
    assert found.own_paths[-1] == found.cold_paths[-1] == found.weights
    assert (found.install_s or 0) > 2.5
    assert (found.install_fidelity, found.start_fidelity) == ("emulated", None)
    assert names(tmp_path / "target") == [f"{placement.FOLDER}/{name}" for name in WEIGHTS]


def test_a_transfer_that_was_not_timed_makes_no_number(locked: LockedModel, tmp_path: Path) -> None:
    """It is said why."""
    found = installed(built(locked, tmp_path, "mounted"), tmp_path / "target", FakeDepot(None))
    assert (found.install_s, found.install_absent) == (None, "no bucket")


def test_fetched_weights_are_no_part_of_the_installation(locked: LockedModel, tmp_path: Path) -> None:
    """Each start gets them from a stand-in, which its values say."""
    found = installed(built(locked, tmp_path, "fetched"), tmp_path / "target", FakeDepot())
    assert found.weights == tmp_path / "work" / placement.FOLDER
    assert (found.install_s, found.start_fidelity) == (2.0, "emulated")
    assert list((tmp_path / "target").iterdir()) == []
    assert found.weights not in (*found.own_paths, *found.cold_paths)


def test_weights_inside_change_no_installation(locked: LockedModel, tmp_path: Path) -> None:
    """And a start is told nothing of them."""
    artifact = built(locked, tmp_path, "inside")
    plain = Installed(artifact=artifact, root=tmp_path)
    assert placement.installed(plain, tmp_path, FakeDepot()) is plain  # type: ignore[arg-type]
    for nothing in (plain, None):
        with placement.access(nothing, tmp_path) as access:
            assert access == placement.Access()


def ask(address: Path, *, said: bytes) -> bytes:
    """What the store answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(str(address))
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        got = b""
        with contextlib.suppress(ConnectionResetError):  # where it had not read all that was said
            while chunk := connection.recv(4096):
                got += chunk
    return got


def test_the_store_gives_its_files_and_no_others(tmp_path: Path, short_folder: Path) -> None:
    """Whatever an instance asks, and in whatever order; afterwards nobody listens."""
    (tmp_path / "store" / "in").mkdir(parents=True)
    (tmp_path / "store" / "in" / "a b").write_bytes(b"x" * 3_000_000)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "store" / "link").symlink_to(tmp_path / "secret")
    before = threading.active_count()
    rubbish = (
        b'"../secret"\n',
        b'"/etc/passwd"\n',
        b'"link"\n',
        b'"in"\n',
        b"in/a b\n",
        b"\xff\n",
        b"{}\n",
        b"",
        b"[" * 9000,
    )
    with placement.store(tmp_path / "store", short_folder / "w") as opened, placement.answering(opened):
        for said in rubbish:
            assert ask(short_folder / "w", said=said) == b""
        assert ask(short_folder / "w", said=b'"in/a b"\n') == b"x" * 3_000_000
    assert threading.active_count() == before
    with pytest.raises(OSError, match=r"refused|No such file"):
        ask(short_folder / "w", said=b'"in/a b"\n')


def test_the_store_is_not_led_astray(tmp_path: Path, short_folder: Path) -> None:
    """What lies where it is to listen is neither replaced nor followed, and no file's mode is changed."""
    (tmp_path / "store").mkdir()
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    (short_folder / "w").symlink_to(secret)
    with pytest.raises(OSError, match="in use"), placement.store(tmp_path / "store", short_folder / "w"):
        pass
    assert secret.stat().st_mode & 0o777 == 0o600
    (short_folder / "folder").symlink_to(tmp_path)
    with (
        pytest.raises(OSError, match="Not a directory"),
        placement.store(tmp_path / "store", short_folder / "folder" / "w"),
    ):
        pass
    (short_folder / "w").unlink()
    with placement.store(tmp_path / "store", short_folder / "w"):
        assert (short_folder / "w").stat().st_mode & 0o777 == 0o666


def test_the_store_does_not_wait_for_who_says_nothing(
    tmp_path: Path, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor for who says it slowly, or does not take what was asked for: the next one is answered, and the end comes."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "a").write_bytes(b"x" * 3_000_000)
    monkeypatch.setattr(placement, "_ASKING_S", 0.05)
    before = threading.active_count()
    with placement.store(tmp_path / "store", short_folder / "w") as opened:
        with contextlib.ExitStack() as stack, placement.answering(opened):
            silent = [stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) for _ in range(5)]
            for one in silent[:4]:
                one.connect(str(short_folder / "w"))
            assert ask(short_folder / "w", said=b'"a"\n') == b"x" * 3_000_000
            assert threading.active_count() == before + 1
            silent[4].connect(str(short_folder / "w"))
            silent[4].sendall(b'"a"\n')
            silent[4].recv(1)
    assert threading.active_count() == before


def once(artifact: Artifact, env: dict[str, str]) -> dict[str, Any]:
    """What the packaged model answers to 1 and 2."""
    done = subprocess.run(
        [sys.executable, "-s", "-m", "harness_runner", "once"],
        input="[1, 2]",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": str(artifact.path), "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8", **env},
    )
    return dict(json.loads(done.stdout))


@pytest.mark.spawns
@pytest.mark.parametrize("place", ["mounted", "fetched"])
def test_a_model_finds_its_weights_where_load_looks(
    locked: LockedModel, tmp_path: Path, short_folder: Path, place: Placement
) -> None:
    """In one folder with its code, whichever way they came; what was fetched lies in the instance's own folder."""
    artifact = built(locked, tmp_path, place)
    found = installed(artifact, tmp_path / "target", FakeDepot())
    with placement.access(found, short_folder) as access, placement.answering(access.store):
        assert list(access.shown) == ([found.weights] if place == "mounted" else [])
        assert once(artifact, dict(access.env)) == {"outputs": [6, 12]}
    assert os.path.islink(short_folder / "model" / "predictor.py")
    assert (short_folder / "fetched").is_dir() == (place == "fetched")


@pytest.mark.spawns
def test_weights_that_are_not_those_it_was_built_with_are_not_loaded(
    locked: LockedModel, tmp_path: Path, short_folder: Path
) -> None:
    """The store's file was changed after the artifact was built; another is gone."""
    artifact = built(locked, tmp_path, "fetched")
    found = installed(artifact, tmp_path / "target", FakeDepot())
    assert found.weights is not None
    (found.weights / "top.txt").write_text("4")
    with placement.access(found, short_folder) as access, placement.answering(access.store):
        error = once(artifact, dict(access.env))["error"]
    assert (error["stage"], error["type"]) == ("load", "WeightsError")
    assert error["message"].startswith("top.txt was fetched")
