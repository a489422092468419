"""How good predictions and decisions are, from families of models that were left out whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.calibrate import fit
from harness.metrics import METRICS
from harness.recommend import validation
from harness.report import numbers
from harness.report.facts import Fact, identity

if TYPE_CHECKING:
    from harness.calibrate.records import Calibration, Decided

#: The targets of a chooser, in the order in which they are shown.
_SHARES = ("gap_closed", "top_1", "top_2")


@dataclass(frozen=True, kw_only=True)
class ErrorRow:
    """A metric: how wrong predictions were, and how many values lay inside their 90 % interval."""

    title: str
    state: str
    cells: Fact
    median_error: Fact
    simple_error: Fact
    largest_error: Fact
    coverage: Fact | None
    target: str


@dataclass(frozen=True, kw_only=True)
class DecisionRow:
    """A way of choosing: the value lost, the share of the gap that it closes, and how often it finds the best."""

    chooser: str
    cases: Fact
    regret: Fact
    shares: tuple[Fact | None, ...]
    targets: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CalibrationPart:
    """A calibration, by its digest, and its quality; ``caveat`` says where it is not fit to decide by."""

    digest: str
    created_at: str
    models: tuple[str, ...]
    families: tuple[str, ...]
    errors: tuple[ErrorRow, ...]
    decisions: tuple[DecisionRow, ...]
    caveat: str


def of(calibration: Calibration) -> CalibrationPart:
    """What a report says of the calibration."""
    return CalibrationPart(
        digest=calibration.digest,
        created_at=calibration.created_at,
        models=tuple(one.model for one in calibration.models),
        families=calibration.families,
        errors=tuple(_error(one) for one in fit.validate(calibration)),
        decisions=tuple(_decision(one) for one in calibration.decisions),
        caveat=fit.too_few(calibration),
    )


def _error(one: fit.Quality) -> ErrorRow:
    where = (one.metric, one.state)
    return ErrorRow(
        title=METRICS[one.metric].title,
        state=one.state,
        cells=_fact(one.n, str(one.n), *where, "cells"),
        median_error=_fact(one.median_error, f"{one.median_error:.1%}", *where, "median-error"),
        simple_error=_fact(one.simple_error, f"{one.simple_error:.0%}", *where, "simple-error"),
        largest_error=_fact(one.largest_error, f"{one.largest_error:.0%}", *where, "largest-error"),
        coverage=None if one.coverage is None else _fact(one.coverage, f"{one.coverage:.0%}", *where, "coverage"),
        target={True: "met", False: "not met", None: ""}[one.met],
    )


def _decision(one: Decided) -> DecisionRow:
    aimed = validation.TARGETS.get(one.chooser) or (None,) * len(_SHARES)
    values = [getattr(one, name) for name in _SHARES]
    return DecisionRow(
        chooser=one.chooser,
        cases=_fact(one.cases, f"{one.cases:,}", "decisions", one.chooser, "cases"),
        regret=_fact(one.regret, numbers.score(one.regret), "decisions", one.chooser, "regret"),
        shares=tuple(
            None if value is None else _fact(value, f"{value:.0%}", "decisions", one.chooser, name)
            for name, value in zip(_SHARES, values, strict=True)
        ),
        targets=tuple(
            "" if target is None or value is None else f"{'met' if value >= target else 'not met'}: {target:.0%}"
            for value, target in zip(values, aimed, strict=True)
        ),
    )


def _fact(value: float, shown: str, *where: str) -> Fact:
    return Fact(id=identity("calibration", *where), statistic="value", value=value, shown=shown)
