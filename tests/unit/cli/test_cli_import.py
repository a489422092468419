"""``harness import-mlflow``: what it prints, and its exit codes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.spec.mlflow import importing
from harness.spec.mlflow.importing import Imported, Made

FOLDERS = Path(__file__).parents[1] / "spec" / "mlflow" / "folders"


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An import that is not carried out; what it was asked for."""
    asked: dict[str, Any] = {}

    def import_model(source: Path, target: Path, **how: Any) -> Imported:
        how.pop("say")("pyfunc: install")
        asked.update(how, source=source, target=target)
        made = Made(variant="native", folder=target, requirements=("numpy",), packages=3, wheel_bytes=2**20)
        return Imported(
            source=source,
            loader="mlflow.sklearn",
            mlflow_version="3.1",
            made=(made,),
            compared=True,
            notes=("careful",),
        )

    monkeypatch.setattr(importing, "import_model", import_model)
    return asked


def test_what_was_made_is_told(harness: Callable[..., Any], done: dict[str, Any], tmp_path: Path) -> None:
    """On standard output; progress and what to mind on standard error."""
    said = harness(
        "import-mlflow", FOLDERS / "3.17", tmp_path / "out", "--variant", "native", "--input", "request.json"
    )
    assert said.code == 0
    assert f"Made {tmp_path / 'out'}: native variant, 3 packages, 1.0 MiB of wheels." in said.out
    assert "answer the input example alike" in said.out
    assert said.err.splitlines() == ["pyfunc: install", "Mind: careful"]
    assert (done["wanted"], done["given"]) == ("native", Path("request.json"))


def test_json(harness: Callable[..., Any], done: dict[str, Any], tmp_path: Path) -> None:
    """Everything that is known of it."""
    said = harness("import-mlflow", FOLDERS / "3.17", tmp_path / "out", "--json")
    assert said.code == 0
    assert said.json["compared"] is True
    assert said.json["made"][0]["variant"] == "native"
    assert done["wanted"] is None


def test_bad_input_ends_with_2(harness: Callable[..., Any], tmp_path: Path) -> None:
    """A folder that is none of MLflow's, one without an example, a variant that there isn't."""
    said = harness("import-mlflow", tmp_path, tmp_path / "out", "--json")
    assert said.code == 2
    assert said.json["error"]["kind"] == "BadInput"
    assert "MLmodel" in said.err
    said = harness("import-mlflow", FOLDERS / "1.0", tmp_path / "out")
    assert said.code == 2
    assert "has no input example" in said.err
    assert "--input FILE" in said.err
    assert harness("import-mlflow", FOLDERS / "3.17", tmp_path / "out", "--variant", "other").code == 2
    assert not (tmp_path / "out").exists()
