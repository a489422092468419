"""What a run has taken so far: samples and notes on their way to the store, steps that are done, time that went by.

A step is recorded in one write, its closing sample last; what has one is not taken again.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from harness import ceiling, process, tools
from harness.errors import CheckFailure, DiskFull, DoesNotFit, EngineGone, HarnessError, Interrupted
from harness.measure.sample import Cell, Sample
from harness.methods.contract import Availability, Method
from harness.metrics import METRICS, PHASES, Fidelity, State
from harness.platforms import engine
from harness.spec.weights import LockedModel

log = logging.getLogger(__name__)

#: Told after each step: what was done, and how many of how many steps that makes.
Tell = Callable[[str, int, int], None]


class Recorder(Protocol):
    """Where samples and notes go: the store's writer."""

    folder: Path

    @property
    def run_id(self) -> str:
        """The run's name."""

    def record(self, samples: Iterable[Sample]) -> None:
        """Append a step's samples, all or none."""

    def noted(self, field: str) -> Mapping[str, Any]:
        """A table of the manifest."""

    def update(self, **changes: Any) -> None:
        """Replace tables of the manifest."""


class ModelChanged(CheckFailure):
    """A model is not what it was when its run began: the whole run stops."""


@dataclass(kw_only=True)
class Outcome:
    """What became of a run, and the time spent.

    By cell, with the reason: what failed, what can't be had here, and what does not fit its platform.
    """

    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    absent: dict[tuple[str, str], str] = field(default_factory=dict)
    unfit: dict[tuple[str, str], str] = field(default_factory=dict)
    wall_s: float = 0.0
    spent_s: dict[str, float] = field(default_factory=dict)

    @property
    def own_s(self) -> float:
        """Seconds of the harness itself: all but waiting for tools, engines and instances."""
        return max(self.wall_s - sum(self.spent_s.values()), 0.0)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a run: its cell, the metric that closes it, which of several it is, and what users are told.

    ``kind`` is under what its seconds are counted, for the estimates of later plans.
    """

    cell: Cell
    closing: str
    doing: str
    kind: str
    number: int = 0
    state: State = ""


class Recording:
    """See the module."""

    def __init__(
        self, writer: Recorder, methods: Mapping[str, Method], tell: Tell, *, steps: int, taken: Iterable[Sample] = ()
    ) -> None:
        self._writer, self._methods, self._tell, self._total = writer, methods, tell, steps
        self._done = {_key(s.cell, s.metric, s.round, s.state): s for s in taken}
        self._steps = 0
        self._spent: dict[str, dict[str, float]] = {}
        self.outcome = Outcome()

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time of a block as the run's, by who spent it."""
        begin, before = time.monotonic(), dict(process.ledger.spent_s)
        try:
            yield
        finally:
            spent = {kind: s - before.get(kind, 0.0) for kind, s in process.ledger.spent_s.items()}
            self.outcome.wall_s, self.outcome.spent_s = time.monotonic() - begin, spent
            self._write_timings()

    # --- steps -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def step(self, step: Step) -> Iterator[None]:
        """One step: what fails in it is recorded under its closing metric, and does not stop the run.

        Nothing is recorded of a step that fails while the Docker engine is gone: EngineGone, and it is open still.
        """
        self._tell(step.doing, self._steps, self._total)
        begin = time.monotonic()
        try:
            yield
        except (DiskFull, Interrupted, ModelChanged, EngineGone):
            raise
        except DoesNotFit as error:
            self.outcome.unfit[step.cell.model, step.cell.named] = str(error)
            self._close(step, "unfit", str(error))
        except HarnessError as error:
            engine.hold()
            full = tools.full_disk(error)
            if full is not None:
                raise full from error
            self.fail(step, error)
        except OSError as error:
            full = process.disk_full(error, self._writer.folder)
            if full is not None:
                raise full from error
            engine.hold()
            self.fail(step, HarnessError(str(error)))
        self.count(step.cell, step.kind, time.monotonic() - begin)
        self.passed(1)
        self._tell(step.doing, self._steps, self._total)

    def passed(self, steps: int) -> None:
        """Go on by so many steps that were not, or need not be, taken."""
        self._steps += steps

    def reached(self, steps: int) -> None:
        """So many steps are behind, whatever became of them."""
        self._steps = steps
        if self._steps == self._total:
            self._tell("done", self._steps, self._total)

    def fail(self, step: Step, error: HarnessError) -> None:
        """Record that the step failed, and why."""
        log.warning("%s as %s: %s", step.cell.model, step.cell.named, error)
        self.outcome.failed.setdefault((step.cell.model, step.cell.named), str(error))
        self._close(step, "failed", str(error))

    def absent(self, step: Step, why: str) -> None:
        """Record that there is nothing to take here, and why."""
        self._close(step, "absent", why)

    def _close(self, step: Step, flag: str, note: str) -> None:
        self.record(step.cell, {step.closing: None}, number=step.number, state=step.state, flags=(flag,), note=note)

    def count(self, cell: Cell, kind: str, seconds: float) -> None:
        """Add to the seconds that steps of a kind took, for the estimates of later plans."""
        spent = self._spent.setdefault(_name(cell), {})
        for key, more in ((f"{kind}_s", seconds), (f"{kind}_n", 1)):
            spent[key] = spent.get(key, 0) + more

    # --- samples ---------------------------------------------------------------------------------

    def record(
        self,
        cell: Cell,
        values: Mapping[str, float | None],
        *,
        number: int = 0,
        state: State = "",
        flags: tuple[str, ...] = (),
        note: str = "",
        fidelity: Fidelity | None = None,
        doubt: str = "",
    ) -> None:
        """Write a step's values, all or none; the last one closes the step.

        With a ``doubt`` they are those of a start whose phases are not known: each stands there without a value, and
        the doubt as the reason. CheckFailure where a value can't be one: it would make the whole run a wrong one.
        """
        for name, value in values.items():
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise CheckFailure(f"{name} came out as {value}, which is not possible")
        if doubt:
            values = {**{f"phase_{phase}_s": None for phase in PHASES}, **values}
            note, flags = "; ".join(filter(None, [doubt, note])), (*flags, "doubtful")
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        method = self._methods.get(cell.method)
        of_instances: Fidelity = method.FIDELITY if method is not None else "measured"
        samples = [
            Sample(
                run=self._writer.run_id,
                cell=cell,
                metric=name,
                value=value,
                unit=METRICS[name].unit,
                round=number,
                state=state,
                fidelity=fidelity or (of_instances if METRICS[name].of == "instance" else "measured"),
                at=at,
                flags=("failed", *flags) if doubt and value is None else flags,
                note=doubt if doubt and value is None else note,
            )
            for name, value in values.items()
        ]
        self._writer.record(samples)
        self._done |= {_key(sample.cell, sample.metric, sample.round, sample.state): sample for sample in samples}

    def has(self, step: Step) -> bool:
        """Whether the step was taken, now or before this run was resumed."""
        return _key(step.cell, step.closing, step.number, step.state) in self._done

    def values(self, cell: Cell, metric: str, state: State) -> list[float]:
        """The values that count, of every round."""
        return [
            sample.value
            for sample in self._done.values()
            if (sample.cell, sample.metric, sample.state) == (cell, metric, state)
            and sample.counts
            and sample.value is not None
        ]

    def failed_before(self, cell: Cell) -> bool:
        """Whether an earlier part of this run found that the cell has no right answer, or does not fit."""
        known = self._done.get(_key(cell, "parity", 0, ""))
        if known is None or not {"failed", "unfit"} & set(known.flags):
            return False
        outcome = self.outcome.unfit if "unfit" in known.flags else self.outcome.failed
        outcome[cell.model, cell.named] = known.note
        return True

    # --- notes in the manifest -------------------------------------------------------------------

    def note_model(self, locked: LockedModel) -> None:
        """Put what is known of the model into the manifest; ModelChanged where the run began with another."""
        self.check_unchanged(locked)
        file, lock = locked.model.file, locked.lock
        noted = dict(self._writer.noted("models"))
        entry = dict(noted.get(locked.model.name, {}))
        described = locked.model.digest
        locks = {**entry.get("locks", {})}
        locks[lock.digest[:12]] = {"packages": len(lock.packages), "wheel_bytes": lock.wheel_bytes}
        if lock.sources:
            locks[lock.digest[:12]]["built_from_source"] = lock.built_from_source
        features = {
            # A method's own requirements come on top, so the smallest lock is the model's.
            "dependencies": min(known["packages"] for known in locks.values()),
            "pinned": sum("==" in text for text in file.requirements),
            "system_packages": len(file.system_packages),
        }
        known = {
            "payload": locked.digest,
            "described": described,
            "version": file.version,
            "family": file.family,
            "framework": file.framework,
            "python": lock.python.minor,
            "system_packages": list(file.system_packages),
            "memory_mb": file.resources.memory_mb,
        }
        held_back = list(ceiling.bounded(file.resources).told) or entry.get("ceiling")
        if held_back:
            known["ceiling"] = held_back
        noted[locked.model.name] = {**known, "features": features, "locks": locks}
        if noted != self._writer.noted("models"):
            self._writer.update(models=noted)

    def check_unchanged(self, locked: LockedModel) -> None:
        """ModelChanged where the run began with another model of this name."""
        entry, described = self._writer.noted("models").get(locked.model.name, {}), locked.model.digest
        if (entry.get("payload", locked.digest), entry.get("described", described)) != (locked.digest, described):
            raise ModelChanged(
                f"{locked.model.name} has changed since run {self._writer.run_id} began",
                remedy="start a new run, or bring the model back to what it was",
            )

    def note_whole(self, model: str) -> None:
        """Put into the manifest that all of the model's steps are behind: a resumed run need not install it again."""
        noted = dict(self._writer.noted("models"))
        if model in noted:
            self._writer.update(models={**noted, model: {**noted[model], "whole": True}})

    def is_whole(self, model: str) -> bool:
        """Whether all of the model's steps are behind."""
        return bool(self._writer.noted("models").get(model, {}).get("whole"))

    def renamed(self, folder: Path, old: str, new: str) -> ModelChanged:
        """What to raise where a model's name is not what it was when the run began."""
        return ModelChanged(
            f"the model in {folder} was called {old} when run {self._writer.run_id} began, now {new}",
            remedy="start a new run, or bring the model back to what it was",
        )

    def note_availability(self, method_id: str, available: Availability) -> None:
        """Put into the manifest whether the method can be used here."""
        noted = {**self._writer.noted("availability"), method_id: asdict(available)}
        if noted != self._writer.noted("availability"):
            self._writer.update(availability=noted)

    def note_artifact(self, cell: Cell, digest: str, facts: Mapping[str, str]) -> None:
        """Put the cell's artifact and what is known of it into the manifest."""
        self._writer.update(artifacts={**self._writer.noted("artifacts"), _name(cell): {"digest": digest, **facts}})

    def note_host(self, name: str, facts: Mapping[str, Any]) -> None:
        """Put facts about this machine into the manifest."""
        self._writer.update(host={**self._writer.noted("host"), name: facts})

    def _write_timings(self) -> None:
        before = self._writer.noted("timings")
        now = {"wall_s": self.outcome.wall_s, "own_s": self.outcome.own_s, **self.outcome.spent_s}
        total = {key: round(before.get(key, 0.0) + value, 3) for key, value in now.items()}
        steps = {name: dict(spent) for name, spent in self._writer.noted("steps").items()}
        for name, spent in self._spent.items():
            known = steps.setdefault(name, {})
            known |= {key: round(known.get(key, 0) + value, 3) for key, value in spent.items()}
        self._writer.update(timings={**before, **total}, steps=steps)


def _name(cell: Cell) -> str:
    """A cell's key in tables of the manifest."""
    limits = "" if cell.limits == "default" else f"/{cell.limits}"
    return f"{cell.model}/{cell.method}{limits}"


def _key(cell: Cell, metric: str, number: int, state: str) -> tuple[str, str, str, str, int, str]:
    return (cell.model, cell.method, cell.limits, metric, number, state)
