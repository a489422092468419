"""Hard limits: what rules a method out, each with its evidence, and what could not be checked.

A limit is tested on the median. Where the 95 % interval reaches across it, the exclusion is said not
to be certain, and a method that just passes gets a doubt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from harness.metrics import METRICS
from harness.recommend import words
from harness.spec import capabilities

if TYPE_CHECKING:
    from harness.bootstrap import Interval
    from harness.methods.contract import Family, Layers
    from harness.metrics import Fidelity
    from harness.spec.scenario import Facility, Quality, Scenario
    from harness.store.query import Evidence, Value

Rule = Literal["requires", "needs", "evidence", "limit", "memory", "disk"]


class Packaging(Protocol):
    """What the recommendation needs to know of a method; every module in ``methods/`` has it."""

    @property
    def ID(self) -> str: ...  # noqa: N802  (the method contract's names)
    @property
    def FAMILY(self) -> Family: ...  # noqa: N802
    @property
    def LAYERS(self) -> Layers: ...  # noqa: N802
    @property
    def REQUIRES(self) -> frozenset[Facility]: ...  # noqa: N802
    @property
    def PROVIDES(self) -> frozenset[Quality]: ...  # noqa: N802


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """Why a method is out: the rule, what it is about, and the evidence in a reader's words.

    ``subject`` is the facility, quality or metric. ``measured`` and ``limit`` are in the metric's unit,
    None where the rule is not about a number. ``certain`` is False where the interval reaches the limit.
    """

    method: str
    rule: Rule
    subject: str
    reason: str
    run_id: str
    fidelity: Fidelity | None = None
    metric: str | None = None
    state: str = ""
    measured: float | None = None
    limit: float | None = None
    certain: bool = True


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """Something about a method, or about all (``method`` empty), that a reader must know before deciding."""

    method: str
    text: str


@dataclass(frozen=True, kw_only=True)
class _Bound:
    """A number that a method must not pass, and whose it is."""

    rule: Literal["limit", "memory", "disk"]
    metric: str
    state: str
    limit: float
    whose: str


def check(
    evidence: Evidence, scenario: Scenario, method_id: str, method: Packaging
) -> tuple[list[Exclusion], list[Doubt]]:
    """Every reason that rules the method out, not only the first; and the limits that stay in doubt."""
    exclusions = [
        *_lacking(evidence, scenario, method_id, method),
        *_failed(evidence, method_id),
    ]
    doubts = [*_unsteady(evidence, method_id), *_left_to_the_target(evidence, scenario, method_id, method)]
    for bound in _bounds(evidence, scenario, method_id):
        found = _beyond(evidence, scenario, method_id, bound)
        if isinstance(found, Exclusion):
            exclusions.append(found)
        elif isinstance(found, Doubt):
            doubts.append(found)
    return exclusions, doubts


def _lacking(evidence: Evidence, scenario: Scenario, method_id: str, method: Packaging) -> Iterator[Exclusion]:
    for facility in sorted(method.REQUIRES - set(scenario.target.has)):
        yield Exclusion(
            method=method_id,
            rule="requires",
            subject=facility,
            reason=f"{method_id}: needs {words.facility(facility)}, which the target does not have "
            f"(scenario {scenario.name}); stated by the method",
            run_id=evidence.run_id,
            fidelity="documented",
        )
    built_for, has = _pythons(evidence, scenario)
    if built_for != has and "python" in method.REQUIRES and method.FAMILY != "executable":
        yield Exclusion(
            method=method_id,
            rule="requires",
            subject="python",
            reason=f"{method_id}: is built for Python {built_for}, and the target has {has} (scenario {scenario.name})",
            run_id=evidence.run_id,
            fidelity="documented",
        )
    needed = _needed_of_the_target(evidence, scenario, method_id, method)
    if needed and scenario.target.system_packages is not None:
        yield Exclusion(
            method=method_id,
            rule="requires",
            subject=words.listing(needed),
            reason=f"{method_id}: needs {words.listing(needed)}, which it does not bring along and the target does not "
            f"have (scenario {scenario.name})",
            run_id=evidence.run_id,
            fidelity="documented",
        )
    for quality in scenario.needs:
        if quality not in method.PROVIDES:
            yield Exclusion(
                method=method_id,
                rule="needs",
                subject=quality,
                reason=f"{method_id}: does not give '{quality}', which scenario {scenario.name} needs; "
                + _stated(method, quality),
                run_id=evidence.run_id,
                fidelity="documented",
            )


def _pythons(evidence: Evidence, scenario: Scenario) -> tuple[str, str]:
    """The Python that artifacts of the model are built for, and the target's; twice the same where one is not known."""
    built_for = str(evidence.manifest.models.get(evidence.model, {}).get("python") or "")
    has = scenario.target.python or ""
    return (built_for, has) if built_for and has else ("", "")


def _stated(method: Packaging, quality: Quality) -> str:
    """Why it lacks the quality, who says so, and when that was read."""
    stated = capabilities.about(quality, method.LAYERS)
    return "; ".join(f"{one.statement} ({one.source}, read {one.read_on})" for one in stated) or "stated by the method"


def _failed(evidence: Evidence, method_id: str) -> Iterator[Exclusion]:
    failure = evidence.failure(method_id)
    if not failure:
        return
    parity = evidence.value(method_id, "parity")
    unavailable = str(evidence.manifest.availability.get(method_id, {}).get("reason") or "")
    because = f" ({unavailable})" if parity is None and unavailable else ""
    yield Exclusion(
        method=method_id,
        rule="evidence",
        subject="parity",
        reason=f"{method_id}: {failure}{because}; run {evidence.run_id}",
        run_id=evidence.run_id,
        fidelity=parity.fidelity if parity else None,
        metric="parity",
        measured=parity.interval.median if parity and parity.interval else None,
    )


def _left_to_the_target(evidence: Evidence, scenario: Scenario, method_id: str, method: Packaging) -> Iterator[Doubt]:
    """A Python, and system packages of the model, that a method leaves to a target which is not said to have them.

    Where the method was measured they may have been there.
    """
    built_for, has = _pythons(evidence, scenario)
    if built_for != has and method.FAMILY == "executable" and "python" in method.REQUIRES:
        # A PEX starts under every Python that its wheels are for.
        text = f"{method_id}: was built for Python {built_for}, and the target has {has}"
        yield Doubt(method=method_id, text=f"{text}; it starts there only if no wheel in it is for one version alone")
    needed = _needed_of_the_target(evidence, scenario, method_id, method)
    if needed and scenario.target.system_packages is None:
        text = f"{method_id}: needs {words.listing(needed)} on the target, and does not bring that along"
        yield Doubt(method=method_id, text=text)


def _needed_of_the_target(evidence: Evidence, scenario: Scenario, method_id: str, method: Packaging) -> list[str]:
    """The Debian packages that the method leaves to the target, and the target is not said to have.

    Those that were read from the artifact; where it was not looked into, those that the model names.
    """
    if "carries-system-libraries" in method.PROVIDES:
        return []
    read = evidence.left_to_target(method_id)
    named = evidence.manifest.models.get(evidence.model, {}).get("system_packages", ())
    needed = named if read is None else [name for name in read.split(", ") if name]
    return [name for name in needed if name not in (scenario.target.system_packages or ())]


def _unsteady(evidence: Evidence, method_id: str) -> Iterator[Doubt]:
    """A method that is right on the whole, and was wrong or broke in some rounds: not ruled out, not hidden."""
    parity = evidence.value(method_id, "parity")
    if parity is None or evidence.failure(method_id):
        return
    rounds = len(parity.by_round)
    wrong = sum(right != 1 for right in parity.by_round.values())
    if wrong:
        yield Doubt(method=method_id, text=f"{method_id}: answered wrongly in {wrong} of {rounds} rounds")
    if parity.failed:
        yield Doubt(method=method_id, text=f"{method_id}: failed in {parity.failed} of {rounds + parity.failed} tries")


def _bounds(evidence: Evidence, scenario: Scenario, method_id: str) -> Iterator[_Bound]:
    target = scenario.target
    if target.disk_mb is not None:
        yield _Bound(
            rule="disk",
            metric="unpacked_bytes",
            state="",
            limit=float(target.disk_mb * words.MB),
            whose="that the target has of disk",
        )
    if target.memory_mb is not None:
        yield _Bound(
            rule="memory",
            metric="peak_resident_bytes",
            state=_hungriest_state(evidence, method_id),
            limit=float(target.memory_mb * words.MB),
            whose="that the target has of memory",
        )
    for objective in scenario.objectives:
        if objective.limit is not None:
            yield _Bound(
                rule="limit",
                metric=objective.metric,
                state=objective.state,
                limit=objective.limit,
                whose="that the scenario sets",
            )


def peak(evidence: Evidence, method_id: str) -> float | None:
    """The median peak that is held against the target's memory, in bytes; None where it is not known."""
    interval = evidence.interval(method_id, "peak_resident_bytes", _hungriest_state(evidence, method_id))
    return interval.median if interval else None


def _hungriest_state(evidence: Evidence, method_id: str) -> str:
    """The cache state with the highest peak: a machine that is too small in one state is too small."""
    peaks = {
        state: interval.median
        for state in METRICS["peak_resident_bytes"].states
        if (interval := evidence.interval(method_id, "peak_resident_bytes", state)) is not None
    }
    return max(peaks, key=peaks.__getitem__) if peaks else METRICS["peak_resident_bytes"].states[0]


def _beyond(evidence: Evidence, scenario: Scenario, method_id: str, bound: _Bound) -> Exclusion | Doubt | None:
    value = evidence.value(method_id, bound.metric, bound.state)
    if value is None or value.interval is None:
        if evidence.failure(method_id):
            return None  # ruled out already; that nothing else is known of it is no news
        why = (value.why_absent if value else "") or "was not measured"
        what = words.measure(bound.metric, bound.state)
        limit = words.quantity(bound.limit, METRICS[bound.metric].unit)
        return Doubt(method=method_id, text=f"{method_id}: the limit of {limit} on {what} was not checked: {why}")
    interval = value.interval
    out = not _within(interval.median, bound)
    straddles = _within(interval.low, bound) != _within(interval.high, bound)
    if not out and not straddles:
        return None
    text = _sentence(evidence, scenario, bound, value, interval) + (
        ", which reaches across the limit" if straddles else ""
    )
    if not out:
        return Doubt(method=method_id, text=text)
    return Exclusion(
        method=method_id,
        rule=bound.rule,
        subject=bound.metric,
        reason=text,
        run_id=evidence.run_id,
        fidelity=value.fidelity,
        metric=bound.metric,
        state=bound.state,
        measured=interval.median,
        limit=bound.limit,
        certain=not straddles,
    )


def _within(number: float, bound: _Bound) -> bool:
    return number <= bound.limit if METRICS[bound.metric].direction == "lower" else number >= bound.limit


def _sentence(evidence: Evidence, scenario: Scenario, bound: _Bound, value: Value, interval: Interval) -> str:
    """``venv: unpacked size 271 MB > 250 MB that the target has of disk (scenario S); measured in run R``."""
    metric = METRICS[bound.metric]
    measured, limit = words.apart(interval.median, bound.limit, metric.unit)
    sign = ">" if interval.median > bound.limit else "<" if interval.median < bound.limit else "="
    text = (
        f"{value.method}: {words.measure(bound.metric, bound.state)} {measured} {sign} {limit} {bound.whose} "
        f"(scenario {scenario.name}); {value.fidelity} in run {evidence.run_id}"
    )
    if interval.exact:
        return text
    low, high = words.apart(interval.low, interval.high, metric.unit)
    return f"{text}, 95 % interval {low} to {high}, n = {interval.n}"
