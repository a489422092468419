"""A run in the format of pytest-benchmark, so that its ``compare`` and its readers can be used."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from harness.metrics import METRICS
from harness.store import query, runs
from harness.store.query import Value


def pytest_benchmark(folder: Path, target: Path) -> None:
    """Write the times of a run (everything in seconds) to ``target``; one benchmark per cell, metric and state."""
    manifest = runs.read_manifest(folder)
    timed = [value for value in query.values(folder) if METRICS[value.metric].unit == "s" and value.by_round]
    host = dict(manifest.host)
    table = {
        "machine_info": {"node": "", "processor": "", "machine": "", **host},
        "commit_info": {"id": manifest.harness_version, "dirty": False},
        "benchmarks": [_benchmark(value) for value in timed],
        "datetime": manifest.created_at,
        "version": "5.2.3",  # the version of pytest-benchmark whose format this is
    }
    query.write(target, json.dumps(table, indent=1, allow_nan=False).encode())


def _benchmark(value: Value) -> dict[str, Any]:
    name = "-".join(part for part in (value.metric, value.state) if part)
    full = f"{value.model}::{value.method}::{name}"
    return {
        "group": f"{value.model}: {name}",
        "name": f"{value.method}[{name}]",
        "fullname": full,
        "params": {"model": value.model, "method": value.method, "state": value.state},
        "param": value.method,
        "extra_info": {"fidelity": value.fidelity},
        "options": {
            "disable_gc": False,
            "timer": "monotonic",
            "min_rounds": 1,
            "max_time": 0,
            "min_time": 0,
            "warmup": False,
        },
        "stats": _stats(list(value.by_round.values())),
    }


def _stats(data: list[float]) -> dict[str, Any]:
    """The statistics as pytest-benchmark defines them: seconds, and ops in 1/s."""
    mean = statistics.fmean(data)
    q1, median, q3 = statistics.quantiles(data, n=4, method="inclusive") if len(data) > 1 else data * 3
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    deviation = statistics.stdev(data) if len(data) > 1 else 0.0
    outside = sum(not low <= one <= high for one in data)
    beyond = sum(abs(one - mean) > deviation for one in data)
    return {
        "min": min(data),
        "max": max(data),
        "mean": mean,
        "stddev": deviation,
        "rounds": len(data),
        "median": median,
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": outside,
        "stddev_outliers": beyond,
        "outliers": f"{beyond};{outside}",
        "ld15iqr": min((one for one in data if one >= low), default=min(data)),
        "hd15iqr": max((one for one in data if one <= high), default=max(data)),
        "ops": 1 / mean if mean else 0.0,
        "total": sum(data),
        "data": data,
        "iterations": 1,
    }
