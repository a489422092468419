"""Making the variants, asking each in bounds, comparing their answers, and putting what is wanted in its place.

The model's code runs as any model does: unprivileged, without network or secrets, in an environment that holds its
locked requirements and nothing else. Nothing of it is imported or unpickled in the harness's own process.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness import ceiling, door, files, interpreter, process, tree
from harness.errors import BadInput, BuildFailure, HarnessError, MissingComponent, ModelFailure
from harness.runtime import RUNNER
from harness.spec import environments, reading, weights
from harness.spec import lock as locks
from harness.spec import model as models
from harness.spec.lock import LOCK_NAME
from harness.spec.mlflow import folder as folders
from harness.spec.mlflow import question as questions
from harness.spec.mlflow import requirements, variants
from harness.spec.mlflow.folder import MlflowModel
from harness.spec.mlflow.question import Question
from harness.spec.mlflow.requirements import Needs
from harness.spec.mlflow.variants import Header, Name, Plan, Refusal
from harness.spec.model import Examples, Json, Model, ModelFile, answers_match
from harness.spec.weights import LockedModel

#: Which variants are wanted; None: the native one where there can be one, else MLflow's.
Wanted = Literal["native", "pyfunc", "both"] | None

#: Two answers are the same within this, relative, absolute below 1; as in a model's examples.
TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Made:
    """A variant that is in its place: its requirements, and how many packages they come to."""

    variant: Name
    folder: Path
    requirements: tuple[str, ...]
    packages: int
    wheel_bytes: int


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What came of it; ``compared`` is whether both variants answered, the same then; ``notes`` say what to mind."""

    source: Path
    loader: str
    mlflow_version: str | None
    made: tuple[Made, ...]
    compared: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Answered:
    """A variant that was written and asked."""

    plan: Plan
    folder: Path
    locked: LockedModel
    answer: Json


def import_model(
    source: Path, target: Path, *, wanted: Wanted, given: Path | None, say: Callable[[str], None]
) -> Imported:
    """Make a model folder of the MLflow model in ``source``; of ``both`` variants, one in a folder of ``target`` each.

    ``given`` is a file with the request to ask; None takes the model's own example. BadInput where a file is wrong;
    ModelFailure where a wanted variant does not answer, or the variants disagree: ``target`` is as it was then.
    """
    _check_target(target)
    model = folders.read(source)
    question = questions.asked(model, given)
    python = interpreter.default()
    needs = requirements.read(source, python)
    notes = [*needs.notes, *_python_notes(needs)]
    name = "".join(sign if sign.isalnum() and sign.isascii() else "-" for sign in target.absolute().name.lower())
    with _unfinished(target) as stage:
        work = _Work(model=model, question=question, needs=needs, stage=stage, name=name.strip("-") or "model", say=say)
        results: dict[Name, _Answered | HarnessError | Refusal] = {
            "pyfunc": work.pyfunc(),
            "native": work.native(),
        }
        answered = {one: found for one, found in results.items() if isinstance(found, _Answered)}
        _check_same(answered)
        chosen = _chosen(wanted, results)
        notes += _reasons(results, chosen)
        _put(stage, target, [answered[one] for one in chosen], question)
    return Imported(
        source=source,
        loader=model.loader,
        mlflow_version=model.mlflow_version,
        made=tuple(_made(answered[one], target, alone=len(chosen) == 1) for one in chosen),
        compared=len(answered) > 1,
        notes=tuple(notes),
    )


def _python_notes(needs: Needs) -> list[str]:
    here = interpreter.default()
    if needs.python is None or needs.python.split(".")[:2] == here.version.split(".")[:2]:
        return []
    return [f"it was logged under Python {needs.python}; what it must answer was recorded under {here.version}"]


# --- asking --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What both variants are made of."""

    model: MlflowModel
    question: Question
    needs: Needs
    stage: Path
    name: str
    say: Callable[[str], None]

    def pyfunc(self) -> _Answered | HarnessError:
        """MLflow's variant, by mlflow-skinny; by all of mlflow where that lacks a module that the model imports."""
        found = self._asked(variants.pyfunc(self.model, self.question, self.needs))
        if isinstance(found, _Failed) and found.lacks_module and "mlflow-skinny" not in self.needs.requirements:
            self.say("mlflow-skinny is not enough: trying with all of mlflow")
            found = self._asked(variants.pyfunc(self.model, self.question, self.needs, full=True))
        return found

    def native(self) -> _Answered | HarnessError | Refusal:
        """The native variant, where there can be one."""
        plan = variants.native(self.model, self.question, self.needs)
        return plan if isinstance(plan, Refusal) else self._asked(plan)

    def _asked(self, plan: Plan) -> _Answered | HarnessError:
        """The variant written and asked; the failure where it does not lock or does not answer."""
        self.say(f"{plan.name}: lock {len(plan.requirements)} requirements, fetch their wheels")
        folder = self.stage / plan.name
        files.remove(folder)
        folder.mkdir()
        minor = interpreter.default().minor
        flavor = self.model.loader.removeprefix("mlflow.")
        header = Header(
            name=f"{self.name[:57]}-{plan.name}",
            description=f"Imported from MLflow {self.model.mlflow_version or '1'} ({flavor}), {plan.name} variant",
            # A pickle can hold bytecode, which other Pythons don't read; and the answer was recorded under this one.
            python=f"=={minor}.*",
        )
        table = variants.write(plan, self.model, self.question, folder, header)
        file = reading.record(ModelFile, table, file=folder / "model.toml")
        unasked = Examples(inputs=(self.question.value,), outputs=(None,))
        try:
            locked = weights.locked(Model(folder=folder, file=file, examples=unasked))
            self.say(f"{plan.name}: install {len(locked.lock.packages)} packages, ask the model in bounds")
            answer = _answer(locked)
        except BadInput as error:
            problem = error.problem.rpartition(": uv cannot")
            return BadInput(
                f"{plan.name}: uv cannot{problem[2]}" if problem[1] else f"{plan.name}: {error.problem}",
                file=self.needs.source,
                remedy=error.remedy,
            )
        except (BuildFailure, ModelFailure, MissingComponent) as error:
            return error
        return _Answered(plan=plan, folder=folder, locked=locked, answer=answer)


class _Failed(ModelFailure):
    """The model raised; ``lacks_module`` where it was for want of a module."""

    def __init__(self, problem: str, *, lacks_module: bool, remedy: str) -> None:
        super().__init__(problem, remedy=remedy)
        self.lacks_module = lacks_module


def _answer(locked: LockedModel) -> Json:
    """What the model answers, asked twice by one process: an answer that changes can't be what is expected."""
    model, value = locked.model, locked.model.examples.inputs[0]
    python = environments.installed(locked.lock)
    allowed = ceiling.bounded(model.file.resources)
    with process.temporary_folder("import", readable=True) as scratch:
        tree.copy(RUNNER, scratch / "harness_runner", keep=lambda relative: "__pycache__" not in relative.parts)
        tree.copy(locked.payload, scratch / "model")
        home = scratch / "home"
        home.mkdir()
        argv = [str(python), "-m", "harness_runner", "once", "--model", str(scratch / "model")]
        try:
            done = door.run(
                [*argv, "--entrypoint", model.file.entrypoint],
                bounds=environments.bounds(model),
                shows=(scratch, python.parent.parent),
                writes=(home,),
                env=process.environment(home, **{**model.file.env, **weights.runner_variables(scratch)}),
                cwd=home,
                stdin=json.dumps({"inputs": [value, value]}),
                timeout_s=allowed.start_timeout_s + allowed.predict_timeout_s,
                kind="instances",
            )
        except process.TimedOut as error:
            raise ModelFailure(
                f"{model.name}: the model did not answer: {error.problem}", remedy="give a smaller --input"
            ) from error
    return _checked_answer(model, done)


def _checked_answer(model: Model, done: process.Completed) -> Json:
    """The answer that the process printed; ModelFailure where it is none."""
    try:
        said = json.loads(done.stdout)
    except (ValueError, RecursionError):
        said = None
    outputs = said.get("outputs") if isinstance(said, dict) else None
    if not isinstance(outputs, list) or len(outputs) != 2:  # noqa: PLR2004 -- it is asked the same twice
        error: Mapping[str, Any] = (
            said["error"] if isinstance(said, dict) and isinstance(said.get("error"), dict) else {}
        )
        kind, message = str(error.get("type", "")), str(error.get("message", ""))
        tail = "\n".join(f"    {line}" for line in done.stderr.strip().splitlines()[-12:])
        raise _Failed(
            f"{model.name}: the model failed to {error['stage']}: {kind}: {message}"
            if {"stage", "type"} <= set(error)
            else f"{model.name}: the model ended with exit code {done.returncode} without an answer\n{tail}",
            lacks_module=kind in {"ModuleNotFoundError", "ImportError"},
            remedy="log it again with all that it needs (extra_pip_requirements, code_paths), or give another --input",
        )
    first, second = outputs
    if not answers_match(first, second, TOLERANCE):
        raise ModelFailure(
            f"{model.name}: asked the same twice, the model answers differently",
            remedy="a model that can be checked has no chance or memory in it: fix its seed, or its temperature to 0",
        )
    return first


# --- choosing ------------------------------------------------------------------------------------


def _check_same(answered: Mapping[Name, _Answered]) -> None:
    if len(answered) < 2:  # noqa: PLR2004 -- there are two variants
        return
    ours, theirs = answered["native"].answer, answered["pyfunc"].answer
    if not answers_match(theirs, ours, TOLERANCE):
        raise ModelFailure(
            f"the variants disagree: run by MLflow the model answers {_short(theirs)}, without it {_short(ours)}",
            remedy="the requirements may leave open a version that matters; pin them all and log the model again",
        )


def _chosen(wanted: Wanted, results: Mapping[Name, _Answered | HarnessError | Refusal]) -> list[Name]:
    """The variants to keep; the reason as an error where one that is wanted can't be had."""
    preferred: tuple[Name, ...] = ("native", "pyfunc")
    if wanted is None:
        there = [name for name in preferred if isinstance(results[name], _Answered)]
        if there:
            return there[:1]
    needed: tuple[Name, ...] = preferred if wanted == "both" else (wanted,) if wanted else ("pyfunc",)
    for name in needed:
        found = results[name]
        if isinstance(found, Refusal):
            raise BadInput(
                f"there can be no {name} variant: {found.reason}",
                key="--variant",
                value=wanted,
                remedy="--variant pyfunc",
            )
        if isinstance(found, HarnessError):
            raise found
    return list(needed)


def _reasons(results: Mapping[Name, _Answered | HarnessError | Refusal], chosen: list[Name]) -> list[str]:
    """Why there is one variant alone, and that nothing was compared then."""
    notes = []
    for name, found in results.items():
        if isinstance(found, Refusal):
            notes.append(f"there is no {name} variant, so nothing was compared: {found.reason}")
        elif isinstance(found, HarnessError):
            notes.append(f"the {name} variant does not work, so nothing was compared: {found.problem}")
    assert chosen, "an error was raised where there is none"
    return notes


def _short(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:199]}…"  # noqa: PLR2004 -- letters that can be read at a glance


# --- putting -------------------------------------------------------------------------------------


def _check_target(target: Path) -> None:
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise BadInput("is there already and not empty", file=target, remedy="name a folder that is not there yet")


@contextlib.contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """A folder on the target's disk that is gone afterwards, also when the harness is killed."""
    beside = next(parent for parent in target.absolute().parents if parent.is_dir())
    try:
        stage = Path(tempfile.mkdtemp(prefix=".harness-import-", dir=beside))
    except OSError as error:
        raise BadInput(f"cannot be written: {error.strerror}", file=target, remedy="name a folder of yours") from error
    with process.guarded(folder=str(stage)), process.disk_full_named(stage):
        try:
            yield stage
        finally:
            files.remove(stage, ignore_errors=True)


def _put(stage: Path, target: Path, chosen: list[_Answered], question: Question) -> None:
    """Write the examples and the lock, and move what is chosen where it belongs, wholly or not at all."""
    final = stage / "final"
    alone = len(chosen) == 1
    for one in chosen:
        variants.write_examples(one.folder, question.value, one.answer)
        if one.locked.model.file.torch_backend is None:  # PyTorch's own builds are locked on each machine
            # The answer holds for these versions; what MLflow wrote down mostly leaves some open.
            (one.folder / LOCK_NAME).write_text(locks.travelling(one.locked.lock, one.locked.model))
        models.read(one.folder)
        one.folder.rename(final) if alone else one.folder.rename(_made_folder(final) / one.plan.name)
    for parent, _, _ in os.walk(final):
        os.chmod(parent, 0o755)
    try:
        with process.uninterrupted():
            target.parent.mkdir(parents=True, exist_ok=True)
            final.rename(target)  # an empty folder gives way
    except OSError as error:
        raise BadInput(f"cannot be written: {error.strerror}", file=target, remedy="name a folder of yours") from error


def _made_folder(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _made(one: _Answered, target: Path, *, alone: bool) -> Made:
    return Made(
        variant=one.plan.name,
        folder=target if alone else target / one.plan.name,
        requirements=one.plan.requirements,
        packages=len(one.locked.lock.packages),
        wheel_bytes=one.locked.lock.wheel_bytes,
    )
