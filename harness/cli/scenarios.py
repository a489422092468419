"""The command ``scenarios``: lists them, explains one, checks a file of the user's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from harness.cli import console

if TYPE_CHECKING:
    from harness.spec.scenario import Quality, Scenario


class _Teaching(click.Command):
    """A command whose help explains the words of a scenario, read from where they are declared."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  (click's)
        """After the options: what a target can have, what can be needed, what an objective is about."""
        from harness.metrics import METRICS
        from harness.recommend import words
        from harness.spec.capabilities import QUALITIES

        parts: dict[str, Mapping[Any, str]] = {
            "target.has: what is there": words.FACILITIES,
            "needs: what it has to ...": QUALITIES,
            "objectives.metric: what is measured": {
                name: metric.title + (f" (state: {', '.join(metric.states)})" if metric.states else "")
                for name, metric in METRICS.items()
                if metric.of != "machine"
            },
        }
        for title, meanings in parts.items():
            with formatter.section(title):
                formatter.write_dl(list(meanings.items()))


@click.command(cls=_Teaching)
@click.argument("scenario", required=False)
@console.json_option
def scenarios(scenario: str | None, as_json: bool) -> int:
    """List the scenarios; with SCENARIO (a name or a file), check it and show what it asks for.

    A scenario says what the target has (target), how requests come (traffic), which qualities a method must have
    (needs), and what matters how much (objectives): each a metric with its weight, a fixed scale from worst (worth 0)
    to best (worth 1), and a limit, if it has one, beyond which a method is left out.

    To write one of your own, copy a file of scenarios/ and change it; docs/scenarios.md explains each key. Exit code 2
    where the file is not a scenario, 1 where its target and needs leave no method.
    """
    from harness.spec import scenario as files

    if scenario is None:
        _list([files.find(name) for name in files.names()], as_json=as_json)
        return 0
    one = files.find(scenario)
    standing = _standing(one)
    if as_json:
        console.as_json({**dataclasses.asdict(one), "methods": standing, "about_needs": _about_needs(one)})
    else:
        _show(one, standing)
    return 1 if all(standing.values()) else 0


def _list(found: Sequence[Scenario], *, as_json: bool) -> None:
    if as_json:
        console.as_json([dataclasses.asdict(one) for one in found])
        return
    rows = [
        (
            one.name,
            one.title,
            one.article_case.replace("-", " "),
            f"{one.traffic.pattern}, {one.traffic.requests_per_day:,.12g} a day",
            ", ".join(one.target.has) or "nothing",
            ", ".join(one.needs) or "nothing in particular",
        )
        for one in found
    ]
    console.table("", ("scenario", "title", "the article's case", "requests", "target has", "needs"), rows)
    console.say(
        "'harness scenarios NAME' explains one; a path to a scenario.toml of yours is checked and explained in the "
        "same way. 'harness scenarios --help' tells the words."
    )


def _standing(one: Scenario) -> dict[str, list[str]]:
    """What each method lacks of what target and needs ask for: nothing where it can be taken."""
    from harness.methods import METHODS

    return {
        name: [*sorted(method.REQUIRES - set(one.target.has)), *(q for q in one.needs if q not in method.PROVIDES)]
        for name, method in METHODS.items()
    }


def _about_needs(one: Scenario) -> dict[str, dict[str, Any]]:
    """For each need what it means, and for every method what is stated of it, with sources and dates."""
    from harness.methods import METHODS
    from harness.spec import capabilities

    return {
        need: {
            "means": capabilities.QUALITIES[need],
            "statements": [
                {"method": name, **_stated(need, method.LAYERS), "has": need in method.PROVIDES}
                for name, method in METHODS.items()
            ],
        }
        for need in one.needs
    }


def _stated(need: Quality, layers: Any) -> dict[str, str]:
    """What is stated that decides: that a layer has it, else that one lacks it."""
    from harness.spec import capabilities

    first = capabilities.about(need, layers)[0]
    return {"statement": first.statement, "source": first.source, "read_on": first.read_on}


def _show(one: Scenario, standing: Mapping[str, Sequence[str]]) -> None:
    from harness.recommend import article, words

    console.say(f"{one.title} ({one.name})\n\n{one.description.strip()}\n")
    target = one.target
    has = words.listing(map(words.facility, target.has)) if target.has else "nothing that a method could require"
    bounds = [
        f"{amount:,} MB of {what}" if amount is not None else f"no limit of {what}"
        for what, amount in (("memory", target.memory_mb), ("disk", target.disk_mb))
    ]
    console.item(f"Target: {has}; {words.listing(bounds)}", indent=0, mark="")
    console.say(f"Traffic: {one.traffic.pattern}, {one.traffic.requests_per_day:,.12g} requests a day")
    case = f"{one.article_case.replace('-', ' ')}, for '{article.SAYS[one.article_case]}'"
    console.item(f"The article's case: {case}", indent=0, mark="")
    _show_objectives(one)
    if one.needs:
        _show_needs(one)
    else:
        console.say("Needs: nothing in particular\n")
    _show_standing(standing)


def _show_objectives(one: Scenario) -> None:
    from harness.metrics import METRICS
    from harness.report.numbers import share, shown

    total = sum(objective.weight for objective in one.objectives)
    rows = []
    for objective in one.objectives:
        unit = METRICS[objective.metric].unit
        title = METRICS[objective.metric].title + (f", {objective.state}" if objective.state else "")
        limit = shown(objective.limit, unit) if objective.limit is not None else "-"
        ends = (shown(objective.best, unit), shown(objective.worst, unit))
        rows.append((title, share(objective.weight / total), *ends, objective.scale, limit))
    columns = ("what matters", "weight", "worth 1 at", "worth 0 at", "scale", "limit")
    console.table("", columns, rows, right=(1, 2, 3, 5))


def _show_needs(one: Scenario) -> None:
    """Each need with who has it and who lacks it: methods of which the same is stated share a row."""
    sources: list[str] = []
    for need, told in _about_needs(one).items():
        rows: dict[tuple[bool, str, str], list[str]] = {}
        for each in told["statements"]:
            source = f"{each['source']}, read {each['read_on']}"
            rows.setdefault((each["has"], each["statement"], source), []).append(each["method"])
        cells = []
        for (has, statement, source), methods in sorted(rows.items(), key=lambda row: not row[0][0]):
            if source not in sources:
                sources.append(source)
            place = f"[{sources.index(source) + 1}]"
            cells.append(("has it" if has else "lacks it", ", ".join(methods), statement, place))
        console.table(f"It has to {told['means']} ({need})", ("", "method", "stated", "source"), cells)
    for number, source in enumerate(sources, start=1):
        console.say(f"[{number}] {source}")
    console.say()


def _show_standing(standing: Mapping[str, Sequence[str]]) -> None:
    left = [name for name, lacks in standing.items() if not lacks]
    if left:
        text = f"Target and needs leave {len(left)} of {len(standing)} methods: {', '.join(left)}"
        console.item(text, indent=0, mark="")
    else:
        console.say("Target and needs leave no method; 'harness recommend' would exclude them all:")
    reasons: dict[tuple[str, ...], list[str]] = {}
    for name, lacks in standing.items():
        reasons.setdefault(tuple(lacks), []).append(name)
    for lacks_of_these, names in reasons.items():
        if lacks_of_these:
            console.item(f"{', '.join(names)}: without {', '.join(lacks_of_these)}")


COMMANDS = (scenarios,)
