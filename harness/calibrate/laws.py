"""Which physical terms make up a metric: a base, and so much per byte, per file, per second of a local start.

A law has at most four terms, and a reader can check each against what the method does. Ways of packaging treat the
same model differently: one carries everything that is installed, one what pruning leaves, one the libraries and the
bytecode that a start loads, one only the model's own files. So a metric has several laws, the plainest first; which
one is a method's is decided by how well each predicts families that it has not seen (:mod:`harness.calibrate.fitting`).
The last resort is the base alone: the same for every model.

``needs`` is how many models must be behind a term before it is fitted; until then its coefficient is ``prior``: what
physics says where nothing is known (bytes travel once, a start takes as long as it takes), or nothing at all. A law
that loses a term when a family is held out errs more there than the whole law will, so its interval is too wide rather
than too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.measure import sentinel
from harness.measure.contents import Amount
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


Law = tuple[Term, ...]

#: The feature of the term that stands alone: it is 1 for every model.
BASE = "base"

_Carried = Callable[[Profile], tuple[Amount | None, ...]]

#: What a method may carry of a model, in a reader's words, and where that lies in its profile.
CARRIED: Mapping[str, tuple[str, _Carried]] = {
    "all": ("everything", lambda p: (p.installed.total, p.weights)),
    "kept": ("what pruning leaves", lambda p: (p.kept.total, p.weights)),
    "shipped": (
        "pruned packages and loaded bytecode",
        lambda p: (p.kept.without_bytecode, p.loaded, p.weights),
    ),
    "own": ("the model's own files", lambda p: (p.weights,)),
}

_KINDS: tuple[tuple[str, str, Unit, Callable[[Amount], int]], ...] = (
    ("archived_bytes", "{}, archived", "bytes", lambda amount: amount.archived_bytes),
    ("packed_bytes", "{}, compressed", "bytes", lambda amount: amount.packed_bytes),
    ("bytes", "{}", "bytes", lambda amount: amount.bytes),
    ("files", "files of {}", "n", lambda amount: amount.files),
)

_LOCAL: tuple[tuple[str, str, Unit], ...] = (
    ("start_s", "local start", "s"),
    ("warm_s", "warm local request", "s"),
    ("cpu_s", "CPU of a local start", "s"),
    ("peak_resident_bytes", "local peak resident", "bytes"),
    ("peak_memory_bytes", "local peak memory", "bytes"),
)


def _start(quantity: str, state: State) -> Callable[[Profile], float | None]:
    return lambda profile: profile.median(quantity, state)


def _carried(parts: _Carried, count: Callable[[Amount], int]) -> Callable[[Profile], float | None]:
    def of(profile: Profile) -> float | None:
        known = [part for part in parts(profile) if part is not None]
        return float(sum(map(count, known))) if len(known) == len(parts(profile)) else None

    return of


def _loaded(count: Callable[[Profile, Amount], float]) -> Callable[[Profile], float | None]:
    return lambda profile: None if profile.loaded is None else float(count(profile, profile.loaded))


def _frozen_packed(profile: Profile, loaded: Amount) -> int:
    """Libraries and data as they are, bytecode, the model."""
    kept = profile.kept
    return sum(one.packed_bytes for one in (kept.native, kept.data, loaded, profile.weights))


def _least(profile: Profile, loaded: Amount) -> int:
    """A PEX is filled up with bytecode until it is as large as with the whole wheels."""
    packages = profile.kept.without_bytecode + loaded
    return min(packages.packed_bytes, profile.wheel_bytes) + profile.weights.packed_bytes


FEATURES: Mapping[str, Feature] = {
    BASE: Feature(title="base", unit="n", of=lambda _: 1.0),
    **{
        f"{name}_{kind}": Feature(title=worded.format(title), unit=unit, of=_carried(parts, count))
        for name, (title, parts) in CARRIED.items()
        for kind, worded, unit, count in _KINDS
    },
    "frozen_packed_bytes": Feature(
        title="libraries, data and loaded bytecode, compressed", unit="bytes", of=_loaded(_frozen_packed)
    ),
    # What is frozen has its bytecode compressed in one file, and libraries and data beside that.
    "frozen_bytes": Feature(
        title="libraries, data and compressed loaded bytecode",
        unit="bytes",
        of=_loaded(lambda p, loaded: (p.kept.native + p.kept.data + p.weights).bytes + loaded.packed_bytes),
    ),
    "frozen_files": Feature(
        title="files of libraries and data",
        unit="n",
        of=lambda p: float((p.kept.native + p.kept.data + p.weights).files),
    ),
    "least_packed_bytes": Feature(
        title="wheels, or what is shipped where that is less, compressed", unit="bytes", of=_loaded(_least)
    ),
    "compiled_bytes": Feature(
        title="bytecode of everything", unit="bytes", of=lambda p: float(p.installed.bytecode.bytes)
    ),
    "loaded_bytes": Feature(title="loaded bytecode", unit="bytes", of=_loaded(lambda _, loaded: loaded.bytes)),
    **{
        f"{quantity}@{state}": Feature(title=f"{title}, {state}", unit=unit, of=_start(quantity, state))
        for state in START_STATES
        for quantity, title, unit in _LOCAL
    },
}

_BASE = Term(feature=BASE, needs=1)
_ALONE: Law = (_BASE,)


def _law(*features: str, prior: float = 0.0) -> Law:
    """A base and these; the first needs two models, each further one two more."""
    return (_BASE, *(Term(feature=name, needs=2 * place, prior=prior) for place, name in enumerate(features, start=1)))


def _any_of(*features: str) -> tuple[Law, ...]:
    """A law for each of the features, all of which travel or lie there once; and the simple rule."""
    return (*(_law(name, prior=1.0) for name in features), _ALONE)


#: What is unpacked, compiled, compressed or copied: work by the byte and by the file, of what a method may carry.
_WORK: tuple[Law, ...] = (
    _law("all_bytes"),
    _law("all_bytes", "all_files"),
    _law("kept_bytes"),
    _law("kept_bytes", "kept_files"),
    _law("shipped_bytes"),
    _law("shipped_bytes", "shipped_files"),
    _law("frozen_bytes", "frozen_files"),
    _law("all_packed_bytes", "own_files"),
    _law("compiled_bytes", "all_bytes", "own_files"),
    _law("loaded_bytes", "all_bytes", "own_files"),
    _law("compiled_bytes", "all_packed_bytes", "own_files"),
    _law("loaded_bytes", "all_packed_bytes", "own_files"),
    _law("own_bytes", "own_files"),
    _ALONE,
)


def _starts(quantity: str, state: State) -> tuple[Law, ...]:
    """As a local start, with what is unpacked, compiled or read anew at each one."""
    local = Term(feature=f"{quantity}@{state}", needs=2, prior=1.0)
    by_byte, by_file = Term(feature="shipped_bytes", needs=6), Term(feature="shipped_files", needs=6)
    frozen, frozen_files = Term(feature="frozen_bytes", needs=6), Term(feature="frozen_files", needs=6)
    further = ((by_byte,), (by_file,), (frozen,), (by_byte, by_file), (frozen, frozen_files))
    return ((_BASE, local), *((_BASE, local, *terms) for terms in further), _ALONE)


#: (metric, state) -> its laws, the plainest first. What is not here is not predicted.
LAWS: Mapping[tuple[str, State], tuple[Law, ...]] = {
    ("packed_bytes", ""): _any_of(
        *("all_archived_bytes", "kept_packed_bytes", "shipped_archived_bytes", "frozen_packed_bytes"),
        *("least_packed_bytes", "own_packed_bytes"),
    ),
    ("unpacked_bytes", ""): (
        *_any_of("all_bytes", "kept_bytes", "shipped_bytes", "frozen_bytes", "frozen_packed_bytes", "own_bytes")[:-1],
        _law("shipped_bytes", "least_packed_bytes", prior=1.0),  # the file, and what it extracts
        _ALONE,
    ),
    ("files", ""): _any_of("all_files", "kept_files", "shipped_files", "frozen_files", "own_files"),
    # What stands for a warm request in costs, where no load was measured.
    ("warm_request_s", "page-warm"): (_law("warm_s@page-warm", prior=1.0), _ALONE),
    ("build_clean_s", ""): _WORK,
    ("install_s", ""): _WORK,
    **{
        (metric, state): _starts(quantity, state)
        for state in START_STATES
        for metric, quantity in (
            ("cold_start_s", "start_s"),
            ("peak_memory_bytes", "peak_memory_bytes"),
            ("peak_resident_bytes", "peak_resident_bytes"),
            ("cpu_to_first_s", "cpu_s"),
        )
    },
}


def row(profile: Profile, law: Law, sentinel_s: float) -> tuple[float, ...] | None:
    """The profile's features, term by term; None where one could not be taken.

    Seconds are those of a machine that takes ``sentinel_s`` for the sentinel.
    """
    found = [amount(profile, term.feature, sentinel_s) for term in law]
    return tuple(value for value in found if value is not None) if None not in found else None


def amount(profile: Profile, feature: str, sentinel_s: float) -> float | None:
    """So much of a feature the profile has; see :func:`row`."""
    value = FEATURES[feature].of(profile)
    scaled = value is not None and FEATURES[feature].unit == "s"
    return value * sentinel.pace(profile.sentinel_s, sentinel_s) if scaled and value is not None else value


#: What is too little to matter, in the metric's unit: below it nobody decides otherwise, so errors are held against the
#: value and this together. A twentieth of a second of a build says nothing, of a warm request everything.
NEGLIGIBLE: Mapping[str, float] = {
    "packed_bytes": 1e6,
    "unpacked_bytes": 1e6,
    "peak_memory_bytes": 1e6,
    "peak_resident_bytes": 1e6,
    "files": 10.0,
    "build_clean_s": 0.1,
    "install_s": 0.1,
    "cold_start_s": 0.01,
    "cpu_to_first_s": 0.01,
    "warm_request_s": 1e-4,
}
