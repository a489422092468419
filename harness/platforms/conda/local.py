"""A channel made from the locked wheels and the interpreter, for machines that reach none.

Each wheel becomes one package, made once: its files where an environment has them, its requirements as dependencies,
and the glibc that its tag promises to run with. Bytecode is not in it; the build compiles it as it is told to.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

from packaging.utils import parse_wheel_filename

from harness import files, process, tools, tree
from harness.errors import CheckFailure
from harness.platforms.conda import python_package, tooling
from harness.spec import pins
from harness.spec.locked import Lock

_TIMEOUT_S = 900.0


def channel(lock: Lock) -> Path:
    """The folder of the channel with everything that ``lock`` needs, made once for the same wheels."""
    packages = [*_files(python_package.made(lock.python)), *_converted(lock)]
    key = hashlib.sha256(json.dumps([str(package) for package in packages]).encode()).hexdigest()[:24]
    folder = tooling.folder("channels") / key
    with tools.alone(folder.with_suffix(".lock")), process.disk_full_named(folder):
        if not (folder / "noarch" / "repodata.json").is_file():
            with process.temporary_folder("conda-channel") as scratch:
                _index(scratch, packages)
                files.remove(folder)
                scratch.rename(folder)
    return folder


def _index(folder: Path, packages: list[Path]) -> None:
    """Make ``folder`` a channel of these packages. It is written to behind the door, so it has copies meanwhile."""
    place = folder / tooling.platform()
    for subdir in (place, folder / "noarch"):
        subdir.mkdir()
    for package in packages:
        shutil.copyfile(package, place / package.name)
    tooling.task("index", {"channel": str(folder)}, timeout_s=_TIMEOUT_S, writes=(folder,))
    for package in packages:
        (place / package.name).unlink()
        os.link(package, place / package.name)


def _converted(lock: Lock) -> list[Path]:
    """The packages of the lock's wheels; those that are not there are made, all in one process."""
    digests = _wheels(lock)
    recipe = hashlib.sha256(f"{tooling.tools_digest()} {lock.python.minor}".encode()).hexdigest()[:8]
    places = {wheel: tooling.folder("made") / f"{digest}-{recipe}" for wheel, digest in digests.items()}
    with tools.alone(tooling.folder("made") / f"wheels-{recipe}.lock"):
        lacking = [wheel for wheel, place in places.items() if not place.is_dir()]
        if lacking:
            with process.temporary_folder("conda-wheels") as scratch, process.disk_full_named(scratch):
                outputs = {wheel: scratch / str(number) / "package" for number, wheel in enumerate(lacking)}
                for output in outputs.values():
                    output.mkdir(parents=True)
                request = {
                    "wheels": [{"file": str(wheel), "output": str(output)} for wheel, output in outputs.items()],
                    "abi": lock.python.minor,
                    "platform": tooling.platform(),
                }
                tooling.task("convert", request, timeout_s=_TIMEOUT_S, shows=(lock.wheels,), writes=(scratch,))
                for wheel, output in outputs.items():
                    output.rename(places[wheel])
    return [package for place in places.values() for package in _files(place)]


def _wheels(lock: Lock) -> dict[Path, str]:
    """The wheel of each locked package with its sha256, which the lock must know."""
    allowed = pins.hashes(lock.requirements.read_text())
    by_name: dict[tuple[str, str], Path] = {}
    for wheel in sorted(lock.wheels.glob("*.whl")):
        name, version, _, _ = parse_wheel_filename(wheel.name)
        by_name[str(name), str(version)] = wheel
    found = {by_name[package]: tree.sha256(by_name[package]) for package in lock.packages}
    for wheel, digest in found.items():
        if digest not in allowed:
            raise CheckFailure(f"{wheel.name} is not the wheel that was locked", remedy="delete the cache's wheelhouse")
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.conda"))
