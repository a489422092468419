"""Make the weights: ``python train.py OUT_DIR`` writes OUT_DIR/weights/shapes.json.

The images are drawn here, with a fixed seed: shapes of any size, place, angle and brightness, blurred and with noise.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import predictor

SEED = 20261123
SIDE = 96
IMAGES, HELD_OUT = 300, 60  # of each shape
SHAPES = ("circle", "cross", "rectangle", "star", "triangle")
#: No measure is trusted to be more constant than this.
LEAST_SPREAD = 0.01


def polygon(shape: str, rng: np.random.Generator) -> list[tuple[float, float]]:
    """The corners of a shape about the origin, none further away than 1."""
    if shape == "circle":
        return [(math.cos(turn), math.sin(turn)) for turn in np.linspace(0, 2 * math.pi, 72, endpoint=False)]
    if shape == "triangle":
        return [(math.cos(turn), math.sin(turn)) for turn in (0.0, 2 * math.pi / 3, 4 * math.pi / 3)]
    if shape == "rectangle":
        side = rng.uniform(0.4, 0.95)
        return [(-1, -side), (1, -side), (1, side), (-1, side)]
    if shape == "star":
        return [
            (math.cos(point * math.pi / 5) * radius, math.sin(point * math.pi / 5) * radius)
            for point, radius in enumerate([1.0, 0.45] * 5)
        ]
    arm = rng.uniform(0.25, 0.4)
    quarter = [(arm, 1), (arm, arm), (1, arm)]
    turned = [(1, 1), (1, -1), (-1, -1), (-1, 1)]
    return [
        (x * sx, y * sy)
        for (sx, sy), corners in zip(turned, (quarter, quarter[::-1], quarter, quarter[::-1]), strict=True)
        for x, y in corners
    ]


def drawn(shape: str, rng: np.random.Generator) -> predictor.Image:
    """An image of the shape."""
    size, turn = rng.uniform(0.22, 0.32) * SIDE, rng.uniform(0, 2 * math.pi)
    x, y = rng.uniform(0.42, 0.58, size=2) * SIDE
    dark, light = rng.integers(10, 90), rng.integers(150, 245)
    corners = [
        (
            x + size * (math.cos(turn) * px - math.sin(turn) * py),
            y + size * (math.sin(turn) * px + math.cos(turn) * py),
        )
        for px, py in polygon(shape, rng)
    ]
    image = np.full((SIDE, SIDE), dark, dtype=np.uint8)
    cv2.fillPoly(image, [np.rint(corners).astype(np.int32)], int(light))
    noise = rng.integers(-8, 9, size=image.shape)
    return np.clip(cv2.GaussianBlur(image, (3, 3), 0).astype(np.int64) + noise, 0, 255).astype(np.uint8)


def encoded(image: predictor.Image) -> str:
    """The image as a PNG file in base64."""
    return base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode("ascii")


def table(shape: str, rng: np.random.Generator) -> dict[str, list[float]]:
    """Mean and spread of each measure over images of the shape."""
    contours = [predictor.outline(drawn(shape, rng)) for _ in range(IMAGES)]
    found = np.array([predictor.measures(contour) for contour in contours if contour is not None])
    # Rounded, so that the last digits of sums, which depend on the processor, don't show.
    return {
        "means": found.mean(axis=0).round(6).tolist(),
        "spreads": np.maximum(found.std(axis=0), LEAST_SPREAD).round(6).tolist(),
    }


def write_examples(path: Path, inputs: list[Any], outputs: list[Any]) -> None:
    """Write examples.json, one input and one output a line."""
    asked, answered = (",\n".join(json.dumps(row) for row in rows) for rows in (inputs, outputs))
    path.write_text(f'{{"inputs": [\n{asked}\n],\n"outputs": [\n{answered}\n]}}\n', encoding="utf-8")


def main() -> None:
    """Measure drawn images, write the weights, print the accuracy on further ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--examples", action="store_true", help="write OUT_DIR/examples.json as well")
    arguments = parser.parse_args()

    rng = np.random.Generator(np.random.PCG64(SEED))
    weights = arguments.out_dir / predictor.WEIGHTS
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_text(json.dumps({shape: table(shape, rng) for shape in SHAPES}, indent=1) + "\n", encoding="utf-8")

    model = predictor.load(arguments.out_dir)
    later = [(shape, encoded(drawn(shape, rng))) for _ in range(HELD_OUT) for shape in SHAPES]
    answers = predictor.predict(model, [image for _, image in later])
    right = sum(answer["shape"] == shape for answer, (shape, _) in zip(answers, later, strict=True))
    print(f"accuracy on {len(later)} further images: {right / len(later):.4f}")
    if arguments.examples:
        blank = encoded(np.full((SIDE, SIDE), 128, dtype=np.uint8))
        inputs = [*(image for _, image in later[: len(SHAPES)]), blank]
        write_examples(arguments.out_dir / "examples.json", inputs, predictor.predict(model, inputs))


if __name__ == "__main__":
    main()
