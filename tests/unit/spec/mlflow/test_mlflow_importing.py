"""From a folder of MLflow's to ours: what is asked, compared, refused and put in place; no process is started."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import interpreter, process
from harness.errors import BadInput, BuildFailure, HarnessError, ModelFailure
from harness.interpreter import Interpreter
from harness.spec import environments, weights
from harness.spec import model as models
from harness.spec.locked import Lock
from harness.spec.mlflow import importing
from harness.spec.mlflow.importing import Imported, Wanted
from harness.spec.model import Model
from harness.spec.weights import LockedModel

Saved = Callable[..., Path]
FOLDER = Path(__file__).with_name("folders") / "3.17"
RECORDS = [{"a": 1.5, "b": 2}, {"a": 2.5, "b": 3}]


class Asked:
    """Models that are not run: ``answers`` has what each variant prints, or the failure that comes before."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.answers: dict[str, Any] = {"pyfunc": [1.0, 2.0], "native": [1.0, 2.0]}
        self.said: list[str] = []
        self.runs: list[tuple[list[str], dict[str, Any]]] = []
        self._variant, self._scratch = "", tmp_path / "payload"
        self._scratch.mkdir()
        monkeypatch.setattr(weights, "locked", self.locked)
        monkeypatch.setattr(environments, "installed", lambda _: Path("/envs/e/bin/python"))
        monkeypatch.setattr(process, "run", self.run)

    def locked(self, model: Model) -> LockedModel:
        """A lock of as many packages as there are requirements."""
        self._variant = model.name.rpartition("-")[2]
        if "mlflow-skinny" not in str(model.file.requirements) and self._variant == "pyfunc":
            self._variant = "full"
        failure = self.answers.get(self._variant)
        if isinstance(failure, HarnessError):
            raise failure
        packages = tuple((text, "1") for text in model.file.requirements)
        pins = self._scratch / "requirements.txt"
        pins.write_text("".join(f"{text}\n" for text in model.file.requirements))
        lock = Lock(
            python=interpreter.default(),
            requirements=pins,
            wheels=self._scratch,
            digest="d",
            packages=packages,
            wheel_bytes=7,
            download_s=None,
        )
        return LockedModel(model=model, lock=lock, payload=self._scratch, digest="d")

    def run(self, argv: list[str], **how: Any) -> process.Completed:
        """Print the variant's answer twice, or what stands there as a text."""
        self.runs.append((argv, how))
        answer = self.answers[self._variant]
        if answer is None:
            raise process.TimedOut(argv, 120, "thinking")
        text = answer if isinstance(answer, str) else json.dumps({"outputs": [answer, answer]})
        return process.Completed(argv=tuple(argv), returncode=0, stdout=text, stderr="Killed", wall_s=1.0)

    def imported(self, source: Path, target: Path, *, wanted: Wanted = None) -> Imported:
        """Import it."""
        return importing.import_model(source, target, wanted=wanted, given=None, say=self.said.append)


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, here: Interpreter, open_door: object) -> Asked:
    """Models that are not run."""
    return Asked(monkeypatch, tmp_path)


def left(tmp_path: Path) -> list[str]:
    """What lies where the target should be."""
    return sorted(path.name for path in (tmp_path / "out").rglob("*")) if (tmp_path / "out").is_dir() else []


def test_the_native_variant_is_the_default(saved: Saved, ask: Asked, tmp_path: Path) -> None:
    """Both are asked; what they answered alike is what the model must answer."""
    found = ask.imported(saved("3.17"), tmp_path / "out" / "My Model")
    assert [(one.variant, one.packages, one.wheel_bytes) for one in found.made] == [("native", 2, 7)]
    assert (found.compared, found.loader, found.mlflow_version) == (True, "mlflow.pyfunc.model", "3.17.2")
    made = models.read(tmp_path / "out" / "My Model")
    assert made.name == "my-model-native"
    assert made.examples.inputs == (RECORDS,)
    assert made.examples.outputs == ([1.0, 2.0],)
    assert (made.folder / "requirements.lock").is_file()
    assert len(ask.runs) == 2
    assert [line.split(":")[0] for line in ask.said] == ["pyfunc", "pyfunc", "native", "native"]


def test_models_are_run_in_bounds(saved: Saved, ask: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the policy, in a composed environment, with the input twice."""
    monkeypatch.setenv("SECRET_TOKEN", "hidden")
    ask.imported(saved("3.17"), tmp_path / "out")
    for argv, how in ask.runs:
        assert argv[1:4] == ["-m", "harness_runner", "once"]
        assert how["policy"].bounds.memory_bytes == 2048 * 2**20
        assert "hidden" not in str(how["env"])
        assert json.loads(how["stdin"]) == {"inputs": [RECORDS, RECORDS]}


def test_both_variants(saved: Saved, ask: Asked, tmp_path: Path) -> None:
    """Each in a folder of its own."""
    found = ask.imported(saved("3.17"), tmp_path / "out", wanted="both")
    assert [one.folder.name for one in found.made] == ["native", "pyfunc"]
    assert {models.read(one.folder).name for one in found.made} == {"out-native", "out-pyfunc"}


def test_pyfunc_when_it_is_asked_for(saved: Saved, ask: Asked, tmp_path: Path) -> None:
    """An empty folder may be there already."""
    (tmp_path / "out").mkdir()
    found = ask.imported(saved("3.17"), tmp_path / "out", wanted="pyfunc")
    assert [one.variant for one in found.made] == ["pyfunc"]
    assert found.compared
    assert models.read(tmp_path / "out").file.env["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_variants_that_disagree_are_refused(saved: Saved, ask: Asked, tmp_path: Path) -> None:
    """Both answers are told, and nothing is left."""
    ask.answers["native"] = [1.0, 2.1]
    with pytest.raises(ModelFailure, match=re.escape("answers [1.0, 2.0], without it [1.0, 2.1]")) as raised:
        ask.imported(saved("3.17"), tmp_path / "out" / "m")
    assert raised.value.remedy
    assert left(tmp_path) == []
    ask.answers["native"] = [1.0, 2.0000000001]
    assert ask.imported(saved("3.17"), tmp_path / "out" / "m").compared


def test_a_flavour_without_a_native_variant(saved: Saved, ask: Asked, tmp_path: Path) -> None:
    """MLflow's own then, and it is said; where the native one was asked for, an error says what there is."""
    place = saved("2.14", None, ("mlflow.lightgbm", "mlflow.spark"))
    with pytest.raises(BadInput, match="no native variant") as raised:
        ask.imported(place, tmp_path / "out", wanted="native")
    assert raised.value.remedy == "--variant pyfunc"
    with pytest.raises(BadInput, match="no native variant"):
        ask.imported(place, tmp_path / "out", wanted="both")
    found = ask.imported(place, tmp_path / "out")
    assert [one.variant for one in found.made] == ["pyfunc"]
    assert not found.compared
    assert any("nothing was compared" in note for note in found.notes)


def test_a_native_variant_that_fails(saved: Saved, ask: Asked, tmp_path: Path) -> None:
    """MLflow's own is taken, and the reason is told; asked for by name it is an error."""
    error = {"stage": "load", "type": "ModuleNotFoundError", "message": "No module named 'mlflow'", "where": "x.py:1"}
    ask.answers["native"] = json.dumps({"error": error})
    with pytest.raises(ModelFailure, match="failed to load: ModuleNotFoundError: No module named 'mlflow'"):
        ask.imported(saved("3.17"), tmp_path / "out", wanted="native")
    assert left(tmp_path) == []
    found = ask.imported(saved("3.17"), tmp_path / "out")
    assert [one.variant for one in found.made] == ["pyfunc"]
    assert any("No module named 'mlflow'" in note for note in found.notes)


def test_all_of_mlflow_where_skinny_lacks_a_module(saved: Saved, ask: Asked, tmp_path: Path) -> None:
    """Tried second, since it is several times as large."""
    error = {"stage": "load", "type": "ModuleNotFoundError", "message": "No module named 'sqlalchemy'"}
    ask.answers |= {"pyfunc": json.dumps({"error": error}), "full": [1.0, 2.0]}
    found = ask.imported(saved("3.17"), tmp_path / "out", wanted="pyfunc")
    assert "mlflow==3.17.2" in found.made[0].requirements
    assert found.compared
    assert any("mlflow-skinny is not enough" in line for line in ask.said)


def test_neither_variant_works(saved: Saved, ask: Asked, tmp_path: Path) -> None:
    """MLflow's failure is what is told: it is what the model was made for."""
    ask.answers |= {"native": BuildFailure("no wheel"), "pyfunc": BuildFailure("no such release")}
    with pytest.raises(BuildFailure, match="no such release"):
        ask.imported(saved("3.17"), tmp_path / "out")
    assert left(tmp_path) == []


def test_requirements_that_cannot_be_locked(saved: Saved, ask: Asked, tmp_path: Path) -> None:
    """The file is the one in MLflow's folder, not one that is made here and gone."""
    refusal = BadInput(
        "uv cannot resolve them: no such version", file="/tmp/x/model.toml", key="requirements", value=[]
    )
    ask.answers |= {"native": refusal, "pyfunc": refusal}
    place = saved("1.23")
    with pytest.raises(BadInput, match="pyfunc: uv cannot resolve them") as raised:
        ask.imported(place, tmp_path / "out")
    assert str(place / "conda.yaml") in str(raised.value)
    assert "/tmp/x" not in str(raised.value)


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (None, "did not answer"),
        ("Killed", "ended with exit code 0 without an answer"),
        ("[]", "without an answer"),
        ('{"error": 3}', "without an answer"),
        (
            '{"error": {"stage": "predict", "type": "ValueError", "message": "inf"}}',
            "failed to predict: ValueError: inf",
        ),
        ('{"outputs": [1.0, 2.0]}', "asked the same twice"),
        ('{"outputs": [1.0]}', "without an answer"),
        ('{"outputs": 1}', "without an answer"),
        ("[" * 100_000, "without an answer"),
    ],
)
def test_answers_that_are_none(saved: Saved, ask: Asked, tmp_path: Path, answer: str | None, part: str) -> None:
    """Each is told, with a remedy, and nothing is left."""
    ask.answers |= {"pyfunc": answer, "native": answer}
    with pytest.raises(ModelFailure, match=part) as raised:
        ask.imported(saved("3.17"), tmp_path / "out" / "m")
    assert raised.value.remedy
    assert left(tmp_path) == []


def test_a_target_that_is_there_is_refused(saved: Saved, ask: Asked, tmp_path: Path) -> None:
    """A file, a full folder, a link; before anything is read."""
    full, file, link = tmp_path / "full", tmp_path / "file", tmp_path / "link"
    full.mkdir()
    (full / "x").touch()
    file.touch()
    (tmp_path / "empty").mkdir()
    link.symlink_to(tmp_path / "empty")
    for target in (full, file, link):
        with pytest.raises(BadInput, match="is there already"):
            ask.imported(saved("3.17"), target)
    assert ask.runs == []


def test_a_target_that_cannot_be_written(
    saved: Saved, ask: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found out at once, or, where it happens meanwhile, at the end; with a remedy."""
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="cannot be written") as raised:
        ask.imported(saved("3.17"), tmp_path / "file" / "m")
    assert raised.value.remedy

    def refuse(**_: Any) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(importing.tempfile, "mkdtemp", refuse)
    with pytest.raises(BadInput, match="cannot be written: Permission denied"):
        ask.imported(FOLDER, tmp_path / "out")


def test_the_python_that_it_was_logged_under_is_told(
    saved: Saved, ask: Asked, tmp_path: Path, here: Interpreter
) -> None:
    """Where it is another than the one used."""
    found = ask.imported(saved("1.23"), tmp_path / "out")
    assert any("3.8.10" in note and here.version in note for note in found.notes)
    assert models.read(tmp_path / "out").file.python == f"=={here.minor}.*"


def test_an_interruption_leaves_nothing(
    saved: Saved, ask: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the folder that it was made in."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importing, "_put", interrupt)
    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        ask.imported(saved("3.17"), tmp_path / "out" / "m")
    assert left(tmp_path) == []
