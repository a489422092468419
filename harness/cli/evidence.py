"""Finding the evidence on a model, and showing it side by side; shared by the commands that read results."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import paths
from harness.cli import console
from harness.errors import BadInput
from harness.metrics import METRICS, PHASES
from harness.report import numbers
from harness.spec import model as models
from harness.spec.model import Model
from harness.store import query, runs
from harness.store.query import Evidence, Value


def of(model: str, run_id: str | None, results: str | None, *, predicted: bool = False) -> Evidence:
    """The evidence on ``model`` (a name or a folder) in that run, else in the newest run that has it.

    Where the user's results have none, the reference results that travel with the harness are used, and it is said.
    ``predicted`` allows values that a calibration predicts from a profile, where the model was never measured; a
    document that has to be checked against samples can't be made from those.
    """
    folder, name = paths.results(Path(results) if results else None), name_of(model)
    if run_id is not None:
        return query.evidence(folder, run_id, name)
    found = query.latest_run(folder, name)
    if found is not None:
        return query.evidence(folder, found, name)
    reference = paths.data("results") / "reference"
    shipped = query.latest_run(reference, name)
    if shipped is None or results is not None:
        known = models.find(model)  # where there is no such model, this says so
        if predicted and (made := _predicted(known, (folder, reference) if results is None else (folder,))):
            return made
        raise BadInput(
            f"'{name}' has not been measured: no run in {folder} has it",
            remedy=f"'harness run {model}' measures it, 'harness profile {model}' lets 'recommend' predict it; "
            "--results names another folder",
        )
    host = runs.read_manifest(runs.folder_of(reference, shipped)).host
    console.note(
        f"From the reference results that travel with the harness (run {shipped}, {host['processor']}, "
        f"{host['cores']} cores), not from this machine; 'harness run {model}' measures here."
    )
    return query.evidence(reference, shipped, name)


def _predicted(model: Model, homes: Sequence[Path]) -> Evidence | None:
    """What a calibration predicts from the model's stored profile; None where either is not there."""
    from harness.calibrate import predicting
    from harness.methods import METHODS

    found = predicting.known(model, homes, METHODS)
    if found is None:
        return None
    console.note(found[1])
    return found[0]


def name_of(model: str) -> str:
    """The name under which a model given as a name or a folder stands in results."""
    folder = Path(model).expanduser()
    return models.read(folder).name if (folder / "model.toml").is_file() else model


def as_dict(evidence: Evidence) -> dict[str, Any]:
    """For ``--json``: every value with its interval, unit and fidelity."""
    return {
        "run": evidence.run_id,
        "model": evidence.model,
        "host": dict(evidence.manifest.host),
        "methods": {method: evidence.failure(method) or "measured" for method in evidence.methods},
        "values": [
            {
                "method": value.method,
                "metric": value.metric,
                "state": value.state,
                "unit": METRICS[value.metric].unit,
                "fidelity": value.fidelity,
                "interval": dataclasses.asdict(value.interval) if value.interval else None,
                "failed": value.failed,
                "dropped": value.dropped,
                "why_absent": value.why_absent,
            }
            for value in evidence.values
        ],
    }


_ROWS = (
    ("packed_bytes", ""),
    ("unpacked_bytes", ""),
    ("files", ""),
    ("build_clean_s", ""),
    ("install_s", ""),
    *((metric, state) for state in ("page-warm", "disk-cold") for metric in ("cold_start_s",)),
    *((f"phase_{phase}_s", "page-warm") for phase in PHASES),
    ("peak_memory_bytes", "page-warm"),
    ("peak_resident_bytes", "page-warm"),
    ("cpu_to_first_s", "page-warm"),
    ("parity", ""),
)


def print_comparison(evidence: Evidence) -> None:
    """A table: metrics down, methods across; then what is not there, and why."""
    methods = evidence.methods
    rows = [_row(evidence, metric, state) for metric, state in _ROWS]
    title = f"{evidence.model}: median [95 % interval], run {evidence.run_id}"
    console.table(title, ("", *methods), [row for row in rows if any(row[1:])], right=range(1, len(methods) + 1))
    modelled = any(value.fidelity == "modelled" for value in evidence.values)
    counts = {value.interval.n for value in evidence.values if value.interval and value.metric == "cold_start_s"}
    if modelled:
        console.say("Nothing here was measured: every value is predicted from the model's profile.")
    elif counts:
        span = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
        console.say(f"Cold starts: {span} per cell. All values are measured unless marked otherwise.")
    for line in _gaps(evidence):
        console.say(line)


def _row(evidence: Evidence, metric: str, state: str) -> tuple[str, ...]:
    title = METRICS[metric].title + (f", {state}" if state else "")
    return (title, *(_cell(evidence.value(method, metric, state)) for method in evidence.methods))


def _cell(value: Value | None) -> str:
    if value is None:
        return ""
    if value.interval is None:
        return "failed" if value.failed else "-"
    interval, unit = value.interval, value.declared.unit
    scale = numbers.scale(interval.median, unit)
    shown = numbers.shown(interval.median, unit)
    if not interval.exact:
        shown += f" [{scale.number(interval.low)}{numbers.DASH}{scale.number(interval.high)}]"
    marks: list[str] = [value.fidelity] if value.fidelity != "measured" else []
    if interval.n == 1 and unit == "s":
        marks.append("n = 1")
    return " ".join([shown, *(f"({mark})" for mark in marks)])


def _gaps(evidence: Evidence) -> list[str]:
    lines = []
    for method in evidence.methods:
        failure = evidence.failure(method)
        if failure:
            lines.append(f"{method}: {failure}")
    dropped = sum(value.dropped for value in evidence.values if value.metric == "cold_start_s")
    if dropped:
        lines.append(f"{dropped} disk-cold starts were dropped: their pages had not left memory.")
    lines += [
        f"{value.method}: no {value.declared.title}: {value.why_absent}"
        for value in evidence.values
        if value.interval is None and value.why_absent and value.metric != "parity"
        if not evidence.failure(value.method)
    ]
    return lines
