"""``harness calibrate`` as a reader sees it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness import paths
from harness.calibrate import records
from harness.calibrate.records import Coefficient
from harness.cli import calibrate as commands
from harness.cli import cli
from harness.errors import BadInput
from harness.measure import profile as profiles


def invoke(*args: object) -> Result:
    """Run it in this process; errors come out as they are."""
    return CliRunner().invoke(cli, ["calibrate", *map(str, args)], catch_exceptions=False)


def test_it_prints_coefficients_errors_and_a_warning(lab: Any) -> None:
    """In units that are read at a glance, and keeps the calibration and the profiles beside the runs."""
    found = lab.models(families=3, each=3)
    lab.run(found, profiled=False, methods=["venv"])
    for one in found:
        profiles.write(one, profiles.kept())
    done = invoke("--results", lab.results)
    assert done.exit_code == 0
    text = " ".join(done.stdout.split())
    assert "50.0 ms + 1.1 × local start, page-warm" in text
    assert "30.0 + 1 × files of everything" in text
    assert "700 ms + 20.0 ms per MB of everything" in text
    assert "9/3" in text
    assert "too few to decide by" in text
    made = records.of_results(lab.results)
    assert made is not None
    assert {one.name for one in (lab.results / "profiles").iterdir()} == {one.file_name for one in found}


def test_machines_get_everything(lab: Any, tmp_path: Path) -> None:
    """The calibration, its quality, and where it is; --out leaves the results folder alone."""
    rng = random.Random(1)
    lab.run(lab.models(families=3), noise=lambda: 1.2 ** rng.uniform(-1, 1))
    done = invoke("--run", lab.RUN, "--results", lab.results, "--out", tmp_path / "c.json", "--json")
    told = json.loads(done.stdout)
    assert told["path"] == str(tmp_path / "c.json")
    assert records.read(tmp_path / "c.json").runs[0].run_id == lab.RUN
    assert {one["metric"] for one in told["quality"]} == {metric for metric, _ in lab.PLANTED}
    assert told["calibration"]["schema_version"] == records.SCHEMA_VERSION
    assert records.of_results(lab.results) is None


def test_reference_results_come_first_and_own_ones_where_there_are_none(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is said on standard error; options choose one's own."""
    shipped = tmp_path / "shipped"
    monkeypatch.setattr(paths, "data", lambda kind: shipped / kind)
    monkeypatch.setenv("HARNESS_RESULTS", str(lab.results))
    lab.run(lab.models(families=2))
    assert commands._results_folder((), None) == lab.results
    reference = type(lab)(shipped / "results" / "reference")
    reference.run(lab.models(families=2))
    assert commands._results_folder((), None) == reference.results
    assert commands._results_folder((lab.RUN,), None) == lab.results
    assert commands._results_folder((), str(lab.results)) == lab.results


def test_no_run_is_said(lab: Any) -> None:
    """With what would make one."""
    with pytest.raises(BadInput, match="there is no run") as refused:
        invoke("--results", lab.results)
    assert "harness run" in refused.value.remedy


@pytest.mark.parametrize(
    ("metric", "feature", "value", "expected"),
    [
        ("packed_bytes", "base", 2.5e6, "2.50 MB"),
        ("packed_bytes", "all_packed_bytes", 1.234, "1.23 × everything, compressed"),
        ("cold_start_s", "start_s@page-warm", 1.0, "1 × local start, page-warm"),
        ("build_clean_s", "shipped_bytes", 1.2e-8, "12.0 ms per MB of pruned packages and loaded bytecode"),
        ("build_clean_s", "all_files", 1.5e-3, "1.50 s per 1,000 files of everything"),
    ],
)
def test_coefficients_are_readable(metric: str, feature: str, value: float, expected: str) -> None:
    """In the metric's own unit, per unit that one can imagine; a star where nothing was fitted."""
    assert commands._part(metric, Coefficient(feature=feature, value=value, fitted=True)) == expected
    starred = commands._part(metric, Coefficient(feature=feature, value=value, fitted=False))
    assert starred.replace("*", "", 1) == expected
    assert "*" in starred


@pytest.mark.parametrize(
    ("factor", "expected"), [(1.01, "1%"), (1.2, "20%"), (3.14, "a factor of 3.1"), (100, "not known")]
)
def test_intervals_are_readable(factor: float, expected: str) -> None:
    """Percent where they are narrow, a factor where they are wide, nothing where they say nothing."""
    assert commands._factor(factor) == expected
