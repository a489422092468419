"""The harness's own speed, by pytest-benchmark: ``nox -s benchmarks``. Nothing here fails for being slow."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pytest

import harness as package
from harness import interpreter, process, tree
from harness.measure import pages
from harness.measure.sample import SENTINEL
from harness.methods import METHODS
from harness.metrics import METRICS, START_STATES
from harness.recommend import engine
from harness.spec import model as models
from harness.spec import scenario as scenarios
from harness.spec import weights
from harness.store import query
from harness.store.records import SCHEMA_VERSION

RUN, MODEL, ROUNDS, FILES = "20250101-000000-0000", "spam-bayes", 8, 5000
TWELVE = [f"{name}-{number}" if number else name for number in range(3) for name in METHODS]


@dataclass(frozen=True)
class Results:
    """A folder of results with one made-up run."""

    folder: Path
    run: Path


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A run of twelve methods in eight rounds."""
    folder = tmp_path_factory.mktemp("results")
    run = folder / "runs" / RUN
    run.mkdir(parents=True)
    plan = {"models": [MODEL], "methods": TWELVE, "profile": "quick", "rounds": ROUNDS, "builds": 1, "seed": 1}
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "run_id": RUN,
        "created_at": "2025-01-01T00:00:00+00:00",
        "finished_at": "2025-01-01T01:00:00+00:00",
        "harness_version": package.__version__,
        "plan": {**plan, "states": list(START_STATES), "folders": {MODEL: ""}},
        "host": {"processor": "made up", "cores": 2},
    }
    (run / "run.json").write_text(json.dumps(manifest))
    (run / "samples.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in made_up()))
    return Results(folder, run)


def made_up() -> Iterator[dict[str, Any]]:
    """Every metric of every method, around a value of its own."""
    chance = random.Random(1)
    for method in [*TWELVE, SENTINEL]:
        for metric in METRICS.values():
            if (metric.name == "sentinel_s") != (method == SENTINEL):
                continue
            scale = {"s": 1.0, "bytes": 1e8, "n": 1000.0, "bool": 1.0}[metric.unit] * chance.uniform(0.5, 1.5)
            for state in metric.states or ("",):
                for number in range(ROUNDS if metric.states or method == SENTINEL else 1):
                    yield {
                        "run": RUN,
                        "cell": {"model": MODEL, "method": method, "limits": "default"},
                        "metric": metric.name,
                        "value": 1.0 if metric.unit == "bool" else scale * chance.uniform(0.97, 1.03),
                        "unit": metric.unit,
                        "round": number,
                        "state": state,
                        "fidelity": "measured",
                        "at": "2025-01-01T00:00:00.000+00:00",
                        "flags": [],
                        "note": "",
                    }


@pytest.fixture(scope="module")
def many_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 5000 files, as many as a scientific environment has, written to the disk."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(FILES):
        file = folder / f"{number % 50}" / f"{number}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(os.urandom(64) * 64)
    os.sync()
    return folder


def command_line(*args: object) -> subprocess.CompletedProcess[str]:
    """``harness ...`` in a process of its own."""
    source = str(Path(package.__file__).parents[1])
    env = {**os.environ, "PYTHONPATH": source}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # as it is once it has been used a first time
    argv = [sys.executable, "-m", "harness", *map(str, args)]
    return subprocess.run(argv, env=env, cwd="/", capture_output=True, text=True, check=False)


def test_help(benchmark: Any) -> None:
    """``harness --help``, from process start to end: meant to take under 0.3 s."""
    done = benchmark.pedantic(command_line, ("--help",), rounds=5, warmup_rounds=1)
    assert "First steps:" in done.stdout


def test_recommend_on_the_command_line(benchmark: Any, results: Results) -> None:
    """``harness recommend`` from stored results, from process start to end: meant to take under 1 s."""
    args = ("recommend", MODEL, "--scenario", "high-traffic-api", "--results", results.folder, "--json")
    done = benchmark.pedantic(command_line, args, rounds=5, warmup_rounds=1)
    assert json.loads(done.stdout)["winner"] in METHODS


def test_recommend_among_twelve(benchmark: Any, results: Results) -> None:
    """Filter, value, confidence and explanation alone, for three times as many methods as there are yet."""
    found = query.evidence(results.folder, RUN, MODEL)
    methods = {name: METHODS[next(known for known in METHODS if name.startswith(known))] for name in TWELVE}
    wanted = scenarios.find("high-traffic-api")
    advised = benchmark.pedantic(engine.recommend, (found, wanted, methods), rounds=5)
    assert len(advised.ranked) + len({one.method for one in advised.excluded}) == len(TWELVE)


def test_values(benchmark: Any, results: Results) -> None:
    """Medians and intervals of every cell from the raw samples."""
    values = benchmark(query.values, results.run)
    assert {value.method for value in values} == {*TWELVE, SENTINEL}


def test_digest_of_many_files(benchmark: Any, many_files: Path) -> None:
    """What tells artifacts apart."""
    assert len(benchmark(tree.digest, many_files)) == 64


def test_evicting_many_files(benchmark: Any, many_files: Path) -> None:
    """What makes a start disk-cold, pages read back; the files are read in again before each round."""
    files = pages.files_below([many_files])

    def read_again() -> tuple[tuple[list[str]], dict[str, Any]]:
        for file in files:
            Path(file).read_bytes()
        return (files,), {}

    left = benchmark.pedantic(pages.evict, setup=read_again, rounds=5)
    benchmark.extra_info["left_in_memory"] = left.share
    assert left.total_bytes >= FILES * 4096


# --- what the runner costs -----------------------------------------------------------------------

BARE = """
import json, sys
from pathlib import Path
import predictor
model = predictor.load(Path(sys.argv[1]))
print(json.dumps({"outputs": predictor.predict(model, json.load(sys.stdin)["inputs"])}))
"""


@dataclass(frozen=True)
class Asked:
    """One and the same question to the model, bare or through the runner."""

    payload: Path
    runner: Path
    question: str

    def _ask(self, *args: object) -> str:
        argv = [str(interpreter.default().path), *map(str, args)]
        env = process.environment(self.payload, PYTHONPATH=f"{self.runner.parent}:{self.payload}")
        done = subprocess.run(argv, env=env, input=self.question, capture_output=True, text=True, check=True)
        return done.stdout

    def bare(self) -> str:
        """Import the predictor, load, predict, print."""
        return self._ask("-c", BARE, self.payload)

    def through_runner(self) -> str:
        """``harness_runner once``, which also stamps phases and keeps the answer clean."""
        return self._ask("-m", "harness_runner", "once", "--model", self.payload)


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    """The model without dependencies: whatever the runner adds shows most there."""
    from harness.runtime import RUNNER

    model = models.find(MODEL)
    with tempfile.TemporaryDirectory() as place:
        runner, payload = Path(place, RUNNER.name), Path(place, "payload")
        tree.copy(RUNNER, runner, keep=lambda file: file.suffix == ".py")
        tree.copy(weights.locked(model).payload, payload)
        yield Asked(payload, runner, json.dumps({"inputs": list(model.examples.inputs)}))


def test_bare_predictor(benchmark: Any, asked: Asked) -> None:
    """The shortest script that answers."""
    assert benchmark.pedantic(asked.bare, rounds=10, warmup_rounds=1).startswith('{"outputs"')


def test_runner_once(benchmark: Any, asked: Asked) -> None:
    """The same by the runner; ``extra_info`` has how many times as long that takes, in pairs, interleaved."""
    assert asked.through_runner() == asked.bare()
    ratios = []
    for _ in range(10):
        begin = time.perf_counter()
        asked.bare()
        middle = time.perf_counter()
        asked.through_runner()
        ratios.append((time.perf_counter() - middle) / (middle - begin))
    benchmark.extra_info["times_bare"] = round(median(ratios), 3)
    assert benchmark.pedantic(asked.through_runner, rounds=10).startswith('{"outputs"')
