"""A calibration: what was fitted, from which samples and profiles, and how it did on families it had not seen.

It lies in a results folder:

    <results>/calibration.json    beside the runs that it was fitted from
    <results>/profiles/           the profiles of their models
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from harness import tree
from harness.errors import BadInput, CheckFailure
from harness.measure import profile as profiles
from harness.metrics import State
from harness.process import disk_full_named
from harness.spec import kinds, reading
from harness.spec.kinds import MOST, Amount, Count, Date, Digest, Name, Positive, Word
from harness.store import runs

#: The version of the format that this code reads and writes.
SCHEMA_VERSION = 4

FILE_NAME = "calibration.json"
_REMEDY = "'harness calibrate' fits it anew"


def _known_feature(name: str) -> str:
    from harness.calibrate import laws

    if name not in laws.FEATURES:
        raise ValueError("is not a feature that this harness knows")
    return name


def _predictable(metric: str) -> str:
    from harness.calibrate import laws

    if metric not in laws.NEGLIGIBLE:
        raise ValueError("is not a metric that this harness predicts")
    return metric


@dataclass(frozen=True, kw_only=True)
class Source:
    """A run that values come from: the file of its samples, and that file's sha256."""

    __pydantic_config__ = reading.STRICT

    run_id: Name
    file: Literal["samples.jsonl", "samples.parquet"]
    sha256: Digest


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A model that was measured and profiled; ``profile`` is the digest of its profile."""

    __pydantic_config__ = reading.STRICT

    model: Name
    family: Word
    run_id: Name
    payload: Name
    profile: Digest


@dataclass(frozen=True, kw_only=True)
class Coefficient:
    """So much of the metric per unit of the feature; ``fitted`` is False where too few models were there to fit it."""

    __pydantic_config__ = reading.STRICT

    feature: Annotated[str, AfterValidator(_known_feature)]
    value: Amount
    fitted: bool


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """A model predicted without its family, and what the simple rule says of it: the same for every model.

    No interval where fewer than two other families were left.
    """

    __pydantic_config__ = reading.STRICT

    model: Name
    family: Word
    actual: Amount
    predicted: Amount
    simple: Amount
    low: Amount | None
    high: Amount | None


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One metric of one method: its coefficients, and the factor that the 90 % interval reaches to either way."""

    __pydantic_config__ = reading.STRICT

    method: Name
    metric: Annotated[str, AfterValidator(_predictable)]
    state: State
    coefficients: tuple[Coefficient, ...]
    factor: Annotated[float, Field(ge=1, le=1e6)]
    models: tuple[Name, ...]
    families: Count
    held_out: tuple[HeldOut, ...]


@dataclass(frozen=True, kw_only=True)
class Decided:
    """How one way of choosing does over ``cases``: a model in a scenario, in one split of the rounds.

    ``regret`` is the mean value that is lost to the best method, ``top_1`` and ``top_2`` the shares in which that is
    chosen, or one of the first two. ``gap_closed`` is None where the single best method leaves no gap.
    """

    __pydantic_config__ = reading.STRICT

    chooser: Word
    cases: Count
    regret: Amount
    top_1: Amount
    top_2: Amount
    gap_closed: Annotated[float, Field(ge=-MOST, le=MOST)] | None


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What ``calibration.json`` holds. ``ranges`` are the least and the most of each feature over the models.

    ``decisions`` are how good decisions by it are, where that was looked at (:mod:`harness.recommend.validation`).

    ``hosts`` are the machines that the runs and profiles are of; seconds are those of the first, where the sentinel's
    median is ``sentinel_s``.
    """

    __pydantic_config__ = reading.STRICT

    schema_version: int
    harness_version: Word
    created_at: Date
    hosts: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)]
    sentinel_s: Positive
    runs: tuple[Source, ...]
    models: tuple[Reference, ...]
    ranges: dict[str, tuple[Amount, Amount]]
    fits: tuple[Fit, ...]
    decisions: tuple[Decided, ...] = ()

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that something can be predicted of, in the order of the fits."""
        return tuple(dict.fromkeys(one.method for one in self.fits))

    @property
    def families(self) -> tuple[str, ...]:
        """The families of its models, sorted."""
        return tuple(sorted({one.family for one in self.models}))

    @cached_property
    def digest(self) -> str:
        """One digest of everything in it."""
        # Without indentation, for which json leaves its encoder in C.
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()

    def fit(self, method: str, metric: str, state: State = "") -> Fit | None:
        """That fit, or None where there were no samples to fit."""
        for one in self.fits:
            if (one.method, one.metric, one.state) == (method, metric, state):
                return one
        return None


def source(folder: Path, run_id: str) -> Source:
    """The run's samples as they are now; CheckFailure where it has none."""
    run = runs.folder_of(folder, run_id)
    for name in ("samples.jsonl", "samples.parquet"):
        if (run / name).is_file():
            return Source(run_id=run_id, file=name, sha256=tree.sha256(run / name))
    raise CheckFailure(f"{run} has no samples", remedy="restore samples.jsonl or samples.parquet")


def write(calibration: Calibration, file: Path) -> None:
    """Write it whole; BadInput where the place cannot be written to."""
    part = file.with_name(file.name + ".part")
    with disk_full_named(file):
        try:
            part.write_text(_text(calibration) + "\n", encoding="utf-8")
            part.replace(file)
        except (PermissionError, FileNotFoundError, NotADirectoryError) as error:
            raise BadInput(
                f"cannot be written: {error.strerror}", file=file, remedy="--out names another file"
            ) from error


def read(file: Path) -> Calibration:
    """The calibration in ``file``; BadInput where it is not one, or of another version of the format."""
    calibration = reading.versioned(Calibration, file, version=SCHEMA_VERSION, remedy=_REMEDY)
    key, wrong = kinds.check_bounds(dataclasses.asdict(calibration))
    if wrong:
        raise BadInput(wrong, file=file, key=key, remedy=_REMEDY)
    for host in calibration.hosts:
        reading.record(kinds.Host, host, file=file)
    return calibration


def of_results(folder: Path) -> Calibration | None:
    """The calibration that lies beside the runs in ``folder``, checked against them; None where there is none."""
    file = folder / FILE_NAME
    if not file.is_file():
        return None
    calibration = read(file)
    check(calibration, folder)
    return calibration


def check(calibration: Calibration, folder: Path) -> None:
    """CheckFailure where a run or a profile is not there, or not what the calibration was fitted from."""
    for known in calibration.runs:
        try:
            file = runs.folder_of(folder, known.run_id) / known.file
        except BadInput as error:
            raise CheckFailure(
                f"the calibration in {folder} was fitted from run {known.run_id}, which is not there", remedy=_REMEDY
            ) from error
        if not file.is_file() or tree.sha256(file) != known.sha256:
            raise CheckFailure(
                f"the calibration in {folder} was fitted from other samples than run {known.run_id} has now",
                remedy=_REMEDY,
            )
    for reference in calibration.models:
        kept = folder / "profiles" / f"{reference.model}-{reference.payload}.json"
        if kept.is_file() and profiles.read(kept).digest != reference.profile:
            raise CheckFailure(
                f"the calibration in {folder} was fitted from another profile of {reference.model} than {kept.name}",
                remedy=_REMEDY,
            )


def differing_hosts(hosts: Sequence[Mapping[str, Any]]) -> bool:
    """Whether they are not all one machine."""
    from harness.measure.host import same_machine

    return any(not same_machine(dict(hosts[0]), dict(other)) for other in hosts[1:])


def _text(calibration: Calibration) -> str:
    return json.dumps(dataclasses.asdict(calibration), indent=1, sort_keys=True, allow_nan=False)
