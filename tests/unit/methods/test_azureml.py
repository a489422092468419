"""The scoring script for Azure ML's server, and where the image has it."""

from __future__ import annotations

import importlib.util
import json
import sys
from types import ModuleType
from typing import Any

import pytest

from harness.methods import azureml, layout


class Response:
    """As Flask's, as far as it is used."""

    def __init__(self, text: str, status: int, mimetype: str) -> None:
        assert mimetype == "application/json"
        self.status, self.content = status, json.loads(text)


@pytest.fixture
def script(runner: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``score.py``, imported from its path as the server does."""
    flask = ModuleType("flask")
    flask.Response = Response  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flask", flask)
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(runner.PACKAGED))
    spec = importlib.util.spec_from_file_location("entry_module", azureml._SCORE / "score.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def asked(script: Any, value: Any) -> Response:
    return script.run(json.dumps(value))  # type: ignore[no-any-return]


def test_the_script_answers_and_tells_of_itself(script: Any) -> None:
    """After ``init()``, from the folder that the platform names."""
    script.init()
    assert asked(script, {"inputs": [1, 4]}).content == {"outputs": [2, 8]}
    told = asked(script, {"facts": True}).content
    assert told["facts"]["python"] == sys.version.split()[0]
    assert {"interpreter", "imports", "weights"} <= set(told["stamps"])


def test_a_model_that_cannot_be_loaded_answers_with_the_reason(script: Any, runner: Any) -> None:
    """The worker stays, so that whoever waits learns it."""
    (runner.PACKAGED / "predictor.py").write_text("import not_there\n")
    script.init()
    said = asked(script, {"inputs": [1]})
    assert said.status == 500
    assert (said.content["error"]["stage"], said.content["error"]["type"]) == ("load", "ModuleNotFoundError")
    assert asked(script, {"facts": True}).status == 200


@pytest.mark.parametrize("question", [{"inputs": ["a", None]}, {}, 3])
def test_what_fails_is_said(script: Any, question: Any) -> None:
    """Whatever it is."""
    script.init()
    said = asked(script, question)
    assert said.status == 500
    assert said.content["error"]["stage"] == "predict"


def test_an_answer_that_json_has_no_word_for_is_an_error(script: Any, runner: Any) -> None:
    """The server itself would write NaN."""
    (runner.PACKAGED / "predictor.py").write_text(
        "def load(model_dir):\n    return 2\n\n\ndef predict(model, inputs):\n    return [float('nan')]\n"
    )
    script.init()
    assert asked(script, {"inputs": [1]}).content["error"]["type"] == "ValueError"


def test_the_image_names_files_that_it_has() -> None:
    """The entry script and the model, where they are put beside the runner."""
    (flag, entry), env = azureml.RECIPE.command, azureml.RECIPE.env
    assert flag == "--entry_script"
    folder = azureml.RECIPE.packages[0]
    assert entry == f"/app/model/{folder.name}/score.py"
    assert (folder / "score.py").is_file()
    assert env["AZUREML_MODEL_DIR"] == f"/app/model/{layout.MODEL_FOLDER}"
    assert azureml.HTTP.request({"predict": [1]}) == ("POST", "/score", b'{"inputs": [1]}')
