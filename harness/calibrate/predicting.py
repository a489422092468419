"""From a calibration and a profile to predictions, and to evidence that the recommendation can weigh.

Every value is ``modelled``. Times are those of the machine that the calibration is of, as it usually was: the
profile's seconds are scaled by the ratio of the sentinels first, from another machine or another hour alike.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.bootstrap import Interval
from harness.calibrate import fit, fitting, laws, records
from harness.calibrate.records import Calibration
from harness.measure import profile as profiles
from harness.measure import sentinel
from harness.measure.needs import packages_named
from harness.measure.profile import Profile
from harness.methods import METHODS
from harness.metrics import METRICS, State, Unit
from harness.platforms.lambda_runtime import MEMORY_MB_PER_CPU
from harness.spec.model import Model
from harness.store.query import Evidence, Value
from harness.store.records import SCHEMA_VERSION, Manifest

#: From the half width of a 90 % interval to that of the 95 % that evidence carries, for normal errors: 1.960 / 1.645.
_TO_95 = 1.1915

#: Pseudo-rounds, in half widths of the 90 % interval. A median of five drawn from five is the first with probability
#: 0.058, one of the first two with 0.317; these are where a normal error has 5 %, and the middle of 5.8 to 31.7 %.
#: So resampled rounds give about the distribution that the interval stands for.
_ROUNDS = (-1.0, -0.54, 0.0, 0.54, 1.0)


#: A model lies outside the reference models where it is this much beyond the last of them, and more than a little.
_NEAR = 1.25
_LITTLE: Mapping[Unit, float] = {"bytes": 1e6, "n": 10.0, "s": 0.01}

#: So many of the features in which it does are named.
_NAMED = 4


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A metric of a method, not measured: the value and its 90 % interval, in the metric's unit.

    ``beyond`` names the features in which the model lies well outside everything that the calibration has seen.
    """

    method: str
    metric: str
    state: State
    value: float
    low: float
    high: float
    models: int
    beyond: tuple[str, ...] = ()
    fidelity: Literal["modelled"] = "modelled"


def predict(
    calibration: Calibration, profile: Profile, method: str, metric: str, state: State = ""
) -> Prediction | None:
    """The prediction; None where nothing was fitted for it, or the profile lacks a feature that it needs."""
    fitted = calibration.fit(method, metric, state)
    if fitted is None:
        return None
    value, beyond = 0.0, []
    for one in fitted.coefficients:
        feature = laws.FEATURES[one.feature]
        amount = laws.amount(profile, one.feature, calibration.sentinel_s)
        if amount is None:
            return None
        value += one.value * amount
        least, most = calibration.ranges.get(one.feature, (amount, amount))
        little = _LITTLE[feature.unit]
        if one.value and not least / _NEAR - little <= amount <= most * _NEAR + little:
            beyond.append(feature.title)
    if value <= 0:
        return None
    if METRICS[metric].unit in {"bytes", "n"}:
        value = float(max(round(value), 1))
    ends = fitting.around(value, math.log(fitted.factor), negligible=laws.NEGLIGIBLE[metric])
    return Prediction(
        method=method,
        metric=metric,
        state=state,
        value=value,
        low=ends.low if ends.low is not None else value,
        high=ends.high if ends.high is not None else value,
        models=len(fitted.models),
        beyond=tuple(beyond),
    )


def seconds_ratio(calibration: Calibration, profile: Profile) -> float:
    """What makes the profile's seconds those of the calibration's machine as it usually was, by the sentinels."""
    return sentinel.pace(profile.sentinel_s, calibration.sentinel_s)


def run_id_of(calibration: Calibration) -> str:
    """What stands for a run's id where values are predicted."""
    return f"calibration-{calibration.digest[:8]}"


def evidence_from(
    calibration: Calibration, profile: Profile, methods: Iterable[str], *, memory_mb: int | None = None
) -> Evidence:
    """Evidence in the shape of a run's, everything in it ``modelled``; ``memory_mb`` is what instances are given.

    That a method answers rightly is modelled too: the profile found every example right, and packaging is assumed to
    keep it so, unless the artifact would be beyond a limit of its platform. Of a method without a calibration it says
    that, under ``availability``.
    """
    wanted = tuple(methods)
    run_id = run_id_of(calibration)
    unknown = f"the calibration of {calibration.created_at[:10]} has no samples of it"
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        run_id=run_id,
        created_at=calibration.created_at,
        finished_at=None,
        harness_version=calibration.harness_version,
        plan={"methods": list(wanted), "models": [profile.model], "profile": "modelled", "rounds": 0, "builds": 0},
        host=calibration.hosts[0],
        models={profile.model: {**_noted(profile), "memory_mb": memory_mb}},
        availability={
            method: {"ready": False, "reason": unknown, "remedy": "measure it"}
            for method in wanted
            if method not in calibration.methods
        },
    )
    values = tuple(_values(calibration, profile, [method for method in wanted if method in calibration.methods]))
    given: Mapping[str, Any] = json.loads(json.dumps(dataclasses.asdict(profile)))
    return Evidence(run_id=run_id, model=profile.model, manifest=manifest, values=values, profile=given)


def known(model: Model, homes: Sequence[Path], methods: Iterable[str]) -> tuple[Evidence, str] | None:
    """What can be predicted of a model that was not measured, and what has to be said beside it.

    The calibration is the first that lies in one of ``homes`` (results folders). None where there is none, or the model
    as it is now was not profiled; CheckFailure where the calibration is not of the runs that it lies beside.
    """
    profile = profiles.find(model)
    calibration = next((found for home in homes if (found := records.of_results(home)) is not None), None)
    if profile is None or calibration is None:
        return None
    given = model.file.resources.memory_mb
    return evidence_from(calibration, profile, methods, memory_mb=given), caveats(calibration, profile, memory_mb=given)


def caveats(calibration: Calibration, profile: Profile, *, memory_mb: int | None = None) -> str:
    """What a reader must know of predictions for this model before using them; ``memory_mb`` is what it is given."""
    first, *others = (f"{host.get('processor')}, {host.get('cores')} cores" for host in calibration.hosts)
    also = f" (some of them on {'; '.join(others)}, their seconds as the sentinels say)" if others else ""
    said = [
        f"Predicted, not measured: {profile.model} was profiled on {profile.created_at[:10]},",
        f"the rest is modelled after {len(calibration.models)} reference models on {first}{also}.",
    ]
    ratio = seconds_ratio(calibration, profile)
    if records.differing_hosts([calibration.hosts[0], profile.host]):
        said.append(
            f"The profile is of another machine: its seconds are multiplied by {ratio:.2f}, as the sentinels say."
        )
    beyond = sorted({name for one in _predictions(calibration, profile) for name in one.beyond})
    if beyond:
        named = ", ".join(beyond[:_NAMED]) + (f" and {len(beyond) - _NAMED} more" if len(beyond) > _NAMED else "")
        said.append(f"It lies outside the reference models in: {named}. There, intervals are too narrow.")
    if profile.system_packages:
        said.append(
            f"It names {profile.system_packages} system packages; what images take along for them is in no prediction, "
            "so they will be larger."
        )
    if memory_mb is not None and memory_mb < MEMORY_MB_PER_CPU:
        said.append(
            f"With its {memory_mb} MB Lambda gives it less than one processor ({MEMORY_MB_PER_CPU} MB); the reference "
            "models had one, so its starts there take longer than predicted."
        )
    decided = next((one for one in calibration.decisions if one.chooser == "profile"), None)
    if decided is not None and decided.gap_closed is not None and decided.gap_closed <= 0:
        said.append(
            "For families that it had not seen, decisions by it were no better than always taking the single best "
            "method of each scenario, which 'harness recommend' names below its ranking: rely on a measurement."
        )
    return " ".join([*said, fit.too_few(calibration)]).strip()


def _predictions(calibration: Calibration, profile: Profile) -> Iterator[Prediction]:
    for one in calibration.fits:
        found = predict(calibration, profile, one.method, one.metric, one.state)
        if found is not None:
            yield found


def _values(calibration: Calibration, profile: Profile, methods: Sequence[str]) -> Iterator[Value]:
    # Rounds are numbered apart: what a run takes in the same round is resampled together, because one moment of the
    # machine is in all of it. Errors of predictions have nothing of the kind that could be relied on.
    number = 0
    for method in methods:
        yield _right_answers(calibration, profile, method)
        for metric, state in laws.LAWS:
            found = predict(calibration, profile, method, metric, state)
            if found is None:
                why = "cannot be predicted: too few reference models have it, or the profile lacks what it needs"
                empty = _value((profile.model, method), metric, state, {}, None)
                yield dataclasses.replace(empty, why_absent=why)
                continue
            rounds = {number + place: _moved(found, step) for place, step in enumerate(_ROUNDS)}
            number += len(_ROUNDS)
            interval = Interval(
                median=found.value, low=_moved(found, -_TO_95), high=_moved(found, _TO_95), n=found.models
            )
            yield _value((profile.model, method), metric, state, rounds, interval)


def _moved(found: Prediction, halves: float) -> float:
    """So many half widths of the 90 % interval away from the value, on the scale that it is symmetric on."""
    negligible = laws.NEGLIGIBLE[found.metric]
    half = math.log((found.high + negligible) / (found.value + negligible))
    return max((found.value + negligible) * math.exp(halves * half) - negligible, 0.0)


def _right_answers(calibration: Calibration, profile: Profile, method: str) -> Value:
    """Taken for granted, unless it will not run: beyond a limit of its platform, or its system lacks what it needs."""
    cell = profile.model, method
    lacks = _lacks(profile, method)
    if lacks:
        return dataclasses.replace(_value(cell, "parity", "", {}, None), failed=1, why_absent=lacks)
    for limit in METHODS[method].LIMITS if method in METHODS else ():
        found = predict(calibration, profile, method, limit.metric) if limit.metric else None
        if found is not None and found.value > limit.value:
            low, high, most = (f"{size / 1e6:.1f} MB" for size in (found.low, found.high, limit.value))
            size = METRICS[found.metric].title
            why = f"does not fit: {size} {low} to {high} (predicted) of {most} ({limit.name}; {limit.source})"
            return dataclasses.replace(_value(cell, "parity", "", {}, None), unfit=1, why_absent=why)
    return _value(cell, "parity", "", {0: 1.0}, Interval(median=1.0, low=1.0, high=1.0, n=1))


def _lacks(profile: Profile, method: str) -> str:
    """What the system that it would run on has not, and a start of the model loads; empty where that is not known.

    That is the system that the method brings along; or Lambda's, to which nobody can add anything: it has no more than
    a bare Debian has. Other targets are the scenario's to know.
    """
    needed = profile.needs
    if needed is None or method not in METHODS:
        return ""
    if "carries-system-libraries" not in METHODS[method].PROVIDES:
        named = packages_named(needed.of_target) if "aws" in METHODS[method].REQUIRES else ""
        return f"will not start: it brings no system libraries, and its platform has not {named}" if named else ""
    if needed.lacking:
        named = ", ".join(f"{one.soname} ({one.needed_by[0]})" for one in needed.lacking)
        return f"will not start: its image lacks {named}; 'harness check {profile.model} --fix' adds what brings it"
    return f"will not start: native files need {', '.join(needed.too_new)}" if needed.too_new else ""


def _value(
    cell: tuple[str, str], metric: str, state: State, rounds: dict[int, float], interval: Interval | None
) -> Value:
    return Value(
        model=cell[0],
        method=cell[1],
        limits="default",
        metric=metric,
        state=state,
        fidelity="modelled",
        by_round=rounds,
        interval=interval,
    )


def _noted(profile: Profile) -> dict[str, object]:
    """The model as a run's manifest would describe it."""
    features = {"dependencies": profile.packages, "pinned": profile.pinned, "system_packages": profile.system_packages}
    locks = {profile.lock[:12]: {"packages": profile.packages, "wheel_bytes": profile.wheel_bytes}}
    return {
        "payload": profile.payload,
        "family": profile.family,
        "framework": profile.framework,
        "python": profile.python,
        "features": features,
        "system_packages": [one.package or one.soname for one in profile.needs.of_target] if profile.needs else [],
        "locks": locks,
        "profile": profile.digest,
    }
