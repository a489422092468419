"""A recommendation as it is printed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from harness.cli import console
from harness.metrics import METRICS
from harness.recommend import explain
from harness.recommend.engine import Recommendation
from harness.report import numbers
from harness.spec.scenario import Scenario
from harness.store.query import Evidence

_FIRST = 3  # methods of the simple rule
_LONGEST = 400  # letters of a reason; tools print more than anybody reads


def print_recommendation(found: Recommendation, scenario: Scenario, evidence: Evidence) -> None:
    """The answer first, then the ranking, its reasons, what is excluded and why, and what would change it."""
    _say(found.summary)
    console.say()
    if found.ranked:
        _print_ranking(found, scenario)
    if found.excluded:
        console.say("Excluded:")
        for reason, methods in _excluded(found).items():
            _say(f"{', '.join(methods)}: {reason}", indent="  - ", brief=True)
    changes = [each.text for each in found.rates]
    changes += [flip.text for flip in found.flips] + [relaxation.text for relaxation in found.relaxations]
    if changes:
        console.say("What would change it:")
        for text in changes:
            _say(text, indent="  - ")
    doubts = [doubt.text for doubt in found.doubts] + [
        f"{missing.method}: {METRICS[missing.metric].title} counts for nothing, because it {missing.why}"
        for missing in found.missing
    ]
    if doubts:
        console.say("Mind:")
        for text in doubts:
            _say(text, indent="  - ", brief=True)
    worth_measuring = explain.worth_measuring(found.ranked)
    if worth_measuring:
        console.say("Worth measuring:")
        for text in worth_measuring:
            _say(text, indent="  - ")
    if found.second:
        console.say("Added up in another way:")
        _say(f"{found.second.text}.", indent="  - ")
    console.say("The article's rule:")
    _say(found.article.text, indent="  - ")
    for text in found.article.corrections:
        _say(text, indent="  - ")
    host = evidence.manifest.host
    console.say(f"\nFrom run {found.run_id} on {host['processor']}, {host['cores']} cores, Python {host['python']}.")


def print_simple_rule(means: Sequence[tuple[str, float]]) -> None:
    """Beside a prediction: what is best on the mean of the models that were measured."""
    if means:
        told = ", ".join(f"{name} {numbers.score(mean)}" for name, mean in means[:_FIRST])
        _say(f"The simple rule, best on the mean of the measured models in this scenario: {told}.")


def _excluded(found: Recommendation) -> dict[str, list[str]]:
    """The methods by the reason that rules them out: what is the same for ten of them is said once."""
    reasons: dict[str, list[str]] = {}
    for exclusion in found.excluded:
        reasons.setdefault(exclusion.reason.removeprefix(f"{exclusion.method}: "), []).append(exclusion.method)
    return reasons


def _print_ranking(found: Recommendation, scenario: Scenario) -> None:
    criteria = [
        METRICS[objective.metric].title + (f", {objective.state}" if objective.state else "")
        for objective in scenario.objectives
    ]
    total = sum(objective.weight for objective in scenario.objectives)
    columns = ["", "value", "95\N{NO-BREAK SPACE}%", "best with"]
    columns += [
        f"{title} ({numbers.share(objective.weight / total)})".replace(" %", "\N{NO-BREAK SPACE}%")
        for title, objective in zip(criteria, scenario.objectives, strict=True)
    ]
    rows = []
    for option in found.ranked:
        span = f"{option.value_low:.3f}{numbers.DASH}{option.value_high:.3f}"
        parts = [
            f"{numbers.shown(part.median, METRICS[part.metric].unit)} {part.points:+.3f}"
            if part.median is not None
            else "not measured +0.000"
            for part in option.contributions
        ]
        sure = numbers.share(option.p_best)
        rows.append((f"{option.rank}. {option.method}", numbers.score(option.value), span, sure, *parts))
    console.blocks("", columns, rows)
    console.say("Value lies between 0 and 1 on the scenario's fixed scales; beside each number stands what it adds.")


def _say(text: str, indent: str = "", *, brief: bool = False) -> None:
    """A paragraph; ``brief`` leaves out what a tool printed, unless the user asked for more."""
    if brief and not console.verbose():
        text = numbers.brief(text, _LONGEST)
    width = min(console.width(), 110)
    console.say(textwrap.fill(text, width, initial_indent=indent, subsequent_indent=" " * len(indent)))
