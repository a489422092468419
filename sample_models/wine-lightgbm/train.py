"""Make the weights: ``python train.py OUT_DIR`` writes OUT_DIR/weights/trees.txt."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import lightgbm
import predictor
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

SEED = 0
ROUNDS = 120
EXAMPLES = 8
PARAMETERS = {
    "objective": "multiclass",
    "num_class": 3,
    "learning_rate": 0.05,
    "num_leaves": 8,
    "min_data_in_leaf": 10,
    "num_threads": 1,
    "seed": SEED,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


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
    booster = lightgbm.train(PARAMETERS, lightgbm.Dataset(x_train, y_train), num_boost_round=ROUNDS)
    weights = arguments.out_dir / predictor.WEIGHTS
    weights.parent.mkdir(parents=True, exist_ok=True)
    booster.save_model(weights)

    model = predictor.load(arguments.out_dir)
    answers = predictor.predict(model, x_test.tolist())
    right = sum(answer["cultivar"] == cultivar for answer, cultivar in zip(answers, y_test.tolist(), strict=True))
    print(f"accuracy on {len(y_test)} held-out wines: {right / len(y_test):.4f}")
    if arguments.examples:
        inputs = x_test[:EXAMPLES].tolist()
        write_examples(arguments.out_dir / "examples.json", inputs, predictor.predict(model, inputs))


if __name__ == "__main__":
    main()
