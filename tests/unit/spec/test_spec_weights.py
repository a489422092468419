"""What travels in an artifact, and that weights are what model.toml says. Training itself is tested for real."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import paths, process, tree
from harness.errors import BadInput, ModelFailure
from harness.spec import environments, pins, weights
from harness.spec.model import Model

pytestmark = pytest.mark.usefixtures("here")


def filled(folder: Any, contents: str = "weights") -> Model:
    """The folder with a file of weights and all that does not travel."""
    path = folder.path
    (path / "weights").mkdir()
    (path / "weights" / "w.bin").write_text(contents)
    (path / "data").mkdir()
    (path / "data" / "words.txt").write_text("words")
    (path / "data" / "README.md").write_text("of the data")
    (path / "__pycache__").mkdir()
    for name in ("train.py", "README.md", "LICENSE", "LICENCE.txt", ".gitignore", ".env", "__pycache__/a.pyc"):
        (path / name).write_text("x")
    (path / "requirements.lock").write_text(pins.header([]))
    digest = tree.sha256(path / "weights" / "w.bin")
    folder.write(train={"script": "train.py"}, artifacts=[{"path": "weights/w.bin", "sha256": digest}])
    return folder.read()


def names(folder: Path) -> list[str]:
    """The files below ``folder``."""
    return [file.relative_to(folder).as_posix() for file in tree.files(folder)]


def test_the_predictor_its_data_and_its_weights_travel(folder: Any) -> None:
    """Training, examples, prose, locks, hidden files and bytecode stay behind."""
    found = weights.locked(filled(folder))
    assert names(found.payload) == ["predictor.py", "data/README.md", "data/words.txt", "weights/w.bin"]
    assert found.digest == found.payload.name == tree.digest(found.payload)[:24]
    assert found.payload.parent == paths.cache() / "payloads"


def test_a_payload_depends_on_its_contents_alone(folder: Any) -> None:
    """The same contents give the same payload; a changed predictor another."""
    model = filled(folder)
    first = weights.locked(model)
    (folder.path / "README.md").write_text("other prose")
    assert weights.locked(model).payload == first.payload
    (folder.path / "predictor.py").write_text("# changed")
    assert weights.locked(model).payload != first.payload


@pytest.mark.parametrize(
    ("put", "what"),
    [(lambda place: place.symlink_to("/etc/hostname"), "a link"), (os.mkfifo, "a named pipe")],
    ids=["link", "pipe"],
)
def test_what_is_no_file_does_not_travel(folder: Any, put: Callable[[Path], None], what: str) -> None:
    """A link or a pipe in the model's folder is bad input: what it leads to need not be there."""
    model = filled(folder)
    put(folder.path / "data" / "other")
    with pytest.raises(BadInput, match=f"data/other is {what}") as raised:
        weights.locked(model)
    assert raised.value.remedy


def test_weights_with_another_hash_are_bad_input(folder: Any) -> None:
    """The message names file, key, both digests and what to do."""
    model = filled(folder)
    (folder.path / "weights" / "w.bin").write_text("tampered")
    with pytest.raises(BadInput) as raised:
        weights.locked(model)
    text = str(raised.value)
    for part in ("model.toml", "artifacts.0.sha256", tree.sha256(folder.path / "weights" / "w.bin"), "restore"):
        assert part in text


def test_the_bytes_of_weights_are_checked(folder: Any) -> None:
    """A file of another size than model.toml says is not the file that is meant."""
    filled(folder)
    folder.write(artifacts=[{"path": "weights/w.bin", "bytes": 1, "verify": "outputs"}])
    with pytest.raises(BadInput):
        weights.locked(folder.read())


class Training:
    """Training that is not run: ``writes`` lands in the folder that the script is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writes: dict[str, str] = {}
        self.returncode, self.times, self.timed_out = 0, 0, False
        self.answer: str | None = ""
        monkeypatch.setattr(process, "run", self.run)
        monkeypatch.setattr(environments, "installed", lambda _: Path("/envs/e/bin/python"))

    def run(self, argv: list[str], **_: Any) -> process.Completed:
        """Write what training writes; where the trained model is asked, give its answer (None: it hangs)."""
        if "harness_runner" in argv:
            if self.answer is None:
                raise process.TimedOut(argv, 120, "thinking")
            return process.Completed(argv=tuple(argv), returncode=0, stdout=self.answer, stderr="", wall_s=1.0)
        self.times += 1
        if self.timed_out:
            raise process.TimedOut(argv, 5, "epoch 1")
        for name, text in self.writes.items():
            Path(argv[-1], name).parent.mkdir(exist_ok=True)
            Path(argv[-1], name).write_text(text)
        return process.Completed(
            argv=tuple(argv), returncode=self.returncode, stdout="", stderr="Traceback: boom", wall_s=1.0
        )


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch, open_door: object) -> Training:
    """Training that is not run."""
    return Training(monkeypatch)


def untrained(folder: Any) -> Model:
    """The folder without its weights."""
    model = filled(folder)
    (folder.path / "weights" / "w.bin").unlink()
    return model


def test_weights_are_trained_once(folder: Any, training: Training) -> None:
    """What is not there is trained, checked, and kept."""
    training.writes = {"weights/w.bin": "weights"}
    model = untrained(folder)
    first = weights.locked(model)
    assert (first.payload / "weights" / "w.bin").read_text() == "weights"
    assert weights.locked(model) == first
    assert training.times == 1


def test_training_that_writes_something_else_is_a_model_failure(folder: Any, training: Training) -> None:
    """Another digest, or no file at all, is the model's failure, and nothing is kept of it."""
    model = untrained(folder)
    with pytest.raises(ModelFailure, match=r"without writing weights/w\.bin"):
        weights.locked(model)
    training.writes = {"weights/w.bin": "other"}
    with pytest.raises(ModelFailure, match=r"has sha256 .* model\.toml says") as raised:
        weights.locked(model)
    assert 'verify = "outputs"' in raised.value.remedy
    training.writes = {"weights/w.bin": "weights"}
    weights.locked(model)


def test_training_that_fails_or_hangs_is_a_model_failure(folder: Any, training: Training) -> None:
    """The end of what it printed, or its time limit, stands in the message."""
    model = untrained(folder)
    training.returncode = 3
    with pytest.raises(ModelFailure, match=r"(?s)exit code 3.*boom"):
        weights.locked(model)
    training.timed_out = True
    with pytest.raises(ModelFailure, match="did not end within 600 s") as raised:
        weights.locked(model)
    assert "train.timeout_s" in raised.value.remedy


def checked_by_outputs(folder: Any, training: Training, answer: str | None) -> Model:
    """The folder without weights, trained ones to be checked by what they answer."""
    untrained(folder)
    folder.write(artifacts=[{"path": "weights/w.bin", "verify": "outputs"}])
    training.writes, training.answer = {"weights/w.bin": "any"}, answer
    return folder.read()


def test_what_is_not_reproducible_is_checked_by_its_answers(folder: Any, training: Training) -> None:
    """With verify = "outputs" any bits are taken that answer the examples."""
    found = weights.locked(checked_by_outputs(folder, training, '{"outputs": [2, 5, 6]}'))
    assert (found.payload / "weights" / "w.bin").read_text() == "any"


@pytest.mark.parametrize(
    "answer",
    ['{"outputs": [2, 5, 7]}', '{"outputs": [2, 5]}', '{"error": {"type": "E"}}', "rubbish", "", "[1]", "null", None],
)
def test_a_trained_model_that_answers_wrongly_is_a_model_failure(
    folder: Any, training: Training, answer: str | None
) -> None:
    """Wrong answers, errors, rubbish and a hang of the trained model are its failure, and nothing is kept of it."""
    with pytest.raises(ModelFailure):
        weights.locked(checked_by_outputs(folder, training, answer))
    training.answer = '{"outputs": [2, 5, 6]}'
    weights.locked(folder.read())
    assert training.times == 2


def of_a_folder(folder: Any, **changes: Any) -> Model:
    """The folder, its weights being a folder with two files."""
    filled(folder)
    (folder.path / "weights" / "v.bin").write_text("more")
    digest = tree.digest(folder.path / "weights")
    folder.write(artifacts=[{"path": "weights/", "sha256": digest, **changes}])
    return folder.read()


def test_a_folder_of_weights_travels_whole(folder: Any) -> None:
    """Where the path ends in a slash, all that is in the folder is the weights."""
    found = weights.locked(of_a_folder(folder))
    wanted = ["predictor.py", "data/README.md", "data/words.txt", "weights/v.bin", "weights/w.bin"]
    assert names(found.payload) == wanted


@pytest.mark.parametrize("damage", ["change", "more", "fewer"])
def test_a_folder_of_weights_is_checked_whole(folder: Any, damage: str) -> None:
    """Another file, a missing one and a changed one are all seen."""
    model = of_a_folder(folder)
    place = folder.path / "weights"
    if damage == "fewer":
        (place / "v.bin").unlink()
    else:
        (place / ("v.bin" if damage == "change" else "u.bin")).write_text("even")
    with pytest.raises(BadInput, match=r"the folder's sha256 is") as raised:
        weights.locked(model)
    assert tree.digest(place) in str(raised.value)


def test_the_bytes_of_a_folder_are_those_of_its_files(folder: Any) -> None:
    """A folder of another size than model.toml says is not the one that is meant."""
    with pytest.raises(BadInput, match="the folder has 11 bytes"):
        weights.locked(of_a_folder(folder, bytes=12))


def test_a_folder_of_weights_is_trained(folder: Any, training: Training) -> None:
    """An empty folder is not there yet; what training writes is checked whole, and nothing else is taken."""
    model = of_a_folder(folder)
    for file in (folder.path / "weights").iterdir():
        file.unlink()
    with pytest.raises(ModelFailure, match="without writing weights/"):
        weights.locked(model)
    training.writes = {"weights/w.bin": "weights"}
    with pytest.raises(ModelFailure, match=r"trained weights/ has sha256 .* model\.toml says"):
        weights.locked(model)
    training.writes |= {"weights/v.bin": "more", "notes.txt": "not declared"}
    found = weights.locked(model)
    assert [name for name in names(found.payload) if not name.startswith("data/")] == [
        "predictor.py",
        "weights/v.bin",
        "weights/w.bin",
    ]
