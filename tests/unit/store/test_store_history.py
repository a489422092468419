"""What changed from night to night: found where it is, not where it only looks so."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import bootstrap
from harness.measure.sample import CANARY
from harness.store import history
from harness.store.history import Night, changes
from harness.store.query import Evidence, Value
from harness.store.records import Manifest

START = ("cold_start_s", "page-warm")
HOST = {"kernel": "6.1", "python": "3.11.2", "system": "Debian"}


def value(metric: str, state: Any, rounds: list[float], limits: str = "default", **more: Any) -> Value:
    """Of the method ``venv``."""
    known = {"model": "m", "method": "venv", "fidelity": "measured", **more}
    by_round = dict(enumerate(rounds))
    interval = bootstrap.interval(rounds) if rounds else None
    return Value(metric=metric, state=state, limits=limits, by_round=by_round, interval=interval, **known)


def night(
    number: int, start_s: float, *, size: float = 1e6, noise: float = 0.02, spread: float = 0.01, **tools: str
) -> Night:
    """Eight starts around ``start_s``, as many of the canary, and a size."""
    chance = random.Random(number)
    mine = [start_s * (1 + chance.uniform(-spread, spread)) for _ in range(8)]
    again = [one * (1 + chance.uniform(-noise, noise)) for one in mine]
    values = (value(*START, mine), value(*START, again, limits=CANARY), value("packed_bytes", "", [size]))
    manifest = Manifest(
        schema_version=1,
        run_id=f"night-{number:02}",
        created_at="",
        finished_at=None,
        harness_version="1",
        plan={"methods": ["venv"], "profile": "nightly"},
        host=HOST,
        tools=tools,
    )
    evidence = Evidence(run_id=manifest.run_id, model="m", manifest=manifest, values=values)
    return Night(run_id=manifest.run_id, manifest=manifest, evidences={"m": evidence}, sentinel_s=0.1)


def series(*starts: float, **more: Any) -> list[Night]:
    """A night for each."""
    return [night(number, start_s, **more) for number, start_s in enumerate(starts)]


def test_what_stays_is_no_change() -> None:
    """Ten nights that differ by noise."""
    assert changes(series(*[1.0] * 10)) == []


def test_a_change_is_found_where_it_is() -> None:
    """From the fifth night on a third slower; what else was new that night is told."""
    known = [night(number, 1.0, pex="2.1") for number in range(4)]
    known += [night(number, 1.3, pex="2.2") for number in range(4, 8)]
    [found] = changes(known)
    assert (found.since, found.worse, found.recurs, found.nights_before) == ("night-04", True, True, 4)
    assert found.ratio == pytest.approx(1.3, rel=0.02)
    assert found.noise is not None
    assert 1 < found.noise < 1.05
    assert found.sentinel == 1.0
    assert found.new == ("pex: 2.1 -> 2.2",)


def test_one_slow_night_is_none() -> None:
    """It is waited for the next; in the last night it is told as seen once."""
    assert changes(series(1.0, 1.0, 1.0, 1.0, 1.5, 1.0, 1.0)) == []
    [waiting] = changes(series(1.0, 1.0, 1.0, 1.0, 1.5))
    assert (waiting.recurs, waiting.nights_after) == (False, 1)


def test_less_than_the_canary_is_none() -> None:
    """Five per cent, where a method differs from itself by twenty."""
    starts = [1.0] * 4 + [1.05] * 4
    assert changes(series(*starts, noise=0.2)) == []
    assert len(changes(series(*starts))) == 1


def test_what_nights_differ_by_anyway_is_none() -> None:
    """Nights that go up and down by a third: two in a row a little above them all are no change."""
    assert changes(series(1.0, 1.3, 0.9, 1.2, 1.0, 1.4, 1.4, 1.4)) == []


def test_back_again_is_a_change_of_its_own() -> None:
    """For the better."""
    first, second = changes(series(*[1.0] * 4, *[1.5] * 5, *[1.0] * 4))
    assert (first.since, first.worse, second.since, second.worse) == ("night-04", True, "night-09", False)


def test_any_other_size_is_a_change() -> None:
    """By one byte, after one night, with no noise asked about."""
    known = [night(0, 1.0), night(1, 1.0, size=1e6 + 1), night(2, 1.0, size=1e6 + 1)]
    [found] = changes(known)
    assert (found.metric, found.since, found.before, found.after) == ("packed_bytes", "night-01", 1e6, 1e6 + 1)
    assert (found.noise, found.recurs) == (None, True)


def test_what_was_kept_or_varied_is_not_looked_at() -> None:
    """A build of another day tells nothing of the night."""
    known = series(*[1.0] * 6)
    for place, one in enumerate(known):
        kept = value("build_clean_s", "", [1.0 if place < 3 else 9.0], kept=1)
        varied = value(*START, [1.0 if place < 3 else 9.0] * 8, limits="bytecode=none")
        evidence = one.evidences["m"]
        evidence = dataclasses.replace(evidence, values=(*evidence.values, kept, varied))
        known[place] = dataclasses.replace(one, evidences={"m": evidence})
    assert changes(known) == []


@given(st.lists(st.floats(0.5, 2.0), min_size=0, max_size=12))
def test_a_change_is_never_within_what_was_there(starts: list[float]) -> None:
    """Whatever the nights: what is told lies beyond all nights that it is held against, by more than the noise."""
    for one in changes(series(*starts)):
        assert one.metric == "cold_start_s"
        assert one.noise is not None
        assert abs(math.log(one.ratio)) > math.log(one.noise)
        assert one.nights_before >= history.FEWEST


def test_nights_are_of_one_machine(made: Any) -> None:
    """And no other profile's runs are among them."""
    made.write()
    assert history.nights(made.results) == []
