"""Why the winner wins, and what would have to be different for another to win.

The contributions of each criterion are in the scores. Here: the weight of each criterion at which
the winner and a rival swap, the hard limits that keep a better method out, and what a reader must
know about the numbers before relying on them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.bootstrap import FEWEST
from harness.metrics import METRICS
from harness.recommend import words
from harness.recommend.confidence import SURE
from harness.recommend.limits import Doubt

if TYPE_CHECKING:
    from harness.recommend.confidence import Confidence
    from harness.recommend.engine import Option
    from harness.recommend.limits import Exclusion
    from harness.recommend.value import Contribution, Score
    from harness.spec.scenario import Scenario


#: What knowing a method's value exactly must be expected to bring, to be told; values go from 0 to 1.
_WORTH_TELLING = 0.001
_MOST_TOLD = 3


@dataclass(frozen=True, kw_only=True)
class Flip:
    """One criterion, and the weight at which ``rival`` draws level with the winner; beyond it, it leads.

    Weights are shares of the whole; when one is moved, the others keep their proportions. ``at`` is None
    where no weight from 0 to 1 puts the rival ahead. ``side`` says on which side of ``at`` it does.
    """

    metric: str
    state: str
    rival: str
    weight: float
    at: float | None
    side: Literal["above", "below"] | None
    text: str


@dataclass(frozen=True, kw_only=True)
class Relaxation:
    """A method that would lead, were it not for the hard limits named in ``rules`` (rule and subject)."""

    method: str
    value: float
    rules: tuple[tuple[str, str], ...]
    text: str


def flips(winner: Score, rival: Score) -> tuple[Flip, ...]:
    """For each criterion, the weight at which ``rival`` overtakes ``winner``.

    With d the difference in worth and S the weighted mean of d over the other criteria, the lead at weight
    t is t d + (1 - t) S. It is 0 at t = S / (S - d), and changes sign in [0, 1] just when S and d have
    opposite signs.
    """
    mine, theirs = winner.contributions, rival.contributions
    gaps = [one.worth - other.worth for one, other in zip(mine, theirs, strict=True)]
    found = []
    for index, item in enumerate(mine):
        others = [place for place in range(len(gaps)) if place != index]
        rest = math.fsum(mine[place].weight for place in others)
        total = math.fsum(mine[place].weight * gaps[place] for place in others)
        at, side = _crossing(gaps[index], total / rest if rest else 0.0)
        found.append(
            Flip(
                metric=item.metric,
                state=item.state,
                rival=rival.method,
                weight=item.weight,
                at=at,
                side=side,
                text=_flip_text(words.measure(item.metric, item.state), item.weight, at, side, rival.method),
            )
        )
    return tuple(found)


def relaxations(
    winner: Score | None, barred: Sequence[Score], exclusions: Mapping[str, Sequence[Exclusion]]
) -> tuple[Relaxation, ...]:
    """The excluded methods that work and would lead: all worth more than the winner; without one, the best of them."""
    able = [score for score in barred if all(item.rule != "evidence" for item in exclusions[score.method])]
    able.sort(key=lambda score: (-score.value, score.method))
    better = [score for score in able if score.value > winner.value] if winner else able[:1]
    return tuple(
        Relaxation(
            method=score.method,
            value=score.value,
            rules=tuple((item.rule, item.subject) for item in exclusions[score.method]),
            text=f"{words.listing(_without(item) for item in exclusions[score.method])}, {score.method} would "
            + ("lead" if place == 0 else "come before the winner too")
            + f" with a value of {score.value:.2f}"
            + (f" ({winner.method}: {winner.value:.2f})" if winner else ""),
        )
        for place, score in enumerate(better)
    )


def worth_measuring(ranked: Sequence[Option]) -> list[str]:
    """The methods whose exact value is expected to change the decision for the better, the most first.

    Only of what is modelled, at least :data:`_WORTH_TELLING` of value, and at most three: the others would not pay.
    """
    unsure = [one for one in ranked if any(part.fidelity == "modelled" for part in one.contributions)]
    told = sorted((one for one in unsure if one.gain >= _WORTH_TELLING), key=lambda one: -one.gain)
    return [
        f"{one.method}: knowing it exactly is expected to bring {one.gain:.3f} of value "
        f"(harness run --method {one.method.partition('+')[0]})"
        for one in told[:_MOST_TOLD]
    ]


def thin_evidence(scores: Sequence[Score]) -> list[Doubt]:
    """One doubt per criterion that rests on few replicates, or was not measured on the real thing."""
    doubts = []
    for items in zip(*(score.contributions for score in scores), strict=True):
        what = words.measure(items[0].metric, items[0].state)
        if not items[0].weight:
            continue
        few = [
            (score.method, item.n)
            for score, item in zip(scores, items, strict=True)
            if item.median is not None and item.low != item.high and item.n < FEWEST[50] and _taken(item)
        ]
        # A single value has no spread that could be resampled, unless it is of a kind that is exact.
        single = [
            (score.method, item.n)
            for score, item in zip(scores, items, strict=True)
            if item.n == 1 and (METRICS[item.metric].unit == "s" or METRICS[item.metric].states) and _taken(item)
        ]
        if few or single:
            said = words.listing(f"{method} {n}" for method, n in sorted({*few, *single}))
            text = f"{what} rests on fewer replicates than the {FEWEST[50]} that a median needs: {said}"
            doubts.append(Doubt(method="", text=text))
        for kind in ("emulated", "modelled", "documented"):
            names = [score.method for score, item in zip(scores, items, strict=True) if item.fidelity == kind]
            if names:
                doubts.append(Doubt(method="", text=f"{what} is {kind}, not measured, for {words.listing(names)}"))
    return doubts


def _taken(item: Contribution) -> bool:
    """Whether it was measured or emulated: of what is computed from such values, no replicates are told."""
    return item.fidelity != "modelled"


def summary(
    scenario: Scenario,
    ranked: Sequence[Score],
    confidences: Mapping[str, Confidence],
    tie: Sequence[str],
    excluded: int,
) -> str:
    """The decision in one or two sentences."""
    if not ranked:
        if not excluded:
            return "No method is known."
        count = "the only method is" if excluded == 1 else f"all {excluded} methods are"
        return f"No method can be recommended for {scenario.name}: {count} excluded."
    first = ranked[0]
    chance = words.share(confidences[first.method].p_best)
    if tie:
        return (
            f"A tie for {scenario.name}: {words.listing(tie)} cannot be told apart. {first.method} has the highest "
            f"value, {first.value:.2f}, but is best in only {chance} of the resamples "
            f"({words.share(SURE)} are asked for)."
        )
    if len(ranked) == 1:
        return f"{first.method} for {scenario.name}: the only method that is not excluded (value {first.value:.2f})."
    second = ranked[1]
    return (
        f"{first.method} for {scenario.name}: value {first.value:.2f}, best in {chance} of the resamples; "
        f"next is {second.method} with {second.value:.2f}."
    )


def _crossing(here: float, elsewhere: float) -> tuple[float | None, Literal["above", "below"] | None]:
    if not (here < 0 < elsewhere or elsewhere < 0 < here):
        return None, None
    return elsewhere / (elsewhere - here), "above" if here < 0 else "below"


def _flip_text(what: str, weight: float, at: float | None, side: Literal["above", "below"] | None, rival: str) -> str:
    if at is None:
        return f"{what} (weight {weight:.2f}): no weight puts {rival} ahead"
    return f"{what} (weight {weight:.2f}): {side} {at:.2f}, {rival} leads"


def _without(item: Exclusion) -> str:
    if item.rule == "requires":
        return f"if the target had {words.facility(item.subject)}"
    if item.rule == "needs":
        return f"without the need '{item.subject}'"
    limit = "" if item.limit is None else words.quantity(item.limit, METRICS[item.subject].unit) + " "
    return f"without the limit of {limit}on {words.measure(item.subject, item.state)}"
