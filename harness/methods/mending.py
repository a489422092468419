"""What is done about an artifact that does not answer as the plain environment does: steps, as data, cheapest first.

Each step proposes builds that do something otherwise (:class:`harness.methods.contract.Mending`); who builds and asks
is :mod:`harness.measure.proof`. A method says with ``MENDS`` which kinds of steps it can take.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from harness.methods.contract import BuildOptions, Mending, Mends
from harness.spec.model import Model
from harness.spec.weights import LockedModel

#: The rules of pruning, one of which may be to blame: first those that remove files that something may read, in the
#: order in which that was seen to happen, last those that change files and remove none.
RULES = ("headers", "stubs", "tests", "metadata", "sources", "symbols", "duplicates")


def rules(model: Model, options: BuildOptions, among: Sequence[str] = RULES) -> list[str]:
    """The rules of pruning for a build: those that the model names, the method has, and no mending leaves out."""
    return [rule for rule in model.file.prune if rule in among and rule not in options.mended.unpruned]


def kept(options: BuildOptions) -> tuple[str, ...]:
    """What pruning must leave."""
    return options.traced.kept if options.traced is not None else ()


def to_build(locked: LockedModel, mended: Mending) -> LockedModel:
    """The model as it is built: with the system packages that it names, and those that mend it."""
    if not mended.system_packages:
        return locked
    file = locked.model.file
    packages = _together(file.system_packages, mended.system_packages)
    return replace(locked, model=replace(locked.model, file=replace(file, system_packages=packages)))


@dataclass(frozen=True, kw_only=True)
class Case:
    """A build that does not answer: what is known of it when a step is chosen.

    ``rules`` are those of pruning that the model asks for, ``removed`` what each removes. ``packages`` are all that are
    installed at the top level, ``loaded`` those of them that a plain start loads. ``lacking`` gives the Debian packages
    that a system has to have for an error not to come again. ``answers`` is the mending with which it did answer, once
    there is one.
    """

    error: str
    mended: Mending
    rules: tuple[str, ...]
    removed: Mapping[str, Sequence[str]]
    packages: tuple[str, ...]
    loaded: tuple[str, ...]
    lacking: Callable[[str], Sequence[str]] = lambda _: ()
    answers: Mending | None = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One way to mend: ``name`` and ``does`` are for people, ``kinds`` what a method must be able to do for it.

    ``propose`` gives the mendings to try, in order. ``again`` is for steps that go by what the error says: while it
    says something new they go on from what was tried.
    """

    name: str
    does: str
    kinds: frozenset[Mends]
    propose: Callable[[Case], Iterator[Mending]]
    again: bool = False


# --- what an error names -------------------------------------------------------------------------

_WORD = re.compile(r"[\w.+-]+")
_LARGEST_ERROR = 20_000
#: What the dynamic linker says of a library that is not there.
_LIBRARY_LACKS = "cannot open shared object file"
_MOST_PACKAGES = 50


def _words(error: str) -> set[str]:
    """The names of files, modules and packages in it: each word, and each part of a dotted one."""
    words = {word.strip(".") for word in _WORD.findall(error[:_LARGEST_ERROR])}
    return words | {word.rpartition(".")[2] for word in words} | {part for word in words for part in word.split(".")}


def rules_named(error: str, removed: Mapping[str, Sequence[str]]) -> list[str]:
    """The rules that removed a file which the error names, by its base name, or by the name of its module."""
    dotted = {word.strip(".") for word in _WORD.findall(error[:_LARGEST_ERROR])}

    def named(name: str) -> bool:
        path = PurePosixPath(name)
        if path.suffix != ".py":
            return path.name in dotted
        parts = path.with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        return module in dotted

    return [rule for rule in RULES if any(named(name) for name in removed.get(rule, ()))]


# --- the steps -----------------------------------------------------------------------------------


def _less_of_what_is_named(case: Case) -> Iterator[Mending]:
    named = rules_named(case.error, {rule: case.removed.get(rule, ()) for rule in case.rules})
    if case.answers is None and set(named) - set(case.mended.unpruned):
        yield replace(case.mended, unpruned=_together(case.mended.unpruned, named))


def _packages_that_are_named(case: Case) -> Iterator[Mending]:
    words = _words(case.error)
    named = [package for package in case.packages if package in words]
    if case.answers is None and set(named) - set(case.mended.collected):
        yield replace(case.mended, collected=_together(case.mended.collected, named))


def _system_libraries(case: Case) -> Iterator[Mending]:
    if case.answers is None and _LIBRARY_LACKS in case.error:
        packages = _together(case.mended.system_packages, case.lacking(case.error))
        if len(case.mended.system_packages) < len(packages) <= _MOST_PACKAGES:
            yield replace(case.mended, system_packages=packages)


def _no_pruning(case: Case) -> Iterator[Mending]:
    if _LIBRARY_LACKS in case.error:
        return  # no rule removes a library
    if case.answers is None and set(case.rules) - set(case.mended.unpruned):
        yield replace(case.mended, unpruned=tuple(case.rules))


def _one_rule_less(case: Case) -> Iterator[Mending]:
    if case.answers is not None and len(case.rules) > 1 and set(case.answers.unpruned) == set(case.rules):
        for rule in (rule for rule in RULES if rule in case.rules):
            yield replace(case.mended, unpruned=_together(case.mended.unpruned, [rule]))


def _loaded_packages(case: Case) -> Iterator[Mending]:
    if case.answers is None and set(case.loaded) - set(case.mended.collected):
        yield replace(case.mended, collected=_together(case.mended.collected, case.loaded))


def _everything(case: Case) -> Iterator[Mending]:
    for unpruned in _no_pruning(case):
        yield from _loaded_packages(replace(case, mended=unpruned))


def _together(one: Sequence[str], other: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*one, *other)))


#: In this order: what the error points to costs one build; then whether pruning is to blame at all, which clears all of
#: its rules at once; then which rule, so that the artifact stays small; last what makes an artifact much larger.
STEPS = (
    Step(
        name="named files",
        does="drop the rules of pruning that removed what the error names",
        kinds=frozenset({"prune"}),
        propose=_less_of_what_is_named,
        again=True,
    ),
    Step(
        name="named packages",
        does="take along whole the packages that the error names",
        kinds=frozenset({"collect"}),
        propose=_packages_that_are_named,
        again=True,
    ),
    Step(
        name="system libraries",
        does="add the Debian packages with the libraries that the image lacks",
        kinds=frozenset({"system"}),
        propose=_system_libraries,
        again=True,
    ),
    Step(name="no pruning", does="prune nothing", kinds=frozenset({"prune"}), propose=_no_pruning),
    Step(
        name="one rule",
        does="prune again by all rules but one, to find the one to blame",
        kinds=frozenset({"prune"}),
        propose=_one_rule_less,
    ),
    Step(
        name="loaded packages",
        does="take along whole every package that a plain start loads",
        kinds=frozenset({"collect"}),
        propose=_loaded_packages,
    ),
    Step(
        name="everything",
        does="prune nothing, and take along whole every package that a plain start loads",
        kinds=frozenset({"prune", "collect"}),
        propose=_everything,
    ),
)


def told(mended: Mending) -> str:
    """What a build does otherwise, for people; empty where nothing."""
    said = [f"without pruning {', '.join(mended.unpruned)}"] if mended.unpruned else []
    said += [f"{', '.join(mended.collected)} taken along whole"] if mended.collected else []
    said += [f"Debian's {', '.join(mended.system_packages)} added"] if mended.system_packages else []
    return "; ".join(said)
