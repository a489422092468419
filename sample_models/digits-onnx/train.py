"""Make the weights: ``python train.py OUT_DIR`` writes OUT_DIR/weights/forest.onnx."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import predictor
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

# The same data, parameters and seed as in digits-forest: the same forest, another runtime.
SEED = 0
EXAMPLES = 8
#: The operators of ONNX 1.16: old enough for every runtime since 2024, and not "the newest that is installed".
OPSET = 21


def onnx_bytes(forest: RandomForestClassifier) -> bytes:
    """The forest as a serialised ONNX graph with inputs ``pixels``, outputs ``label`` and ``probabilities``."""
    graph = to_onnx(
        forest,
        name="digits",  # otherwise a random one
        initial_types=[("pixels", FloatTensorType([None, 64]))],
        options={"zipmap": False},  # an array of probabilities, not a list of maps
        target_opset=OPSET,
    )
    serialised: bytes = graph.SerializeToString(deterministic=True)
    return serialised


def write_examples(path: Path, inputs: list[object], outputs: list[object]) -> None:
    """Write examples.json, one input and one output a line."""
    asked, answered = (",\n".join(json.dumps(row) for row in rows) for rows in (inputs, outputs))
    path.write_text(f'{{"inputs": [\n{asked}\n],\n"outputs": [\n{answered}\n]}}\n', encoding="utf-8")


def main() -> None:
    """Train, write the weights, check them against the forest, print the accuracy on held-out images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--examples", action="store_true", help="write OUT_DIR/examples.json as well")
    arguments = parser.parse_args()

    images, digits = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(images, digits, test_size=0.25, random_state=SEED)
    forest = RandomForestClassifier(n_estimators=100, n_jobs=1, random_state=SEED).fit(x_train, y_train)
    weights = arguments.out_dir / predictor.WEIGHTS
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_bytes(onnx_bytes(forest))

    model = predictor.load(arguments.out_dir)
    answers = predictor.predict(model, images.tolist())
    if [answer["digit"] for answer in answers] != forest.predict(images).tolist():
        raise SystemExit("the ONNX graph does not answer the same digits as the forest")
    difference = np.abs(np.array([answer["probabilities"] for answer in answers]) - forest.predict_proba(images)).max()
    if difference > 1e-5:
        raise SystemExit(f"the ONNX graph's probabilities differ from the forest's by {difference:.1e}")
    print(f"same digits as the forest on all {len(images)} images; probabilities within {difference:.1e}")
    right = sum(
        answer["digit"] == digit
        for answer, digit in zip(predictor.predict(model, x_test.tolist()), y_test.tolist(), strict=True)
    )
    print(f"accuracy on {len(y_test)} held-out images: {right / len(y_test):.4f}")
    if arguments.examples:
        inputs = x_test[:EXAMPLES].astype(int).tolist()
        write_examples(arguments.out_dir / "examples.json", inputs, [*predictor.predict(model, inputs)])


if __name__ == "__main__":
    main()
