"""Machines that an artifact is carried to, to see whether it runs there: other Debian releases, one without Python, ...

A target is this machine's kernel with other surroundings. Those of other releases are root file systems of the same
packages as the base images have, made by mmdebstrap when first asked for:

    <cache>/targets/<release>-<key>/            with that release's own Python
    <cache>/targets/<release>-no-python-<key>/  without any

They are the least that a Python of that release needs, as a lean base image is. What a model needs of the system
beside that is not there unless the artifact brings it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from harness import files, interpreter, paths, process, tools, usage
from harness.door import abilities
from harness.errors import CheckFailure, HarnessError, MissingComponent
from harness.metrics import Target
from harness.platforms import images
from harness.sandbox import UNPRIVILEGED_ID, Surroundings

#: A user that no artifact was made for, and that owns nothing: neither root nor the one that models run as.
OTHER_ID = 54321

_RELEASES: tuple[Target, ...] = ("debian-older", "debian-newer", "no-python")
#: What belongs to Python in Debian's file system: its interpreter, library and helpers.
_PYTHON = ("usr/bin/*python*", "usr/bin/py3*", "usr/bin/pydoc*", "usr/lib/python*", "usr/lib/*/libpython*")
_MORE_PYTHON = ("usr/share/python*", "usr/local/lib/python*", "usr/local/bin/*python*")
_UNPACK_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A target that is ready: what it is in a reader's words, and what the instance finds around it.

    ``surroundings`` is None where that is what every instance finds.
    """

    name: Target
    title: str
    surroundings: Surroundings | None

    @property
    def release(self) -> str | None:
        """Debian's name of its release; None where it is this machine's own system."""
        root = self.surroundings.root if self.surroundings else None
        return root.name.partition("-")[0] if root else None


def find(name: Target, *, python_minor: str | None = None) -> Machine:
    """The target, made where it is not there yet; MissingComponent where it can't be had on this machine.

    ``python_minor`` is of the interpreter that artifacts are made for, the harness's unless given.
    """
    minor = python_minor or interpreter.default().minor
    if name == "no-network":
        if not abilities().network:
            raise MissingComponent("instances can't be kept from the network here", remedy="run the harness as root")
        return Machine(name=name, title="no network interface but the loopback", surroundings=None)
    if os.geteuid() != 0:
        raise MissingComponent(
            "only root may give a process another root file system, user, or write protection",
            remedy="run the harness as root",
        )
    if name == "read-only":
        return Machine(name=name, title="a read-only root file system", surroundings=Surroundings(read_only=True))
    if name == "non-root":
        title = f"user {OTHER_ID}, who owns nothing"
        return Machine(name=name, title=title, surroundings=Surroundings(user_id=OTHER_ID))
    return _debian(name, minor)


def release_with(python: str, *, has_python: bool = True) -> Machine:
    """Debian's release with that Python (``3.9``), as bare as a base image; MissingComponent where it can't be had."""
    suite = images.suite(python)
    title = f"Debian {suite} with Python {python}" if has_python else f"Debian {suite} without Python"
    surroundings = Surroundings(root=_root(suite, python, has_python=has_python), user_id=UNPRIVILEGED_ID)
    return Machine(name="debian-newer" if has_python else "no-python", title=title, surroundings=surroundings)


def of_release(name: Target) -> bool:
    """Whether the target is another system, which an image brings along itself."""
    return name in _RELEASES


def python_of(name: Target, minor: str) -> str:
    """The Python (``3.9``) of the release that stands for the target, for artifacts made for Python ``minor``.

    MissingComponent where no release is older, or newer.
    """
    known = sorted(images.SUITES, key=_number)
    older = [one for one in known if _number(one) < _number(minor)]
    newer = [one for one in known if _number(one) > _number(minor)]
    if name == "no-python":
        return minor if minor in known else (older[-1] if older else newer[0])
    found = older[-1:] if name == "debian-older" else newer[:1]
    if not found:
        raise MissingComponent(
            f"no Debian release known here is {name.removeprefix('debian-')} than the one with Python {minor}"
        )
    return found[0]


def astray(machine: Machine, pid: int) -> str:
    """Why the running process ``pid`` is not where the target wants it; empty where it is.

    Looked up in ``/proc``, not believed: OSError where we may not look.
    """
    process_folder = _folder_of(pid)
    if machine.name == "no-network":
        found = set(interfaces(process_folder)) - {"lo"}
        own = os.readlink("/proc/self/ns/net") == os.readlink(process_folder / "ns" / "net")
        if found:
            return f"it has the network interfaces {', '.join(sorted(found))}"
        return "it is in our own network" if own else ""
    if machine.name == "read-only":
        return "" if "ro" in _root_options(process_folder) else "its root file system can be written to"
    if machine.name == "non-root":
        ids = _ids(process_folder)
        return "" if ids == {str(OTHER_ID)} else f"it runs as {', '.join(sorted(ids))}"
    root = process_folder / "root"
    told = (root / "etc" / "os-release").read_text()
    if f"VERSION_CODENAME={machine.release}" not in told.splitlines():
        return "it sees another release"
    if machine.name == "no-python" and (left := next(_python_in(root), None)):
        return f"it sees /{left.relative_to(root)}"
    return ""


def interfaces(process_folder: Path) -> list[str]:
    """The network interfaces that a process sees."""
    lines = (process_folder / "net" / "dev").read_text().splitlines()[2:]
    return [line.partition(":")[0].strip() for line in lines]


# --- root file systems ---------------------------------------------------------------------------


def _debian(name: Target, minor: str) -> Machine:
    found = release_with(python_of(name, minor), has_python=name != "no-python")
    return replace(found, name=name)


def _root(suite: str, python: str, *, has_python: bool) -> Path:
    kind = "" if has_python else "no-python-"
    folder = paths.cache() / "targets" / f"{suite}-{kind}{images.recipe(python)}"
    if usage.used(folder):
        return folder
    if shutil.which("mmdebstrap") is None:
        raise MissingComponent(
            "there is no mmdebstrap to make a root file system of Debian's with", remedy="apt-get install mmdebstrap"
        )
    folder.parent.mkdir(mode=0o755, exist_ok=True)
    with tools.alone(folder.with_suffix(".lock")):
        if not usage.used(folder):
            _make(folder, python, has_python=has_python)
    return folder


def _make(folder: Path, python: str, *, has_python: bool) -> None:
    with process.temporary_folder("target", readable=True) as scratch, process.disk_full_named(scratch):
        try:
            archive = images.root_archive(scratch, python)
        except MissingComponent as error:
            raise MissingComponent(
                "Debian's archive is not in reach, to make a root file system from", remedy="check the network"
            ) from error
        root = scratch / "root"
        root.mkdir(mode=0o755)
        argv = ["tar", "--extract", "--numeric-owner", "--preserve-permissions"]
        argv += ["--file", str(archive), "--directory", str(root)]
        done = process.run(argv, env=process.environment(scratch), timeout_s=_UNPACK_S)
        if done.returncode != 0:
            raise HarnessError(f"a root file system could not be unpacked: {done.output[-300:]}")
        root.chmod(0o755)
        if not has_python:
            _remove_python(root)
        usage.keep(root, folder)


def _remove_python(root: Path) -> None:
    for path in list(_python_in(root)):
        files.remove(path)
    if left := next(_python_in(root), None):
        raise CheckFailure(f"a root file system that is to have no Python has {left}")


def _python_in(root: Path) -> Iterator[Path]:
    for pattern in (*_PYTHON, *_MORE_PYTHON):
        yield from root.glob(pattern)


def _folder_of(pid: int) -> Path:
    return Path(f"/proc/{pid}")


def _number(minor: str) -> tuple[int, ...]:
    return tuple(int(part) for part in minor.split("."))


def _root_options(process_folder: Path) -> list[str]:
    """How the process's root file system is mounted."""
    for line in reversed((process_folder / "mountinfo").read_text().splitlines()):
        fields = line.split()
        if fields[4] == "/":
            return fields[5].split(",")
    return []


def _ids(process_folder: Path) -> set[str]:
    """The user and group ids of the process: real, effective, saved, of the file system."""
    lines = (process_folder / "status").read_text().splitlines()
    return {one for line in lines if line.startswith(("Uid:", "Gid:")) for one in line.split()[1:]}
