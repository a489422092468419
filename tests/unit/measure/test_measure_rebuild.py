"""What is changed for a rebuild, how that is told apart, and that nothing of it stays."""

from __future__ import annotations

import json
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from harness import paths, tree
from harness.errors import BuildFailure
from harness.measure import rebuild
from harness.measure.part import Subject, Taken
from harness.measure.sample import Cell
from harness.methods.contract import Artifact, BuildOptions, Sizes
from harness.spec import lock as locks
from harness.spec import pins, weights
from harness.spec.model import Model
from harness.spec.weights import LockedModel


@pytest.fixture
def locked(folder: Any, here: object) -> LockedModel:
    """A model with a file of weights."""
    (folder.path / "weights").mkdir()
    (folder.path / "weights" / "table.json").write_text('{"factor": 2}')
    folder.write(artifacts=[{"path": "weights/table.json", "verify": "outputs"}])
    return weights.locked(folder.read())


# --- weights -------------------------------------------------------------------------------------


def test_a_pickle_is_changed_and_loads_as_before(tmp_path: Path) -> None:
    """It ends where it says."""
    file = tmp_path / "model.joblib"
    before = pickle.dumps({"weights": [1.5, 2.5]})
    file.write_bytes(before)
    assert rebuild.changed_as_it_loads(file)
    assert file.read_bytes() != before
    with file.open("rb") as stream:
        assert pickle.load(stream) == {"weights": [1.5, 2.5]}  # noqa: S301 -- our own


def test_a_zip_is_changed_and_holds_what_it_held(tmp_path: Path) -> None:
    """By its comment: PyTorch's and NumPy's files are such archives."""
    file = tmp_path / "model.pt"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.pkl", b"x" * 100)
    before = file.read_bytes()
    assert rebuild.changed_as_it_loads(file)
    assert file.read_bytes() != before
    with zipfile.ZipFile(file) as archive:
        assert (archive.testzip(), archive.read("data.pkl")) == (None, b"x" * 100)


@pytest.mark.parametrize("text", ['{"a": 1}', "é" * rebuild._HEAD_BYTES + "\n"])
def test_text_gets_an_empty_line(tmp_path: Path, text: str) -> None:
    """Also where only the half of a character was looked at."""
    file = tmp_path / "table.json"
    file.write_text(text, encoding="utf-8")
    assert rebuild.changed_as_it_loads(file)
    assert file.read_text(encoding="utf-8") == text + "\n"


def test_onnx_gets_a_field_of_its_own_format(tmp_path: Path) -> None:
    """Field 6, of a length, of one byte: ``doc_string`` once more."""
    file = tmp_path / "graph.onnx"
    file.write_bytes(b"\x08\x08")
    assert rebuild.changed_as_it_loads(file)
    assert file.read_bytes() == b"\x08\x08\x32\x01\n"


@pytest.mark.parametrize("contents", [b"\x00\x01\x02", b"\xff\xfe", b"PK\x03\x04 but no zip", b"\x08\0\0\0\0\0\0\0{}"])
def test_what_is_not_known_stays_as_it_is(tmp_path: Path, contents: bytes) -> None:
    """Half a format is none."""
    file = tmp_path / "weights.bin"
    file.write_bytes(contents)
    assert not rebuild.changed_as_it_loads(file)
    assert file.read_bytes() == contents


def test_the_largest_file_that_can_be_is_changed(folder: Any, here: object, tmp_path: Path) -> None:
    """Of those that are declared as weights; the model's own folder and payload stay as they are."""
    place = folder.path / "weights"
    place.mkdir()
    (folder.path / "notes.txt").write_text("x" * 100)
    for name, contents in {"large.bin": b"\0" * 90, "middle.json": b"[1, 2, 3]", "small.json": b"[]"}.items():
        (place / name).write_bytes(contents)
    folder.write(artifacts=[{"path": "weights/", "verify": "outputs"}])
    locked = weights.locked(folder.read())
    before = tree.digest(locked.payload)
    other = rebuild.with_other_weights(locked, tmp_path / "other")
    assert other is not None
    differing = [
        file.relative_to(other.payload).as_posix()
        for file in tree.files(other.payload)
        if tree.sha256(file) != tree.sha256(locked.payload / file.relative_to(other.payload))
    ]
    assert differing == ["weights/middle.json"]
    assert (other.digest != locked.digest, tree.digest(locked.payload)) == (True, before)


def test_beside_weights_that_nobody_knows_a_file_is_put(folder: Any, here: object, tmp_path: Path) -> None:
    """They stay as they are, and what they travel with is another."""
    (folder.path / "weights.bin").write_bytes(b"\0" * 9)
    folder.write(artifacts=[{"path": "weights.bin", "verify": "outputs"}])
    locked = weights.locked(folder.read())
    other = rebuild.with_other_weights(locked, tmp_path / "other")
    assert other is not None
    assert (other.payload / "changed.txt").is_file()
    assert (other.payload / "weights.bin").read_bytes() == b"\0" * 9


def test_a_model_without_weights_has_none_to_change(folder: Any, here: object, tmp_path: Path) -> None:
    assert rebuild.with_other_weights(weights.locked(folder.read()), tmp_path / "other") is None


# --- code and dependencies -----------------------------------------------------------------------


def test_code_is_changed_by_a_comment(locked: LockedModel, tmp_path: Path) -> None:
    other = rebuild.with_other_code(locked, tmp_path / "other")
    before = (locked.payload / "predictor.py").read_text()
    assert (other.payload / "predictor.py").read_text() == before + "\n# changed\n"
    assert other.digest != locked.digest


def test_another_dependency_is_locked_and_at_hand(locked: LockedModel, tmp_path: Path) -> None:
    """One package more, with its hash; what the model's folder says of itself is the same lock."""
    other = rebuild.with_another_dependency(locked, tmp_path / "other")
    assert other.lock.packages == (("harness-rebuild", "1+harness"),)
    (pin,) = pins.parse(other.lock.requirements.read_text(), file="requirements.txt", remedy="")
    (wheel,) = other.lock.wheels.iterdir()
    assert pin.line == "harness-rebuild==1+harness"
    assert pin.hashes == {tree.sha256(wheel)}
    assert other.lock.wheel_bytes == wheel.stat().st_size
    found = locks.lock(other.model)
    assert (found.digest, found.packages) == (other.lock.digest, other.lock.packages)
    assert (other.payload, locked.lock.packages) == (locked.payload, ())


def test_the_package_is_one_and_the_same_every_time(locked: LockedModel, tmp_path: Path) -> None:
    """A wheel as installers expect it, also beside the model's own."""
    first = rebuild.with_another_dependency(locked, tmp_path / "one").lock
    second = rebuild.with_another_dependency(locked, tmp_path / "two").lock
    assert first.digest == second.digest
    (wheel,) = first.wheels.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        record = archive.read("harness_rebuild-1+harness.dist-info/RECORD").decode()
        assert sorted(line.split(",")[0] for line in record.splitlines()) == sorted(archive.namelist())


# --- the part ------------------------------------------------------------------------------------


class Method:
    """Two pieces: what is locked, and the model; it counts what is there, and remembers how it was asked."""

    ID = "made"
    REQUIREMENTS = ()
    MENDS = frozenset()

    def __init__(self) -> None:
        self.built: list[tuple[LockedModel, BuildOptions]] = []
        self.there: set[Path] = set()
        self.fails_at = 0
        self.unprepared = self.packed_absent = ""

    def prepare(self, model: Model) -> None:  # noqa: ARG002
        """Another dependency may be out of reach."""
        if self.unprepared:
            raise BuildFailure(self.unprepared, log="")

    def build(self, locked: LockedModel, workdir: Path, options: BuildOptions) -> Artifact:
        """A file for each piece."""
        self.built.append((locked, options))
        if len(self.built) == self.fails_at:
            raise BuildFailure("no", log="")
        (workdir / "made.json").write_text(json.dumps([locked.lock.digest, tree.digest(locked.payload)]))
        self.there.add(workdir)
        return Artifact(method=self.ID, model=locked.model.name, digest="d" * 64, path=workdir / "made.json")

    def sizes(self, artifact: Artifact, depot: Any) -> Sizes:  # noqa: ARG002
        """Ten bytes of what is locked, seven of the model."""
        assert artifact.path is not None
        lock, payload = json.loads(artifact.path.read_text())
        packed = None if self.packed_absent else 17
        return Sizes(
            packed_bytes=packed,
            unpacked_bytes=20,
            files=1,
            packed_absent=self.packed_absent,
            pieces={lock: 10, payload: 7} if packed else {},
        )

    def present(self, artifact: Artifact) -> bool:  # noqa: ARG002
        """Of two builds that are held against each other."""
        return True

    def remove(self, artifact: Artifact) -> None:
        """One less."""
        assert artifact.path is not None
        self.there.discard(artifact.path.parent)


def taken(method: Method, locked: LockedModel, *, kept: str = "k" * 64) -> Taken:
    """As the trial asks for it, of a cell whose artifact has the digest ``kept``."""
    subject = Subject(
        cell=Cell(model="tiny", method="made"),
        method=cast("Any", method),
        locked=locked,
        artifact=Artifact(method="made", model="tiny", digest=kept),
        installed=cast("Any", None),
        limits=cast("Any", None),
        depot=cast("Any", None),
    )
    return rebuild.PART.take(subject, "", 0)


def test_it_is_built_once_and_after_each_change(locked: LockedModel) -> None:
    """With the same tool cache, which engines know as well; and nothing of it is left. The first is a clean build."""
    method = Method()
    found = taken(method, locked)
    assert (found.absent, found.note) == ("", "")
    assert found.build is not None
    assert (found.build.wall_s >= 0, found.build.differing) == (True, ())
    assert found.values["update_bytes"] == 7
    assert set(found.values) == {"build_weights_s", "build_code_s", "build_dependency_s", "update_bytes"}
    first, other, code, dependency = (one for one, _ in method.built)
    assert first == locked
    assert other.lock == code.lock == locked.lock
    assert len({first.digest, other.digest, code.digest}) == 3
    assert (dependency.digest, dependency.lock.digest != locked.lock.digest) == (locked.digest, True)
    assert len({options.tool_cache for _, options in method.built}) == 1
    assert all(options.keep_cache for _, options in method.built)
    assert method.there == set()
    assert list((paths.cache() / "tmp").iterdir()) == []


def test_what_is_known_of_the_same_artifact_is_not_found_out_again(
    locked: LockedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packing takes long."""
    known = Sizes(packed_bytes=10, unpacked_bytes=10, files=1, pieces={locked.lock.digest: 10})
    monkeypatch.setattr(rebuild.artifacts, "sizes", lambda *_: known)
    method, weighed = Method(), []
    original = method.sizes
    monkeypatch.setattr(method, "sizes", lambda *given: weighed.append(given) or original(*given))
    assert taken(method, locked, kept="d" * 64).values["update_bytes"] == 7
    assert len(weighed) == 1


@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_build_that_fails_leaves_nothing(locked: LockedModel, number: int) -> None:
    """What was built before is removed as well."""
    method = Method()
    method.fails_at = number
    with pytest.raises(BuildFailure):
        taken(method, locked)
    assert method.there == set()
    assert list((paths.cache() / "tmp").iterdir()) == []


def test_without_weights_or_a_registry_there_is_no_update(folder: Any, locked: LockedModel) -> None:
    """The reason is told; the builds are timed all the same."""
    method = Method()
    method.packed_absent = "there is no registry"
    found = taken(method, locked)
    assert found.absent == "there is no registry"
    assert set(found.values) == {"build_weights_s", "build_code_s", "build_dependency_s"}
    bare = replace(locked, model=replace(locked.model, file=replace(locked.model.file, artifacts=())))
    found = taken(Method(), bare)
    assert "no weights" in found.absent
    assert set(found.values) == {"build_code_s", "build_dependency_s"}


def test_a_dependency_that_is_out_of_reach_is_told_of(locked: LockedModel) -> None:
    """A channel on a server does not have the package."""
    method = Method()
    method.unprepared = "conda-lock could not lock the environment"
    found = taken(method, locked)
    assert "could not lock" in found.note
    assert set(found.values) == {"build_weights_s", "build_code_s", "update_bytes"}


def test_only_new_pieces_travel_again() -> None:
    """Whatever order they are in; a piece that is gone costs nothing."""
    before = Sizes(packed_bytes=6, unpacked_bytes=6, files=1, pieces={"a": 1, "b": 2, "c": 3})
    after = Sizes(packed_bytes=8, unpacked_bytes=8, files=1, pieces={"c": 3, "d": 4, "a": 1})
    assert rebuild.travelling_again(before, after) == 4
    assert rebuild.travelling_again(before, before) == 0
