"""Whether an artifact runs elsewhere: started on every target, and asked every example.

1 where all answers are right. 0 where it does not start there, or answers wrongly: the note says why in one line. A
target that this machine can't stand in for is absent, with the reason. That an instance really was on the target is
looked up in ``/proc`` while it runs; where it was not, there is no value but an error.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import cast

from harness import paths, process
from harness.errors import BuildFailure, CheckFailure, HarnessError, MissingComponent, ModelFailure
from harness.measure.part import Part, Subject, Taken
from harness.methods import hosted
from harness.methods.contract import Installed, Instance
from harness.methods.serving import Served
from harness.metrics import TARGETS, State, Target
from harness.platforms import targets
from harness.platforms.targets import Machine
from harness.spec.model import answers_match

METRIC = "portable"

#: Notes are one line.
_LONGEST = 300
_NOT_STARTABLE = " cannot be started: "
#: What a line has that says what went wrong, where advice comes after it.
_TELLING = re.compile(r"error|fail|not found|no module|cannot|can't|could not|unable|denied|read-only", re.IGNORECASE)


def _take(subject: Subject, state: State, _replicate: int) -> Taken:
    name = cast("Target", state)
    why = why_not(subject.installed, name)
    if why:
        return Taken(absent=why)
    try:
        machine = targets.find(name, python_minor=subject.locked.lock.python.minor)
        wrong = tried(subject, machine)
    except MissingComponent as error:
        return Taken(absent=f"{error.problem} (remedy: {error.remedy})" if error.remedy else error.problem)
    if wrong:
        return Taken(values={METRIC: 0.0}, note=f"on {machine.title}: {wrong}"[:_LONGEST])
    return Taken(values={METRIC: 1.0}, note=f"on {machine.title}")


def why_not(installed: Installed, name: Target) -> str:
    """Why the artifact is not carried to the target; empty where it is."""
    if installed.elsewhere is not None:
        return "it runs on the platform itself, which decides what is around it"
    if installed.image is not None and targets.of_release(name):
        return "it brings its own system along; what it needs instead is a container engine"
    return ""


def tried(subject: Subject, machine: Machine) -> str:
    """Start it there and ask every example: what went wrong in one line, nothing where all answers are right.

    MissingComponent where this machine can't stand in for the target.
    """
    limits = replace(subject.limits, surroundings=machine.surroundings)
    examples, tolerance = subject.model.examples, subject.model.file.examples.tolerance
    with ExitStack() as stack:
        installed = _with_empty_caches(subject.installed, stack)
        try:
            with process.ledger.waiting_for("instances"), subject.method.start(installed, limits) as instance:
                outputs = instance.predict(list(examples.inputs))
                _insist(machine, instance)
        except MissingComponent as error:
            if _NOT_STARTABLE not in error.problem:
                raise
            return not_there(error)
        except (ModelFailure, BuildFailure) as error:
            return in_a_line(error).replace(f"{installed.root}/", "")
    if not answers_match(list(examples.outputs), outputs, tolerance):
        return "it answers, but not rightly"
    return ""


def not_there(error: MissingComponent) -> str:
    """What is missing of an artifact whose program can't be started: mostly what its interpreter is a link to."""
    program, _, said = error.problem.partition(_NOT_STARTABLE)
    if said != "there is no such program":
        return f"{Path(program).name} cannot be started: {said}"
    points_to = os.path.realpath(program)
    needed = points_to if points_to != program else f"something that {Path(program).name} names"
    return f"needs {needed}, which is not there"


def in_a_line(error: HarnessError) -> str:
    """The reason of a failure: the last line that tells of one among what the instance printed, or else the last.

    Where this machine keeps things is nobody's business who reads the result: ``…`` stands for the cache folder.
    """
    lines = [line.strip() for line in error.problem.strip().splitlines()]
    telling = [line for line in lines[1:] if _TELLING.search(line)]
    return (telling or lines)[-1].replace(str(paths.cache()), "…")


def _with_empty_caches(installed: Installed, stack: ExitStack) -> Installed:
    """The same with extraction caches of its own: what it extracts on one target must not be found on another."""
    if not installed.extraction_caches:
        return installed
    folder = stack.enter_context(process.temporary_folder("target-cache", readable=True))
    caches = tuple(hosted.extraction_folder(folder, cache.name) for cache in installed.extraction_caches)
    return replace(installed, extraction_caches=caches)


def _insist(machine: Machine, instance: Instance) -> None:
    """CheckFailure where the instance that answered is not on the target."""
    pid = instance.pid if isinstance(instance, Served) else 0
    try:
        astray = targets.astray(machine, pid) if pid else "it runs where we can't look"
    except OSError as error:
        astray = f"we can't look: {error.strerror}"
    if astray:
        raise CheckFailure(f"an instance was to run on {machine.title}, and can't be shown to: {astray}")


PART = Part(
    name="portability",
    title="portability",
    closing=METRIC,
    take=_take,
    states=TARGETS,
)
