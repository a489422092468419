"""Sunspots in the years to come: an autoregression in state-space form, by statsmodels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from statsmodels.tsa.statespace.sarimax import SARIMAX, SARIMAXResultsWrapper

WEIGHTS = "weights/autoregression.json"
#: Nine years back: with a cycle of about eleven years, more adds nothing.
ORDER, TREND = (9, 0, 0), "c"


def autoregression(series: list[float]) -> SARIMAX:
    """The model of a series, its parameters not known yet."""
    return SARIMAX(np.asarray(series), order=ORDER, trend=TREND)


def load(model_dir: Path) -> SARIMAXResultsWrapper:
    """The model with its parameters, the Kalman filter run over the years that it was fitted to."""
    weights = json.loads((model_dir / WEIGHTS).read_text(encoding="utf-8"))
    return autoregression(weights["series"]).filter(weights["parameters"])


def predict(model: SARIMAXResultsWrapper, inputs: list[dict[str, Any]]) -> list[dict[str, list[float]]]:
    """For each question the mean number of sunspots of the next ``years`` years, and where nine in ten will lie.

    ``observed`` are the years between the end of the fitted series and the forecast; there may be none.
    """
    return [_forecast(model, question["observed"], question["years"]) for question in inputs]


def _forecast(model: SARIMAXResultsWrapper, observed: list[float], years: int) -> dict[str, list[float]]:
    known = model.append(np.asarray(observed)) if observed else model
    frame = known.get_forecast(years).summary_frame(alpha=0.1)
    return {
        "mean": frame["mean"].tolist(),
        "low": frame["mean_ci_lower"].tolist(),
        "high": frame["mean_ci_upper"].tolist(),
    }
