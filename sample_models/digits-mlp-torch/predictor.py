"""Handwritten digits: a small multilayer perceptron in PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

WEIGHTS = "weights/mlp.pt"


def network() -> nn.Sequential:
    """The network without its weights: 64 pixels, two hidden layers, a score for each digit."""
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def load(model_dir: Path) -> nn.Sequential:
    """The trained network, from tensors alone: ``weights_only`` runs no code that a pickle might hold."""
    # One thread: compared like with like, and faster than several for a network of this size.
    torch.set_num_threads(1)
    model = network()
    model.load_state_dict(torch.load(model_dir / WEIGHTS, map_location="cpu", weights_only=True))
    return model.eval()


def predict(model: nn.Sequential, inputs: list[list[float]]) -> list[dict[str, Any]]:
    """For each image (64 grey values 0 to 16, row by row) the digit, and the probability of each digit."""
    with torch.inference_mode():
        pixels = torch.tensor(inputs, dtype=torch.float32) / 16
        probabilities = model(pixels).softmax(dim=1)
    digits = probabilities.argmax(dim=1)
    return [
        {"digit": digit, "probabilities": row}
        for digit, row in zip(digits.tolist(), probabilities.tolist(), strict=True)
    ]
