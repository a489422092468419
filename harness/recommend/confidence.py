"""How sure the order is: measurements and weights are drawn again and again, and who is best is counted.

Measurements: whole rounds are resampled with replacement, the same rounds for every value that was
taken in the same rounds. So what a slow moment of the machine did to all methods of a round stays
together, as in the paired comparison of METHODOLOGY, rule 7.

Weights: a Dirichlet distribution whose mean is the scenario's weights. ``CONCENTRATION`` = 50 gives a
weight of 0.2 a standard deviation of sqrt(0.2 * 0.8 / 51) = 0.056: who says 0.2 is taken to mean
something from 0.1 to 0.3. A weight of 0 stays 0.

Every draw has a fixed seed that depends on nothing but the rounds, so the same samples give the same
digits, and a method's draws do not change with who else is compared.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter, mul
from typing import TYPE_CHECKING

from harness.bootstrap import SEED
from harness.recommend.value import worth

if TYPE_CHECKING:
    from harness.recommend.value import Score
    from harness.spec.scenario import Objective
    from harness.store.query import Evidence

RESAMPLES = 1000
CONCENTRATION = 50.0

#: How probable "best" must be before it is said without "tie".
SURE = 0.8

#: Values closer than this are equal: the rest is rounding of floats.
_EQUAL = 1e-12


#: Picks the values of the drawn rounds.
_Pick = Callable[[Sequence[float]], tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """How one method fared in the draws.

    ``p_best`` with both measurements and weights drawn; ``p_best_as_weighed`` with the scenario's own
    weights, so that the difference shows what is owed to taste and what to noise. ``low`` and ``high``
    are the 95 % interval of the value under the scenario's own weights. ``gain`` is how much value is to be expected
    from knowing this method's exactly before deciding (the value of perfect information, Howard, *Information Value
    Theory* (1966)): it is what measuring it, or more often, could bring at most.
    """

    method: str
    p_best: float
    p_best_as_weighed: float
    low: float
    high: float
    gain: float


def resample(evidence: Evidence, scores: Sequence[Score], objectives: Sequence[Objective]) -> dict[str, Confidence]:
    """The confidence in each of ``scores``, by method; empty where there is none."""
    if not scores:
        return {}
    drawn = _Rounds()
    worths = [_worths(evidence, score, objectives, drawn) for score in scores]
    stated = [item.weight for item in scores[0].contributions]
    as_weighed = [[math.fsum(map(mul, stated, row)) for row in rows] for rows in worths]
    weights = _weights(stated)
    varied = [[math.fsum(map(mul, w, row)) for w, row in zip(weights, rows, strict=True)] for rows in worths]
    means = [math.fsum(values) / RESAMPLES for values in as_weighed]
    found: dict[str, Confidence] = {}
    for score, values, p_varied, p_stated in zip(scores, as_weighed, _wins(varied), _wins(as_weighed), strict=True):
        ordered = sorted(values)
        found[score.method] = Confidence(
            method=score.method,
            p_best=p_varied,
            p_best_as_weighed=p_stated,
            low=ordered[math.floor(0.025 * (RESAMPLES - 1))],
            high=ordered[math.ceil(0.975 * (RESAMPLES - 1))],
            gain=_gain(len(found), as_weighed, means),
        )
    return found


def _gain(place: int, drawn: Sequence[Sequence[float]], means: Sequence[float]) -> float:
    """The mean of the better of this method and the best other, over the draws, less the better of the means."""
    rival = max((mean for other, mean in enumerate(means) if other != place), default=means[place])
    known = math.fsum(max(value, rival) for value in drawn[place]) / RESAMPLES
    return max(known - max(means[place], rival), 0.0)


def tied(winner: str, confidences: Mapping[str, Confidence]) -> tuple[str, ...]:
    """The methods that cannot be told apart from the winner: empty where it is best with ``SURE`` probability.

    Else the fewest methods, most probable first, one of which is the best with that probability; the
    winner, which has the highest value at the medians, is always among them and comes first.
    """
    if confidences[winner].p_best >= SURE - _EQUAL:
        return ()
    rivals = sorted((c for c in confidences.values() if c.method != winner), key=lambda c: (-c.p_best, c.method))
    names, covered = [winner], confidences[winner].p_best
    for rival in rivals:
        if covered >= SURE - _EQUAL:
            break
        names.append(rival.method)
        covered += rival.p_best
    return tuple(names)


class _Rounds:
    """Resampled rounds: for each set of rounds, the same draws however often they are asked for."""

    def __init__(self) -> None:
        self._drawn: dict[tuple[int, ...], list[_Pick]] = {}

    def medians(self, by_round: Mapping[int, float]) -> list[float]:
        """``RESAMPLES`` medians of ``by_round``, each over as many rounds as it has, drawn with replacement."""
        rounds = tuple(sorted(by_round))
        values = [by_round[number] for number in rounds]
        if len(set(values)) == 1:
            return [values[0]] * RESAMPLES
        size = len(rounds)
        upper, lower = size // 2, (size - 1) // 2
        medians = []
        for pick in self._draws(rounds):
            ordered = sorted(pick(values))
            medians.append((ordered[lower] + ordered[upper]) / 2)
        return medians

    def _draws(self, rounds: tuple[int, ...]) -> list[_Pick]:
        if rounds not in self._drawn:
            rng = random.Random(f"{SEED} rounds {rounds}")
            places = range(len(rounds))
            # An itemgetter of one place gives no tuple; one round alone has no spread and never gets here.
            self._drawn[rounds] = [itemgetter(*rng.choices(places, k=len(rounds))) for _ in range(RESAMPLES)]
        return self._drawn[rounds]


def _worths(
    evidence: Evidence, score: Score, objectives: Sequence[Objective], drawn: _Rounds
) -> list[tuple[float, ...]]:
    """One row of worths, objective by objective, for each draw of the measurements."""
    columns = []
    for objective in objectives:
        value = evidence.value(score.method, objective.metric, objective.state)
        if value is None or value.interval is None or not value.by_round:
            columns.append([0.0] * RESAMPLES)
            continue
        medians = drawn.medians(value.by_round)
        known = {median: worth(median, objective) for median in set(medians)}
        columns.append([known[median] for median in medians])
    return list(zip(*columns, strict=True))


def _weights(stated: Sequence[float]) -> list[list[float]]:
    """Draws of the weights around ``stated``, each adding up to 1."""
    rng = random.Random(f"{SEED} weights")
    draws = []
    for _ in range(RESAMPLES):
        gammas = [rng.gammavariate(CONCENTRATION * weight, 1.0) if weight > 0 else 0.0 for weight in stated]
        total = math.fsum(gammas)
        draws.append([gamma / total for gamma in gammas] if total else list(stated))
    return draws


def _wins(values: Sequence[Sequence[float]]) -> list[float]:
    """The share of draws in which each is best; a draw with several equal best is shared among them."""
    wins = [0.0] * len(values)
    for draw in zip(*values, strict=True):
        best = max(draw) - _EQUAL
        leaders = [place for place, value in enumerate(draw) if value >= best]
        for place in leaders:
            wins[place] += 1 / len(leaders)
    return [won / RESAMPLES for won in wins]
