"""What a run is made of: samples, and the manifest that says what was planned and where it ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.metrics import Fidelity, State

#: The version of the results on disk that this code writes. Older ones are migrated, newer ones refused.
SCHEMA_VERSION = 1

#: The method under which the sentinel's samples stand.
SENTINEL = "_sentinel"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One (model, method) pair under one set of limits; the limits are spelled out in the manifest."""

    model: str
    method: str
    limits: str = "default"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One measured value. ``value`` is None where it was tried and failed; then ``flags`` has why.

    Flags: ``failed`` (it broke; ``note`` says how), ``absent`` (it can't be had here; ``note`` says
    why), ``dropped:REASON`` (measured but not what it was meant to be), ``outlier``.
    """

    run: str
    cell: Cell
    metric: str
    value: float | None
    unit: str
    round: int
    state: State
    fidelity: Fidelity
    at: str
    flags: tuple[str, ...] = ()
    note: str = ""

    @property
    def counts(self) -> bool:
        """Whether the value goes into statistics."""
        return self.value is not None and not any(flag.startswith("dropped:") for flag in self.flags)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """``run.json``: everything that the samples alone don't say.

    ``plan``: models, methods, rounds, states, seed, limits, profile. ``host``: processor, memory,
    kernel, cgroup version, interpreter. ``tools``: name -> version. ``models`` and ``artifacts``:
    digests. ``timings``: seconds of the run itself, by who spent them.
    """

    schema_version: int
    run_id: str
    created_at: str
    finished_at: str | None
    harness_version: str
    plan: Mapping[str, Any]
    host: Mapping[str, Any]
    tools: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    artifacts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    availability: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
