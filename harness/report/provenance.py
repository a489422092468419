"""Where numbers come from, what is missing, and how calm the machine was."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from harness.bootstrap import Interval
from harness.metrics import METRICS, PHASES
from harness.report import comparison, numbers
from harness.report.facts import Fact, Statistic, identity, text
from harness.store.query import Evidence, Value
from harness.store.records import Manifest

#: Fewest rounds from which an early and a late half are compared.
_ROUNDS_FOR_DRIFT = 4


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Something that is not there, or not all of it: why, and how many samples broke or were dropped.

    ``title`` names all values of the method of which the same is to be said, ``metric`` the first of them.
    ``whole`` is the whole reason where ``why`` shows only its beginning.
    """

    method: str
    metric: str
    title: str
    state: str
    why: Fact | None
    whole: Fact | None
    failed: Fact | None
    dropped: Fact | None


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A value of the run itself: the sentinel with its drift, the download of the wheels for a method."""

    method: str
    metric: str
    title: str
    fidelity: str
    median: Fact
    low: Fact
    high: Fact
    n: Fact
    drift: Fact | None
    spread: Fact | None


@dataclass(frozen=True, kw_only=True)
class Item:
    """One line of provenance."""

    label: str
    fact: Fact


@dataclass(frozen=True, kw_only=True)
class Group:
    """Lines of provenance that belong together."""

    title: str
    items: tuple[Item, ...]


@dataclass(frozen=True, kw_only=True)
class RunPart:
    """What ``run.json`` says of a run."""

    run: str
    groups: tuple[Group, ...]


def gaps(evidence: Evidence) -> tuple[Gap, ...]:
    """What failed or is absent: whole methods, single values in the order of the tables, what other machines need.

    Values that are absent for the reason for which their whole method is absent are not repeated.
    """
    failures = {method: evidence.failure(method) for method in evidence.methods}
    found = [
        Gap(
            method=method,
            metric="",
            title="every value",
            state="",
            **_reason(why, evidence.run_id, evidence.model, method, "failure"),
            failed=_count(evidence.run_id, parity, "failed", parity.failed) if parity else None,
            dropped=_count(evidence.run_id, parity, "dropped", parity.dropped) if parity else None,
        )
        for method, why in failures.items()
        for parity in [evidence.value(method, "parity")]
        if why
    ]
    single = [
        gap
        for value in comparison.ordered(evidence)
        if (value.interval is None or value.failed or value.dropped)
        and (gap := _gap(evidence.run_id, value, failures.get(value.method, ""))) is not None
    ]
    needing = [
        Gap(
            method=method,
            metric="",
            title="on another machine",
            state="",
            **_reason(f"works here, needs {needed} on the target", evidence.run_id, evidence.model, method, "needs"),
            failed=None,
            dropped=None,
        )
        for method in evidence.methods
        if (needed := evidence.left_to_target(method)) and not failures[method]
    ]
    return (*found, *_merged(single), *needing)


def _merged(gaps: Sequence[Gap]) -> Iterator[Gap]:
    """One gap for all values of a method of which the same is to be said: a dropped start drops nine of them."""
    groups: dict[tuple[object, ...], list[Gap]] = {}
    for gap in gaps:
        said = [fact.value if fact else None for fact in (gap.why, gap.failed, gap.dropped)]
        groups.setdefault((gap.method, gap.state, *said), []).append(gap)
    for group in groups.values():
        yield dataclasses.replace(group[0], title=_titles([gap.metric for gap in group]))


def _titles(metrics: Sequence[str]) -> str:
    phases = [f"phase_{name}_s" for name in PHASES]
    whole = set(phases) <= set(metrics)
    kept = [metric for metric in metrics if not whole or metric not in phases[1:]]
    return ", ".join("its phases" if whole and metric == phases[0] else METRICS[metric].title for metric in kept)


def _reason(why: str, *where: str) -> dict[str, Fact | None]:
    """``why`` and ``whole`` of a gap."""
    fact = text(numbers.line(why), *where, shown=numbers.brief(why)) if why else None
    cut = fact is not None and fact.shown != fact.value
    return {"why": fact, "whole": dataclasses.replace(fact, shown=str(fact.value)) if fact and cut else None}


def _gap(run: str, value: Value, known: str) -> Gap | None:
    why = value.why_absent if value.interval is None else ""
    if value.interval is None and known and why in ("", known) and not value.dropped:
        return None
    where = (run, value.model, value.method, value.limits if value.limits != "default" else "", value.metric)
    return Gap(
        method=value.method,
        metric=value.metric,
        title=METRICS[value.metric].title,
        state=value.state,
        **_reason(why, *where, value.state, "absent"),
        failed=_count(run, value, "failed", value.failed),
        dropped=_count(run, value, "dropped", value.dropped),
    )


def _count(run: str, value: Value, statistic: Statistic, number: int) -> Fact | None:
    if not number:
        return None
    return comparison.fact(run, value, statistic, number, numbers.shown(number, "n"))


def conditions(evidence: Evidence) -> tuple[Condition, ...]:
    """The values that belong to no method: the sentinel and its drift over the rounds, the download."""
    return tuple(
        _condition(evidence.run_id, value, value.interval)
        for value in comparison.ordered(evidence)
        if value.interval is not None
        and (value.metric in comparison.CONDITIONS or value.method not in evidence.methods)
    )


def _condition(run: str, value: Value, interval: Interval) -> Condition:
    middle, low, high, n = comparison.interval_facts(run, value, interval)
    ordered = [value.by_round[round_] for round_ in sorted(value.by_round)]
    drift = spread = None
    if len(ordered) >= _ROUNDS_FOR_DRIFT and min(ordered) > 0:
        half = len(ordered) // 2
        late = median(ordered[-half:]) / median(ordered[:half])
        drift = comparison.fact(run, value, "drift", late, numbers.ratio(late))
        wide = max(ordered) / min(ordered)
        spread = comparison.fact(run, value, "ratio", wide, numbers.ratio(wide), against="fastest round")
    return Condition(
        method=value.method,
        metric=value.metric,
        title=METRICS[value.metric].title,
        fidelity=value.fidelity,
        median=middle,
        low=low,
        high=high,
        n=n,
        drift=drift,
        spread=spread,
    )


def run(manifest: Manifest) -> RunPart:
    """The provenance of one run, in the order in which a reviewer asks."""
    itself = {
        "run": manifest.run_id,
        "started": manifest.created_at,
        "finished": manifest.finished_at or "not finished",
        "harness": manifest.harness_version,
        "schema": manifest.schema_version,
    }
    sections: tuple[tuple[str, Mapping[str, Any]], ...] = (
        ("Run", itself),
        ("Plan", manifest.plan),
        ("Host", manifest.host),
        ("Tools", manifest.tools),
        ("Models", manifest.models),
        ("Artifacts", manifest.artifacts),
        ("Methods on this machine", manifest.availability),
        ("Time of the run itself", manifest.timings),
    )
    groups = tuple(_group(manifest.run_id, title, table) for title, table in sections if table)
    return RunPart(run=manifest.run_id, groups=groups)


def _group(run_id: str, title: str, table: Mapping[str, Any]) -> Group:
    seconds = title.startswith("Time")
    return Group(
        title=title,
        items=tuple(
            Item(
                label=numbers.line(" · ".join(path)),
                fact=Fact(
                    id=identity(run_id, title, *path),
                    run=run_id,
                    statistic="value",
                    value=value if isinstance(value, (bool, int, float, str)) or value is None else str(value),
                    shown=numbers.shown(value, "s") if seconds else numbers.keyed(path[-1], value),
                ),
            )
            for path, value in _leaves(table)
        ),
    )


def _leaves(table: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values of nested tables with the path to each."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*above, str(key)))
        elif value != "":
            yield (*above, str(key)), value
