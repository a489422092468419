"""Questions to the stored samples, answered by DuckDB: one row per cell, metric and state.

Results of different hosts are never pooled: every question is about one run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness import bootstrap
from harness.metrics import METRICS, Fidelity, Metric, State
from harness.bootstrap import Interval
from harness.store.records import Manifest


@dataclass(frozen=True, kw_only=True)
class Value:
    """One metric of one method in one state: the median and interval, and the values by round behind it.

    ``interval`` is None where no sample counts; ``why_absent`` then says why in a reader's words.
    ``failed`` and ``dropped`` count the samples that don't count.
    """

    model: str
    method: str
    limits: str
    metric: str
    state: State
    fidelity: Fidelity
    by_round: Mapping[int, float]
    interval: Interval | None
    failed: int = 0
    dropped: int = 0
    why_absent: str = ""

    @property
    def declared(self) -> Metric:
        """The metric's declaration: unit, direction, meaning."""
        return METRICS[self.metric]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What one run knows of one model: every method that was planned, and the values that were obtained."""

    run_id: str
    model: str
    manifest: Manifest
    values: tuple[Value, ...]

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that the run planned for the model, in the order of the plan."""
        return tuple(self.manifest.plan["methods"])

    def value(self, method: str, metric: str, state: str = "", limits: str = "default") -> Value | None:
        """That value, or None where the run holds nothing of it."""
        for value in self.values:
            if (value.method, value.metric, value.state, value.limits) == (method, metric, state, limits):
                return value
        return None

    def interval(self, method: str, metric: str, state: str = "") -> Interval | None:
        """The median and interval, or None."""
        value = self.value(method, metric, state)
        return value.interval if value else None

    def failure(self, method: str) -> str:
        """Why the method has no right answer for this model: empty where it has one."""
        parity = self.value(method, "parity")
        if parity is None:
            return "was not measured"
        if parity.interval is None:
            return parity.why_absent or "was not measured"
        return "" if parity.interval.median == 1 else "answers wrongly"


def paired_ratio(one: Value | None, other: Value | None) -> Interval | None:
    """``one`` over ``other``, paired within rounds; None where either is absent."""
    if one is None or other is None:
        return None
    return bootstrap.ratio(one.by_round, other.by_round)


def metrics_of(values: Iterable[Value]) -> list[Metric]:
    """The declared metrics that occur, in the order of their declaration."""
    present = {value.metric for value in values}
    return [metric for name, metric in METRICS.items() if name in present]
