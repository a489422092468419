"""Requirements locked once with hashes by uv, and downloaded once to a content-addressed wheelhouse.

    <cache>/locks/<key>/requirements.txt    the lock, made once: what builds install, by the wheels' hashes
    <cache>/locks/<key>/wheels/             links to its wheels; what builds install from, offline

A ``requirements.lock`` in the model's folder (``harness lock MODEL`` writes one) says which packages those are, so that
everyone gets the same bits; uv and pip are given what we write of it (:mod:`harness.spec.pins`). Wheels are taken
where there are any, and looked at first (:mod:`harness.spec.wheels`). A package that has none is built from source,
once and behind the door (:mod:`harness.spec.building`); a lock that travels then names the source distribution, because
the wheel that is built of it may be another on each machine. A model's own ``wheels`` go before any index's.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from packaging.utils import canonicalize_name

from harness import files, paths, process, tools, tree
from harness.errors import BadInput
from harness.interpreter import Interpreter
from harness.spec import building, indexes, pins, pythons, resolving, wheelhouse
from harness.spec.locked import Lock
from harness.spec.model import Model
from harness.spec.pins import Pin
from harness.spec.resolving import Question, UnresolvedError

#: The name of a lock that travels with a model.
LOCK_NAME = "requirements.lock"
_LOCK_BYTES = 8 * 2**20


def lock(model: Model, *, extra: Sequence[str] = ()) -> Lock:
    """The lock of the model's requirements and ``extra``, its wheels fetched or built.

    BadInput where a requirement cannot be resolved; BuildFailure where a wheel cannot be fetched or built.
    """
    question = _question(model, extra)
    python, wanted = question.python, question.wanted
    shipped = _shipped(model) if not extra else None
    folder = paths.cache() / "locks" / _key(wanted, model, python, shipped, question.own)
    requirements = folder / "requirements.txt"
    with tools.alone(folder.with_suffix(".lock")), process.disk_full_named(folder):
        known = read(requirements, model) if requirements.is_file() else None
        if known is None:
            folder.mkdir(parents=True, exist_ok=True)
            locked = shipped if shipped is not None else _resolved(model, question)
        else:
            locked = known
        made, sources = building.with_wheels(locked, question)
        if made != known:  # it is new, or a wheel that was built is gone and was built again
            files.write_whole(requirements, pins.render(made, wanted))
        found, download_s = wheelhouse.fill(
            made,
            folder / "wheels",
            what=model.name,
            python=python,
            own_indexes=[index.url for index in model.file.index],
        )
    return Lock(
        requirements=requirements,
        wheels=folder / "wheels",
        digest=tree.sha256(requirements),
        packages=tuple((name, version) for name, version, _ in found),
        wheel_bytes=sum(size for _, _, size in found),
        download_s=download_s,
        sources=sources,
        python=python,
    )


def read(requirements: Path, model: Model) -> list[Pin]:
    """The pins of a lock in the cache."""
    return _parsed(files.read_text(requirements, at_most=_LOCK_BYTES), model, requirements, "delete it")


def travelling(locked: Lock, model: Model) -> str:
    """The text of a lock of the cache as it travels with a model: what was built here is named by its source."""
    if not locked.sources:
        return files.read_text(locked.requirements, at_most=_LOCK_BYTES)
    found = read(locked.requirements, model)
    named = [replace(pin, hashes=frozenset([pin.source])) if pin.source else pin for pin in found]
    return pins.render(named, model.file.requirements)


@tools.full_disk_named()
def resolve(model: Model, *, extra: Sequence[str] = (), universal: bool = False) -> list[Pin]:
    """Ask uv for the lock. ``universal`` makes one that holds for every Python that the model allows.

    What a shipped lock says of the model's own requirements holds for ``extra`` as well. What has no wheel is built, to
    find out what it requires.
    """
    return _resolved(model, _question(model, extra, universal=universal))


def _question(model: Model, extra: Sequence[str], *, universal: bool = False) -> Question:
    return Question(
        what=f"locking {model.name}",
        wanted=(*model.file.requirements, *extra),
        python=pythons.of(model),
        own=tuple(_own_wheels(model)),
        given=tuple(_shipped(model) or ()) if extra else (),
        indexes=model.file.index,
        torch_backend=model.file.torch_backend,
        lowest=pythons.lowest(model.file.python) if universal else "",
    )


def _resolved(model: Model, question: Question) -> list[Pin]:
    try:
        return resolving.answer(question, building.requires)
    except UnresolvedError as error:
        raise BadInput(
            f"uv cannot resolve them for Python {question.python.version}:\n{_indented(error.said)}",
            file=model.folder / "model.toml",
            key="requirements",
            value=list(question.wanted),
            remedy="correct the requirement that uv names; where it is right, check that a package index is in reach "
            "(UV_DEFAULT_INDEX or pip's configuration name others)",
        ) from error


def _shipped(model: Model) -> list[Pin] | None:
    """What the lock that travels with the model says; None where it has none."""
    file = model.folder / LOCK_NAME
    if not os.path.lexists(file):
        return None
    again = f"'harness lock {model.folder}' makes it anew"
    text = files.read_text(file, at_most=_LOCK_BYTES, below=model.folder, remedy=again)
    text = text.replace("\r\n", "\n")  # as some editors, and git on some systems, write it
    if not text.startswith(pins.header(model.file.requirements)):
        raise BadInput(
            "was made for other requirements than model.toml has now",
            file=file,
            key="locked for",
            remedy=f"{again}, or delete it",
        )
    found = _parsed(text, model, file, again)
    indexes.check_pins(found, model.file.index, file=file, remedy=again)
    for pin in found:
        if pin.source and pin.hashes != {pin.source}:
            raise BadInput(
                "has another sha256 than the source that it is built from",
                file=file,
                key=canonicalize_name(pin.requirement.name),
                value=pin.line,
                remedy=again,
            )
    return found


def _parsed(text: str, model: Model, file: Path, remedy: str) -> list[Pin]:
    own = [index.url for index in model.file.index]
    return pins.parse(text, file=file, remedy=remedy, torch_backend=model.file.torch_backend, indexes=own)


def _key(
    wanted: Sequence[str], model: Model, python: Interpreter, shipped: Sequence[Pin] | None, own: Sequence[Path]
) -> str:
    said = pins.render(shipped, wanted) if shipped is not None else None
    parts = [sorted(wanted), model.file.torch_backend, python.minor, os.uname().machine, said]
    parts += [wheel.parent.name for wheel in own]
    parts += [[index.name, index.url, *index.packages] for index in model.file.index]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _own_wheels(model: Model) -> list[Path]:
    """The wheels in the model's folder as the wheelhouse has them; BadInput for one that is not sound."""
    if not model.file.wheels:
        return []
    folder = model.folder / model.file.wheels
    names = [entry.path.name for entry in files.walk(folder, max_depth=1) if entry.path.suffix == ".whl"]
    remedy = "put the wheel there that 'pip wheel --no-deps' makes"
    return [wheelhouse.own(folder / name, below=model.folder, remedy=remedy) for name in names]


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines()[-12:])
