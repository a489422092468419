"""Whether an artifact will run on a target, said before anything is started there: from what both are made of.

``runs`` and ``does not`` are claims that a start proves or disproves (``benchmarks/verdicts.py`` does that); ``unsure``
is where files don't say, with what is not known. An artifact that starts may still answer wrongly: no file says that.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import compatible_tags, cpython_tags

from harness import interpreter
from harness.errors import BadInput
from harness.measure import artifacts, carried, needs, tracing
from harness.measure.carried import Carried
from harness.measure.needs import Needs
from harness.methods.contract import Artifact, Method
from harness.methods.variants import DEFAULT, Variant
from harness.platforms import libraries
from harness.platforms.engine import Say
from harness.platforms.libraries import System
from harness.platforms.targets import Machine
from harness.spec import native, reading
from harness.spec.weights import LockedModel

#: What is noted beside an artifact, in ``carried.json``.
NOTE = "carried"
_CPUINFO_CHARS = 2**16

#: The flags of /proc/cpuinfo that each x86-64 level adds: the psABI's table of micro-architecture levels.
_LEVELS = (
    {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"},
    {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"},
    {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
)
#: The C library that each manylinux tag of old stands for: PEP 513, 571, 599.
_MANYLINUX = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}


@dataclass(frozen=True, kw_only=True)
class Place:
    """What is known of a target: its system, its Pythons by path, the level of its processor (0: not known)."""

    system: System
    pythons: Mapping[str, str] = field(default_factory=dict)
    level: int = 0
    engine: bool = False


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether it will run, and why not, or what is not known."""

    says: Literal["runs", "does not", "unsure"]
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.says}: {'; '.join(self.reasons)}" if self.reasons else self.says


@dataclass(frozen=True, kw_only=True)
class Known:
    """What was read of an artifact, and of its model: the record that is noted beside the artifact."""

    carried: Carried
    needs: Needs
    python: str  #: of the model, as ``model.toml`` allows it
    minor: str  #: of the interpreter that it was built for


# --- reading -------------------------------------------------------------------------------------


def known(
    method: Method,
    locked: LockedModel,
    artifact: Artifact,
    *,
    variant: Variant = DEFAULT,
    say: Say = lambda _: None,
) -> Known:
    """What the artifact carries, read once and noted beside it.

    What the model's plain environment loads says which of the artifact's files matter.
    """
    table = artifacts.noted(method, locked, artifact, NOTE, variant=variant)
    if table is not None:
        try:
            return reading.record(Known, table, file=Path(f"{NOTE}.json"))
        except BadInput:
            pass  # of another version
    say("reading what it needs of its target")
    closure, needed = needs.of_plain(tracing.plainly(method, locked), say=say)
    found = carried.of_artifact(method, artifact, closure)
    made = Known(carried=found, needs=needed, python=locked.model.file.python, minor=locked.lock.python.minor)
    artifacts.note(method, locked, artifact, NOTE, dataclasses.asdict(made), variant=variant)
    return made


def place_of(machine: Machine, *, engine: bool = False) -> Place:
    """What is known of a target that stands ready here; its processor is this machine's."""
    root = machine.surroundings.root if machine.surroundings else None
    if root is None:
        pythons = interpreter.known()
        here = {str(path): own.minor for own in pythons for path in (own.path, own.path.resolve())}
        return Place(
            system=libraries.here(), pythons={**_pythons(Path("/")), **here}, level=level_here(), engine=engine
        )
    system = libraries.of_folder(root, title=machine.title)
    return Place(system=system, pythons=_pythons(root), level=level_here())


def level_here() -> int:
    """The x86-64 level of this machine's processor; 0 where that is not known."""
    with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as stream:
        text = stream.read(_CPUINFO_CHARS)
    told = re.search(r"(?m)^flags\s*:(.*)$", text)
    if told is None:
        return 0
    flags, found = set(told[1].split()), 1
    for wanted in _LEVELS:
        if not wanted <= flags:
            break
        found += 1
    return found


def _pythons(root: Path) -> dict[str, str]:
    places = (root / "usr" / "bin").glob("python3.*")
    return {f"/usr/bin/{one.name}": one.name[6:] for one in places if re.fullmatch(r"python3\.\d+", one.name)}


# --- judging -------------------------------------------------------------------------------------


def against(known: Known, place: Place) -> Verdict:
    """Whether the artifact will run there."""
    wrong, open_ = [*_wrong(known.carried, place)], [*_open(known.carried, place)]
    if known.carried.python == "any":
        unfit, doubtful = _of_pythons(known, place)
        wrong += unfit
        open_ += doubtful
    if wrong:
        return Verdict(says="does not", reasons=tuple(wrong))
    return Verdict(says="unsure", reasons=tuple(open_)) if open_ else Verdict(says="runs")


def on_target(known: Known) -> tuple[str, ...]:
    """What a target must have that the artifact leaves to it, in a reader's words."""
    found = known.carried
    python = {"at": found.path, "any": "a Python", "system": "a container engine", "own": ""}.get(
        found.python, "its platform"
    )
    parts = [found.machine, f"glibc {found.glibc} or newer" if found.glibc else "", python]
    parts += [f"a processor of x86-64-v{found.level}" if found.level > 1 else ""]
    return tuple(part for part in parts if part)


def lacking(known: Known) -> tuple[str, ...]:
    """The Debian packages (or sonames) that a target needs besides Python: what a bare base image does not have."""
    bare = {one.soname: one.package or one.soname for one in known.needs.libraries if one.in_base is False}
    return tuple(sorted({bare[one.soname] for one in known.carried.libraries if one.loaded and one.soname in bare}))


def _wrong(found: Carried, place: Place) -> Iterator[str]:
    system = place.system
    if found.machine != system.machine:
        yield f"is for {found.machine}, and that is {system.machine}"
    if place.level and found.level > place.level:
        yield f"needs a processor of x86-64-v{found.level}, and that is of v{place.level}"
    if found.python == "system":
        if not place.engine:
            yield "needs a container engine"
        return
    if found.python == "at" and found.path not in place.pythons:
        yield f"needs {found.path}"
    if _beyond(found.glibc, system.glibc):
        yield f"needs glibc {found.glibc}, and it has {native.dotted(system.glibc)}"
    if _beyond(found.libstdcxx, system.libstdcxx):
        yield f"needs GLIBCXX_{found.libstdcxx}, and it has {native.dotted(system.libstdcxx)}"
    for one in found.libraries:
        if one.loaded and one.soname not in system.sonames:
            yield f"needs {one.soname} ({one.needed_by})"


def _open(found: Carried, place: Place) -> Iterator[str]:
    if not place.level and found.level > 1:
        yield f"needs a processor of x86-64-v{found.level}"
    if found.python == "platform":
        yield "its platform decides what is around it"
    for text in found.unread:
        yield f"can't be read: {text}"
    if found.python != "system":
        for one in found.libraries:
            if one.loaded is None and one.soname not in place.system.sonames:
                yield f"may need {one.soname} ({one.needed_by})"


def _beyond(needed: str, has: tuple[int, ...]) -> bool:
    return bool(needed and has) and native.numbers(needed) > has


def _of_pythons(known: Known, place: Place) -> tuple[list[str], list[str]]:
    """Of an artifact that takes any Python which suits its wheels: why none does, and what is not known of the best."""
    if not place.pythons:
        return ["needs a Python"], []
    found: dict[str, list[str]] = {}
    for minor in sorted(set(place.pythons.values()), key=lambda one: (one != known.minor, native.numbers(one))):
        unfit = [*_unfit(known.carried, minor, place.system)]
        if not unfit:
            outside = f"{minor}.0" not in SpecifierSet(known.python) and minor != known.minor
            return [], [f"the model asks for Python {known.python}, and it has {minor}"] if outside else []
        found[minor] = unfit
    return next(iter(found.values())), []


def _unfit(found: Carried, minor: str, system: System) -> Iterator[str]:
    """Why that Python can't take the wheels of a PEX, which looks at their tags before it starts."""
    version = native.numbers(minor)
    platforms = [f"linux_{found.machine}"]
    fitting = {
        (tag.interpreter, tag.abi, "any" if tag.platform == "any" else "native")
        for tag in (
            *cpython_tags(version, platforms=platforms),
            *compatible_tags(version, f"cp{minor.replace('.', '')}", platforms=platforms),
        )
    }
    for wheel in found.wheels:
        tags = [tag.split("-", 2) for tag in wheel.split()]
        if not any(
            (python, abi, "any" if kind == "any" else "native") in fitting and _loadable(kind, found.machine, system)
            for python, abi, kind in tags
        ):
            yield f"has a wheel for {wheel.split()[0]}, and it has Python {minor}"
    for told in found.requires:
        if not _takes(told, f"{minor}.99"):
            yield f"has a package for Python {told}, and it has {minor}"


def _takes(told: str, version: str) -> bool:
    """Whether a ``Requires-Python`` takes that Python; one that nobody can read forbids nothing."""
    try:
        return version in SpecifierSet(told)
    except InvalidSpecifier:
        return True


def _loadable(kind: str, machine: str, system: System) -> bool:
    """Whether a wheel of that platform tag suits the system (PEP 600)."""
    if kind in ("any", f"linux_{machine}"):
        return True
    name = kind.removesuffix(f"_{machine}")
    numbered = re.fullmatch(r"manylinux_(\d+)_(\d+)", name)
    needed = (int(numbered[1]), int(numbered[2])) if numbered else _MANYLINUX.get(name)
    return name != kind and needed is not None and (not system.glibc or needed <= system.glibc)
