"""Make the weights: ``python train.py OUT_DIR`` writes OUT_DIR/weights/regression.joblib."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import joblib
import predictor
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SEED = 0
EXAMPLES = 8


def write_examples(path: Path, inputs: list[Any], outputs: list[Any]) -> None:
    """Write examples.json, one input and one output a line."""
    asked, answered = (",\n".join(json.dumps(row) for row in rows) for rows in (inputs, outputs))
    path.write_text(f'{{"inputs": [\n{asked}\n],\n"outputs": [\n{answered}\n]}}\n', encoding="utf-8")


def main() -> None:
    """Train, write the weights, print the accuracy on wines that were not trained on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--examples", action="store_true", help="write OUT_DIR/examples.json as well")
    arguments = parser.parse_args()

    wines, cultivars = load_wine(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        wines, cultivars, test_size=0.25, random_state=SEED, stratify=cultivars
    )
    # Solved far beyond what the examples' tolerance sees, so that it does not matter where the solver stops.
    regression = LogisticRegression(C=0.5, tol=1e-10, max_iter=10_000)
    pipeline = make_pipeline(StandardScaler(), regression).fit(x_train, y_train)
    weights = arguments.out_dir / predictor.WEIGHTS
    weights.parent.mkdir(parents=True, exist_ok=True)
    joblib.dump(pipeline, weights, compress=0, protocol=4)

    model = predictor.load(arguments.out_dir)
    answers = predictor.predict(model, x_test.tolist())
    right = sum(answer["cultivar"] == cultivar for answer, cultivar in zip(answers, y_test.tolist()))
    print(f"accuracy on {len(y_test)} held-out wines: {right / len(y_test):.4f}")
    if arguments.examples:
        inputs = x_test[:EXAMPLES].tolist()
        write_examples(arguments.out_dir / "examples.json", inputs, predictor.predict(model, inputs))


if __name__ == "__main__":
    main()
