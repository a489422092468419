"""Make the weights: ``python train.py OUT_DIR`` writes OUT_DIR/weights/equations.json.

Measurements are generated from laws that the search does not know. Of many candidate terms it takes the one that
explains most, then the next, until nothing is won any more. The sums are mpmath's, of 30 digits in whole-number
arithmetic, so every machine finds the same.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from pathlib import Path
from typing import Any

import mpmath
import predictor

SEED = 20261123
MEASUREMENTS, HELD_OUT = 60, 20
NOISE = 0.02
#: A further term has to leave less than this share of what is not explained yet.
WORTHWHILE = 0.8

#: The least and the most of each quantity that is measured, in ``UNITS``.
RANGES = {"area": (40, 250), "warmth": (2, 35), "wind": (0, 15), "people": (0, 6), "window": (2, 40), "sun": (0, 600)}
UNITS = {
    "area": "meter*meter",
    "indoor": "kelvin",
    "outdoor": "kelvin",
    "wind": "meter/second",
    "people": "one",
    "window": "meter*meter",
    "sun": "watt/meter/meter",
}
#: What the measurements follow, in watts.
LAWS: dict[str, list[predictor.Term]] = {
    "loss": [("0.9", {"area": 1, "warmth": 1}), ("0.045", {"area": 1, "warmth": 1, "wind": 1})],
    "gain": [("85", {"people": 1}), ("0.55", {"window": 1, "sun": 1})],
}
#: What needs no search: a difference, a balance, watts as kilowatt hours a day.
GIVEN: dict[str, list[predictor.Term]] = {
    "warmth": [("1", {"indoor": 1}), ("-1", {"outdoor": 1})],
    "power": [("1", {"loss": 1}), ("-1", {"gain": 1})],
    "energy": [("0.024", {"power": 1})],
}

EXAMPLES: list[dict[str, list[Any]]] = [
    {
        "area": [120, "meter*meter"],
        "indoor": [294.15, "kelvin"],
        "outdoor": [268.15, "kelvin"],
        "wind": [18, "kilometer/hour"],
        "people": [4, "one"],
        "window": [16, "meter*meter"],
        "sun": [60, "watt/meter/meter"],
    },
    {
        "area": [600, "foot*foot"],
        "indoor": [293.15, "kelvin"],
        "outdoor": [283.65, "kelvin"],
        "wind": [3.5, "meter/second"],
        "people": [1, "one"],
        "window": [9.5, "meter*meter"],
        "sun": [210, "joule/second/meter/meter"],
    },
    {
        "area": [210, "meter*meter"],
        "indoor": [292.65, "kelvin"],
        "outdoor": [258.65, "kelvin"],
        "wind": [25, "mile/hour"],
        "people": [0, "one"],
        "window": [30, "meter*meter"],
        "sun": [0, "watt/meter/meter"],
    },
]


def measured(rng: random.Random, law: list[predictor.Term]) -> tuple[dict[str, float], float]:
    """One measurement: the quantities, and what the law gives, with noise."""
    # Only random() is the same in every version of Python, so every draw is made of it.
    values = {name: low + (high - low) * rng.random() for name, (low, high) in RANGES.items()}
    noise = 1 + NOISE * (2 * rng.random() - 1)
    return values, noise * sum(float(factor) * value_of(powers, values) for factor, powers in law)


def value_of(powers: dict[str, int], values: dict[str, float]) -> float:
    """The product of the quantities, each to its power (1 or 2, by multiplication: the same everywhere)."""
    result = 1.0
    for name, power in powers.items():
        for _ in range(power):
            result *= values[name]
    return result


def candidates() -> list[dict[str, int]]:
    """Every product of up to three quantities, each at most twice."""
    found = itertools.chain.from_iterable(
        itertools.combinations_with_replacement(sorted(RANGES), count) for count in (1, 2, 3)
    )
    products = [{name: names.count(name) for name in dict.fromkeys(names)} for names in found]
    return [powers for powers in products if max(powers.values()) <= 2]


def fitted(
    terms: list[dict[str, int]], seen: list[tuple[dict[str, float], float]]
) -> tuple[list[mpmath.mpf], mpmath.mpf]:
    """The coefficients of least squared error, relative to what was measured; and that error."""
    # Relative, since the noise is: each row is divided by its result.
    rows = mpmath.matrix(
        [[mpmath.mpf(value_of(powers, values)) / result for powers in terms] for values, result in seen]
    )
    ones = mpmath.ones(len(seen), 1)
    # The normal equations: with so many digits, and few terms, their poor condition does not matter.
    solved = mpmath.lu_solve(rows.T * rows, rows.T * ones)
    rest = rows * solved - ones
    return list(solved), mpmath.fsum(value**2 for value in rest)


def found(seen: list[tuple[dict[str, float], float]]) -> list[predictor.Term]:
    """The terms that explain most, one by one, while each further one is worth while."""
    terms: list[dict[str, int]] = []
    left = mpmath.mpf(len(seen))
    while True:
        tried = [
            (fitted([*terms, powers], seen)[1], number, powers)
            for number, powers in enumerate(candidates())
            if powers not in terms
        ]
        error, _, best = min(tried, key=lambda one: one[:2])
        if error > WORTHWHILE * left:
            break
        terms, left = [*terms, best], error
    return [(mpmath.nstr(factor, 4), powers) for factor, powers in zip(fitted(terms, seen)[0], terms, strict=True)]


def write_examples(path: Path, inputs: list[Any], outputs: list[Any]) -> None:
    """Write examples.json, one input and one output a line."""
    asked, answered = (",\n".join(json.dumps(row) for row in rows) for rows in (inputs, outputs))
    path.write_text(f'{{"inputs": [\n{asked}\n],\n"outputs": [\n{answered}\n]}}\n', encoding="utf-8")


def main() -> None:
    """Search, write the equations, print their error on measurements that were not searched in."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--examples", action="store_true", help="write OUT_DIR/examples.json as well")
    arguments = parser.parse_args()

    mpmath.mp.dps = 30
    rng = random.Random(SEED)
    equations = dict(GIVEN)
    for name, law in LAWS.items():
        equations[name] = found([measured(rng, law) for _ in range(MEASUREMENTS)])
        later = [measured(rng, law) for _ in range(HELD_OUT)]
        sums = [sum(float(factor) * value_of(powers, at) for factor, powers in equations[name]) for at, _ in later]
        error = sum(abs(one / result - 1) for one, (_, result) in zip(sums, later, strict=True)) / HELD_OUT
        print(f"{name}: {len(equations[name])} terms, mean error of held-out measurements {error:.2%}")
    weights = arguments.out_dir / predictor.WEIGHTS
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_text(json.dumps({"units": UNITS, "equations": equations}, indent=1) + "\n", encoding="utf-8")

    if arguments.examples:
        model = predictor.load(arguments.out_dir)
        write_examples(arguments.out_dir / "examples.json", EXAMPLES, predictor.predict(model, EXAMPLES))


if __name__ == "__main__":
    main()
