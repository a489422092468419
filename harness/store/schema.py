"""``run.json`` of schema 1, as it may be: what every reader relies on, by type.

A results folder may be anybody's, so a manifest is checked against these records before it is used. Fields that are not
named here may be there (a later harness of the same schema adds some); of them only
:func:`harness.spec.kinds.check_bounds` is asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from harness.measure.plan import PARTS, Kept
from harness.measure.sample import ROUNDS
from harness.metrics import State
from harness.spec.kinds import OPEN, Amount, Count, Date, Digest, Host, Key, Label, Name, Text, Word

Names = Annotated[tuple[Name, ...], Field(max_length=1000)]
Words = Annotated[tuple[Word, ...], Field(max_length=10_000)]
Part = Annotated[str, StringConstraints(pattern=f"^({'|'.join(PARTS)})$")]


@dataclass(frozen=True, kw_only=True)
class Planned:
    """``plan``; see :class:`harness.measure.plan.Plan`."""

    __pydantic_config__ = OPEN

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
class Features:
    """What the article's rules ask of a model."""

    __pydantic_config__ = OPEN

    dependencies: Count = 0
    pinned: Count = 0
    system_packages: Count = 0


@dataclass(frozen=True, kw_only=True)
class FromSource:
    """A package that was built from source: the sha256 of what it was built from, and of the wheel."""

    __pydantic_config__ = OPEN

    version: Word
    sdist: Digest
    wheel: Digest


@dataclass(frozen=True, kw_only=True)
class Locked:
    """One lock of a model."""

    __pydantic_config__ = OPEN

    packages: Count = 0
    wheel_bytes: Count = 0
    built_from_source: dict[Key, FromSource] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Described:
    """A model, under its name in ``models``."""

    __pydantic_config__ = OPEN

    payload: Word = ""
    described: Word = ""
    version: Word = ""
    family: Word = ""
    framework: Word = ""
    python: Word = ""
    system_packages: Words = ()
    memory_mb: Annotated[int, Field(ge=0, le=2**40)] | None = None
    features: Features = field(default_factory=Features)
    locks: dict[Key, Locked] = field(default_factory=dict)
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Made:
    """An artifact, under ``model/method`` in ``artifacts``."""

    __pydantic_config__ = OPEN

    digest: Word = ""
    memory_mb: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,12}$")] | Count | None = None


@dataclass(frozen=True, kw_only=True)
class Available:
    """Whether a method could be used there, under its name in ``availability``."""

    __pydantic_config__ = OPEN

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

    __pydantic_config__ = OPEN

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
