"""What was learnt on one machine, held against another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness import paths, tree
from harness.calibrate import fit, gathering, records
from harness.calibrate.elsewhere import Elsewhere
from harness.calibrate.fit import Quality
from harness.cli import cli
from harness.errors import BadInput
from harness.store import runs, tables


@pytest.fixture
def other(lab: Any, tmp_path: Path) -> Any:
    """A machine on which the sentinel takes twice as long, with three of the models of the first."""
    lab.run(lab.models(families=4))
    found = type(lab)(tmp_path / "other")
    host = {**lab.HOST, "processor": "Slow 1"}
    found.run([lab.on(one, host, slower=2.0) for one in lab.models(families=4)[:3]], host=host, slower=2.0)
    return found


def validated(lab: Any, other: Any, run_id: str) -> list[Quality]:
    """How well the laws of the one machine predict that run of the other."""
    fitter = fit.Fitter(gathering.gather(lab.results, [lab.RUN]))
    return Elsewhere(fitter=fitter, study=gathering.gather(other.results, [run_id])).validate()


def test_what_follows_the_same_laws_is_predicted_there_too(lab: Any, other: Any) -> None:
    """Sizes as they are, seconds by the sentinels; each model without its family."""
    found = validated(lab, other, other.RUN)
    assert {(one.metric, one.state) for one in found} == set(lab.PLANTED)
    assert {(one.n, one.families) for one in found} == {(6, 2)}, "three models of two families, two methods"
    assert all(one.median_error < 0.01 for one in found), found
    assert all(one.simple_error > one.median_error for one in found)


def test_a_machine_that_follows_other_laws_is_found_out(lab: Any, other: Any) -> None:
    """Half of everything is an error of one half, and lies outside the intervals."""
    other.run(lab.models(families=4)[:3], noise=lambda: 0.5, run_id="20250102-030405-made")
    found = validated(lab, other, "20250102-030405-made")
    assert all(one.median_error == pytest.approx(1.0, rel=0.05) for one in found)
    assert all(one.coverage == 0 for one in found)


def test_it_is_printed_and_nothing_is_kept(lab: Any, other: Any) -> None:
    """For people and for machines."""
    args = ["calibrate", "--results", str(lab.results), "--against", str(other.results)]
    shown = CliRunner().invoke(cli, args, catch_exceptions=False)
    assert shown.exit_code == 0
    assert "Another machine (Slow 1" in shown.stdout
    told = json.loads(CliRunner().invoke(cli, [*args, "--json"], catch_exceptions=False).stdout)
    assert len(told["models"]) == 3
    assert {one["metric"] for one in told["quality"]} == {metric for metric, _ in lab.PLANTED}
    assert "profile" in {one["chooser"] for one in told["decisions"]}
    assert records.of_results(lab.results) is None


def test_a_place_for_what_is_not_kept_is_refused(lab: Any, other: Any, tmp_path: Path) -> None:
    """--against keeps nothing, so --out goes unheard; so is a folder without runs, and one that is not there."""
    args = ["calibrate", "--results", str(lab.results), "--against"]
    with pytest.raises(BadInput, match="nothing that is kept"):
        CliRunner().invoke(cli, [*args, str(other.results), "--out", "c.json"], catch_exceptions=False)
    with pytest.raises(BadInput, match="no run in"):
        CliRunner().invoke(cli, [*args, str(tmp_path)], catch_exceptions=False)
    assert CliRunner().invoke(cli, [*args, str(tmp_path / "nothing")]).exit_code == 2


def test_one_family_says_nothing_of_itself(lab: Any, tmp_path: Path) -> None:
    """A calibration of the other machine's only family has nothing left to predict by."""
    lab.run(lab.models(families=2))
    found = type(lab)(tmp_path / "other")
    found.run(lab.models(families=1))
    with pytest.raises(BadInput, match="1 family"):
        validated(lab, found, found.RUN)


#: In the repository; the wheel has no use for it.
HELD_OUT = Path(__file__).parents[3] / "results" / "held-out"


def test_nothing_is_fitted_from_the_night_that_is_held_out() -> None:
    """Its samples are those that were compacted, its profiles are of its machine, and no calibration is of either."""
    names = runs.run_ids(HELD_OUT)
    assert names
    study = gathering.gather(HELD_OUT, names)
    assert len(study.hosts) == 1
    shipped = records.of_results(paths.data("results") / "reference")
    assert shipped is not None
    assert not {one.run_id for one in shipped.runs} & set(names)
    assert not {one.profile for one in shipped.models} & {one.digest for one in study.profiles.values()}
    for folder in (runs.folder_of(HELD_OUT, name) for name in names):
        assert runs.read_manifest(folder).digests[tables.PARQUET] == tree.sha256(folder / tables.PARQUET)
