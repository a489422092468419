"""What a run will do: which cells, how often, in which order, all from one recorded seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from harness.metrics import START_STATES, State

ProfileName = Literal["quick", "standard", "nightly"]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How often things are done: rounds of starts, and clean builds.

    Without ``anew`` the clean build that made an artifact of the cache stands for one of this run's, and so does the
    last time that a node pulled an image.
    """

    rounds: int
    builds: int
    meaning: str
    anew: bool = True


PROFILES: Mapping[ProfileName, Profile] = {
    "quick": Profile(
        rounds=8,
        builds=1,
        meaning="8 rounds, the fewest behind a headline number; 1 clean build and pull, or those of the cache",
        anew=False,
    ),
    "standard": Profile(rounds=15, builds=3, meaning="15 rounds, 3 clean builds"),
    "nightly": Profile(rounds=25, builds=5, meaning="25 rounds, 5 clean builds"),
}


@dataclass(frozen=True, kw_only=True)
class Start:
    """One cold start to take: in which round, of which method, in which state."""

    round: int
    method: str
    state: State


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of a run; it stands in the manifest, and a resumed run follows it."""

    models: tuple[str, ...]
    methods: tuple[str, ...]
    profile: str
    rounds: int
    builds: int
    seed: int
    states: tuple[State, ...] = START_STATES
    #: Where each model is, for ``--resume``: its folder, or its name where it travels with the harness.
    folders: Mapping[str, str]

    @property
    def anew(self) -> bool:
        """Whether everything is measured in this run; see :class:`Profile`."""
        return all(self.profile != name or one.anew for name, one in PROFILES.items())

    def as_dict(self) -> dict[str, Any]:
        """As it stands in ``run.json``."""
        return asdict(self)

    @staticmethod
    def from_dict(table: Mapping[str, Any]) -> Plan:
        """Back from ``run.json``."""
        return Plan(
            models=tuple(table["models"]),
            methods=tuple(table["methods"]),
            profile=table["profile"],
            rounds=table["rounds"],
            builds=table["builds"],
            seed=table["seed"],
            states=tuple(table["states"]),
            folders=table["folders"],
        )

    def builds_of(self, model: str) -> Iterator[tuple[int, str]]:
        """(replicate, method) of every clean build, interleaved, the order drawn anew for each replicate."""
        for replicate in range(self.builds):
            for method in self._shuffled(model, "build", replicate, self.methods):
                yield replicate, method

    def starts_of(self, model: str) -> Iterator[tuple[int, list[Start]]]:
        """The starts of each round, in random order over methods and states."""
        for number in range(self.rounds):
            pairs = [(method, state) for method in self.methods for state in self.states]
            order = self._shuffled(model, "start", number, pairs)
            yield number, [Start(round=number, method=method, state=state) for method, state in order]

    def _shuffled(self, model: str, what: str, number: int, items: Any) -> list[Any]:
        found = list(items)
        random.Random(f"{self.seed}/{model}/{what}/{number}").shuffle(found)
        return found
