"""The declarations of metrics."""

from __future__ import annotations

import pytest

from harness.metrics import ARRIVALS, CACHE_STATES, METRICS, PHASES, TARGETS, Metric

UNITS = {"_per_s": "1/s", "_s": "s", "_bytes": "bytes", "_share": "share", "_usd": "USD"}

HIGHER = {"parity", "reproducible", "portable", "throughput_per_s"}


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_metric_is_declared_whole(metric: Metric) -> None:
    """Its name tells its unit, and title and meaning are there for the reader."""
    assert METRICS[metric.name] is metric
    assert metric.title
    assert metric.meaning
    unit = next((unit for ending, unit in UNITS.items() if metric.name.endswith(ending)), None)
    assert metric.unit == unit or (unit is None and metric.unit in {"n", "bool"})
    assert metric.states in {(), CACHE_STATES, ARRIVALS, TARGETS, ("page-warm",)}
    assert metric.direction == ("higher" if metric.name in HIGHER else "lower")


def test_names_and_titles_are_told_apart() -> None:
    """No two metrics look the same in a table."""
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)


def test_every_phase_is_a_metric_of_a_start() -> None:
    """The phases are declared in the order in which they pass."""
    declared = [name for name in METRICS if name.startswith("phase_")]
    assert declared == [f"phase_{phase}_s" for phase in PHASES]
    assert all(METRICS[name].states == CACHE_STATES for name in declared)
