"""The only place that starts processes: logged, timed, bounded, cancellable, and ended whatever happens.

Every process gets an environment composed here, never the inherited one: a developer's
``PYTHONDONTWRITEBYTECODE=1`` makes starts several times slower, and an environment holds secrets.
What must not outlive the harness is told to a watchdog (:mod:`harness.watchdog`), which ends it even
after SIGKILL.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from harness import cgroup, enclosure, files, leftovers, mounts, paths, streams, watchdog
from harness.enclosure import Enclosure
from harness.errors import DiskFull, HarnessError, MissingComponent
from harness.mounts import View
from harness.sandbox import Policy

log = logging.getLogger(__name__)

_TAIL_BYTES = 64 * 1024
_OUTPUT_BYTES = 64 * 2**20
_DYING_S = 10.0

#: What a tool that downloads may inherit: where to fetch from, through what, and whom to trust.
_NETWORK_VARIABLES = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "NETRC"),
    *("PIP_CONFIG_FILE", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_DEFAULT_TIMEOUT"),
    *("UV_CONFIG_FILE", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"),
    *("UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES"),
)


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A process that ended by itself."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    wall_s: float

    @property
    def output(self) -> str:
        """What it printed, both streams."""
        return "\n".join(part for part in (self.stdout.strip(), self.stderr.strip()) if part)


class TimedOut(HarnessError):
    """A process did not end in time and was killed; ``output`` is what it had printed."""

    def __init__(self, argv: Sequence[str], timeout_s: float, output: str) -> None:
        super().__init__(f"{Path(argv[0]).name} did not end within {timeout_s:g} s", remedy="see -v for its command")
        self.output = output


# --- time that is not the harness's own ---------------------------------------------------------


class Ledger:
    """How many seconds were spent waiting for others, by kind; only the outermost wait counts."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = {}
        self._depth = 0

    @contextlib.contextmanager
    def waiting_for(self, kind: str) -> Iterator[None]:
        """Count the time inside as spent by ``kind`` (``tools``, ``instances``, ``engine``, ``disk``)."""
        self._depth += 1
        begin = time.monotonic()
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self.spent_s[kind] = self.spent_s.get(kind, 0.0) + time.monotonic() - begin


ledger = Ledger()


# --- environments and folders --------------------------------------------------------------------


def environment(home: Path, /, **more: str) -> dict[str, str]:
    """The environment of everything we start: a plain PATH, UTF-8, a home of its own, and ``more``."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "HOME": str(home),
        "TMPDIR": str(home),
        **more,
    }


def network_environment(home: Path, /, **more: str) -> dict[str, str]:
    """The same for tools that download: proxies, certificates and package indexes of the user pass through."""
    passed = {name: os.environ[name] for name in _NETWORK_VARIABLES if name in os.environ}
    own_home = os.environ.get("HOME", str(home))
    # pip and uv read their configuration (mirrors, certificates) below the user's home.
    return environment(home, **passed, HOME=own_home, XDG_CACHE_HOME=str(paths.cache() / "xdg"), **more)


@contextlib.contextmanager
def temporary_folder(prefix: str, *, readable: bool = False) -> Iterator[Path]:
    """A folder below the cache that is gone afterwards, also when the harness is killed.

    ``readable`` lets the unprivileged user that models run as walk through it.
    """
    parent = paths.cache() / "tmp"
    with disk_full_named(parent):
        parent.mkdir(mode=0o755, exist_ok=True)
        leftovers.remove_once(parent)
        folder = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=parent))
    with guarded(folder=str(folder)), leftovers.held(folder):
        if readable:
            folder.chmod(0o755)
        try:
            yield folder
        finally:
            if os.geteuid() == 0:
                mounts.detach_below(folder)
            files.remove(folder, ignore_errors=True)


@contextlib.contextmanager
def disk_full_named(where: Path) -> Iterator[None]:
    """Turn 'no space left' into DiskFull, which says where and what to do."""
    try:
        yield
    except OSError as error:
        full = disk_full(error, where)
        if full is not None:
            raise full from error
        raise


def disk_full(error: OSError, where: Path) -> DiskFull | None:
    """``error`` as DiskFull where it says that there is no space left; None where it says something else."""
    return no_room(error.filename or where) if error.errno in (errno.ENOSPC, errno.EDQUOT) else None


def no_room(where: object) -> DiskFull:
    """The error for a disk without room."""
    return DiskFull(
        f"the disk that holds {where} is full",
        remedy=f"free some space (the cache, {paths.cache()}, can be deleted) and go on with --resume",
    )


# --- the watchdog --------------------------------------------------------------------------------


class _Watchdog:
    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._process: subprocess.Popen[str] | None = None

    def tell(self, entry: Mapping[str, Any]) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", watchdog.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                text=True,
                start_new_session=True,
            )
            atexit.register(self._dismiss)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(entry) + "\n")
            self._process.stdin.flush()

    def number(self) -> int:
        return next(self._numbers)

    def _dismiss(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=10)


_watchdog = _Watchdog()


@contextlib.contextmanager
def guarded(**what: Any) -> Iterator[Callable[[], None]]:
    """While inside, have the watchdog end ``what`` should the harness be killed (see ``watchdog.end``).

    What it gives is called when that is gone for certain, also in a block that is about to be left by Ctrl-C.
    """
    number = _watchdog.number()

    def gone() -> None:
        _watchdog.tell({"id": number})

    _watchdog.tell({"id": number, "do": what})
    try:
        yield gone
    except KeyboardInterrupt:
        # It may have come while the block was cleaning up after itself: then the watchdog does that, when we end.
        raise
    except BaseException:
        gone()
        raise
    gone()


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off Ctrl-C and its like until the block has ended: for what must be done wholly or not at all.

    A request to make something that was broken off may still be carried out by whoever was asked, after we
    have looked for what is to be removed. Signals reach the main thread only; in others nothing is put off.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    before = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    put_off = {number: handler for number, handler in before.items() if callable(handler)}
    for number in put_off:
        signal.signal(number, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        for number, handler in put_off.items():
            signal.signal(number, handler)
        if came:
            put_off[came[0][0]](*came[0])


# --- processes that end by themselves ------------------------------------------------------------


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    timeout_s: float,
    cwd: Path | None = None,
    stdin: str | None = None,
    policy: Policy | None = None,
    kind: str = "tools",
) -> Completed:
    """Run a tool of ours to its end. TimedOut where it takes longer; MissingComponent where there is no such program.

    What is not ours goes through :func:`harness.door.run`, which gives the ``policy``. Of each stream the end is kept,
    as much as the policy's bounds say.
    """
    log.debug("run: %s", " ".join(argv))
    begin = time.monotonic()
    with ledger.waiting_for(kind):
        child = _popen(argv, env=env, cwd=cwd, policy=policy, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        with guarded(process_group=child.process.pid):
            talk = streams.Talk(child.process, stdin, policy.bounds.output_bytes if policy else _OUTPUT_BYTES)
            try:
                if not talk.go_on(begin + timeout_s):
                    ended = child.process.poll() is not None  # and left something behind that holds its pipes
                    _end_tree(child.process, policy)
                    talk.go_on(time.monotonic() + streams.PATIENCE_S)
                    if not ended:
                        raise TimedOut(argv, timeout_s, "\n".join(talk.said()))
                child.process.wait()
            finally:
                _end_tree(child.process, policy)
                child.process.wait()
                talk.close()
    stdout, stderr = talk.said()
    wall_s, code = time.monotonic() - begin, child.process.returncode
    log.debug("ended with %d after %.2f s: %s", code, wall_s, argv[0])
    return Completed(argv=tuple(argv), returncode=code, stdout=stdout, stderr=stderr, wall_s=wall_s)


@dataclass(frozen=True, kw_only=True)
class _Started:
    """A process that was started: ``pid`` is its number, that of ``process`` may be of who waits for it."""

    process: subprocess.Popen[bytes]
    pid: int


def _popen(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None,
    policy: Policy | None,
    stdin: int,
    stderr: int,
) -> _Started:
    """Start it. Whoever is put behind a policy begins in ``cwd`` as it sees that.

    The function that runs between fork and exec only makes system calls through names that are bound already, which is
    what makes it safe beside other threads.
    """
    inside = policy.inside if policy else None
    with contextlib.ExitStack() as stack:
        told, tell = _pipe(stack) if inside is not None and inside.user is not None else (-1, -1)
        entry = policy.entry(cwd, tell) if policy else functools.partial(enclosure.die_with_parent, os.getpid())
        if inside is not None:
            stack.enter_context(inside.births())
        try:
            process = subprocess.Popen(
                list(argv),
                env=dict(env),
                cwd=None if policy else cwd,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
                bufsize=0,
                start_new_session=True,
                umask=0o022,
                preexec_fn=entry,  # noqa: PLW1509 -- see above
            )
        except OSError as error:
            raise _not_startable(argv[0], error) from error
        except subprocess.SubprocessError as error:
            raise MissingComponent(
                f"{argv[0]} cannot be kept in bounds here", remedy="'harness doctor' says what this machine allows"
            ) from error
        return _Started(process=process, pid=enclosure.read_number(told) if told >= 0 else process.pid)


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        stack.callback(os.close, end)
    return ends


def _not_startable(program: str, error: OSError) -> HarnessError:
    """What to raise for a program that could not be started."""
    full = disk_full(error, Path(program))
    if full is not None:
        return full
    said = "there is no such program" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
    return MissingComponent(f"{program} cannot be started: {said}", remedy="'harness doctor' says what is missing")


def _end_tree(process: subprocess.Popen[Any], policy: Policy | None) -> None:
    """End the process with all it started: its control group where it has one, since a session can be left."""
    if policy is not None and policy.group is not None:
        policy.group.kill()
    _end_group(process)


def _end_group(process: subprocess.Popen[Any]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


# --- namespaces ----------------------------------------------------------------------------------


@contextlib.contextmanager
def enclosed(view: View) -> Iterator[Enclosure]:
    """Namespaces for one instance, in which it finds ``view``; whoever is left in there is ended afterwards.

    OSError where this machine or this user may not make them.
    """
    root = os.geteuid() == 0
    with contextlib.ExitStack() as stack:
        told, tell = _pipe(stack)
        harness = os.pidfd_open(os.getpid())
        stack.callback(os.close, harness)
        make = enclosure.maker(view, root=root, told=tell, harness=harness)
        try:
            with enclosure.first_born() if root else contextlib.nullcontext():
                first = subprocess.Popen(
                    enclosure.FIRST,
                    env={},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    preexec_fn=make,  # noqa: PLW1509 -- as in _popen
                )
        except subprocess.SubprocessError as error:
            raise OSError(errno.EPERM, "namespaces cannot be made") from error
        stack.callback(_ended, first)
        inside = enclosure.opened(first.pid if root else enclosure.read_number(told), root=root)
        stack.callback(inside.close)
        yield inside


def _ended(process: subprocess.Popen[Any]) -> None:
    """Kill the process, and wait until it is gone with all that live in its namespaces."""
    _end_group(process)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_DYING_S)


# --- processes that serve ------------------------------------------------------------------------


class Child:
    """A process that runs until it is ended; the end of what it prints is kept.

    It is put in bounds between fork and exec, so ``exec_done_s``, when Popen returns, is the moment
    at which the isolated process exists.
    """

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None, policy: Policy | None = None
    ) -> None:
        log.debug("start: %s", " ".join(argv))
        self._tail: deque[bytes] = deque(maxlen=_TAIL_BYTES // 4096)
        if policy and policy.group:
            cgroup.settle()  # that wait is the kernel's, not the artifact's
        self.spawned_s = time.monotonic()
        started = _popen(argv, env=env, cwd=cwd, policy=policy, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        self.exec_done_s = time.monotonic()
        self._process, self.pid = started.process, started.pid
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()

    def _drain(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        with contextlib.suppress(ValueError, OSError):
            while chunk := os.read(stream.fileno(), 4096):
                self._tail.append(chunk)

    def exit_code(self) -> int | None:
        """The exit code (negative: the signal that ended it); None while it runs."""
        return self._process.poll()

    def output(self) -> str:
        """The end of what it printed."""
        if self.exit_code() is not None:
            self._reader.join(timeout=1)
        return b"".join(self._tail).decode(errors="replace")

    def ask_to_end(self, patience_s: float) -> None:
        """SIGTERM, and SIGKILL to its whole group when that did not help."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=patience_s)
        self.end()

    def end(self) -> None:
        """Kill it and its process group, and wait until it is gone."""
        _end_group(self._process)
        self._process.wait()
        self._reader.join(timeout=1)
        if self._process.stdout is not None:
            self._process.stdout.close()


# --- processes that outlive us -------------------------------------------------------------------


def start_daemon(argv: Sequence[str], *, env: Mapping[str, str], log_file: Path) -> int:
    """Start a server that goes on when the harness ends, in a session of its own; its process id.

    The shell in between ends at once, so that the system, not we, is the server's parent. Whether the
    server works out is for the caller to find out: it prints to ``log_file``.
    """
    log.debug("daemon: %s", " ".join(argv))
    with disk_full_named(log_file), log_file.open("ab") as printed:
        launcher = subprocess.run(
            ["/bin/sh", "-c", '"$@" >&2 & echo $!', "sh", *argv],
            env=dict(env),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=printed,
            text=True,
            check=True,
            start_new_session=True,
        )
    return int(launcher.stdout)
