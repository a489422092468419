"""The manifest of a run: what was planned, and where it ran. The samples are :mod:`harness.measure.sample`'s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: The version of the results on disk that this code writes. Older ones are migrated, newer ones refused.
SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """``run.json``: everything that the samples alone don't say.

    ``plan``: models, methods, rounds, states, seed, limits, profile. ``host``: processor, memory,
    kernel, cgroup version, interpreter. ``tools``: name -> version. ``models`` and ``artifacts``:
    digests. ``timings``: seconds of the run itself, by who spent them. ``steps``: cell -> for each kind of step how
    many were taken (``build_n``) and their seconds (``build_s``), which later plans are estimated by. ``digests``:
    sha256 of files that were finished, by name; by that of ``samples.parquet`` a run can be checked without its lines.
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
    steps: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
