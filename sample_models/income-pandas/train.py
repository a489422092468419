"""Make the weights: ``python train.py OUT_DIR`` writes OUT_DIR/weights/pipeline.joblib and regions.parquet.

Households and regions are generated with a fixed seed: they are nobody's, and say nothing of the world.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import predictor
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

SEED = 20261123
HOUSEHOLDS, HELD_OUT, REGIONS = 8_000, 2_000, 400
OCCUPATIONS = ["builder", "clerk", "cook", "driver", "engineer", "farmer", "nurse", "teacher", "trader"]
EDUCATIONS = ["school", "apprenticeship", "college", "university"]

EXAMPLES: list[dict[str, Any]] = [
    {
        "region": "R017",
        "occupation": "engineer",
        "education": "university",
        "employed_since": "2009-09-01",
        "born": 1981,
        "hours_a_week": 41.5,
        "children": 2,
        "rent": 1650.0,
    },
    {
        "region": "R203",
        "occupation": "cook",
        "education": "apprenticeship",
        "employed_since": "2023-03-15",
        "born": 2001,
        "hours_a_week": 24.0,
        "children": 0,
        "rent": 480.0,
    },
    {
        "region": "R388",
        "occupation": "astronaut",
        "education": None,
        "employed_since": None,
        "born": 1966,
        "hours_a_week": None,
        "children": 1,
        "rent": 990.0,
    },
    {"region": "elsewhere", "occupation": "teacher", "education": "college", "born": 1990},
    {},
]


def regions(rng: np.random.Generator) -> pd.DataFrame:
    """What is known of each region."""
    income = rng.normal(42_000, 6_000, REGIONS).round(-2)
    return pd.DataFrame(
        {
            "region": [f"R{number:03}" for number in range(REGIONS)],
            "urban": rng.random(REGIONS).round(2),
            "median_income": income,
            "median_rent": (income * rng.uniform(0.018, 0.03, REGIONS)).round(0),
        }
    )


def households(rng: np.random.Generator, known: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Households as they would be asked, one value in twenty not given; and whether their income is high."""
    count = HOUSEHOLDS + HELD_OUT
    region = rng.integers(REGIONS, size=count)
    education = rng.choice(len(EDUCATIONS), size=count, p=[0.25, 0.35, 0.25, 0.15])
    occupation = rng.integers(len(OCCUPATIONS), size=count)
    born = rng.integers(1961, 2006, size=count)
    employed = 2026 - rng.uniform(0, 1, count) * (2026 - born - 17)
    hours, children = rng.normal(37, 8, count).clip(4, 70), rng.poisson(1.1, count)
    wealth = rng.normal(0, 1, count)
    rent = known["median_rent"].to_numpy()[region] * np.exp(0.25 * wealth)
    score = (
        0.9 * (education - 1)
        + 0.35 * np.isin(occupation, [4, 8])
        + 0.05 * (2026 - employed)
        + 0.06 * (hours - 37)
        - 0.1 * children
        + 1.1 * wealth
        + (known["median_income"].to_numpy()[region] - 42_000) / 8_000
        + rng.logistic(0, 1, count)
    )
    days = pd.to_datetime("1970-01-01") + pd.to_timedelta(((employed - 1970) * 365.25).astype(int), unit="D")
    frame = pd.DataFrame(
        {
            "region": known["region"].to_numpy()[region],
            "occupation": np.array(OCCUPATIONS)[occupation],
            "education": np.array(EDUCATIONS)[education],
            "employed_since": days.strftime("%Y-%m-%d"),
            "born": born,
            "hours_a_week": hours.round(1),
            "children": children,
            "rent": rent.round(0),
        }
    ).astype(object)
    asked = frame.mask(rng.random(frame.shape) < 0.05, None)
    return predictor.table(asked.to_dict("records")), score > np.median(score)


def pipeline() -> Pipeline:
    """Missing numbers become the median, and are said to be missing; words become columns."""
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    words = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer([("numbers", numbers, predictor.NUMBERS), ("words", words, predictor.WORDS)])
    # Solved far beyond what the examples' tolerance sees, so that it does not matter where the solver stops.
    return make_pipeline(columns, LogisticRegression(tol=1e-10, max_iter=10_000))


def write_examples(path: Path, inputs: list[Any], outputs: list[Any]) -> None:
    """Write examples.json, one input and one output a line."""
    asked, answered = (",\n".join(json.dumps(row) for row in rows) for rows in (inputs, outputs))
    path.write_text(f'{{"inputs": [\n{asked}\n],\n"outputs": [\n{answered}\n]}}\n', encoding="utf-8")


def main() -> None:
    """Train, write the weights, print how well held-out households are ranked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--examples", action="store_true", help="write OUT_DIR/examples.json as well")
    arguments = parser.parse_args()

    rng = np.random.Generator(np.random.PCG64(SEED))
    known = regions(rng)
    asked, high = households(rng, known)
    seen = predictor.features(asked, known)
    fitted = pipeline().fit(seen[:HOUSEHOLDS], high[:HOUSEHOLDS])
    (arguments.out_dir / predictor.PIPELINE).parent.mkdir(parents=True, exist_ok=True)
    joblib.dump(fitted, arguments.out_dir / predictor.PIPELINE, compress=0, protocol=4)
    known.to_parquet(arguments.out_dir / predictor.REGIONS, index=False)

    model = predictor.load(arguments.out_dir)
    held_out = model.pipeline.predict_proba(seen[HOUSEHOLDS:])[:, 1]
    print(f"area under the curve, {HELD_OUT} held-out households: {roc_auc_score(high[HOUSEHOLDS:], held_out):.3f}")
    if arguments.examples:
        write_examples(arguments.out_dir / "examples.json", EXAMPLES, predictor.predict(model, EXAMPLES))


if __name__ == "__main__":
    main()
