"""How well what was learnt on one machine predicts another: what a reader with a machine of one's own wants to know.

It is the strictest of the tests here, because the machine and the family of models are both new.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from harness.calibrate import fit, laws, predicting
from harness.calibrate.fit import Fitter, Quality
from harness.calibrate.gathering import Study
from harness.calibrate.records import Calibration, HeldOut
from harness.metrics import State


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """The models of ``study``, of another machine, to be predicted by what ``fitter`` has learnt on its own."""

    fitter: Fitter
    study: Study

    def calibration(self, *, without: str) -> Calibration:
        """The fitter's, without a family; BadInput where it has no other."""
        return self.fitter.calibration(without=without)

    def validate(self) -> list[Quality]:
        """The quality of every metric over the models of the study, each predicted without its family.

        A model is predicted from its profile on its own machine, and held against what was measured there. Seconds
        are compared as those of the fitter's machine, by the sentinels.
        """
        held: dict[tuple[str, State], list[HeldOut]] = defaultdict(list)
        for model in self.study.profiles:
            for key, one in self._of(model):
                held[key].append(one)
        return [fit.quality(*key, held[key]) for key in laws.LAWS if key in held]

    def _of(self, model: str) -> Iterator[tuple[tuple[str, State], HeldOut]]:
        profile = self.study.profiles[model]
        calibration = self.calibration(without=profile.family)
        methods = dict.fromkeys(value.method for value in self.study.values[model])
        for metric, state in laws.LAWS:
            for method in methods:
                known = dict(fit.measured(self.study, method, metric, state, sentinel_s=calibration.sentinel_s))
                found = predicting.predict(calibration, profile, method, metric, state)
                simple = self.fitter.simple(method, metric, state, without=profile.family)
                if model in known and found is not None and simple is not None:
                    held_out = HeldOut(
                        model=model,
                        family=profile.family,
                        actual=known[model],
                        predicted=found.value,
                        simple=simple,
                        low=found.low,
                        high=found.high,
                    )
                    yield (metric, state), held_out
