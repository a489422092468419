"""Whether a household's income is high: a table joined, grouped and cut by pandas, then a scikit-learn pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import pandas as pd

PIPELINE, REGIONS = "weights/pipeline.joblib", "weights/regions.parquet"

#: What a question may leave out, or have as null.
COLUMNS = {
    "region": "str",
    "occupation": "str",
    "education": "str",
    "employed_since": "datetime64[s]",
    "born": "Int64",
    "hours_a_week": "Float64",
    "children": "Int64",
    "rent": "Float64",
}
#: When the households were asked, so that an answer does not depend on today's date.
ASKED = pd.Timestamp("2026-01-01")


@dataclass(frozen=True, kw_only=True)
class Income:
    """The fitted pipeline, and what is known of each region."""

    pipeline: Any
    regions: pd.DataFrame


def load(model_dir: Path) -> Income:
    """The pipeline by joblib, which imports scikit-learn, and the regions from Parquet, which imports pyarrow."""
    return Income(pipeline=joblib.load(model_dir / PIPELINE), regions=pd.read_parquet(model_dir / REGIONS))


def predict(model: Income, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each household the probability of a high income, and its band: "low", "middle" or "high"."""
    frame = features(table(inputs), model.regions)
    probability = pd.Series(model.pipeline.predict_proba(frame)[:, 1])
    bands = pd.cut(probability, [0, 0.35, 0.65, 1], labels=["low", "middle", "high"], include_lowest=True)
    return [{"probability": value, "band": band} for value, band in zip(probability, bands.astype(str), strict=True)]


def table(households: list[dict[str, Any]]) -> pd.DataFrame:
    """The households as a table with a type for every column."""
    return pd.DataFrame(households, columns=list(COLUMNS), dtype=object).astype(COLUMNS)


def features(households: pd.DataFrame, regions: pd.DataFrame) -> pd.DataFrame:
    """What the pipeline looks at: the household, its region, and how it compares with its region."""
    joined = households.merge(regions, on="region", how="left", validate="many_to_one")
    age = 2026 - joined["born"]
    return pd.DataFrame(
        {
            "occupation": joined["occupation"].fillna("unknown").astype(object),
            "education": joined["education"].fillna("unknown").astype(object),
            "urban": joined["urban"],
            "decade": pd.cut(age.astype("Float64"), [0, 30, 40, 50, 60, 120], labels=False),
            "years_employed": (ASKED - joined["employed_since"]).dt.days / 365.25,
            "hours_a_week": joined["hours_a_week"],
            "children": joined["children"],
            "rent_to_median": joined["rent"] / joined["median_rent"],
            "median_income": joined["median_income"],
        }
    ).astype(dict.fromkeys(NUMBERS, "float64"))


NUMBERS = ["urban", "decade", "years_employed", "hours_a_week", "children", "rent_to_median", "median_income"]
WORDS = ["occupation", "education"]
