"""Tools that are not part of the harness's own installation: each in an environment of its own.

Their trees are heavy or conflict with others, so uv makes an environment for each on first use, below
the cache, from the hash-locked requirements in ``harness/resources/tools/``.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from harness import door, files, interpreter, paths, process, usage
from harness.errors import BadInput, BuildFailure, CheckFailure, DiskFull, HarnessError, MissingComponent, ModelFailure
from harness.files import Links
from harness.interpreter import Interpreter
from harness.sandbox import Bounds

_LOCKS = paths.PACKAGE / "resources" / "tools"

#: For installations that become part of an artifact: uv notes when each wheel's file was last changed, and who
#: installed it, so that no two would be the same (astral-sh/uv issue 10523, read 2026-11-23).
UV_SAME_EVERY_TIME = {"UV_NO_INSTALLER_METADATA": "1"}

#: What a tool that builds may use, to end one that has gone wild. It is far above what any needs: PyInstaller takes
#: 1.0 GB for a model with PyTorch, files in memory included.
BOUNDS = Bounds(memory_bytes=4 * 2**30, processes=1024, disk_bytes=64 * 2**30)

#: What compiling a model's own sources may use: far more than any that a person wrote needs.
COMPILING = replace(BOUNDS, memory_bytes=2**30)


#: A cache with less room than that is full, whatever a tool says that failed; with less than the second it is where the
#: tool says that a disk is full: it has removed what it wrote by then.
_ROOM_BYTES, _ROOM_WHERE_SAID_BYTES = 32 * 2**20, 2 * 2**30
_SAYS_FULL = re.compile("no space left on device|disk quota exceeded|ENOSPC|EDQUOT", re.IGNORECASE)


# --- when the disk is full -----------------------------------------------------------------------


def full_disk(error: HarnessError) -> DiskFull | None:
    """DiskFull where the cache has no room left, which is then why a tool failed; None where it has.

    It is asked while what the tool wrote is still there. A disk of a model's own that is full is the model's affair,
    so what a model says does not count.
    """
    said = "" if isinstance(error, ModelFailure) else f"{error.problem}\n{getattr(error, 'log', '')}"
    least = _ROOM_WHERE_SAID_BYTES if says_full(said) else _ROOM_BYTES
    cache = paths.cache()
    return process.no_room(cache) if shutil.disk_usage(cache).free < least else None


def says_full(said: str) -> bool:
    """Whether that is what programs say when a disk has no room left."""
    return bool(_SAYS_FULL.search(said))


@contextlib.contextmanager
def full_disk_named() -> Iterator[None]:
    """Turn the failure of a tool that comes of a full disk into DiskFull."""
    try:
        yield
    except (BuildFailure, CheckFailure, BadInput) as error:
        full = full_disk(error)
        if full is not None:
            raise full from error
        raise


# --- tools that build, behind the door -----------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where the steps of one build are done, one after the other. ``what`` is being done, in messages."""

    what: str
    inside: door.Opened

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        timeout_s: float,
        cwd: Path | None = None,
        stdin: str | None = None,
        fine: Sequence[int] | None = (0,),
    ) -> process.Completed:
        """Do a step; BuildFailure where it takes longer or its exit code is not ``fine`` (None: any is)."""
        try:
            done = self.inside.run(argv, env=env, timeout_s=timeout_s, cwd=cwd, stdin=stdin)
        except process.TimedOut as error:
            raise BuildFailure(f"{self.what}: {error.problem}", log=error.output) from error
        if fine is not None and done.returncode not in fine:
            group = self.inside.policy.group
            allowed = self.inside.policy.bounds.memory_bytes // 2**30
            memory = f", having used up {allowed} GiB" if group and group.oom_killed() else ""
            name = Path(argv[0]).name
            raise BuildFailure(f"{self.what}: {name} ended with exit code {done.returncode}{memory}", log=done.output)
        return done


@contextlib.contextmanager
def bench(
    what: str,
    *,
    shows: Sequence[Path] = (),
    writes: Sequence[Path] = (),
    links: Links = "keep",
    bounds: Bounds = BOUNDS,
) -> Iterator[Bench]:
    """A place for the steps of a build behind the door; see :func:`harness.door.opened`.

    What packages and models bring may be executed there. BuildFailure for what they may not leave behind, DiskFull
    where the cache has no room left.
    """
    try:
        with full_disk_named(), door.opened(bounds, shows=shows, writes=writes, links=links) as inside:
            yield Bench(what=what, inside=inside)
    except (CheckFailure, BadInput) as error:
        raise BuildFailure(f"{what}: {error.problem}", remedy=error.remedy) from error


# --- tools in environments of their own ----------------------------------------------------------


@lru_cache(maxsize=1)
def uv() -> Path:
    """The executable of uv, from the package that the harness depends on."""
    import uv as package

    try:
        return Path(package.find_uv_bin())
    except FileNotFoundError as error:
        raise MissingComponent("uv's executable is not where its package has it", remedy="reinstall uv") from error


def executable(tool: str, name: str | None = None, *, python: Interpreter | None = None) -> Path:
    """The executable of ``tool`` (``pip``, ``pex``), its environment made where it is not there.

    ``python`` is what it runs under, where that matters.
    """
    lock = _LOCKS / f"{tool}.txt"
    python = python or interpreter.default()
    key = hashlib.sha256(lock.read_bytes() + f"{python.path} {python.version}".encode()).hexdigest()[:16]
    folder = paths.cache() / "tools" / f"{tool}-{key}"
    found = folder / "bin" / (name or tool)
    if not found.is_file():
        with alone(folder.with_suffix(".lock")):
            if not found.is_file():
                _make(tool, lock, folder, python)
    return found


def uv_version() -> str:
    """The version of uv that is used."""
    from importlib.metadata import version as installed

    return installed("uv")


def version(tool: str) -> str:
    """The locked version of ``tool``."""
    for line in (_LOCKS / f"{tool}.txt").read_text().splitlines():
        if line.startswith(f"{tool}=="):
            return line.split("==")[1].split()[0]
    return "unknown"


@contextlib.contextmanager
def alone(lock_file: Path) -> Iterator[None]:
    """Hold ``lock_file`` against other harnesses that share the cache."""
    with process.disk_full_named(lock_file):
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        with lock_file.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def uv_environment(cache: Path | None = None) -> dict[str, str]:
    """The environment for uv: the user's indexes, certificates and proxies, and a cache of ours."""
    usage.used(paths.cache() / "uv")
    return process.network_environment(
        paths.cache(),
        UV_CACHE_DIR=str(cache or paths.cache() / "uv"),
        UV_NO_PROGRESS="1",
        UV_PYTHON_DOWNLOADS="never",
        UV_SYSTEM_CERTS="1",  # as pip has it: companies have certificates of their own
    )


def uv_offline(cache: Path) -> dict[str, str]:
    """The environment for uv where it installs what is at hand: nothing of the user's, and ``cache`` for its own."""
    return process.environment(
        cache,
        UV_CACHE_DIR=str(cache / "uv"),
        UV_NO_CONFIG="1",
        UV_NO_PROGRESS="1",
        UV_OFFLINE="1",
        UV_PYTHON_DOWNLOADS="never",
        **UV_SAME_EVERY_TIME,
    )


def _make(tool: str, lock: Path, folder: Path, python: Interpreter) -> None:
    files.remove(folder)
    env = uv_environment()
    made = str(folder / "bin" / "python")
    steps = (
        [str(uv()), "venv", "--quiet", "--python", str(python.path), str(folder)],
        [str(uv()), "pip", "sync", "--quiet", "--require-hashes", "--python", made, str(lock)],
    )
    try:
        with full_disk_named():
            for step in steps:
                try:
                    done = process.run(step, env=env, timeout_s=300)
                except process.TimedOut as error:
                    raise BuildFailure(f"making the environment of {tool}: {error}", log=error.output) from error
                if done.returncode != 0:
                    raise BuildFailure(
                        f"the environment of {tool} could not be made",
                        log=done.output,
                        remedy="check that a package index is in reach (UV_DEFAULT_INDEX names another)",
                    )
    except BaseException:
        files.remove(folder, ignore_errors=True)
        raise
