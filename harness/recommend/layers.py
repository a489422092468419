"""Methods combined: the interface of one on the environment of another, such as a REST API in a container.

The article's six families are not exclusive: a container is an environment, an API an interface. Where a scenario
needs what an interface brings (to be called over HTTP, a form page) and an environment does not have it, both together
may be what is wanted. Such a combination was not built: its values are ``modelled`` from those of one run, as

    environment + (interface on its own environment - that environment without it)

for every metric where the three were measured, round by round where they share rounds. For ``rest-api``, which is a
``venv`` with FastAPI and uvicorn in it, the bracket is what those two bring along and cost. How long a warm request
takes, and how many there can be in a second, is the interface's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness import bootstrap
from harness.metrics import METRICS, PERCENTILES
from harness.spec import capabilities
from harness.store.query import Value

if TYPE_CHECKING:
    from harness.methods.contract import Family, Layers
    from harness.metrics import State
    from harness.recommend.limits import Packaging
    from harness.spec.scenario import Facility, Quality, Scenario
    from harness.store.query import Evidence

#: An interface method, and the method that is the same without the interface.
INTERFACES = {"rest-api": "venv"}

#: The metrics to which an interface adds; of the others nothing is known for the combination.
_ADDED = (
    "packed_bytes",
    "over_base_bytes",
    "unpacked_bytes",
    "files",
    "build_clean_s",
    "install_s",
    "cold_start_s",
    "peak_resident_bytes",
    "peak_memory_bytes",
    "anonymous_bytes",
    "cpu_to_first_s",
)

#: The metrics that are the interface's, on whatever environment.
_OF_THE_INTERFACE = (
    "phase_prediction_s",
    "warm_request_s",
    *(f"latency_p{percentile}_s" for percentile in PERCENTILES),
    "throughput_per_s",
    "cpu_per_prediction_s",
)

_SIGN = "+"


@dataclass(frozen=True, kw_only=True)
class Combination:
    """Two methods as one: it requires what both do, and gives what its layers together do."""

    ID: str
    FAMILY: Family
    LAYERS: Layers
    REQUIRES: frozenset[Facility]
    PROVIDES: frozenset[Quality]
    environment: str
    interface: str


def combinations(scenario: Scenario, methods: Mapping[str, Packaging]) -> dict[str, Combination]:
    """Those that give the scenario's needs, where the environment alone does not; by their names."""
    found = {}
    for interface, plain in INTERFACES.items():
        if interface not in methods or plain not in methods:
            continue
        for name, method in methods.items():
            if name in (interface, plain) or not method.LAYERS.platform.startswith("self-hosted"):
                continue
            one = _combined(method, methods[interface], methods[plain])
            needed = set(scenario.needs)
            if needed <= one.PROVIDES and not needed <= method.PROVIDES:
                found[one.ID] = one
    return found


def _combined(environment: Packaging, interface: Packaging, plain: Packaging) -> Combination:
    layers = dataclasses.replace(environment.LAYERS, interface=interface.LAYERS.interface)
    return Combination(
        ID=f"{environment.ID}{_SIGN}{interface.ID}",
        FAMILY=environment.FAMILY,
        LAYERS=layers,
        # What the interface's own environment requires is the other environment's affair.
        REQUIRES=environment.REQUIRES | (interface.REQUIRES - plain.REQUIRES),
        PROVIDES=capabilities.given(layers),
        environment=environment.ID,
        interface=interface.ID,
    )


def with_combinations(evidence: Evidence, found: Mapping[str, Combination]) -> Evidence:
    """The evidence with the modelled values of each combination, and why there are none where there are none."""
    more = [value for one in found.values() for value in _values(evidence, one)]
    return dataclasses.replace(evidence, values=(*evidence.values, *more))


def _values(evidence: Evidence, one: Combination) -> Iterator[Value]:
    plain = INTERFACES[one.interface]
    wrong = next((name for name in (one.environment, one.interface, plain) if evidence.failure(name)), None)
    if wrong is not None:
        yield _value(evidence, one, "parity", "", {}, f"{wrong}: {evidence.failure(wrong)}")
        return
    yield _value(evidence, one, "parity", "", {0: 1.0}, "")
    for metric in _ADDED:
        states: tuple[State, ...] = METRICS[metric].states or ("",)
        for state in states:
            parts = [evidence.value(name, metric, state) for name in (one.environment, one.interface, plain)]
            if all(part is not None and part.interval is not None for part in parts):
                rounds = _added(*[part for part in parts if part is not None])
                yield _value(evidence, one, metric, state, rounds, "")
    for value in evidence.values:
        if (value.method, value.limits) == (one.interface, "default") and value.metric in _OF_THE_INTERFACE:
            yield dataclasses.replace(value, method=one.ID, fidelity="modelled")


def _added(environment: Value, interface: Value, plain: Value) -> dict[int, float]:
    """By round where there are rounds that the three share, else the environment's, moved by what the medians add.

    Predictions share none; a combination of them is as uncertain as the environment at least.
    """
    shared = [number for number in environment.by_round if number in interface.by_round and number in plain.by_round]
    if shared:
        return {
            number: environment.by_round[number] + max(interface.by_round[number] - plain.by_round[number], 0.0)
            for number in shared
        }
    assert interface.interval is not None
    assert plain.interval is not None
    added = max(interface.interval.median - plain.interval.median, 0.0)
    return {number: value + added for number, value in environment.by_round.items()}


def _value(
    evidence: Evidence, one: Combination, metric: str, state: State, rounds: dict[int, float], why: str
) -> Value:
    return Value(
        model=evidence.model,
        method=one.ID,
        limits="default",
        metric=metric,
        state=state,
        fidelity="modelled",
        by_round=rounds,
        interval=bootstrap.interval(list(rounds.values())) if rounds else None,
        failed=1 if why else 0,
        why_absent=why,
    )
