"""A run: prepare every cell, build, install, check the answers, then start in random interleaved rounds.

A cell that fails is recorded with its reason and the others go on. Every step ends with one write of
its samples, so a run can be killed at any point and resumed.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from harness import process
from harness.errors import BadInput, DiskFull, HarnessError, Interrupted
from harness.measure import artifacts, host, sentinel, start
from harness.measure.plan import Plan
from harness.methods.contract import Installed, Limits, Method
from harness.metrics import METRICS, Fidelity, State
from harness.spec import model as models
from harness.spec import weights
from harness.spec.model import Model
from harness.spec.weights import LockedModel
from harness.store.records import SENTINEL, Cell, Sample
from harness.store.runs import RunWriter, read_samples

log = logging.getLogger(__name__)

#: Failed starts of a cell in a row after which it is not started again: a hang costs its whole timeout.
_PATIENCE = 2

#: Told after each step: what was done, and how many of how many steps that makes.
Tell = Callable[[str, int, int], None]


@dataclass(kw_only=True)
class Outcome:
    """What became of a run: cells that failed with the reason, cells that can't be had here, and the time spent."""

    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    absent: dict[tuple[str, str], str] = field(default_factory=dict)
    wall_s: float = 0.0
    spent_s: dict[str, float] = field(default_factory=dict)

    @property
    def own_s(self) -> float:
        """Seconds of the harness itself: all but waiting for tools, engines and instances."""
        return max(self.wall_s - sum(self.spent_s.values()), 0.0)


class Trial:
    """One run being carried out."""

    def __init__(self, plan: Plan, writer: RunWriter, methods: Mapping[str, Method], tell: Tell) -> None:
        self._plan, self._writer, self._methods, self._tell = plan, writer, methods, tell
        self._done = {_key(s.cell, s.metric, s.round, s.state): s for s in read_samples(writer.folder)}
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
            model = models.read(Path(self._plan.folders[name]))
        except BadInput as error:
            for method in self._plan.methods:
                self._fail(Cell(model=name, method=method), "parity", error)
            return
        usable = {cell.method: locked for cell, locked in self._lock_cells(model)}
        with process.temporary_folder("run", readable=True) as folder:
            self._build(model, usable)
            installed = dict(self._install_cells(model, usable, folder))
            self._rounds(model, installed)

    def _lock_cells(self, model: Model) -> Iterator[tuple[Cell, LockedModel]]:
        for method_id in self._plan.methods:
            cell, method = Cell(model=model.name, method=method_id), self._methods[method_id]
            if self._failed_before(cell):
                continue
            available = method.check()
            if not available.ready:
                self._outcome.absent[model.name, method_id] = available.reason
                note = f"{available.reason} (remedy: {available.remedy})" if available.remedy else available.reason
                self._record(cell, {}, closing="parity", flags=("absent",), note=note)
                continue
            with self._step(cell, "parity", f"lock {model.name} for {method_id}"):
                method.prepare(model)
                locked = weights.locked(model, extra=method.REQUIREMENTS)
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
                _, wall_s = artifacts.clean_build(self._methods[method_id], usable[method_id])
                self._record(cell, {"build_clean_s": wall_s}, number=replicate)
                broken = False
            if broken:
                self._record(cell, {}, closing="parity", flags=("failed",), note=self._reason(cell))
                del usable[method_id]

    def _install_cells(
        self, model: Model, usable: Mapping[str, LockedModel], folder: Path
    ) -> Iterator[tuple[str, Installed]]:
        for method_id, locked in usable.items():
            cell, method = Cell(model=model.name, method=method_id), self._methods[method_id]
            with self._step(cell, "parity", f"install {model.name} as {method_id}"):
                artifact = artifacts.up_to_date(method, locked)
                if not self._has(cell, "files"):
                    sizes = method.sizes(artifact)
                    known = {"unpacked_bytes": float(sizes.unpacked_bytes), "files": float(sizes.files)}
                    if sizes.packed_bytes is None:
                        self._record(cell, {}, closing="packed_bytes", flags=("absent",), note=sizes.packed_absent)
                    else:
                        known = {"packed_bytes": float(sizes.packed_bytes), **known}
                    self._record(cell, known)
                begin = time.monotonic()
                target = folder / method_id
                target.mkdir(mode=0o755)
                installed = method.install(artifact, target)
                if installed.install_absent:
                    self._record(cell, {}, closing="install_s", flags=("absent",), note=installed.install_absent)
                elif not self._has(cell, "install_s"):
                    self._record(cell, {"install_s": time.monotonic() - begin})
                facts = start.right_answers(method, installed, limits_of(model), model)
                self._note_artifact(cell, artifact.digest, {**artifact.facts, **facts})
                if not self._has(cell, "parity"):
                    self._record(cell, {"parity": 1.0})
                yield method_id, installed

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
        self._record(cell, taken.values, number=number, state=state, flags=flags, note=f"usage by {taken.source}")

    # --- recording -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _step(self, cell: Cell, closing: str, doing: str, number: int = 0, state: State = "") -> Iterator[None]:
        """One step: what fails in it is recorded under ``closing``, and does not stop the run."""
        self._tell(doing, self._steps, self.total_steps())
        try:
            yield
        except (DiskFull, Interrupted):
            raise
        except HarnessError as error:
            self._fail(cell, closing, error, number, state)
        except OSError as error:
            with process.disk_full_named(self._writer.folder):
                raise
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
    ) -> None:
        """Write a step's values; ``closing`` alone, without a value, where it has none."""
        named: list[tuple[str, float | None]] = list(values.items()) or [(closing or "", None)]
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        method = self._methods.get(cell.method)
        fidelity: Fidelity = method.FIDELITY if method is not None else "measured"
        samples = [
            Sample(
                run=self._writer.manifest.run_id,
                cell=cell,
                metric=name,
                value=value,
                unit=METRICS[name].unit,
                round=number,
                state=state,
                fidelity=fidelity,
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
        """Whether an earlier part of this run found that the cell has no right answer."""
        known = self._done.get(_key(cell, "parity", 0, ""))
        if known is None or "failed" not in known.flags:
            return False
        self._outcome.failed[cell.model, cell.method] = known.note
        return True

    def _reason(self, cell: Cell) -> str:
        return self._outcome.failed.get((cell.model, cell.method), "")

    def _note_model(self, locked: LockedModel) -> None:
        known = {"payload": locked.digest, "version": locked.model.file.version, "family": locked.model.file.family}
        lock = {"packages": len(locked.lock.packages), "wheel_bytes": locked.lock.wheel_bytes, "digest": locked.lock.digest}
        models_noted = {**self._writer.manifest.models}
        entry = dict(models_noted.get(locked.model.name, known))
        entry["locks"] = {**entry.get("locks", {}), locked.lock.digest[:12]: lock}
        models_noted[locked.model.name] = entry
        self._writer.update(models=models_noted)

    def _note_artifact(self, cell: Cell, digest: str, facts: Mapping[str, str]) -> None:
        noted = {**self._writer.manifest.artifacts, f"{cell.model}/{cell.method}": {"digest": digest, **facts}}
        self._writer.update(artifacts=noted)

    def _write_timings(self) -> None:
        before = self._writer.manifest.timings
        now = {"wall_s": self._outcome.wall_s, "own_s": self._outcome.own_s, **self._outcome.spent_s}
        total = {key: round(before.get(key, 0.0) + value, 3) for key, value in now.items()}
        self._writer.update(timings={**before, **total}, host={**self._writer.manifest.host, "load_at_end": host.load()})

    def total_steps(self) -> int:
        """How many steps the plan has: locks, builds, installations, starts."""
        cells = len(self._plan.models) * len(self._plan.methods)
        return cells * (2 + self._plan.builds + self._plan.rounds * len(self._plan.states))


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


def _key(cell: Cell, metric: str, number: int, state: str) -> tuple[str, str, str, str, int, str]:
    return (cell.model, cell.method, cell.limits, metric, number, state)
