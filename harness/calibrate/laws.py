"""Which physical terms make up a metric: a base, and so much per byte, per file, per second of a local start.

A law has at most three terms, and a reader can check each against what the method does. ``needs`` is how many
models must be behind a term before it is fitted; until then its coefficient is ``prior``: what physics says where
nothing is known (bytes travel once, a start takes as long as it takes), or nothing at all. A law that loses a term
when a family is held out errs more there than the whole law will, so its interval is too wide rather than too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.measure.profile import Profile
from harness.metrics import START_STATES, State, Unit


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A number that a profile has; ``of`` gives None where it could not be taken."""

    title: str
    unit: Unit
    of: Callable[[Profile], float | None]


@dataclass(frozen=True, kw_only=True)
class Term:
    """A feature with a coefficient of its own, in the metric's unit per unit of the feature."""

    feature: str
    needs: int
    prior: float = 0.0


def _start(quantity: str, state: State) -> Callable[[Profile], float | None]:
    return lambda profile: profile.median(quantity, state)


_LOCAL: tuple[tuple[str, str, Unit], ...] = (
    ("start_s", "local start", "s"),
    ("warm_s", "warm local request", "s"),
    ("cpu_s", "CPU of a local start", "s"),
    ("peak_resident_bytes", "local peak resident", "bytes"),
    ("peak_memory_bytes", "local peak memory", "bytes"),
)

#: The feature of the term that stands alone: it is 1 for every model.
BASE = "base"

FEATURES: Mapping[str, Feature] = {
    BASE: Feature(title="base", unit="n", of=lambda _: 1.0),
    "wheel_bytes": Feature(title="wheel bytes", unit="bytes", of=lambda p: float(p.wheel_bytes)),
    "installed_bytes": Feature(title="installed bytes", unit="bytes", of=lambda p: float(p.installed_bytes)),
    "installed_files": Feature(title="installed files", unit="n", of=lambda p: float(p.installed_files)),
    "weight_bytes": Feature(title="weight bytes", unit="bytes", of=lambda p: float(p.weight_bytes)),
    "weight_packed_bytes": Feature(
        title="compressed weight bytes", unit="bytes", of=lambda p: float(p.weight_packed_bytes)
    ),
    "carried_bytes": Feature(
        title="installed and weight bytes", unit="bytes", of=lambda p: float(p.installed_bytes + p.weight_bytes)
    ),
    **{
        f"{quantity}@{state}": Feature(title=f"{title}, {state}", unit=unit, of=_start(quantity, state))
        for state in START_STATES
        for quantity, title, unit in _LOCAL
    },
}

_BASE = Term(feature=BASE, needs=1)
#: What is unpacked, compiled or written anew on every start with an empty cache costs by the byte.
_EXTRACTED = Term(feature="carried_bytes", needs=6)


def _as_locally(quantity: str, state: State) -> tuple[Term, ...]:
    local = Term(feature=f"{quantity}@{state}", needs=2, prior=1.0)
    return (_BASE, local, _EXTRACTED) if state == "disk-cold" else (_BASE, local)


#: (metric, state) -> its terms. What is not here is not predicted.
LAWS: Mapping[tuple[str, State], tuple[Term, ...]] = {
    ("packed_bytes", ""): (
        _BASE,
        Term(feature="wheel_bytes", needs=2, prior=1.0),
        Term(feature="weight_packed_bytes", needs=6, prior=1.0),
    ),
    ("unpacked_bytes", ""): (
        _BASE,
        Term(feature="installed_bytes", needs=2, prior=1.0),
        Term(feature="weight_bytes", needs=6, prior=1.0),
    ),
    # What stands for a warm request in costs, where no load was measured.
    ("warm_request_s", "page-warm"): (_BASE, Term(feature="warm_s@page-warm", needs=2, prior=1.0)),
    ("files", ""): (_BASE, Term(feature="installed_files", needs=2, prior=1.0)),
    ("build_clean_s", ""): (
        _BASE,
        Term(feature="carried_bytes", needs=2),
        Term(feature="installed_files", needs=6),
    ),
    ("install_s", ""): (
        _BASE,
        Term(feature="carried_bytes", needs=2),
        Term(feature="installed_files", needs=6),
    ),
    **{
        (metric, state): _as_locally(quantity, state)
        for state in START_STATES
        for metric, quantity in (
            ("cold_start_s", "start_s"),
            ("peak_memory_bytes", "peak_memory_bytes"),
            ("peak_resident_bytes", "peak_resident_bytes"),
            ("cpu_to_first_s", "cpu_s"),
        )
    },
}


def row(profile: Profile, terms: tuple[Term, ...]) -> tuple[float, ...] | None:
    """The profile's features, term by term; None where one could not be taken."""
    found = [FEATURES[term.feature].of(profile) for term in terms]
    return tuple(value for value in found if value is not None) if None not in found else None
