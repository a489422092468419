"""Handwritten digits: a random forest as an ONNX graph, answered by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

WEIGHTS = "weights/forest.onnx"


def load(model_dir: Path) -> onnxruntime.InferenceSession:
    """A session of one thread, so that it is compared like with like and takes no more than its share."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model_dir / WEIGHTS), options, providers=["CPUExecutionProvider"])


def predict(model: onnxruntime.InferenceSession, inputs: list[list[float]]) -> list[dict[str, Any]]:
    """For each image (64 grey values 0 to 16, row by row) the digit, and the probability of each digit."""
    digits, probabilities = model.run(["label", "probabilities"], {"pixels": np.asarray(inputs, dtype=np.float32)})
    return [
        {"digit": digit, "probabilities": row}
        for digit, row in zip(digits.tolist(), probabilities.tolist(), strict=True)
    ]
