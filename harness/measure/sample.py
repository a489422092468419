"""One measured value, and the cell it belongs to.

The types say what each field may hold. Whoever reads samples checks them by these types (:mod:`harness.store.samples`),
because results folders are passed around: no name can hold what a terminal, a page or a spreadsheet would obey.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from harness.metrics import METRICS, Fidelity, State, Unit
from harness.spec import reading
from harness.spec.kinds import MOST, Date, Label, Name

#: The method under which the sentinel's samples stand.
SENTINEL = "_sentinel"

#: The ``limits`` of a cell that is another one a second time (A/A): what differs then is the machine's doing.
CANARY = "again"

#: Below this, no clock and no counter tells a value from nothing.
LEAST = 1e-15

#: The most rounds: the interval of a median of more takes long to compute.
ROUNDS = 256

#: The most letters of a note: the end of a tool's log.
LONGEST_NOTE = 65_536


def _declared(metric: str) -> str:
    if metric not in METRICS:
        raise ValueError("is not a metric that this harness knows")
    return metric


def _told_apart(value: float) -> float:
    if 0 < value < LEAST:
        raise ValueError("is too small to be a measurement")
    return value


Flag = Annotated[str, StringConstraints(pattern=r"^(failed|absent|unfit|kept|outlier|doubtful|dropped:[ -~]{1,200})$")]
Measured = Annotated[float, Field(ge=0, le=MOST, allow_inf_nan=False), AfterValidator(_told_apart)]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One (model, method) pair under one set of limits.

    ``limits`` is ``default``, the options of a variant (``bytecode=none``), or :data:`CANARY`.
    """

    __pydantic_config__ = reading.STRICT

    model: Name
    method: Name
    limits: Label = "default"

    @property
    def named(self) -> str:
        """The method, with the limits where they are others."""
        return self.method if self.limits == "default" else f"{self.method} {self.limits}"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One measured value. ``value`` is None where it was tried and failed; then ``flags`` has why.

    Flags: ``failed`` (it broke; ``note`` says how), ``absent`` (it can't be had here; ``note`` says
    why), ``unfit`` (it is beyond a limit of its platform; ``note`` says which), ``dropped:REASON``
    (measured but not what it was meant to be), ``kept`` (measured here earlier; ``note`` says when), ``outlier``,
    ``doubtful`` (of a start of which the instance says what can't be true: its phases ``failed``, the rest counts).
    """

    __pydantic_config__ = reading.STRICT

    run: Name
    cell: Cell
    metric: Annotated[str, AfterValidator(_declared)]
    value: Measured | None
    unit: Unit
    round: Annotated[int, Field(ge=0, lt=ROUNDS)]
    state: State
    fidelity: Fidelity
    at: Date
    flags: Annotated[tuple[Flag, ...], Field(max_length=16)] = ()
    note: Annotated[str, StringConstraints(max_length=LONGEST_NOTE)] = ""

    @property
    def counts(self) -> bool:
        """Whether the value goes into statistics."""
        return self.value is not None and not any(flag.startswith("dropped:") for flag in self.flags)
