"""Which of three cultivars a wine is of: logistic regression by a scikit-learn of 2021."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib

WEIGHTS = "weights/regression.joblib"


def load(model_dir: Path) -> Any:
    """The fitted pipeline; another version of scikit-learn warns, or fails, at unpickling it."""
    return joblib.load(model_dir / WEIGHTS)


def predict(model: Any, inputs: list[list[float]]) -> list[dict[str, Any]]:
    """For each wine (13 measured values, in the data set's order) the cultivar 0 to 2, and each one's probability."""
    probabilities = model.predict_proba(inputs)
    return [
        {"cultivar": cultivar, "probabilities": row}
        for cultivar, row in zip(probabilities.argmax(axis=1).tolist(), probabilities.tolist())
    ]
