"""Reference models made by hand: profiles, and a run whose values follow planted coefficients."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.calibrate import laws
from harness.measure import profile as profiles
from harness.measure import sentinel
from harness.measure.contents import Amount, Contents
from harness.measure.needs import Library, Needs
from harness.measure.profile import LocalStart, Profile
from harness.measure.sample import SENTINEL, Cell, Sample
from harness.metrics import METRICS, START_STATES
from harness.store import runs
from harness.store.records import SCHEMA_VERSION, Manifest

HOST = {"processor": "Made-up 3000", "cores": 2, "machine": "x86_64", "python": "3.11.2", "memory_bytes": 1}
RUN = "20240102-030405-made"

#: What the made-up methods add, term by term of the plainest law, to what a profile has.
PLANTED: Mapping[tuple[str, str], tuple[float, ...]] = {
    ("packed_bytes", ""): (2e6, 1.2),
    ("unpacked_bytes", ""): (5e6, 1.1),
    ("files", ""): (30.0, 1.0),
    ("warm_request_s", "page-warm"): (0.001, 1.1),
    ("build_clean_s", ""): (0.7, 2e-8),
    ("install_s", ""): (0.1, 5e-8),
    ("cold_start_s", "page-warm"): (0.05, 1.1),
    ("cold_start_s", "disk-cold"): (0.2, 1.3),
    ("peak_resident_bytes", "page-warm"): (3e6, 1.05),
    ("peak_resident_bytes", "disk-cold"): (3e6, 1.05),
    ("peak_memory_bytes", "page-warm"): (1e6, 1.0),
    ("peak_memory_bytes", "disk-cold"): (1e6, 1.2),
    ("cpu_to_first_s", "page-warm"): (0.03, 1.0),
    ("cpu_to_first_s", "disk-cold"): (0.04, 1.1),
}


def made_profile(model: str, family: str = "trees", *, seed: int = 0, **changes: Any) -> Profile:
    """A profile whose features vary freely with ``seed``."""
    rng = random.Random(f"{model} {seed}")

    def any_of(low: float, high: float) -> float:
        return math.exp(rng.uniform(math.log(low), math.log(high)))

    def amount() -> Amount:
        return Amount(
            bytes=round(any_of(1e6, 1e9)),
            files=round(any_of(10, 20_000)),
            packed_bytes=round(any_of(1e6, 3e8)),
            archived_bytes=round(any_of(1e6, 3e8)),
        )

    def contents() -> Contents:
        return Contents(native=amount(), bytecode=amount(), sources=amount(), data=amount())

    starts = [
        LocalStart(
            state=state,
            sentinel_s=0.1,
            interpreter_s=0.02,
            imports_s=0.1,
            load_s=0.2,
            predict_s=any_of(0.005, 0.5),
            start_s=any_of(0.05, 5.0),
            warm_s=any_of(0.001, 0.1),
            peak_resident_bytes=any_of(1e7, 1e9),
            peak_memory_bytes=any_of(1e7, 1e9),
            cpu_s=any_of(0.05, 5.0),
        )
        for state in START_STATES
    ]
    known: dict[str, Any] = {
        "schema_version": profiles.SCHEMA_VERSION,
        "model": model,
        "family": family,
        "framework": "none",
        "payload": f"{sum(map(ord, model)):024x}",
        "lock": "a" * 64,
        "sources": "b" * 64,
        "created_at": "2024-01-02T03:04:05+00:00",
        "harness_version": "0.1.0",
        "host": HOST,
        "sentinel_s": 0.1,
        "packages": 7,
        "pinned": 3,
        "system_packages": 0,
        "wheel_bytes": round(any_of(1e6, 3e8)),
        "installed": contents(),
        "kept": contents(),
        "loaded": amount(),
        "weights": amount(),
        "starts": tuple(starts),
    }
    return Profile(**{**known, **changes})


def planted(profile: Profile, metric: str, state: str) -> float:
    """What the made-up method measures for the model."""
    row = laws.row(profile, laws.LAWS[metric, state][0], 0.1)  # type: ignore[index]
    assert row is not None
    return sum(one * feature for one, feature in zip(PLANTED[metric, state], row, strict=True))


#: What a model needs of the system, with one library of which nothing is known.
NEEDS = Needs(
    machine="x86_64",
    level=2,
    glibc="2.17",
    libstdcxx="",
    files=3,
    unread=(),
    traced=True,
    base="",
    base_glibc="",
    base_libstdcxx="",
    absent="no archive",
    unnamed="",
    libraries=(Library(soname="liba.so.1", needed_by=("a.so",), loaded=True, here=True, in_image=None, in_base=None),),
)


class Lab:
    """A results folder with profiles and runs that follow what is planted."""

    RUN = RUN
    HOST = HOST
    PLANTED = PLANTED
    NEEDS = NEEDS
    profile = staticmethod(made_profile)
    planted = staticmethod(planted)

    def __init__(self, results: Path) -> None:
        self.results = results

    def models(self, families: int, each: int = 2) -> list[Profile]:
        """Profiles of ``each`` models in each of so many families."""
        return [made_profile(f"m{f}-{n}", f"family-{f}") for f in range(families) for n in range(each)]

    def samples(
        self,
        found: Sequence[Profile],
        methods: Sequence[str],
        noise: Callable[[], float],
        run_id: str = RUN,
        slower: float = 1.0,
    ) -> list[Sample]:
        """Three rounds of the same value for each cell; a sentinel in each, which takes so many times longer."""

        def rounds(cell: Cell, metric: str, value: float, state: Any = "") -> Iterator[Sample]:
            for number in range(3):
                yield Sample(
                    run=run_id,
                    cell=cell,
                    metric=metric,
                    value=value,
                    unit=METRICS[metric].unit,
                    round=number,
                    state=state,
                    fidelity="measured",
                    at="2024-01-02T03:04:06.000+00:00",
                )

        made = []
        for one in found:
            made += rounds(Cell(model=one.model, method=SENTINEL), "sentinel_s", 0.1 * slower)
            for cell in (Cell(model=one.model, method=method) for method in methods):
                made += rounds(cell, "parity", 1.0)
                for metric, state in PLANTED:
                    pace = sentinel.pace(1.0, slower) if METRICS[metric].unit == "s" else 1.0
                    made += rounds(cell, metric, planted(one, metric, state) * noise() * pace, state)
        return made

    def run(
        self,
        found: Sequence[Profile],
        *,
        methods: Sequence[str] = ("venv", "pex"),
        noise: Callable[[], float] = lambda: 1.0,
        run_id: str = RUN,
        profiled: bool = True,
        slower: float = 1.0,
        only: Collection[str] = METRICS,
        **changes: Any,
    ) -> str:
        """Store a run over those models, and their profiles beside it; its name. Of metrics, ``only`` these."""
        noted = {
            one.model: {"payload": one.payload, "family": one.family, "locks": {one.lock[:12]: {}}} for one in found
        }
        names = [one.model for one in found]
        known: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "run_id": run_id,
            "created_at": "2024-01-02T03:04:05+00:00",
            "finished_at": "2024-01-02T03:14:05+00:00",
            "harness_version": "0.1.0",
            "plan": {"models": names, "methods": list(methods), "folders": {name: f"/models/{name}" for name in names}},
            "host": HOST,
            "models": noted,
        }
        with runs.create(self.results, Manifest(**{**known, **changes})) as writer:
            every = self.samples(found, methods, noise, run_id, slower)
            writer.record([sample for sample in every if sample.metric in only])
        if profiled:
            for one in found:
                profiles.write(one, self.results / "profiles")
        return run_id

    @staticmethod
    def on(profile: Profile, host: dict[str, Any], *, slower: float) -> Profile:
        """The profile as another machine would have taken it, on which the sentinel takes so many times longer."""

        def stretched(start: LocalStart) -> LocalStart:
            seconds = {key: value for key, value in dataclasses.asdict(start).items() if key.endswith("_s")}
            longer = {key: value * sentinel.pace(1.0, slower) for key, value in seconds.items()}
            return dataclasses.replace(start, **{**longer, "sentinel_s": start.sentinel_s * slower})

        starts = tuple(map(stretched, profile.starts))
        return dataclasses.replace(profile, host=host, sentinel_s=profile.sentinel_s * slower, starts=starts)

    @staticmethod
    def changed(profile: Profile, **changes: Any) -> Profile:
        """The profile with other fields."""
        return dataclasses.replace(profile, **changes)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """The builders, over an empty results folder."""
    return Lab(tmp_path / "results")
