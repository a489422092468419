"""Make the rules: ``python train.py OUT_DIR`` writes OUT_DIR/weights/rules/<region>/<service>.json, 5,000 files.

The tariffs are generated with a fixed seed: they are nobody's. A region has its own level of prices, a service its
own base, and each file its own selection of rules, so no two files are the same.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import predictor

SEED = 20261123
REGIONS, SERVICES = 100, 50

Range = tuple[int, int]

#: name, condition (the value is a range to draw from, or given), what it adds in cents, in basis points.
RULES: tuple[tuple[str, str, str, Any, Range, Range], ...] = (
    ("heavy", "grams", "at least", (5_000, 20_000), (100, 900), (0, 0)),
    ("very heavy", "grams", "at least", (20_000, 31_500), (500, 2_500), (100, 900)),
    ("letter", "grams", "below", (50, 500), (-300, -50), (0, 0)),
    ("valuable", "value_cents", "at least", (20_000, 200_000), (50, 400), (50, 300)),
    ("worthless", "value_cents", "below", (100, 1_500), (-80, -10), (0, 0)),
    ("express", "express", "is", True, (200, 1_500), (0, 2_000)),
    ("patient", "express", "is", False, (-60, 0), (-200, 0)),
    ("island", "zone", "is", "island", (500, 3_000), (0, 1_500)),
    ("land", "zone", "is", "land", (20, 300), (0, 200)),
    ("city", "zone", "is", "city", (-50, 100), (0, 0)),
)

EXAMPLES: list[dict[str, Any]] = [
    {"region": "r007", "service": "s03", "grams": 350, "value_cents": 900, "express": False, "zone": "city"},
    {"region": "r042", "service": "s17", "grams": 12_400, "value_cents": 45_000, "express": True, "zone": "land"},
    {"region": "r099", "service": "s49", "grams": 31_000, "value_cents": 250_000, "express": True, "zone": "island"},
    {"region": "r000", "service": "s00", "grams": 20, "value_cents": 0, "express": False, "zone": "land"},
    {"region": "r063", "service": "s28", "grams": 5_001, "value_cents": 19_999, "express": False, "zone": "island"},
    {"region": "r100", "service": "s00", "grams": 1_000, "value_cents": 100, "express": False, "zone": "city"},
]


def tariff(rng: random.Random, *, level: int, base: int) -> dict[str, Any]:
    """A base price and four to ten rules; ``level`` is the region's, in per cent."""
    # Only random() is the same in every version of Python, so every draw is made of it.
    chosen = [rule for rule in RULES if rng.random() < 0.7] or list(RULES[:4])
    return {
        "base_cents": base * level // 100,
        "kilogram_cents": drawn(rng, 20, 180) * level // 100,
        "rules": [_rule(rng, *rule) for rule in chosen],
    }


def drawn(rng: random.Random, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``, both included."""
    return low + int(rng.random() * (high - low + 1))


def _rule(
    rng: random.Random, name: str, field: str, comparison: str, value: Any, cents: Range, more: Range
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": name,
        "if": [field, comparison, drawn(rng, *value) if isinstance(value, tuple) else value],
        "cents": drawn(rng, *cents),
    }
    if basis_points := drawn(rng, *more):
        made["basis_points"] = basis_points
    return made


def write_examples(path: Path, inputs: list[Any], outputs: list[Any]) -> None:
    """Write examples.json, one input and one output a line."""
    asked, answered = (",\n".join(json.dumps(row) for row in rows) for rows in (inputs, outputs))
    path.write_text(f'{{"inputs": [\n{asked}\n],\n"outputs": [\n{answered}\n]}}\n', encoding="utf-8")


def main() -> None:
    """Write every tariff, and print how many there are and what the examples cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--examples", action="store_true", help="write OUT_DIR/examples.json as well")
    arguments = parser.parse_args()

    rng = random.Random(SEED)
    bases = [drawn(rng, 290, 1_990) for _ in range(SERVICES)]
    for region in range(REGIONS):
        folder = arguments.out_dir / predictor.RULES / f"r{region:03}"
        folder.mkdir(parents=True, exist_ok=True)
        level = drawn(rng, 80, 140)
        for service, base in enumerate(bases):
            text = json.dumps(tariff(rng, level=level, base=base), indent=1)
            (folder / f"s{service:02}.json").write_text(text + "\n", encoding="utf-8")

    model = predictor.load(arguments.out_dir)
    answers = predictor.predict(model, EXAMPLES)
    print(f"{len(model)} tariffs; the examples cost {', '.join(str(answer['cents']) for answer in answers)} cents")
    if arguments.examples:
        write_examples(arguments.out_dir / "examples.json", EXAMPLES, answers)


if __name__ == "__main__":
    main()
