"""How well what was learnt on one machine predicts another: what a reader with a machine of one's own wants to know.

It is the strictest of the tests here, because the machine and the family of models are both new.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from harness.calibrate import fit, laws, predicting
from harness.calibrate.fit import Fitter, Quality
from harness.calibrate.gathering import Study
from harness.calibrate.records import HeldOut
from harness.metrics import State


def held_against(fitter: Fitter, other: Study) -> list[Quality]:
    """The quality of every metric, over the models of ``other``, each predicted without its family.

    A model is predicted from its profile on the machine of ``other``, and held against what was measured there.
    Seconds are compared as those of the fitter's machine, by the sentinels. BadInput where the fitter has only models
    of a family that ``other`` has as well.
    """
    held: dict[tuple[str, State], list[HeldOut]] = defaultdict(list)
    for model in other.profiles:
        for key, one in _of_model(fitter, other, model):
            held[key].append(one)
    return [fit.quality(*key, held[key]) for key in laws.LAWS if key in held]


def _of_model(fitter: Fitter, other: Study, model: str) -> Iterator[tuple[tuple[str, State], HeldOut]]:
    profile = other.profiles[model]
    calibration = fitter.calibration(without=profile.family)
    methods = dict.fromkeys(value.method for value in other.values[model])
    for metric, state in laws.LAWS:
        for method in methods:
            actual = dict(fit.measured(other, method, metric, state, sentinel_s=calibration.sentinel_s)).get(model)
            found = predicting.predict(calibration, profile, method, metric, state)
            simple = fitter.simple(method, metric, state, without=profile.family)
            if actual is not None and found is not None and simple is not None:
                yield (
                    (metric, state),
                    HeldOut(
                        model=model,
                        family=profile.family,
                        actual=actual,
                        predicted=found.value,
                        simple=simple,
                        low=found.low,
                        high=found.high,
                    ),
                )
