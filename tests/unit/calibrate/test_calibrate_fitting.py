"""Fitting: planted coefficients come back, none is negative, and intervals keep what they promise."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.calibrate import fitting
from harness.calibrate.fitting import Fitting, Forecast, Point
from harness.calibrate.laws import Law, Term

BASE = Term(feature="base", needs=1)
TERMS: Law = (
    BASE,
    Term(feature="all_bytes", needs=2, prior=1.0),
    Term(feature="own_bytes", needs=4, prior=1.0),
)
#: A law, and the simple rule; the same with a plainer law before it.
LAWS = (TERMS, (BASE,))
PLAIN = (TERMS[:2], TERMS, (BASE,))


def fitted(points: list[Point]) -> tuple[float, ...]:
    """The coefficients of :data:`TERMS`."""
    return Fitting(LAWS, points).fitted(0)


def forecast(points: list[Point], unseen: Point) -> Forecast:
    """What the law fitted to ``points`` says of another one."""
    found = Fitting(LAWS, points)
    return fitting.around(fitting.value_of(found.fitted(0), unseen.rows[0]), found.spread(), 0.0)


def points(
    planted: tuple[float, ...], *, families: int, each: int = 2, noise: float = 0.0, seed: int = 1
) -> list[Point]:
    """Points that follow ``planted``, with log-normal noise."""
    rng = random.Random(seed)
    made = []
    for family in range(families):
        for number in range(each):
            row = (1.0, math.exp(rng.uniform(10, 18)), math.exp(rng.uniform(8, 17)))
            actual = sum(one * feature for one, feature in zip(planted, row, strict=True)) * math.exp(
                rng.gauss(0, noise)
            )
            made.append(Point(model=f"m{family}-{number}", family=f"f{family}", rows=(row, row[:1]), actual=actual))
    return made


@pytest.mark.parametrize("planted", [(5e6, 1.2, 0.8), (0.0, 1.2, 0.8), (5e6, 0.0, 3.0), (5e6, 0.0, 0.0)])
def test_planted_coefficients_come_back(planted: tuple[float, ...]) -> None:
    """Without noise the fit is exact, also where terms are nothing."""
    found = fitted(points(planted, families=4))
    for got, expected in zip(found, planted, strict=True):
        assert got == pytest.approx(expected, rel=1e-6, abs=1e-6 * max(planted))


@settings(deadline=None, max_examples=200)
@given(
    rows=st.lists(st.tuples(*[st.one_of(st.just(0.0), st.floats(1e-3, 1e3))] * 3), min_size=1, max_size=8),
    targets=st.lists(st.floats(-10, 10), min_size=8, max_size=8),
)
def test_no_coefficient_is_negative_and_none_could_be_better(
    rows: list[tuple[float, ...]], targets: list[float]
) -> None:
    """It is the minimum: the conditions of Karush, Kuhn and Tucker hold, up to rounding."""
    wanted = targets[: len(rows)]
    found = fitting.not_negative(rows, wanted)
    assert min(found) >= 0

    def loss(x: list[float]) -> float:
        return sum(
            (sum(a * b for a, b in zip(row, x, strict=True)) - t) ** 2 for row, t in zip(rows, wanted, strict=True)
        )

    here = loss(found)
    for place in range(3):
        for step in (1e-3, -1e-3):
            moved = list(found)
            moved[place] = max(moved[place] + step * max(moved[place], 1.0), 0.0)
            assert loss(moved) >= here - 1e-6 * max(1.0, here)


def test_what_would_be_negative_is_nothing() -> None:
    """Values that fall with a feature are not explained by it."""
    falling = [
        Point(model=f"m{n}", family=f"f{n}", rows=((1.0, 1e6 * n, 0.0), (1.0,)), actual=100.0 - 10 * n)
        for n in range(1, 6)
    ]
    base, slope, _ = fitted(falling)
    assert slope == 0
    assert 50 < base < 90


def test_errors_are_relative() -> None:
    """A small model counts as much as a large one: doubling all units changes no relative error."""
    made = points((5e6, 1.2, 0.8), families=3, noise=0.1)
    doubled = [Point(model=p.model, family=p.family, rows=p.rows, actual=2 * p.actual) for p in made]
    one, other = fitted(made), fitted(doubled)
    assert [2 * value for value in one] == pytest.approx(other)


def test_one_model_that_is_unlike_the_others_does_not_bend_the_law() -> None:
    """What it measures is far off for itself; for the others it is as if it were hardly there."""
    made = points((5e6, 1.2, 0.8), families=8, noise=0.01)
    spoiled = [replace(p, actual=p.actual * (5 if p.model == "m3-0" else 1)) for p in made]
    for p, one, other in zip(made, *(predicted(each) for each in (made, spoiled)), strict=True):
        assert one == pytest.approx(p.actual, rel=0.04)
        assert other == pytest.approx(p.actual, rel=0.1)


def predicted(made: list[Point]) -> list[float]:
    """What the law that is fitted to the points says of them."""
    found = fitted(made)
    return [fitting.value_of(found, p.rows[0]) for p in made]


def test_little_is_little() -> None:
    """Where a megabyte is negligible, a file of some kilobytes has no say in the law, and a wide interval no use."""
    tiny = Point(model="tiny", family="tiny", rows=((1.0, 0.0, 0.0), (1.0,)), actual=2e4)
    made = [*points((5e5, 1.2, 0.8), families=8), tiny]
    strict, lenient = Fitting(LAWS, made), Fitting(LAWS, made, negligible=1e6)
    assert lenient.fitted(0)[1:] == pytest.approx((1.2, 0.8), rel=0.1)
    wide, narrow = strict.spread(), lenient.spread()
    assert wide is not None
    assert narrow is not None
    assert narrow < wide
    around = fitting.around(2e4, math.log(2), negligible=1e6)
    assert (around.low, around.high) == (0.0, pytest.approx(1.04e6))


def test_a_term_with_too_few_models_keeps_its_prior() -> None:
    """With one model only the base is fitted, with two the slope as well, with four all."""
    made = points((5e6, 1.2, 0.8), families=4, each=1)
    base, *kept = fitted(made[:1])
    assert kept == [1.0, 1.0]
    assert base == pytest.approx(max(made[0].actual - made[0].rows[0][1] - made[0].rows[0][2], 0.0))
    assert fitted(made[:2])[2] == 1.0
    assert fitted(made) == pytest.approx((5e6, 1.2, 0.8))


def test_families_are_held_out_whole() -> None:
    """What is predicted of a model does not depend on anything of its family."""
    made = points((5e6, 1.2, 0.8), families=4, noise=0.2)
    before = {point.model: found for point, found in Fitting(LAWS, made).held_out()}
    spoiled = [
        Point(model=p.model, family=p.family, rows=p.rows, actual=p.actual * 50 if p.family == "f2" else p.actual)
        for p in made
    ]
    after = {point.model: found for point, found in Fitting(LAWS, spoiled).held_out()}
    for model in ("m2-0", "m2-1"):
        assert after[model] == before[model]
    assert after["m0-0"] != before["m0-0"]


def choosing(planted: tuple[float, ...], *, families: int, noise: float = 0.0) -> Fitting:
    """A plain law, one with a further term, and the simple rule."""
    made = points(planted, families=families, noise=noise)
    rows = [(p.rows[0][:2], p.rows[0], (1.0,)) for p in made]
    return Fitting(PLAIN, [replace(p, rows=row) for p, row in zip(made, rows, strict=True)])


def test_a_further_term_has_to_earn_its_place() -> None:
    """It is taken where it predicts unseen families better, and not where it only fits better."""
    assert choosing((5e6, 1.2, 0.8), families=8).chosen() == 1
    assert choosing((5e6, 1.2, 0.0), families=8, noise=0.2).chosen() == 0
    assert choosing((5e6, 1.2, 0.8), families=fitting.ENOUGH_TO_CHOOSE - 1).chosen() == 0


def test_what_predicts_worse_than_the_simple_rule_is_not_shipped() -> None:
    """Values that have nothing to do with any feature are taken to be the same for every model."""
    found = choosing((5e6, 0.0, 0.0), families=10, noise=0.3)
    rng = random.Random(3)
    shuffled = [replace(p, actual=math.exp(rng.gauss(3, 0.1))) for p in found.points]
    alone = Fitting(PLAIN, shuffled)
    assert all(slope == 0 for slope in alone.fitted(alone.chosen())[1:])


def test_the_choice_is_made_without_the_family_that_is_held_out() -> None:
    """Whatever a family measures, the law that predicts it is the same."""
    one = choosing((5e6, 1.2, 0.8), families=8, noise=0.1)
    spoiled = Fitting(PLAIN, [replace(p, actual=p.actual * (99 if p.family == "f2" else 1)) for p in one.points])
    for found in (one, spoiled):
        assert found.chosen(frozenset(["f2"])) == one.chosen(frozenset(["f2"]))
    before, after = dict(one.held_out()), dict(spoiled.held_out())
    told = {p.model: forecast for p, forecast in after.items()}
    assert all(told[p.model] == forecast for p, forecast in before.items() if p.family == "f2")


@pytest.mark.parametrize("families", [4, 8, 12])
def test_intervals_contain_what_is_planted(families: int) -> None:
    """Of models that were not seen, about 90 % or more lie in the interval, whatever the number of families."""
    inside = []
    for seed in range(150):
        made = points((5e6, 1.2, 0.8), families=families + 1, each=1, noise=0.2, seed=seed)
        unseen, seen = made[0], made[1:]
        found = forecast(seen, unseen)
        assert found.low is not None
        assert found.high is not None
        inside.append(found.low <= unseen.actual <= found.high)
    assert sum(inside) / len(inside) >= 0.85


def test_an_interval_needs_two_families() -> None:
    """How wrong it is can only be seen on a family that was left out."""
    made = points((5e6, 1.2, 0.8), families=1, each=5)
    assert Fitting(LAWS, made).spread() is None
    assert list(Fitting(LAWS, made).held_out()) == []
    assert forecast(made, made[0]).low is None
    two = points((5e6, 1.2, 0.8), families=2, each=2)
    assert Fitting(LAWS, two).spread() is not None
    assert all(found.low is None for _, found in Fitting(LAWS, two).held_out())


def test_agreement_to_the_digit_is_not_certainty() -> None:
    """No interval is narrower than 1 %, and none is wider than a factor of 100."""
    assert Fitting(LAWS, points((5e6, 1.2, 0.8), families=5)).spread() == pytest.approx(0.01)
    wild = [
        Point(model=f"m{n}", family=f"f{n}", rows=((1.0, 0.0, 0.0), (1.0,)), actual=10.0 ** (4 * n)) for n in range(4)
    ]
    assert Fitting(LAWS, wild).spread() == pytest.approx(math.log(100))


@pytest.mark.parametrize("count", sorted(fitting.WIDENED))
def test_the_widening_covers_90_percent_of_normal_errors(count: int) -> None:
    """The factors are what the integral over the largest of n absolute normal errors gives."""
    steps, end = 4000, 8.0
    covered = 0.0
    for step in range(steps):
        m = (step + 0.5) * end / steps
        density = count * math.erf(m / math.sqrt(2)) ** (count - 1) * math.sqrt(2 / math.pi) * math.exp(-m * m / 2)
        covered += math.erf(fitting.WIDENED[count] * m / math.sqrt(2)) * density * end / steps
    assert covered == pytest.approx(0.9, abs=0.003)
    assert covered >= 0.8995


def test_with_enough_families_the_interval_is_conformal() -> None:
    """From nine families on it reaches to the ceil(0.9 (n + 1))-th smallest score, without assuming a distribution."""
    scores = [float(n) for n in range(1, 20)]
    assert fitting._reach(scores[:9]) == 9
    assert fitting._reach(scores) == 18
    assert fitting._reach(scores[:8]) == pytest.approx(8 * 1.04)
