"""Make the vectors: ``python train.py OUT_DIR`` writes OUT_DIR/weights/vectors.npy, 307 MB.

They are generated: each item lies near one of 2,000 topics, so that the nearest ones are no accident. The generator
gives whole multiples of 2^-24, and what is done with them is one rounded operation for each number, so every processor
makes the same bytes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import predictor

SEED = 20261123
ITEMS, TOPICS, WIDTH = 100_000, 2_000, 768
#: How much of an item is its topic's: the rest is its own.
SHARED = np.float32(0.5)
ROWS_AT_ONCE = 5_000

EXAMPLES: list[dict[str, Any]] = [
    {"items": [0], "k": 5},
    {"items": [99_999], "k": 3},
    {"items": [4_711, 12_711], "k": 5},
    {"items": [17, 2_017, 4_017, 6_017], "k": 8},
    {"items": [31_415, 92_653], "k": 4},
]


def signed(rng: np.random.Generator, rows: int) -> predictor.Vectors:
    """Rows of numbers from -1 to 1, evenly spread."""
    return rng.random((rows, WIDTH), dtype=np.float32) * np.float32(2) - np.float32(1)


def vectors() -> predictor.Vectors:
    """The table: item ``n`` belongs to topic ``n % TOPICS``."""
    rng = np.random.Generator(np.random.PCG64(SEED))
    topics = signed(rng, TOPICS)
    table = np.empty((ITEMS, WIDTH), dtype=np.float32)
    for start in range(0, ITEMS, ROWS_AT_ONCE):
        rows = table[start : start + ROWS_AT_ONCE]
        own = signed(rng, len(rows))
        rows[:] = topics[np.arange(start, start + len(rows)) % TOPICS] * SHARED + own * (np.float32(1) - SHARED)
    return table


def write_examples(path: Path, inputs: list[Any], outputs: list[Any]) -> None:
    """Write examples.json, one input and one output a line."""
    asked, answered = (",\n".join(json.dumps(row) for row in rows) for rows in (inputs, outputs))
    path.write_text(f'{{"inputs": [\n{asked}\n],\n"outputs": [\n{answered}\n]}}\n', encoding="utf-8")


def main() -> None:
    """Write the vectors, and print how often the nearest item is of the same topic."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--examples", action="store_true", help="write OUT_DIR/examples.json as well")
    arguments = parser.parse_args()

    weights = arguments.out_dir / predictor.WEIGHTS
    weights.parent.mkdir(parents=True, exist_ok=True)
    np.save(weights, vectors(), allow_pickle=False)

    model = predictor.load(arguments.out_dir)
    asked = range(0, ITEMS, ITEMS // 50)
    answers = predictor.predict(model, [{"items": [item], "k": 1} for item in asked])
    right = sum(answer["items"][0] % TOPICS == item % TOPICS for item, answer in zip(asked, answers, strict=True))
    print(f"nearest of the same topic: {right} of {len(asked)}")
    if arguments.examples:
        write_examples(arguments.out_dir / "examples.json", EXAMPLES, predictor.predict(model, EXAMPLES))


if __name__ == "__main__":
    main()
