"""The wheelhouse: every wheel once, under the digest of its contents, and how pip fills it.

    <cache>/wheelhouse/<sha256>/<name>.whl   a wheel, looked at before anything unpacks it; ``checked`` beside it

Source distributions are kept in the same way.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from harness import files, paths, process, tools, tree, usage
from harness.archives import UnsoundError
from harness.errors import BadInput, BuildFailure
from harness.interpreter import Interpreter
from harness.spec import pins, wheels
from harness.spec.pins import Pin

_LARGEST_WHEEL = 4 * 2**30
_CHECKED = "checked-2"  # by the rules of this version
_DOWNLOAD_S = 1800


def house() -> Path:
    """The folder of all wheels."""
    folder = paths.cache() / "wheelhouse"
    folder.mkdir(exist_ok=True)
    return folder


def keep(file: Path, digest: str, *, checked: bool = False) -> Path:
    """Give a wheel of ours its place, where it has none; the place."""
    place = house() / digest / file.name
    if not (usage.used(place.parent) and place.is_file()):
        place.parent.mkdir(exist_ok=True)
        file.chmod(0o644)
        shutil.move(file, part := place.with_name(f"{file.name}.part"))
        part.replace(place)
    if checked:
        place.with_name(_CHECKED).touch()
    return place


def check(wheel: Path) -> None:
    """BuildFailure where a wheel of the house is not sound; each is looked at once."""
    mark = wheel.with_name(_CHECKED)
    if not mark.is_file():
        try:
            wheels.check(wheel, wheel.name)
        except UnsoundError as error:
            raise BuildFailure(
                f"{wheel.name} is not a sound wheel: {error}", remedy="take another version, or tell its authors"
            ) from error
        mark.touch()


def own(wheel: Path, *, below: Path, remedy: str) -> Path:
    """A wheel that others made, as the house has it; BadInput where it is not sound."""
    try:
        parse_wheel_filename(wheel.name)
    except InvalidWheelFilename as error:
        raise BadInput(f"is not the name of a wheel: {error}", file=files.shown(wheel), remedy=remedy) from None
    with files.opened(wheel, below=below, remedy=remedy) as stream:
        if os.fstat(stream.fileno()).st_size > _LARGEST_WHEEL:
            size = f"{_LARGEST_WHEEL // 2**30} GiB"
            raise BadInput(f"is larger than {size}", file=files.shown(wheel), remedy="make it smaller")
        place = house() / hashlib.file_digest(stream, "sha256").hexdigest() / wheel.name
        if not (usage.used(place.parent) and place.is_file() and place.with_name(_CHECKED).is_file()):
            stream.seek(0)
            try:
                place = _copied(stream, wheel.name)
            except UnsoundError as error:
                raise BadInput(f"is not a sound wheel: {error}", file=files.shown(wheel), remedy=remedy) from error
    return place


def _copied(stream: io.FileIO, name: str) -> Path:
    """Copy a wheel of others into the house, where it is checked: what is checked can't be changed any more."""
    with process.temporary_folder("wheel") as scratch, process.disk_full_named(scratch):
        with (scratch / name).open("xb") as copy:
            left = _LARGEST_WHEEL
            while left > 0 and (part := stream.read(min(left, 2**20))):
                left -= copy.write(part)
        wheels.check(scratch / name, name)
        return keep(scratch / name, tree.sha256(scratch / name), checked=True)


# --- what suits an interpreter -------------------------------------------------------------------


def applies(requirement: Requirement, python: Interpreter) -> bool:
    """Whether the requirement's condition holds for this interpreter."""
    environment = {**default_environment(), "python_version": python.minor, "python_full_version": python.version}
    environment["extra"] = ""
    return requirement.marker is None or requirement.marker.evaluate({k: str(v) for k, v in environment.items()})


def stored(pin: Pin, python: Interpreter) -> Path | None:
    """The wheel of ``pin`` that the house has, in use; the best for this interpreter where there are several."""
    order = {tag: rank for rank, tag in enumerate(tags(python.minor))}
    best: tuple[int, Path] | None = None
    for digest in pin.hashes:
        place = house() / digest
        for wheel in place.glob("*.whl") if place.is_dir() and usage.used(place) else ():
            name, _, _, given = parse_wheel_filename(wheel.name)
            ranks = [order[tag] for tag in given if tag in order]
            if ranks and name == canonicalize_name(pin.requirement.name) and (best is None or min(ranks) < best[0]):
                best = (min(ranks), wheel)
    return best[1] if best else None


@lru_cache(maxsize=4)
def tags(minor: str) -> tuple[Tag, ...]:
    """The tags of wheels that a Python of this minor version installs here, the best first."""
    version = tuple(int(part) for part in minor.split("."))
    return (*cpython_tags(version), *compatible_tags(version, f"cp{minor.replace('.', '')}"))


# --- filling it ----------------------------------------------------------------------------------


def fill(
    locked: Sequence[Pin], linked: Path, *, what: str, python: Interpreter, own_indexes: Sequence[str] = ()
) -> tuple[list[tuple[str, str, int]], float | None]:
    """Fill the folder ``linked`` with links to the wheels of the pins that apply, fetching those that lack.

    What each is (name, version, bytes), and how long downloads took, None where there was none. Pins of
    ``own_indexes`` are fetched from there alone. ``what`` they are for stands in messages.
    """
    applying = [pin for pin in locked if applies(pin.requirement, python)]
    known = {pin.line: stored(pin, python) for pin in applying}
    lacking = [pin for pin in applying if known[pin.line] is None]
    download_s = None
    if lacking:
        download_s = 0.0
        for index in ("", *sorted(own_indexes)):
            group = [pin for pin in lacking if (pin.index if pin.index in own_indexes else "") == index]
            download_s += _download(group, index, what, python) if group else 0
        known |= {pin.line: stored(pin, python) for pin in lacking}
    if not usage.used(linked):
        linked.mkdir(exist_ok=True)
    found = []
    for pin in applying:
        wheel = known[pin.line]
        if wheel is None:
            raise BuildFailure(f"{pin.line}: what was downloaded is not a wheel for Python {python.minor}")
        check(wheel)
        link = linked / wheel.name
        if not link.exists():
            os.link(wheel, link)
        name, version, _, _ = parse_wheel_filename(wheel.name)
        found.append((str(name), str(version), wheel.stat().st_size))
    return found, download_s


def _download(lacking: Sequence[Pin], index: str, what: str, python: Interpreter) -> float:
    """Have pip fetch wheels for ``python`` and check their hashes; give each its place. How long it took.

    They come from ``index`` alone where there is one, else from the indexes that the user configured.
    """
    with process.temporary_folder("download") as scratch, tools.full_disk_named():
        # Without the conditions, which hold for that Python and which pip would hold against its own.
        wanted = [replace(pin, line=pin.line.partition(";")[0].rstrip()) for pin in lacking]
        (scratch / "wanted.txt").write_text("\n".join(pins.entry(pin) for pin in wanted) + "\n")
        argv = [str(tools.executable("pip")), "download", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
        argv += ["--python-version", python.version, "--no-cache-dir", "--quiet"]
        argv += ["--dest", str(scratch / "wheels"), "-r", str(scratch / "wanted.txt")]
        alone: Mapping[str, str] = {}
        if index:
            argv += ["--index-url", index]
            # A blank is the empty list, and goes before what pip's configuration says; nothing at all does not.
            alone = {"PIP_EXTRA_INDEX_URL": " ", "PIP_FIND_LINKS": " "}
        for extra in sorted({pin.index for pin in lacking if pin.index and not index}):
            argv += ["--extra-index-url", extra]
        try:
            done = process.run(argv, env={**process.network_environment(scratch), **alone}, timeout_s=_DOWNLOAD_S)
        except process.TimedOut as error:
            raise BuildFailure(f"downloading the wheels of {what}: {error}", log=error.output) from error
        if done.returncode != 0:
            raise BuildFailure(
                f"the wheels of {what} could not be downloaded" + (f" from {index}" if index else ""),
                log=done.output,
                remedy="check that a package index is in reach; give a package without a wheel one by find-links",
            )
        for wheel in (scratch / "wheels").glob("*.whl"):
            keep(wheel, tree.sha256(wheel))
    return done.wall_s
