"""A run: everything is measured once, what fails is recorded and the rest goes on, and nothing is lost."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import itertools
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness import errors, paths
from harness.cli import evidence as printing
from harness.errors import BuildFailure, DiskFull, DoesNotFit, EngineGone, MissingComponent, ModelFailure
from harness.measure import artifacts, host, pages, parts, proof, rebuild, start, verdict
from harness.measure.pages import Residency
from harness.measure.part import Part, Taken
from harness.measure.recording import ModelChanged
from harness.measure.room import Size
from harness.measure.sample import SENTINEL
from harness.measure.start import ColdStart
from harness.methods.contract import Availability, Limit
from harness.metrics import CACHE_STATES, PHASES, START_STATES
from harness.platforms import engine
from harness.spec import pins
from harness.store import checking, query, runs


def raising(error: BaseException, *calls: int) -> Callable[[int], None]:
    """Raises at these calls; at every one where none is named."""

    def do(number: int) -> None:
        if not calls or number in calls:
            raise error

    return do


#: The samples of a whole run: for each of three methods two builds and whether they are the same, seven once, nine of
#: each of six starts and one more of the page-warm ones; and three sentinels.
WHOLE = 3 * (2 + 1 + 7 + 6 * 9 + 3) + 3


def test_every_cell_is_measured_once(bench: Any) -> None:
    """Builds, sizes, installation, parity, and a start in every round and state; no sample twice."""
    outcome = bench.run()
    assert outcome.failed == outcome.absent == {}
    assert max(Counter(bench.keys()).values()) == 1
    wanted = {("build_clean_s", number, "") for number in range(2)}
    once = ("packed_bytes", "over_base_bytes", "transfer_s", "unpacked_bytes", "files", "install_s", "parity")
    wanted |= {(metric, 0, "") for metric in once} | {("reproducible", 1, "")}
    wanted |= {("cold_start_s", number, state) for number in range(3) for state in START_STATES}
    wanted |= {("warm_request_s", number, "page-warm") for number in range(3)}
    for method in bench.methods:
        own = [key[1:] for key in bench.keys() if key[0] == method]  # noqa: SIM118 -- it is no mapping
        found = {key for key in own if not key[0].startswith(("phase", "peak", "cpu"))}
        assert found == wanted
    assert [s.round for s in bench.of(SENTINEL, "sentinel_s")] == [0, 1, 2]
    assert all(s.counts and s.value is not None for s in bench.samples())


def test_a_run_verifies(bench: Any) -> None:
    """What a trial records passes the check of the store."""
    bench.run()
    checked, wrong, _ = checking.verify_run(bench.made.results / "runs" / bench.made.RUN)
    assert (checked, wrong) == (len(bench.samples()), [])


def test_what_an_instance_makes_up_is_shown_as_doubtful(
    bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run goes on and verifies, the totals count, no phase has a value, and readers are told."""
    honest = start.take

    def take(method: Any, *given: Any) -> ColdStart:
        found = honest(method, *given)
        if method.ID != "two":
            return found
        kept = {name: value for name, value in found.values.items() if not name.startswith("phase")}
        return replace(found, values=kept, doubt="what it says cannot be true")

    monkeypatch.setattr(start, "take", take)
    assert bench.run().failed == {}
    folder = bench.made.results / "runs" / bench.made.RUN
    checked, wrong, _ = checking.verify_run(folder)
    assert (checked, wrong) == (len(bench.samples()), [])
    totals = bench.of("two", "cold_start_s")
    assert {(one.counts, one.flags) for one in totals} == {(True, ("doubtful",))}
    for phase in PHASES:
        found = bench.of("two", f"phase_{phase}_s")
        said = {(one.value, one.flags, one.note) for one in found}
        assert said == {(None, ("failed", "doubtful"), "what it says cannot be true")}
        assert all(one.value is not None for one in bench.of("one", f"phase_{phase}_s"))
    printing._print_gaps(query.evidence(bench.made.results, bench.made.RUN, "tiny"))
    printed = capsys.readouterr().out
    assert "two: 3 of its starts, page-warm, are doubtful" in printed
    assert printed.count("two: no phases of a start, page-warm: what it says cannot be true") == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e9])
def test_a_value_that_can_be_none_fails_its_step(bench: Any, monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    """With the reason, and nothing else: the run goes on and verifies."""
    honest = start.take

    def take(method: Any, *given: Any) -> ColdStart:
        found = honest(method, *given)
        return replace(found, values={**found.values, "cpu_to_first_s": value}) if method.ID == "two" else found

    monkeypatch.setattr(start, "take", take)
    assert set(bench.run().failed) == {("tiny", "two")}
    last = bench.of("two", "cold_start_s")[-1]
    assert (last.value, last.flags) == (None, ("failed",))
    assert f"cpu_to_first_s came out as {value}" in last.note
    assert checking.verify_run(bench.made.results / "runs" / bench.made.RUN)[1] == []


def test_what_an_artifact_takes_of_this_machine_is_told(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a fact of the artifact; not of one whose method brings a system along, which is not looked into."""
    monkeypatch.setattr(verdict, "lacking", lambda _: ("libgl1", "libxcb1"))
    bench.methods["two"].PROVIDES = frozenset({"carries-system-libraries"})
    bench.run()
    found = bench.manifest().artifacts
    assert found["tiny/one"]["needs_on_target"] == "libgl1, libxcb1"
    assert "needs_on_target" not in found["tiny/two"]


def test_the_manifest_tells_what_was_measured(bench: Any) -> None:
    """Availability, the model's digest and features, the artifacts' digests and facts, and where the time went."""
    bench.folder.write(system_packages=["libgl1"])
    outcome = bench.run()
    found = bench.manifest()
    assert found.availability["one"] == {"ready": True, "reason": "", "remedy": ""}
    assert found.models["tiny"]["features"] == {"dependencies": 0, "pinned": 0, "system_packages": 1}
    assert len(found.models["tiny"]["payload"]) == 24
    assert found.artifacts["tiny/one"] == {
        "digest": "d" * 64,
        "t": "1",
        "proven": "answers all 3 examples",
        "python": "3.11.2",
        "needs_on_target": "",
    }
    assert found.timings["wall_s"] == pytest.approx(outcome.wall_s, abs=0.001)
    assert 0 <= outcome.own_s <= outcome.wall_s
    assert "load_at_end" in found.host


@pytest.mark.parametrize("trouble", ["", "absent", "prepare", "build", "install", "start"])
def test_steps_are_told(bench: Any, trouble: str) -> None:
    """Progress never goes back, and ends with all steps done, also where cells stop before their end."""
    if trouble == "absent":
        bench.methods["two"].availability = Availability(ready=False, reason="no engine")
    elif trouble:
        bench.methods["two"].at(trouble, raising(FAILURES[trouble][0]))
    bench.run()
    done = [step[1] for step in bench.told]
    assert done == sorted(done)
    assert bench.told[-1][1:] == (36 - 6, 36 - 6)


FAILURES = {
    "prepare": (MissingComponent("no base image"), "parity"),
    "build": (BuildFailure("the tool refused"), "parity"),
    "install": (errors.CheckFailure("torn archive"), "parity"),
    "start": (ModelFailure("load raised"), "parity"),
}


@pytest.mark.parametrize("call", FAILURES)
def test_a_method_that_fails_is_recorded_and_the_others_go_on(bench: Any, call: str) -> None:
    """The reason stands under the cell; every other cell is whole."""
    error, closing = FAILURES[call]
    bench.methods["two"].at(call, raising(error))
    outcome = bench.run()
    assert outcome.failed == {("tiny", "two"): str(error)}
    last = bench.of("two", closing)[-1]
    assert (last.value, last.flags, last.note) == (None, ("failed",), str(error))
    assert not [s for s in bench.of("two", "cold_start_s") if s.value is not None]
    for method in ("one", "three"):
        assert len([s for s in bench.of(method, "cold_start_s") if s.counts]) == 6


@pytest.mark.parametrize("call", ["prepare", "build", "install", "start"])
def test_an_error_of_the_system_is_recorded_too(bench: Any, call: str) -> None:
    """A file that cannot be read in one cell does not end the run."""
    bench.methods["two"].at(call, raising(PermissionError(errno.EACCES, "Permission denied", "/x")))
    outcome = bench.run()
    assert list(outcome.failed) == [("tiny", "two")]
    assert "Permission denied" in outcome.failed["tiny", "two"]
    assert len([s for s in bench.of("three", "cold_start_s") if s.counts]) == 6


def test_a_failed_method_is_not_tried_again_on_resume(bench: Any) -> None:
    """It was found to have no right answer; the outcome still names it."""
    bench.methods["two"].at("build", raising(BuildFailure("refused")))
    bench.run()
    bench.methods["two"].calls.clear()
    assert bench.resume().failed == {("tiny", "two"): "refused"}
    assert bench.methods["two"].calls == []


def test_a_single_failed_start_is_one_sample(bench: Any) -> None:
    """It stands in its round with its reason; the next rounds go on."""
    bench.methods["one"].at("start", raising(ModelFailure("hung"), 3))
    outcome = bench.run()
    found = bench.of("one", "cold_start_s")
    assert [s.note for s in found if s.flags == ("failed",)] == ["hung"]
    assert len(found) == 6
    assert outcome.failed == {("tiny", "one"): "hung"}


def test_patience_ends_after_two_failures_in_a_row(bench: Any) -> None:
    """A cell that failed twice running is not started again; a success in between starts the count anew."""
    bench.methods["one"].at("start", lambda number: raising(ModelFailure("hung"))(number) if number > 1 else None)
    bench.methods["two"].at("start", raising(ModelFailure("hung"), 2, 4, 6))
    bench.run()
    assert len(bench.of("one", "cold_start_s")) == 2
    assert bench.methods["one"].calls.count("start") == 3
    assert len(bench.of("two", "cold_start_s")) == 6
    assert len([s for s in bench.of("two", "cold_start_s") if s.counts]) == 3


def test_an_absent_method_is_recorded_with_its_reason(bench: Any) -> None:
    """Reason and remedy stand in the store and in the manifest; nothing of it is called."""
    bench.methods["two"].availability = Availability(ready=False, reason="no engine", remedy="start one")
    outcome = bench.run()
    assert outcome.absent == {("tiny", "two"): "no engine"}
    assert outcome.failed == {}
    (found,) = [s for s in bench.samples() if s.cell.method == "two"]
    assert (found.metric, found.value, found.flags) == ("parity", None, ("absent",))
    assert found.note == "no engine (remedy: start one)"
    assert bench.manifest().availability["two"]["reason"] == "no engine"
    assert bench.methods["two"].calls == []


def test_what_cannot_be_had_is_said(bench: Any) -> None:
    """An installation, a packed size or a disk-cold start that does not exist is absent with its reason."""
    one = bench.methods["one"]
    one.install_absent, one.packed_absent, one.cold_absent = "no pull", "no registry", "no layers"
    bench.run()
    for metric, reason in (("install_s", "no pull"), ("packed_bytes", "no registry")):
        (found,) = bench.of("one", metric)
        assert (found.value, found.flags, found.note) == (None, ("absent",), reason)
    assert len(bench.of("one", "unpacked_bytes")) == 1
    starts = bench.of("one", "cold_start_s")
    assert {(s.state, s.value is None, s.note == "no layers") for s in starts} == {
        ("page-warm", False, False),
        ("disk-cold", True, True),
    }
    assert one.calls.count("start") == 1 + 3


def test_what_is_beyond_a_limit_of_its_platform_is_a_result(bench: Any) -> None:
    """Its sizes are the evidence; it is not installed, no failure, and stays so when the run is resumed."""
    one = bench.methods["one"]
    known = {"unit": "bytes", "source": "its documentation", "read_on": "2026-11-23"}
    one.LIMITS = (
        Limit(name="zip", value=5, metric="packed_bytes", **known),
        Limit(name="unzipped code", value=9, metric="unpacked_bytes", **known),
        Limit(name="memory", value=1, **known),
    )
    for outcome in (bench.run(), bench.resume()):
        assert outcome.failed == {}
        (why,) = outcome.unfit.values()
        assert why == "does not fit: unpacked size 0.0 MB of 0.0 MB (unzipped code; its documentation)"
    (found,) = bench.of("one", "parity")
    assert (found.value, found.flags, found.note) == (None, ("unfit",), why)
    assert [s.value for s in bench.of("one", "unpacked_bytes")] == [10]
    assert bench.of("one", "cold_start_s") == []
    assert one.calls.count("install") == one.calls.count("start") == 0
    assert len(bench.of("two", "cold_start_s")) == 6


def test_a_method_may_find_out_itself_that_it_does_not_fit(bench: Any) -> None:
    """A limit that no size shows."""

    def refuse(_: int) -> None:
        raise DoesNotFit("does not fit: 20 GB of memory")

    bench.methods["one"].at("install", refuse)
    assert bench.run().unfit == {("tiny", "one"): "does not fit: 20 GB of memory"}


def test_a_method_without_the_systems_libraries_does_not_fit(bench: Any, folder: Any) -> None:
    """Where the model says that it needs some and the machine has them not; a method that brings them has failed."""
    lacking = ModelFailure("loading the model raised ImportError: libGL.so.1: cannot open shared object file")
    for method in bench.methods.values():
        method.at("start", raising(lacking))
    bench.methods["two"].PROVIDES = frozenset({"carries-system-libraries"})
    folder.write(system_packages=["libgl1"])
    outcome = bench.run()
    assert outcome.unfit.keys() == {("tiny", "one"), ("tiny", "three")}
    for part in ("libgl1", "libGL.so.1"):
        assert part in outcome.unfit["tiny", "one"]
    assert outcome.failed.keys() == {("tiny", "two")}


@pytest.mark.parametrize(("plain", "unfit"), [("", True), ("libGL.so.1 is nowhere", False)])
def test_a_library_that_only_the_platform_lacks_is_no_failure(
    bench: Any, monkeypatch: pytest.MonkeyPatch, plain: str, unfit: bool
) -> None:
    """A stranger's model names no system packages: what runs here unpackaged does not fit where the system has less."""
    monkeypatch.setattr(proof, "plain_problem", lambda *_: plain)
    bench.methods["one"].at("start", raising(ModelFailure("OSError: /x/libGL.so.1: cannot open shared object file")))
    outcome = bench.run(methods=("one",))
    found = outcome.unfit if unfit else outcome.failed
    assert "libGL.so.1" in found["tiny", "one"]
    assert bool(outcome.unfit) is unfit


def test_a_value_is_called_what_it_is(bench: Any) -> None:
    """What is of the artifact is measured on any platform; starts are the platform's; a transfer has its own."""
    bench.methods["one"].FIDELITY = "emulated"
    bench.run()
    for metric, fidelity in {
        "unpacked_bytes": "measured",
        "build_clean_s": "measured",
        "cold_start_s": "emulated",
    }.items():
        assert {s.fidelity for s in bench.of("one", metric)} == {fidelity}, metric
    assert {s.fidelity for s in bench.of("two", "cold_start_s")} == {"measured"}
    assert [(s.value, s.fidelity) for s in bench.of("two", "install_s")] == [(0.25, "emulated")]


def test_a_start_that_was_not_cold_is_flagged(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is kept with its values, and does not count."""
    monkeypatch.setattr(pages, "evict", lambda _: Residency(resident_bytes=1, total_bytes=2))
    bench.run()
    for sample in bench.of("one", "cold_start_s"):
        assert sample.counts is (sample.state == "page-warm")
        assert sample.value is not None
    assert {s.flags for s in bench.of("one", "phase_imports_s") if s.state == "disk-cold"} == {
        ("dropped:50% of its pages stayed in memory",)
    }


def test_a_quick_run_takes_the_build_that_is_in_the_cache(bench: Any) -> None:
    """Said with its date; who wants it anew has it built anew. As many as are known count, the newest first."""
    bench.run(builds=1, methods=("one",), kept=("build",))
    (first,) = bench.of("one", "build_clean_s")
    assert first.flags == ()
    calls = bench.methods["one"].calls.count("build")
    shutil.rmtree(bench.made.results)
    bench.run(builds=1, methods=("one",), kept=("build",))
    (kept,) = bench.of("one", "build_clean_s")
    assert (kept.value, kept.flags) == (first.value, ("kept",))
    assert kept.note.startswith("taken 20")

    assert bench.methods["one"].calls.count("build") == calls
    shutil.rmtree(bench.made.results)
    bench.run(builds=1, methods=("one",))
    (anew,) = bench.of("one", "build_clean_s")
    assert anew.flags == ()
    assert bench.methods["one"].calls.count("build") == calls + 1
    shutil.rmtree(bench.made.results)
    bench.run(builds=3, methods=("one",), kept=("build",))
    assert [(s.value, s.flags) for s in bench.of("one", "build_clean_s")[:2]] == [
        (anew.value, ("kept",)),
        (first.value, ("kept",)),
    ]
    assert bench.of("one", "build_clean_s")[2].flags == ()
    assert [s.round for s in bench.of("one", "reproducible")] == [0, 2]


def test_a_part_that_lasts_may_come_from_the_cache(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the clean build that it took, one more than the plan's; else it is taken, and kept in mind for the next."""
    build = artifacts.CleanBuild(wall_s=3.0, at="2026-01-01", differing=("a.py",))
    values = {"build_code_s": 1.0, "update_bytes": 7.0}
    calls = []

    def take(*given: Any) -> Taken:
        calls.append(given)
        return Taken(values=values, note="one thing", build=build)

    part = replace(rebuild.PART, take=take)
    monkeypatch.setattr(parts, "TABLE", {"rebuild": part})
    plan = {"methods": ("one",), "parts": ("rebuild",), "builds": 1}
    bench.run(**plan)
    assert [(s.value, s.flags, s.note) for s in bench.of("one", "update_bytes")] == [(7.0, (), "one thing")]
    assert [s.round for s in bench.of("one", "build_clean_s")] == [0, 1]
    shutil.rmtree(bench.made.results)
    bench.run(**plan, kept=("build", "rebuild"))
    (found,) = bench.of("one", "update_bytes")
    assert (found.value, found.flags) == (7.0, ("kept",))
    assert re.fullmatch(r"taken 20\S+; one thing", found.note)
    made = bench.of("one", "build_clean_s")[1]
    assert (made.value, made.flags, made.note) == (
        3.0,
        ("kept",),
        "taken 2026-01-01; differing from the first build: a.py",
    )
    assert len(calls) == 1
    shutil.rmtree(bench.made.results)
    (record,) = (paths.cache() / "artifacts").glob("tiny-one-*/rebuild.json")
    record.write_text(json.dumps({**json.loads(record.read_text()), "build": 1}))
    bench.run(**plan, kept=("build", "rebuild"))
    assert len(calls) == 2


def test_a_pull_that_was_taken_before_is_said_to_be(bench: Any) -> None:
    """With its time; it counts."""
    one = bench.methods["one"]
    install = one.install
    one.install = lambda *given: dataclasses.replace(install(*given), install_kept="2026-01-01")
    bench.run()
    (found,) = bench.of("one", "install_s")
    assert (found.flags, found.note) == (("kept",), "with a pull taken 2026-01-01")
    assert found.counts


def test_a_resumed_run_repeats_nothing(bench: Any) -> None:
    """Of a run that is whole nothing is built or measured again, and nothing is recorded."""
    bench.run()
    before = bench.samples()
    calls = Counter(bench.methods["one"].calls)
    bench.resume()
    again = Counter(bench.methods["one"].calls) - calls
    assert bench.samples() == before
    assert again == Counter()


def test_a_model_that_is_not_whole_is_installed_again(bench: Any) -> None:
    """It is known by its note in the manifest; what fails on the way to a whole one is told again."""
    bench.methods["two"].at("build", raising(BuildFailure("refused")))
    first = bench.run()
    assert bench.manifest().models["tiny"]["whole"] is True
    assert bench.resume().failed == first.failed
    with runs.resume(bench.made.results, bench.made.RUN) as writer:
        models = {"tiny": {**bench.manifest().models["tiny"], "whole": False}}
        writer.update(models=models)
    calls = Counter(bench.methods["one"].calls)
    bench.resume()
    assert (Counter(bench.methods["one"].calls) - calls)["start"] == 1  # what is installed anew answers rightly


@pytest.mark.parametrize("after", [*range(1, 33, 3), 33])
def test_an_interrupted_run_becomes_whole(bench: Any, after: int) -> None:
    """Wherever Ctrl-C comes, what was measured is kept, and the resumed run has what an uninterrupted one has."""
    count = itertools.count(1)

    def interrupt(_: int) -> None:
        if next(count) == after:
            raise KeyboardInterrupt

    for method in bench.methods.values():
        for call in ("prepare", "build", "install", "start"):
            method.at(call, interrupt)
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    kept = bench.samples()
    assert bench.manifest().timings["wall_s"] > 0
    outcome = bench.resume()
    assert outcome.failed == outcome.absent == {}
    assert bench.samples()[: len(kept)] == kept
    assert max(Counter(bench.keys()).values()) == 1
    starts = {(m, "cold_start_s", n, s) for m in bench.methods for n in range(3) for s in START_STATES}
    builds = {(m, "build_clean_s", n, "") for m in bench.methods for n in range(2)}
    single = {(m, metric, 0, "") for m in bench.methods for metric in ("files", "packed_bytes", "install_s", "parity")}
    assert starts | builds | single <= set(bench.keys())
    assert len(bench.samples()) == WHOLE


def test_a_full_disk_ends_the_run_and_keeps_what_it_has(bench: Any) -> None:
    """No cell is called failed for it; with room again the run becomes whole."""
    bench.methods["two"].at("start", raising(OSError(errno.ENOSPC, "No space left on device"), 3))
    with pytest.raises(DiskFull, match="is full"):
        bench.run()
    kept = bench.samples()
    assert kept
    assert all(s.value is not None for s in kept)
    assert bench.resume().failed == {}
    assert len(bench.samples()) == WHOLE


def test_a_failure_while_the_cache_is_full_ends_the_run(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever failed, and however it tells: it is no cell's fault."""
    usage = shutil.disk_usage(paths.cache())
    with monkeypatch.context() as patch:

        def fill(number: int) -> None:
            if number == 3:
                patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2**20))
                raise ModelFailure("bus error")

        bench.methods["two"].at("start", fill)
        with pytest.raises(DiskFull, match="is full"):
            bench.run()
    assert bench.resume().failed == {}
    assert len(bench.samples()) == WHOLE


@pytest.mark.parametrize(("call", "number"), [("build", 2), ("install", 1)])
def test_a_run_ends_before_the_disk_is_full(
    bench: Any, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """Before a build or an installation that there is no room for; with room again the run becomes whole."""
    usage = shutil.disk_usage(paths.cache())
    with monkeypatch.context() as patch:

        def fill(count: int) -> None:
            if count == number:
                patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))

        bench.methods["two"].at(call, fill)
        with pytest.raises(DiskFull, match=f"there is no room to {'install' if call == 'install' else ''}"):
            bench.run()
    kept = bench.samples()
    assert kept
    assert all(s.value is not None for s in kept)
    assert bench.resume().failed == {}
    assert bench.samples()[: len(kept)] == kept
    assert len(bench.samples()) == WHOLE


def test_what_earlier_runs_measured_says_how_much_room_a_step_takes(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the cell is begun, and the message names it and its size."""
    usage = shutil.disk_usage(paths.cache())
    bench.sizes = {("tiny", "two"): Size(packed=1e9, unpacked=3e9)}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=7 * 10**9))
    with pytest.raises(DiskFull, match=r"no room to build tiny as two: that takes about 7\.0 GB"):
        bench.run()
    assert "build" not in bench.methods["two"].calls


def test_models_are_parted_by_what_is_done_between_them(bench: Any) -> None:
    """What one used may be let go of before the next begins, and not before its last step."""
    seen: list[int] = []
    bench.between = lambda: seen.append(bench.methods["one"].calls.count("start"))
    bench.run(models=("tiny", "gone"), folders={"tiny": str(bench.folder.path), "gone": "/nowhere"})
    assert seen == [bench.methods["one"].calls.count("start")]
    assert seen[0] > 0


def test_a_store_without_room_ends_the_run(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample that cannot be written is not passed over."""
    record = runs.RunWriter.record
    count = itertools.count()

    def full(self: Any, samples: Any) -> None:
        if next(count) > 20:
            raise DiskFull("the disk is full")
        record(self, samples)

    monkeypatch.setattr(runs.RunWriter, "record", full)
    with pytest.raises(DiskFull):
        bench.run()
    assert bench.samples()


def test_a_model_that_changed_stops_the_run(bench: Any) -> None:
    """Samples of two models are never put together."""
    bench.run()
    before = bench.samples()
    (bench.folder.path / "predictor.py").write_text("# another model")
    with pytest.raises(ModelChanged, match="tiny has changed since run") as raised:
        bench.resume()
    assert "start a new run" in raised.value.remedy
    assert bench.samples() == before


@pytest.mark.parametrize(
    "changes",
    [{"requirements": ["six==1.16.0 ; python_version < '3'"]}, {"env": {"THREADS": "4"}}, {"name": "other"}],
    ids=["requirements", "env", "name"],
)
def test_another_model_toml_stops_the_run(bench: Any, changes: dict[str, Any]) -> None:
    """What model.toml says of an artifact belongs to the model as much as its files."""
    bench.run()
    bench.folder.write(**changes)
    if "requirements" in changes:
        (bench.folder.path / "requirements.lock").write_text(pins.header(changes["requirements"]))
    with pytest.raises(ModelChanged):
        bench.resume()


def test_a_model_that_cannot_be_read_fails_in_every_cell(bench: Any) -> None:
    """The reason is recorded for each method, and the run ends in order."""
    (bench.folder.path / "model.toml").unlink()
    outcome = bench.run()
    assert set(outcome.failed) == {("tiny", method) for method in bench.methods}
    assert all("model.toml" in why for why in outcome.failed.values())


def test_a_model_that_is_gone_does_not_undo_what_was_measured(bench: Any) -> None:
    """Resuming a whole run without its model's folder does not turn right answers into failures."""
    bench.run()
    (bench.folder.path / "model.toml").unlink()
    with contextlib.suppress(errors.HarnessError):
        bench.resume()
    assert all("failed" not in s.flags for s in bench.samples())


def test_starts_on_a_node_that_has_nothing(bench: Any) -> None:
    """The installation and the first start after it, together; a sample for each installation."""
    bench.run(states=CACHE_STATES, installs=3)
    for number in range(3):
        (found,) = [s for s in bench.of("one", "cold_start_s") if (s.state, s.round) == ("node-cold", number)]
        phases = sum(
            s.value
            for s in bench.samples()
            if (s.cell.method, s.state, s.round) == ("one", "node-cold", number) and s.metric.startswith("phase_")
        )
        assert found.value == pytest.approx(0.25 + phases)
        assert found.fidelity == "emulated"  # as the worse of the two is
    assert [s.round for s in bench.of("one", "install_s")] == [0, 1, 2]
    before = bench.samples()
    bench.resume()
    assert bench.samples() == before


def test_without_an_installation_to_time_there_is_no_such_start(bench: Any) -> None:
    """It is absent, for the installation's reason."""
    bench.methods["one"].install_absent = "no pull"
    bench.run(states=CACHE_STATES)
    (found,) = [s for s in bench.of("one", "cold_start_s") if s.state == "node-cold"]
    assert (found.value, found.flags, found.note) == (None, ("absent",), "no pull")


def test_a_method_runs_against_itself(bench: Any) -> None:
    """In every round, under a second name, from the same artifact; its ratio is known to the store."""
    bench.run(canary="two")
    again = [s for s in bench.of("two", "cold_start_s") if s.cell.limits == "again"]
    assert len(again) == 3 * len(START_STATES)
    assert bench.methods["two"].calls.count("install") == bench.methods["one"].calls.count("install") == 1
    evidence = query.evidence(bench.made.results, bench.made.RUN, "tiny")
    ratio = evidence.canary("page-warm")
    assert ratio is not None
    assert ratio.n == 3


def test_rounds_end_when_the_interval_is_narrow(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before the fewest; a cell that stays wide goes on to the last, alone."""
    steady = itertools.count()

    def take(method: Any, *_: Any) -> ColdStart:
        wide = 1.0 + next(steady) % 3 if method.ID == "three" else 1.0
        return ColdStart(values={"cold_start_s": wide}, source="made up")

    monkeypatch.setattr(start, "take", take)
    bench.run(rounds=3, most=7)
    taken = Counter((s.cell.method, s.state) for s in bench.samples() if s.metric == "cold_start_s")
    for state in START_STATES:
        assert taken["one", state] == taken["two", state] == 3
        assert taken["three", state] > 3
    assert bench.told[-1][1] == bench.told[-1][2]


def test_a_part_is_taken_in_each_of_its_states(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and the closing one last; what is absent says why; what fails stands in its state; once, also resumed."""
    asked: list[tuple[str, str]] = []

    def take(subject: Any, state: str, replicate: int) -> Taken:
        asked.append((subject.cell.method, state))
        assert replicate == 0
        if subject.cell.method == "two":
            return Taken(absent="it can't be had")
        if subject.cell.method == "three":
            raise ModelFailure("hung")
        return Taken(values={"throughput_per_s": 5.0, "latency_p50_s": 0.1}, note="made up")

    states = ("single-stream", "batch")
    part = Part(name="load", title="load", closing="throughput_per_s", take=take, states=states)
    monkeypatch.setattr(parts, "TABLE", {"load": part})
    outcome = bench.run(parts=("load",))
    own = [s for s in bench.samples() if s.cell.method == "one" and s.state in states]
    found = [(s.metric, s.state, s.value, s.note) for s in own]
    assert found == [
        (metric, state, value, "made up")
        for state in states
        for metric, value in (("latency_p50_s", 0.1), ("throughput_per_s", 5.0))
    ]
    for method, flag, note in (("two", "absent", "it can't be had"), ("three", "failed", "hung")):
        for sample in bench.of(method, "throughput_per_s"):
            assert (sample.value, sample.flags, sample.note) == (None, (flag,), note)
    assert outcome.failed == {("tiny", "three"): "hung"}
    assert sorted(asked) == sorted((method, state) for method in bench.methods for state in states)
    bench.resume()
    assert len(asked) == 6


def test_a_variant_is_a_cell_of_its_own(bench: Any) -> None:
    """Built with its options, under its label; a method that can't honour it says so and goes on without."""
    bench.methods["pex"] = type(bench.methods["one"])("pex")
    label = "bytecode=timestamp"
    bench.run(variants=(f"one:{label}", f"pex:{label}"))
    built = Counter(options.bytecode for options in bench.methods["one"].options)
    assert built == {"unchecked-hash": 2, "timestamp": 2}
    assert {s.cell.limits for s in bench.of("one", "cold_start_s")} == {"default", label}
    (refused,) = [s for s in bench.samples() if (s.cell.method, s.cell.limits) == ("pex", label)]
    assert refused.flags == ("absent",)
    assert "pex can't be built with bytecode=timestamp" in refused.note
    assert len([s for s in bench.of("pex", "cold_start_s") if s.counts]) == 6


def test_the_machine_is_watched_around_every_start(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was stolen, and for how much of the time something waited."""
    moments = itertools.count()

    def calm() -> host.Calm:
        n = next(moments)
        return host.Calm(at_s=2.0 * n, stolen=10.0 * n, ticks=100.0 * n, stalled_us={"cpu": 500_000 * n})

    monkeypatch.setattr(host, "calm", calm)
    bench.run()
    assert {s.value for s in bench.of("one", "steal_share")} == {0.1}
    assert {s.value for s in bench.of("one", "pressure_cpu_share")} == {0.25}
    assert not bench.of("one", "pressure_io_share")


def test_steps_are_counted_for_later_estimates(bench: Any) -> None:
    """How many of each kind, and how long they took together."""
    bench.run()
    spent = bench.manifest().steps["tiny/one"]
    assert (spent["lock_n"], spent["build_n"], spent["install_n"]) == (1, 2, 1)
    assert spent["page-warm_n"] == spent["disk-cold_n"] == 3
    assert spent["build_s"] > 0
    assert bench.manifest().steps["tiny/_sentinel"]["sentinel_s"] == pytest.approx(0.3)


# --- an engine that goes away --------------------------------------------------------------------

GONE = EngineGone("the Docker engine has gone")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The engine is back at once, each time."""
    found: list[str] = []
    monkeypatch.setattr(engine, "wait_until_back", lambda error, _say: found.append(error.problem))
    return found


@pytest.mark.parametrize("call", ["prepare", "build", "install", "start"])
def test_a_run_goes_on_when_the_engine_is_back(bench: Any, waits: list[str], call: str) -> None:
    """Wherever it went away: every cell is measured once, none has failed, and it was said once."""
    bench.methods["two"].at(call, raising(GONE, 1))
    outcome = bench.run()
    assert outcome.failed == outcome.absent == {}
    assert max(Counter(bench.keys()).values()) == 1
    assert len(bench.samples()) == WHOLE
    assert waits == [GONE.problem]
    assert bench.told[-1][1:] == (30, 30)


@pytest.mark.parametrize("call", ["prepare", "build", "install", "start"])
def test_a_run_whose_engine_stays_away_ends_and_is_resumed(
    bench: Any, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was measured is kept, nothing is recorded as failed, and the resumed run does the rest."""

    def in_vain(error: EngineGone, _say: object) -> None:
        raise error

    monkeypatch.setattr(engine, "wait_until_back", in_vain)
    bench.methods["two"].at(call, raising(GONE))
    with pytest.raises(EngineGone):
        bench.run()
    assert not [s for s in bench.samples() if {"failed", "absent"} & set(s.flags)]
    bench.methods["two"].planned.clear()
    outcome = bench.resume()
    assert outcome.failed == outcome.absent == {}
    assert max(Counter(bench.keys()).values()) == 1
    assert len(bench.samples()) == WHOLE


def test_what_fails_while_the_engine_is_gone_is_open_still(
    bench: Any, waits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that died with its engine looks like a model that failed."""
    looks = iter([GONE])

    def hold() -> None:
        for error in looks:
            raise error

    monkeypatch.setattr(engine, "hold", hold)
    bench.methods["two"].at("start", raising(ModelFailure("was killed by signal 9"), 3))
    outcome = bench.run()
    assert outcome.failed == {}
    assert len(bench.samples()) == WHOLE
    assert len(waits) == 1


def test_a_failure_while_the_engine_is_there_is_the_cell_s(bench: Any, waits: list[str]) -> None:
    bench.methods["two"].at("build", raising(BuildFailure("the Docker engine refused")))
    assert list(bench.run().failed) == [("tiny", "two")]
    assert waits == []


def test_a_method_is_not_absent_because_the_engine_is_gone(
    bench: Any, waits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``check`` never raises, and calls it not ready; the run notices all the same."""
    monkeypatch.setattr(engine, "_using", engine._Using())
    asked: list[int] = []

    def check() -> Availability:
        asked.append(1)
        if len(asked) > 1:
            return Availability(ready=True)
        engine._missed("the Docker engine has gone")
        return Availability(ready=False, reason="the Docker engine has gone")

    monkeypatch.setattr(bench.methods["two"], "check", check)
    outcome = bench.run()
    assert outcome.absent == outcome.failed == {}
    assert len(waits) == 1


def test_a_model_that_ends_the_engine_each_time_is_given_up(bench: Any, waits: list[str]) -> None:
    """It is not waited for without end; the run can be resumed."""
    bench.methods["two"].at("build", raising(GONE))
    with pytest.raises(EngineGone):
        bench.run()
    assert len(waits) == 2


def test_what_a_ceiling_holds_back_stands_in_the_manifest(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the words in which users were told; a model that is not held back has no such note."""
    bench.run()
    assert "ceiling" not in bench.manifest().models["tiny"]
    monkeypatch.setenv("HARNESS_MAX_MEMORY_MB", "64")
    shutil.rmtree(bench.made.results)
    bench.run()
    assert bench.manifest().models["tiny"]["ceiling"] == [
        "asks for 2 GiB of memory; this machine allows 64 MiB (HARNESS_MAX_MEMORY_MB)"
    ]
