"""What a run will do: which cells, how often, in which order, all from one recorded seed."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any, Literal

from harness.measure.sample import CANARY
from harness.metrics import START_STATES, State

ProfileName = Literal["quick", "standard", "nightly"]

#: What a run may take from the cache instead of measuring it again.
Kept = Literal["build", "pull", "rebuild"]

#: The parts that a run can have besides builds, installations and starts; see :mod:`harness.measure.parts`.
PARTS = ("rebuild", "memory-limit", "portability", "load")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How thoroughly a run measures.

    A cell is started in at least ``rounds`` rounds, then until the interval of its median is narrow, but in no more
    than ``most``. What is ``kept`` is not taken anew where the cache has it, and stands there with its date: clean
    builds, the last time that a node pulled an image, and parts that last. ``every`` is how many nights it takes until
    each cell has once had its ``parts``, a clean build among them.
    """

    rounds: int
    most: int
    builds: int
    installs: int
    meaning: str
    kept: tuple[Kept, ...] = ("build",)
    node_cold: bool = True
    parts: tuple[str, ...] = PARTS
    every: int = 1
    canary: bool = True


PROFILES: Mapping[ProfileName, Profile] = {
    "quick": Profile(
        rounds=8,
        most=8,
        builds=1,
        installs=1,
        meaning="8 rounds of starts, the fewest behind a headline number; 1 clean build and pull, or the cache's",
        kept=("build", "pull"),
        node_cold=False,
        parts=(),
        canary=False,
    ),
    "standard": Profile(
        rounds=8,
        most=15,
        builds=2,
        installs=3,
        meaning="8 to 15 rounds until the interval is narrow, 3 clean builds and installations, and every other metric",
        kept=("build", "rebuild"),
    ),
    "nightly": Profile(
        rounds=8,
        most=8,
        builds=1,
        installs=1,
        meaning="8 rounds every night; clean builds and the other metrics of a fourteenth of the cells each night",
        every=14,
    ),
}


@dataclass(frozen=True, kw_only=True, order=True)
class Lane:
    """One method as it runs beside others: as it is, as a variant, or a second time; ``limits`` of its cell."""

    method: str
    limits: str = "default"


@dataclass(frozen=True, kw_only=True)
class Start:
    """One cold start to take: in which round, of which lane, in which state."""

    round: int
    lane: Lane
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
    #: The most rounds; 0 is as many as ``rounds``.
    most: int = 0
    installs: int = 1
    parts: tuple[str, ...] = ()
    #: The method that runs a second time, empty for none, and labels of variants: ``method:bytecode=none``.
    canary: str = ""
    variants: tuple[str, ...] = ()
    every: int = 1
    #: Which night it is, in days since 1970: it says which cells are due.
    night: int = 0
    #: What the cache may stand for; see :class:`Profile`.
    kept: tuple[Kept, ...] = ()

    @property
    def last(self) -> int:
        """The most rounds that there can be."""
        return max(self.rounds, self.most)

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """What is built and installed: every method, and the variants of it."""
        plain = [Lane(method=method) for method in self.methods]
        named = [Lane(method=method, limits=label) for method, _, label in (v.partition(":") for v in self.variants)]
        return (*plain, *named)

    @property
    def node_cold(self) -> bool:
        """Whether starts on a node that has nothing of the artifact are taken."""
        return "node-cold" in self.states

    def sparing(self) -> Plan:
        """The same with what an account is billed for least, and known beforehand: one deployment, and its starts."""
        return replace(self, states=START_STATES, most=0, installs=1, parts=(), canary="", variants=())

    def as_dict(self) -> dict[str, Any]:
        """As it stands in ``run.json``."""
        return asdict(self)

    @staticmethod
    def from_dict(table: Mapping[str, Any]) -> Plan:
        """Back from ``run.json``; what an older harness did not write is as it was then."""
        known: dict[str, Any] = {}
        for one in fields(Plan):
            if one.name in table or one.default is MISSING:
                value = table[one.name]
                known[one.name] = tuple(value) if isinstance(value, list) else value
        return Plan(**known)

    def due(self, model: str, lane: Lane) -> bool:
        """Whether tonight is the night on which the cell has its parts."""
        place = zlib.crc32(f"{model}/{lane.method}/{lane.limits}".encode())
        return (place + self.night) % self.every == 0

    def builds_of(self, model: str) -> Iterator[tuple[int, Lane]]:
        """(replicate, lane) of every clean build, interleaved, the order drawn anew for each replicate."""
        for replicate in range(self.builds):
            for lane in self._shuffled(model, "build", replicate, self.lanes):
                yield replicate, lane

    def installs_of(self, model: str) -> Iterator[tuple[int, Lane]]:
        """(replicate, lane) of every installation; the first ones stay for the rounds."""
        for replicate in range(self.installs):
            order = self._shuffled(model, "install", replicate, self.lanes) if replicate else list(self.lanes)
            for lane in order:
                yield replicate, lane

    def starts_of(self, model: str) -> Iterator[tuple[int, list[Start]]]:
        """The starts of each round, in random order over lanes and states."""
        again = [Lane(method=self.canary, limits=CANARY)] if self.canary else []
        states = [state for state in self.states if state != "node-cold"]
        pairs = [(lane, state) for lane in (*self.lanes, *again) for state in states]
        for number in range(self.last):
            order = self._shuffled(model, "start", number, pairs)
            yield number, [Start(round=number, lane=lane, state=state) for lane, state in order]

    def parts_of(self, model: str) -> Iterator[tuple[str, Lane]]:
        """(part, lane) of everything else that is due."""
        for part in self.parts:
            for lane in self._shuffled(model, part, 0, self.lanes):
                if lane.limits == "default" and self.due(model, lane):
                    yield part, lane

    def _shuffled(self, model: str, what: str, number: int, items: Any) -> list[Any]:
        found = list(items)
        random.Random(f"{self.seed}/{model}/{what}/{number}").shuffle(found)
        return found
