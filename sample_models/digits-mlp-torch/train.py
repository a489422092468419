"""Make the weights: ``python train.py OUT_DIR`` writes OUT_DIR/weights/mlp.pt."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import predictor
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

SEED = 0
STEPS = 200
LEARNING_RATE = 0.003
WEIGHT_DECAY = 1e-3
#: Keeps the probabilities away from 0 and 1, where the examples' tolerance would tell nothing apart.
LABEL_SMOOTHING = 0.1
EXAMPLES = 8


def train(pixels: torch.Tensor, digits: torch.Tensor) -> nn.Sequential:
    """A network fitted to ``pixels`` (images x 64, 0 to 1), all images in each step."""
    # The seed and one thread give the same bits again on one processor; another's vector width changes
    # the order of the sums. In float32 such differences grow to 5e-3 in the answers, beyond the examples'
    # tolerance; in float64 they vanish when the finished weights are rounded, or all but.
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    model = predictor.network().double()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for _ in range(STEPS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(pixels), digits, label_smoothing=LABEL_SMOOTHING).backward()
        optimizer.step()
    return model.float()


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
    trained = train(torch.tensor(x_train, dtype=torch.float64) / 16, torch.tensor(y_train))
    weights = arguments.out_dir / predictor.WEIGHTS
    weights.parent.mkdir(parents=True, exist_ok=True)
    torch.save(trained.state_dict(), weights)

    model = predictor.load(arguments.out_dir)
    answers = predictor.predict(model, x_test.tolist())
    right = sum(answer["digit"] == digit for answer, digit in zip(answers, y_test.tolist(), strict=True))
    print(f"accuracy on {len(y_test)} held-out images: {right / len(y_test):.4f}")
    if arguments.examples:
        inputs = x_test[:EXAMPLES].astype(int).tolist()
        write_examples(arguments.out_dir / "examples.json", inputs, [*predictor.predict(model, inputs)])


if __name__ == "__main__":
    main()
