"""A second aggregation, to see whether the order is owed to the way in which worths are added up.

TOPSIS (Hwang and Yoon, *Multiple Attribute Decision Making* (1981)) ranks by closeness to an ideal: with weights w and
worths x, the distance to the ideal is d+ = sqrt(sum (w (1 - x))^2), that to its opposite d- = sqrt(sum (w x)^2), and
the closeness d- / (d+ + d-). The scales here are the scenario's fixed ones, so the ideal is worth 1 at everything and
its opposite 0, whoever else is compared; TOPSIS as published takes both from the pool, and then an option that nobody
would choose can reorder the others.

Adding up lets a strength make up for a weakness without end. Distances do less: what is far behind at one thing stays
behind.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.recommend import words

if TYPE_CHECKING:
    from harness.recommend.value import Score


@dataclass(frozen=True, kw_only=True)
class SecondOpinion:
    """What TOPSIS makes of the same worths and weights.

    ``closeness`` is in [0, 1], by method, best first. ``swapped`` are pairs of neighbours in the order of values that
    stand the other way round here, the better by value first.
    """

    closeness: tuple[tuple[str, float], ...]
    winner: str
    agrees: bool
    swapped: tuple[tuple[str, str], ...]
    text: str


def closeness(score: Score) -> float:
    """How close a method is to what is worth 1 at everything."""
    ahead = math.hypot(*(item.weight * item.worth for item in score.contributions))
    behind = math.hypot(*(item.weight * (1 - item.worth) for item in score.contributions))
    return ahead / (ahead + behind) if ahead + behind else 0.0


def opinion(ranked: Sequence[Score], tie: Sequence[str]) -> SecondOpinion | None:
    """Of methods in the order of their values, ``tie`` being those that cannot be told apart; None of none."""
    if not ranked:
        return None
    close = {score.method: closeness(score) for score in ranked}
    order = sorted(close, key=lambda name: (-close[name], [score.method for score in ranked].index(name)))
    pairs = [(one.method, other.method) for one, other in itertools.pairwise(ranked)]
    swapped = tuple((one, other) for one, other in pairs if close[one] < close[other])
    first, winner = ranked[0].method, order[0]
    agrees = winner == first or winner in tie
    return SecondOpinion(
        closeness=tuple((name, close[name]) for name in order),
        winner=winner,
        agrees=agrees,
        swapped=swapped,
        text=_text(first, winner, tie, swapped),
    )


def _text(first: str, winner: str, tie: Sequence[str], swapped: Sequence[tuple[str, str]]) -> str:
    if winner == first:
        if not swapped:
            return "By distance to the ideal (TOPSIS) the order is the same"
        told = words.listing(f"{one} and {other}" for one, other in swapped)
        return f"By distance to the ideal (TOPSIS) {winner} is first as well; further down it swaps {told}"
    if winner in tie:
        return f"By distance to the ideal (TOPSIS) {winner} is first, which shares the tie with {first}"
    return (
        f"By distance to the ideal (TOPSIS) {winner} is first, not {first}: "
        "it depends on whether a strength may make up for a weakness"
    )
