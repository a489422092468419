"""The recommendation: filter, value, confidence, explanation, for one model in one scenario from one run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.bootstrap import SEED
from harness.recommend import confidence, explain, limits
from harness.recommend.article import Advice, Features, advise
from harness.recommend.value import Contribution, Missing, Score, missing, score

if TYPE_CHECKING:
    from harness.methods.contract import Family
    from harness.spec.scenario import Scenario
    from harness.store.query import Evidence


@dataclass(frozen=True, kw_only=True)
class Option:
    """A method that the hard limits leave in.

    ``value`` is in [0, 1], from medians and the scenario's own weights; ``value_low`` and ``value_high`` are
    its 95 % interval under resampled measurements. ``p_best`` is the share of resamples, of measurements and
    weights, in which it is best; ``p_best_as_weighed`` the same with the weights kept.
    """

    rank: int
    method: str
    family: Family
    value: float
    value_low: float
    value_high: float
    p_best: float
    p_best_as_weighed: float
    contributions: tuple[Contribution, ...]


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """What is recommended, how surely, why, and what would change it.

    ``ranked`` has the methods left in, best first; ``winner`` is the first, None where all are excluded.
    ``tie`` names the methods that cannot be told apart, the winner among them; empty where it stands alone.
    ``flips`` compare the winner with the runner-up. ``missing`` covers the methods left in.
    """

    run_id: str
    model: str
    scenario: str
    scenario_title: str
    summary: str
    winner: str | None
    tie: tuple[str, ...]
    ranked: tuple[Option, ...]
    excluded: tuple[limits.Exclusion, ...]
    flips: tuple[explain.Flip, ...]
    relaxations: tuple[explain.Relaxation, ...]
    missing: tuple[Missing, ...]
    doubts: tuple[limits.Doubt, ...]
    article: Advice
    resamples: int = confidence.RESAMPLES
    seed: int = SEED
    concentration: float = confidence.CONCENTRATION
    sure: float = confidence.SURE


def recommend(
    evidence: Evidence,
    scenario: Scenario,
    methods: Mapping[str, limits.Packaging],
    *,
    features: Features | None = None,
) -> Recommendation:
    """Rank every method in ``methods`` for ``scenario`` by what ``evidence`` holds of it.

    A method that the evidence knows nothing of is excluded as not measured. ``features`` of the model let the
    article's rules about models speak too. The same arguments give the same result to the last digit.
    """
    exclusions: dict[str, list[limits.Exclusion]] = {}
    doubts: list[limits.Doubt] = []
    for method_id, method in methods.items():
        found, unsure = limits.check(evidence, scenario, method_id, method)
        if found:
            exclusions[method_id] = found
        else:
            doubts.extend(unsure)
    scores = {method_id: score(evidence, method_id, scenario.objectives) for method_id in methods}
    eligible = [scores[method_id] for method_id in methods if method_id not in exclusions]
    confidences = confidence.resample(evidence, eligible, scenario.objectives)
    ranked = sorted(eligible, key=lambda one: (-one.value, -confidences[one.method].p_best, one.method))
    winner = ranked[0] if ranked else None
    tie = confidence.tied(winner.method, confidences) if winner else ()
    return Recommendation(
        run_id=evidence.run_id,
        model=evidence.model,
        scenario=scenario.name,
        scenario_title=scenario.title,
        summary=explain.summary(scenario, ranked, confidences, tie, len(exclusions)),
        winner=winner.method if winner else None,
        tie=tie,
        ranked=tuple(
            _option(place, one, methods[one.method].FAMILY, confidences[one.method])
            for place, one in enumerate(ranked, start=1)
        ),
        excluded=tuple(item for items in exclusions.values() for item in items),
        flips=explain.flips(ranked[0], ranked[1]) if len(ranked) > 1 else (),
        relaxations=explain.relaxations(winner, [scores[method_id] for method_id in exclusions], exclusions),
        missing=missing(ranked),
        doubts=(*doubts, *explain.thin_evidence(ranked)),
        article=advise(
            scenario,
            methods,
            eligible=[one.method for one in eligible],
            winner=winner.method if winner else None,
            tie=tie,
            model=features,
        ),
    )


def as_dict(recommendation: Recommendation) -> dict[str, Any]:
    """The recommendation as plain values that JSON can hold; no number in it is infinite or NaN."""
    return dataclasses.asdict(recommendation)


def _option(rank: int, scored: Score, family: Family, sure: confidence.Confidence) -> Option:
    return Option(
        rank=rank,
        method=scored.method,
        family=family,
        value=scored.value,
        value_low=sure.low,
        value_high=sure.high,
        p_best=sure.p_best,
        p_best_as_weighed=sure.p_best_as_weighed,
        contributions=scored.contributions,
    )
