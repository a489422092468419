"""From runs and profiles to a calibration, and back from disk."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any

import pytest

from harness.calibrate import fit, gathering, laws, predicting, records
from harness.errors import BadInput, CheckFailure
from harness.measure import profile as profiles
from harness.measure import sentinel
from harness.store import query

# --- fitting -------------------------------------------------------------------------------------


def test_every_planted_coefficient_comes_back(lab: Any) -> None:
    """Of every metric, of every method, from runs and profiles on disk."""
    lab.run(lab.models(families=4))
    made = fit.fit(gathering.gather(lab.results, [lab.RUN]))
    assert made.methods == ("pex", "venv")
    assert len(made.fits) == 2 * len(laws.LAWS)
    for fitted in made.fits:
        for found, expected in zip(fitted.coefficients, lab.PLANTED[fitted.metric, fitted.state], strict=True):
            assert found.fitted
            assert found.value == pytest.approx(expected, rel=1e-4)
        assert fitted.families == 4
        assert len(fitted.held_out) == 8


def test_laws_are_about_metrics_that_exist() -> None:
    """Every law is of a declared metric in a state that it is taken in; at most four terms, the base first."""
    from harness.metrics import METRICS

    for (metric, state), every in laws.LAWS.items():
        assert state in (METRICS[metric].states or ("",))
        assert [term.feature for term in every[-1]] == [laws.BASE]  # the simple rule
        assert metric in laws.NEGLIGIBLE
        for terms in every:
            assert terms[0].feature == laws.BASE
            assert len(terms) <= 4
            assert all(term.feature in laws.FEATURES for term in terms)
            assert [term.needs for term in terms] == sorted(term.needs for term in terms)


def test_quality_is_of_families_that_were_not_seen(lab: Any) -> None:
    """Exact values are predicted exactly; noisy ones with an error and a coverage that say so."""
    rng = random.Random(3)
    lab.run(lab.models(families=5))
    for one in fit.validate(fit.fit(gathering.gather(lab.results, [lab.RUN]))):
        assert one.median_error < 1e-6
        assert one.coverage == 1.0
    noisy = lab.run(lab.models(families=5), noise=lambda: 1.5 ** rng.uniform(-1, 1), run_id="20240102-030406-made")
    found = fit.validate(fit.fit(gathering.gather(lab.results, [noisy])))
    assert {(one.metric, one.state) for one in found} == set(laws.LAWS)
    assert all(0.02 < one.median_error < 0.6 for one in found)
    assert all(one.n == 20 and one.families == 5 and one.covered_of == 20 for one in found)
    assert 0.75 < sum(one.coverage or 0.0 for one in found) / len(found) <= 1


def test_coverage_needs_three_families(lab: Any) -> None:
    """With two there is no interval that has seen nothing of the family that it is held against."""
    lab.run(lab.models(families=2))
    for one in fit.validate(fit.fit(gathering.gather(lab.results, [lab.RUN]))):
        assert one.coverage is None
        assert one.covered_of == 0


def test_one_family_is_refused(lab: Any) -> None:
    """Nothing can be held out."""
    lab.run(lab.models(families=1))
    with pytest.raises(BadInput, match="1 family") as refused:
        fit.fit(gathering.gather(lab.results, [lab.RUN]))
    assert "at least two families" in refused.value.remedy


def test_seconds_of_a_slow_hour_count_for_less(lab: Any) -> None:
    """Where the sentinel took longer, a start or a build did too, if not as much; sizes are what they are."""
    lab.run(lab.models(families=2))
    usual = gathering.gather(lab.results, [lab.RUN])
    slow = dataclasses.replace(usual, sentinels=dict.fromkeys(usual.sentinels, 0.2))
    less = sentinel.pace(0.2, 0.1)
    assert 0.5 < less < 1
    for metric, state, ratio in (("cold_start_s", "page-warm", less), ("build_clean_s", "", less), ("files", "", 1)):
        one, other = (
            dict(fit.measured(study, "venv", metric, state, sentinel_s=study.sentinel_s)) for study in (usual, slow)
        )
        assert other == pytest.approx({model: value * ratio for model, value in one.items()})
    assert set(usual.sentinels.values()) == {0.1}


def test_few_families_are_said_plainly(lab: Any) -> None:
    """Until there are nine families, it says that it is not fit to decide by."""
    lab.run(lab.models(families=3))
    text = fit.too_few(fit.fit(gathering.gather(lab.results, [lab.RUN])))
    assert "6 models of 3 families" in text
    assert "too few to decide by" in text
    many = lab.run(lab.models(families=9, each=1), run_id="20240102-030406-made")
    assert fit.too_few(fit.fit(gathering.gather(lab.results, [many]))) == ""


def test_a_profile_without_a_cold_start_leaves_those_values_out(lab: Any) -> None:
    """What depends on it has fewer models, the rest is not touched."""
    found = lab.models(families=3)
    found[0] = lab.changed(found[0], starts=tuple(one for one in found[0].starts if one.state == "page-warm"))
    lab.run(found[1:])
    warm_only = lab.changed(found[0], model="warm-only")
    profiles.write(warm_only, lab.results / "profiles")
    samples = lab.samples(
        [lab.changed(found[0], model="warm-only", starts=found[1].starts)], ["venv"], lambda: 1.0, "r"
    )
    from harness.store import runs

    manifest = runs.read_manifest(runs.folder_of(lab.results, lab.RUN))
    noted = {"warm-only": {"payload": warm_only.payload, "locks": {"a" * 12: {}}}}
    with runs.create(lab.results, dataclasses.replace(manifest, run_id="r", models=noted)) as writer:
        writer.record(samples)
    made = fit.fit(gathering.gather(lab.results, [lab.RUN, "r"]))
    disk, warm = made.fit("venv", "cold_start_s", "disk-cold"), made.fit("venv", "cold_start_s", "page-warm")
    assert disk is not None
    assert warm is not None
    assert "warm-only" not in disk.models
    assert "warm-only" in warm.models


# --- gathering -----------------------------------------------------------------------------------


def test_the_newest_run_of_a_model_counts(lab: Any) -> None:
    """Two runs are joined; of a model that is in both, the later values are taken."""
    found = lab.models(families=3)
    lab.run(found)
    later = lab.run(found[:1], noise=lambda: 2.0, run_id="20250102-030405-made")
    study = gathering.gather(lab.results, [later, lab.RUN])
    assert study.run_of == {one.model: later if one is found[0] else lab.RUN for one in found}
    sizes = {v.model: v.interval.median for values in study.values.values() for v in values if v.metric == "files"}
    assert sizes[found[0].model] == pytest.approx(2 * lab.planted(found[0], "files", ""))
    assert sizes[found[1].model] == pytest.approx(lab.planted(found[1], "files", ""))


def test_seconds_of_machines_are_compared_by_their_sentinels(lab: Any) -> None:
    """What a machine measured that takes twice as long for the sentinel counts as on one that does not."""
    found = lab.models(families=4)
    slow = {**lab.HOST, "processor": "Slow 1"}
    there = [lab.on(one, slow, slower=2.0) for one in found[:1]]
    lab.run(found)
    usual = gathering.gather(lab.results, [lab.RUN])
    later = lab.run(there, run_id="20250102-030405-made", host=slow, slower=2.0)
    both = gathering.gather(lab.results, [lab.RUN, later])
    assert both.run_of[found[0].model] == later
    assert [host["processor"] for host in both.hosts] == [lab.HOST["processor"], "Slow 1"]
    assert both.sentinel_s == usual.sentinel_s
    assert both.sentinels[found[0].model] == pytest.approx(2 * usual.sentinel_s)
    one, other = fit.fit(usual), fit.fit(both)
    assert len(other.hosts) == 2
    for fitted in one.fits:
        again = other.fit(fitted.method, fitted.metric, fitted.state)
        assert again is not None
        assert [held.actual for held in again.held_out] == pytest.approx([held.actual for held in fitted.held_out])
    told = predicting.caveats(other, found[1])
    assert f"models on {lab.HOST['processor']}, {lab.HOST['cores']} cores (some of them on Slow 1" in told


def test_a_profile_of_another_machine_than_the_run_is_refused(lab: Any) -> None:
    """What a start takes on one says nothing of what it takes packaged on another."""
    found = lab.models(families=2)
    lab.run(found)
    later = lab.run(found, run_id="20250102-030405-made", host={**lab.HOST, "cores": 64})
    with pytest.raises(BadInput, match="profiled on another machine"):
        gathering.gather(lab.results, [later])


def test_a_run_that_has_only_built_a_model_does_not_count(lab: Any) -> None:
    """The older one that has its starts does; where no run has any, that is said."""
    found = lab.models(families=2)
    lab.run(found)
    later = lab.run(found, run_id="20250102-030405-made", only={"build_clean_s"})
    study = gathering.gather(lab.results, [lab.RUN, later])
    assert set(study.run_of.values()) == {lab.RUN}
    with pytest.raises(BadInput, match="no start of any model"):
        gathering.gather(lab.results, [later])


def test_a_missing_profile_names_the_command(lab: Any) -> None:
    """The remedy can be pasted."""
    lab.run(lab.models(families=2), profiled=False)
    with pytest.raises(BadInput, match="has no profile") as refused:
        gathering.gather(lab.results, [lab.RUN])
    assert refused.value.remedy == "harness profile /models/m0-0"
    assert refused.value.exit_code == 2


def test_a_profile_from_the_cache_does_as_well(lab: Any) -> None:
    """It need not lie beside the results."""
    found = lab.models(families=2)
    lab.run(found, profiled=False)
    for one in found:
        profiles.write(one, profiles.kept())
    assert set(gathering.gather(lab.results, [lab.RUN]).profiles) == {one.model for one in found}


def test_a_profile_of_other_packages_is_refused(lab: Any) -> None:
    """The payload alone does not show that a dependency was changed; the lock does."""
    found = lab.models(families=2)
    lab.run(found)
    profiles.write(lab.changed(found[0], lock="c" * 64), lab.results / "profiles")
    with pytest.raises(BadInput, match="another lock"):
        gathering.gather(lab.results, [lab.RUN])


# --- on disk -------------------------------------------------------------------------------------


@pytest.fixture
def kept(lab: Any) -> records.Calibration:
    """A calibration that lies beside its runs."""
    lab.run(lab.models(families=3))
    made = fit.fit(gathering.gather(lab.results, [lab.RUN]))
    records.write(made, lab.results / records.FILE_NAME)
    return made


def test_it_comes_back_from_disk(lab: Any, kept: records.Calibration) -> None:
    """What is read is what was written, its digest too."""
    found = records.of_results(lab.results)
    assert found == kept
    assert found.digest == kept.digest
    assert records.of_results(lab.results / "elsewhere") is None


def test_it_names_what_it_was_fitted_from(lab: Any, kept: records.Calibration) -> None:
    """Runs with the digest of their samples, models with that of their profile."""
    assert [one.run_id for one in kept.runs] == [lab.RUN]
    assert len(kept.runs[0].sha256) == 64
    assert {one.profile for one in kept.models} == {one.digest for one in lab.models(families=3)}


def test_changed_samples_are_refused(lab: Any, kept: records.Calibration) -> None:
    """One digit in the samples is enough."""
    samples = lab.results / "runs" / lab.RUN / "samples.jsonl"
    samples.write_text(samples.read_text().replace("1.0", "1.1", 1))
    with pytest.raises(CheckFailure, match="other samples") as refused:
        records.of_results(lab.results)
    assert "harness calibrate" in refused.value.remedy


def test_samples_under_another_name_are_refused(lab: Any, kept: records.Calibration) -> None:
    """The same samples compacted are another file, of which the calibration says nothing: it has to be fitted again."""
    folder = lab.results / "runs" / lab.RUN
    query.compact(folder)
    assert records.of_results(lab.results) == kept
    (folder / "samples.jsonl").unlink()
    with pytest.raises(CheckFailure, match="other samples"):
        records.of_results(lab.results)


def test_a_missing_run_is_refused(lab: Any, kept: records.Calibration) -> None:
    """What cannot be traced back is not used."""
    (lab.results / "runs" / lab.RUN / "run.json").unlink()
    with pytest.raises(CheckFailure, match="is not there"):
        records.of_results(lab.results)


def test_a_changed_profile_is_refused(lab: Any, kept: records.Calibration) -> None:
    """A profile beside the results must be the one that was used."""
    one = lab.models(families=3)[0]
    profiles.write(lab.changed(one, packages=1), lab.results / "profiles")
    with pytest.raises(CheckFailure, match="another profile of m0-0"):
        records.of_results(lab.results)


@pytest.mark.parametrize(("version", "remedy"), [(5, "upgrade"), (3, "anew"), (None, "anew"), ("4", "anew")])
def test_other_versions_are_refused(lab: Any, kept: records.Calibration, version: object, remedy: str) -> None:
    """A newer format needs a newer harness, anything else a new fit."""
    file = lab.results / records.FILE_NAME
    file.write_text(json.dumps({**json.loads(file.read_text()), "schema_version": version}))
    with pytest.raises(BadInput, match="schema_version") as refused:
        records.read(file)
    assert remedy in refused.value.remedy


def test_a_damaged_calibration_is_refused(lab: Any, kept: records.Calibration) -> None:
    """The message names the key."""
    file = lab.results / records.FILE_NAME
    table = json.loads(file.read_text())
    table["fits"][0]["factor"] = "wide"
    file.write_text(json.dumps(table))
    with pytest.raises(BadInput, match="factor"):
        records.read(file)


def test_a_place_that_cannot_be_written_to_is_named(lab: Any, kept: records.Calibration) -> None:
    """With the option that names another."""
    with pytest.raises(BadInput) as refused:
        records.write(kept, lab.results / "nowhere" / "calibration.json")
    assert "--out" in refused.value.remedy
