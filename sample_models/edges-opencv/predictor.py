"""Which shape an image shows: OpenCV finds its edges and measures them, a table of means says what they mean."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

WEIGHTS = "weights/shapes.json"

Image = NDArray[np.uint8]


def load(model_dir: Path) -> dict[str, Any]:
    """For each shape the mean and the spread of every measure."""
    # One thread: compared like with like.
    cv2.setNumThreads(1)
    return json.loads((model_dir / WEIGHTS).read_text(encoding="utf-8"))


def predict(model: dict[str, Any], inputs: list[str]) -> list[dict[str, Any]]:
    """For each image (a PNG or JPEG file in base64) the shape, each one's probability, and where its edges are.

    ``box`` is x, y, width and height in pixels. An image without edges has the shape None.
    """
    return [_answer(model, decoded(text)) for text in inputs]


def decoded(text: str) -> Image:
    """The grey image in a base64 text."""
    data = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise ValueError("not an image that OpenCV can read")
    return image


def outline(image: Image) -> NDArray[np.int32] | None:
    """The contour that encloses most, among the edges that Canny's method finds; None where there is none."""
    edges = cv2.Canny(cv2.GaussianBlur(image, (5, 5), 0), 60, 150)
    closed = cv2.morphologyEx(edges, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    found = max(contours, key=cv2.contourArea, default=None)
    return found if found is not None and cv2.contourArea(found) > 0 else None


def measures(contour: NDArray[np.int32]) -> list[float]:
    """What tells shapes apart wherever they lie, however large, however turned."""
    area, length = cv2.contourArea(contour), cv2.arcLength(contour, closed=True)
    hull = cv2.convexHull(contour)
    (_, _), (width, height), _ = cv2.minAreaRect(contour)
    corners = cv2.approxPolyDP(contour, 0.03 * length, closed=True)
    moments = cv2.HuMoments(cv2.moments(contour)).ravel()
    return [
        4 * math.pi * area / length**2,
        area / cv2.contourArea(hull),
        area / max(width * height, 1.0),
        min(width, height) / max(width, height, 1.0),
        float(len(corners)),
        *(-math.log10(max(abs(float(moment)), 1e-12)) for moment in moments[:2]),
    ]


def _answer(model: dict[str, Any], image: Image) -> dict[str, Any]:
    contour = outline(image)
    if contour is None:
        return {"shape": None, "probabilities": {}, "box": None}
    scores = {name: _log_density(measures(contour), **table) for name, table in model.items()}
    best = max(scores.values())
    likely = {name: math.exp(score - best) for name, score in scores.items()}
    total = sum(likely.values())
    return {
        "shape": max(scores, key=scores.__getitem__),
        "probabilities": {name: value / total for name, value in likely.items()},
        "box": [int(number) for number in cv2.boundingRect(contour)],
    }


def _log_density(found: list[float], means: list[float], spreads: list[float]) -> float:
    """Of a normal distribution for each measure, as if they did not depend on each other; a constant is left out."""
    return -sum(
        ((value - mean) / spread) ** 2 / 2 + math.log(spread)
        for value, mean, spread in zip(found, means, spreads, strict=True)
    )
