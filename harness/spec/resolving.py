"""Asking uv which versions are to be installed, and where a source distribution lies. It builds and installs nothing.

uv may only take wheels. Where an answer needs a package that has none, uv says so, and is asked again with that package
allowed as a source distribution. Then it is told what the package requires (``dependency-metadata``), so it has no
reason to run the package's build: at first that it requires nothing, then what the wheel says that
:mod:`harness.spec.building` has built of it behind the door.

Sources: docs.astral.sh/uv, "Settings" (dependency-metadata, index, sources) and "Resolution"; PEP 751 for
``pylock.toml``. Tried with uv 0.13.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from harness import process, tools
from harness.errors import BadInput, BuildFailure
from harness.interpreter import Interpreter
from harness.spec import indexes, pins, wheelhouse
from harness.spec.indexes import Index
from harness.spec.pins import Pin

#: How often uv is asked for one lock: each package that has no wheel takes up to two questions.
_MOST_QUESTIONS = 40
_TIMEOUT_S = 180
#: The name of the made-up project that requires what is wanted; no index has one of it.
_PROJECT = "harness-wanted-requirements"
_NEEDS_SOURCE = re.compile(r"Wheels are required for `([A-Za-z0-9._-]+)` because building from source is disabled")
_VIA = re.compile(r"(?m)^ *# via (.+)$")
_VIA_PROJECT = re.compile(rf"{_PROJECT} \(pyproject\.toml\)")


class UnresolvedError(Exception):
    """uv found no answer; ``said`` is what it printed."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is to be locked, and where it may come from. ``what`` it is for stands in messages.

    ``own`` are wheels that go before any index's, ``given`` are pins that hold whatever else is required.
    ``lowest`` asks for an answer that holds for every Python from that version (``3.9``) on.
    """

    what: str
    wanted: tuple[str, ...]
    python: Interpreter
    own: tuple[Path, ...] = ()
    given: tuple[Pin, ...] = ()
    indexes: tuple[Index, ...] = ()
    torch_backend: str | None = None
    lowest: str = ""


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """Where the source distribution of one package lies, and its sha256."""

    url: str
    sha256: str


#: Builds the wheel of a pin that has a source distribution alone, and says what that wheel requires.
Builder = Callable[[Pin, Question], tuple[str, ...]]


@dataclass(kw_only=True)
class _Told:
    """What uv is told: which packages may be source distributions, and what versions of them require."""

    sources: set[str]
    requires: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)


def answer(question: Question, build: Builder) -> list[Pin]:
    """The pins, each with its hashes. UnresolvedError where uv finds none; BuildFailure for what cannot be built.

    A pin that has a ``source`` has that file's hash alone.
    """
    if not question.wanted:
        return []
    told = _Told(sources={canonicalize_name(pin.requirement.name) for pin in question.given if pin.source})
    sources: dict[str, SourceFile] = {}
    for _ in range(_MOST_QUESTIONS):
        try:
            locked = _locked(question, told)
        except UnresolvedError as error:
            lacking = {canonicalize_name(name) for name in _NEEDS_SOURCE.findall(error.said)} - told.sources
            if not lacking:
                raise
            told.sources |= lacking
            continue
        more = False
        for place, pin in enumerate(locked):
            name = canonicalize_name(pin.requirement.name)
            if name not in told.sources:
                continue
            if pin.line not in sources:
                sources[pin.line] = where(pin, question)
            digest = sources[pin.line].sha256
            locked[place] = source = replace(pin, hashes=frozenset([digest]), source=digest)
            _check_given(source, question)
            key = (name, str(pin.requirement.specifier).removeprefix("=="))
            # What is for other systems can't be built here, so nobody knows what it requires.
            if key not in told.requires and wheelhouse.applies(pin.requirement, question.python):
                told.requires[key] = build(source, question)
                more = more or bool(told.requires[key])
        if not more:
            return locked
    raise BuildFailure(
        f"{question.what}: more than {_MOST_QUESTIONS // 2} packages have no wheel",
        remedy="require versions that an index has wheels of",
    )


def _check_given(pin: Pin, question: Question) -> None:
    """BuildFailure where the index has another source distribution than the one that was locked."""
    for given in question.given:
        if given.line == pin.line and given.source and given.source != pin.source:
            raise BuildFailure(
                f"{pin.line}: the index has a source distribution with sha256 {pin.source}, "
                f"and {given.source} is locked",
                remedy="lock again, where the index is to be trusted",
            )


def where(pin: Pin, question: Question) -> SourceFile:
    """Where the index has the pin's source distribution; BuildFailure where it has none, or tells no sha256."""
    name = canonicalize_name(pin.requirement.name)
    text = f"{pin.requirement.name}{pin.requirement.specifier}"
    one = replace(question, wanted=(text,), given=(), own=(), lowest="")
    try:
        said = _ask(one, _Told(sources={name}), ("--format", "pylock.toml", "--no-deps"))
        [package] = tomllib.loads(said)["packages"]
        file = package["sdist"]
        found = SourceFile(url=str(file.get("url") or file["path"]), sha256=str(file["hashes"]["sha256"]))
    except UnresolvedError as error:
        raise BuildFailure(f"{text}: its source distribution cannot be found", log=error.said) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BuildFailure(
            f"{text} has no wheel for Python {question.python.version}, and the index tells of no source distribution "
            "with a sha256",
            remedy="require another version, or give it a wheel: 'wheels' in model.toml names a folder of them",
        ) from error
    if not re.fullmatch("[0-9a-f]{64}", found.sha256) or (pin.source and pin.source != found.sha256):
        raise BuildFailure(
            f"{text}: the index has a source distribution with sha256 {found.sha256}, and {pin.source} is locked",
            remedy="lock again, where the index is to be trusted",
        )
    return found


# --- asking uv -----------------------------------------------------------------------------------


def _locked(question: Question, told: _Told) -> list[Pin]:
    """Uv's answer. Packages that have an index are asked for by name, as uv knows no other way to bind them to it."""
    asked = {canonicalize_name(Requirement(text).name) for text in question.wanted}
    bound = {package for index in question.indexes for package in index.packages} - asked
    options = ["--emit-index-annotation"] if question.torch_backend or question.indexes else []
    options += ["--annotation-style", "line"] if bound else ["--no-annotate"]
    while True:
        said = _ask(question, told, options, bound)
        # Those that nothing else requires are in it for our asking alone.
        vain = {name for name in bound if _VIA_PROJECT.fullmatch(_via(said).get(name, ""))}
        if not vain:
            return _parsed(said, question)
        bound -= vain


def _via(said: str) -> dict[str, str]:
    """Which packages each package is there for, as uv tells it."""
    found: dict[str, str] = {}
    for part in re.split(r"(?m)^(?=[A-Za-z0-9])", said):
        if via := _VIA.search(part):
            found[canonicalize_name(re.split(r"[=\[ ]", part, maxsplit=1)[0])] = via[1].strip()
    return found


def _parsed(said: str, question: Question) -> list[Pin]:
    """Uv tells of every package from which index it is; those of the user need no telling."""
    own = {index.url for index in question.indexes}

    def told(match: re.Match[str]) -> str:
        index = match[1].rstrip("/")
        return match[0] if index in own or index.startswith("https://download.pytorch.org/") else ""

    said = re.sub(r"(?m)^ *# from (\S+)\n?", told, said)
    try:
        found = pins.parse(
            said, file="uv's answer", remedy="", torch_backend=question.torch_backend, indexes=sorted(own)
        )
    except BadInput as error:
        raise BuildFailure(
            f"uv locked something that is no package of an index: {error.problem}",
            remedy="require packages of an index, without addresses and paths",
        ) from error
    indexes.check_pins(found, question.indexes, file="uv's answer", remedy="correct [[index]] in model.toml")
    return found


def _ask(question: Question, told: _Told, options: Sequence[str], bound: set[str] | None = None) -> str:
    """Run uv once; what it answers. UnresolvedError where it finds nothing."""
    argv = [str(tools.uv()), "pip", "compile", "--generate-hashes", "--no-header", "--quiet", *options]
    argv += ["--only-binary", ":all:", "--python", str(question.python.path)]
    for name in sorted(told.sources):
        argv += ["--no-binary", name]
    if question.lowest:
        argv += ["--universal", "--python-version", question.lowest]
    sources = find_links()
    if question.torch_backend and not _has_torch(sources):
        # The annotation tells where PyTorch's builds lie, which only uv knows; pip then fetches from there.
        argv += ["--torch-backend", question.torch_backend]
    env = tools.uv_environment()
    with process.temporary_folder("lock") as scratch:
        for wheel in question.own:
            os.link(wheel, scratch / wheel.name)
        for source in (str(scratch), *sources):
            argv += ["--find-links", source]
        if question.given:
            constraints = scratch / "constraints.txt"
            constraints.write_text("\n".join(pin.line for pin in question.given))
            argv += ["--constraints", str(constraints)]
        wanted = [*question.wanted, *sorted(bound or ())]
        if told.sources or question.indexes:
            (scratch / "pyproject.toml").write_text(_project(wanted, question.indexes, told), encoding="utf-8")
            env = _reading_projects(env, scratch / "config")
        argv.append("pyproject.toml" if question.indexes else "-")
        try:
            done = process.run(argv, env=env, timeout_s=_TIMEOUT_S, stdin="\n".join(wanted), cwd=scratch)
        except process.TimedOut as error:
            raise BuildFailure(
                f"{question.what}: {error.problem}",
                log=error.output,
                remedy="check that the package indexes answer (UV_DEFAULT_INDEX names another)",
            ) from error
    if done.returncode != 0:
        raise UnresolvedError(done.stderr)
    return done.stdout


def _reading_projects(env: Mapping[str, str], config: Path) -> dict[str, str]:
    """The environment in which uv reads our project's settings: with UV_CONFIG_FILE it would read that file alone.

    So that file takes the place of the user's settings, which uv reads as well.
    """
    made = dict(env)
    if (file := made.pop("UV_CONFIG_FILE", "")) != "":
        (config / "uv").mkdir(parents=True)
        shutil.copyfile(file, config / "uv" / "uv.toml")
        made["XDG_CONFIG_HOME"] = str(config)
    return made


def _project(wanted: Sequence[str], own: Sequence[Index], told: _Told) -> str:
    """The made-up project: what is wanted, which index each package comes from, what sources require."""
    lines = ["[project]", f'name = "{_PROJECT}"', 'version = "0"', f"dependencies = {json.dumps(wanted)}"]
    bound = {package: index.name for index in own for package in index.packages}
    lines.append("[tool.uv.sources]")
    lines += [f"{json.dumps(name)} = {{ index = {json.dumps(of)} }}" for name, of in bound.items()]
    for index in own:
        lines += ["[[tool.uv.index]]", f"name = {json.dumps(index.name)}", f"url = {json.dumps(index.url)}"]
        lines += ["explicit = true"]
    return "\n".join([*lines, *_metadata(told), ""])


def _metadata(told: _Told) -> Iterator[str]:
    """Of each source, first what holds for every version: else uv would run the build of one that is not known yet."""
    for name in sorted(told.sources):
        yield from ("[[tool.uv.dependency-metadata]]", f"name = {json.dumps(name)}", "requires-dist = []")
    for (name, version), requires in sorted(told.requires.items()):
        yield from ("[[tool.uv.dependency-metadata]]", f"name = {json.dumps(name)}")
        yield from (f"version = {json.dumps(version)}", f"requires-dist = {json.dumps(requires)}")


@lru_cache(maxsize=1)
def find_links() -> tuple[str, ...]:
    """The folders of wheels that pip is configured with (uv doesn't read pip's configuration)."""
    with process.temporary_folder("pip") as scratch:
        done = process.run(
            [str(tools.executable("pip")), "config", "list"], env=process.network_environment(scratch), timeout_s=60
        )
    found: list[str] = []
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        if name.rsplit(".", 1)[-1] == "find-links":
            found += value.strip("'\"").split()
    return tuple(dict.fromkeys(source for source in found if os.path.isdir(source)))


def _has_torch(sources: Sequence[str]) -> bool:
    return any(any(Path(source).glob("torch-*+cpu-*.whl")) for source in sources)
