"""What changed from night to night: when, by how much, and what else was new that night.

A change is told when three things come together:

* it is *found*: the night's 95 % interval lies beyond those of all of the up to seven nights before it;
* it *recurs*: the next night's lies there as well; until then it is told as seen once;
* it is larger than the *noise*: the farthest that a method was from itself (the A/A canary) in any of these nights, and
  than what the nights before differ by among themselves, which is all there is to go by where a night has one value.

No distribution is assumed. A size is exact: there any change is one, and no noise is asked about. Nights of different
machines are never held against each other; where the machine itself became slower or faster (the sentinel), that is
told beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.bootstrap import Interval
from harness.errors import BadInput, CheckFailure
from harness.measure.host import same_machine
from harness.measure.sample import SENTINEL
from harness.metrics import METRICS, START_STATES, State
from harness.store import query, runs
from harness.store.query import Evidence, Value
from harness.store.records import Manifest
from harness.store.runs import LeftOut

#: How many nights before one it is held against, at most and at least.
MOST, FEWEST = 7, 4

#: Metrics whose values don't vary: any change is a change (METHODOLOGY, rule 10).
_EXACT_UNITS = frozenset({"bytes", "n", "bool"})


@dataclass(frozen=True, kw_only=True)
class Night:
    """A nightly run and what it knows of each model."""

    run_id: str
    manifest: Manifest
    evidences: Mapping[str, Evidence]
    sentinel_s: float | None


@dataclass(frozen=True, kw_only=True)
class Change:
    """A value that is not what it was.

    ``before`` and ``after`` are medians over the nights on either side, ``ratio`` their quotient, infinite where it was
    nothing before. ``recurs`` is False where only one night has it so far. ``noise`` is the factor that the canary's
    farthest end was from 1, ``sentinel`` the ratio of the sentinels on either side; None where it is not known.
    ``new`` are tools and versions that the first night after has otherwise than the last one before, as ``name: old ->
    new``.
    """

    model: str
    method: str
    metric: str
    state: State
    since: str
    nights_before: int
    nights_after: int
    before: float
    after: float
    ratio: float
    worse: bool
    recurs: bool
    noise: float | None
    sentinel: float | None
    new: tuple[str, ...]


def nights(results: Path, left_out: LeftOut = runs.silently) -> list[Night]:
    """The nightly runs of the machine of the newest one, the oldest first; ``left_out`` is told of damaged ones."""
    found = [
        (run_id, manifest)
        for run_id, manifest in runs.readable(results, left_out)
        if manifest.plan.get("profile") == "nightly"
    ]
    known = []
    for run_id, manifest in found:
        if same_machine(dict(manifest.host), dict(found[-1][1].host)):
            try:
                known.append(_night(results, run_id, manifest))
            except (BadInput, CheckFailure) as error:
                left_out(run_id, error)
    return known


def _night(results: Path, run_id: str, manifest: Manifest) -> Night:
    every = query.evidences(results, run_id)
    sentinels = [
        value.interval.median
        for one in every
        for value in one.values
        if value.method == SENTINEL and value.interval is not None
    ]
    return Night(
        run_id=run_id,
        manifest=manifest,
        evidences={one.model: one for one in every},
        sentinel_s=sorted(sentinels)[len(sentinels) // 2] if sentinels else None,
    )


def changes(known: Sequence[Night]) -> list[Change]:
    """Every change over the nights, the oldest first; of each value only nights that have it are held together."""
    found: list[Change] = []
    for key in _keys(known):
        found += _of_value(key, [(night, value) for night in known if (value := _value(night, key)) is not None])
    order = {night.run_id: place for place, night in enumerate(known)}
    return sorted(found, key=lambda one: (order[one.since], one.model, one.method, one.metric, one.state))


_HOST = ("kernel", "python", "system")

_Key = tuple[str, str, str, State]
_Series = Sequence[tuple[Night, Interval]]


def _keys(known: Sequence[Night]) -> list[_Key]:
    return list(
        dict.fromkeys(
            (value.model, value.method, value.metric, value.state)
            for night in known
            for one in night.evidences.values()
            for value in one.values
            if _tells(value)
        )
    )


def _tells(value: Value) -> bool:
    """Whether the value is of a method as it is, and taken that night."""
    return (
        value.limits == "default"
        and value.method != SENTINEL
        and value.interval is not None
        and not value.kept
        and METRICS[value.metric].of != "machine"
    )


def _value(night: Night, key: _Key) -> Interval | None:
    model, method, metric, state = key
    evidence = night.evidences.get(model)
    value = evidence.value(method, metric, state) if evidence else None
    return value.interval if value is not None and _tells(value) else None


def _of_value(key: _Key, series: _Series) -> Iterator[Change]:
    """The changes of one value. After one, what is new is what the next nights are held against."""
    least, most = (1, 1) if _is_exact(key) else (FEWEST, MOST)
    begin, place = 0, least
    while place < len(series):
        found = _change(key, series[max(begin, place - most) : place], series[place:])
        if found is not None:
            yield found
            begin = place
        place += least if found is not None else 1


def _change(key: _Key, before: _Series, after: _Series) -> Change | None:
    (first, now), following = after[0], after[1:2]
    side = _side(now, before)
    if not side:
        return None
    recurs = bool(following) and _side(following[0][1], before) == side
    if following and not recurs:
        return None  # it was there for one night
    together = [*after[:1], *(following if recurs else ())]
    old, new = _median(one.median for _, one in before), _median(one.median for _, one in together)
    noise = None if _is_exact(key) else _noise([night for night, _ in (*before, *together)], key[0])
    ratio = new / old if old else math.inf
    if not _is_exact(key) and abs(_log(ratio)) <= max(_log(noise or 1.0), _spread(before)):
        return None
    metric = METRICS[key[2]]
    return Change(
        model=key[0],
        method=key[1],
        metric=key[2],
        state=key[3],
        since=first.run_id,
        nights_before=len(before),
        nights_after=len(together),
        before=old,
        after=new,
        ratio=ratio,
        worse=(new > old) is (metric.direction == "lower"),
        recurs=recurs,
        noise=noise,
        sentinel=_sentinels(before, together),
        new=tuple(_new(before[-1][0].manifest, first.manifest)),
    )


def _is_exact(key: _Key) -> bool:
    metric = METRICS[key[2]]
    return metric.of == "artifact" and metric.unit in _EXACT_UNITS


def _side(now: Interval, before: _Series) -> int:
    """1 where ``now`` lies above all before it, -1 where below, 0 where it reaches into them."""
    if now.low > max(one.high for _, one in before):
        return 1
    return -1 if now.high < min(one.low for _, one in before) else 0


def _spread(before: _Series) -> float:
    """The logarithm of the largest over the smallest median."""
    medians = [one.median for _, one in before]
    return _log(max(medians) / min(medians)) if min(medians) > 0 else 0.0


def _log(ratio: float) -> float:
    return math.log(ratio) if 0 < ratio < math.inf else math.inf


def _noise(known: Sequence[Night], model: str) -> float | None:
    """The factor by which a method was farthest from itself in these nights; None where no canary ran."""
    ends = [
        abs(math.log(end))
        for night in known
        for state in START_STATES
        if model in night.evidences and (ratio := night.evidences[model].canary(state)) is not None
        for end in (ratio.low, ratio.high)
        if end > 0
    ]
    return math.exp(max(ends)) if ends else None


def _sentinels(before: _Series, after: _Series) -> float | None:
    old = [night.sentinel_s for night, _ in before if night.sentinel_s]
    new = [night.sentinel_s for night, _ in after if night.sentinel_s]
    return _median(new) / _median(old) if old and new else None


def _new(one: Manifest, other: Manifest) -> Iterator[str]:
    """What of harness, tools and machine is another."""
    old, new = (
        {"harness": each.harness_version, **each.tools, **{key: str(each.host.get(key, "")) for key in _HOST}}
        for each in (one, other)
    )
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield f"{name}: {old.get(name) or 'none'} -> {new.get(name) or 'none'}"


def _median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
