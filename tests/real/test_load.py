"""Warm load of a real instance, in all patterns: a small model, whose own share of a query is the smallest there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import process
from harness.errors import ModelFailure
from harness.measure import artifacts, load
from harness.measure.part import Subject, Taken
from harness.measure.sample import Cell
from harness.measure.start import limits_of
from harness.methods import venv
from harness.metrics import ARRIVALS, PERCENTILES
from harness.platforms.depot import Depot
from harness.spec import model as models
from harness.spec import weights


def subject(folder: Path, target: Path, depot: Depot) -> Subject:
    """The model in ``folder`` as a virtual environment, installed."""
    model = models.read(folder)
    venv.prepare(model)
    locked = weights.locked(model, extra=venv.REQUIREMENTS)
    artifact = artifacts.up_to_date(venv, locked)
    return Subject(
        cell=Cell(model=model.name, method=venv.ID),
        method=venv,
        locked=locked,
        artifact=artifact,
        installed=venv.install(artifact, target, depot),
        limits=limits_of(model),
        depot=depot,
    )


@pytest.fixture
def target() -> Iterator[Path]:
    """Where an artifact may be installed."""
    with process.temporary_folder("load", readable=True) as folder:
        yield folder


def test_every_pattern(target: Path, depot: Depot, traces_of: Callable[[str], Any]) -> None:
    """All values are there, they fit together, and nothing is left of the instances."""
    loaded = subject(models.find("spam-bayes").folder, target, depot)
    traces = traces_of(venv.ID)
    nothing = traces.now()
    taken: dict[str, Taken] = {state: load.PART.take(loaded, state, 0) for state in ARRIVALS}
    assert traces.since(nothing) == []
    found = {state: one.values for state, one in taken.items()}
    for values in found.values():
        told = [values[f"latency_p{percentile}_s"] for percentile in PERCENTILES if percentile < 99]
        assert 0 < told[0] <= told[1] <= told[2]
        # Nothing is a faster prediction than its own work, on as many cores as there are.
        assert 0 < values["cpu_per_prediction_s"] < 64 / values["throughput_per_s"]
    alone = found["single-stream"]
    assert alone["latency_p99_s"] >= alone["latency_p95_s"]
    assert alone["throughput_per_s"] == pytest.approx(1 / alone["latency_p50_s"], rel=0.9)
    # With eight outstanding the median waits for seven others; a batch saves the way there and back.
    assert found["saturation"]["latency_p50_s"] > 4 * alone["latency_p50_s"]
    assert found["batch"]["throughput_per_s"] > alone["throughput_per_s"]
    assert found["poisson"]["throughput_per_s"] < 0.9 * alone["throughput_per_s"]


def test_a_model_that_goes_wrong_later(target: Path, depot: Depot, make_model: Any) -> None:
    """One whose answers are right once, and not the thousandth time, has no throughput."""
    source = (
        "calls = []\n"
        "def load(model_dir):\n    return 2\n"
        "def predict(model, inputs):\n"
        "    calls.append(1)\n"
        "    return [model * number if len(calls) < 1000 else 0 for number in inputs]\n"
    )
    loaded = subject(make_model("tires", source), target, depot)
    with pytest.raises(ModelFailure, match="an answer under load is wrong: \\[0\\] instead of"):
        load.PART.take(loaded, "single-stream", 0)
