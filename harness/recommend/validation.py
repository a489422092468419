"""How good decisions are: against the best that was measured, the single best method, and the article's rules.

As algorithm selection is judged (Bischl et al., *ASlib: A benchmark library for algorithm selection*, Artificial
Intelligence 237 (2016)): the *virtual best* is the method that turns out best for each model in each scenario, the
*single best* the one method that is best on the mean over the other models' families, and

    gap closed = (regret of the single best - ours) / (regret of the single best)

where the regret of a choice is the virtual best's value less its own. A choice that a hard limit rules out is worth
nothing.

Nobody is judged by what it was chosen from. The rounds of a run are split at random into two halves: choices from
measurements are made by one, and every choice, the virtual best's too, is valued by the other. Choices from a profile
are made by a calibration that has seen nothing of the model's family. All of it is averaged over many splits.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Literal, get_args

from harness.bootstrap import SEED, Interval
from harness.calibrate import predicting
from harness.calibrate.records import Decided
from harness.errors import BadInput
from harness.metrics import START_STATES
from harness.recommend import article, engine, limits
from harness.recommend.value import score
from harness.store.query import Evidence, Value

if TYPE_CHECKING:
    from harness.calibrate.elsewhere import Elsewhere
    from harness.calibrate.fit import Fitter
    from harness.recommend.limits import Packaging
    from harness.spec.scenario import Scenario

#: Random splits of the rounds.
SPLITS = 40

#: Values closer than this are the same choice.
_EQUAL = 1e-9

Chooser = Literal["measurements", "profile", "single best", "article"]
CHOOSERS: tuple[Chooser, ...] = get_args(Chooser)

#: What is aimed at: (gap closed, top-1, top-2); None where nothing is.
TARGETS: Mapping[str, tuple[float, float, float] | None] = {
    "measurements": (0.97, 0.80, 0.95),
    "profile": (0.80, 0.80, 0.95),
    "single best": None,
    "article": None,
}

_Ranked = list[str]


@dataclass(frozen=True, kw_only=True)
class _Case:
    model: str
    family: str
    scenario: Scenario
    truth: Mapping[str, float]
    chosen: _Ranked


def decisions(
    fitter: Fitter | Elsewhere,
    evidences: Sequence[Evidence],
    scenarios: Sequence[Scenario],
    methods: Mapping[str, Packaging],
    *,
    splits: int = SPLITS,
    seed: int = SEED,
) -> list[Decided]:
    """The quality of each way of choosing. ``evidences`` has one for each model of the fitter's study."""
    study = fitter.study
    predicted = _from_profiles(fitter, scenarios, methods)
    family = {model: profile.family for model, profile in study.profiles.items()}
    chance = random.Random(f"{seed} splits")
    found: dict[Chooser, list[tuple[Mapping[str, float], _Ranked]]] = {name: [] for name in CHOOSERS}
    for _ in range(splits):
        cases = list(_cases(chance, evidences, scenarios, methods, family))
        for case in cases:
            key = case.model, case.scenario.name
            found["measurements"].append((case.truth, case.chosen))
            found["article"].append((case.truth, _by_the_article(case, methods, evidences)))
            found["single best"].append((case.truth, _single_best(case, cases)))
            if key in predicted:
                found["profile"].append((case.truth, predicted[key]))
    single = _regret(found["single best"])
    return [_quality(name, found[name], single) for name in CHOOSERS if found[name]]


def _quality(name: Chooser, judged: Sequence[tuple[Mapping[str, float], _Ranked]], single: float) -> Decided:
    regret = _regret(judged)
    return Decided(
        chooser=name,
        cases=len(judged),
        regret=regret,
        top_1=sum(_among(truth, ranked[:1]) for truth, ranked in judged) / len(judged),
        top_2=sum(_among(truth, ranked[:2]) for truth, ranked in judged) / len(judged),
        gap_closed=(single - regret) / single if single > 0 else None,
    )


def _regret(judged: Sequence[tuple[Mapping[str, float], _Ranked]]) -> float:
    lost = [max(truth.values()) - (truth.get(ranked[0], 0.0) if ranked else 0.0) for truth, ranked in judged]
    return math.fsum(lost) / max(len(lost), 1)


def _among(truth: Mapping[str, float], named: Sequence[str]) -> bool:
    best = max(truth.values())
    return any(truth.get(name, 0.0) >= best - _EQUAL for name in named)


# --- cases ---------------------------------------------------------------------------------------


def _cases(
    chance: random.Random,
    evidences: Sequence[Evidence],
    scenarios: Sequence[Scenario],
    methods: Mapping[str, Packaging],
    family: Mapping[str, str],
) -> Iterator[_Case]:
    """Every model in every scenario in which a method is left, in one split of its rounds."""
    for evidence in evidences:
        mine, others = halves(chance, evidence)
        for scenario in scenarios:
            truth = values(others, scenario, methods)
            if not truth:
                continue
            chosen = values(mine, scenario, methods)
            yield _Case(
                model=evidence.model,
                family=family.get(evidence.model, evidence.model),
                scenario=scenario,
                truth=truth,
                chosen=_ordered(chosen),
            )


def halves(chance: random.Random, evidence: Evidence) -> tuple[Evidence, Evidence]:
    """The evidence with the starts of one half of the rounds, and with those of the other; the rest is in both."""
    numbers = sorted({number for value in evidence.values if value.state in START_STATES for number in value.by_round})
    chance.shuffle(numbers)
    half = set(numbers[: len(numbers) // 2])
    return _only(evidence, half, within=True), _only(evidence, half, within=False)


def _only(evidence: Evidence, half: set[int], *, within: bool) -> Evidence:
    return dataclasses.replace(evidence, values=tuple(_part(value, half, within=within) for value in evidence.values))


def _part(value: Value, half: set[int], *, within: bool) -> Value:
    if value.state not in START_STATES or value.interval is None:
        return value
    rounds = {number: one for number, one in value.by_round.items() if (number in half) is within}
    if not rounds:
        return value  # a single round cannot be split
    middle = median(rounds.values())
    return dataclasses.replace(
        value, by_round=rounds, interval=Interval(median=middle, low=middle, high=middle, n=len(rounds))
    )


def values(evidence: Evidence, scenario: Scenario, methods: Mapping[str, Packaging]) -> dict[str, float]:
    """The value of every method that is left in."""
    known, every = engine.known(evidence, scenario, methods)
    return {
        name: score(known, name, scenario.objectives).value
        for name, method in every.items()
        if not limits.check(known, scenario, name, method)[0]
    }


def on_the_mean(
    evidences: Sequence[Evidence], scenario: Scenario, methods: Mapping[str, Packaging]
) -> list[tuple[str, float]]:
    """The simple rule: each method's mean value in the scenario over measured models, the single best first.

    Where a hard limit rules a method out for a model, it is worth nothing there. Models for which none is left say
    nothing.
    """
    known = [found for one in evidences if (found := values(one, scenario, methods))]
    means = _means(known)
    return [(name, means[name]) for name in _ordered(means)]


def _means(known: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = {name for found in known for name in found}
    return {name: math.fsum(found.get(name, 0.0) for found in known) / len(known) for name in names}


def _ordered(found: Mapping[str, float]) -> _Ranked:
    return sorted(found, key=lambda name: (-found[name], name))


# --- choosers ------------------------------------------------------------------------------------


def _from_profiles(
    fitter: Fitter | Elsewhere, scenarios: Sequence[Scenario], methods: Mapping[str, Packaging]
) -> dict[tuple[str, str], _Ranked]:
    """What would be chosen for each model by a calibration that its family is left out of; none where that has none."""
    found = {}
    study = fitter.study
    for family in sorted({profile.family for profile in study.profiles.values()}):
        try:
            calibration = fitter.calibration(without=family)
        except BadInput:
            continue  # no two families are left to fit
        for model, profile in study.profiles.items():
            if profile.family != family:
                continue
            memory_mb = study.memory_mb.get(model)
            evidence = predicting.evidence_from(calibration, profile, methods, memory_mb=memory_mb)
            for scenario in scenarios:
                found[model, scenario.name] = _ordered(values(evidence, scenario, methods))
    return found


def _single_best(case: _Case, cases: Sequence[_Case]) -> _Ranked:
    """The methods by their mean value in the scenario, over the models of the other families."""
    others = [one.truth for one in cases if one.scenario.name == case.scenario.name and one.family != case.family]
    return _ordered(_means(others))


def _by_the_article(case: _Case, methods: Mapping[str, Packaging], evidences: Sequence[Evidence]) -> _Ranked:
    evidence = next(one for one in evidences if one.model == case.model)
    noted = evidence.manifest.models.get(case.model, {}).get("features", {})
    features = article.Features(
        **{key: int(noted.get(key, 0)) for key in ("dependencies", "pinned", "system_packages")}
    )
    said = article.advise(case.scenario, methods, eligible=list(case.truth), winner=None, tie=(), model=features)
    order = [choice.method for choice in said.ranked]
    picked = [said.pick] if said.pick else []
    return [*picked, *(name for name in order if name in case.truth and name not in picked)]
