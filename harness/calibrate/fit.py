"""Fitting a calibration, and how well it predicts what it has not seen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

from harness import __version__
from harness.calibrate import fitting, laws, records
from harness.calibrate.fitting import Fitting, Point
from harness.calibrate.gathering import Study
from harness.calibrate.records import Calibration, Coefficient, Fit, HeldOut
from harness.errors import BadInput
from harness.measure import sentinel
from harness.measure.profile import Profile
from harness.metrics import METRICS, State

#: The median error that is aimed at, and the coverage of 90 % intervals, on families that were held out.
TARGETS = {
    **dict.fromkeys(("packed_bytes", "unpacked_bytes"), 0.05),
    **dict.fromkeys(("cold_start_s", "peak_memory_bytes", "peak_resident_bytes"), 0.15),
}
COVERED = (0.85, 0.97)


class Fitter:
    """The laws of a study, fitted with or without a family of models; what was solved once is not solved again."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._fittings = _fittings(study)

    def calibration(self, *, without: str = "") -> Calibration:
        """Every law fitted to every method that the study has values of; BadInput where all models are of one family.

        ``without`` a family it is as if that had never been measured, and says nothing of its own quality.
        """
        study = self.study.without(without) if without else self.study
        left_out = frozenset([without]) if without else fitting.NONE
        fits = [
            found for key, one in self._fittings.items() if (found := _fit(*key, one, without=left_out)) is not None
        ]
        if not fits:
            known = sorted({profile.family for profile in study.profiles.values()})
            raise BadInput(
                f"the runs have models of {len(known)} family ({', '.join(known)}); how wrong a prediction is can only "
                "be learned from a family that was left out",
                remedy="measure models of at least two families ('harness run') and profile them ('harness profile')",
            )
        references = tuple(
            records.Reference(
                model=model, family=one.family, run_id=study.run_of[model], payload=one.payload, profile=one.digest
            )
            for model, one in sorted(study.profiles.items())
        )
        return Calibration(
            schema_version=records.SCHEMA_VERSION,
            harness_version=__version__,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            hosts=tuple(dict(host) for host in study.hosts),
            sentinel_s=study.sentinel_s,
            runs=study.sources,
            models=references,
            ranges=_ranges(list(study.profiles.values()), study.sentinel_s),
            fits=tuple(fits),
        )

    def simple(self, method: str, metric: str, state: State, *, without: str) -> float | None:
        """What the simple rule says without that family, the same for every model; None where nothing was measured."""
        one = self._fittings.get((method, metric, state))
        left_out = frozenset([without])
        point = next((point for point in one.points if point.family not in left_out), None) if one else None
        if one is None or point is None:
            return None
        last = len(one.laws) - 1
        return fitting.value_of(one.fitted(last, left_out), point.rows[last])


def fit(study: Study) -> Calibration:
    """The calibration of a study; see :class:`Fitter`."""
    return Fitter(study).calibration()


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How one metric was predicted over all methods, families left out whole.

    ``median_error`` is relative, ``simple_error`` that of the simple rule: the same value for every model. ``coverage``
    is the share of values inside a 90 % interval that was made without their family; None where too few families are
    left to make one. ``n`` counts cells, ``covered_of`` those with one.
    """

    metric: str
    state: State
    n: int
    families: int
    median_error: float
    simple_error: float
    largest_error: float
    coverage: float | None
    covered_of: int

    @property
    def met(self) -> bool | None:
        """Whether error and coverage are what is aimed at; None where nothing is aimed at."""
        if self.metric not in TARGETS:
            return None
        covered = self.coverage is not None and COVERED[0] <= self.coverage <= COVERED[1]
        return self.median_error <= TARGETS[self.metric] and covered


def validate(calibration: Calibration) -> list[Quality]:
    """The quality of every metric that is predicted, from the cells that were held out."""
    found = []
    for metric, state in laws.LAWS:
        fits = [fitted for fitted in calibration.fits if (fitted.metric, fitted.state) == (metric, state)]
        held = [one for fitted in fits for one in fitted.held_out]
        if held:
            found.append(quality(metric, state, held))
    return found


def quality(metric: str, state: State, held: Sequence[HeldOut]) -> Quality:
    """How well the metric was predicted in these cells, at least one."""
    errors = [abs(one.predicted / one.actual - 1.0) for one in held]
    inside = [one.low <= one.actual <= one.high for one in held if one.low is not None and one.high is not None]
    return Quality(
        metric=metric,
        state=state,
        n=len(held),
        families=len({one.family for one in held}),
        median_error=median(errors),
        simple_error=median(abs(one.simple / one.actual - 1.0) for one in held),
        largest_error=max(errors),
        coverage=sum(inside) / len(inside) if inside else None,
        covered_of=len(inside),
    )


def too_few(calibration: Calibration) -> str:
    """Why it is not fit to decide by, in a reader's words; empty where there are families enough."""
    count = len(calibration.families)
    if count >= fitting.ENOUGH_FAMILIES:
        return ""
    names = ", ".join(calibration.families)
    return (
        f"Fitted from {len(calibration.models)} models of {count} families ({names}). That is "
        f"too few to decide by: 90 % intervals that hold for any errors need {fitting.ENOUGH_FAMILIES} families. "
        "Until then they assume normal errors, and predictions are for a first look; 'harness run MODEL' measures."
    )


_Key = tuple[str, str, State]


def _fittings(study: Study) -> dict[_Key, Fitting]:
    """The points of every (method, metric, state), methods in the order in which they first occur."""
    found: dict[_Key, Fitting] = {}
    methods = list(dict.fromkeys(value.method for values in study.values.values() for value in values))
    for method in methods:
        for (metric, state), every in laws.LAWS.items():
            known = dict(measured(study, method, metric, state, sentinel_s=study.sentinel_s))
            # A profile may lack what a law needs: the plainest law says which models count, the others have to follow.
            rows = {model: [laws.row(study.profiles[model], law, study.sentinel_s) for law in every] for model in known}
            counting = [model for model in known if rows[model][0] is not None]
            usable = [place for place in range(len(every)) if all(rows[m][place] is not None for m in counting)]
            points = [
                Point(
                    model=model,
                    family=study.profiles[model].family,
                    rows=tuple(row for place in usable if (row := rows[model][place]) is not None),
                    actual=known[model],
                )
                for model in counting
            ]
            if points:
                chosen = [every[place] for place in usable]
                found[method, metric, state] = Fitting(chosen, points, negligible=laws.NEGLIGIBLE[metric])
    return found


def measured(study: Study, method: str, metric: str, state: State, *, sentinel_s: float) -> Iterator[tuple[str, float]]:
    """The models that it was measured of, and its median; seconds as where the sentinel always takes ``sentinel_s``."""
    for model, values in sorted(study.values.items()):
        for value in values:
            if (value.method, value.metric, value.state, value.limits) != (method, metric, state, "default"):
                continue
            # A relative error of nothing is not defined; no metric that has a law is 0 but by the clock's coarseness.
            if value.interval is not None and value.interval.median > 0:
                in_seconds = METRICS[metric].unit == "s"
                ratio = sentinel.pace(study.sentinels[model], sentinel_s) if in_seconds else 1.0
                yield model, value.interval.median * ratio


def _fit(method: str, metric: str, state: State, one: Fitting, *, without: frozenset[str]) -> Fit | None:
    spread = one.spread(without)
    if spread is None:
        return None
    place = one.chosen(without)
    found = zip(one.laws[place], one.fitted(place, without), strict=True)
    left = [point for point in one.points if point.family not in without]
    return Fit(
        method=method,
        metric=metric,
        state=state,
        coefficients=tuple(
            Coefficient(feature=term.feature, value=value, fitted=one.is_fitted(term)) for term, value in found
        ),
        factor=math.exp(spread),
        models=tuple(point.model for point in left),
        families=len({point.family for point in left}),
        held_out=() if without else tuple(_held_out(one)),
    )


def _held_out(one: Fitting) -> Iterator[HeldOut]:
    for point, forecast in one.held_out():
        yield HeldOut(
            model=point.model,
            family=point.family,
            actual=point.actual,
            predicted=forecast.value,
            simple=forecast.simple,
            low=forecast.low,
            high=forecast.high,
        )


def _ranges(profiles: Sequence[Profile], sentinel_s: float) -> dict[str, tuple[float, float]]:
    found = {}
    for name in laws.FEATURES:
        values = [value for one in profiles if (value := laws.amount(one, name, sentinel_s)) is not None]
        if values and name != laws.BASE:
            found[name] = (min(values), max(values))
    return found
