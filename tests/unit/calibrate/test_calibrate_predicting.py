"""Predictions, and the evidence that they make for a model that was never packaged."""

from __future__ import annotations

import dataclasses
import random
import re
from types import SimpleNamespace
from typing import Any

import pytest

from harness.calibrate import fit, gathering, laws, predicting, records
from harness.calibrate.records import Calibration
from harness.measure import profile as profiles
from harness.measure import sentinel
from harness.measure.contents import Amount
from harness.measure.needs import Library
from harness.methods.contract import Limit
from harness.metrics import METRICS
from harness.recommend import confidence, engine
from harness.recommend.value import score
from harness.spec.scenario import Objective, Scenario


@pytest.fixture
def calibration(lab: Any) -> Calibration:
    """Four families, some noise, two methods."""
    rng = random.Random(5)
    lab.run(lab.models(families=4), noise=lambda: 1.1 ** rng.uniform(-1, 1))
    made = fit.fit(gathering.gather(lab.results, [lab.RUN]))
    records.write(made, lab.results / records.FILE_NAME)
    return made


@pytest.fixture
def exact(lab: Any) -> Calibration:
    """Four families, no noise."""
    lab.run(lab.models(families=4))
    return fit.fit(gathering.gather(lab.results, [lab.RUN]))


@pytest.mark.parametrize(("metric", "state"), list(laws.LAWS))
def test_predictions_follow_what_is_planted(lab: Any, exact: Calibration, metric: str, state: Any) -> None:
    """For a model that was not seen, and the interval contains it."""
    unseen = lab.profile("unseen", "family-unseen")
    found = predicting.predict(exact, unseen, "venv", metric, state)
    expected = lab.planted(unseen, metric, state)
    assert found is not None
    assert found.fidelity == "modelled"
    assert found.value == pytest.approx(expected, rel=1e-3)
    assert found.low <= expected <= found.high
    assert METRICS[metric].unit == "s" or found.value.is_integer()


def test_what_was_not_fitted_is_not_predicted(lab: Any, exact: Calibration) -> None:
    """An unknown method, a metric without a law, a profile that lacks the feature."""
    unseen = lab.profile("unseen")
    assert predicting.predict(exact, unseen, "conda", "files") is None
    assert predicting.predict(exact, unseen, "venv", "parity") is None
    without = lab.changed(unseen, starts=())
    assert predicting.predict(exact, without, "venv", "cold_start_s", "page-warm") is None
    assert predicting.predict(exact, without, "venv", "files") is not None


def test_a_model_beyond_the_reference_is_marked(lab: Any, exact: Calibration) -> None:
    """The features in which it lies outside are named, in the prediction and in what is said beside it."""
    huge = lab.changed(lab.profile("huge"), weights=Amount(archived_bytes=10**12))
    found = predicting.predict(exact, huge, "venv", "packed_bytes")
    assert found is not None
    assert "everything, archived" in found.beyond
    assert "everything, archived" in predicting.caveats(exact, huge)
    least = lab.models(families=4)[0]
    nearly = lab.changed(
        least, installed=lab.changed(least.installed, data=Amount(bytes=10**12, archived_bytes=10**12))
    )
    assert "outside" in predicting.caveats(exact, nearly)
    inside = lab.models(families=4)[0]
    assert "lies outside" not in predicting.caveats(exact, inside)


def test_what_no_prediction_has_is_said(lab: Any, exact: Calibration) -> None:
    """Lambda's share of processors follows the memory, and the reference models had a whole one; system packages."""
    one = lab.models(families=4)[0]
    assert "less than one processor" in predicting.caveats(exact, one, memory_mb=512)
    assert "processor (" not in predicting.caveats(exact, one, memory_mb=2048)
    assert "system packages" not in predicting.caveats(exact, one)
    assert "2 system packages" in predicting.caveats(exact, lab.changed(one, system_packages=2))


def test_what_a_platform_would_not_take_is_excluded(
    lab: Any, exact: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the predicted size and the documented limit; the predicted interval stands in the reason."""
    one = lab.profile("unseen")
    size = predicting.predict(exact, one, "venv", "unpacked_bytes")
    assert size is not None
    for most, fits in ((size.value - 1, False), (size.value + 1, True)):
        limit = Limit(name="a zip", value=most, unit="bytes", source="S", read_on="2026", metric="unpacked_bytes")
        monkeypatch.setitem(predicting.METHODS, "venv", SimpleNamespace(LIMITS=(limit,), PROVIDES=(), REQUIRES=()))
        found = predicting.evidence_from(exact, one, ["venv"])
        assert (found.failure("venv") == "") is fits
        assert fits or re.search(r"does not fit: .* \(predicted\) of .* \(a zip; S\)", found.failure("venv"))


def test_what_a_platform_lacks_is_excluded(lab: Any, exact: Calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is as it is; what other targets have is said by the scenario."""
    gl = Library(soname="libGL.so.1", needed_by=("cv2.so",), loaded=True, here=True, in_image=True, in_base=False)
    one = lab.profile("unseen", needs=dataclasses.replace(lab.NEEDS, libraries=(gl,)))
    for requires, why in ((("aws",), "its platform has not libGL.so.1"), (("google-cloud",), ""), ((), "")):
        with monkeypatch.context() as patch:
            patch.setitem(predicting.METHODS, "venv", SimpleNamespace(LIMITS=(), PROVIDES=(), REQUIRES=requires))
            failure = predicting.evidence_from(exact, one, ["venv"]).failure("venv")
        assert why in failure
        assert bool(why) is bool(failure)


def test_what_images_lack_is_excluded(lab: Any, exact: Calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that brings a system which the model will not start on; one that brings none goes by the target."""
    gl = Library(soname="libGL.so.1", needed_by=("cv2.so",), loaded=True, here=True, in_image=False, in_base=False)
    brings = SimpleNamespace(LIMITS=(), PROVIDES=("carries-system-libraries",))
    cases = (
        ((gl,), "", "lacks libGL.so.1 (cv2.so); 'harness check unseen --fix' adds"),
        ((dataclasses.replace(gl, loaded=False),), "", ""),
        ((), "2.99", "native files need glibc 2.99 (the base has 2.36)"),
    )
    for libraries, glibc, why in cases:
        needed = dataclasses.replace(lab.NEEDS, libraries=libraries, glibc=glibc, base_glibc="2.36")
        one = lab.profile("unseen", needs=needed)
        assert predicting.evidence_from(exact, one, ["venv"]).failure("venv") == ""
        with monkeypatch.context() as patch:
            patch.setitem(predicting.METHODS, "venv", brings)
            failure = predicting.evidence_from(exact, one, ["venv"]).failure("venv")
        assert why in failure
        assert bool(why) is bool(failure)


def test_seconds_of_another_machine_are_scaled_by_the_sentinels(lab: Any, exact: Calibration) -> None:
    """A machine that takes twice as long for the sentinel takes longer to start; bytes stay."""
    here = lab.profile("unseen")
    longer = sentinel.pace(0.1, 0.2)
    assert 1 < longer < 2
    slow = lab.changed(
        here,
        host={**lab.HOST, "processor": "Slow 1"},
        sentinel_s=0.2,
        starts=tuple(lab.changed(one, start_s=longer * one.start_s, sentinel_s=0.2) for one in here.starts),
    )
    for metric, state in (("cold_start_s", "page-warm"), ("peak_resident_bytes", "page-warm"), ("files", "")):
        one = predicting.predict(exact, here, "venv", metric, state)
        other = predicting.predict(exact, slow, "venv", metric, state)
        assert one is not None
        assert other is not None
        assert other.value == pytest.approx(one.value)
    assert predicting.seconds_ratio(exact, slow) == pytest.approx(1 / longer)
    assert "another machine" in predicting.caveats(exact, slow)
    # A slow hour of the same machine is no other.
    assert predicting.seconds_ratio(exact, lab.changed(here, sentinel_s=0.2)) == pytest.approx(1 / longer)
    assert "another machine" not in predicting.caveats(exact, lab.changed(here, sentinel_s=0.2))


# --- evidence ------------------------------------------------------------------------------------


def test_all_of_the_evidence_is_modelled(lab: Any, calibration: Calibration) -> None:
    """No value claims to be measured; every law has a value, every method its right answers."""
    found = predicting.evidence_from(calibration, lab.profile("unseen"), ["venv", "pex", "conda"])
    assert {value.fidelity for value in found.values} == {"modelled"}
    assert found.model == "unseen"
    assert found.run_id == f"calibration-{calibration.digest[:8]}"
    assert found.methods == ("venv", "pex", "conda")
    assert found.failure("venv") == ""
    for metric, state in laws.LAWS:
        value = found.value("venv", metric, state)
        prediction = predicting.predict(calibration, lab.profile("unseen"), "venv", metric, state)
        assert value is not None
        assert value.interval is not None
        assert prediction is not None
        assert value.interval.median == prediction.value
        assert value.interval.low < prediction.low < prediction.value < prediction.high < value.interval.high


def test_a_method_without_a_calibration_says_so(lab: Any, calibration: Calibration) -> None:
    """It is not measured, and the reason is the calibration."""
    found = predicting.evidence_from(calibration, lab.profile("unseen"), ["venv", "conda"])
    assert found.failure("conda") == "was not measured"
    assert "has no samples of it" in found.manifest.availability["conda"]["reason"]
    assert "venv" not in found.manifest.availability


def test_what_cannot_be_predicted_is_absent_with_a_reason(lab: Any, calibration: Calibration) -> None:
    """Not filled in."""
    found = predicting.evidence_from(calibration, lab.changed(lab.profile("unseen"), starts=()), ["venv"])
    value = found.value("venv", "cold_start_s", "page-warm")
    assert value is not None
    assert value.interval is None
    assert "cannot be predicted" in value.why_absent


def test_resampled_pseudo_rounds_have_the_predicted_spread(lab: Any, calibration: Calibration) -> None:
    """90 % of the medians that the recommendation draws lie in the prediction's 90 % interval, and not all."""
    unseen = lab.profile("unseen")
    found = predicting.evidence_from(calibration, unseen, ["venv"])
    value = found.value("venv", "files")
    prediction = predicting.predict(calibration, unseen, "venv", "files")
    assert value is not None
    assert prediction is not None
    drawn = sorted(confidence._Rounds().medians(value.by_round))
    ends = drawn[50], drawn[-50]
    assert ends == (pytest.approx(prediction.low, rel=0.02), pytest.approx(prediction.high, rel=0.02))
    assert drawn[500] == pytest.approx(prediction.value)


def test_errors_of_two_methods_are_drawn_apart(lab: Any, calibration: Calibration) -> None:
    """Rounds of different values have different numbers, so that no shared moment is pretended."""
    found = predicting.evidence_from(calibration, lab.profile("unseen"), ["venv", "pex"])
    numbers = [number for value in found.values if value.metric != "parity" for number in value.by_round]
    assert len(numbers) == len(set(numbers))


def test_the_recommendation_can_use_it(lab: Any, calibration: Calibration) -> None:
    """It ranks the methods, says that the numbers are modelled, and excludes what is not known."""
    from harness.methods import METHODS

    found = predicting.evidence_from(calibration, lab.profile("unseen"), METHODS)
    scenario = Scenario(
        spec_version=1,
        name="s",
        title="S",
        description="",
        article_case="executable",
        objectives=(
            Objective(metric="packed_bytes", weight=1.0, best=1e6, worst=1e10),
            Objective(metric="cold_start_s", state="page-warm", weight=1.0, best=0.01, worst=1000.0),
        ),
    )
    recommendation = engine.recommend(found, scenario, METHODS)
    assert {one.method for one in recommendation.ranked} == {"venv", "pex"}
    assert all(part.fidelity == "modelled" for one in recommendation.ranked for part in one.contributions)
    assert any("is modelled, not measured" in doubt.text for doubt in recommendation.doubts)
    assert {one.method for one in recommendation.excluded} == set(METHODS) - {"venv", "pex"}
    assert score(found, "venv", scenario.objectives).value > 0


def test_a_model_is_predicted_where_it_has_a_profile_and_there_is_a_calibration(
    lab: Any, calibration: Calibration, folder: Any
) -> None:
    """The profile has to be of the model as it is now."""
    model = folder.read()
    homes = [lab.results / "empty", lab.results]
    assert predicting.known(model, homes, ["venv"]) is None
    taken = lab.profile("tiny", sources=profiles.sources_digest(model), payload="0" * 24)
    profiles.write(taken, profiles.kept())
    found = predicting.known(model, homes, ["venv"])
    assert found is not None
    evidence, caveats = found
    assert evidence.model == "tiny"
    assert "Predicted, not measured" in caveats
    assert "too few to decide by" in caveats
    assert predicting.known(model, homes[:1], ["venv"]) is None
    folder.write(requirements=["numpy==2.0.0"])
    assert predicting.known(folder.read(), homes, ["venv"]) is None
