"""Handwritten digits: a scikit-learn random forest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib

WEIGHTS = "weights/forest.joblib"


def load(model_dir: Path) -> Any:
    """The fitted ``RandomForestClassifier``; unpickling it is what imports scikit-learn."""
    return joblib.load(model_dir / WEIGHTS)


def predict(model: Any, inputs: list[list[float]]) -> list[dict[str, Any]]:
    """For each image (64 grey values 0 to 16, row by row) the digit, and the probability of each digit."""
    probabilities = model.predict_proba(inputs)
    digits = model.classes_[probabilities.argmax(axis=1)]
    return [
        {"digit": digit, "probabilities": row}
        for digit, row in zip(digits.tolist(), probabilities.tolist(), strict=True)
    ]
