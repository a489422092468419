"""Make the weights: ``python train.py OUT_DIR`` writes OUT_DIR/weights/forest.joblib."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import joblib
import predictor
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

SEED = 0
EXAMPLES = 8


def write_examples(path: Path, inputs: list[object], outputs: list[object]) -> None:
    """Write examples.json, one input and one output a line."""
    asked, answered = (",\n".join(json.dumps(row) for row in rows) for rows in (inputs, outputs))
    path.write_text(f'{{"inputs": [\n{asked}\n],\n"outputs": [\n{answered}\n]}}\n', encoding="utf-8")


def main() -> None:
    """Train, write the weights, print the accuracy on images that were not trained on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--examples", action="store_true", help="write OUT_DIR/examples.json as well")
    arguments = parser.parse_args()

    images, digits = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(images, digits, test_size=0.25, random_state=SEED)
    forest = RandomForestClassifier(n_estimators=100, n_jobs=1, random_state=SEED).fit(x_train, y_train)
    weights = arguments.out_dir / predictor.WEIGHTS
    weights.parent.mkdir(parents=True, exist_ok=True)
    # The same bytes from every run: scikit-learn clears the trees' nodes, padding too, since 1.3.2
    # (https://github.com/scikit-learn/scikit-learn/pull/27580); the pickle protocol is fixed here.
    joblib.dump(forest, weights, compress=0, protocol=4)

    model = predictor.load(arguments.out_dir)
    answers = predictor.predict(model, x_test.tolist())
    right = sum(answer["digit"] == digit for answer, digit in zip(answers, y_test.tolist(), strict=True))
    print(f"accuracy on {len(y_test)} held-out images: {right / len(y_test):.4f}")
    if arguments.examples:
        inputs = x_test[:EXAMPLES].astype(int).tolist()
        write_examples(arguments.out_dir / "examples.json", inputs, [*predictor.predict(model, inputs)])


if __name__ == "__main__":
    main()
