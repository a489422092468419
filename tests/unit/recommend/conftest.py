"""Evidence, scenarios and methods made by hand, in the shape in which the store and the table give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from harness import bootstrap
from harness.metrics import METRICS
from harness.spec.scenario import Objective, Scenario, Target
from harness.store.query import Evidence, Value
from harness.store.records import Manifest

MB = 1_000_000


@dataclass(frozen=True)
class Layered:
    """Layers of a made-up method."""

    environment: str = "venv"
    interface: str = "command line"
    platform: str = "self-hosted"


@dataclass(frozen=True)
class Packager:
    """What the recommendation reads of a method module."""

    ID: str
    FAMILY: str
    REQUIRES: frozenset[str] = frozenset()
    PROVIDES: frozenset[str] = frozenset()
    LAYERS: Layered = field(default_factory=Layered)


class Make:
    """Builders for the tests. A key of measurements is a metric, or ``(metric, state)``."""

    MB = MB

    @staticmethod
    def packager(method: str, family: str = "executable", *, requires: Any = (), provides: Any = ()) -> Packager:
        """A made-up method."""
        return Packager(ID=method, FAMILY=family, REQUIRES=frozenset(requires), PROVIDES=frozenset(provides))

    @staticmethod
    def four() -> dict[str, Packager]:
        """The four methods of the first issue, with what they require and provide."""
        make = Make.packager
        locked = "locked-dependencies"
        return {
            "container": make(
                "container",
                "container",
                requires=["container-engine"],
                provides=["carries-python", "carries-system-libraries", locked, "isolated"],
            ),
            "venv": make("venv", "virtual-environment", requires=["python"], provides=[locked]),
            "pex": make("pex", "executable", requires=["python"], provides=["single-file", locked]),
            "rest-api": make("rest-api", "api", requires=["python"], provides=[locked, "http-api", "form-page"]),
        }

    @staticmethod
    def values(method: str, measured: Mapping[Any, Sequence[float]], *, fidelity: Any = "measured") -> list[Value]:
        """The values of one method, each from its values by round; an empty sequence is a value that is absent."""
        made = []
        for key, rounds in measured.items():
            metric, state = key if isinstance(key, tuple) else (key, "")
            assert metric in METRICS
            made.append(
                Value(
                    model="m",
                    method=method,
                    limits="default",
                    metric=metric,
                    state=state,
                    fidelity=fidelity,
                    by_round=dict(enumerate(rounds)),
                    interval=bootstrap.interval(rounds) if rounds else None,
                    why_absent="" if rounds else "the tool broke",
                )
            )
        return made

    @staticmethod
    def evidence(
        measured: Mapping[str, Mapping[Any, Sequence[float]]],
        *,
        availability: Mapping[str, Mapping[str, Any]] | None = None,
        fidelity: Any = "measured",
    ) -> Evidence:
        """A run over ``measured``: each method answers rightly unless its ``parity`` says otherwise."""
        values = [
            value
            for method, own in measured.items()
            for value in Make.values(method, {"parity": [1.0] * 3, **own}, fidelity=fidelity)
        ]
        manifest = Manifest(
            schema_version=1,
            run_id="R",
            created_at="2025-01-01T00:00:00Z",
            finished_at=None,
            harness_version="0",
            plan={"methods": list(measured)},
            host={},
            availability=availability or {},
        )
        return Evidence(run_id="R", model="m", manifest=manifest, values=tuple(values))

    @staticmethod
    def objective(metric: str = "packed_bytes", weight: float = 1.0, **kwargs: Any) -> Objective:
        """An objective; its scale goes from 1 to 100 unless it is given."""
        return Objective(metric=metric, weight=weight, **{"best": 1.0, "worst": 100.0, **kwargs})

    @staticmethod
    def scenario(
        *objectives: Objective, case: Any = "executable", target: Target | None = None, **kwargs: Any
    ) -> Scenario:
        """A scenario called ``s``."""
        return Scenario(
            spec_version=1,
            name="s",
            title="S",
            description="",
            article_case=case,
            target=target or Target(),
            objectives=objectives or (Make.objective(),),
            **kwargs,
        )


@pytest.fixture(scope="session")
def make() -> type[Make]:
    """The builders."""
    return Make
