"""One measured value, and the cell it belongs to."""

from __future__ import annotations

from dataclasses import dataclass

from harness.metrics import Fidelity, State

#: The method under which the sentinel's samples stand.
SENTINEL = "_sentinel"

#: The ``limits`` of a cell that is another one a second time (A/A): what differs then is the machine's doing.
CANARY = "again"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One (model, method) pair under one set of limits.

    ``limits`` is ``default``, the options of a variant (``bytecode=none``), or :data:`CANARY`.
    """

    model: str
    method: str
    limits: str = "default"

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
    ``doubtful`` (of a start of which the instance says what can't be true: its phases are ``absent``, the rest counts).
    """

    run: str
    cell: Cell
    metric: str
    value: float | None
    unit: str
    round: int
    state: State
    fidelity: Fidelity
    at: str
    flags: tuple[str, ...] = ()
    note: str = ""

    @property
    def counts(self) -> bool:
        """Whether the value goes into statistics."""
        return self.value is not None and not any(flag.startswith("dropped:") for flag in self.flags)
