"""Make the weights: ``python train.py OUT_DIR`` writes OUT_DIR/weights/ensemble.joblib."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import joblib
import predictor
from sklearn.datasets import load_diabetes
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor, VotingRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split

SEED = 0
TREES = 1_200  # of each kind

#: Patients that nobody is: age, sex (1 or 2), body mass index, blood pressure, six measures of the blood serum.
EXAMPLES = [
    [50.0, 1.0, 26.0, 95.0, 190.0, 115.0, 50.0, 4.0, 4.6, 91.0],
    [32.0, 2.0, 21.5, 82.0, 160.0, 95.0, 58.0, 2.8, 4.1, 84.0],
    [67.0, 2.0, 33.5, 112.0, 225.0, 145.0, 36.0, 6.3, 5.5, 108.0],
    [41.0, 1.0, 29.0, 88.0, 205.0, 128.0, 44.0, 4.7, 5.0, 97.0],
    [24.0, 1.0, 19.0, 71.0, 140.0, 78.0, 65.0, 2.2, 3.7, 76.0],
    [58.0, 2.0, 24.5, 104.0, 178.0, 102.0, 41.0, 4.3, 4.9, 89.0],
]


def write_examples(path: Path, inputs: list[Any], outputs: list[Any]) -> None:
    """Write examples.json, one input and one output a line."""
    asked, answered = (",\n".join(json.dumps(row) for row in rows) for rows in (inputs, outputs))
    path.write_text(f'{{"inputs": [\n{asked}\n],\n"outputs": [\n{answered}\n]}}\n', encoding="utf-8")


def main() -> None:
    """Train, write the weights, print the share of variance explained in patients that were not trained on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--examples", action="store_true", help="write OUT_DIR/examples.json as well")
    arguments = parser.parse_args()

    patients, progress = load_diabetes(return_X_y=True, scaled=False)
    x_train, x_test, y_train, y_test = train_test_split(patients, progress, test_size=0.25, random_state=SEED)
    ensemble = VotingRegressor(
        [
            ("forest", RandomForestRegressor(n_estimators=TREES, max_features=4, n_jobs=1, random_state=SEED)),
            ("extra", ExtraTreesRegressor(n_estimators=TREES, max_features=4, n_jobs=1, random_state=SEED + 1)),
        ]
    ).fit(x_train, y_train)
    weights = arguments.out_dir / predictor.WEIGHTS
    weights.parent.mkdir(parents=True, exist_ok=True)
    joblib.dump(ensemble, weights, compress=0, protocol=4)

    model = predictor.load(arguments.out_dir)
    explained = r2_score(y_test, predictor.predict(model, x_test.tolist()))
    print(f"variance explained in {len(y_test)} held-out patients: {explained:.3f}")
    if arguments.examples:
        write_examples(arguments.out_dir / "examples.json", EXAMPLES, predictor.predict(model, EXAMPLES))


if __name__ == "__main__":
    main()
