"""What is like these items: 100,000 vectors of 768 numbers, searched whole by dot product."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WEIGHTS = "weights/vectors.npy"

Vectors = NDArray[np.float32]


def load(model_dir: Path) -> Vectors:
    """The table, an item a row, read into memory whole.

    Not mapped: every search looks at every row, so a mapped file would only move its reading into the first answer.
    """
    return np.load(model_dir / WEIGHTS, allow_pickle=False)


def predict(model: Vectors, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each question (``items``: row numbers, ``k``) the ``k`` other items nearest to their mean, the nearest first.

    A ``score`` is the dot product with the mean.
    """
    return [_nearest(model, question["items"], question["k"]) for question in inputs]


def _nearest(vectors: Vectors, items: list[int], k: int) -> dict[str, Any]:
    scores = vectors @ vectors[items].mean(axis=0)
    scores[items] = -np.inf
    best = np.argpartition(scores, -k)[-k:]
    best = best[np.argsort(scores[best])[::-1]]
    return {"items": best.tolist(), "scores": scores[best].tolist()}
