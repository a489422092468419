"""Requirements locked once with hashes by uv, and downloaded once to a content-addressed wheelhouse.

    <cache>/locks/<key>/requirements.txt    the lock, made once
    <cache>/locks/<key>/wheels/             links to its wheels; what builds install from, offline
    <cache>/wheelhouse/<sha256>/<name>.whl  every wheel once, under the digest of its contents; ``checked`` beside it

A ``requirements.lock`` in the model's folder (``harness lock MODEL`` writes one) says which packages those are, so that
everyone gets the same bits; uv and pip are given what we write of it (:mod:`harness.spec.pins`). Only wheels are taken,
and looked at first (:mod:`harness.spec.wheels`): building a source distribution would run foreign code and make the
result depend on this machine. A model's own ``wheels`` go before any index's.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from harness import files, interpreter, paths, process, tools, tree
from harness.archives import UnsoundError
from harness.errors import BadInput, BuildFailure
from harness.interpreter import Interpreter
from harness.spec import pins, wheels
from harness.spec.model import Model
from harness.spec.pins import Pin

#: The name of a lock that travels with a model.
LOCK_NAME = "requirements.lock"
_LOCK_BYTES = 8 * 2**20
_OWN_WHEEL_BYTES = 4 * 2**30
_CHECKED = "checked-1"  # by the rules of this version


@dataclass(frozen=True, kw_only=True)
class Lock:
    """Locked requirements: ``requirements`` is the file with hashes, ``wheels`` a folder of links into the wheelhouse.

    ``packages`` are the (name, version) pairs that are installed for this interpreter;
    ``download_s`` is None where every wheel was there already.
    """

    requirements: Path
    wheels: Path
    digest: str
    packages: tuple[tuple[str, str], ...]
    wheel_bytes: int
    download_s: float | None


def lock(model: Model, *, extra: Sequence[str] = ()) -> Lock:
    """The lock of the model's requirements and ``extra``, its wheels fetched.

    BadInput where a requirement cannot be resolved; BuildFailure where a wheel cannot be fetched.
    """
    python = interpreter.suits(model.file.python, file=model.folder / "model.toml")
    wanted = (*model.file.requirements, *extra)
    shipped = _shipped(model) if not extra else None
    own = _own_wheels(model)
    folder = paths.cache() / "locks" / _key(wanted, model, python, shipped, own)
    requirements = folder / "requirements.txt"
    with tools.alone(folder.with_suffix(".lock")), process.disk_full_named(folder):
        if not requirements.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            locked = shipped if shipped is not None else resolve(model, extra=extra)
            files.write_whole(requirements, pins.render(locked, wanted))
        found, download_s = _fetch(folder, read(requirements, model), model, python)
    return Lock(
        requirements=requirements,
        wheels=folder / "wheels",
        digest=tree.sha256(requirements),
        packages=tuple((name, version) for name, version, _ in found),
        wheel_bytes=sum(size for _, _, size in found),
        download_s=download_s,
    )


def read(requirements: Path, model: Model) -> list[Pin]:
    """The pins of a lock in the cache."""
    text = files.read_text(requirements, at_most=_LOCK_BYTES)
    return pins.parse(text, file=requirements, remedy="delete it", torch_backend=model.file.torch_backend)


@tools.full_disk_named()
def resolve(model: Model, *, extra: Sequence[str] = (), universal: bool = False) -> list[Pin]:
    """Ask uv for the lock. ``universal`` makes one that holds for every Python that the model allows.

    What a shipped lock says of the model's own requirements holds for ``extra`` as well. uv reads what packages say
    about themselves, and builds none to find out.
    """
    python = interpreter.suits(model.file.python, file=model.folder / "model.toml")
    wanted = (*model.file.requirements, *extra)
    if not wanted:
        return []
    argv = [str(tools.uv()), "pip", "compile", "-", "--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
    argv += ["--only-binary", ":all:", "--python", str(python.path)]
    if universal:
        argv += ["--universal", "--python-version", "3.11"]
    sources = find_links()
    if model.file.torch_backend and not _has_torch(sources):
        # The annotation tells where PyTorch's builds lie, which only uv knows; pip then fetches from there.
        argv += ["--torch-backend", model.file.torch_backend, "--emit-index-annotation"]
    shipped = _shipped(model) if extra else None
    with process.temporary_folder("lock") as scratch:
        for wheel in _own_wheels(model):
            os.link(wheel, scratch / wheel.name)
        for source in (str(scratch), *sources):
            argv += ["--find-links", source]
        if shipped is not None:
            constraints = scratch / "constraints.txt"
            constraints.write_text("\n".join(pin.line for pin in shipped))
            argv += ["--constraints", str(constraints)]
        try:
            done = process.run(argv, env=tools.uv_environment(), timeout_s=180, stdin="\n".join(wanted), cwd=scratch)
        except process.TimedOut as error:
            raise BuildFailure(f"locking {model.name}: {error}", log=error.output) from error
    if done.returncode != 0:
        raise BadInput(
            f"uv cannot resolve them for Python {python.version}:\n{_indented(done.stderr)}",
            file=model.folder / "model.toml",
            key="requirements",
            value=list(wanted),
            remedy="correct the requirement that uv names; where it is right, check that a package index is in reach "
            "(UV_DEFAULT_INDEX or pip's configuration name others)",
        )
    try:
        # uv tells of every package from which index it is; those of the user need no telling.
        said = re.sub(r"(?m)^ *# from (?!https://download\.pytorch\.org/).*\n", "", done.stdout)
        return pins.parse(said, file="uv's answer", remedy="", torch_backend=model.file.torch_backend)
    except BadInput as error:
        raise BuildFailure(
            f"uv locked something else than a wheel: {error.problem}",
            remedy="require packages that an index has wheels of, without addresses and paths",
        ) from error


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
    return pins.parse(text, file=file, remedy=again, torch_backend=model.file.torch_backend)


def _key(
    wanted: Sequence[str], model: Model, python: Interpreter, shipped: Sequence[Pin] | None, own: Sequence[Path]
) -> str:
    said = pins.render(shipped, wanted) if shipped is not None else None
    parts = [sorted(wanted), model.file.torch_backend, python.minor, os.uname().machine, said]
    parts += [wheel.parent.name for wheel in own]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _has_torch(sources: Sequence[str]) -> bool:
    return any(any(Path(source).glob("torch-*+cpu-*.whl")) for source in sources)


def _fetch(
    folder: Path, locked: Sequence[Pin], model: Model, python: Interpreter
) -> tuple[list[tuple[str, str, int]], float | None]:
    """Fill ``folder/wheels``; what each is (name, version, bytes), and how long downloads took."""
    applying = [pin for pin in locked if _applies(pin.requirement, python)]
    house = _house()
    known = {pin.line: _stored(house, pin, python) for pin in applying}
    lacking = [pin for pin in applying if known[pin.line] is None]
    download_s = None
    if lacking:
        download_s = _download(lacking, house, model)
        known |= {pin.line: _stored(house, pin, python) for pin in lacking}
    linked = folder / "wheels"
    linked.mkdir(exist_ok=True)
    found = []
    for pin in applying:
        wheel = known[pin.line]
        if wheel is None:
            raise BuildFailure(f"{pin.line}: what was downloaded is not a wheel for Python {python.minor}")
        _check(wheel)
        link = linked / wheel.name
        if not link.exists():
            os.link(wheel, link)
        name, version, _, _ = parse_wheel_filename(wheel.name)
        found.append((str(name), str(version), wheel.stat().st_size))
    return found, download_s


def _applies(requirement: Requirement, python: Interpreter) -> bool:
    environment = {**default_environment(), "python_version": python.minor, "python_full_version": python.version}
    environment["extra"] = ""
    return requirement.marker is None or requirement.marker.evaluate({k: str(v) for k, v in environment.items()})


def _stored(house: Path, pin: Pin, python: Interpreter) -> Path | None:
    """The wheel of ``pin`` that the wheelhouse has, the best for this interpreter where there are several."""
    order = {tag: rank for rank, tag in enumerate(_tags(python.minor))}
    best: tuple[int, Path] | None = None
    for digest in pin.hashes:
        for wheel in (house / digest).glob("*.whl"):
            name, _, _, tags = parse_wheel_filename(wheel.name)
            ranks = [order[tag] for tag in tags if tag in order]
            if ranks and name == canonicalize_name(pin.requirement.name) and (best is None or min(ranks) < best[0]):
                best = (min(ranks), wheel)
    return best[1] if best else None


@lru_cache(maxsize=4)
def _tags(minor: str) -> tuple[Tag, ...]:
    version = tuple(int(part) for part in minor.split("."))
    return (*cpython_tags(version), *compatible_tags(version, f"cp{minor.replace('.', '')}"))


def _download(lacking: Sequence[Pin], house: Path, model: Model) -> float:
    """Have pip fetch the wheels and check their hashes; then give each its place in the wheelhouse."""
    with process.temporary_folder("download") as scratch, tools.full_disk_named():
        (scratch / "wanted.txt").write_text("\n".join(pins.entry(pin) for pin in lacking) + "\n")
        argv = [str(tools.executable("pip")), "download", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
        argv += ["--no-cache-dir", "--quiet", "--dest", str(scratch / "wheels"), "-r", str(scratch / "wanted.txt")]
        for index in sorted({pin.index for pin in lacking if pin.index}):
            argv += ["--extra-index-url", index]
        try:
            done = process.run(argv, env=process.network_environment(scratch), timeout_s=1800)
        except process.TimedOut as error:
            raise BuildFailure(f"downloading the wheels of {model.name}: {error}", log=error.output) from error
        if done.returncode != 0:
            raise BuildFailure(
                f"the wheels of {model.name} could not be downloaded",
                log=done.output,
                remedy="check that a package index is in reach; give a package without a wheel one by find-links",
            )
        for wheel in (scratch / "wheels").glob("*.whl"):
            _keep(house, wheel, tree.sha256(wheel))
    return done.wall_s


# --- the wheelhouse ------------------------------------------------------------------------------


def _house() -> Path:
    folder = paths.cache() / "wheelhouse"
    folder.mkdir(exist_ok=True)
    return folder


def _own_wheels(model: Model) -> list[Path]:
    """The wheels in the model's folder as the wheelhouse has them; BadInput for one that is not sound."""
    if not model.file.wheels:
        return []
    folder, house = model.folder / model.file.wheels, _house()
    names = [entry.path.name for entry in files.walk(folder, max_depth=1) if entry.path.suffix == ".whl"]
    return [_kept(house, folder / name, model) for name in names]


def _kept(house: Path, wheel: Path, model: Model) -> Path:
    remedy = "put the wheel there that 'pip wheel --no-deps' makes"
    try:
        parse_wheel_filename(wheel.name)
    except InvalidWheelFilename as error:
        raise BadInput(f"is not the name of a wheel: {error}", file=files.shown(wheel), remedy=remedy) from None
    with files.opened(wheel, below=model.folder, remedy=remedy) as stream:
        if os.fstat(stream.fileno()).st_size > _OWN_WHEEL_BYTES:
            size = f"{_OWN_WHEEL_BYTES // 2**30} GiB"
            raise BadInput(f"is larger than {size}", file=files.shown(wheel), remedy="make it smaller")
        place = house / hashlib.file_digest(stream, "sha256").hexdigest() / wheel.name
        if not (place.is_file() and place.with_name(_CHECKED).is_file()):
            stream.seek(0)
            try:
                place = _copied(house, stream, wheel.name)
            except UnsoundError as error:
                raise BadInput(f"is not a sound wheel: {error}", file=files.shown(wheel), remedy=remedy) from error
    return place


def _copied(house: Path, stream: io.FileIO, name: str) -> Path:
    """Copy a wheel of others into the house, where it is checked: what is checked can't be changed any more."""
    with process.temporary_folder("wheel") as scratch, process.disk_full_named(scratch):
        with (scratch / name).open("xb") as copy:
            left = _OWN_WHEEL_BYTES
            while left > 0 and (part := stream.read(min(left, 2**20))):
                left -= copy.write(part)
        wheels.check(scratch / name, name)
        return _keep(house, scratch / name, tree.sha256(scratch / name), checked=True)


def _keep(house: Path, wheel: Path, digest: str, *, checked: bool = False) -> Path:
    """Give a wheel of ours its place in the wheelhouse, where it has none."""
    place = house / digest / wheel.name
    if not place.is_file():
        place.parent.mkdir(exist_ok=True)
        wheel.chmod(0o644)
        shutil.move(wheel, part := place.with_name(f"{wheel.name}.part"))
        part.replace(place)
    if checked:
        place.with_name(_CHECKED).touch()
    return place


def _check(wheel: Path) -> None:
    """BuildFailure where a wheel in the house is not sound; each is looked at once."""
    mark = wheel.with_name(_CHECKED)
    if not mark.is_file():
        try:
            wheels.check(wheel, wheel.name)
        except UnsoundError as error:
            raise BuildFailure(
                f"{wheel.name} is not a sound wheel: {error}", remedy="take another version, or tell its authors"
            ) from error
        mark.touch()


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines()[-12:])
