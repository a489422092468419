"""Runs, profiles and calibrations in a results folder that somebody sent: read, checked, shown and decided by."""

from __future__ import annotations

import contextlib
import json
import zlib
from pathlib import Path

from fuzz import bundles, made
from harness.calibrate import predicting
from harness.calibrate import records as calibrations
from harness.cli import cli
from harness.errors import HarnessError
from harness.measure import profile as profiles
from harness.methods import METHODS
from harness.store import checking, query, runs
from harness.store.tables import PARQUET

RUN = made.RUN


def run_json(data: bytes, place: Path) -> None:
    """A manifest: read, and its run shown."""
    folder = made.run(place / "results")
    (folder / "run.json").write_bytes(data)
    _questions(folder)


def samples_jsonl(data: bytes, place: Path) -> None:
    """The lines of a run."""
    folder = made.run(place / "results", samples=False)
    (folder / "samples.jsonl").write_bytes(data)
    _questions(folder)


def parquet(data: bytes, place: Path) -> None:
    """The compacted samples of a run, alone: any bytes."""
    folder = made.run(place / "results", samples=False)
    (folder / PARQUET).write_bytes(data)
    _questions(folder)


def parquet_columns(data: bytes, place: Path) -> None:
    """The same as a whole Parquet of other columns and types: JSON lines, as DuckDB understands them."""
    import duckdb

    folder = made.run(place / "results", samples=False)
    lines = place / "lines.json"
    lines.write_bytes(data)
    try:
        with duckdb.connect(config={"threads": 1}) as connection:
            source = f"read_json_auto('{lines}', format='newline_delimited')"
            connection.execute(f"COPY (SELECT * FROM {source}) TO '{folder / PARQUET}' (FORMAT parquet)")
    except (duckdb.Error, RuntimeError):  # of the test's own making
        return
    _questions(folder)


def profile(data: bytes, place: Path) -> None:
    """A model's profile, and what is predicted of it."""
    file = place / "profile.json"
    file.write_bytes(data)
    found = profiles.read(file)
    _ = (found.digest, found.file_name)
    evidence = predicting.evidence_from(made.calibration(), found, METHODS, memory_mb=512)
    for method in evidence.methods:
        evidence.failure(method)


def calibration(data: bytes, place: Path) -> None:
    """A calibration, held against the runs beside it, and what it predicts."""
    results = place / "results"
    made.run(results)
    (results / calibrations.FILE_NAME).write_bytes(data)
    found = calibrations.read(results / calibrations.FILE_NAME)
    _ = (found.digest, found.methods, found.families)
    predicting.evidence_from(found, made.profile(), METHODS, memory_mb=None)
    calibrations.check(found, results)


#: What people do with a results folder; ``{run}`` is its folder.
COMMANDS = (
    ("runs",),
    ("compare", "tiny"),
    ("verify", "{run}"),
    ("recommend", "tiny", "--scenario", "edge-device"),
    ("claims",),
    ("changes", "--all"),
    ("export", RUN, "--format", "csv", "--out", "{run}/out.csv"),
    ("export", RUN, "--format", "pytest-benchmark", "--out", "{run}/out.json"),
    ("appendix", "tiny", "--scenario", "edge-device", "--out", "{run}/out.md"),
    ("report", "tiny", "--scenario", "edge-device", "--format", "md", "--out", "{run}/report.md"),
)


def commands(data: bytes, place: Path) -> None:
    """A bundle of a run's files, and one of the commands that read it; which, the bytes themselves say."""
    folder = place / "results" / "runs" / RUN
    bundles.write(data, folder)
    command = COMMANDS[zlib.crc32(data) % len(COMMANDS)]
    cli([part.replace("{run}", str(folder)) for part in command], standalone_mode=False)


def _questions(folder: Path) -> None:
    """All that is asked of a run; one refusal does not keep the next question from being asked."""
    results = folder.parent.parent
    questions = (
        lambda: runs.read_manifest(folder),
        lambda: runs.read_samples(folder),
        lambda: checking.verify_run(folder),
        lambda: query.evidences(results, RUN),
        lambda: query.latest_run(results, "tiny"),
        lambda: query.compact(folder),
        lambda: json.dumps([str(one) for one in query.samples(folder)]),
    )
    for ask in questions:
        with contextlib.suppress(HarnessError):
            ask()
