"""Which of six clusters a point is of: the nearest centroid, in the words of Python 3.13."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS = "weights/centroids.npy"

type Points = np.ndarray


@dataclass(frozen=True, kw_only=True)
class Nearest[Label = int]:
    """What a point is nearest to; the default of the type parameter is what earlier Pythons cannot read."""

    cluster: Label
    distance: float


def load(model_dir: Path) -> Points:
    """The centroids, one a row."""
    return np.load(model_dir / WEIGHTS)


def predict(model: Points, inputs: list[list[float]]) -> list[dict[str, Any]]:
    """For each point (four numbers) the cluster 0 to 5, and how far its centroid is, to four places."""
    answers = []
    for point in np.asarray(inputs, dtype=float):
        distances = np.linalg.norm(model - point, axis=1)
        found: Nearest = Nearest(cluster=int(distances.argmin()), distance=float(distances.min()))
        shown = copy.replace(found, distance=round(found.distance, 4))
        answers.append({"cluster": shown.cluster, "distance": shown.distance})
    return answers
