"""The one door for code that is not the harness's: a model's own, its packages', and the tools that execute either.

Whatever may run such code is started by :func:`run`, by :func:`opened` where several steps share a folder, or, where it
serves, by :mod:`harness.platforms.host` through :func:`opened`. It has one record of bounds
(:class:`harness.sandbox.Bounds`), sees what it is shown and no more, and what it wrote is looked at before it is ours.
A test holds that nothing else starts processes, but for tools of ours that execute nobody's code.
"""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from harness import cgroup, disks, files, interpreter, leftovers, paths, process, sandbox
from harness.errors import HarnessError, MissingComponent
from harness.files import Links
from harness.process import Completed
from harness.sandbox import Abilities, Bounds, Policy, Surroundings

#: A disk that was written to no more than that is emptied and used again; another is made anew.
_LITTLE_BYTES = 64 * 2**20


# --- what is run ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The inside of the door: any number of processes, one after the other, behind one policy."""

    policy: Policy

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        timeout_s: float,
        cwd: Path | None = None,
        stdin: str | None = None,
        kind: str = "tools",
    ) -> Completed:
        """Run a program to its end, as :func:`harness.process.run` does."""
        return process.run(argv, env=env, timeout_s=timeout_s, cwd=cwd, stdin=stdin, policy=self.policy, kind=kind)


def run(
    argv: Sequence[str],
    *,
    bounds: Bounds,
    env: Mapping[str, str],
    timeout_s: float,
    shows: Sequence[Path] = (),
    writes: Sequence[Path] = (),
    kept: Sequence[Path] = (),
    cwd: Path | None = None,
    stdin: str | None = None,
    kind: str = "tools",
) -> Completed:
    """Run one program to its end; see :func:`opened`. TimedOut where it takes longer than ``timeout_s``."""
    with opened(bounds, shows=shows, writes=writes, kept=kept) as inside:
        return inside.run(argv, env=env, timeout_s=timeout_s, cwd=cwd, stdin=stdin, kind=kind)


@contextlib.contextmanager
def opened(
    bounds: Bounds,
    *,
    shows: Sequence[Path] = (),
    writes: Sequence[Path] = (),
    around: Surroundings | None = None,
    kept: Sequence[Path] = (),
    links: Links = "keep",
) -> Iterator[Opened]:
    """A user, a control group and namespaces of one instance's own, for the time of the block.

    It finds the system's programs, the interpreter's files, what it is shown, and the folders that it may write to.
    The latter are its user's meanwhile, and ours again afterwards: CheckFailure where it left anything but files,
    folders and links in them (``links``: see :func:`harness.files.take_back`), or more than it may. What is ``kept``
    stays the instance's, who comes again as the same user. In other surroundings the interpreter is theirs.
    """
    own_python = around is not None and around.root is not None
    seen = (*(() if own_python else interpreter.folders()), *shows)
    if around is not None and not (os.geteuid() == 0 and _enclosures()):
        raise MissingComponent(
            "this machine does not let us give a process another root file system, user, or write protection",
            remedy="run the harness as root, on Linux 5.12 or newer",
        )
    user = _user_for(kept) if around is None or around.user_id is None else around.user_id
    if user is not None:
        for folder in (*writes, *kept):
            if _owner(folder) != user:  # what is kept can be large
                files.give(folder, user)
    with contextlib.ExitStack() as stack:
        group = stack.enter_context(_group(bounds))
        view = sandbox.view(shows=seen, writes=(*writes, *kept), around=around, memory_bytes=bounds.memory_bytes)
        inside = stack.enter_context(process.enclosed(view)) if _enclosures() else None
        yield Opened(policy=Policy(bounds=bounds, group=group, user_id=user, inside=inside))
    # Nothing of it runs any more, so nothing changes while it is looked at.
    for folder in writes:
        files.take_back(folder, at_most_bytes=disks.size_of(bounds.disk_bytes), links=links)


@contextlib.contextmanager
def _group(bounds: Bounds) -> Iterator[cgroup.Group | None]:
    """A control group with these bounds, and nothing alive in it afterwards; None where none can be had."""
    group = cgroup.create(f"harness-{paths.key()}-{os.urandom(4).hex()}")
    folders = list(group.folders.values()) if group else []
    with process.guarded(control_group=[str(folder) for folder in folders]), contextlib.ExitStack() as stack:
        if group is not None:
            stack.callback(group.kill_and_remove)
            for folder in folders:
                stack.enter_context(leftovers.held(folder))
            group.limit(memory_bytes=bounds.memory_bytes, cpus=bounds.cpus, pids=bounds.processes)
        yield group


def _user_for(kept: Sequence[Path]) -> int | None:
    """A new user, or who already has what is kept."""
    owners = [owner for owner in map(_owner, kept) if sandbox.is_instance_user(owner)]
    return owners[0] if owners else sandbox.new_user()


def _owner(folder: Path) -> int:
    return folder.stat().st_uid


# --- what can be had here ------------------------------------------------------------------------


@lru_cache(maxsize=1)
def abilities() -> Abilities:
    """What can be enforced here; found out once by trying it."""
    return sandbox.abilities_with(enclosed=_enclosures())


@lru_cache(maxsize=1)
def _enclosures() -> bool:
    try:
        with process.enclosed(sandbox.view(shows=(), writes=())):
            return True
    except (OSError, HarnessError):
        return False


# --- where it writes -----------------------------------------------------------------------------


class _Disk:
    """A mounted file system of a size, which goes with the harness."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(process.temporary_folder("disk", readable=True))
            self.place = folder / "d"
            self.place.mkdir()
            limit(self.place, size_bytes)
            self._free = _free_bytes(self.place)
            self._held = stack.pop_all()
        _at_exit()

    def emptied(self) -> bool:
        """Remove what was written; False where it is quicker to make another disk."""
        if self._free - _free_bytes(self.place) > _LITTLE_BYTES:
            return False
        for entry in os.listdir(self.place):
            files.remove(self.place / entry)
        return True

    def close(self) -> None:
        """Unmount it."""
        self._held.close()


_spare: list[_Disk] = []


@contextlib.contextmanager
def workspace(disk_bytes: int) -> Iterator[Path]:
    """A folder that holds at most ``disk_bytes`` in sum, gone afterwards.

    Where disks of their own can't be had (:func:`harness.disks.available`) it is a plain folder.
    """
    if disks.available():
        with process.temporary_folder("instance", readable=True) as folder:
            yield folder
        return
    disk = next((spare for spare in _spare if spare.size_bytes == disk_bytes), None)
    let_go(but=disk)
    disk = disk or _Disk(disk_bytes)
    try:
        yield disk.place
    except BaseException:
        disk.close()
        raise
    if disk.emptied() and not _spare:
        _spare.append(disk)
    else:
        disk.close()


def limit(folder: Path, disk_bytes: int) -> None:
    """Put a disk of that size over the empty ``folder``, which goes with the temporary folder that it is in.

    Nothing is done where disks of their own can't be had.
    """
    if disks.available() or os.path.ismount(folder):
        return
    image = folder.with_name(f"{folder.name}.image")
    with process.disk_full_named(image):
        process.run(disks.command(image, disk_bytes), env=process.environment(folder), timeout_s=60)
        try:
            disks.mount(image, folder)
        finally:
            image.unlink()
    for entry in os.listdir(folder):
        (folder / entry).rmdir()  # lost+found


def let_go(but: _Disk | None = None) -> None:
    """Unmount the disk that is kept to be used again, if there is one."""
    while _spare:
        disk = _spare.pop()
        if disk is not but:
            disk.close()


@lru_cache(maxsize=1)
def _at_exit() -> None:
    """Unmount the spare disk when the harness ends, before the watchdog is dismissed, which was registered earlier."""
    atexit.register(let_go)


def _free_bytes(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize
