"""A run: prepare every cell, build, install, check the answers, then start in random interleaved rounds.

A cell that fails is recorded with its reason and the others go on. Every step ends with one write of
its samples, so a run can be killed at any point and resumed.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from harness import process, tree
from harness.errors import BadInput, CheckFailure, DiskFull, DoesNotFit, HarnessError, Interrupted, ModelFailure
from harness.measure import artifacts, host, sentinel, start
from harness.measure.plan import Plan
from harness.measure.sample import SENTINEL, Cell, Sample
from harness.methods.contract import Artifact, Availability, Installed, Limits, Method, Sizes
from harness.metrics import METRICS, Fidelity, State
from harness.platforms.depot import Depot
from harness.spec import model as models
from harness.spec import weights
from harness.spec.model import Model
from harness.spec.weights import LockedModel

log = logging.getLogger(__name__)

#: What an instance tells of itself that says something of its artifact, and not of where it happened to lie.
_TOLD = ("python", "user", "modules_from_bytecode", "modules_from_source")

#: Failed starts of a cell in a row after which it is not started again: a hang costs its whole timeout.
_PATIENCE = 2

#: What the dynamic linker says of a library that is not there.
_LIBRARY_LACKS = "cannot open shared object file"

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


class Trial:
    """One run being carried out."""

    def __init__(
        self,
        plan: Plan,
        writer: Recorder,
        methods: Mapping[str, Method],
        depot: Depot,
        tell: Tell,
        *,
        taken: Iterable[Sample] = (),
    ) -> None:
        self._plan, self._writer, self._methods, self._depot, self._tell = plan, writer, methods, depot, tell
        self._done = {_key(s.cell, s.metric, s.round, s.state): s for s in taken}
        self._steps = 0
        self._outcome = Outcome()

    def carry_out(self) -> Outcome:
        """Do all that the plan has and the store has not."""
        begin = time.monotonic()
        before = dict(process.ledger.spent_s)
        try:
            for name in self._plan.models:
                self._measure_model(name)
        finally:
            spent = {kind: s - before.get(kind, 0.0) for kind, s in process.ledger.spent_s.items()}
            self._outcome.wall_s, self._outcome.spent_s = time.monotonic() - begin, spent
            self._write_timings()
        return self._outcome

    # --- one model -------------------------------------------------------------------------------

    def _measure_model(self, name: str) -> None:
        try:
            model = models.find(self._plan.folders[name])
        except BadInput as error:
            for method in self._plan.methods:
                cell = Cell(model=name, method=method)
                self._outcome.failed[name, method] = str(error)
                if not self._has(cell, "parity"):
                    self._fail(cell, "parity", error)
            self._reached(name, self._steps_of_a_cell())
            return
        if model.name != name:
            raise ModelChanged(
                f"the model in {model.folder} was called {name} when run {self._writer.run_id} began, now {model.name}",
                remedy="start a new run, or bring the model back to what it was",
            )
        usable = {cell.method: locked for cell, locked in self._lock_cells(model)}
        with process.temporary_folder("run", readable=True) as folder:
            self._reached(name, 1)
            self._build(model, usable)
            self._reached(name, 1 + self._plan.builds)
            installed = dict(self._install_cells(model, usable, folder))
            self._reached(name, 2 + self._plan.builds)
            self._rounds(model, installed)
        self._reached(name, self._steps_of_a_cell())

    def _reached(self, name: str, steps: int) -> None:
        """Every cell of the model has got through so many of its steps, also those that stopped before."""
        begun = self._plan.models.index(name) * len(self._plan.methods) * self._steps_of_a_cell()
        self._steps = begun + len(self._plan.methods) * steps
        if self._steps == self.total_steps():
            self._tell("done", self._steps, self.total_steps())

    def _lock_cells(self, model: Model) -> Iterator[tuple[Cell, LockedModel]]:
        for method_id in self._plan.methods:
            cell, method = Cell(model=model.name, method=method_id), self._methods[method_id]
            if self._failed_before(cell):
                continue
            available = method.check()
            self._note_availability(method_id, available)
            if not available.ready:
                self._outcome.absent[model.name, method_id] = available.reason
                note = f"{available.reason} (remedy: {available.remedy})" if available.remedy else available.reason
                self._record(cell, {}, closing="parity", flags=("absent",), note=note)
                continue
            with self._step(cell, "parity", f"lock {model.name} for {method_id}"):
                # First the lock, because a method may need it to prepare itself, and what it downloads is timed.
                locked = weights.locked(model, extra=method.REQUIREMENTS)
                method.prepare(model)
                self._note_model(locked)
                if locked.lock.download_s is not None:
                    self._record(cell, {"download_s": locked.lock.download_s})
                yield cell, locked

    def _build(self, model: Model, usable: dict[str, LockedModel]) -> None:
        for replicate, method_id in self._plan.builds_of(model.name):
            cell = Cell(model=model.name, method=method_id)
            if method_id not in usable or self._has(cell, "build_clean_s", replicate):
                continue
            broken = True
            with self._step(cell, "build_clean_s", f"build {model.name} as {method_id}", replicate):
                self._build_one(cell, self._methods[method_id], usable[method_id], replicate)
                broken = False
            if broken:
                self._record(cell, {}, closing="parity", flags=("failed",), note=self._reason(cell))
                del usable[method_id]

    def _build_one(self, cell: Cell, method: Method, locked: LockedModel, replicate: int) -> None:
        kept = None if replicate > 0 or self._plan.anew else artifacts.kept_build(method, locked)
        if kept is None:
            wall_s = artifacts.clean_build(method, locked)
            self._record(cell, {"build_clean_s": wall_s}, number=replicate)
            return
        wall_s, at = kept
        note = f"taken {at}, when the artifact that is in the cache was built"
        self._record(cell, {"build_clean_s": wall_s}, number=replicate, flags=("kept",), note=note)

    def _install_cells(
        self, model: Model, usable: Mapping[str, LockedModel], folder: Path
    ) -> Iterator[tuple[str, Installed]]:
        for method_id, locked in usable.items():
            cell, method = Cell(model=model.name, method=method_id), self._methods[method_id]
            with self._step(cell, "parity", f"install {model.name} as {method_id}"):
                artifact = artifacts.up_to_date(method, locked)
                # Before the installation, because this packs what is then unpacked.
                sizes = artifacts.sizes(method, locked, artifact, self._depot)
                self._hold_against_limits(cell, method, artifact, sizes)
                target = folder / method_id
                target.mkdir(mode=0o755)
                installed = method.install(artifact, target, self._depot)
                self._record_installation(cell, installed)
                facts = _first_answers(method, installed, model)
                told = {name: facts[name] for name in _TOLD if name in facts}
                self._note_artifact(cell, artifact.digest, {**artifact.facts, **installed.facts, **told})
                if not self._has(cell, "files"):
                    self._record_sizes(cell, sizes, installed.extraction_caches)
                if not self._has(cell, "parity"):
                    self._record(cell, {"parity": 1.0})
                yield method_id, installed

    def _hold_against_limits(self, cell: Cell, method: Method, artifact: Artifact, sizes: Sizes) -> None:
        """DoesNotFit where a size is beyond a limit of the platform; the sizes are recorded, being the evidence."""
        beyond = artifacts.beyond_limits(method, sizes)
        if beyond:
            self._note_artifact(cell, artifact.digest, artifact.facts)
            if not self._has(cell, "files"):
                self._record_sizes(cell, sizes, ())
            raise DoesNotFit(f"does not fit: {'; '.join(beyond)}")

    def _record_installation(self, cell: Cell, installed: Installed) -> None:
        if self._has(cell, "install_s"):
            return
        if installed.install_s is None:
            self._record(cell, {}, closing="install_s", flags=("absent",), note=installed.install_absent)
        else:
            at = installed.install_kept
            flags, note = (("kept",), f"with a pull taken {at}") if at else ((), "")
            values = {"install_s": installed.install_s}
            self._record(cell, values, fidelity=installed.install_fidelity, flags=flags, note=note)

    def _record_sizes(self, cell: Cell, sizes: Sizes, extraction_caches: Iterable[Path]) -> None:
        """Sizes once it has been started: what it extracted for itself then lies on the disk as well."""
        extracted = [tree.size(folder) for folder in extraction_caches]
        known = {
            "unpacked_bytes": float(sizes.unpacked_bytes + sum(size for size, _ in extracted)),
            "files": float(sizes.files + sum(files for _, files in extracted)),
        }
        if sizes.packed_bytes is None:
            self._record(cell, {}, closing="packed_bytes", flags=("absent",), note=sizes.packed_absent)
        else:
            known = {"packed_bytes": float(sizes.packed_bytes), **known}
        self._record(cell, known)

    def _rounds(self, model: Model, installed: Mapping[str, Installed]) -> None:
        in_a_row: dict[str, int] = {}
        for number, starts in self._plan.starts_of(model.name):
            watch = Cell(model=model.name, method=SENTINEL)
            if installed and not self._has(watch, "sentinel_s", number):
                self._record(watch, {"sentinel_s": sentinel.seconds()}, number=number)
            for one in starts:
                cell = Cell(model=model.name, method=one.method)
                skip = one.method not in installed or in_a_row.get(one.method, 0) >= _PATIENCE
                if skip or self._has(cell, "cold_start_s", number, one.state):
                    self._steps += 1
                    continue
                in_a_row[one.method] = in_a_row.get(one.method, 0) + 1
                doing = f"start {model.name} as {one.method}, {one.state}"
                with self._step(cell, "cold_start_s", doing, number, one.state):
                    self._start(model, cell, installed[one.method], number, one.state)
                    in_a_row[one.method] = 0

    def _start(self, model: Model, cell: Cell, installed: Installed, number: int, state: State) -> None:
        if state == "disk-cold" and installed.cold_absent:
            note = installed.cold_absent
            self._record(cell, {}, closing="cold_start_s", number=number, state=state, flags=("absent",), note=note)
            return
        taken = start.take(self._methods[cell.method], installed, limits_of(model), model, state)
        flags = (f"dropped:{taken.dropped}",) if taken.dropped else ()
        note, fidelity = f"usage by {taken.source}", installed.start_fidelity
        self._record(cell, taken.values, number=number, state=state, flags=flags, note=note, fidelity=fidelity)

    # --- recording -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _step(self, cell: Cell, closing: str, doing: str, number: int = 0, state: State = "") -> Iterator[None]:
        """One step: what fails in it is recorded under ``closing``, and does not stop the run."""
        self._tell(doing, self._steps, self.total_steps())
        try:
            yield
        except (DiskFull, Interrupted, ModelChanged):
            raise
        except DoesNotFit as error:
            self._outcome.unfit[cell.model, cell.method] = str(error)
            self._record(cell, {}, closing=closing, number=number, state=state, flags=("unfit",), note=str(error))
        except HarnessError as error:
            self._fail(cell, closing, error, number, state)
        except OSError as error:
            full = process.disk_full(error, self._writer.folder)
            if full is not None:
                raise full from error
            self._fail(cell, closing, HarnessError(str(error)), number, state)
        self._steps += 1
        self._tell(doing, self._steps, self.total_steps())

    def _fail(self, cell: Cell, closing: str, error: HarnessError, number: int = 0, state: State = "") -> None:
        log.warning("%s as %s: %s", cell.model, cell.method, error)
        self._outcome.failed.setdefault((cell.model, cell.method), str(error))
        self._record(cell, {}, closing=closing, number=number, state=state, flags=("failed",), note=str(error))

    def _record(
        self,
        cell: Cell,
        values: Mapping[str, float],
        *,
        closing: str | None = None,
        number: int = 0,
        state: State = "",
        flags: tuple[str, ...] = (),
        note: str = "",
        fidelity: Fidelity | None = None,
    ) -> None:
        """Write a step's values; ``closing`` alone, without a value, where it has none."""
        named: list[tuple[str, float | None]] = list(values.items()) or [(closing or "", None)]
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
                fidelity=fidelity or ("measured" if METRICS[name].of == "artifact" else of_instances),
                at=at,
                flags=flags,
                note=note,
            )
            for name, value in named
        ]
        self._writer.record(samples)
        self._done |= {_key(sample.cell, sample.metric, sample.round, sample.state): sample for sample in samples}

    def _has(self, cell: Cell, metric: str, number: int = 0, state: State = "") -> bool:
        return _key(cell, metric, number, state) in self._done

    def _failed_before(self, cell: Cell) -> bool:
        """Whether an earlier part of this run found that the cell has no right answer, or does not fit."""
        known = self._done.get(_key(cell, "parity", 0, ""))
        if known is None or not {"failed", "unfit"} & set(known.flags):
            return False
        outcome = self._outcome.unfit if "unfit" in known.flags else self._outcome.failed
        outcome[cell.model, cell.method] = known.note
        return True

    def _reason(self, cell: Cell) -> str:
        return self._outcome.failed.get((cell.model, cell.method), "")

    def _note_model(self, locked: LockedModel) -> None:
        """Put what is known of the model into the manifest; ModelChanged where the run began with another."""
        file, lock = locked.model.file, locked.lock
        noted = dict(self._writer.noted("models"))
        entry = dict(noted.get(locked.model.name, {}))
        described = locked.model.digest
        if (entry.get("payload", locked.digest), entry.get("described", described)) != (locked.digest, described):
            raise ModelChanged(
                f"{locked.model.name} has changed since run {self._writer.run_id} began",
                remedy="start a new run, or bring the model back to what it was",
            )
        locks = {**entry.get("locks", {})}
        locks[lock.digest[:12]] = {"packages": len(lock.packages), "wheel_bytes": lock.wheel_bytes}
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
            "system_packages": list(file.system_packages),
        }
        noted[locked.model.name] = {**known, "features": features, "locks": locks}
        if noted != self._writer.noted("models"):
            self._writer.update(models=noted)

    def _note_availability(self, method_id: str, available: Availability) -> None:
        noted = {**self._writer.noted("availability"), method_id: asdict(available)}
        if noted != self._writer.noted("availability"):
            self._writer.update(availability=noted)

    def _note_artifact(self, cell: Cell, digest: str, facts: Mapping[str, str]) -> None:
        noted = {**self._writer.noted("artifacts"), f"{cell.model}/{cell.method}": {"digest": digest, **facts}}
        self._writer.update(artifacts=noted)

    def _write_timings(self) -> None:
        before = self._writer.noted("timings")
        now = {"wall_s": self._outcome.wall_s, "own_s": self._outcome.own_s, **self._outcome.spent_s}
        total = {key: round(before.get(key, 0.0) + value, 3) for key, value in now.items()}
        noted = {**self._writer.noted("host"), "load_at_end": host.load()}
        self._writer.update(timings={**before, **total}, host=noted)

    def total_steps(self) -> int:
        """How many steps the plan has: locks, builds, installations, starts."""
        return len(self._plan.models) * len(self._plan.methods) * self._steps_of_a_cell()

    def _steps_of_a_cell(self) -> int:
        return 2 + self._plan.builds + self._plan.rounds * len(self._plan.states)


def limits_of(model: Model) -> Limits:
    """What an instance of the model may use: what its ``[resources]`` say."""
    resources = model.file.resources
    return Limits(
        memory_bytes=resources.memory_mb * 2**20,
        processes=resources.processes,
        disk_bytes=resources.disk_mb * 2**20,
        start_timeout_s=resources.start_timeout_s,
        predict_timeout_s=resources.predict_timeout_s,
    )


def _first_answers(method: Method, installed: Installed, model: Model) -> Mapping[str, str]:
    """The facts of a first instance that answers every example right.

    DoesNotFit where it lacks a library of the operating system that the method does not bring along.
    """
    try:
        return start.right_answers(method, installed, limits_of(model), model)
    except ModelFailure as error:
        needed = model.file.system_packages
        if needed and "carries-system-libraries" not in method.PROVIDES and _LIBRARY_LACKS in error.problem:
            raise DoesNotFit(
                f"it brings no system libraries, and this machine has not what the model needs "
                f"({', '.join(needed)}): {error.problem}"
            ) from error
        raise


def _key(cell: Cell, metric: str, number: int, state: str) -> tuple[str, str, str, str, int, str]:
    return (cell.model, cell.method, cell.limits, metric, number, state)
