"""How well what was learnt on one machine predicts another: what a reader with a machine of one's own wants to know.

It is the strictest of the tests here, because the machine and the family of models are both new.
"""

from __future__ import annotations

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
        return [fit.quality(*key, held) for key in laws.LAWS if (held := list(self._held_out(*key)))]

    def _held_out(self, metric: str, state: State) -> Iterator[HeldOut]:
        methods = dict.fromkeys(value.method for values in self.study.values.values() for value in values)
        families = {profile.family for profile in self.study.profiles.values()}
        by = {family: self.calibration(without=family) for family in families}
        for method in methods:
            known = fit.measured(self.study, method, metric, state, sentinel_s=self.fitter.study.sentinel_s)
            for model, actual in known:
                profile = self.study.profiles[model]
                found = predicting.predict(by[profile.family], profile, method, metric, state)
                simple = self.fitter.simple(method, metric, state, without=profile.family)
                if found is not None and simple is not None:
                    yield HeldOut(
                        model=model,
                        family=profile.family,
                        actual=actual,
                        predicted=found.value,
                        simple=simple,
                        low=found.low,
                        high=found.high,
                    )
