"""Fitting a law to points: least squares of relative errors, no coefficient below zero, and honest intervals.

A method cannot make a model smaller or faster by its bytes, so coefficients are not negative. With at most three
terms the exact solution needs no iteration: it is the unconstrained one of *some* subset of the terms (Lawson and
Hanson, *Solving Least Squares Problems* (1974), ch. 23), so all of the at most seven subsets are solved and the best
that is not negative is taken.

The interval is of factors (it is computed on logarithms) and comes from families that were held out, never from the
fit's own residuals. The score of a family is its worst error when the law is fitted without it. With nine families
or more, the interval reaches to the ceil(0.9 (n + 1))-th smallest score, which covers a new family with 90 %
probability whatever the errors' distribution (split conformal prediction, Vovk et al. 2005; families take the place
of rows). Fewer families can't say that: of three, the largest error is exceeded by a fourth one time in four. Then
the interval reaches to the largest score times ``WIDENED[n]``, which covers 90 % if errors are normal.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.calibrate.laws import Term

#: The coverage that intervals aim at.
COVERAGE = 0.9

#: What the largest of n absolute normal errors is multiplied with to cover 90 % of the next: E[P(|Z| <= f max)] = 0.9.
WIDENED = {1: 6.32, 2: 2.33, 3: 1.67, 4: 1.40, 5: 1.26, 6: 1.16, 7: 1.10, 8: 1.04}

#: Families from which on the interval is conformal.
ENOUGH_FAMILIES = 9

#: No interval is narrower than 1 % either way: what agreed so far to the digit may still differ by that.
_NARROWEST = 0.01

#: An error is counted as at most a factor of 100, so that a prediction of nothing doesn't make it infinite; and an
#: interval that reaches as far either way says that nothing is known.
_WORST = math.log(100.0)

_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class Point:
    """One reference model: its features, term by term, and what was measured (above zero)."""

    model: str
    family: str
    row: tuple[float, ...]
    actual: float


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What is predicted, and the ends of the 90 % interval; no ends where fewer than two families are behind it."""

    value: float
    low: float | None
    high: float | None


def families(points: Sequence[Point]) -> list[str]:
    """Their families, sorted."""
    return sorted({point.family for point in points})


def is_fitted(term: Term, points: Sequence[Point]) -> bool:
    """Whether there are enough models for the term's coefficient to be fitted; else it is the term's prior."""
    return len({point.model for point in points}) >= term.needs


def coefficients(points: Sequence[Point], terms: Sequence[Term]) -> tuple[float, ...]:
    """The coefficients that make the sum of squared relative errors smallest, none below zero."""
    free = [place for place, term in enumerate(terms) if is_fitted(term, points)]
    kept = {place: term.prior for place, term in enumerate(terms) if place not in free}
    rows, targets = [], []
    for point in points:
        known = math.fsum(prior * point.row[place] for place, prior in kept.items())
        rows.append([point.row[place] / point.actual for place in free])
        targets.append((point.actual - known) / point.actual)
    fitted = dict(zip(free, not_negative(rows, targets), strict=True))
    return tuple(fitted.get(place, kept.get(place, 0.0)) for place in range(len(terms)))


def not_negative(rows: Sequence[Sequence[float]], targets: Sequence[float]) -> list[float]:
    """The x >= 0 that makes the sum of (row . x - target)^2 smallest, by solving every subset of columns."""
    width = len(rows[0])
    scales = [max(abs(row[column]) for row in rows) or 1.0 for column in range(width)]
    scaled = [[value / scale for value, scale in zip(row, scales, strict=True)] for row in rows]
    gram = [[math.fsum(row[i] * row[j] for row in scaled) for j in range(width)] for i in range(width)]
    moment = [math.fsum(row[i] * target for row, target in zip(scaled, targets, strict=True)) for i in range(width)]
    best, found = 0.0, [0.0] * width  # nothing at all has a loss of sum(target^2); what follows is relative to it
    for size in range(1, width + 1):
        for columns in itertools.combinations(range(width), size):
            solved = _solve([[gram[i][j] for j in columns] for i in columns], [moment[i] for i in columns])
            if solved is None or min(solved) < -_TINY:
                continue
            gain = math.fsum(value * moment[column] for value, column in zip(solved, columns, strict=True))
            if gain > best + _TINY * max(1.0, best):
                best = gain
                found = [0.0] * width
                for value, column in zip(solved, columns, strict=True):
                    found[column] = max(value, 0.0) / scales[column]
    return found


def value_of(coefficients: Sequence[float], row: Sequence[float]) -> float:
    """The law's value."""
    return math.fsum(one * feature for one, feature in zip(coefficients, row, strict=True))


def spread(points: Sequence[Point], terms: Sequence[Term]) -> float | None:
    """Half the interval's width on logarithms; None where there are fewer than two families."""
    scores = []
    for held, rest in _without_each_family(points):
        fitted = coefficients(rest, terms)
        scores.append(max(_error(value_of(fitted, point.row), point.actual) for point in held))
    if not scores:
        return None
    return min(max(_reach(sorted(scores)), _NARROWEST), _WORST)


def forecast(points: Sequence[Point], terms: Sequence[Term], row: Sequence[float]) -> Forecast:
    """What the law fitted to ``points`` says of ``row``."""
    return _around(value_of(coefficients(points, terms), row), spread(points, terms))


def held_out(points: Sequence[Point], terms: Sequence[Term]) -> Iterator[tuple[Point, Forecast]]:
    """Every point, predicted by a law and an interval that saw nothing of its family."""
    for held, rest in _without_each_family(points):
        fitted, reach = coefficients(rest, terms), spread(rest, terms)
        for point in held:
            yield point, _around(value_of(fitted, point.row), reach)


def _around(value: float, reach: float | None) -> Forecast:
    if reach is None:
        return Forecast(value=value, low=None, high=None)
    return Forecast(value=value, low=value * math.exp(-reach), high=value * math.exp(reach))


def _without_each_family(points: Sequence[Point]) -> Iterator[tuple[list[Point], list[Point]]]:
    names = families(points)
    if len(names) < 2:  # noqa: PLR2004 -- one to hold out, one to fit
        return
    for family in names:
        yield [p for p in points if p.family == family], [p for p in points if p.family != family]


def _reach(scores: Sequence[float]) -> float:
    """From sorted scores, one for each family, to half the width."""
    count = len(scores)
    if count < ENOUGH_FAMILIES:
        return scores[-1] * WIDENED[count]
    return scores[math.ceil(COVERAGE * (count + 1)) - 1]


def _error(predicted: float, actual: float) -> float:
    if predicted <= 0:
        return _WORST
    return min(abs(math.log(predicted / actual)), _WORST)


def _solve(matrix: list[list[float]], right: list[float]) -> list[float] | None:
    """The solution of a small symmetric system, by Gaussian elimination with pivoting; None where it has no one."""
    size = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    largest = max(abs(value) for row in matrix for value in row)
    for column in range(size):
        pivot = max(range(column, size), key=lambda place: abs(rows[place][column]))
        if abs(rows[pivot][column]) <= _TINY * largest:
            return None
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for place in range(column + 1, size):
            factor = rows[place][column] / rows[column][column]
            rows[place] = [a - factor * b for a, b in zip(rows[place], rows[column], strict=True)]
    solution = [0.0] * size
    for column in reversed(range(size)):
        rest = math.fsum(rows[column][place] * solution[place] for place in range(column + 1, size))
        solution[column] = (rows[column][size] - rest) / rows[column][column]
    return solution
