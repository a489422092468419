"""Checking a run against itself: its lines, its manifest, and the Parquet made from them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from harness import tree
from harness.bootstrap import interval
from harness.errors import CheckFailure
from harness.measure.sample import Cell, Sample
from harness.metrics import METRICS, PHASES, SLOW_LINK
from harness.store import query, runs, tables
from harness.store.records import Manifest

#: Phases are differences of the stamps whose ends the total is the difference of, so only rounding may differ.
_ROUNDING_S = 1e-6


def verify_run(folder: Path) -> tuple[int, list[str], list[str]]:
    """How many values were checked, what is wrong, and what could not be checked."""
    manifest = runs.read_manifest(folder)
    lines, parquet = folder / "samples.jsonl", folder / tables.PARQUET
    try:
        samples = runs.read_samples(folder) if lines.is_file() or not parquet.is_file() else query.samples(folder)
    except CheckFailure as error:
        return 0, [error.problem], []
    wrong = [text for sample in samples for text in _sample_faults(sample, manifest.run_id)]
    wrong += _phase_faults(samples)
    wrong += _transfer_faults(samples)
    wrong += _summary_faults(folder, samples)
    notes = [] if manifest.finished_at else [f"run {manifest.run_id} has not finished; what it has is checked"]
    if parquet.is_file():
        wrong += _parquet_faults(folder, manifest, alone=not lines.is_file())
    return len(samples), wrong, notes


def _parquet_faults(folder: Path, manifest: Manifest, *, alone: bool) -> list[str]:
    """The Parquet against the digest in the manifest, and against the lines, where they are there."""
    noted = manifest.digests.get(tables.PARQUET)
    found = [] if alone else query.parquet_differs(folder)
    if alone and noted is None:
        found.append("stands alone, and run.json has no digest to check it by")
    if noted is not None and tree.sha256(folder / tables.PARQUET) != noted:
        found.append("is not what was compacted: its sha256 is another than in run.json")
    return [f"{tables.PARQUET}: {text}" for text in found]


def _sample_faults(sample: Sample, run_id: str) -> list[str]:
    where = f"{_named(sample.cell)} {sample.metric} round {sample.round} {sample.state}".strip()
    metric, found = METRICS[sample.metric], []
    if sample.run != run_id:
        found.append(f"{where}: belongs to run {sample.run}")
    if sample.unit != metric.unit:
        found.append(f"{where}: unit {sample.unit}, declared {metric.unit}")
    if sample.state and sample.state not in metric.states:
        found.append(f"{where}: not measured in that state")
    if sample.value is None and not {"failed", "absent", "unfit"} & set(sample.flags):
        found.append(f"{where}: no value, and no reason")
    return found


def _phase_faults(samples: list[Sample]) -> list[str]:
    """A start whose phases don't add up to its total: one of its numbers was changed.

    On a node that has nothing of the artifact, the installation of the same round comes before the phases.
    """
    totals: dict[tuple[Cell, int, str, str], float] = {}
    sums: dict[tuple[Cell, int, str, str], list[float]] = defaultdict(list)
    installs: dict[tuple[Cell, int], float] = {}
    for sample in samples:
        key = (sample.cell, sample.round, sample.state, sample.at)
        if sample.value is None:
            continue
        if sample.metric == "cold_start_s":
            totals[key] = sample.value
        elif sample.metric == "install_s":
            installs[key[:2]] = sample.value
        elif sample.metric.removeprefix("phase_").removesuffix("_s") in PHASES:
            sums[key].append(sample.value)
    found = []
    for (cell, number, state, at), total in totals.items():
        phases = sums[cell, number, state, at]
        parts = [*phases, *([installs.get((cell, number), 0.0)] if state == "node-cold" else [])]
        if phases and abs(sum(parts) - total) > _ROUNDING_S:
            found.append(
                f"{_named(cell)} round {number} {state}: phases add up to {sum(parts):.6f} s, "
                f"cold_start_s is {total:.6f} s"
            )
    return found


def _transfer_faults(samples: list[Sample]) -> list[str]:
    """A modelled transfer that is not what its size and the declared link make of it."""
    sizes = {(s.cell, s.round): s.value for s in samples if s.metric == "packed_bytes"}
    found = []
    for sample in samples:
        size = sizes.get((sample.cell, sample.round))
        if sample.metric == "transfer_s" and sample.value is not None and size is not None:
            modelled_s = size * 8 / SLOW_LINK
            if abs(sample.value - modelled_s) > _ROUNDING_S:
                found.append(f"{_named(sample.cell)} transfer_s is {sample.value}, packed_bytes make {modelled_s}")
    return found


def _summary_faults(folder: Path, samples: list[Sample]) -> list[str]:
    """Medians and intervals by DuckDB against the same computed here from the lines, one by one."""
    latest: dict[tuple[Cell, str, str], dict[int, Sample]] = defaultdict(dict)
    for sample in samples:
        latest[sample.cell, sample.metric, sample.state][sample.round] = sample
    found = []
    for value in query.values(folder):
        cell = Cell(model=value.model, method=value.method, limits=value.limits)
        rounds = latest[cell, value.metric, value.state]
        counting = [sample.value for _, sample in sorted(rounds.items()) if sample.counts and sample.value is not None]
        if (interval(counting) if counting else None) != value.interval:
            where = f"{_named(cell)} {value.metric} {value.state}".strip()
            found.append(f"{where}: the summary differs from the samples")
    return found


def _named(cell: Cell) -> str:
    return f"{cell.model}/{cell.method}" + (f" ({cell.limits})" if cell.limits != "default" else "")
