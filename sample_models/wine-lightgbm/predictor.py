"""Which of three cultivars a wine is of: gradient-boosted trees by LightGBM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

WEIGHTS = "weights/trees.txt"


def load(model_dir: Path) -> lightgbm.Booster:
    """The trees, from LightGBM's own text format: nothing is unpickled."""
    return lightgbm.Booster(model_file=model_dir / WEIGHTS)


def predict(model: lightgbm.Booster, inputs: list[list[float]]) -> list[dict[str, Any]]:
    """For each wine (13 measured values, in the data set's order) the cultivar 0 to 2, and each one's probability."""
    probabilities = np.asarray(model.predict(np.asarray(inputs, dtype=np.float64), num_threads=1))
    return [
        {"cultivar": cultivar, "probabilities": row}
        for cultivar, row in zip(probabilities.argmax(axis=1).tolist(), probabilities.tolist(), strict=True)
    ]
