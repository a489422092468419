"""The recommendation: filter, value, confidence, explanation, for one model in one scenario from one run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness import bootstrap
from harness.bootstrap import SEED
from harness.recommend import confidence, costs, explain, layers, limits, topsis
from harness.recommend.article import Advice, Features, advise
from harness.recommend.value import Contribution, Missing, Score, missing, score

if TYPE_CHECKING:
    from harness.methods.contract import Family
    from harness.spec.scenario import Scenario
    from harness.store.query import Evidence


#: The metric that follows from the target's link.
TRANSFER = "transfer_s"


@dataclass(frozen=True, kw_only=True)
class Option:
    """A method that the hard limits leave in.

    ``value`` is in [0, 1], from medians and the scenario's own weights; ``value_low`` and ``value_high`` are
    its 95 % interval under resampled measurements. ``p_best`` is the share of resamples, of measurements and
    weights, in which it is best; ``p_best_as_weighed`` the same with the weights kept. ``gain`` is the value that
    knowing this one's exactly is expected to bring.
    """

    rank: int
    method: str
    family: Family
    value: float
    value_low: float
    value_high: float
    p_best: float
    p_best_as_weighed: float
    gain: float
    contributions: tuple[Contribution, ...]


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """What is recommended, how surely, why, and what would change it.

    ``ranked`` has the methods left in, best first; ``winner`` is the first, None where all are excluded.
    ``tie`` names the methods that cannot be told apart, the winner among them; empty where it stands alone.
    ``flips`` compare the winner with the runner-up. ``missing`` covers the methods left in. ``second`` is what another
    way of adding up makes of the same worths; ``rates`` are the request rates at which another method takes the lead,
    where money is weighed.
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
    second: topsis.SecondOpinion | None
    rates: tuple[costs.RateFlip, ...] = ()
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

    A method that the evidence knows nothing of is excluded as not measured. Combinations of layers that the scenario
    needs are ranked beside the methods, and cost is computed where the scenario weighs it. ``features`` of the model
    let the article's rules about models speak too. The same arguments give the same result to the last digit.
    """
    evidence, methods = known(evidence, scenario, methods)
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
        second=topsis.opinion(ranked, tie),
        rates=costs.flips_by_rate(evidence, scenario, methods, ranked) if weighs_money(scenario) else (),
    )


def known(
    evidence: Evidence, scenario: Scenario, methods: Mapping[str, limits.Packaging]
) -> tuple[Evidence, Mapping[str, limits.Packaging]]:
    """What is weighed: the evidence with what follows from it for the scenario, and the methods with combinations."""
    combined = layers.combinations(scenario, methods)
    every = {**methods, **combined}
    evidence = layers.with_combinations(evidence, combined)
    if any(objective.metric == TRANSFER for objective in scenario.objectives):
        evidence = _over(scenario.target.link_mbit, evidence)
    if weighs_money(scenario):
        evidence = costs.priced(evidence, every, scenario.traffic.requests_per_day)
    return evidence, every


def _over(link_mbit: float, evidence: Evidence) -> Evidence:
    """The evidence with transfers over the target's own link: packed bytes by bandwidth, nothing else."""
    others = [value for value in evidence.values if value.metric != TRANSFER]
    moved = [
        dataclasses.replace(
            value,
            metric=TRANSFER,
            fidelity="modelled",
            by_round=(rounds := {number: size * 8 / (link_mbit * 1e6) for number, size in value.by_round.items()}),
            interval=bootstrap.interval(list(rounds.values())) if rounds else None,
        )
        for value in evidence.values
        if value.metric == "packed_bytes"
    ]
    return dataclasses.replace(evidence, values=(*others, *moved))


def weighs_money(scenario: Scenario) -> bool:
    """Whether what it costs is one of the objectives."""
    return any(objective.metric == costs.METRIC for objective in scenario.objectives)


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
        gain=sure.gain,
        contributions=scored.contributions,
    )
