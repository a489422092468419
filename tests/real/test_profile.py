"""Profiles taken for real, and predictions for a model that was never packaged."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness.calibrate import predicting
from harness.cli import calibrate as commands
from harness.errors import ModelFailure
from harness.measure import profile as profiles
from harness.measure.contents import Amount
from harness.metrics import START_STATES
from harness.spec import model as models


def invoke(command: Any, *args: object) -> Result:
    """Run a command of the command line in this process."""
    return CliRunner().invoke(command, list(map(str, args)), catch_exceptions=False)


@pytest.fixture
def profiled(make_model: Any, traces_of: Callable[[str], Any]) -> tuple[models.Model, profiles.Profile]:
    """A small model without dependencies, and its profile; nothing of the starts is left."""
    model = models.read(make_model("profiled", files={"data/table.txt": "0123456789" * 100_000}))
    profiles.take(model)  # the environment stays in the cache, so it is made before it counts
    traces = traces_of("venv")
    before = traces.now()
    taken = profiles.take(model)
    assert traces.since(before) == []
    return model, taken


def test_a_profile_says_what_the_model_brings_along(profiled: tuple[models.Model, profiles.Profile]) -> None:
    """Bytes and files of what is there; starts whose parts add up."""
    model, taken = profiled
    assert (taken.packages, taken.wheel_bytes, taken.installed.native.files) == (0, 0, 0)
    assert taken.weights.bytes > 1_000_000
    assert taken.weights.packed_bytes < 100_000
    assert taken.weights.files == 2
    assert taken.loaded == Amount()
    assert 0.01 < taken.sentinel_s < 30
    for state in START_STATES:
        starts = [one for one in taken.starts if one.state == state]
        assert len(starts) <= profiles.STARTS[state]
        for one in starts:
            assert one.start_s == pytest.approx(one.imports_s + one.load_s + one.predict_s)
            assert 0 < one.start_s < 30
            assert one.peak_resident_bytes is not None
            assert one.peak_resident_bytes > 2**20
            assert (one.warm_s is not None) is (state == "page-warm")
    assert [one.state for one in taken.starts].count("page-warm") == profiles.STARTS["page-warm"]
    assert profiles.find(model) == taken


def test_a_model_that_answers_wrongly_has_no_profile(make_model: Any) -> None:
    """It is a failure of the model, as in a run."""
    model = models.read(make_model("wrong", outputs=[2, 4, 7]))
    with pytest.raises(ModelFailure, match="1 of 3 answers are wrong"):
        profiles.take(model)
    assert profiles.find(model) is None


def test_a_larger_model_is_profiled(tmp_path: Path) -> None:
    """From a warm wheelhouse; as JSON it has medians, and --out has the same record as the cache."""
    model = models.find("digits-forest")
    done = invoke(commands.profile, "digits-forest", "--json", "--out", tmp_path / "profile.json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    kept = profiles.find(model)
    assert kept is not None
    assert profiles.read(tmp_path / "profile.json") == kept
    assert told["packages"] >= 5
    assert kept.installed.native.files > 50
    assert told["wheel_bytes"] < kept.installed.total.bytes
    assert kept.kept.total.bytes < kept.installed.total.bytes
    assert kept.loaded is not None
    assert 300 < kept.loaded.files < kept.installed.bytecode.files
    assert told["medians"]["page-warm"]["start_s"] > 0.05


def test_the_table_explains_itself() -> None:
    """Each number with what it means, and what comes next."""
    done = invoke(commands.profile, "spam-bayes")
    assert done.exit_code == 0
    assert "what that means" in done.stdout
    assert "harness recommend spam-bayes" in done.stdout


def test_a_model_that_was_never_packaged_is_predicted(harness: Any, make_model: Any, tmp_path: Path) -> None:
    """Run, profile, calibrate; then a model of another size is predicted within its interval."""

    salt = os.urandom(8).hex()  # the cache may outlive the session, and must not know these models

    def sized(name: str, repeats: int) -> Path:
        table = "".join(f"{number * number:x}\n" for number in range(repeats))
        folder: Path = make_model(name, files={"data/table.txt": table, "data/salt.txt": salt}, family=name)
        return folder

    reference = [sized("small", 1_000), sized("middle", 300_000), sized("large", 1_000_000)]
    harness("run", *reference, "--method", "venv", "--rounds", 1, "--results", tmp_path).expect(0)
    refused = CliRunner().invoke(commands.calibrate, ["--results", str(tmp_path)])
    assert "harness profile" in str(refused.exception)
    _profile_all(reference)
    done = invoke(commands.calibrate, "--results", tmp_path)
    assert done.exit_code == 0
    assert "too few to decide by" in done.stdout
    assert {file.name.split("-")[0] for file in (tmp_path / "profiles").iterdir()} == {"small", "middle", "large"}

    unseen = models.read(sized("unseen", 600_000))
    assert predicting.known(unseen, [tmp_path], ["venv"]) is None
    profiles.take(unseen)
    found = predicting.known(unseen, [tmp_path], ["venv"])
    assert found is not None
    evidence, caveats = found
    assert "Predicted, not measured" in caveats
    assert {value.fidelity for value in evidence.values} == {"modelled"}
    size = evidence.interval("venv", "unpacked_bytes")
    only = ("--method", "venv", "--rounds", 1, "--results", tmp_path / "unseen", "--json")
    told = harness("run", unseen.folder, *only).expect(0).json["models"][0]["values"]
    measured = {value["metric"]: value["interval"] for value in told if not value["state"]}
    assert size is not None
    assert size.low <= measured["unpacked_bytes"]["median"] <= size.high


def _profile_all(folders: Sequence[Path]) -> None:
    for folder in folders:
        assert invoke(commands.profile, folder).exit_code == 0
