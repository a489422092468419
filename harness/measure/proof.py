"""Whether what was built answers its model's examples; and, where it does not, what is done about it.

An artifact is installed beside the cache, without a depot, started in bounds and asked every example, before it is
called built. Where it does not answer and the plain environment does, it is built again by the steps of
:mod:`harness.methods.mending`. Where the plain environment does not answer either, it is the model that fails: that is
told where the artifact is started, and nothing is mended.

    <cache>/mended/<key>.json    what builds of a lock with a method had to do otherwise, and what was tried in vain
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import files, paths, process
from harness.errors import BadInput, BuildFailure, CheckFailure, DoesNotFit, MissingComponent, ModelFailure, one_line
from harness.measure import needs, plain, start, tracing
from harness.methods import mending
from harness.methods.contract import Artifact, Mending, Method
from harness.methods.mending import STEPS, Case
from harness.platforms import depot
from harness.spec import environments
from harness.spec.weights import LockedModel

#: How often an artifact is built again before it is given up.
_MOST_TRIES = 10

_AS_ALWAYS = Mending()
_LARGEST_RECORD, _SHOWN, _LIST_S, _PACKAGES = 16 * 2**20, 300, 120.0, 5000
#: Why an artifact can't be asked, as far as that is not the end of a run: it is told again where it is started.
_NOT_ASKED = (DoesNotFit, MissingComponent, CheckFailure, BadInput, BuildFailure)
_DAMAGED = (BadInput, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError)

#: A build by these changes: the artifact, and the wall seconds that its build took.
Build = Callable[[Mending], tuple[Artifact, float]]


@dataclass(frozen=True, kw_only=True)
class Proven:
    """An artifact, with what was found in its ``facts``; the seconds of its build, its proof, and earlier tries."""

    artifact: Artifact
    wall_s: float
    proof_s: float
    tries: int = 0
    tries_s: float = 0.0


def proven(method: Method, locked: LockedModel, build: Build, *, of: str, variant: str) -> Proven:
    """Build and ask every example, and mend what does not answer; ``of`` stands for all inputs of the build.

    BuildFailure where the plain environment answers the examples, and no step made an artifact that does.
    """
    record = _Record.of(method, locked, variant)
    search = _Search(method=method, locked=locked, build=build)
    found = search.attempt(record.mended)
    if not search.wrong:
        return _told(search, found, record.mended, record.by)
    if plain_problem(method, locked):
        search.unproven = "the plain environment does not answer right either"
        return _told(search, found, record.mended, record.by)
    error = search.wrong
    if record.failed_of != of:
        step = search.mend(record.mended, error)
        if step is None and not search.tried:
            search.unproven = f"nothing to mend it by: {_short(error)}"
            return _told(search, search.last, record.mended, record.by)
        tried = tuple(f"{mending.told(one)}: {_short(why)}" for one, why in search.tried.items() if why)
        if step is not None:
            record = replace(record, mended=search.mended, by=step, failed_of="", tried=tried)
            record.write()
            return _told(search, search.last, search.mended, step)
        record = replace(record, failed_of=of, tried=tried)
        record.write()
    raise BuildFailure(
        f"it was built, but does not answer the examples as the plain environment does: {error}; tried in vain: "
        + "; ".join(f"{number}. {text}" for number, text in enumerate(record.tried, start=1)),
        remedy="packages that compile, download or look for files while they run may need another method",
    )


def mended(method: Method, locked: LockedModel, variant: str) -> Mending:
    """What builds of this lock with this method have to do otherwise, as far as that is known."""
    return _Record.of(method, locked, variant).mended


def _told(search: _Search, built: tuple[Artifact, float], mended: Mending, by: str) -> Proven:
    artifact, wall_s = built
    examples = len(search.locked.model.examples.inputs)
    facts = {"proven": f"no: {search.unproven}" if search.unproven else f"answers all {examples} examples"}
    if mended != _AS_ALWAYS:
        facts["mended"] = f"{mending.told(mended)} (step: {by})"
    return Proven(
        artifact=replace(artifact, facts={**artifact.facts, **facts}),
        wall_s=wall_s,
        proof_s=search.proof_s,
        tries=len(search.tried),
        tries_s=search.spent_s - wall_s - search.proof_s if search.tried else 0.0,
    )


# --- asking --------------------------------------------------------------------------------------


def problem_of(method: Method, locked: LockedModel, artifact: Artifact) -> str:
    """Why the artifact does not answer every example right; empty where it does.

    Another HarnessError where it can't be installed or started here.
    """
    with process.temporary_folder("proof", readable=True) as scratch:
        target = scratch / "target"
        target.mkdir(mode=0o755)
        installed = method.install(artifact, target, depot.Nowhere())
        try:
            start.right_answers(method, installed, start.limits_of(locked.model), locked.model)
        except ModelFailure as error:
            return str(error.problem)
    return ""


_plain_problems: dict[str, str] = {}


def plain_problem(method: Method, locked: LockedModel) -> str:
    """Why the model does not answer right where it is not packaged; empty where it does. Asked once in a process."""
    base = tracing.plainly(method, locked)
    key = tracing.key(base)
    if key not in _plain_problems:
        with environments.at_hand(base.lock) as python, plain.laid_out(base, python) as (lying, installed):
            try:
                start.right_answers(lying, installed, start.limits_of(base.model), base.model)
                _plain_problems[key] = ""
            except ModelFailure as error:
                _plain_problems[key] = str(error.problem)
    return _plain_problems[key]


# --- mending -------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class _Search:
    """Builds of one artifact, one after the other, each asked every example."""

    method: Method
    locked: LockedModel
    build: Build
    #: What the last one answered wrongly, and why it could not be asked.
    wrong: str = ""
    unproven: str = ""
    last: tuple[Artifact, float] = dataclasses.field(init=False)
    mended: Mending = _AS_ALWAYS
    tried: dict[Mending, str] = dataclasses.field(default_factory=dict)
    proof_s: float = 0.0
    spent_s: float = 0.0

    def attempt(self, mended: Mending) -> tuple[Artifact, float]:
        """Build so, and ask it; what came of it is in the fields. BuildFailure where it can't be built so."""
        begin = time.monotonic()
        try:
            self.mended = mended
            self.last = self.build(mended)
            self.unproven = self.wrong = ""
            asked = time.monotonic()
            try:
                self.wrong = problem_of(self.method, self.locked, self.last[0])
            except _NOT_ASKED as error:
                self.unproven = _short(error.problem)
            self.proof_s = time.monotonic() - asked
        finally:
            self.spent_s += time.monotonic() - begin
        return self.last

    def mend(self, mended: Mending, error: str) -> str | None:
        """Try the steps; the name of the one by which it answers, None where there is none. The last build is that."""
        case, by = self._case(mended, error), None
        for step in (step for step in STEPS if step.kinds <= self.method.MENDS):
            while len(self.tried) < _MOST_TRIES:
                proposed = next((one for one in step.propose(case) if one not in self.tried), None)
                if proposed is None:
                    break
                try:
                    self.attempt(proposed)
                except BuildFailure as failure:
                    self.wrong = f"it could not be built: {failure.problem}"
                why = self.tried[proposed] = self.wrong or self.unproven
                if not why:
                    case, by = replace(case, answers=proposed), step.name
                    break
                if step.again and why != case.error:
                    case = replace(case, error=why, mended=proposed)
        if case.answers is not None and self.mended != case.answers:
            self.attempt(case.answers)
            by = None if self.wrong or self.unproven else by
        return by

    def _case(self, mended: Mending, error: str) -> Case:
        """What is known of it. ``removed`` is of the plain environment, so of all packages but those a method adds."""
        base = tracing.plainly(self.method, self.locked)
        found = tracing.of(base)
        rules = tuple(self.locked.model.file.prune)
        with environments.at_hand(base.lock) as python:
            folder = environments.site_packages(python.parent.parent, base.lock.python)
            packages = _packages(folder)
            said = environments.removable(folder, rules, found.kept, timeout_s=_LIST_S) if rules else "{}"
        loaded = {name.partition(".")[0] for name in found.modules}
        return Case(
            error=error,
            mended=mended,
            rules=rules,
            removed=_removed(said),
            packages=packages,
            loaded=tuple(name for name in packages if name in loaded),
            lacking=self._lacking,
        )

    def _lacking(self, error: str) -> Sequence[str]:
        """The Debian packages that bring what the image lacks: all that is known of, and what the error names."""
        base = tracing.plainly(self.method, self.locked)
        _, known = needs.of_plain(base)
        more = needs.packages_for([needs.not_there(error)], base.lock.python.minor)
        return tuple(dict.fromkeys((*known.to_add, *more.values())))


def _packages(folder: Path) -> tuple[str, ...]:
    """The packages that are folders at the top level."""
    names = sorted(path.name for path in folder.iterdir() if path.name.isidentifier() and path.is_dir())
    return tuple(name for name in names if name != "__pycache__")[:_PACKAGES]


def _removed(said: str) -> dict[str, tuple[str, ...]]:
    """By rule, the files that pruning says it would remove: names of packages' files, which may be anything."""
    try:
        table = json.loads(said)
        return {rule: tuple(map(str, table.get(rule, ()))) for rule in mending.RULES}
    except (ValueError, AttributeError, TypeError, RecursionError):
        return {}


# --- what is kept --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Record:
    """What is known of builds of a lock with a method: how they are mended, or of what inputs that failed."""

    place: Path
    mended: Mending = _AS_ALWAYS
    by: str = ""
    failed_of: str = ""
    tried: tuple[str, ...] = ()

    @classmethod
    def of(cls, method: Method, locked: LockedModel, variant: str) -> _Record:
        """As it was kept; empty where nothing was, or where that is damaged."""
        parts = [method.ID, locked.lock.digest, variant, locked.lock.python.version]
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
        place = paths.cache() / "mended" / f"{locked.model.name}-{method.ID}-{key}.json"
        with contextlib.suppress(*_DAMAGED):
            table = json.loads(files.read_text(place, at_most=_LARGEST_RECORD))
            known = {name: tuple(map(str, names)) for name, names in table["mended"].items()}
            return cls(
                place=place,
                mended=Mending(**known),
                by=str(table["by"]),
                failed_of=str(table["failed_of"]),
                tried=tuple(map(str, table["tried"])),
            )
        return cls(place=place)

    def write(self) -> None:
        """Keep it for the next build."""
        table = dataclasses.asdict(self) | {"at": datetime.now(UTC).isoformat(timespec="seconds")}
        del table["place"]
        _write(self.place, table)


def _write(file: Path, table: Mapping[str, Any]) -> None:
    with process.disk_full_named(file):
        file.parent.mkdir(exist_ok=True)
        partial = file.with_name(f"{file.name}.partial")
        partial.write_text(json.dumps(table), encoding="utf-8")
        partial.replace(file)


def _short(error: str) -> str:
    text = one_line(error)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
