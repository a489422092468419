"""``scenario.toml``: a user's requirements as a frozen record.

A scenario says what the target has, what traffic comes, which qualities are needed, and which
metrics matter how much, each on a fixed scale: ``best`` is worth 1, ``worst`` is worth 0, whoever
else is compared.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge, Gt
from pydantic import StringConstraints

from harness import paths
from harness.errors import BadInput
from harness.metrics import SLOW_LINK, State
from harness.spec import reading
from harness.spec.model import DebianPackage, Name

#: The version of the format that this code reads.
SPEC_VERSION = 1

#: What a target can have, and a method can require of it; the last three are an account there.
Facility = Literal["python", "container-engine", "aws", "google-cloud", "azure"]

#: What a scenario can need. What each means, and which layers have it, is in :mod:`harness.spec.capabilities`.
Quality = Literal[
    "carries-python",
    "carries-system-libraries",
    "locked-dependencies",
    "single-file",
    "http-api",
    "form-page",
    "isolated",
    "offline-install",
    "scales-to-zero",
    "autoscaling",
    "managed-monitoring",
    "rollback",
    "managed-patching",
]


@dataclass(frozen=True, kw_only=True)
class Target:
    """The machine it has to run on; None is 'no limit known'. ``link_mbit`` is the link to it, in Mbit/s.

    ``python`` is the version that it has (``3.11``), where it has one and that is known. ``system_packages`` are Debian
    packages that it has beside what a bare system with Python has; None where that is not known.
    """

    __pydantic_config__ = reading.STRICT

    has: tuple[Facility, ...] = ("python", "container-engine")
    memory_mb: Annotated[int, Gt(0)] | None = None
    disk_mb: Annotated[int, Gt(0)] | None = None
    link_mbit: Annotated[float, Gt(0)] = SLOW_LINK / 1e6
    python: Annotated[str, StringConstraints(pattern=r"^3\.\d{1,2}$")] | None = None
    system_packages: tuple[DebianPackage, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """How requests come."""

    __pydantic_config__ = reading.STRICT

    pattern: Literal["steady", "bursty", "rare", "batch"] = "steady"
    requests_per_day: Annotated[float, Ge(0)] = 1000.0


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One thing that matters: a metric, its weight, the fixed scale of its worth, and a limit if it has one.

    ``best`` and ``worst`` are in the metric's unit. On a ``log`` scale each halving is worth the
    same. ``limit`` excludes a method whose measured value is beyond it.
    """

    __pydantic_config__ = reading.STRICT

    metric: str
    state: State = ""
    weight: Annotated[float, Ge(0)]
    best: float
    worst: float
    scale: Literal["linear", "log"] = "log"
    limit: float | None = None


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What ``scenario.toml`` holds."""

    __pydantic_config__ = reading.STRICT

    spec_version: int
    name: Name
    title: str
    description: str
    article_case: Literal["container", "virtual-environment", "serverless", "executable", "cloud-platform", "api"]
    target: Target = field(default_factory=Target)
    traffic: Traffic = field(default_factory=Traffic)
    needs: tuple[Quality, ...] = ()
    objectives: tuple[Objective, ...]


def read(file: Path) -> Scenario:
    """The scenario in ``file``; BadInput for the first thing wrong with it."""
    table = reading.toml_table(file, remedy="'harness scenarios' lists the scenarios that travel with the harness")
    version = table.get("spec_version")
    if version != SPEC_VERSION and version is not None:
        newer = isinstance(version, int) and version > SPEC_VERSION
        raise BadInput(
            f"must be {SPEC_VERSION}",
            file=file,
            key="spec_version",
            value=version,
            remedy="upgrade the harness" if newer else f"spec_version = {SPEC_VERSION}",
        )
    _check_names(table, file)
    scenario = reading.record(Scenario, table, file=file)
    _check_objectives(scenario, file)
    return scenario


def find(name_or_path: str) -> Scenario:
    """The scenario called so in ``scenarios/``, or the scenario file at that path."""
    if re.fullmatch(r"[a-z0-9-]+", name_or_path):
        shipped = paths.data("scenarios") / f"{name_or_path}.toml"
        if os.path.isfile(shipped):
            return read(shipped)
    file = Path(os.path.expanduser(name_or_path))
    if os.path.exists(file):
        if not os.path.isfile(file):
            raise BadInput("is not a file, nor a link to one", file=file, remedy="give the path of a scenario.toml")
        return read(Path(os.path.realpath(file)))  # it is the user who names it: a link is what it points to
    raise BadInput(
        f"no scenario and no file is called '{name_or_path}'",
        remedy=reading.one_of(name_or_path, names()) + ", or the path of a scenario.toml of yours",
    )


def names() -> list[str]:
    """The names of the scenarios that travel with the harness."""
    return sorted(path.stem for path in paths.data("scenarios").glob("*.toml"))


def _check_names(table: Mapping[str, Any], file: Path) -> None:
    """The names of closed sets, before the record's own check: who misspells one is told the one that is meant."""
    target = table.get("target")
    lists = {
        "needs": (table.get("needs"), Quality, "a quality that can be needed"),
        "target.has": (target.get("has") if isinstance(target, dict) else None, Facility, "what a target can have"),
    }
    for key, (given, known, what) in lists.items():
        names = given if isinstance(given, list) else []
        for index, name in enumerate(names):
            if not isinstance(name, str):
                continue  # the record's check says so
            if name not in get_args(known):
                raise BadInput(
                    f"is not {what}",
                    file=file,
                    key=f"{key}.{index}",
                    value=name,
                    remedy=reading.one_of(name, get_args(known)) + "; 'harness scenarios --help' says what each means",
                )
            if name in names[:index]:
                raise BadInput("stands twice", file=file, key=f"{key}.{index}", value=name, remedy="leave one out")


def _check_objectives(scenario: Scenario, file: Path) -> None:
    from harness.metrics import METRICS

    if not any(objective.weight for objective in scenario.objectives):
        raise BadInput("none has a weight above 0", file=file, key="objectives", remedy="weigh at least one metric")
    for index, objective in enumerate(scenario.objectives):
        key = f"objectives.{index}"
        metric = METRICS.get(objective.metric)
        if metric is None or metric.of == "machine":
            raise BadInput(
                "is not a metric of methods" if metric else "is not a metric",
                file=file,
                key=f"{key}.metric",
                value=objective.metric,
                remedy=reading.one_of(objective.metric, [name for name, one in METRICS.items() if one.of != "machine"]),
            )
        same = [other for other in scenario.objectives if (other.metric, other.state) == (metric.name, objective.state)]
        if len(same) > 1:
            raise BadInput("stands twice", file=file, key=f"{key}.metric", value=metric.name, remedy="weigh it once")
        if objective.state not in (metric.states or ("",)):
            raise BadInput(
                f"'{metric.name}' is measured in "
                + (f"the states {', '.join(metric.states)}" if metric.states else "no state"),
                file=file,
                key=f"{key}.state",
                value=objective.state,
                remedy="name one of them" if metric.states else "leave it out",
            )
        upwards = objective.worst > objective.best
        if objective.best == objective.worst or upwards != (metric.direction == "lower"):
            raise BadInput(
                f"'{metric.name}' is better when {metric.direction}: best {objective.best}, worst {objective.worst}",
                file=file,
                key=f"{key}.best",
                value=objective.best,
                remedy="put the better end of the scale in 'best'",
            )
        if objective.scale == "log" and min(objective.best, objective.worst) <= 0:
            raise BadInput(
                "a log scale needs ends above 0",
                file=file,
                key=f"{key}.best",
                value=objective.best,
                remedy='scale = "linear"',
            )
