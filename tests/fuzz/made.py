"""What readers are given that is as it should be, made by the harness's own writers: a run, a profile, a calibration.

So it is never of an older format than the one that is read.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from fuzz import elf
from harness import paths
from harness.calibrate import records as calibrations
from harness.calibrate.records import Calibration
from harness.measure import profile as profiles
from harness.measure.plan import Plan
from harness.measure.profile import Profile
from harness.measure.sample import Cell, Sample
from harness.methods import METHODS
from harness.metrics import METRICS, PHASES, START_STATES
from harness.recommend import engine
from harness.report import appendix, appendix_markdown, html, markdown
from harness.report.contents import ReportContents, contents
from harness.spec import scenario as scenarios
from harness.store import query, runs
from harness.store.query import Evidence
from harness.store.records import SCHEMA_VERSION, Manifest

RUN = "20240102-030405-made"
_METHODS = ("container", "venv")
_ROUNDS = 2
_HOST = {"processor": "Made-up 3000", "cores": 2, "machine": "x86_64", "python": "3.11.2", "memory_bytes": 1}


def run(results: Path, *, samples: bool = True) -> Path:
    """A run below ``results``; its folder. Without ``samples`` there is the manifest alone."""
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        run_id=RUN,
        created_at="2024-01-02T03:04:05+00:00",
        finished_at="2024-01-02T03:14:05+00:00",
        harness_version="0.1.0",
        plan=_plan().as_dict(),
        host=_HOST,
        models={"tiny": {"features": {"dependencies": 3, "pinned": 3, "system_packages": 0}}},
    )
    with runs.create(results, manifest) as writer:
        writer.record(_samples())
    if not samples:
        (writer.folder / "samples.jsonl").unlink()
    return writer.folder


def _plan() -> Plan:
    return Plan(
        models=("tiny",),
        methods=_METHODS,
        profile="nightly",
        rounds=_ROUNDS,
        builds=1,
        seed=7,
        folders={"tiny": "/models/tiny"},
    )


def _samples() -> Iterator[Sample]:
    for place, method in enumerate(_METHODS, start=1):
        single = {"packed_bytes": 1e7, "unpacked_bytes": 3e7, "files": 300.0, "build_clean_s": 4.5, "install_s": 1.25}
        for metric, value in single.items():
            yield _sample(metric, value * place, method)
        yield _sample("parity", 1.0, method)
        for number in range(_ROUNDS):
            for state in START_STATES:
                each_s = 0.25 * place + 0.01 * number
                values = {f"phase_{phase}_s": each_s for phase in PHASES}
                values |= {"peak_memory_bytes": 5e7, "peak_resident_bytes": 4e7, "cpu_to_first_s": 0.5}
                for metric, value in {**values, "cold_start_s": each_s * len(PHASES)}.items():
                    yield _sample(metric, value, method, round=number, state=state)


def _sample(metric: str, value: float, method: str, **changes: Any) -> Sample:
    known: dict[str, Any] = {"round": 0, "state": "", "fidelity": "measured", "at": "2024-01-02T03:04:06.000+00:00"}
    cell = Cell(model="tiny", method=method)
    return Sample(run=RUN, cell=cell, metric=metric, value=value, unit=METRICS[metric].unit, **{**known, **changes})


@cache
def _files() -> dict[str, bytes]:
    """The files of a run, its Parquet too."""
    with tempfile.TemporaryDirectory() as folder:
        made = run(Path(folder))
        query.compact(made)
        return {file.name: file.read_bytes() for file in made.iterdir()}


@cache
def evidence() -> Evidence:
    """What that run knows of its model."""
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder))
        return query.evidences(Path(folder), RUN)[0]


@cache
def calibration() -> Calibration:
    """The one that travels with the harness, without most of it: two methods, held-out models left away."""
    whole = calibrations.read(paths.data("results") / "reference" / calibrations.FILE_NAME)
    fits = tuple(
        dataclasses.replace(one, held_out=one.held_out[:1], models=one.models[:2])
        for one in whole.fits
        if one.method in _METHODS
    )
    return dataclasses.replace(whole, fits=fits, runs=whole.runs[:1], models=whole.models[:2])


@cache
def profile() -> Profile:
    """One of those that travel with the harness."""
    return profiles.read(next(iter(sorted((paths.data("results") / "reference" / "profiles").glob("*.json")))))


@cache
def _contents() -> ReportContents:
    scenario = scenarios.find("edge-device")
    scenario = dataclasses.replace(scenario, objectives=scenario.objectives[:1])
    advice = engine.recommend(evidence(), scenario, METHODS)
    return contents(
        [evidence()],
        [advice],
        scenarios={scenario.name: scenario},
        features={},
        made_at="2024-01-02T03:04:05+00:00",
        harness_version="0.1.0",
    )


def seeds(target: str) -> list[bytes]:
    """What is right for a reader, where the harness itself writes that; nothing where people do."""
    match target:
        case "run_json":
            return [_files()["run.json"]]
        case "samples_jsonl" | "parquet_columns":
            return [_files()["samples.jsonl"]]
        case "parquet":
            return [_files()["samples.parquet"]]
        case "commands":
            names = ("run.json", "samples.jsonl")
            return [b"\n".join(b"=== " + name.encode() + b"\n" + _files()[name] for name in names)]
        case "profile":
            return [_json(profile())]
        case "calibration":
            return [_json(calibration())]
        case "embedded":
            record = appendix.of(_contents())
            return [json.dumps(one).encode() for one in (record.data(), _data(markdown.render(_contents())))]
        case "native_file":
            versions = {"libc.so.6": ["GLIBC_2.17"], "libstdc++.so.6": ["GLIBCXX_3.4.22", "CXXABI_1.3"]}
            tables: dict[str, Any] = {
                "needed": ["libz.so.1", "libc.so.6"],
                "versions": versions,
                "defines": ["OWN_1", "OWN_2"],
            }
            return [elf.library(soname="libown.so.1", runpath="$ORIGIN", isa=7, loader="/ld.so", **tables)]
        case "page":
            record = appendix.of(_contents())
            return [html.render_appendix(record).encode(), appendix_markdown.render(record).encode()]
    return []


def _json(record: Any) -> bytes:
    return json.dumps(dataclasses.asdict(record)).encode()


def _data(page: str) -> Any:
    from harness.report import pages

    return json.loads(pages.embedded(page) or "{}")
