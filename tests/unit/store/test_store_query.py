"""Questions to a run, its Parquet, its exports, and the check of it. DuckDB runs in this process."""

from __future__ import annotations

import csv
import dataclasses
import errno
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness import tree
from harness.bootstrap import interval
from harness.errors import BadInput, CheckFailure, DiskFull
from harness.metrics import START_STATES
from harness.store import checking, exporting, query, runs, tables


def test_values_are_medians_of_what_counts(made: Any) -> None:
    """One value for each cell, metric and state; what was dropped or failed is counted apart, with its reason."""
    samples = [
        *(made.sample("install_s", float(number), round=number) for number in range(1, 9)),
        made.sample("install_s", 100.0, round=9, flags=("dropped:hot",)),
        made.sample("install_s", None, round=10, flags=("failed",), note="hung"),
        made.sample("install_s", 9.0, round=11, flags=("outlier",)),
        made.sample("packed_bytes", None, flags=("absent",), note="no registry"),
    ]
    packed, install = query.values(made.write(samples))
    assert install.interval == interval([*(float(number) for number in range(1, 9)), 9.0])
    assert list(install.by_round) == [*range(1, 9), 11]
    assert (install.failed, install.dropped, install.why_absent) == (1, 1, "hung")
    assert (packed.interval, packed.why_absent) == (None, "no registry")
    assert (packed.declared.name, packed.fidelity) == ("packed_bytes", "measured")


def test_the_later_of_two_samples_wins(made: Any) -> None:
    """The earlier one belongs to an interrupted step; also where the later one failed."""
    samples = [
        made.sample("install_s", 1.0),
        made.sample("parity", 1.0),
        made.sample("install_s", 2.0),
        made.sample("parity", None, flags=("failed",), note="wrong"),
    ]
    install, parity = query.values(made.write(samples))
    assert dict(install.by_round) == {0: 2.0}
    assert (parity.interval, parity.failed) == (None, 1)


def test_evidence_is_of_one_model(made: Any) -> None:
    """Values by method, metric and state; a method that failed says why; an unknown model names those measured."""
    made.write([*made.samples(("venv", "pex")), made.sample("parity", None, "container", flags=("failed",), note="no")])
    found = query.evidence(made.results, made.RUN, "tiny")
    assert found.methods == made.METHODS
    assert found.interval("venv", "packed_bytes") == interval([2e7 / 2])
    assert found.value("venv", "cold_start_s", "page-warm").interval.n == 9
    assert found.value("venv", "cold_start_s") is None
    assert found.interval("rest-api", "files") is None
    assert [found.failure(method) for method in found.methods] == ["no", "", "", "was not measured"]
    with pytest.raises(BadInput, match="did not measure 'other'") as raised:
        query.evidence(made.results, made.RUN, "other")
    assert "tiny" in raised.value.remedy


def test_a_wrong_parity_is_a_failure(made: Any) -> None:
    """A cell without right answers is not compared."""
    made.write([made.sample("parity", 0.0)])
    assert query.evidence(made.results, made.RUN, "tiny").failure("venv") == "answers wrongly"


def test_ratios_are_paired_within_rounds(made: Any) -> None:
    """Twice as slow in every round is exactly two, whatever the drift."""
    drift = [made.sample("install_s", 1.0 + n, "venv", round=n) for n in range(8)]
    double = [made.sample("install_s", 2.0 + 2 * n, "pex", round=n) for n in range(8)]
    pex, venv = query.values(made.write([*drift, *double]))
    found = query.paired_ratio(pex, venv)
    assert (found.low, found.median, found.high) == (2.0, 2.0, 2.0)
    assert query.paired_ratio(None, venv) is None
    assert [metric.name for metric in query.metrics_of([pex, venv])] == ["install_s"]


def test_the_latest_run_is_the_newest_with_a_start(made: Any) -> None:
    """Names begin with their date; a run without a start of the model is passed over."""
    assert query.latest_run(made.results, "tiny") is None
    made.write(run_id="20240101-000000-aaaa")
    made.write(run_id="20240103-000000-aaaa")
    made.write([made.sample()], run_id="20240104-000000-aaaa")
    assert query.latest_run(made.results, "tiny") == "20240103-000000-aaaa"
    assert query.latest_run(made.results, "other") is None


def test_parquet_holds_what_the_lines_hold(made: Any) -> None:
    """The same values come from either; of two samples with one key only the later is there."""
    folder = made.write([*made.samples(), made.sample("install_s", 77.0)])
    assert query.parquet_differs(folder) == []
    from_lines = query.values(folder)
    (folder / "samples.jsonl").unlink()
    assert query.values(folder) == from_lines


def test_parquet_that_differs_is_named(made: Any) -> None:
    """A value that is in one and not in the other, and a file that is no Parquet."""
    folder = made.write([made.sample("install_s", 1.0), made.sample("parity", 1.0)])
    text = (folder / "samples.jsonl").read_text()
    (folder / "samples.jsonl").write_text(text.replace('"value":1.0,"unit":"s"', '"value":1.5,"unit":"s"'))
    assert query.parquet_differs(folder) == ["tiny/venv install_s round 0 is not as in samples.jsonl"]
    (folder / "samples.parquet").write_bytes(b"rubbish")
    assert query.parquet_differs(folder)[0].startswith("cannot be compared")


def test_a_compacted_run_stands_without_its_lines(made: Any) -> None:
    """It is checked by the digest in its manifest, goes on being read, and is not gone on with."""
    folder = made.write()
    before = query.values(folder)
    (folder / "samples.jsonl").unlink()
    count, wrong, _ = checking.verify_run(folder)
    assert count == len(list(made.samples()))
    assert wrong == ["samples.parquet: stands alone, and run.json has no digest to check it by"]
    manifest = dataclasses.replace(runs.read_manifest(folder), digests={tables.PARQUET: tree.sha256(_parquet(folder))})
    runs.write_manifest(folder, manifest)
    assert checking.verify_run(folder) == (count, [], [])
    assert query.values(folder) == before
    with pytest.raises(BadInput, match="only its compacted samples"), runs.resume(made.results, made.RUN):
        pass
    changed = [dataclasses.replace(one, value=2.0) if one.metric == "files" else one for one in made.samples()]
    other = made.write(changed, run_id="20240102-030405-edit")
    _parquet(folder).write_bytes(_parquet(other).read_bytes())
    assert any("not what was compacted" in line for line in checking.verify_run(folder)[1])


def _parquet(folder: Path) -> Path:
    return folder / tables.PARQUET


def test_a_run_without_samples_is_named(made: Any) -> None:
    """Neither lines nor Parquet: nothing is made up."""
    folder = made.write()
    (folder / "samples.jsonl").unlink()
    (folder / "samples.parquet").unlink()
    with pytest.raises(CheckFailure, match="has no samples"):
        query.values(folder)


def test_a_path_with_a_quote_is_a_path(made: Any) -> None:
    """Quotes in a folder's name do no harm."""
    made.results = made.results / "it's"
    folder = made.write()
    assert query.values(folder)
    query.export(folder, folder / "o'clock.csv", "csv")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_exports_have_a_row_for_each_sample(made: Any, tmp_path: Path, kind: str) -> None:
    """The cell is spread over columns, flags are words."""
    failed = made.sample("parity", None, flags=("failed",), note="a, b")
    samples = [made.sample("install_s", 1.5, flags=("outlier",)), failed]
    target = tmp_path / f"x.{kind}"
    query.export(made.write(samples), target, kind)
    if kind == "csv":
        rows = list(csv.DictReader(target.read_text().splitlines()))
    else:
        import duckdb

        with duckdb.connect() as connection:
            found = connection.execute("SELECT * FROM read_parquet(?)", [str(target)])
            names = [column[0] for column in found.description]
            rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    rows.sort(key=lambda row: row["metric"])
    assert [(r["model"], r["method"], r["metric"], r["flags"]) for r in rows] == [
        ("tiny", "venv", "install_s", "outlier"),
        ("tiny", "venv", "parity", "failed"),
    ]
    assert float(rows[0]["value"]) == 1.5
    assert rows[1]["note"] == "a, b"


def test_pytest_benchmark_reads_an_export(made: Any, tmp_path: Path) -> None:
    """The table has the fields of pytest-benchmark's own, its loader takes it, and its statistics agree."""
    target = tmp_path / "x.json"
    exporting.pytest_benchmark(made.write(), target)
    table = json.loads(target.read_text())
    from pytest_benchmark.stats import Stats
    from pytest_benchmark.storage.file import FileStorage

    storage = FileStorage(str(tmp_path / "storage"), logger=None)
    place = storage.path / "machine"
    place.mkdir(parents=True)
    target.rename(place / "0001_x.json")
    ((_, loaded),) = list(storage.load("0001"))
    assert len(loaded["benchmarks"]) == len(table["benchmarks"]) == 4 * (2 + 2 * (6 + 1))
    for entry in loaded["benchmarks"]:
        theirs = Stats()
        for value in entry["stats"]["data"]:
            theirs.update(value)
        expected = theirs.as_dict()
        for name in ("min", "max", "mean", "median", "rounds", "total", "stddev", "ops"):
            assert entry["stats"][name] == pytest.approx(expected[name]), name
    assert {entry["params"]["state"] for entry in table["benchmarks"]} == {"", *START_STATES}


def test_a_whole_run_verifies(made: Any) -> None:
    """Every sample is checked, nothing is wrong, nothing is noted."""
    folder = made.write()
    assert checking.verify_run(folder) == (len(list(made.samples())), [], [])


@pytest.mark.parametrize("metric", ["packed_bytes", "install_s", "phase_imports_s", "cold_start_s", "parity"])
def test_one_changed_digit_is_named(made: Any, metric: str) -> None:
    """Whichever number is changed by hand, the check names its cell and metric."""
    folder = made.write()
    file = folder / "samples.jsonl"
    text = file.read_text()
    spot = re.search(rf'"metric":"{metric}","value":(\d)', text).start(1)
    file.write_text(text[:spot] + str((int(text[spot]) + 1) % 10) + text[spot + 1 :])
    _, wrong, _ = checking.verify_run(folder)
    assert wrong
    assert all("tiny/container" in line for line in wrong)
    assert any(metric in line for line in wrong)


def test_a_start_is_checked_without_parquet(made: Any) -> None:
    """Phases that do not add up to their total are found in the lines alone."""
    folder = made.write(compact=False, finished_at=None)
    file = folder / "samples.jsonl"
    file.write_text(file.read_text().replace('"phase_weights_s","value":0.25', '"phase_weights_s","value":0.26', 1))
    _, wrong, notes = checking.verify_run(folder)
    assert len(wrong) == 1
    assert "tiny/container round 0 page-warm: phases add up to" in wrong[0]
    assert "has not finished" in notes[0]


FAULTS = {
    "speed": ({"metric": "speed"}, "not a metric that this harness knows"),
    "run": ({"run": "other"}, "belongs to run other"),
    "unit": ({"unit": "bytes"}, "unit bytes, declared s"),
    "state": ({"state": "page-warm"}, "not measured in that state"),
    "negative": ({"value": -1.0}, "key 'value' = -1.0"),
    "no reason": ({"value": None}, "no value, and no reason"),
    "text": ({"value": "fast"}, ""),
    "truth": ({"round": "first"}, ""),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_sample_that_cannot_be_is_named(made: Any, what: str) -> None:
    """Unknown metric, foreign run, other unit, wrong state, impossible value, missing reason, wrong type."""
    changes, named = FAULTS[what]
    folder = made.write([made.sample()], compact=False)
    table = json.loads((folder / "samples.jsonl").read_text())
    (folder / "samples.jsonl").write_text(json.dumps({**table, **changes}) + "\n")
    _, wrong, _ = checking.verify_run(folder)
    assert wrong
    assert named in " ".join(wrong)


def test_a_damaged_line_is_named_by_the_check(made: Any) -> None:
    """Verifying ends with the line's number, not with an error."""
    folder = made.write([made.sample()], compact=False)
    with (folder / "samples.jsonl").open("a") as file:
        file.write("rubbish\n")
    checked, wrong, _ = checking.verify_run(folder)
    assert checked == 0
    assert "line 2 is not a sample" in wrong[0]


def test_run_ids_are_sorted_by_date(made: Any) -> None:
    """The oldest first; folders that are no runs don't count."""
    for run_id in ("20240202-1", "20240101-2", "20240101-1"):
        made.write([made.sample()], run_id=run_id)
    (made.results / "runs" / "rubbish").mkdir()
    assert runs.run_ids(made.results) == ["20240101-1", "20240101-2", "20240202-1"]


def again(made: Any, factor: float) -> list[Any]:
    """A whole run in which ``venv`` ran a second time, its starts by ``factor`` slower."""
    plain = list(made.samples())
    twice = [one for one in plain if one.cell.method == "venv" and one.state]
    cell = dataclasses.replace(twice[0].cell, limits="again")
    return plain + [dataclasses.replace(one, cell=cell, value=one.value * factor) for one in twice]


def test_the_canary_is_a_method_against_itself(made: Any) -> None:
    """Paired within rounds; a run without one has none; the method's own values are not touched by it."""
    made.write(again(made, 1.5))
    found = query.evidence(made.results, made.RUN, "tiny")
    assert found.canary("page-warm").median == pytest.approx(1.5)
    assert found.value("venv", "cold_start_s", "page-warm").limits == "default"
    assert found.canary("node-cold") is None


def test_cells_under_other_limits_are_checked_apart(made: Any) -> None:
    """The second time of a method is no other value of the first."""
    folder = made.write(again(made, 1.5))
    assert checking.verify_run(folder)[1] == []


def test_a_start_on_an_empty_node_has_its_installation_before_it(made: Any) -> None:
    """Its phases and the installation of the same round add up; another installation is found."""
    start = list(made.start("venv", 0, "node-cold", 0.25))
    total = dataclasses.replace(start[-1], value=start[-1].value + 1.25)
    install = made.sample("install_s", 1.25)
    assert checking.verify_run(made.write([*start[:-1], total, install]))[1] == []
    shutil.rmtree(made.results)
    _, wrong, _ = checking.verify_run(made.write([*start[:-1], total, dataclasses.replace(install, value=1.5)]))
    assert [line.partition(": ")[0] for line in wrong] == ["tiny/venv round 0 node-cold"]


def test_a_modelled_transfer_is_what_its_size_makes(made: Any) -> None:
    """10 Mbit/s: a megabyte takes 0.8 s."""
    size, right = made.sample("packed_bytes", 1e6), made.sample("transfer_s", 0.8, fidelity="modelled")
    assert checking.verify_run(made.write([size, right]))[1] == []
    shutil.rmtree(made.results)
    _, wrong, _ = checking.verify_run(made.write([size, dataclasses.replace(right, value=0.9)]))
    assert "tiny/venv transfer_s is 0.9" in wrong[0]


def test_some_metrics_can_be_asked_for_alone(made: Any) -> None:
    """The same values, and no others; a model that the run has not reached is not in its evidence."""
    folder = made.write()
    every = [value for value in query.values(folder) if value.metric in {"files", "parity"}]
    assert query.values(folder, {"files", "parity"}) == every
    (found,) = query.evidences(made.results, made.RUN, {"files"})
    assert {value.metric for value in found.values} == {"files"}
    manifest = runs.read_manifest(folder)
    plan = {**manifest.plan, "models": ["tiny", "later"]}
    runs.write_manifest(folder, dataclasses.replace(manifest, plan=plan, finished_at=None))
    assert [one.model for one in query.evidences(made.results, made.RUN)] == ["tiny"]
    assert query.latest_run(made.results, "later") is None


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", " =1", "\n=1", "\uff1d1"])
def test_no_text_is_a_formula_in_csv(made: Any, tmp_path: Path, text: str) -> None:
    """An apostrophe stands before it, quotes around what has separators; numbers stay as they are."""
    folder = made.write([made.sample("parity", None, flags=("failed",), note=f'{text};=2,"=3'), made.sample()])
    query.export(folder, tmp_path / "x.csv", "csv")
    with (tmp_path / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["note"] for row in rows if row["metric"] == "parity"] == [f"'{text};=2,\"=3"]
    assert [float(row["value"]) for row in rows if row["value"]] == [1.5]
    assert not any((cell or "").startswith(tuple("=+-@\t\r\n")) for row in rows for cell in row.values())


def test_duckdb_sees_the_samples_and_nothing_else(made: Any) -> None:
    """No file, no extension, no other setting: whatever a results folder makes it do ends there."""
    import duckdb

    with tables.loaded(made.write()) as connection:
        for sql in ("FROM read_csv('/etc/passwd')", "FROM '/etc/passwd'", "INSTALL httpfs", "SET threads = 8"):
            with pytest.raises(duckdb.Error):
                connection.execute(sql)


@pytest.mark.parametrize("name", ["*", "[a]", "a?", "http:", "s3:", "{x}", "'; DROP TABLE samples; --"])
def test_a_folder_is_read_whatever_it_is_called(made: Any, name: str) -> None:
    """No name is a pattern, an address or SQL."""
    made.results = made.results / name
    folder = made.write()
    assert len(query.values(folder)) > 1
    (folder / "samples.jsonl").unlink()
    assert len(query.values(folder)) > 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_while_compacting_is_said(made: Any, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The lines stay, nothing half is beside them, and they are compacted once there is room."""
    folder = made.write([made.sample("parity", 1.0)], compact=False)
    before = sorted(file.name for file in folder.iterdir())

    def full(*_: Any, **__: Any) -> None:
        raise OSError(number, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", full)
        with pytest.raises(DiskFull, match="is full") as raised:
            query.compact(folder)
    assert "--resume" in raised.value.remedy
    assert sorted(file.name for file in folder.iterdir()) == before
    assert tables.PARQUET in query.compact(folder)
