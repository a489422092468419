"""Plans: what is done, how often, and in which order."""

from __future__ import annotations

import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from harness.bootstrap import FEWEST
from harness.measure.plan import PROFILES, Plan, Start
from harness.metrics import START_STATES


def make(seed: int = 1, rounds: int = 6, builds: int = 3, methods: tuple[str, ...] = ("a", "b", "c")) -> Plan:
    """A plan of two models."""
    return Plan(
        models=("m", "n"),
        methods=methods,
        profile="quick",
        rounds=rounds,
        builds=builds,
        seed=seed,
        folders={"m": "/m", "n": "/n"},
    )


@given(st.integers(0, 2**31), st.integers(1, 5), st.lists(st.sampled_from("abcd"), min_size=1, unique=True))
def test_every_method_and_state_comes_once_a_round(seed: int, rounds: int, methods: list[str]) -> None:
    """No cell is forgotten in a round, none is taken twice, and rounds come in order."""
    found = list(make(seed=seed, rounds=rounds, methods=tuple(methods)).starts_of("m"))
    assert [number for number, _ in found] == list(range(rounds))
    for number, starts in found:
        wanted = Counter(Start(round=number, method=m, state=s) for m in methods for s in START_STATES)
        assert Counter(starts) == wanted


def test_every_method_is_built_once_a_replicate() -> None:
    """Builds are interleaved: a replicate of all methods before the next one."""
    found = list(make(builds=4).builds_of("m"))
    assert [number for number, _ in found] == [number for number in range(4) for _ in range(3)]
    for number in range(4):
        assert sorted(method for replicate, method in found if replicate == number) == ["a", "b", "c"]


def test_the_same_seed_gives_the_same_order() -> None:
    """A plan read back from its manifest does the same in the same order."""
    assert list(make(seed=5).starts_of("m")) == list(make(seed=5).starts_of("m"))
    assert list(make(seed=5).builds_of("m")) == list(make(seed=5).builds_of("m"))


def test_orders_differ() -> None:
    """Between rounds, between models and between seeds the order is drawn anew."""

    def order(seed: int, model: str) -> list[list[tuple[str, str]]]:
        return [[(one.method, one.state) for one in starts] for _, starts in make(seed=seed).starts_of(model)]

    assert len({tuple(one) for one in order(1, "m")}) > 1
    assert order(1, "m") != order(2, "m")
    assert order(1, "m") != order(1, "n")


@given(st.integers(0, 2**31), st.integers(1, 99))
def test_a_plan_survives_its_manifest(seed: int, rounds: int) -> None:
    """Through JSON and back it is the same plan."""
    one = make(seed=seed, rounds=rounds)
    assert Plan.from_dict(json.loads(json.dumps(one.as_dict()))) == one


def test_every_profile_gives_headline_numbers() -> None:
    """Each has at least the rounds that a headline median needs, and each is more thorough than the one before."""
    rounds = [profile.rounds for profile in PROFILES.values()]
    builds = [profile.builds for profile in PROFILES.values()]
    assert list(PROFILES) == ["quick", "standard", "nightly"]
    assert rounds == sorted(set(rounds))
    assert builds == sorted(set(builds))
    assert min(rounds) >= FEWEST[50]
    for profile in PROFILES.values():
        assert f"{profile.rounds} rounds" in profile.meaning
        assert f"{profile.builds} clean build" in profile.meaning
