"""The wheel: built, installed into an environment of its own, and used from an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import interpreter, tools, tree
from harness.methods import METHODS

REPOSITORY = Path(__file__).resolve().parents[2]
CORE_BYTES = 150 * 10**6


def run(*argv: object, cwd: Path, code: int = 0, **env: str) -> str:
    """Standard output of a command that ends with ``code``; ``err`` is appended where that is not 0."""
    done = subprocess.run(
        list(map(str, argv)),
        cwd=cwd,
        env={**tools.uv_environment(), **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, f"{done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + (done.stderr if code else "")


@dataclass(frozen=True)
class Wheel:
    """The wheel, an environment with it and its core dependencies, and an empty folder to use it from."""

    file: Path
    environment: Path
    folder: Path

    def harness(self, *args: object, code: int = 0) -> str:
        """What ``harness ...`` prints."""
        cache = {"HARNESS_CACHE": os.environ["HARNESS_CACHE"]}
        return run(self.environment / "bin" / "harness", *args, cwd=self.folder, code=code, **cache)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Wheel:
    """Build it from the repository and install it as a user would, without extras."""
    place = tmp_path_factory.mktemp("wheel")
    environment, folder = place / "environment", place / "empty"
    folder.mkdir()
    run(tools.uv(), "build", "--quiet", "--wheel", "--out-dir", place, REPOSITORY, cwd=place)
    (file,) = place.glob("*.whl")
    run(tools.uv(), "venv", "--quiet", "--python", interpreter.default().path, environment, cwd=place)
    constraints = ["--constraint", REPOSITORY / "constraints.txt"]
    python = environment / "bin" / "python"
    # Copies, not links into uv's cache: its size is what it would be anywhere.
    install = [tools.uv(), "pip", "install", "--quiet", "--link-mode", "copy", "--python", python]
    run(*install, *constraints, file, cwd=place)
    return Wheel(file, environment, folder)


def test_the_core_stays_small(wheel: Wheel) -> None:
    """The harness with all that it needs, before anything else has run in it."""
    total, _ = tree.size(wheel.environment)
    assert total < CORE_BYTES
    names = {path.name for path in wheel.environment.glob("lib/*/site-packages/*")}
    assert not names & {"vl_convert", "jinja2", "pytest", "numpy", "pandas"}


def test_all_that_is_needed_travels(wheel: Wheel) -> None:
    """Models, scenarios, the runner, the wrapper, tool locks; and no bytecode, tests or runs."""
    with zipfile.ZipFile(wheel.file) as archive:
        names = archive.namelist()
    tracked = run("git", "ls-files", "harness", "sample_models", "scenarios", cwd=REPOSITORY).splitlines()
    shipped = {name if name.startswith("harness/") else f"harness/_data/{name}" for name in tracked}
    assert {
        name for name in shipped - set(names) if (REPOSITORY / name.removeprefix("harness/_data/")).exists()
    } == set()
    assert [name for name in names if "__pycache__" in name or name.endswith(".pyc")] == []
    assert [name for name in names if "results/runs" in name or name.startswith("tests")] == []
    large = [name for name in names if zipfile.ZipFile(wheel.file).getinfo(name).file_size > 2**20]
    assert large == []


def test_the_lists_are_whole(wheel: Wheel) -> None:
    """Every method, model and scenario of the checkout is there."""
    assert set(json.loads(wheel.harness("methods", "--json"))) == set(METHODS)
    models = {one["name"] for one in json.loads(wheel.harness("models", "--json"))}
    assert models == {folder.parent.name for folder in REPOSITORY.glob("sample_models/*/model.toml")}
    scenarios = {one["name"] for one in json.loads(wheel.harness("scenarios", "--json"))}
    assert scenarios == {file.stem for file in REPOSITORY.glob("scenarios/*.toml")}
    assert wheel.harness("--version").startswith("harness, version ")
    assert list(wheel.folder.iterdir()) == []


def test_it_measures_from_an_empty_folder(wheel: Wheel) -> None:
    """A run, its comparison, a recommendation and a report; results lie below the current folder."""
    args = ("--method", "venv", "--rounds", 1, "--builds", 1, "--json")
    told: Any = json.loads(wheel.harness("run", "spam-bayes", *args))
    assert told["failed"] == {}
    assert Path(told["folder"]).parent == wheel.folder / "results" / "runs"
    assert "cold start" in wheel.harness("compare", "spam-bayes")
    advised = json.loads(wheel.harness("recommend", "spam-bayes", "--scenario", "edge-device", "--json"))
    assert advised["winner"] == "venv"
    written = wheel.harness("report", "spam-bayes", "--format", "md", "--out", "report.md").strip()
    assert "spam-bayes" in Path(written).read_text()
    assert "0 differ" in (checked := wheel.harness("verify", told["folder"])) or "as the samples say" in checked


def test_a_report_needs_the_extra(wheel: Wheel) -> None:
    """Without it: exit code 3, and the command that installs it."""
    args = ("--method", "venv", "--rounds", 1, "--builds", 1)
    wheel.harness("run", "spam-bayes", *args)
    said = wheel.harness("report", "spam-bayes", "--out", "report.html", code=3)
    assert "pip install" in said
    assert "ml-packaging-harness[report]" in said
    assert "Traceback" not in said
    assert not (wheel.folder / "report.html").exists()


def test_every_command_has_help(wheel: Wheel) -> None:
    """From the wheel's own environment, without any extra."""
    listed = wheel.harness("--help").partition("Commands:\n")[2].partition("\n\n")[0]
    names = re.findall(r"^  ([a-z-]+) ", listed, flags=re.MULTILINE)
    assert {"doctor", "run", "report"} <= set(names)
    for name in names:
        assert f"Usage: harness {name}" in wheel.harness(name, "--help")
