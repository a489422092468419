"""``run.json`` of schema 1, as it may be: what every reader relies on, by type.

A results folder may be anybody's, so a manifest is checked against these records before it is used. Fields that are not
named here may be there (a later harness of the same schema adds some); of them only :func:`check_bounds` is asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from harness.measure.plan import PARTS, Kept
from harness.measure.sample import ROUNDS, Date, Label, Name
from harness.metrics import State

#: How deep a manifest is nested, how many values it has, and how many letters a text: far beyond any honest one.
DEPTH, VALUES, LETTERS = 12, 500_000, 65_536
_LARGEST = 2.0**63

_OPEN: Any = {"extra": "ignore", "strict": True, "allow_inf_nan": False}

Text = Annotated[str, StringConstraints(max_length=LETTERS)]
Word = Annotated[str, StringConstraints(max_length=300, pattern=r"^[^\p{C}\p{Zl}\p{Zp}]*$")]
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.,=:/ -]*$", max_length=300)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=2**63)]
Amount = Annotated[float, Field(ge=0, le=1e15)]
Names = Annotated[tuple[Name, ...], Field(max_length=1000)]
Words = Annotated[tuple[Word, ...], Field(max_length=10_000)]
Part = Annotated[str, StringConstraints(pattern=f"^({'|'.join(PARTS)})$")]


@dataclass(frozen=True, kw_only=True)
class Planned:
    """``plan``; see :class:`harness.measure.plan.Plan`."""

    __pydantic_config__ = _OPEN

    models: Names
    methods: Names
    profile: Word = ""
    rounds: Annotated[int, Field(ge=0, le=ROUNDS)] = 0
    most: Annotated[int, Field(ge=0, le=ROUNDS)] = 0
    builds: Annotated[int, Field(ge=0, le=1000)] = 0
    installs: Annotated[int, Field(ge=0, le=1000)] = 1
    seed: Annotated[int, Field(ge=0, le=2**63)] = 0
    states: Annotated[tuple[State, ...], Field(max_length=20)] = ()
    folders: dict[Name, Text] = field(default_factory=dict)
    parts: Annotated[tuple[Part, ...], Field(max_length=20)] = ()
    canary: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{0,100}$")] = ""
    variants: Annotated[tuple[Label, ...], Field(max_length=1000)] = ()
    every: Annotated[int, Field(ge=1, le=10_000)] = 1
    night: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    kept: Annotated[tuple[Kept, ...], Field(max_length=20)] = ()


@dataclass(frozen=True, kw_only=True)
class Host:
    """``host``: what tells one machine from another; what else is there is only shown."""

    __pydantic_config__ = _OPEN

    processor: Word
    cores: Annotated[int, Field(ge=1, le=1_000_000)]
    python: Word
    machine: Word = ""
    memory_bytes: Count = 0
    kernel: Word = ""
    system: Word = ""


@dataclass(frozen=True, kw_only=True)
class Features:
    """What the article's rules ask of a model."""

    __pydantic_config__ = _OPEN

    dependencies: Count = 0
    pinned: Count = 0
    system_packages: Count = 0


@dataclass(frozen=True, kw_only=True)
class Locked:
    """One lock of a model."""

    __pydantic_config__ = _OPEN

    packages: Count = 0
    wheel_bytes: Count = 0


@dataclass(frozen=True, kw_only=True)
class Described:
    """A model, under its name in ``models``."""

    __pydantic_config__ = _OPEN

    payload: Word = ""
    described: Word = ""
    version: Word = ""
    family: Word = ""
    framework: Word = ""
    system_packages: Words = ()
    memory_mb: Annotated[int, Field(ge=0, le=2**40)] | None = None
    features: Features = field(default_factory=Features)
    locks: dict[Key, Locked] = field(default_factory=dict)
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Made:
    """An artifact, under ``model/method`` in ``artifacts``."""

    __pydantic_config__ = _OPEN

    digest: Word = ""
    memory_mb: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,12}$")] | Count | None = None


@dataclass(frozen=True, kw_only=True)
class Available:
    """Whether a method could be used there, under its name in ``availability``."""

    __pydantic_config__ = _OPEN

    ready: bool
    reason: Text = ""
    remedy: Text = ""


def _paired(steps: dict[str, float]) -> dict[str, float]:
    missing = [key for key in steps if key.endswith("_s") and f"{key.removesuffix('_s')}_n" not in steps]
    missing += [key for key in steps if key.endswith("_n") and f"{key.removesuffix('_n')}_s" not in steps]
    if missing:
        raise ValueError(f"{missing[0]} is not a count beside its seconds")
    return steps


Steps = Annotated[dict[Key, Amount], Field(max_length=1000), AfterValidator(_paired)]


@dataclass(frozen=True, kw_only=True)
class Written:
    """The whole of ``run.json``."""

    __pydantic_config__ = _OPEN

    schema_version: int
    run_id: Name
    created_at: Date
    finished_at: Date | None
    harness_version: Word
    plan: Planned
    host: Host
    tools: dict[Key, Word] = field(default_factory=dict)
    models: dict[Name, Described] = field(default_factory=dict)
    artifacts: dict[Key, Made] = field(default_factory=dict)
    availability: dict[Name, Available] = field(default_factory=dict)
    timings: dict[Key, Amount] = field(default_factory=dict)
    steps: dict[Key, Steps] = field(default_factory=dict)
    digests: dict[Key, Digest] = field(default_factory=dict)


def check_bounds(table: Any) -> tuple[str, str]:
    """The first key whose value is beyond what is reasonable, and what is wrong with it; twice nothing where none is.

    That is what types don't say: how deep, how many, how long, how large, and halves of characters.
    """
    waiting, count = [("", table, 0)], 0
    while waiting:
        key, value, depth = waiting.pop()
        count += 1
        if depth > DEPTH or count > VALUES:
            return key, "is nested too deeply" if depth > DEPTH else f"is beyond {VALUES:,} values"
        if isinstance(value, str) and (len(value) > LETTERS or not _whole(value)):
            return key, f"is not a text of at most {LETTERS:,} letters"
        if isinstance(value, int | float) and not (math.isfinite(value) and abs(value) <= _LARGEST):
            return key, "is not a number of reasonable size"
        if isinstance(value, list):
            waiting += [(key, part, depth + 1) for part in value]
        if isinstance(value, dict):
            for name, part in value.items():
                if len(name) > LETTERS or not _whole(name):
                    return key, "has a key that is not a name"
                waiting.append((f"{key}.{name}" if key else name, part, depth + 1))
    return "", ""


def _whole(text: str) -> bool:
    """Whether it has no half of a character, which nothing can write."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
