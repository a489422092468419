"""``harness appendix``: from stored samples to a decision record that ``harness verify`` finds right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from harness import paths
from harness.calibrate import predicting, records
from harness.cli.appendix import COMMANDS
from harness.cli.decide import verify
from harness.measure import profile as profiles
from harness.methods import METHODS
from harness.recommend import engine
from harness.report import appendix as appendices
from harness.report import write
from harness.report.contents import contents
from harness.spec import scenario as scenarios


def _run(command: click.Command, *arguments: str) -> Result:
    # Click keeps a command's help option as it was asked for first: here as by the whole command line.
    given: dict[str, Any] = {"help_option_names": ["-h", "--help"], "standalone_mode": False}
    return CliRunner().invoke(command, arguments, catch_exceptions=False, **given)


@pytest.fixture
def run(made: Any) -> str:
    """A stored run of the model ``tiny``."""
    made.write()
    return str(made.RUN)


@pytest.mark.parametrize("kind", ["md", "html"])
def test_it_writes_a_record_that_verifies(kind: str, run: str, tmp_path: Path) -> None:
    """Both formats; one changed digit is found and named."""
    out = tmp_path / f"record.{kind}"
    done = _run(COMMANDS[0], "tiny", "--scenario", "edge-device", "--format", kind, "--out", str(out))
    assert (done.return_value, done.stdout) == (0, f"{out}\n")
    assert _run(verify, str(out)).return_value == 0
    page = out.read_text(encoding="utf-8")
    assert "10.0 MB" in page
    out.write_text(page.replace("10.0 MB", "10.1 MB"), encoding="utf-8")
    found = _run(verify, str(out))
    assert found.return_value == 1
    assert f"{run}:tiny:container:packed_bytes:median says '10.1 MB'" in found.stdout


def test_it_has_a_place_of_its_own_and_speaks_json(run: str, made: Any) -> None:
    """Without --out beside the runs; --json says where, and what was chosen."""
    told = json.loads(_run(COMMANDS[0], "tiny", "--scenario", "exact-reproduction", "--json").stdout)
    assert told["path"] == str(made.results / "appendix-tiny-exact-reproduction.md")
    assert (told["run"], told["winner"]) == (run, "container")
    assert told["footnotes"] > 10
    assert Path(told["path"]).read_text(encoding="utf-8").startswith("---\nstatus: ")


def test_no_method_left_is_exit_code_1(made: Any, tmp_path: Path) -> None:
    """The record is written all the same: it says why."""
    samples = list(made.samples(methods=("container",)))
    made.write(samples)
    out = tmp_path / "record.md"
    done = _run(COMMANDS[0], "tiny", "--scenario", "edge-device", "--run", made.RUN, "--out", str(out))
    assert done.return_value == 1
    assert "No option can be chosen" in out.read_text(encoding="utf-8")
    assert _run(verify, str(out)).return_value == 0


@pytest.mark.parametrize("kind", ["md", "html", "pdf"])
def test_a_model_that_was_only_profiled(kind: Any, here: object, tmp_path: Path) -> None:
    """Everything is modelled, which is said; it carries the profile, so that it can be predicted again."""
    home = paths.data("results") / "reference"
    calibration = records.of_results(home)
    assert calibration is not None
    measured = {one.model for one in calibration.models}
    file = next(
        file for file in sorted((home / "profiles").glob("*.json")) if profiles.read(file).model not in measured
    )
    evidence = predicting.evidence_from(calibration, profiles.read(file), METHODS, memory_mb=512)
    wanted = scenarios.find("infrequent-use")
    given: dict[str, Any] = {
        "scenarios": {wanted.name: wanted},
        "made_at": "2026-01-01T00:00:00+00:00",
        "harness_version": "0",
    }
    record = appendices.of(contents([evidence], [engine.recommend(evidence, wanted, METHODS)], **given))
    out = tmp_path / f"record.{kind}"
    write(record, kind, out)
    assert _run(verify, str(out)).stdout.endswith("all of them are as the samples say.\n")
    if kind != "pdf":
        page = out.read_text(encoding="utf-8")
        assert "No option was built" in page
        out.write_text(page.replace('"packages":', '"packages":9'), encoding="utf-8")
        assert _run(verify, str(out)).return_value == 1
