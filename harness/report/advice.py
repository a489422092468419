"""A recommendation as a report shows it: every number and reason as a fact that can be computed again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.metrics import METRICS
from harness.recommend import explain, words
from harness.recommend.value import normalised
from harness.report import numbers
from harness.report.facts import Fact, Prose, identity, text

if TYPE_CHECKING:
    from harness.recommend.article import Advice as ArticleAdvice
    from harness.recommend.article import Features
    from harness.recommend.engine import Option, Recommendation
    from harness.recommend.explain import Flip
    from harness.recommend.value import Contribution
    from harness.spec.scenario import Objective, Scenario


#: Letters of a reason that are shown; only what a tool printed is longer.
_LONG = 240


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """An objective of the scenario: its share of the weight, and the fixed scale of its worth where that is known."""

    metric: str
    state: str
    title: str
    weight: Fact
    scale: Fact | None


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one criterion adds to an option's value, from a worth of 0 to 1; ``missing`` says why it adds nothing.

    ``median``, its interval and ``n`` are of what the worth is of; None where it is missing.
    """

    median: Fact | None
    low: Fact | None
    high: Fact | None
    n: Fact | None
    points: Fact
    worth: Fact
    fidelity: str
    missing: Fact | None


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """One method that the limits leave in."""

    method: str
    family: str
    rank: Fact
    value: Fact
    low: Fact
    high: Fact
    p_best: Fact
    p_best_as_weighed: Fact
    gain: Fact
    tied: bool
    parts: tuple[Part, ...]


@dataclass(frozen=True, kw_only=True)
class Excluded:
    """One reason that rules a method out; ``metric`` and ``state`` where it is a number that does."""

    method: str
    family: str
    rule: str
    metric: str
    state: str
    fidelity: str
    certain: bool
    reason: Fact


@dataclass(frozen=True, kw_only=True)
class Article:
    """The article's rule, in its words, and whether the measurements agree."""

    agreement: Fact
    text: Fact
    pick: Fact | None
    order: tuple[str, ...]
    corrections: tuple[Fact, ...]


@dataclass(frozen=True, kw_only=True)
class Advice:
    """One recommendation.

    ``requirements`` is the whole scenario, ``features`` the model's: they were given, not measured.
    ``flips`` are the weights at which the runner-up would lead, ``steady`` the criteria with no such weight, ``rates``
    the requests a day between which each method leads. ``second`` is what another way of adding up says, and
    ``measuring`` what would be worth measuring. ``further`` counts the methods that are ranked below those told.
    """

    run: str
    model: str
    scenario: str
    title: str
    description: str
    requirements: Mapping[str, Any] | None
    features: Mapping[str, Any] | None
    winner: str | None
    answer: Prose
    criteria: tuple[Criterion, ...]
    ranked: tuple[Ranked, ...]
    excluded: tuple[Excluded, ...]
    rates: tuple[Fact, ...]
    flips: tuple[Fact, ...]
    steady: Prose
    relaxations: tuple[Fact, ...]
    missing: tuple[Fact, ...]
    doubts: tuple[Fact, ...]
    measuring: tuple[Fact, ...]
    second: Fact | None
    article: Article
    confidence: Prose
    further: int = 0


def of(
    recommendation: Recommendation,
    scenario: Scenario | None = None,
    features: Features | None = None,
    *,
    most: int | None = None,
) -> Advice:
    """``recommendation`` as a report shows it; of the ranking the first ``most``, and all of a tie."""
    where = _Where(recommendation)
    options = recommendation.ranked
    last = max((place for place, one in enumerate(options, start=1) if one.method in recommendation.tie), default=1)
    told = options if most is None else options[: max(most, last)]
    ranked = tuple(_ranked(where, option, option.method in recommendation.tie) for option in told)
    families = {choice.method: choice.family for choice in recommendation.article.ranked}
    return Advice(
        run=recommendation.run_id,
        model=recommendation.model,
        scenario=recommendation.scenario,
        title=numbers.line(recommendation.scenario_title),
        description=numbers.line(scenario.description) if scenario else "",
        requirements=_plain(scenario),
        features=_plain(features),
        winner=recommendation.winner,
        answer=_answer(where, recommendation, ranked),
        criteria=_criteria(where, recommendation, scenario),
        ranked=ranked,
        further=len(options) - len(told),
        excluded=tuple(
            Excluded(
                method=item.method,
                family=families.get(item.method, ""),
                rule=item.rule,
                metric=item.metric or "",
                state=item.state,
                fidelity=item.fidelity or "",
                certain=item.certain,
                reason=where.text("excluded", item.reason, item.method, item.rule, item.subject),
            )
            for item in recommendation.excluded
        ),
        rates=tuple(
            where.text("rate", flip.text, flip.method, str(place)) for place, flip in enumerate(recommendation.rates)
        ),
        flips=tuple(_flip(where, flip) for flip in recommendation.flips if flip.at is not None),
        steady=_steady(where, recommendation),
        relaxations=tuple(where.text("without", item.text, item.method) for item in recommendation.relaxations),
        missing=tuple(
            where.text("missing", f"{item.method}: {item.why}", item.method, item.metric, item.state)
            for item in recommendation.missing
        ),
        doubts=tuple(where.text("doubt", item.text, str(place)) for place, item in enumerate(recommendation.doubts)),
        measuring=tuple(
            where.text("measuring", said, str(place))
            for place, said in enumerate(explain.worth_measuring(recommendation.ranked))
        ),
        second=where.text("second", f"{recommendation.second.text}.") if recommendation.second else None,
        article=_article(where, recommendation.article),
        confidence=_confidence(where, recommendation),
    )


class _Where:
    """Makes the facts of one recommendation: their ids begin with run, model and scenario."""

    def __init__(self, recommendation: Recommendation) -> None:
        self._run, self._model = recommendation.run_id, recommendation.model
        self._path = (self._run, self._model, "for", recommendation.scenario)

    def text(self, kind: str, said: str, *more: str) -> Fact:
        """Words that the recommendation says; where a tool's log is among them, only their beginning is shown."""
        return text(numbers.line(said), *self._path, kind, *more, shown=numbers.brief(said, _LONG))

    def number(self, value: float, shown: str, method: str, kind: str, metric: str = "", state: str = "") -> Fact:
        """A number that the recommendation computed."""
        return Fact(
            id=identity(*self._path, method, metric, state, kind),
            run=self._run,
            model=self._model,
            method=method,
            metric=metric,
            state=state,
            statistic="value",
            value=value,
            shown=shown,
        )


def _answer(where: _Where, recommendation: Recommendation, ranked: tuple[Ranked, ...]) -> Prose:
    """The decision in one or two sentences, each of its numbers a fact."""
    about, scenario, tie = f"{recommendation.model}: ", recommendation.scenario, recommendation.tie
    if not ranked:
        out = len({item.method for item in recommendation.excluded})
        count = where.number(out, str(out), "", "excluded")
        return (f"{about}no method can be recommended for {scenario}; excluded: ", count, ".")
    first = ranked[0]
    if tie:
        sure = where.number(recommendation.sure, numbers.share(recommendation.sure), "", "sure")
        return (
            (
                f"{about}a tie for {scenario}: {words.listing(tie)} cannot be told apart. {first.method} has the "
                "highest value, "
            ),
            first.value,
            ", but is best in only ",
            first.p_best,
            " of the draws (",
            sure,
            " are asked for).",
        )
    if len(ranked) == 1:
        return (f"{about}{first.method} for {scenario}: the only method that is not excluded, value ", first.value, ".")
    parts: Prose = (f"{about}{first.method} for {scenario}: value ", first.value, ", best in ", first.p_best)
    return (*parts, f" of the draws; next is {ranked[1].method} with ", ranked[1].value, ".")


def _criteria(where: _Where, recommendation: Recommendation, scenario: Scenario | None) -> tuple[Criterion, ...]:
    """The scenario's objectives, also where no option is left; without the scenario, those of the first option."""
    parts = recommendation.ranked[0].contributions if recommendation.ranked else ()
    found: list[tuple[str, str, float, Fact | None]]
    if scenario:
        pairs = zip(scenario.objectives, normalised(scenario.objectives), strict=True)
        found = [(item.metric, item.state, weight, _scale(where, item)) for item, weight in pairs]
    else:
        found = [(part.metric, part.state, part.weight, None) for part in parts]
    return tuple(
        Criterion(
            metric=metric,
            state=state,
            title=_title(metric, ""),
            weight=where.number(weight, numbers.share(weight), "", "weight", metric, state),
            scale=scale,
        )
        for metric, state, weight, scale in found
    )


def _scale(where: _Where, objective: Objective) -> Fact:
    unit = METRICS[objective.metric].unit
    ends = f"1 at {numbers.given(objective.best, unit)}, 0 at {numbers.given(objective.worst, unit)}, {objective.scale}"
    limit = f"; limit {numbers.given(objective.limit, unit)}" if objective.limit is not None else ""
    return where.text("scale", ends + limit, objective.metric, objective.state)


def _ranked(where: _Where, option: Option, tied: bool) -> Ranked:
    name = option.method
    return Ranked(
        method=name,
        family=option.family,
        rank=where.number(option.rank, str(option.rank), name, "rank"),
        value=where.number(option.value, numbers.score(option.value), name, "value"),
        low=where.number(option.value_low, numbers.score(option.value_low), name, "value-low"),
        high=where.number(option.value_high, numbers.score(option.value_high), name, "value-high"),
        p_best=where.number(option.p_best, numbers.share(option.p_best), name, "p-best"),
        p_best_as_weighed=where.number(
            option.p_best_as_weighed, numbers.share(option.p_best_as_weighed), name, "p-best-as-weighed"
        ),
        gain=where.number(option.gain, numbers.score(option.gain), name, "gain"),
        tied=tied,
        parts=tuple(_part(where, name, item) for item in option.contributions),
    )


def _part(where: _Where, method: str, item: Contribution) -> Part:
    key = item.metric, item.state

    def told(name: str, value: float | None) -> Fact | None:
        if value is None or item.median is None:
            return None
        unit = METRICS[item.metric].unit
        shown = numbers.shown(value, unit) if name == "median" else numbers.scale(item.median, unit).number(value)
        return where.number(value, shown, method, name, *key)

    return Part(
        median=told("median", item.median),
        low=told("low", item.low),
        high=told("high", item.high),
        n=where.number(item.n, str(item.n), method, "n", *key) if item.median is not None else None,
        points=where.number(item.points, numbers.score(item.points), method, "points", *key),
        worth=where.number(item.worth, numbers.score(item.worth), method, "worth", *key),
        fidelity=item.fidelity or "",
        missing=dataclasses.replace(
            where.text("missing", item.missing, method, *key, "here"), shown="not there, counted as worth 0"
        )
        if item.missing
        else None,
    )


def _flip(where: _Where, flip: Flip) -> Fact:
    return where.text("flip", flip.text, flip.metric, flip.state)


def _steady(where: _Where, recommendation: Recommendation) -> Prose:
    """One sentence instead of one for each criterion that cannot flip the decision."""
    found = [flip for flip in recommendation.flips if flip.at is None]
    if not found:
        return ()
    titles = [dataclasses.replace(_flip(where, flip), shown=_title(flip.metric, flip.state)) for flip in found]
    listed = [part for title in titles for part in (title, ", ")][:-1]
    return (f"{found[0].rival} stays behind whatever the weight of one of these alone: ", *listed, ".")


def _title(metric: str, state: str) -> str:
    title = METRICS[metric].title if metric in METRICS else metric
    return f"{title} ({state})" if state else title


def _article(where: _Where, said: ArticleAdvice) -> Article:
    return Article(
        agreement=where.text("article", said.agreement, "agreement"),
        text=where.text("article", said.text, "text"),
        pick=where.text("article", said.pick, "pick") if said.pick else None,
        order=tuple(choice.method for choice in said.ranked),
        corrections=tuple(
            where.text("article", correction, "correction", str(place))
            for place, correction in enumerate(said.corrections)
        ),
    )


def _confidence(where: _Where, recommendation: Recommendation) -> Prose:
    def given(name: str, value: float, shown: str) -> Fact:
        return where.number(value, shown, "", name)

    return (
        "Measurements (whole rounds) and weights (Dirichlet, concentration ",
        given("concentration", recommendation.concentration, f"{recommendation.concentration:g}"),
        ") were drawn ",
        given("resamples", recommendation.resamples, f"{recommendation.resamples:,}"),
        " times with seed ",
        given("seed", recommendation.seed, str(recommendation.seed)),
        "; a method stands alone when it is best in ",
        given("sure", recommendation.sure, numbers.share(recommendation.sure)),
        " of the draws, else it is a tie.",
    )


def _plain(record: Any) -> Mapping[str, Any] | None:
    """A record that was given, as JSON would hold it (tuples become lists)."""
    if record is None:
        return None
    plain: Mapping[str, Any] = json.loads(json.dumps(dataclasses.asdict(record), allow_nan=False))
    return plain
