"""Requirements locked once with hashes by uv, and downloaded once to a content-addressed wheelhouse.

    <cache>/locks/<key>/requirements.txt    the lock, made once
    <cache>/locks/<key>/wheels/             links to its wheels; what builds install from, offline
    <cache>/wheelhouse/<sha256>/<name>.whl  every wheel once, under the digest of its contents

A ``requirements.lock`` in the model's folder (``harness lock MODEL`` writes one) is used as it is,
so that everyone gets the same bits. Only wheels are taken: building a source distribution would run
foreign code and make the result depend on this machine. A model's own ``wheels`` go before any index's.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from harness import interpreter, paths, process, tools, tree
from harness.errors import BadInput, BuildFailure
from harness.interpreter import Interpreter
from harness.spec.model import Model

#: The name of a lock that travels with a model.
LOCK_NAME = "requirements.lock"
_FOR = "# locked for: "


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One locked requirement: the line without its hashes, and the sha256 of every file it may be."""

    line: str
    hashes: frozenset[str]

    @property
    def requirement(self) -> Requirement:
        """The line, parsed."""
        return Requirement(self.line)


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
    key = _key(wanted, model, python, shipped)
    folder = paths.cache() / "locks" / key
    requirements = folder / "requirements.txt"
    with tools.alone(folder.with_suffix(".lock")), process.disk_full_named(folder):
        if not requirements.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            text = shipped if shipped is not None else resolve(model, extra=extra)
            _write_whole(requirements, text)
        wheels, download_s = _fetch(folder, requirements.read_text(), model, python)
    return Lock(
        requirements=requirements,
        wheels=folder / "wheels",
        digest=tree.sha256(requirements),
        packages=tuple((name, version) for name, version, _ in wheels),
        wheel_bytes=sum(size for _, _, size in wheels),
        download_s=download_s,
    )


def resolve(model: Model, *, extra: Sequence[str] = (), universal: bool = False) -> str:
    """Ask uv for the lock, as text. ``universal`` makes one that holds for every Python that the model allows.

    What a shipped lock says of the model's own requirements holds for ``extra`` as well.
    """
    python = interpreter.suits(model.file.python, file=model.folder / "model.toml")
    wanted = (*model.file.requirements, *extra)
    if not wanted:
        return _header(wanted)
    argv = [str(tools.uv()), "pip", "compile", "-", "--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
    argv += ["--only-binary", ":all:", "--python", str(python.path)]
    if universal:
        argv += ["--universal", "--python-version", "3.11"]
    sources = find_links()
    own = (str(model.folder / model.file.wheels),) if model.file.wheels else ()
    for source in (*own, *sources):
        argv += ["--find-links", source]
    if model.file.torch_backend and not _has_torch(sources):
        # The annotation tells where PyTorch's builds lie, which only uv knows; pip then fetches from there.
        argv += ["--torch-backend", model.file.torch_backend, "--emit-index-annotation"]
    shipped = _shipped(model) if extra else None
    with process.temporary_folder("lock") as scratch:
        if shipped is not None:
            constraints = scratch / "constraints.txt"
            constraints.write_text("\n".join(pin.line for pin in pins(shipped)))
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
    return _header(wanted) + done.stdout


def pins(text: str) -> list[Pin]:
    """The locked requirements of a lock's text."""
    found = []
    for entry in re.sub(r"\\\n", " ", text).splitlines():
        line = entry.split("--hash", 1)[0].strip()
        if line and not line.startswith(("#", "-")):
            found.append(Pin(line=line, hashes=frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry))))
    return found


def with_pin(text: str, pin: Pin, wanted: Sequence[str]) -> str:
    """A lock's text with one pin more, as if the requirements ``wanted`` had been locked."""
    hashes = "".join(f" --hash=sha256:{digest}" for digest in sorted(pin.hashes))
    kept = [line for line in text.splitlines() if not line.startswith(_FOR)]
    return _header(wanted) + "\n".join([*kept, f"{pin.line}{hashes}"]) + "\n"


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


def _shipped(model: Model) -> str | None:
    file = model.folder / LOCK_NAME
    if not file.is_file():
        return None
    text = file.read_text(encoding="utf-8", errors="replace")
    if not text.startswith(_header(model.file.requirements)):
        raise BadInput(
            "was made for other requirements than model.toml has now",
            file=file,
            key=_FOR.strip("# :"),
            remedy=f"'harness lock {model.folder}' makes it anew, or delete it",
        )
    try:
        for pin in pins(text):
            _ = pin.requirement
    except InvalidRequirement as error:
        raise BadInput(
            f"is damaged: {error}".splitlines()[0], file=file, remedy=f"'harness lock {model.folder}' makes it anew"
        ) from error
    return text


def _header(wanted: Sequence[str]) -> str:
    return f"{_FOR}{hashlib.sha256(json.dumps(sorted(wanted)).encode()).hexdigest()}\n"


def _own_wheels(model: Model) -> list[Path]:
    return sorted((model.folder / model.file.wheels).glob("*.whl")) if model.file.wheels else []


def _key(wanted: Sequence[str], model: Model, python: Interpreter, shipped: str | None) -> str:
    parts = [sorted(wanted), model.file.torch_backend, python.minor, os.uname().machine, shipped]
    parts += [tree.sha256(wheel) for wheel in _own_wheels(model)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _has_torch(sources: Sequence[str]) -> bool:
    return any(any(Path(source).glob("torch-*+cpu-*.whl")) for source in sources)


def _fetch(
    folder: Path, text: str, model: Model, python: Interpreter
) -> tuple[list[tuple[str, str, int]], float | None]:
    """Fill ``folder/wheels``; what each is (name, version, bytes), and how long downloads took."""
    applying = [pin for pin in pins(text) if _applies(pin.requirement, python)]
    house = paths.cache() / "wheelhouse"
    for own in _own_wheels(model):
        _keep(house, own, shutil.copyfile)
    known = {name: _stored(house, pin, python) for pin in applying for name in [pin.line]}
    lacking = [pin for pin in applying if known[pin.line] is None]
    download_s = None
    if lacking:
        download_s = _download(lacking, house, model, sorted(set(re.findall(r"# from (\S+)", text))))
        known |= {pin.line: _stored(house, pin, python) for pin in lacking}
    wheels = folder / "wheels"
    wheels.mkdir(exist_ok=True)
    found = []
    for pin in applying:
        wheel = known[pin.line]
        if wheel is None:
            raise BuildFailure(f"{pin.line}: what was downloaded is not a wheel for Python {python.minor}")
        link = wheels / wheel.name
        if not link.exists():
            os.link(wheel, link)
        name, version, _, _ = parse_wheel_filename(wheel.name)
        found.append((str(name), str(version), wheel.stat().st_size))
    return found, download_s


def _applies(requirement: Requirement, python: Interpreter) -> bool:
    environment = {**default_environment(), "python_version": python.minor, "python_full_version": python.version}
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


def _download(lacking: list[Pin], house: Path, model: Model, indexes: Sequence[str]) -> float:
    """Have pip fetch the wheels and check their hashes; then give each its place in the wheelhouse."""
    with process.temporary_folder("download") as scratch:
        lines = [" ".join([pin.line, *(f"--hash=sha256:{d}" for d in sorted(pin.hashes))]) for pin in lacking]
        (scratch / "wanted.txt").write_text("\n".join(lines))
        argv = [str(tools.executable("pip")), "download", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
        argv += ["--no-cache-dir", "--quiet", "--dest", str(scratch / "wheels"), "-r", str(scratch / "wanted.txt")]
        for index in indexes:
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
            _keep(house, wheel, shutil.move)
    return done.wall_s


def _keep(house: Path, wheel: Path, put: Callable[[Path, Path], object]) -> None:
    """Give the wheel its place in the wheelhouse, where it has none."""
    place = house / tree.sha256(wheel) / wheel.name
    if not place.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(wheel.name + ".part")
        put(wheel, part)
        part.chmod(0o644)
        part.replace(place)


def _write_whole(file: Path, text: str) -> None:
    part = file.with_name(file.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines()[-12:])
