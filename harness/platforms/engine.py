"""The Docker engine: one that is reachable, else a private one that the harness starts and stops.

Root's private engine is Docker, an ordinary user's is Podman. It keeps its images below the cache and its sockets below
``/run`` (a socket's path may have 107 bytes at most, and a cache folder's may be longer). It touches nothing of the
machine's own engine: no default bridge, no packet filter rules, its own configuration file, data and process ids.

Who connects to the private engine is its user until the process ends, and nobody stops it meanwhile but by force.
An engine that a process uses and that goes away all the same is EngineGone. A run then waits until somebody has
started the engine again; it never does that itself, as whoever stopped it had a reason.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import paths, process, settings, tools
from harness.errors import BuildFailure, DiskFull, EngineGone, HarnessError, MissingComponent
from harness.platforms import engine_processes, engine_reach, engine_setup, engine_users
from harness.platforms.engine_processes import Places
from harness.platforms.engine_reach import ANSWER_S, Kind
from harness.platforms.engine_reach import Engine as Engine  # noqa: PLC0414 -- it is had from here
from harness.platforms.engine_users import EngineInUse, User

Say = Callable[[str], None]

_START_S = 60.0
_LOOK_S = 0.5
_DEFAULT_SOCKET = "unix:///var/run/docker.sock"
_START_IT = "start the engine again ('harness engine start')"


@dataclass(frozen=True, kw_only=True)
class Status:
    """What stands: the engine that would be used, or why there is none; the private one's files and users."""

    engine: Engine | None
    reason: str
    private_pid: int | None
    private_data: Path
    private_log: Path
    users: tuple[User, ...] = ()


class _Using:
    """What this process uses: engines by URL, with the process that listened there when it first did."""

    def __init__(self) -> None:
        self.listeners: dict[str, int] = {}
        self.expected = False
        self.missed: EngineGone | None = None


_using = _Using()


# --- finding one ---------------------------------------------------------------------------------


def connect() -> Engine:
    """The engine to use: ``DOCKER_HOST`` or the default socket, else the private one, whose user we then are.

    MissingComponent, with what to do, if none answers. EngineGone where one has to be there: this process has used
    one that does not answer any more or was started anew since, or :func:`expect` said so.
    """
    found, why = look(joining=True)
    if found is None:
        if _using.expected or _used():
            raise _missed(f"the Docker engine has gone ({why})")
        remedy = engine_setup.remedy_to_start() or "'harness engine start' starts a private one"
        raise MissingComponent(f"no Docker engine answers ({why})", remedy=remedy)
    _same_as_before(found.url)
    return found


def look(*, joining: bool = False) -> tuple[Engine | None, str]:
    """The engine that :func:`connect` gives, or why there is none; nobody becomes its user unless ``joining``."""
    reasons = []
    # Another engine has other images: who has used one goes on with that one.
    for url, kind in (_used() or dict(_candidates())).items():
        found = _reach_private() if joining and kind == "private" else engine_reach.reach(url, kind)
        if isinstance(found, Engine):
            return found, ""
        reasons.append(found)
    return None, "; ".join(reasons)


def client(engine: Engine, *, timeout_s: int = ANSWER_S) -> Any:
    """The low-level docker-py client of ``engine``, made once and shared; it waits ``timeout_s`` for each answer."""
    return engine_reach.client(engine.url, timeout_s)


@contextlib.contextmanager
def asking_apart(engine: Engine, doing: str, parameters: Mapping[str, str] | None = None) -> Iterator[Any]:
    """The same as :func:`asking`, with a client of its own whose answers are cut off where the block ends.

    That is how an engine is told to leave what it was doing: a build, say. ``parameters`` go with each request.
    """
    with asking(engine, doing), contextlib.ExitStack() as stack:
        own = stack.enter_context(contextlib.closing(engine_reach.client.__wrapped__(engine.url)))

        def cut_off_at_the_end(answer: Any, **_: Any) -> None:
            stack.callback(answer.close)

        own.hooks["response"].append(cut_off_at_the_end)
        own.params = dict(parameters or {})
        yield own


@contextlib.contextmanager
def asking(engine: Engine, doing: str, *, absent_ok: bool = False, timeout_s: int = ANSWER_S) -> Iterator[Any]:
    """The client, for a request: the time counts as the engine's, and its refusals become our errors.

    With ``absent_ok`` the block just ends where the engine has no such image or container.
    """
    import docker.errors
    import requests
    import urllib3

    with process.ledger.waiting_for("engine"):
        try:
            yield client(engine, timeout_s=timeout_s)
        except docker.errors.APIError as error:
            if absent_ok and isinstance(error, docker.errors.NotFound):
                return
            hold()  # an engine that is being stopped refuses what it was asked before
            raise refusal(doing, str(error.explanation or error)) from error
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, docker.errors.StreamParseError) as error:
            raise _silent(engine, doing, error) from error
        except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
            raise _silent(engine, doing, error) from error


def refusal(doing: str, said: str) -> HarnessError:
    """The error for what an engine said when it refused."""
    if tools.says_full(said):
        return DiskFull(
            f"{doing}: the disk that holds the engine's images is full",
            remedy=f"free some space (images can be removed, the cache, {paths.cache()}, can be deleted) and go on",
        )
    return BuildFailure(f"{doing}: the Docker engine refused", log=said)


def _silent(engine: Engine, doing: str, error: Exception) -> HarnessError:
    """What to raise where the connection broke, or no answer came in time."""
    full = process.disk_full(error, paths.cache()) if isinstance(error, OSError) else None
    if full is not None:
        return full
    said = f"{doing}: the Docker engine stopped answering ({_first_line(error)})"
    if engine.url in _using.listeners:
        try:
            hold()
        except EngineGone:
            return _missed(said)
    return MissingComponent(said, remedy="see 'harness engine status', then start it again")


def _candidates() -> Iterator[tuple[str, Kind]]:
    given = settings.text("DOCKER_HOST")
    yield given or _DEFAULT_SOCKET, "reachable"
    for name in ("docker.sock", "podman/podman.sock"):  # a rootless engine of the user's
        socket = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nowhere", name)
        if not given and socket.exists():
            yield f"unix://{socket}", "reachable"
    yield _places().url, "private"


def _used() -> dict[str, Kind]:
    return {url: kind for url, kind in _candidates() if url in _using.listeners}


def _reach_private() -> Engine | str:
    """The private engine, with this process as its user from now on; or why it can't be used."""
    places = _places()
    if engine_users.joined(places.folder) or not os.path.exists(places.socket):
        return engine_reach.reach(places.url, "private")
    with tools.alone(places.lock):  # nobody stops it while we become its user
        found = engine_reach.reach(places.url, "private")
        if isinstance(found, Engine):
            _join(places)
        return found


def _join(places: Places) -> None:
    with process.disk_full_named(places.folder):
        engine_users.join(places.folder)


# --- engines that go away ------------------------------------------------------------------------


def expect() -> None:
    """An engine has to be there from now on, as there was one when the run that is resumed began."""
    _using.expected = True


def hold() -> None:
    """EngineGone where an engine that this process uses has gone: whatever failed may have failed of that."""
    for url, kind in _used().items():
        found = engine_reach.reach(url, kind)
        if not isinstance(found, Engine):
            raise _missed(f"the Docker engine has gone ({found})")
        _same_as_before(url)


@contextlib.contextmanager
def noticing() -> Iterator[None]:
    """Raise the EngineGone that a block met, where the block took it for a method that is not ready here."""
    _using.missed = None
    yield
    if _using.missed is not None:
        raise _using.missed


def waiting_s() -> float:
    """How long an engine that has gone is waited for: ``HARNESS_ENGINE_WAIT_S``, else a minute. BadInput if not so."""
    return settings.seconds("HARNESS_ENGINE_WAIT_S", 60.0)


def wait_until_back(gone: EngineGone, say: Say) -> None:
    """Say that the engine has gone, and return once it answers; EngineGone where it does not in :func:`waiting_s`."""
    patience_s = waiting_s()
    say(f"{gone.problem}. Waiting up to {patience_s:g} s for one that answers (HARNESS_ENGINE_WAIT_S): {_START_IT}.")
    deadline = time.monotonic() + patience_s
    with process.ledger.waiting_for("engine"):
        while True:
            if look()[0] is not None:
                _forget(*_used())
                with contextlib.suppress(EngineGone):
                    connect()
                    return
            if time.monotonic() > deadline:
                raise EngineGone(f"{gone.problem}, and did not come back within {patience_s:g} s", remedy=_START_IT)
            time.sleep(_LOOK_S)


def _same_as_before(url: str) -> None:
    try:
        now = engine_reach.listener(url)
    except OSError:
        raise _missed("the Docker engine has gone") from None
    if _using.listeners.setdefault(url, now) != now:
        raise _missed("the Docker engine was started anew meanwhile")


def _missed(problem: str) -> EngineGone:
    _using.missed = EngineGone(problem, remedy=_START_IT)
    return _using.missed


def _forget(*urls: str) -> None:
    engine_reach.client.cache_clear()
    for url in urls:
        _using.listeners.pop(url, None)


# --- the private engine --------------------------------------------------------------------------


def start(say: Say = lambda _: None) -> Engine:
    """Start the private engine, which then outlives this process; the one that runs already is left as it is.

    MissingComponent where it can't be started here. ``say`` is told what is being waited for.
    """
    places = _places()
    with tools.alone(places.lock):
        found = engine_reach.reach(places.url, "private")
        if isinstance(found, Engine):
            return _ours(places, found)
        lacking = engine_setup.remedy_to_start()
        if lacking:
            raise MissingComponent("a private engine can't be started", remedy=lacking)
        engine_processes.end_processes(places)
        engine_processes.clear_runtime(places)
        engine_setup.prepare(places)
        pid = process.start_daemon(
            engine_setup.command(places), env=engine_setup.environment(places), log_file=places.log
        )
        try:
            return _ours(places, _awaited(places, pid, say))
        except BaseException:  # an interrupt too: an engine that nobody was told of must not stay
            engine_processes.end_processes(places)
            engine_processes.clear_runtime(places)
            raise


def _ours(places: Places, engine: Engine) -> Engine:
    """``engine``, which this process uses from now on."""
    _join(places)
    _forget(engine.url)
    _same_as_before(engine.url)
    return engine


def _awaited(places: Places, pid: int, say: Say) -> Engine:
    """The engine, once the daemon ``pid`` answers; MissingComponent if it ends or takes too long."""
    begin = time.monotonic()
    with process.ledger.waiting_for("engine"):
        while engine_processes.alive(pid) and time.monotonic() - begin < _START_S:
            say(f"waiting for the private engine ({time.monotonic() - begin:.0f} s)")
            found = engine_reach.reach(places.url, "private")
            if isinstance(found, Engine):
                places.socket.chmod(0o600)
                # Containers that were running when an earlier engine was killed are still listed.
                client(found).prune_containers()
                return found
            time.sleep(0.1)
    raise engine_setup.did_not_start(places)


def stop(*, force: bool = False) -> bool:
    """End the private engine, its containers and everything it left mounted; False if there was nothing to end.

    EngineInUse where another process uses it, unless by ``force``.
    """
    places = _places()
    if not places.folder.is_dir() and not places.runtime.is_dir():
        return False
    with tools.alone(places.lock), process.ledger.waiting_for("engine"):
        users = engine_users.users(places.folder, others=True)
        if users and not force and engine_processes.daemon_pid(places) is not None:
            raise EngineInUse(users)
        _forget(places.url)
        engine_users.leave(places.folder)
        found = engine_processes.end_processes(places)
        return engine_processes.clear_runtime(places) or found


def stop_when_unused(say: Say) -> bool:
    """The same once nobody else uses it; ``say`` is told who is waited for, whenever that changes."""
    told: tuple[User, ...] = ()
    while True:
        try:
            return stop()
        except EngineInUse as error:
            if error.users != told:
                told = error.users
                say(f"waiting for {'; '.join(map(str, told))}")
        time.sleep(_LOOK_S)


def status() -> Status:
    """What stands, without changing it."""
    places = _places()
    engine, reason = look()
    return Status(
        engine=engine,
        reason=f"no Docker engine answers ({reason})" if engine is None else "",
        private_pid=engine_processes.daemon_pid(places),
        private_data=places.data,
        private_log=places.log,
        users=engine_users.users(places.folder),
    )


@contextlib.contextmanager
def session(say: Say = lambda _: None) -> Iterator[Engine]:
    """An engine for the time of a block: one that answers is used as it is, else the private one runs meanwhile.

    Who else has come to use that by the end keeps it.
    """
    try:
        found = connect()
    except MissingComponent:
        found = None
    if found is not None:
        yield found
        return
    engine = start(say)
    pid = engine_processes.daemon_pid(_places())
    with process.guarded(process_group=os.getpgid(pid)) if pid is not None else contextlib.nullcontext():
        try:
            yield engine
        finally:
            with contextlib.suppress(EngineInUse):
                stop()


@contextlib.contextmanager
def apart() -> Iterator[Engine]:
    """One more private engine, with an empty store, for the time of a block: a node that has no image yet.

    MissingComponent where it can't be started here; its store is gone afterwards.
    """
    lacking = engine_setup.remedy_to_start()
    if lacking:
        raise MissingComponent("a second Docker engine, to pull to, can't be started", remedy=lacking)
    runtime = _runtime_base() / f"ml-packaging-harness-node-{secrets.token_hex(4)}"
    with process.temporary_folder("node") as folder, process.guarded(folder=str(runtime)):
        places = Places(folder=folder, runtime=runtime)
        engine_setup.prepare(places)
        child = process.Child(engine_setup.command(places), env=engine_setup.environment(places))
        with process.guarded(process_group=child.pid):
            try:
                yield _awaited(places, child.pid, lambda _: None)
            finally:
                child.ask_to_end(_START_S)
                engine_processes.end_processes(places)
                engine_processes.clear_runtime(places)


def _places() -> Places:
    return Places(
        folder=paths.cache().resolve() / "engine", runtime=_runtime_base() / f"ml-packaging-harness-{paths.key()}"
    )


def _runtime_base() -> Path:
    """Where sockets lie: ``/run``, an ordinary user's part of it, or where there is none ``/tmp``."""
    if os.geteuid() == 0:
        return Path("/run")
    own = Path("/run/user", str(os.getuid()))
    return own if os.access(own, os.W_OK) else Path("/tmp")  # noqa: S108 -- whose folder it is, is looked at


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
