"""Runs that are interrupted or killed, a disk that is full, an engine that is missing: nothing is lost or left."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.methods import METHODS
from harness.spec import model as models

#: A model that takes its time, so that there is something to interrupt; salted, so that it has no artifact yet.
SLOW = """
import os, time
SALT = {salt!r}

def load(model_dir):
    time.sleep({load_s})
    return 2

def predict(model, inputs):
    return [model * number for number in inputs]
"""

#: What is printed when the step before is done, and how long the one that follows takes, at least, in seconds.
POINTS = {
    "while it is built": (r"\[1/", {"venv": 0.2, "pex": 2.5, "container": 5.0}),
    "in the first start": (r"\[2/", {"venv": 0.6, "pex": 1.5, "container": 1.5}),
    "in a measured start": (r"\[3/", {"venv": 1.5, "pex": 1.0, "container": 1.0}),
}


@pytest.fixture
def slow(make_model: Any) -> Callable[..., Path]:
    """Make a slow model of its own for each test."""
    return lambda load_s=0.5: make_model("slow", SLOW.format(salt=os.urandom(8).hex(), load_s=load_s))


def run_args(folder: Path, method: str, results: Path) -> tuple[object, ...]:
    """The arguments of a short run; what takes long to build is started fewer times."""
    rounds = 2 if method == "venv" else 1
    return ("run", folder, "--method", method, "--rounds", rounds, "--builds", 1, "--results", results, "--json")


def only_run(results: Path) -> Path:
    """The folder of the one run in ``results``."""
    (found,) = (results / "runs").iterdir()
    return found


def samples(results: Path) -> list[dict[str, Any]]:
    """What a run has measured so far; a line that was being written does not count."""
    file = only_run(results) / "samples.jsonl"
    lines = file.read_bytes().split(b"\n")[:-1] if file.is_file() else []
    return [json.loads(line) for line in lines]


def key(sample: dict[str, Any]) -> tuple[Any, ...]:
    return (sample["cell"]["method"], sample["metric"], sample["round"], sample["state"])


def resume_and_compare(harness: Any, results: Path) -> None:
    """What was there stays as it is, what is added was not there, and then nothing is missing."""
    before = samples(results)
    ran = harness("run", "--resume", only_run(results).name, "--results", results, "--json").expect(0)
    after = samples(results)
    assert after[: len(before)] == before
    keys = [key(sample) for sample in after]
    assert len(keys) == len(set(keys)), sorted(one for one in keys if keys.count(one) > 1)
    method = ran.json["models"][0]["methods"]
    assert list(method.values()) == ["measured"]
    starts = {(round_, state) for _, metric, round_, state in keys if metric == "cold_start_s"}
    rounds = json.loads((only_run(results) / "run.json").read_text())["plan"]["rounds"]
    assert starts == {(round_, state) for round_ in range(rounds) for state in ("page-warm", "disk-cold")}
    assert {"parity", "build_clean_s", "files", "unpacked_bytes", "install_s"} <= {metric for _, metric, *_ in keys}
    again = harness("run", "--resume", only_run(results).name, "--results", results, "--json").expect(0)
    assert samples(results) == after
    assert again.json["failed"] == {}


# --- asked to stop -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_in_a_start(
    harness: Any, slow: Any, traces_of: Callable[[str], Any], tmp_path: Path, number: int
) -> None:
    """Exit code 130, how to go on is said, samples are kept, nothing is left running, and it resumes."""
    traces = traces_of("venv")
    before = traces.now()
    with harness.started(*run_args(slow(), "venv", tmp_path)) as running:
        running.wait_for(r"\[4/")
        time.sleep(0.3)
        os.killpg(running.pid, number)  # a terminal sends it to the whole group
        ended = running.end().expect(130)
    run_id = only_run(tmp_path).name
    assert f"interrupted; what run {run_id} has measured is kept" in ended.err
    assert f"harness run --resume {run_id}" in ended.err
    assert ended.json["error"]["exit_code"] == 130
    assert "cold_start_s" in {sample["metric"] for sample in samples(tmp_path)}
    assert traces.since(before) == []
    resume_and_compare(harness, tmp_path)


@pytest.mark.parametrize("method", ["container", "pex"])
def test_interrupted_in_a_build(
    harness: Any, slow: Any, traces_of: Callable[[str], Any], tmp_path: Path, method: str
) -> None:
    """The tool is ended, and half an artifact is not taken for one."""
    traces = traces_of(method)
    folder = slow()
    METHODS[method].prepare(models.read(folder))
    before = traces.now()
    with harness.started(*run_args(folder, method, tmp_path)) as running:
        running.wait_for(r"\[1/")
        time.sleep(0.7)
        running.process.send_signal(signal.SIGINT)
        running.end().expect(130)
    assert traces.since(before, but="^image") == []
    resume_and_compare(harness, tmp_path)


@pytest.mark.parametrize("method", ["venv", "container"])
def test_an_impatient_user(
    harness: Any, slow: Any, traces_of: Callable[[str], Any], tmp_path: Path, method: str
) -> None:
    """Ctrl-C again and again, also while it is cleaning up, leaves no more behind than once."""
    traces = traces_of(method)
    before = traces.now()
    for pause_s in (0.001, 0.01, 0.05):
        with harness.started(*run_args(slow(), method, tmp_path / str(pause_s))) as running:
            running.wait_for(r"\[3/")
            time.sleep(0.4)
            while running.process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    running.process.send_signal(signal.SIGINT)
                time.sleep(pause_s)
            ended = running.end().expect(130)
            assert "interrupted" in ended.err
    assert traces.since(before, but="^image") == []


def test_interrupted_at_any_moment(harness: Any, slow: Any, traces_of: Callable[[str], Any], tmp_path: Path) -> None:
    """One run, interrupted and resumed at random moments, also while a container is made or removed: none is left."""
    traces = traces_of("container")
    chance = random.Random(7)
    before = traces.now()
    args: tuple[object, ...] = (*run_args(slow(0.1), "container", tmp_path), "--rounds", 99)
    for _ in range(4):
        with harness.started(*args) as running:
            running.wait_for(r"\[\d+/\d+\] start")
            time.sleep(chance.uniform(0, 1))
            running.process.send_signal(signal.SIGINT)
            running.end().expect(130)
        assert traces.since(before, but="^image") == []
        args = ("run", "--resume", only_run(tmp_path).name, "--results", tmp_path, "--json")
    keys = [key(sample) for sample in samples(tmp_path)]
    assert len(keys) == len(set(keys))


# --- killed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("method", ["venv", "pex", "container"])
def test_killed(
    harness: Any, slow: Any, traces_of: Callable[[str], Any], tmp_path: Path, method: str, point: str
) -> None:
    """After SIGKILL at any point the watchdog ends and removes all that was there, and the run resumes."""
    traces = traces_of(method)
    marker, spans_s = POINTS[point]
    chance = random.Random(f"{method} {point}")
    folder = slow()
    METHODS[method].prepare(models.read(folder))
    before = traces.now()
    with harness.started(*run_args(folder, method, tmp_path)) as running:
        running.wait_for(marker)
        time.sleep(chance.uniform(0, spans_s[method]))
        assert running.process.poll() is None
        running.process.kill()
    assert traces.since(before, but="^image") == []
    resume_and_compare(harness, tmp_path)


def test_two_writers_of_one_run(harness: Any, slow: Any, tmp_path: Path) -> None:
    """A run that is being written can't be resumed by another harness."""
    with harness.started(*run_args(slow(), "venv", tmp_path)) as running:
        running.wait_for(r"\[3/")
        ran = harness("run", "--resume", only_run(tmp_path).name, "--results", tmp_path).expect(2)
        assert "is being written by another harness" in ran.err
        running.end().expect(0)


def test_a_changed_model_is_not_resumed(harness: Any, slow: Any, tmp_path: Path) -> None:
    """Samples of two different models are never put into one run."""
    folder = slow()
    with harness.started(*run_args(folder, "venv", tmp_path)) as running:
        running.wait_for(r"\[4/")
        running.process.kill()
    kept = samples(tmp_path)
    with (folder / "predictor.py").open("a") as file:
        file.write("# another\n")
    ran = harness("run", "--resume", only_run(tmp_path).name, "--results", tmp_path).expect(1)
    assert "has changed since run" in ran.err
    assert samples(tmp_path) == kept


# --- no room -------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(root: None, tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A file system of a given size; asked again, it is made larger."""
    place = tmp_path / "disk"
    place.mkdir()

    def of_size(size: str) -> Path:
        option = "remount," if place.is_mount() else ""
        command = ["mount", "-t", "tmpfs", "-o", f"{option}size={size},mode=755", "small", str(place)]
        subprocess.run(command, check=True)
        return place

    yield of_size
    if place.is_mount():
        subprocess.run(["umount", str(place)], check=True)


def test_results_on_a_full_disk(harness: Any, slow: Any, small_disk: Callable[[str], Path]) -> None:
    """It is said which disk is full and what to do; what was measured is intact, and with room it goes on."""
    results = small_disk("20k")
    ran = harness(*run_args(slow(0), "venv", results), "--rounds", 12).expect(1)
    assert "is full" in ran.err
    assert str(results) in ran.err
    assert "--resume" in ran.err
    assert ran.json["error"]["kind"] == "DiskFull"
    assert samples(results)
    small_disk("2m")
    resume_and_compare(harness, results)


def test_no_room_for_a_run(harness: Any, slow: Any, small_disk: Callable[[str], Path]) -> None:
    """A disk that is full from the beginning is told of in the same way."""
    results = small_disk("4k")
    ran = harness(*run_args(slow(0), "venv", results)).expect(1)
    assert ran.json["error"]["kind"] == "DiskFull"


def test_a_cache_on_a_full_disk(
    harness: Any, make_model: Any, small_disk: Callable[[str], Path], tmp_path: Path
) -> None:
    """A tool that finds no room to build is told of as a full disk, and with room the run goes on."""
    folder = make_model("large", files={"ballast": "x" * 3 * 2**20})
    cache = small_disk("5m")
    ran = harness(*run_args(folder, "venv", tmp_path / "results"), HARNESS_CACHE=str(cache)).expect(1)
    assert re.search("is full|No space left|no room", ran.err + ran.out), ran
    assert ran.json["error"]["kind"] == "DiskFull"
    small_disk("200m")
    run_id = only_run(tmp_path / "results").name
    args = ("run", "--resume", run_id, "--results", tmp_path / "results", "--json")
    assert harness(*args, HARNESS_CACHE=str(cache)).expect(0).json["failed"] == {}


# --- no engine -----------------------------------------------------------------------------------


def test_without_a_docker_engine(harness: Any, slow: Any, tmp_path: Path) -> None:
    """The container method is absent, with reason and remedy; the others are measured, and that is no failure."""
    env = {"DOCKER_HOST": "unix:///nonexistent/docker.sock", "HARNESS_CACHE": str(tmp_path / "cache")}
    args = ("--method", "venv", "--method", "container", "--rounds", 1, "--results", tmp_path / "results")
    ran = harness("run", slow(0), *args, "--json", **env).expect(0)
    told = ran.json
    assert told["failed"] == {}
    assert "no Docker engine answers" in told["absent"]["slow/container"]
    methods = told["models"][0]["methods"]
    assert methods["venv"] == "measured"
    assert "no Docker engine answers" in methods["container"]
    assert "remedy: " in methods["container"]
    checked = harness("doctor", "--json", **env).expect(3).json
    found = next(one for one in checked["checks"] if one["what"] == "method container")
    assert found["remedy"]
    shown = harness("compare", "slow", "--results", tmp_path / "results", **env).expect(0)
    assert "container: not ready on that machine: no Docker engine answers" in " ".join(shown.out.split())
    assert harness("engine", "status", **env).expect(3).out
