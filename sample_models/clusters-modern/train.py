"""Make the weights: ``python train.py OUT_DIR`` writes OUT_DIR/weights/centroids.npy."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import predictor

CLUSTERS, POINTS, DIMENSIONS, ROUNDS, SEED, EXAMPLES = 6, 200, 4, 50, 0, 6


def points(chance: np.random.Generator) -> np.ndarray:
    """Points around six centres that lie far from each other, cluster after cluster."""
    centres = chance.uniform(-10, 10, (CLUSTERS, DIMENSIONS))
    return np.concatenate([centre + chance.normal(0, 0.5, (POINTS, DIMENSIONS)) for centre in centres])


def centroids(found: np.ndarray) -> np.ndarray:
    """Lloyd's algorithm, begun with one point of each cluster."""
    middle = found[::POINTS].copy()
    for _ in range(ROUNDS):
        nearest = np.linalg.norm(found[:, None] - middle[None], axis=2).argmin(axis=1)
        middle = np.stack([found[nearest == cluster].mean(axis=0) for cluster in range(CLUSTERS)])
    return middle


def main() -> None:
    """Find the centroids, write them, print how many points are of the cluster that they were made of."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--examples", action="store_true", help="write OUT_DIR/examples.json as well")
    arguments = parser.parse_args()

    chance = np.random.default_rng(SEED)
    found = points(chance)
    weights = arguments.out_dir / predictor.WEIGHTS
    weights.parent.mkdir(parents=True, exist_ok=True)
    np.save(weights, centroids(found))

    model = predictor.load(arguments.out_dir)
    answers = predictor.predict(model, found.tolist())
    right = sum(answer["cluster"] == number // POINTS for number, answer in enumerate(answers))
    print(f"points in the cluster that they were made of: {right / len(answers):.4f}")
    if arguments.examples:
        inputs = [[round(value, 3) for value in point] for point in found[:: POINTS + 3][:EXAMPLES].tolist()]
        outputs = predictor.predict(model, inputs)
        asked, answered = (",\n".join(json.dumps(row) for row in rows) for rows in (inputs, outputs))
        text = f'{{"inputs": [\n{asked}\n],\n"outputs": [\n{answered}\n]}}\n'
        (arguments.out_dir / "examples.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
