"""What a part of the measuring is: a module that takes one metric, or a few together, of one installed cell.

The trial knows when, how often and in which order; a part knows how. Starts and clean builds are not parts, because
rounds and replicates tie the cells together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.measure.artifacts import CleanBuild
from harness.measure.sample import Cell
from harness.methods.contract import Artifact, Installed, Limits, Method
from harness.metrics import Fidelity, State
from harness.platforms.depot import Depot
from harness.spec.model import Model
from harness.spec.weights import LockedModel


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is measured: one cell, its artifact, and the artifact installed and known to answer right."""

    cell: Cell
    method: Method
    locked: LockedModel
    artifact: Artifact
    installed: Installed
    limits: Limits
    depot: Depot

    @property
    def model(self) -> Model:
        """The model behind the cell."""
        return self.locked.model


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a part found: values by metric, or why there are none (``absent``); ``note`` says more of either.

    ``fidelity`` is given where it is not what the method's own would make of it, ``build`` where a clean build of the
    cell was needed and timed on the way. ``kept`` is when it was taken, where the cache stands for it.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    absent: str = ""
    fidelity: Fidelity | None = None
    build: CleanBuild | None = None
    kept: str = ""

    @staticmethod
    def from_dict(table: Mapping[str, Any]) -> Taken:
        """Back from a file; TypeError, ValueError or KeyError where it is another table."""
        build = table["build"]
        return Taken(**{**table, "build": CleanBuild.from_dict(build) if build is not None else None})


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the measuring.

    What is ``lasting`` depends on the artifact and the tools that made it alone, so the cache can stand for it.

    ``closing`` is the metric that is recorded last and closes the step, without value where there is none; a step is
    taken once in each of ``states`` and for each replicate. ``take`` gets the subject, the state and the replicate's
    number; HarnessError where it fails.
    """

    name: str
    title: str
    closing: str
    take: Callable[[Subject, State, int], Taken]
    states: tuple[State, ...] = ("",)
    lasting: bool = False
