"""A run: prepare every cell, build, install, check the answers, start in random interleaved rounds, then the rest.

A cell that fails is recorded with its reason and the others go on. Every step ends with one write of
its samples, so a run can be killed at any point and resumed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from harness import bootstrap, files, process, tree
from harness.errors import BadInput, DoesNotFit, EngineGone, ModelFailure
from harness.measure import artifacts, host, needs, parts, proof, room, sentinel, start, verdict
from harness.measure.artifacts import CleanBuild
from harness.measure.part import Part, Subject, Taken
from harness.measure.plan import Lane, Plan
from harness.measure.recording import Outcome, Recorder, Recording, Step, Tell
from harness.measure.sample import CANARY, SENTINEL, Cell, Sample
from harness.methods import variants
from harness.methods.contract import Artifact, Installed, Method, Sizes
from harness.methods.variants import Variant
from harness.metrics import SLOW_LINK, State
from harness.platforms import engine
from harness.platforms.depot import Depot
from harness.platforms.engine import Say
from harness.spec import model as models
from harness.spec import weights
from harness.spec.model import Model
from harness.spec.weights import LockedModel

#: What an instance tells of itself that says something of its artifact, and not of where it happened to lie.
_TOLD = ("python", "user", "modules_from_bytecode", "modules_from_source")

#: Failed starts of a cell in a row after which it is not started again: a hang costs its whole timeout.
_PATIENCE = 2

#: How often the Docker engine may go away while one model is measured: it may be the model that ends it.
_GOINGS = 3


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
        say: Say = lambda _: None,
        sizes: room.Sizes | None = None,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        """``sizes`` are what is known of artifacts; ``between`` is called before each model but the first."""
        self._plan, self._methods, self._depot, self._say = plan, methods, depot, say
        self._sizes, self._between = sizes or {}, between
        self._record = Recording(writer, methods, tell, steps=self.total_steps(), taken=taken)

    def carry_out(self) -> Outcome:
        """Do all that the plan has and the store has not.

        EngineGone where a Docker engine that was used went away and did not come back, DiskFull where the disk has no
        room for the next step: the rest is still to be done.
        """
        begun = 0
        with self._record.timed():
            try:
                for name in self._plan.models:
                    if begun:
                        self._between()
                    self._measure_while_there_is_an_engine(name, begun)
                    begun += sum(self._stages(name))
                    self._record.reached(begun)
            finally:
                self._record.note_host("load_at_end", host.load())
        return self._record.outcome

    def total_steps(self) -> int:
        """How many steps the plan has: locks, builds, installations, starts, parts."""
        return sum(sum(self._stages(name)) for name in self._plan.models)

    def _stages(self, name: str) -> tuple[int, int, int, int, int]:
        plan = self._plan
        starts = sum(len(starts) for _, starts in plan.starts_of(name))
        taken = sum(len(parts.TABLE[part].states) for part, _ in plan.parts_of(name))
        return (len(plan.lanes), len([*plan.builds_of(name)]), len([*plan.installs_of(name)]), starts, taken)

    # --- one model -------------------------------------------------------------------------------

    def _measure_while_there_is_an_engine(self, name: str, begun: int) -> None:
        """Measure the model; where the engine goes away meanwhile, go on when it is back, as a resumed run does."""
        for left in reversed(range(_GOINGS)):
            try:
                self._measure_model(name, begun)
                return
            except EngineGone as error:
                if left == 0:
                    raise
                engine.wait_until_back(error, self._say)
                self._say("The Docker engine is back; going on.")
                self._record.reached(begun)

    def _measure_model(self, name: str, begun: int) -> None:
        try:
            model = models.find(self._plan.folders[name])
        except BadInput as error:
            for lane in self._plan.lanes:
                step = Step(cell=_cell(name, lane), closing="parity", doing=f"read {name}", kind="lock")
                self._record.outcome.failed[name, step.cell.named] = str(error)
                if not self._record.has(step):
                    self._record.fail(step, error)
            return
        if model.name != name:
            raise self._record.renamed(model.folder, name, model.name)
        if self._record.is_whole(name):
            self._record.check_unchanged(weights.locked(model))
            for lane in self._plan.lanes:
                self._record.failed_before(_cell(name, lane))
            return
        locks, builds, installs, starts, _ = self._stages(name)
        usable = dict(self._lock(model))
        with process.temporary_folder("run", readable=True) as folder:
            self._record.reached(begun + locks)
            self._build(model, usable)
            self._record.reached(begun + locks + builds)
            subjects = self._install(model, usable, folder)
            self._record.reached(begun + locks + builds + installs)
            self._rounds(model, subjects)
            self._record.reached(begun + locks + builds + installs + starts)
            self._parts(model, subjects)
        self._record.note_whole(name)

    def _lock(self, model: Model) -> Iterator[tuple[Lane, LockedModel]]:
        for lane in self._plan.lanes:
            cell, method = _cell(model.name, lane), self._methods[lane.method]
            if self._record.failed_before(cell):
                self._record.passed(1)
                continue
            doing = f"lock {model.name} for {cell.named}"
            step = Step(cell=cell, closing="parity", doing=doing, kind="lock")
            with engine.noticing():
                available = method.check()
            self._record.note_availability(lane.method, available)
            if not available.ready:
                self._record.outcome.absent[model.name, cell.named] = available.reason
                note = f"{available.reason} (remedy: {available.remedy})" if available.remedy else available.reason
                self._record.absent(step, note)
                self._record.passed(1)
                continue
            why = variants.unsupported(lane.method, variants.parse([lane.limits]), model)
            if why:
                self._record.absent(step, why)
                self._record.passed(1)
                continue
            with self._record.step(step):
                # First the lock, because a method may need it to prepare itself, and what it downloads is timed.
                locked = weights.locked(model, extra=method.REQUIREMENTS)
                method.prepare(model)
                self._record.note_model(locked)
                if locked.lock.download_s is not None:
                    self._record.record(cell, {"download_s": locked.lock.download_s})
                yield lane, locked

    # --- builds ----------------------------------------------------------------------------------

    def _build(self, model: Model, usable: dict[Lane, LockedModel]) -> None:
        for replicate, lane in self._plan.builds_of(model.name):
            cell = _cell(model.name, lane)
            doing = f"build {model.name} as {cell.named}"
            step = Step(cell=cell, closing="build_clean_s", doing=doing, kind="build", number=replicate)
            if lane not in usable or self._record.has(step):
                self._record.passed(1)
                continue
            broken = True
            with self._record.step(step):
                self._build_one(cell, lane, usable[lane], replicate)
                broken = False
            if broken:
                why = self._record.outcome.failed.get((cell.model, cell.named), "")
                self._record.record(cell, {"parity": None}, flags=("failed",), note=why)
                del usable[lane]

    def _size(self, cell: Cell, locked: LockedModel) -> room.Size:
        return self._sizes.get((cell.model, cell.method)) or room.guessed(locked)

    def _build_one(self, cell: Cell, lane: Lane, locked: LockedModel, replicate: int) -> None:
        method, variant = self._methods[lane.method], variants.parse([lane.limits])
        kept = artifacts.kept_builds(method, locked, variant=variant) if "build" in self._plan.kept else []
        if len(kept) > replicate:
            self._record_build(cell, kept[-1 - replicate], replicate, kept=True)
        else:
            room.check(f"build {cell.model} as {cell.named}", self._size(cell, locked).build)
            self._record_build(cell, artifacts.clean_build(method, locked, variant=variant), replicate)

    def _record_build(self, cell: Cell, build: CleanBuild, number: int, *, kept: bool = False) -> None:
        found, notes = {"build_clean_s": build.wall_s}, [f"taken {build.at}"] if kept else []
        if build.differing is not None:
            found = {"reproducible": float(not build.differing), **found}
            notes += [f"differing from the first build: {', '.join(build.differing)}"] if build.differing else []
        flags = ("kept",) if kept else ()
        self._record.record(cell, found, number=number, flags=flags, note="; ".join(filter(None, [*notes, build.told])))

    # --- installations ---------------------------------------------------------------------------

    def _install(self, model: Model, usable: Mapping[Lane, LockedModel], folder: Path) -> dict[Lane, Subject]:
        """Every lane installed and known to answer right; further installations are timed and removed again."""
        subjects: dict[Lane, Subject] = {}
        for replicate, lane in self._plan.installs_of(model.name):
            cell = _cell(model.name, lane)
            doing = f"install {model.name} as {cell.named}"
            if replicate == 0 and lane in usable:
                place = f"{self._plan.lanes.index(lane)}-{lane.method}"
                step = Step(cell=cell, closing="parity", doing=doing, kind="install")
                with self._record.step(step):
                    subjects[lane] = self._install_first(cell, lane, usable[lane], folder / place, step)
            elif lane in subjects:
                step = Step(cell=cell, closing="install_s", doing=doing, kind="install-again", number=replicate)
                if self._record.has(step):
                    self._record.passed(1)
                    continue
                with self._record.step(step):
                    self._install_again(subjects[lane], folder / "again", replicate)
            else:
                self._record.passed(1)
        return subjects

    def _install_first(self, cell: Cell, lane: Lane, locked: LockedModel, target: Path, step: Step) -> Subject:
        method, variant, model = self._methods[lane.method], variants.parse([lane.limits]), locked.model
        size = self._size(cell, locked)
        if artifacts.cached(method, locked, variant=variant) is None:
            room.check(f"build {cell.model} as {cell.named}", size.build)
        artifact = artifacts.up_to_date(method, locked, variant=variant)
        if "mended" in artifact.facts:
            self._say(f"{cell.model} as {cell.named} was mended so that it answers: {artifact.facts['mended']}")
        # Before the installation, because this packs what is then unpacked.
        sizes = artifacts.sizes(method, locked, artifact, self._depot, variant=variant)
        self._hold_against_limits(cell, method, artifact, sizes)
        room.check(f"install {cell.model} as {cell.named}", size.stays)
        target.mkdir(mode=0o755)
        installed = method.install(artifact, target, self._depot)
        self._record_installation(cell, installed, 0)
        subject = Subject(
            cell=cell,
            method=method,
            locked=locked,
            artifact=artifact,
            installed=installed,
            limits=start.limits_of(model),
            depot=self._depot,
        )
        facts = _first_answers(subject)
        told = {name: facts[name] for name in _TOLD if name in facts} | self._left_to_the_target(subject, variant)
        self._record.note_artifact(cell, artifact.digest, {**artifact.facts, **installed.facts, **told})
        if not self._has(cell, "files"):
            self._record_sizes(cell, sizes, installed.extraction_caches)
        self._node_cold(subject, 0)
        if not self._record.has(step):
            self._record.record(cell, {"parity": 1.0})
        return subject

    def _left_to_the_target(self, subject: Subject, variant: Variant) -> dict[str, str]:
        """What the artifact takes of this machine's libraries, as a fact; none of what brings a system along."""
        if "carries-system-libraries" in subject.method.PROVIDES:
            return {}
        known = verdict.known(subject.method, subject.locked, subject.artifact, variant=variant, say=self._say)
        return {"needs_on_target": ", ".join(verdict.lacking(known))}

    def _install_again(self, subject: Subject, target: Path, replicate: int) -> None:
        size = self._size(subject.cell, subject.locked)
        room.check(f"install {subject.cell.model} as {subject.cell.named}", size.stays)
        target.mkdir(mode=0o755)
        try:
            installed = subject.method.install(subject.artifact, target, self._depot)
            self._node_cold(replace(subject, installed=installed), replicate)
            self._record_installation(subject.cell, installed, replicate)
        finally:
            files.remove(target, ignore_errors=True)

    def _node_cold(self, subject: Subject, replicate: int) -> None:
        """The first start after an installation, and both together: what a node takes that has nothing of it."""
        if not self._plan.node_cold or self._has(subject.cell, "cold_start_s", replicate, "node-cold"):
            return
        installed = subject.installed
        step = Step(cell=subject.cell, closing="cold_start_s", doing="", kind="", number=replicate, state="node-cold")
        if installed.install_s is None:
            self._record.absent(step, installed.install_absent)
            return
        taken = start.take(subject.method, installed, subject.limits, subject.model, "node-cold")
        values = {**taken.values, "cold_start_s": installed.install_s + taken.values["cold_start_s"]}
        flags = ("kept",) if installed.install_kept else ()
        note = f"install_s and a first start; usage by {taken.source}"
        fidelity = "emulated" if installed.install_fidelity == "emulated" else installed.start_fidelity
        self._record.record(
            subject.cell,
            values,
            number=replicate,
            state="node-cold",
            flags=flags,
            note=note,
            fidelity=fidelity,
            doubt=taken.doubt,
        )

    def _hold_against_limits(self, cell: Cell, method: Method, artifact: Artifact, sizes: Sizes) -> None:
        """DoesNotFit where a size is beyond a limit of the platform; the sizes are recorded, being the evidence."""
        beyond = artifacts.beyond_limits(method, sizes)
        if beyond:
            self._record.note_artifact(cell, artifact.digest, artifact.facts)
            if not self._has(cell, "files"):
                self._record_sizes(cell, sizes, ())
            raise DoesNotFit(f"does not fit: {'; '.join(beyond)}")

    def _record_installation(self, cell: Cell, installed: Installed, number: int) -> None:
        if self._has(cell, "install_s", number):
            return
        if installed.install_s is None:
            note = installed.install_absent
            self._record.record(cell, {"install_s": None}, number=number, flags=("absent",), note=note)
        else:
            at = installed.install_kept
            flags, note = (("kept",), f"with a pull taken {at}") if at else ((), "")
            values = {"install_s": installed.install_s}
            fidelity = installed.install_fidelity
            self._record.record(cell, values, number=number, fidelity=fidelity, flags=flags, note=note)

    def _record_sizes(self, cell: Cell, sizes: Sizes, extraction_caches: Iterable[Path]) -> None:
        """Sizes once it has been started: what it extracted for itself then lies on the disk as well."""
        extracted = [tree.size(folder) for folder in extraction_caches]
        lying = {
            "unpacked_bytes": float(sizes.unpacked_bytes + sum(size for size, _ in extracted)),
            "files": float(sizes.files + sum(files for _, files in extracted)),
        }
        if sizes.packed_bytes is None:
            note = sizes.packed_absent
            self._record.record(cell, {"packed_bytes": None}, flags=("absent",), note=note)
        else:
            transfer_s = sizes.packed_bytes * 8 / SLOW_LINK
            self._record.record(cell, {"transfer_s": transfer_s}, fidelity="modelled")
            packed, over = float(sizes.packed_bytes), float(sizes.packed_bytes - sizes.shared_bytes)
            lying = {"packed_bytes": packed, "over_base_bytes": over, **lying}
        self._record.record(cell, lying)

    # --- starts ----------------------------------------------------------------------------------

    def _rounds(self, model: Model, subjects: Mapping[Lane, Subject]) -> None:
        in_a_row: dict[Lane, int] = {}
        for number, starts in self._plan.starts_of(model.name):
            open_starts = [one for one in starts if not self._settled(model, one.lane, one.state, number)]
            watch = Cell(model=model.name, method=SENTINEL)
            if subjects and open_starts and not self._has(watch, "sentinel_s", number):
                taken_s = sentinel.seconds()
                self._record.record(watch, {"sentinel_s": taken_s}, number=number)
                self._record.count(watch, "sentinel", taken_s)
            self._record.passed(len(starts) - len(open_starts))
            for one in open_starts:
                lane, state = one.lane, one.state
                cell = _cell(model.name, lane)
                doing = f"start {model.name} as {cell.named}, {state}"
                step = Step(cell=cell, closing="cold_start_s", doing=doing, kind=state, number=number, state=state)
                subject = self._subject(lane, subjects)
                if subject is None or in_a_row.get(lane, 0) >= _PATIENCE or self._record.has(step):
                    self._record.passed(1)
                    continue
                in_a_row[lane] = in_a_row.get(lane, 0) + 1
                with self._record.step(step):
                    self._start(cell, subject, number, state)
                    in_a_row[lane] = 0

    def _subject(self, lane: Lane, subjects: Mapping[Lane, Subject]) -> Subject | None:
        """What is installed of the lane; the canary is the same artifact a second time."""
        return subjects.get(Lane(method=lane.method) if lane.limits == CANARY else lane)

    def _settled(self, model: Model, lane: Lane, state: State, number: int) -> bool:
        """Whether enough rounds are behind: the median's interval is narrow, after the fewest rounds."""
        if number < self._plan.rounds:
            return False
        pair = (Lane(method=self._plan.canary), Lane(method=self._plan.canary, limits=CANARY))
        # What is compared with itself goes on together: ratios are paired within rounds.
        return all(self._narrow(_cell(model.name, each), state) for each in (pair if lane in pair else (lane,)))

    def _narrow(self, cell: Cell, state: State) -> bool:
        values = self._record.values(cell, "cold_start_s", state)
        return len(values) >= self._plan.rounds and not bootstrap.interval(values).unstable

    def _start(self, cell: Cell, subject: Subject, number: int, state: State) -> None:
        installed = subject.installed
        if state == "disk-cold" and installed.cold_absent:
            note = installed.cold_absent
            self._record.record(cell, {"cold_start_s": None}, number=number, state=state, flags=("absent",), note=note)
            return
        taken = start.take(subject.method, installed, subject.limits, subject.model, state)
        flags = (f"dropped:{taken.dropped}",) if taken.dropped else ()
        self._record.record(
            cell,
            taken.values,
            number=number,
            state=state,
            flags=flags,
            note=f"usage by {taken.source}",
            fidelity=installed.start_fidelity,
            doubt=taken.doubt,
        )

    # --- everything else -------------------------------------------------------------------------

    def _parts(self, model: Model, subjects: Mapping[Lane, Subject]) -> None:
        for name, lane in self._plan.parts_of(model.name):
            part, cell = parts.TABLE[name], _cell(model.name, lane)
            for state in part.states:
                doing = f"{part.title} of {model.name} as {cell.named}{f', {state}' if state else ''}"
                step = Step(cell=cell, closing=part.closing, doing=doing, kind=part.name, state=state)
                if lane not in subjects or self._record.has(step):
                    self._record.passed(1)
                    continue
                with self._record.step(step):
                    self._record_part(step, self._taken(part, subjects[lane], state))

    def _taken(self, part: Part, subject: Subject, state: State) -> Taken:
        """What a part finds, or found of the same artifact before, where the cache may stand for it."""
        if not part.lasting:
            return part.take(subject, state, 0)
        given, name = (subject.method, subject.locked, subject.artifact), part.name
        if name in self._plan.kept and (table := artifacts.noted(*given, name)) is not None:
            with contextlib.suppress(TypeError, ValueError, KeyError):
                return Taken.from_dict(table)
        size = self._size(subject.cell, subject.locked)
        room.check(f"take the {name} of {subject.cell.model} as {subject.cell.named}", size.build)
        taken = part.take(subject, state, 0)
        at = datetime.now(UTC).isoformat(timespec="seconds")
        artifacts.note(*given, name, asdict(replace(taken, kept=at)))
        return taken

    def _record_part(self, step: Step, taken: Taken) -> None:
        """The closing metric last, as in every step."""
        kept = bool(taken.kept)
        if taken.build is not None and not self._has(step.cell, "build_clean_s", self._plan.builds):
            self._record_build(step.cell, taken.build, self._plan.builds, kept=kept)
        values = {metric: value for metric, value in taken.values.items() if metric != step.closing}
        if not taken.absent:
            values[step.closing] = taken.values[step.closing]
        note = "; ".join(filter(None, [f"taken {taken.kept}" if kept else "", taken.note]))
        flags = ("kept",) if kept else ()
        self._record.record(step.cell, values, state=step.state, flags=flags, note=note, fidelity=taken.fidelity)
        if taken.absent:
            self._record.absent(step, taken.absent)

    def _has(self, cell: Cell, metric: str, number: int = 0, state: State = "") -> bool:
        return self._record.has(Step(cell=cell, closing=metric, doing="", kind="", number=number, state=state))


def _cell(model: str, lane: Lane) -> Cell:
    return Cell(model=model, method=lane.method, limits=lane.limits)


def _first_answers(subject: Subject) -> Mapping[str, str]:
    """The facts of a first instance that answers every example right.

    DoesNotFit where it lacks a library of the operating system that the method does not bring along.
    """
    model, method = subject.model, subject.method
    try:
        return start.right_answers(method, subject.installed, subject.limits, model)
    except ModelFailure as error:
        missing, named = needs.not_there(error.problem), model.file.system_packages
        if not missing or "carries-system-libraries" in method.PROVIDES:
            raise
        if not named and proof.plain_problem(method, subject.locked):
            raise  # this machine lacks it too: the model runs nowhere here
        of_model = f" (the model needs {', '.join(named)})" if named else ""
        raise DoesNotFit(
            f"it brings no system libraries, and where it runs there is no {missing}{of_model}: {error.problem}"
        ) from error
