"""Plans: what is done, how often, and in which order."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harness.bootstrap import FEWEST
from harness.cli import measure as command
from harness.measure import parts
from harness.measure.plan import PARTS, PROFILES, Lane, Plan, Start
from harness.measure.sample import CANARY
from harness.metrics import CACHE_STATES, METRICS, START_STATES


def make(
    seed: int = 1, rounds: int = 6, builds: int = 3, methods: tuple[str, ...] = ("a", "b", "c"), **more: Any
) -> Plan:
    """A plan of two models."""
    return Plan(
        models=("m", "n"),
        methods=methods,
        profile="quick",
        rounds=rounds,
        builds=builds,
        seed=seed,
        folders={"m": "/m", "n": "/n"},
        **more,
    )


@given(st.integers(0, 2**31), st.integers(1, 5), st.lists(st.sampled_from("abcd"), min_size=1, unique=True))
def test_every_method_and_state_comes_once_a_round(seed: int, rounds: int, methods: list[str]) -> None:
    """No cell is forgotten in a round, none is taken twice, and rounds come in order."""
    found = list(make(seed=seed, rounds=rounds, methods=tuple(methods)).starts_of("m"))
    assert [number for number, _ in found] == list(range(rounds))
    for number, starts in found:
        wanted = Counter(Start(round=number, lane=Lane(method=m), state=s) for m in methods for s in START_STATES)
        assert Counter(starts) == wanted


def test_every_method_is_built_once_a_replicate() -> None:
    """Builds are interleaved: a replicate of all methods before the next one."""
    found = list(make(builds=4).builds_of("m"))
    assert [number for number, _ in found] == [number for number in range(4) for _ in range(3)]
    for number in range(4):
        assert sorted(lane.method for replicate, lane in found if replicate == number) == ["a", "b", "c"]


def test_the_same_seed_gives_the_same_order() -> None:
    """A plan read back from its manifest does the same in the same order."""
    assert list(make(seed=5).starts_of("m")) == list(make(seed=5).starts_of("m"))
    assert list(make(seed=5).builds_of("m")) == list(make(seed=5).builds_of("m"))


def test_orders_differ() -> None:
    """Between rounds, between models and between seeds the order is drawn anew."""

    def order(seed: int, model: str) -> list[list[tuple[str, str]]]:
        return [[(one.lane.method, one.state) for one in starts] for _, starts in make(seed=seed).starts_of(model)]

    assert len({tuple(one) for one in order(1, "m")}) > 1
    assert order(1, "m") != order(2, "m")
    assert order(1, "m") != order(1, "n")


@given(st.integers(0, 2**31), st.integers(1, 99))
def test_a_plan_survives_its_manifest(seed: int, rounds: int) -> None:
    """Through JSON and back it is the same plan."""
    one = make(seed=seed, rounds=rounds)
    assert Plan.from_dict(json.loads(json.dumps(one.as_dict()))) == one


def test_a_plan_of_an_older_harness_is_read() -> None:
    """What it did not write is as it was then: as many rounds as it says, no canary, no parts."""
    written = {name: value for name, value in make().as_dict().items() if name not in _LATER}
    old = Plan.from_dict(json.loads(json.dumps(written)))
    assert old == make()
    assert (old.last, old.canary, old.parts, old.node_cold) == (6, "", (), False)


_LATER = {"most", "installs", "parts", "canary", "variants", "every", "night"}


def test_the_canary_runs_in_every_round_and_nowhere_else() -> None:
    """A second lane of the same artifact: it is started, not built or installed."""
    plan = make(canary="b")
    again = Lane(method="b", limits=CANARY)
    assert again not in plan.lanes
    for _, starts in plan.starts_of("m"):
        assert Counter(one.state for one in starts if one.lane == again) == Counter(START_STATES)


def test_variants_are_lanes_of_their_own() -> None:
    """They are built, installed and started as the method itself is."""
    plan = make(variants=("a:bytecode=none", "b:bytecode=none,weights=mounted"))
    extra = (Lane(method="a", limits="bytecode=none"), Lane(method="b", limits="bytecode=none,weights=mounted"))
    assert plan.lanes[3:] == extra
    assert {lane for _, lane in plan.builds_of("m")} == {lane for _, lane in plan.installs_of("m")} == set(plan.lanes)


@given(st.integers(0, 10**6), st.integers(1, 9))
def test_each_cell_is_due_once_in_a_turn(night: int, every: int) -> None:
    """In as many nights as a turn has, each cell has its parts once."""
    nights = [make(every=every, night=night + n, parts=PARTS) for n in range(every)]
    for lane in nights[0].lanes:
        assert sum(plan.due("m", lane) for plan in nights) == 1
        taken = Counter(part for plan in nights for part, one in plan.parts_of("m") if one == lane)
        assert taken == Counter(PARTS)


def test_every_profile_gives_headline_numbers() -> None:
    """Each has at least the rounds that a headline median needs; only the quick one leaves metrics out.

    Three clean builds are behind a headline number as well, one of them that of the rebuilds.
    """
    assert list(PROFILES) == ["quick", "standard", "nightly"]
    for name, profile in PROFILES.items():
        assert FEWEST[50] <= profile.rounds <= profile.most
        assert profile.builds >= 1
        assert (profile.parts == PARTS, profile.node_cold, profile.canary) == (name != "quick",) * 3
    assert PROFILES["standard"].builds + ("rebuild" in PROFILES["standard"].parts) >= 3


def test_the_parts_of_a_plan_are_those_that_there_are() -> None:
    """By the same names for plans, for the command line, which must not import them, and in the table of parts."""
    assert PARTS == command.PARTS == tuple(parts.TABLE)
    assert all(part.name == name and METRICS[part.closing] for name, part in parts.TABLE.items())


def test_a_sparing_plan_deploys_once() -> None:
    """Nothing is left of what makes or asks more than was confirmed; rounds, methods and seed stay."""
    whole = make(most=9, installs=3, parts=PARTS, canary="b", variants=("a:bytecode=none",), states=CACHE_STATES)
    assert whole.sparing() == make()
