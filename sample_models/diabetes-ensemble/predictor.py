"""How diabetes will have progressed in a year: 2,400 trees of two kinds, by scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib

WEIGHTS = "weights/ensemble.joblib"


def load(model_dir: Path) -> Any:
    """The fitted ``VotingRegressor``; unpickling it imports scikit-learn and makes every tree."""
    return joblib.load(model_dir / WEIGHTS)


def predict(model: Any, inputs: list[list[float]]) -> list[float]:
    """For each patient (10 values in their own units, in the data set's order) how far it goes, 25 to 346."""
    return model.predict(inputs).tolist()
