"""``harness run`` on methods in memory: its exit codes, what it prints, and going on after Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from harness import methods, paths
from harness.errors import EngineGone, MissingComponent, ModelFailure
from harness.measure import host
from harness.platforms import engine, engine_reach
from harness.store import query, runs

Harness = Callable[..., Any]


@pytest.fixture(autouse=True)
def only_fakes(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of methods has the bench's own."""

    def missing(*_: Any) -> Any:
        raise MissingComponent("none")

    monkeypatch.setattr(methods, "METHODS", bench.methods)
    monkeypatch.setattr(engine, "connect", missing)
    monkeypatch.setattr(engine, "look", lambda: (None, "none"))
    monkeypatch.setattr(engine, "_using", engine._Using())


def measure(harness: Harness, bench: Any, *more: str) -> Any:
    """A small run."""
    return harness("run", bench.folder.path, "--rounds", "2", *more)


def test_a_run_ends_with_its_table(harness: Harness, bench: Any) -> None:
    """Exit code 0; the comparison, where the time went, where it is kept, and what to do next."""
    found = measure(harness, bench)
    assert found.code == 0
    for text in ("tiny: median", "the harness itself", "Kept in", "harness recommend tiny"):
        assert text in found.out
    assert "2 rounds of 6 starts" in found.err
    assert "Estimated to take" in found.err
    (run_id,) = runs.run_ids(bench.made.results)
    folder = runs.folder_of(bench.made.results, run_id)
    assert runs.read_manifest(folder).finished_at
    assert query.parquet_differs(folder) == []


def test_a_run_is_told_to_machines(harness: Harness, bench: Any) -> None:
    """JSON alone on standard output."""
    table = measure(harness, bench, "--json", "--method", "two", "--seed", "5").json
    assert table["failed"] == table["absent"] == {}
    assert set(table["timings"]) >= {"wall_s", "own_s", "own_share"}
    assert table["models"][0]["methods"] == {"two": "measured"}
    manifest = runs.read_manifest(runs.folder_of(bench.made.results, table["run"]))
    assert (manifest.plan["seed"], manifest.plan["methods"], manifest.plan["rounds"]) == (5, ["two"], 2)


def test_a_failed_cell_makes_the_exit_code_1(harness: Harness, bench: Any) -> None:
    """The others are measured, and the reason stands under the table."""

    def fail(_: int) -> None:
        raise ModelFailure("load raised")

    bench.methods["two"].at("start", fail)
    found = measure(harness, bench)
    assert found.code == 1
    assert "two: failed: load raised" in found.out
    assert "1 of the cells failed" in found.out


def test_ctrl_c_keeps_what_there_is_and_names_the_way_on(harness: Harness, bench: Any) -> None:
    """Exit code 130; resuming measures the rest and nothing twice."""

    def interrupt(number: int) -> None:
        if number == 3:
            raise KeyboardInterrupt

    bench.methods["two"].at("start", interrupt)
    found = measure(harness, bench)
    (run_id,) = runs.run_ids(bench.made.results)
    assert found.code == 130
    assert f"harness run --resume {run_id}" in found.err
    folder = runs.folder_of(bench.made.results, run_id)
    kept = runs.read_samples(folder)
    assert kept
    assert runs.read_manifest(folder).finished_at is None
    again = harness("run", "--resume", run_id, "--json")
    assert again.code == 0
    assert runs.run_ids(bench.made.results) == [run_id]
    samples = runs.read_samples(folder)
    assert samples[: len(kept)] == kept
    assert len({(s.cell, s.metric, s.round, s.state) for s in samples}) == len(samples)
    assert len([s for s in samples if s.metric == "cold_start_s"]) == 12


def test_an_engine_that_stays_away_ends_the_run_resumable(
    harness: Harness, bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 3 after the wait, said once; what was measured is kept, and nothing has failed."""

    def gone(number: int) -> None:
        if number == 3:
            raise EngineGone("the Docker engine has gone")

    monkeypatch.setenv("HARNESS_ENGINE_WAIT_S", "0")
    bench.methods["two"].at("start", gone)
    found = measure(harness, bench)
    (run_id,) = runs.run_ids(bench.made.results)
    assert found.code == 3
    assert found.err.count("Waiting up to 0 s") == 1
    assert f"'harness engine start', then go on: harness run --resume {run_id}" in found.err
    folder = runs.folder_of(bench.made.results, run_id)
    assert runs.read_manifest(folder).finished_at is None
    assert not [s for s in runs.read_samples(folder) if s.flags]
    again = harness("run", "--resume", run_id, "--json")
    assert (again.code, again.json["failed"], again.json["absent"]) == (0, {}, {})


def test_a_disk_without_room_ends_the_run_resumable(
    harness: Harness, bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1; what was measured is kept, nothing has failed, and the way on is named."""
    usage = shutil.disk_usage(paths.cache())
    with monkeypatch.context() as patch:
        bench.methods["two"].at(
            "build", lambda _: patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        )
        found = measure(harness, bench)
    bench.methods["two"].planned.clear()
    (run_id,) = runs.run_ids(bench.made.results)
    assert found.code == 1
    assert "there is no room to" in found.err
    assert f"and go on: harness run --resume {run_id}" in found.err
    assert not [s for s in runs.read_samples(runs.folder_of(bench.made.results, run_id)) if s.flags]
    again = harness("run", "--resume", run_id, "--json")
    assert (again.code, again.json["failed"]) == (0, {})


def test_what_disk_a_run_needs_is_told_beforehand(
    harness: Harness, bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no run knows it, that is told; later by what this one found, and whether it is more than there is."""
    assert "What disk these need is not known, as no run measured them: tiny" in measure(harness, bench).err
    second = measure(harness, bench).err
    assert "Needs about 0 MB of disk at the most" in second
    assert "not known" not in second
    usage = shutil.disk_usage(paths.cache())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert "That may be more than there is" in measure(harness, bench).err


def test_a_run_holds_the_cache_to_its_budget(harness: Harness, bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is dropped is told in one line with the variable, and to machines; a value that is none stops it before."""
    monkeypatch.setenv("HARNESS_CACHE_BUDGET", "plenty")
    found = measure(harness, bench)
    assert (found.code, runs.run_ids(bench.made.results)) == (2, [])
    assert "HARNESS_CACHE_BUDGET" in found.err
    old = paths.cache() / "environments" / "old"
    old.mkdir(parents=True)
    (old / "file").write_bytes(bytes(5_000_000))
    os.utime(old, (1e9, 1e9))
    monkeypatch.setenv("HARNESS_CACHE_BUDGET", "4 MB")
    found = measure(harness, bench, "--json")
    assert not old.exists()
    assert "dropped what was used least recently, 1 entry, 5 MB" in found.err
    assert found.json["cache"]["budget_bytes"] == 4_000_000
    assert found.json["cache"]["holds_bytes"] < 4_000_000


def test_a_resumed_run_expects_the_engine_that_it_began_with(
    harness: Harness, bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only where there was one."""
    for there in (None, engine_reach.described("unix:///x", "private", {})):
        monkeypatch.setattr(engine, "look", lambda there=there: (there, ""))
        run_id = measure(harness, bench, "--json").json["run"]
        harness("run", "--resume", run_id)
        assert engine._using.expected is (there is not None)


def test_a_ceiling_that_bites_is_told_once(harness: Harness, bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On standard error, before anything is measured; a variable that is no number is bad input."""
    monkeypatch.setenv("HARNESS_MAX_MEMORY_MB", "1024")
    told = "tiny asks for 2 GiB of memory; this machine allows 1 GiB (HARNESS_MAX_MEMORY_MB)"
    assert measure(harness, bench).err.count(told) == 1
    monkeypatch.setenv("HARNESS_MAX_MEMORY_MB", "lots")
    before = runs.run_ids(bench.made.results)
    for name in ("HARNESS_MAX_MEMORY_MB", "HARNESS_ENGINE_WAIT_S"):
        monkeypatch.setenv("HARNESS_MAX_MEMORY_MB", "1024")
        monkeypatch.setenv(name, "lots")
        found = measure(harness, bench)
        assert (found.code, name in found.err) == (2, True)
    assert runs.run_ids(bench.made.results) == before


def test_a_run_of_another_machine_is_not_resumed(harness: Harness, bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of two hosts are never pooled."""
    measure(harness, bench)
    (run_id,) = runs.run_ids(bench.made.results)
    facts = host.facts()
    monkeypatch.setattr(host, "facts", lambda: {**facts, "processor": "another"})
    found = harness("run", "--resume", run_id)
    assert found.code == 2
    assert "another machine" in found.err


def test_progress_is_told_on_standard_error(harness: Harness, bench: Any) -> None:
    """Plain lines where there is no terminal, ending with the last step."""
    lines = [line for line in measure(harness, bench).err.splitlines() if line.startswith("[")]
    assert lines
    done, total = lines[-1][1:].partition("]")[0].split("/")
    assert done == total


def test_the_manifest_is_whole_json(harness: Harness, bench: Any) -> None:
    """Host, tools and plan are there before the first sample."""
    table = measure(harness, bench, "--json").json
    manifest = json.loads((runs.folder_of(bench.made.results, table["run"]) / "run.json").read_text())
    assert manifest["tools"]["uv"]
    assert manifest["host"]["python"]
    assert manifest["plan"]["folders"] == {"tiny": str(bench.folder.path)}
