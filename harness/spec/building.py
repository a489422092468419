"""Packages that have a source distribution alone: each is built to a wheel once, behind the door.

    <cache>/built/<key>/requirements-*.txt  what the build requires, locked with hashes when it was first built
    <cache>/built/<key>/wheels/             links to the wheels of that
    <cache>/built/<key>/built.json          which wheel came out

The key is of the source distribution's sha256, the Python, and the indexes that a model names. The build has no
network. What it requires is fetched before, as wheels; what of that has no wheel is built in the same way.

Sources: PEP 517 (hooks and defaults), PEP 518 (``build-system.requires``); reproducible-builds.org for
``SOURCE_DATE_EPOCH``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from packaging.metadata import parse_email
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from harness import archives, ceiling, door, files, paths, process, tools, tree, usage
from harness.archives import UnsoundError
from harness.errors import BadInput, BuildFailure
from harness.sandbox import Bounds
from harness.spec import environments, fetching, lacking, pins, resolving, sdists, wheelhouse
from harness.spec.locked import Lock, Source
from harness.spec.model import requirement_text
from harness.spec.pins import Pin
from harness.spec.resolving import Question, UnresolvedError
from harness.spec.sdists import Sdist

_BUILD = paths.PACKAGE / "resources" / "building" / "build.py"
_VERSION = "1"  # of how wheels are built here
#: What one build may take; HARNESS_MAX_SECONDS and its like allow less. Compiling a large one takes some ten minutes.
_SECONDS = 1800.0
_MEMORY_BYTES, _PROCESSES, _DISK_BYTES = 4 * 2**30, 1024, 16 * 2**30
#: How deep build requirements that have no wheel may go.
_DEEPEST = 4
_TEXT_BYTES = 2**20
_UNPACKED_BYTES = 16 * 2**30
#: The oldest date that a zip archive can hold, as ``SOURCE_DATE_EPOCH`` counts.
_DATE = "315532800"


@dataclass(frozen=True, kw_only=True)
class Built:
    """A wheel that was built here: where it is, what it was built from, and what it requires when it is installed."""

    wheel: Path
    source: Source
    requires: tuple[str, ...]


def requires(pin: Pin, question: Question) -> tuple[str, ...]:
    """What the wheel requires that is built from the pin's source distribution: see :func:`built`."""
    return built(pin, question).requires


def built(pin: Pin, question: Question, *, above: tuple[str, ...] = ()) -> Built:
    """The wheel of a pin that has a ``source``, built where it was not yet.

    The index is asked as for the ``question``. ``above`` are the sources whose builds require this one.
    BuildFailure, naming what lacks where that is known.
    """
    called, version = _named(pin)
    what = f"{called} {version}"
    if pin.source in above or len(above) > _DEEPEST:
        why = "its build requires itself" if pin.source in above else f"is needed {len(above)} builds deep"
        raise BuildFailure(
            f"{what} has no wheel, and {why}",
            remedy="require another version, or give the package a wheel ('wheels' in model.toml)",
        )
    folder = paths.cache() / "built" / _key(pin, question)
    with tools.alone(folder.with_suffix(".lock")), process.disk_full_named(folder):
        source = _known(folder, pin.source)
        if source is None:
            try:
                file = fetching.fetched(resolving.where(pin, question), what)
                described = sdists.read(file, name=called, version=version)
                folder.mkdir(parents=True, exist_ok=True)
                wheel = _build(file, described, folder, pin, replace(question, what=what), above)
            except UnsoundError as error:
                raise BuildFailure(
                    f"{what}: its source distribution is not sound: {error}",
                    remedy="take another version, or tell its authors",
                ) from error
            source = Source(name=called, version=version, sdist=pin.source, wheel=wheel.parent.name)
            files.write_whole(folder / "built.json", json.dumps(asdict(source)))
    [wheel] = (wheelhouse.house() / source.wheel).glob("*.whl")
    raw, _ = parse_email(_metadata(wheel))
    return Built(wheel=wheel, source=source, requires=tuple(raw.get("requires_dist", ())))


def with_wheels(
    locked: Sequence[Pin], question: Question, *, above: tuple[str, ...] = ()
) -> tuple[list[Pin], tuple[Source, ...]]:
    """The pins as this machine installs them: those with a source by the wheel that is built here, and which."""
    made, sources = list(locked), []
    for place, pin in enumerate(locked):
        if pin.source and wheelhouse.applies(pin.requirement, question.python):
            source = built(pin, question, above=above).source
            made[place] = replace(pin, hashes=frozenset([source.wheel]))
            sources.append(source)
    return made, tuple(sources)


def _key(pin: Pin, question: Question) -> str:
    """What a wheel depends on.

    A model says with its indexes where build requirements come from, and they may do to a wheel what they like: such a
    wheel is for models with the same indexes alone.
    """
    python = question.python
    parts = [_VERSION, pin.source, str(python.path), python.version, os.uname().machine, question.torch_backend or ""]
    parts += [f"{index.name} {index.url} {' '.join(index.packages)}" for index in question.indexes]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _known(folder: Path, sdist: str) -> Source | None:
    """What was built before; None where nothing was, or its wheel is gone."""
    try:
        source = Source(**json.loads((folder / "built.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    place = wheelhouse.house() / source.wheel
    there = usage.used(place) and len([*place.glob("*.whl")]) == 1
    return source if there and source.sdist == sdist else None


# --- building ------------------------------------------------------------------------------------


def _build(file: Path, described: Sdist, folder: Path, pin: Pin, question: Question, above: tuple[str, ...]) -> Path:
    """The wheel in the wheelhouse. The build may ask for more requirements once it sees its sources."""
    bounds = Bounds(
        memory_bytes=min(_MEMORY_BYTES, ceiling.memory().value * 2**20),
        processes=min(_PROCESSES, ceiling.processes().value),
        disk_bytes=min(_DISK_BYTES, ceiling.disk().value * 2**20),
    )
    above = (*above, pin.source)
    environment = _environment(described.requires, folder, question, above)
    with door.workspace(bounds.disk_bytes) as disk:
        work = disk / "build"
        for place in (work, work / "home", work / "wheel"):
            place.mkdir()
        steps = _Steps(file=file, described=described, work=work, bounds=bounds, question=question)
        more = steps.asked(environment)
        if more:
            wanted = tuple(dict.fromkeys((*described.requires, *more)))
            environment = _environment(wanted, folder, question, above)
        made = steps.wheel(environment)
        # Nothing runs there any more, so what is looked at is what is kept.
        _check(made, pin, question)
        try:
            return wheelhouse.own(made, below=work, remedy="")
        except BadInput as error:
            raise UnsoundError(f"its build made something else than a wheel: {error.problem}") from error


def _environment(wanted: Sequence[str], folder: Path, question: Question, above: tuple[str, ...]) -> Path:
    """The folder of an environment with what the build requires, its lock made once."""
    header = pins.header(wanted)
    requirements = folder / f"requirements-{hashlib.sha256(header.encode()).hexdigest()[:8]}.txt"
    again = replace(question, wanted=tuple(wanted), own=(), given=(), lowest="")
    indexes = [index.url for index in question.indexes]

    def build(pin: Pin, about: Question) -> tuple[str, ...]:
        return built(pin, about, above=above).requires

    if requirements.is_file():
        text = files.read_text(requirements, at_most=_TEXT_BYTES)
        torch = question.torch_backend
        found = pins.parse(text, file=requirements, remedy="delete it", torch_backend=torch, indexes=indexes)
    else:
        try:
            found = resolving.answer(again, build)
        except UnresolvedError as error:
            raise BuildFailure(
                f"{question.what}: what its build requires cannot be resolved: {', '.join(wanted)}",
                log=error.said,
                remedy="require another version, or give the package a wheel ('wheels' in model.toml)",
            ) from error
    locked, sources = with_wheels(found, again, above=above)
    files.write_whole(requirements, pins.render(locked, wanted))
    what, place = f"{question.what}'s build", folder / "wheels"
    packages, download_s = wheelhouse.fill(locked, place, what=what, python=question.python, own_indexes=indexes)
    lock = Lock(
        python=question.python,
        requirements=requirements,
        wheels=place,
        digest=tree.sha256(requirements),
        packages=tuple((name, version) for name, version, _ in packages),
        wheel_bytes=sum(size for _, _, size in packages),
        download_s=download_s,
        sources=sources,
    )
    return environments.installed(lock).parent.parent


@dataclass(frozen=True, kw_only=True)
class _Steps:
    """The steps of one build, behind the door: ``work`` is a folder on a disk of its own, which they may write to."""

    file: Path
    described: Sdist
    work: Path
    bounds: Bounds
    question: Question

    def asked(self, environment: Path) -> tuple[str, ...]:
        """What the build requires besides, once its sources lie there."""
        answer = self.work / "requires.json"
        self._run(environment, "unpack", answer)
        self._run(environment, "requires", answer)
        try:
            said = json.loads(files.read_bytes(answer, at_most=_TEXT_BYTES, below=self.work))
        except (BadInput, ValueError, RecursionError) as error:
            raise UnsoundError("its build does not say what it requires") from error
        if not isinstance(said, list) or not all(isinstance(text, str) for text in said):
            raise UnsoundError("its build does not say what it requires in a list of texts")
        for text in said:
            sdists.check_requirement(text)
        return tuple(said)

    def wheel(self, environment: Path) -> Path:
        """The one file that is made; what it is has to be seen."""
        out = self.work / "wheel"
        self._run(environment, "wheel", out)
        made = [entry.path for entry in files.walk(out, below=self.work, max_depth=1)]
        if len(made) != 1 or made[0].suffix != ".whl":
            raise UnsoundError(f"its build made {len(made)} files, not one wheel")
        return made[0]

    def _run(self, environment: Path, step: str, out: Path) -> None:
        source = self.work / self.described.folder
        python, home = environment / "bin" / "python", self.work / "home"
        argv = [str(python), "-s", str(_BUILD), step, str(self.file), str(source), str(out)]
        argv += [self.described.backend, *self.described.backend_path]
        allowed_s = ceiling.patience(_SECONDS)
        try:
            with tools.bench(
                f"building {self.question.what} from source",
                shows=(_BUILD, self.file, environment),
                writes=(self.work,),
                bounds=self.bounds,
            ) as bench:
                bench.run(argv, env=self._env(environment, home), timeout_s=allowed_s, cwd=self.work)
        except BuildFailure as error:
            raise self._told(error) from error

    def _env(self, environment: Path, home: Path) -> dict[str, str]:
        """The same for every build, so that a second one gives the same wheel: no date, no seed, no path of ours."""
        same = f"-ffile-prefix-map={self.work}=. -g0"
        plain = process.environment(home)
        return {
            **plain,
            "PATH": f"{environment / 'bin'}:{plain['PATH']}",
            "PYTHONHASHSEED": "0",
            "SOURCE_DATE_EPOCH": _DATE,
            "CFLAGS": same,
            "CXXFLAGS": same,
        }

    def _told(self, error: BuildFailure) -> BuildFailure:
        """The failure with what lacked, where it says so in words that are known."""
        first = error.problem.splitlines()[0]
        if tools.says_full(error.log) or "File too large" in error.log:  # of all files together, or of one
            allowed = f"{self.bounds.disk_bytes / 2**30:.3g} GiB"
            return BuildFailure(
                f"{self.question.what} has no wheel, and its build writes more than the {allowed} that it may",
                log=error.log,
                remedy=f"give it a wheel ('wheels' in model.toml), or raise {ceiling.DISK}",
            )
        lacked = lacking.found(error.log, python_minor=self.question.python.minor)
        if lacked is None:
            remedy = error.remedy or "require a version that has a wheel, or give it one ('wheels' in model.toml)"
            return BuildFailure(f"{first} ({self.question.what} has no wheel)", log=error.log, remedy=remedy)
        problem = f"{self.question.what} has no wheel, and its build {lacked.what}"
        return BuildFailure(problem, log=error.log, remedy=lacked.remedy)


# --- what came out -------------------------------------------------------------------------------


def _check(wheel: Path, pin: Pin, question: Question) -> None:
    """UnsoundError where the wheel is not of the package that it was built from, or not for this Python."""
    called, version = _named(pin)
    try:
        name, number, _, given = parse_wheel_filename(wheel.name)
        raw, _ = parse_email(_metadata(wheel))
    except InvalidWheelFilename as error:
        raise UnsoundError(str(error)) from error
    except (BadInput, UnsoundError) as error:
        said = error.problem if isinstance(error, BadInput) else error
        raise UnsoundError(f"its build made something else than a wheel: {said}") from error
    said, of_version = raw.get("name", ""), raw.get("version", "")
    try:
        inside = canonicalize_name(said), Version(of_version)
    except InvalidVersion:
        raise UnsoundError(f"its build made a wheel whose version is {archives.shown(of_version)}") from None
    if {(name, number), inside} != {(canonicalize_name(called), Version(version))}:
        raise UnsoundError(f"its build made a wheel of {name} {number}, which is not {called} {version}")
    if not given & set(wheelhouse.tags(question.python.minor)):
        raise UnsoundError(f"its build made {wheel.name}, which is not for Python {question.python.minor} here")

    _check_requires(raw.get("requires_dist", []))


def _named(pin: Pin) -> tuple[str, str]:
    """The name and the version of a pin."""
    return pin.requirement.name, str(pin.requirement.specifier).removeprefix("==")


def _metadata(wheel: Path) -> bytes:
    with files.opened(wheel) as stream, archives.opened(stream, at_most_bytes=_UNPACKED_BYTES) as archive:
        names = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA") and one.count("/") == 1]
        if len(names) != 1:
            raise UnsoundError(f"the wheel has {len(names)} files METADATA, not one")
        return archives.read(archive, names[0], at_most=_TEXT_BYTES)


def _check_requires(said: Sequence[str]) -> None:
    """UnsoundError where the wheel requires something that cannot be locked."""
    for text in said:
        try:
            requirement_text(text)
        except ValueError as error:
            raise UnsoundError(f"its wheel requires {archives.shown(text)}, which {error}") from error
