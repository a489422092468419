"""Commands that conclude from stored results, on a run made by hand."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import paths
from harness.methods import METHODS
from harness.metrics import METRICS
from harness.recommend import layers
from harness.spec import scenario as scenarios

Harness = Callable[..., Any]
FORMATS = ["md", *(["html"] if importlib.util.find_spec("vl_convert") else [])]


def able(method: Any, scenario: scenarios.Scenario) -> bool:
    """Whether target and needs leave the method in."""
    return set(scenario.target.has) >= method.REQUIRES and set(scenario.needs) <= method.PROVIDES


@pytest.fixture
def run(made: Any) -> Path:
    """The folder of a stored run."""
    return made.write()


def test_runs_are_listed(harness: Harness, run: Path, made: Any) -> None:
    """As a table and for machines; where there is none, the command that measures is named."""
    assert made.RUN in harness("runs").out
    assert [one["run"] for one in harness("runs", "--json").json] == [made.RUN]
    assert "harness run" in harness("runs", "--results", run.parent / "none").out


def test_methods_are_compared(harness: Harness, run: Path, made: Any) -> None:
    """Every method in a row, every number with its unit; for machines with intervals."""
    found = harness("compare", "tiny")
    assert found.code == 0
    for text in (*made.METHODS, "packed size", "cold start, page-warm", made.RUN):
        assert text in found.out
    table = harness("compare", "tiny", "--json").json
    assert table["run"] == made.RUN
    assert table["methods"] == dict.fromkeys(made.METHODS, "measured")
    packed = next(one for one in table["values"] if (one["method"], one["metric"]) == ("venv", "packed_bytes"))
    assert packed["interval"] == {"median": 2e7, "low": 2e7, "high": 2e7, "n": 1}
    assert packed["unit"] == METRICS["packed_bytes"].unit


def test_a_failed_method_says_why(harness: Harness, made: Any) -> None:
    """In the comparison, beside those that were measured."""
    made.write([*made.samples(("venv",)), made.sample("parity", None, "pex", flags=("failed",), note="pex broke")])
    assert "pex: failed: pex broke" in harness("compare", "tiny").out


MANY = (
    *("container", "conda", "venv", "lambda-zip", "lambda-image", "cloud-functions", "pex", "pex-scie"),
    *("pyinstaller", "pyinstaller-onefile", "sagemaker", "vertex", "azureml", "rest-api"),
)
LOG = "pyinstaller ended with exit code 1\n    Traceback\n    ModuleNotFoundError: no_such_module"


@pytest.fixture
def many(made: Any) -> Path:
    """A run of fourteen methods: one does not fit, one is not ready, one failed, some are emulated."""
    out = {
        "lambda-zip": made.sample(
            "parity", None, "lambda-zip", flags=("unfit",), note="does not fit: 271 MB of 262 MB"
        ),
        "pex-scie": made.sample("parity", None, "pex-scie", flags=("absent",), note="there is no scie-jump"),
        "pyinstaller": made.sample("parity", None, "pyinstaller", flags=("failed",), note=LOG),
    }
    samples = [
        dataclasses.replace(sample, fidelity="emulated") if sample.cell.method in {"vertex", "azureml"} else sample
        for sample in made.samples([name for name in MANY if name not in out])
    ]
    samples += [*out.values(), made.sample("unpacked_bytes", 271e6, "lambda-zip")]
    known = {name: {"ready": name != "pex-scie", "reason": "", "remedy": ""} for name in MANY}
    return made.write(samples, plan=made.plan(methods=MANY).as_dict(), availability=known)


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_fourteen_methods_fit_the_terminal(
    harness: Harness, many: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """No line is longer than it, no name and no number is broken; what each cell is can be read from it."""
    monkeypatch.setenv("COLUMNS", str(columns))
    text = harness("compare", "tiny").out
    assert max(len(line.rstrip()) for line in text.splitlines()) <= columns
    starts = text[text.index("Cold start") :].splitlines()
    for name in MANY:
        row = next((line for line in starts if line.startswith((f" {name} ", f" {name}\N{NO-BREAK SPACE}"))), "")
        assert bool(re.search(r"\d+ m?s \[\d[\d.]*–\d[\d.]*\]", row)) == (name not in {*MANY[3:4], *MANY[7:9]}), name
    assert re.search(r"^ lambda-zip \(unfit\) .*271 MB", text, flags=re.MULTILINE)
    assert re.search(r"^ vertex e +1[\d.]* s", text, flags=re.MULTILINE)
    assert "e: emulated" in text


def test_what_became_of_each_method_is_said_in_a_line(harness: Harness, many: Path) -> None:
    """Not fitting, not being ready, and failing are three things; a log is shown where it is asked for."""
    found = harness("compare", "tiny")
    assert "- lambda-zip: does not fit: 271 MB of 262 MB\n" in found.out
    assert "- pex-scie: not ready on that machine: there is no scie-jump\n" in found.out
    assert "- pyinstaller: failed: pyinstaller ended with exit code 1 …\n" in found.out
    assert "no_such_module" not in found.out
    assert "no_such_module" in harness("-v", "compare", "tiny").out
    table = harness("compare", "tiny", "--json").json
    assert [table["outcomes"][name] for name in MANY[2:9]] == [
        *("measured", "unfit", "measured", "measured", "measured", "absent", "failed")
    ]
    assert table["methods"]["pyinstaller"] == LOG


def test_what_a_method_leaves_to_its_target_is_said(harness: Harness, made: Any) -> None:
    """By the comparison, the decision and the report, of artifacts that were read; for machines too."""
    read = {"tiny/venv": {"needs_on_target": "libgl1, libxcb1"}, "tiny/pex": {"needs_on_target": ""}}
    made.write(made.samples(), artifacts={name: {"digest": "d", **facts} for name, facts in read.items()})
    assert "- venv: works here, needs libgl1, libxcb1 on the target\n" in harness("compare", "tiny").out
    found = harness("compare", "tiny", "--json").json["needs_on_target"]
    assert found == {"container": None, "venv": "libgl1, libxcb1", "pex": "", "rest-api": None}
    text = " ".join(harness("recommend", "tiny", "--scenario", "exact-reproduction").out.split())
    assert "venv: needs libgl1 and libxcb1 on the target, and does not bring that along" in text
    harness("report", "--out", "report.md")
    assert "works here, needs libgl1, libxcb1 on the target" in Path("report.md").read_text()


def test_a_recommendation_says_a_reason_once(harness: Harness, made: Any) -> None:
    """For all methods that it rules out, without what tools printed."""
    failed = [made.sample("parity", None, name, flags=("failed",), note=LOG) for name in made.METHODS[1:]]
    made.write([*made.samples(("container",)), *failed])
    text = " ".join(harness("recommend", "tiny", "--scenario", "exact-reproduction").out.split())
    assert "venv, pex, rest-api: pyinstaller ended with exit code 1 …" in text
    assert "no_such_module" not in text


@pytest.mark.parametrize("scenario", scenarios.names())
@pytest.mark.usefixtures("run")
def test_a_recommendation_is_made(harness: Harness, made: Any, scenario: str) -> None:
    """The answer with its reasons for people, and the whole of it for machines; 1 where none of the four is left."""
    found = harness("recommend", "tiny", "--scenario", scenario)
    table = harness("recommend", "tiny", "--scenario", scenario, "--json").json
    wanted = scenarios.find(scenario)
    combined = {
        name: one
        for name, one in layers.combinations(wanted, METHODS).items()
        if {one.environment, one.interface} <= set(made.METHODS)
    }
    every = {**{name: METHODS[name] for name in made.METHODS}, **combined}
    left = {name for name, method in every.items() if able(method, wanted)}
    assert {option["method"] for option in table["ranked"]} == left
    assert found.code == (0 if left else 1)
    assert table["scenario"] == scenario
    assert (table["winner"] or "No method can be recommended") in found.out
    assert "The article's rule" in found.out
    assert "Made-up 3000" in found.out


def test_where_no_method_is_left_the_exit_code_is_1(harness: Harness, made: Any) -> None:
    """It is said why each is excluded."""
    failed = [made.sample("parity", None, name, flags=("failed",), note=f"{name} broke") for name in made.METHODS]
    made.write([*made.samples(("venv",)), *failed])
    found = harness("recommend", "tiny", "--scenario", "edge-device", "--run", made.RUN)
    assert found.code == 1
    assert "venv broke" in found.out


@pytest.mark.parametrize("kind", FORMATS)
def test_a_report_can_be_verified(harness: Harness, run: Path, tmp_path: Path, kind: str) -> None:
    """What is written is as the samples say; the path is what is printed."""
    target = tmp_path / f"report.{kind}"
    found = harness("report", "tiny", "--format", kind, "--out", target)
    assert (found.code, found.out) == (0, f"{target}\n")
    checked = harness("verify", target, "--json")
    assert checked.code == 0
    assert checked.json["mismatches"] == []
    assert checked.json["checked"] > 100


def test_a_changed_digit_in_a_report_is_named(harness: Harness, run: Path, tmp_path: Path) -> None:
    """Exit code 1, the fact and both numbers."""
    target = tmp_path / "report.md"
    harness("report", "tiny", "--format", "md", "--out", target)
    text = target.read_text()
    spot = re.search(r"\| *(\d)\d* (?:kB|MB|files|ms|s)?", text)
    assert spot is not None
    place = spot.start(1)
    target.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
    found = harness("verify", target)
    assert found.code == 1
    assert "the samples say" in found.out
    assert "differ" in found.out


def test_without_a_model_a_report_is_of_the_newest_run(harness: Harness, run: Path, made: Any) -> None:
    """It lands in the results folder."""
    found = harness("report", "--format", "md", "--scenario", "edge-device", "--json")
    assert found.json["runs"] == [made.RUN]
    assert Path(found.json["path"]).parent == made.results


def test_without_a_run_there_is_no_report(harness: Harness, tmp_path: Path) -> None:
    """The command that measures is named."""
    found = harness("report", "--results", tmp_path)
    assert found.code == 2
    assert "harness run" in found.err


def test_a_run_is_verified(harness: Harness, run: Path) -> None:
    """Every value of it."""
    found = harness("verify", run)
    assert found.code == 0
    assert "all of them are as the samples say" in found.out
    assert harness("verify", run, "--json").json == {"checked": 672, "mismatches": [], "notes": []}


@pytest.mark.parametrize("line", [1, 100, 672])
def test_one_changed_digit_in_a_run_is_named(harness: Harness, run: Path, line: int) -> None:
    """Exit code 1, and the sample, wherever it is in the file."""
    file = run / "samples.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    sample = json.loads(lines[line - 1])
    lines[line - 1] = re.sub(r'("value":)(\d)', lambda match: f"{match[1]}{(int(match[2]) + 1) % 10}", lines[line - 1])
    file.write_text("".join(lines))
    found = harness("verify", run)
    assert found.code == 1
    assert f"tiny/{sample['cell']['method']} {sample['metric']} round {sample['round']}" in found.out


@pytest.mark.parametrize("text", ["no report", "", "\xff", "<html></html>"])
def test_what_is_no_report_is_bad_input(harness: Harness, run: Path, tmp_path: Path, text: str) -> None:
    """The file is named."""
    (tmp_path / "x.html").write_text(text, encoding="latin-1")
    found = harness("verify", tmp_path / "x.html")
    assert found.code == 2
    assert "x.html" in found.err


def test_a_damaged_line_is_named(harness: Harness, run: Path) -> None:
    """By every command that reads the run: exit code 1, no traceback."""
    with (run / "samples.jsonl").open("a") as file:
        file.write("rubbish\n")
    assert "line 673" in harness("verify", run).out
    for argv in (("compare", "tiny"), ("recommend", "tiny", "--scenario", "edge-device"), ("report", "tiny")):
        found = harness(*argv)
        assert found.code == 1
        assert "line 673 is not a sample" in found.err


@pytest.mark.parametrize("kind", ["csv", "parquet", "pytest-benchmark"])
def test_a_run_is_exported(harness: Harness, run: Path, made: Any, tmp_path: Path, kind: str) -> None:
    """To the given file, or to one called like the run; the path is what is printed."""
    target = tmp_path / "out file"
    found = harness("export", made.RUN, "--format", kind, "--out", target)
    assert (found.code, found.out) == (0, f"{target}\n")
    if kind == "csv":
        assert len(list(csv.DictReader(target.read_text().splitlines()))) == 672
    elif kind == "pytest-benchmark":
        assert json.loads(target.read_text())["benchmarks"]
    else:
        assert target.read_bytes().startswith(b"PAR1")


@pytest.mark.parametrize("kind", ["csv", "parquet", "pytest-benchmark"])
def test_an_export_that_cannot_be_written_is_bad_input(harness: Harness, run: Path, tmp_path: Path, kind: str) -> None:
    """The file is named, whether its folder is not there or is none."""
    (tmp_path / "file").touch()
    for place in (tmp_path / "none" / "x", tmp_path / "file" / "x"):
        found = harness("export", run.name, "--format", kind, "--out", place)
        assert found.code == 2
        assert str(place) in found.err


def test_an_export_of_a_damaged_run_is_a_failed_check(harness: Harness, run: Path, made: Any, tmp_path: Path) -> None:
    """As with every other command."""
    with (run / "samples.jsonl").open("a") as file:
        file.write("rubbish\n")
    assert harness("export", made.RUN, "--format", "csv", "--out", tmp_path / "x.csv").code == 1


def test_a_report_that_cannot_be_written_is_bad_input(harness: Harness, run: Path, tmp_path: Path) -> None:
    """A place below a file is named."""
    (tmp_path / "file").touch()
    found = harness("report", "tiny", "--format", "md", "--out", tmp_path / "file" / "x")
    assert found.code == 2
    assert str(tmp_path / "file" / "x") in found.err
    assert "remedy:" in found.err


def test_reference_results_stand_in_and_it_is_said(
    harness: Harness, made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing was measured here, what travels with the harness is used, and named with its host."""
    data = paths.data
    monkeypatch.setattr(paths, "data", lambda kind: tmp_path / "shipped" if kind == "results" else data(kind))
    made.results = tmp_path / "shipped" / "reference"
    made.write()
    found = harness("compare", "tiny")
    assert found.code == 0
    assert "reference results" in found.err
    assert "Made-up 3000" in found.err
    assert harness("compare", "tiny", "--results", tmp_path).code == 2
    told = harness("report", "--format", "md", "--out", tmp_path / "report.md")
    assert (told.code, "reference results" in told.err) == (0, True)


def test_a_newer_run_does_not_hide_the_others(harness: Harness, run: Path, made: Any) -> None:
    """A run that this harness cannot read is no reason to refuse those that it can."""
    newer = made.write([made.sample()], run_id="20990101-000000-new")
    table = json.loads((newer / "run.json").read_text())
    (newer / "run.json").write_text(json.dumps({**table, "schema_version": 99}))
    assert harness("compare", "tiny").code == 0
    assert made.RUN in harness("runs").out


def test_a_variant_and_the_canary_are_shown(harness: Harness, made: Any) -> None:
    """A row for the variant and its ratios to the method as it is; and what a method is against itself."""
    plain = list(made.samples())
    starts = [one for one in plain if one.cell.method == "venv" and one.state]
    extra = [
        dataclasses.replace(one, cell=dataclasses.replace(one.cell, limits=limits), value=one.value * factor)
        for limits, factor in (("again", 1.0), ("bytecode=none", 1.5))
        for one in starts
    ]
    refused = made.sample("parity", None, "pex", flags=("absent",), note="pex can't be built with it")
    refused = dataclasses.replace(refused, cell=dataclasses.replace(refused.cell, limits="bytecode=none"))
    made.write([*plain, *extra, refused])
    text = harness("compare", "tiny").out
    assert re.search(r"^ venv bytecode=none ", text, flags=re.MULTILINE)
    assert re.search(r"venv +bytecode=none +cold start, page-warm +1\.50×", text)
    assert re.search(r"A/A, page-warm: a method against itself is 1[.0]*×, which includes 1", text)
    assert "pex bytecode=none: pex can't be built with it" in text
    values = harness("compare", "tiny", "--json").json["values"]
    assert {value["limits"] for value in values} == {"default", "again", "bytecode=none"}
