"""A model that MLflow kept. Written by 'harness import-mlflow'."""

from pathlib import Path
from typing import Any

import harness_conversion
import harness_loader

#: How an input becomes what the model is given.
FORM: dict[str, Any] = {}
#: What is loaded from weights/, and how.
SETTINGS: dict[str, Any] = {}


def load(model_dir: Path) -> Any:
    """A function from what the model is given to what it answers."""
    return harness_loader.load(model_dir / "weights", SETTINGS)


def predict(model: Any, inputs: list[Any]) -> list[Any]:
    """For each input, which is one whole request, what the model answers to it."""
    return [harness_conversion.plain(model(harness_conversion.built(one, FORM))) for one in inputs]
