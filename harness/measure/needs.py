"""What a model and its packages need of the system, held against this machine and the base image.

The native files of the closure and of the model say which libraries they need. Answering the examples says which of
them matter: libraries that only files need which no start loads (plugins, code for GPUs) are listed, and are no
problem. Libraries that are opened while it answers, and that no file names (``ctypes``), are found as well.
"""

from __future__ import annotations

import contextlib
import platform
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from harness import settings
from harness.errors import BuildFailure, MissingComponent, one_line
from harness.interpreter import Interpreter
from harness.measure import plain, tracing
from harness.methods.contract import Traced
from harness.platforms import debian, images, libraries
from harness.platforms.engine import Say
from harness.platforms.libraries import System
from harness.spec import environments, native, reading
from harness.spec.kinds import Count, Word
from harness.spec.native import Native, Unread
from harness.spec.weights import LockedModel

#: How many of the files that need a library are named.
_NAMED = 5
_SHORT = 200


@dataclass(frozen=True, kw_only=True)
class Library:
    """A library that neither the packages nor the model bring, and who needs it.

    ``loaded``: answering the examples loads it; ``opened``: no file needs it, it was opened by its name, and whether a
    start can do without is not known (Pillow opens libfribidi where that is there). ``here``: this machine has it.
    ``in_image``, ``in_base``: the model's base image with its ``system_packages`` has it, and one without any; None
    where that is not known. ``package`` is the Debian package that brings it; empty where none is known, or the base
    has it anyway.
    """

    __pydantic_config__ = reading.STRICT

    soname: Word
    needed_by: tuple[Word, ...]
    loaded: bool
    here: bool
    in_image: bool | None
    in_base: bool | None
    package: Word = ""
    opened: bool = False


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What native files need of a system. Versions are of those that a start loads, of all where no start was traced.

    ``files`` is the number of native files, ``unread`` names those that make no sense; ``level`` is the x86-64 level
    that files were marked with (0: none). ``base`` is the system that libraries were looked for in, with its versions;
    ``absent`` says why it was not looked into, ``unnamed`` why packages were not looked up; empty where they were.
    """

    __pydantic_config__ = reading.STRICT

    machine: Word
    level: Count
    glibc: Word
    libstdcxx: Word
    files: Count
    unread: tuple[Word, ...]
    traced: bool
    base: Word
    base_glibc: Word
    base_libstdcxx: Word
    absent: Word
    unnamed: Word
    libraries: tuple[Library, ...]

    @property
    def lacking(self) -> tuple[Library, ...]:
        """What a start loads that the model's images do not have."""
        return tuple(one for one in self.libraries if one.loaded and one.in_image is False)

    @property
    def of_target(self) -> tuple[Library, ...]:
        """What a start loads that a target must have where nothing brings it: what a bare base image does not have."""
        return tuple(one for one in self.libraries if one.loaded and one.in_base is False and not one.opened)

    @property
    def perhaps(self) -> tuple[Library, ...]:
        """The same of what was opened by its name: a start may do without."""
        return tuple(one for one in self.libraries if one.loaded and one.in_base is False and one.opened)

    @property
    def idle(self) -> tuple[Library, ...]:
        """What no start loads and images are not known to have."""
        return tuple(one for one in self.libraries if not one.loaded and not one.in_image)

    @property
    def unknown(self) -> tuple[Library, ...]:
        """What a start loads of which is not known whether images have it."""
        return tuple(one for one in self.libraries if one.loaded and one.in_image is None)

    @property
    def too_new(self) -> tuple[str, ...]:
        """The versions that a start needs and the base image's C library or C++ runtime does not have."""
        pairs = (("glibc", self.glibc, self.base_glibc), ("GLIBCXX", self.libstdcxx, self.base_libstdcxx))
        return tuple(
            f"{name} {needed} (the base has {has})"
            for name, needed, has in pairs
            if needed and has and native.numbers(needed) > native.numbers(has)
        )

    @property
    def to_add(self) -> tuple[str, ...]:
        """The Debian packages that ``system_packages`` lacks, sorted."""
        return tuple(sorted({one.package for one in self.lacking if one.package}))


def of_model(locked: LockedModel, python: Path, sources: Path, traced: Traced, *, say: Say = lambda _: None) -> Needs:
    """What the model needs; where nothing was traced, all that is needed counts as loaded.

    Never raises for what the system or the network lacks. ``say`` is told of a base image that is made meanwhile.
    """
    packages = environments.site_packages(python.parent.parent, locked.lock.python)
    return of_closure(Closure(packages, sources, traced, locked.lock.python), locked, say=say)


def of_closure(closure: Closure, locked: LockedModel, *, say: Say = lambda _: None) -> Needs:
    """The same of native files that were read already."""
    names = {**dict.fromkeys(closure.opened, ("opened while it answers",)), **closure.needing}
    held = _held(closure.loaded, locked.lock.python.minor, locked.model.file.system_packages, say)
    return Needs(
        machine=platform.machine(),
        level=native.level(closure.mapped),
        glibc=native.dotted(native.newest(closure.mapped, "GLIBC_")),
        libstdcxx=native.dotted(native.newest(closure.mapped, "GLIBCXX_")),
        files=len(closure.native) + len(closure.unread),
        unread=tuple(word(f"{one.path}: {one.why}") for one in closure.unread),
        traced=bool(closure.traced.modules),
        base=held.base.title if held.base else "",
        base_glibc=native.dotted(held.base.glibc) if held.base else "",
        base_libstdcxx=native.dotted(held.base.libstdcxx) if held.base else "",
        absent=word(held.absent),
        unnamed=word(held.unnamed),
        libraries=tuple(
            Library(
                soname=word(name),
                needed_by=tuple(word(path) for path in closure.first(by)),
                loaded=name in closure.loaded,
                here=name in held.here,
                in_image=held.has(held.image, name, loaded=name in closure.loaded),
                in_base=held.has(held.base, name, loaded=name in closure.loaded),
                package=held.packages.get(name, ""),
                opened=name in closure.opened,
            )
            for name, by in sorted(names.items())
        ),
    )


_last: dict[str, tuple[Closure, Needs]] = {}


def of_plain(locked: LockedModel, *, say: Say = lambda _: None) -> tuple[Closure, Needs]:
    """The same of the model where it is not packaged, with the files themselves; read once for all of its artifacts."""
    key = tracing.key(locked)
    if key not in _last:
        with environments.at_hand(locked.lock) as python, plain.laid_out(locked, python) as (_, lying):
            assert lying.root is not None
            packages = environments.site_packages(python.parent.parent, locked.lock.python)
            closure = Closure(packages, lying.root, tracing.of(locked), locked.lock.python)
            _last.clear()
            _last[key] = closure, of_closure(closure, locked, say=say)
    return _last[key]


def summary(found: Needs) -> str:
    """What is needed of the system, and whether images have it, in a line."""
    versions = [f"glibc {found.glibc} or newer"] if found.glibc else []
    versions += [f"GLIBCXX {found.libstdcxx}"] if found.libstdcxx else []
    versions += [f"x86-64-v{found.level}"] if found.level > 1 else []
    loaded = sum(one.loaded for one in found.libraries)
    parts = [", ".join(versions) or "no native files", f"{_counted(loaded)} of the system"]
    if loaded and not found.absent:
        parts.append(f"images lack {packages_named(found.lacking)}" if found.lacking else "images have all")
    if found.idle:
        parts.append(f"no start loads {len(found.idle)} more")
    if not found.traced:
        parts.append("which of them a start loads is not known")
    return "; ".join(parts)


def on_target(found: Needs) -> str:
    """What a bare target lacks: ``needs libxcb1, may need libfribidi0 on the target``; empty for nothing."""
    certain = {one.package or one.soname for one in found.of_target}
    needed = packages_named(found.of_target)
    perhaps = packages_named(one for one in found.perhaps if (one.package or one.soname) not in certain)
    parts = [f"needs {needed}" if needed else "", f"may need {perhaps}" if perhaps else ""]
    return f"{', '.join(part for part in parts if part)} on the target" if needed or perhaps else ""


def packages_named(found: Iterable[Library]) -> str:
    """The Debian packages of the libraries, or their names where none is known: ``libxcb1, libfoo.so.1``."""
    return ", ".join(sorted({one.package or one.soname for one in found}))


def _counted(number: int) -> str:
    return f"{number} {'library' if number == 1 else 'libraries'}"


#: How the loader says that a library is not there.
_NOT_THERE = re.compile(r"([^\s/'\"]+\.so[.\w]*): cannot open shared object file")


def not_there(error: str) -> str:
    """The library that is not there, by an error of the loader; empty where it says nothing of the kind."""
    found = _NOT_THERE.search(error)
    return found[1] if found else ""


def packages_for(sonames: Collection[str], minor: str) -> Mapping[str, str]:
    """The Debian package of each library, for the base image with Python ``minor``; those not known are left out."""
    suite, names = images.SUITES.get(minor), [name for name in sonames if name]
    return debian.packages_of(names, suite).found if suite and names else {}


# --- files ---------------------------------------------------------------------------------------


class Closure:
    """The native files of an environment's packages and of the model beside them, and what a start loads of them."""

    def __init__(self, packages: Path, sources: Path, traced: Traced, python: Interpreter) -> None:
        self._python, self.traced = python, traced
        found = [*native.below(packages), *native.below(sources)]
        self.native = [one for one in found if isinstance(one, Native)]
        self.unread = [one for one in found if isinstance(one, Unread)]

    @cached_property
    def needing(self) -> Mapping[str, tuple[str, ...]]:
        """Which of the files need a library of the system's."""
        return native.from_system(self.native, machine=platform.machine())

    @cached_property
    def mapped(self) -> Sequence[Native]:
        """Those that a start loads; all of them where none was traced."""
        if not self.traced.modules:
            return self.native
        relative = {*self.traced.mapped, *self.traced.own}
        return [one for one in self.native if one.path in relative]

    @cached_property
    def loaded(self) -> frozenset[str]:
        """The system's libraries that a start loads: those that it opened, and those that its files need."""
        names = {soname.rpartition("/")[2] for one in self.mapped for soname in one.needed}
        return self.opened | (names & self.needing.keys())

    @cached_property
    def opened(self) -> frozenset[str]:
        """Those that a start opened though no file that it loaded needs them: by ``ctypes``, say.

        Only what lies in a folder of this system's loader counts, whatever the model says of itself.
        """
        if not self.traced.modules:
            return frozenset()
        folders = libraries.folders_here()
        python = tuple(str(place) for place in self._python.files)
        system = [*_read(path for path in self.traced.system if path.startswith(tuple(f"{one}/" for one in folders)))]
        own = [*_read(path for path in self.traced.system if path.startswith(python)), *self.native]
        needed = {soname for one in (*own, *system) for soname in one.needed}
        direct = {one.soname for one in system if one.path.rpartition("/")[0] in folders}
        known = {one.soname for one in own}
        return frozenset(name for name in direct - needed - known if name and not native.of_glibc(name))

    def first(self, paths: Iterable[str]) -> list[str]:
        """The files to name of all that need a library: those that are loaded first."""
        loaded = {one.path for one in self.mapped}
        return sorted(paths, key=lambda path: (path not in loaded, path))[:_NAMED]


def _read(paths: Iterable[str]) -> Iterator[Native]:
    """The native files of the system's at those paths."""
    for path in paths:
        with contextlib.suppress(OSError):
            if Path(path).is_file():
                with Path(path).open("rb") as stream:
                    found = native.read(stream, path)
                if isinstance(found, Native):
                    yield found


def word(text: str) -> str:
    """``text`` as it can stand in a record: one line, of no more letters than a reader wants."""
    line = one_line(text)
    return line if len(line) <= _SHORT else f"…{line[1 - _SHORT :]}"


# --- systems -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Held:
    """What systems have: this machine, the model's base image, a bare one; None where that is not known.

    ``whole`` says that they were looked into, and not only known to have what is asked for.
    """

    here: frozenset[str]
    image: System | None = None
    base: System | None = None
    whole: bool = False
    packages: Mapping[str, str] = field(default_factory=dict)
    absent: str = ""
    unnamed: str = ""

    def has(self, system: System | None, name: str, *, loaded: bool) -> bool | None:
        """Whether the system has the library; images are not looked into for what no start loads."""
        if system is None:
            return None
        return True if name in system.sonames else (False if loaded or self.whole else None)


def _held(names: Collection[str], minor: str, packages: Sequence[str], say: Say) -> _Held:
    here = libraries.here().sonames
    if settings.text("HARNESS_BASE_IMAGE"):
        return _Held(here=here, absent="HARNESS_BASE_IMAGE names an image that is not looked into")
    try:
        bare = libraries.least(minor)
        whole = not bare.sonames.issuperset(names)
        if whole:
            bare = libraries.of_base(minor, say=say)
        enough = not packages or bare.sonames.issuperset(names)
        image = bare if enough else libraries.of_base(minor, packages, say=say)
    except (MissingComponent, BuildFailure) as error:
        return _Held(here=here, absent=error.problem)
    beyond = [name for name in names if name not in bare.sonames]
    known = debian.packages_of(beyond, images.suite(minor)) if beyond else debian.Packages(found={})
    return _Held(
        here=here,
        image=image,
        base=bare,
        whole=whole,
        packages=known.found,
        unnamed=known.absent,
    )
