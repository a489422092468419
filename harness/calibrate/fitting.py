"""Fitting laws to points: least squares of relative errors, no coefficient below zero, and honest intervals.

An error is relative to the value and what is negligible of the metric, so that a file of some kilobytes does not count
a hundredfold for a megabyte too much. One model that is unlike all others (images take along the system's libraries for
it) must not bend the law for them: errors beyond :data:`OUTLYING` count by their size, not by its square (Huber,
*Robust Estimation of a Location Parameter* (1964)).

A method cannot make a model smaller or faster by its bytes, so coefficients are not negative. With at most four
terms the exact solution needs no iteration: it is the unconstrained one of *some* subset of the terms (Lawson and
Hanson, *Solving Least Squares Problems* (1974), ch. 23), so all of the at most fifteen subsets are solved and the best
that is not negative is taken.

Of several laws the plainest is taken, unless another predicts families that it was not fitted to clearly better
(:data:`EARNED`). The base alone is one of the laws: what predicts worse than the same value for every model is not
shipped. Wherever a family is held out, the choice too is made without it.

The interval is of factors (it is computed on logarithms, of the value and what is negligible) and comes from families
that were held out, never from the fit's own residuals. The score of a family is its worst error when the law is fitted
without it. With nine families or more, the interval reaches to the ceil(0.9 (n + 1))-th smallest score, which covers a
new family with 90 % probability whatever the errors' distribution (split conformal prediction, Vovk et al. 2005;
families take the place of rows). Fewer families can't say that: of three, the largest error is exceeded by a fourth
one time in four. Then the interval reaches to the largest score times ``WIDENED[n]``, which covers 90 % if errors are
normal.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.calibrate.laws import Law, Term

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

#: Families from which on one law is chosen among several; with fewer, errors on them say too little.
ENOUGH_TO_CHOOSE = 5

#: A law earns the place of a plainer one with at most this share of its error.
EARNED = 0.95

#: A relative error beyond this is an outlier's; noise of starts is of this order.
OUTLYING = 0.1
_AGAIN = 8

#: No family is left out.
NONE: frozenset[str] = frozenset()

_TINY = 1e-12
_TWO = 2  # families: one to hold out, one to fit


@dataclass(frozen=True, kw_only=True)
class Point:
    """One reference model: its features, law by law and term by term, and what was measured (above zero)."""

    model: str
    family: str
    rows: tuple[tuple[float, ...], ...]
    actual: float


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What is predicted, and the ends of the 90 % interval; no ends where fewer than two families are behind it.

    ``simple`` is what the simple rule says: the same for every model.
    """

    value: float
    low: float | None
    high: float | None
    simple: float


class Fitting:
    """The laws of one metric of one method, and the models that it was measured of; nothing is solved twice.

    ``laws`` has the plainest first. ``without`` are families that a question is asked as if they had never been seen.
    """

    def __init__(self, laws: Sequence[Law], points: Sequence[Point], *, negligible: float = 0.0) -> None:
        self.laws, self.points, self.negligible = tuple(laws), tuple(points), negligible
        self.families = sorted({point.family for point in points})
        self._solved: dict[tuple[int, frozenset[str]], tuple[float, ...]] = {}
        self._chosen: dict[frozenset[str], int] = {}

    def fitted(self, law: int, without: frozenset[str] = NONE) -> tuple[float, ...]:
        """The coefficients of a law that make the sum of squared relative errors smallest, none below zero."""
        key = law, without
        if key not in self._solved:
            points = [point for point in self.points if point.family not in without]
            known = [(p.rows[law], p.actual) for p in points]
            self._solved[key] = coefficients(known, self.laws[law], negligible=self.negligible)
        return self._solved[key]

    def is_fitted(self, term: Term) -> bool:
        """Whether there are enough models for the term's coefficient to be fitted; else it is the term's prior."""
        return len(self.points) >= term.needs

    def chosen(self, without: frozenset[str] = NONE) -> int:
        """Which law predicts held-out families best, by the mean over them of their mean error."""
        if without not in self._chosen:
            self._chosen[without] = self._choose(without)
        return self._chosen[without]

    def _choose(self, without: frozenset[str]) -> int:
        if len(self._left(without)) < ENOUGH_TO_CHOOSE:
            return 0
        best, least = 0, self._mean_error(0, without)
        for law in range(1, len(self.laws)):
            error = self._mean_error(law, without)
            if error < EARNED * least:
                best, least = law, error
        return best

    def spread(self, without: frozenset[str] = NONE) -> float | None:
        """Half the interval's width on logarithms; None where there are fewer than two families."""
        scores = [max(errors) for errors in self._errors(self.chosen(without), without)]
        if not scores:
            return None
        return min(max(_reach(sorted(scores)), _NARROWEST), _WORST)

    def held_out(self) -> Iterator[tuple[Point, Forecast]]:
        """Every point, predicted by a law and an interval that saw nothing of its family."""
        if len(self.families) < _TWO:
            return
        for family in self.families:
            without = frozenset([family])
            law, reach = self.chosen(without), self.spread(without)
            for point in self.points:
                if point.family == family:
                    value = value_of(self.fitted(law, without), point.rows[law])
                    last = len(self.laws) - 1
                    simple = value_of(self.fitted(last, without), point.rows[last])
                    yield point, around(value, reach, simple, negligible=self.negligible)

    def _left(self, without: frozenset[str]) -> list[str]:
        return [family for family in self.families if family not in without]

    def _mean_error(self, law: int, without: frozenset[str]) -> float:
        means = [math.fsum(errors) / len(errors) for errors in self._errors(law, without)]
        return math.fsum(means) / len(means)

    def _errors(self, law: int, without: frozenset[str]) -> Iterator[list[float]]:
        """For each family that is left, the errors of its models when the law is fitted without it."""
        left = self._left(without)
        if len(left) < _TWO:
            return
        for family in left:
            fitted = self.fitted(law, without | {family})
            held = [point for point in self.points if point.family == family]
            yield [self._error(value_of(fitted, point.rows[law]), point.actual) for point in held]

    def _error(self, predicted: float, actual: float) -> float:
        one, other = predicted + self.negligible, actual + self.negligible
        return min(abs(math.log(one / other)), _WORST) if one > 0 else _WORST


def coefficients(
    points: Sequence[tuple[tuple[float, ...], float]], law: Law, *, negligible: float = 0.0
) -> tuple[float, ...]:
    """The coefficients for (row, actual) points; where there are too few for a term, its prior."""
    free = [place for place, term in enumerate(law) if len(points) >= term.needs]
    kept = {place: term.prior for place, term in enumerate(law) if place not in free}
    rows, targets = [], []
    for row, actual in points:
        known = math.fsum(prior * row[place] for place, prior in kept.items())
        scale = actual + negligible
        rows.append([row[place] / scale for place in free])
        targets.append((actual - known) / scale)
    fitted = dict(zip(free, _robust(rows, targets), strict=True))
    return tuple(fitted.get(place, kept.get(place, 0.0)) for place in range(len(law)))


def _robust(rows: Sequence[Sequence[float]], targets: Sequence[float]) -> list[float]:
    """Least squares that is done again with less weight for what lies far off, until nothing new does (Huber)."""
    found = not_negative(rows, targets)
    for _ in range(_AGAIN):
        errors = [abs(value_of(found, row) - target) for row, target in zip(rows, targets, strict=True)]
        if max(errors) <= OUTLYING:
            break
        # The square root, because the sum that is made smallest has the square of each row.
        weights = [math.sqrt(min(1.0, OUTLYING / error)) if error else 1.0 for error in errors]
        weighted = [[weight * value for value in row] for weight, row in zip(weights, rows, strict=True)]
        again = not_negative(weighted, [weight * target for weight, target in zip(weights, targets, strict=True)])
        if all(math.isclose(one, other, rel_tol=1e-4) for one, other in zip(found, again, strict=True)):
            return again
        found = again
    return found


def not_negative(rows: Sequence[Sequence[float]], targets: Sequence[float]) -> list[float]:
    """The x >= 0 that makes the sum of (row . x - target)^2 smallest, by solving every subset of columns."""
    width = len(rows[0])
    scales = [max(abs(row[column]) for row in rows) or 1.0 for column in range(width)]
    scaled = [[value / scale for value, scale in zip(row, scales, strict=True)] for row in rows]
    gram = [[math.fsum(row[i] * row[j] for row in scaled) for j in range(width)] for i in range(width)]
    moment = [math.fsum(row[i] * target for row, target in zip(scaled, targets, strict=True)) for i in range(width)]
    whole = _solve(gram, moment)
    if whole is not None and min(whole) >= 0:
        return [value / scale for value, scale in zip(whole, scales, strict=True)]
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


def around(value: float, reach: float | None, simple: float = 0.0, *, negligible: float = 0.0) -> Forecast:
    """The value with the ends of its interval, none of them below zero; ``reach`` is half its width on logarithms."""
    if reach is None:
        return Forecast(value=value, low=None, high=None, simple=simple)
    low, high = ((value + negligible) * math.exp(sign * reach) - negligible for sign in (-1, 1))
    return Forecast(value=value, low=max(low, 0.0), high=high, simple=simple)


def _reach(scores: Sequence[float]) -> float:
    """From sorted scores, one for each family, to half the width."""
    count = len(scores)
    if count < ENOUGH_FAMILIES:
        return scores[-1] * WIDENED[count]
    return scores[math.ceil(COVERAGE * (count + 1)) - 1]


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
