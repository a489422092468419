"""The Docker engine: one that is reachable, else a private one that the harness starts and stops.

The private engine keeps its images below the cache and its sockets below ``/run`` (a socket's path may
have 107 bytes at most, and a cache folder's may be longer). It touches nothing of the machine's own
engine: no default bridge, no packet filter rules, its own configuration file, data and process ids.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from harness import paths, process, tools
from harness.errors import BuildFailure, DiskFull, HarnessError, MissingComponent
from harness.platforms import engine_processes
from harness.platforms.engine_processes import Places

Kind = Literal["reachable", "private"]
Say = Callable[[str], None]

_PING_S = 3
_ANSWER_S = 900  # a build step may be silent for as long as it takes to install a large model's packages
_START_S = 60.0
_DEFAULT_SOCKET = "unix:///var/run/docker.sock"
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")

#: What the private engine may do to the machine, in one place. Containers here run with ``--network none``,
#: so there is no default bridge and no packet filter rule. An internal network of its own can still be made,
#: but nothing but the host's routing then keeps it from the outside: for that, set ``iptables`` to True.
_SETTINGS: dict[str, Any] = {
    "bridge": "none",
    "iptables": False,
    "ip6tables": False,
    "ip-forward": False,
    "shutdown-timeout": 10,
    # Layers as folders that can be read from the host: newer engines would default to containerd's store.
    "features": {"containerd-snapshotter": False},
}


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine that answers. ``url`` is its socket; ``data_root`` is a folder on the engine's own host."""

    url: str
    kind: Kind
    version: str
    storage_driver: str
    data_root: Path
    cgroup_version: str
    cgroup_driver: str

    @property
    def socket(self) -> Path | None:
        """The Unix socket it listens on; None for an engine that is reached over a network."""
        parts = urlsplit(self.url)
        return Path(parts.path) if parts.scheme == "unix" else None


@dataclass(frozen=True, kw_only=True)
class Status:
    """What stands: the engine that would be used, or the reason why there is none, and the private one's files."""

    engine: Engine | None
    reason: str
    private_pid: int | None
    private_data: Path
    private_log: Path


# --- finding one ---------------------------------------------------------------------------------


def connect() -> Engine:
    """The engine to use: ``DOCKER_HOST`` or the default socket, else the private one.

    MissingComponent, with what to do, if none answers.
    """
    reasons = []
    for url, kind in _candidates():
        found = _reach(url, kind)
        if isinstance(found, Engine):
            return found
        reasons.append(found)
    raise MissingComponent(
        "no Docker engine answers (" + "; ".join(reasons) + ")",
        remedy=_remedy_to_start() or "'harness engine start' starts a private one",
    )


def client(engine: Engine, *, timeout_s: int = _ANSWER_S) -> Any:
    """The low-level docker-py client of ``engine``, made once and shared; it waits ``timeout_s`` for each answer."""
    return _client(engine.url, timeout_s)


@contextlib.contextmanager
def asking(engine: Engine, doing: str, *, absent_ok: bool = False, timeout_s: int = _ANSWER_S) -> Iterator[Any]:
    """The client, for a request: the time counts as the engine's, and its refusals become our errors.

    With ``absent_ok`` the block just ends where the engine has no such image or container.
    """
    import docker.errors
    import requests

    with process.ledger.waiting_for("engine"):
        try:
            yield client(engine, timeout_s=timeout_s)
        except docker.errors.APIError as error:
            if absent_ok and isinstance(error, docker.errors.NotFound):
                return
            raise refusal(doing, str(error.explanation or error)) from error
        except docker.errors.DockerException as error:
            raise _silent(doing, error) from error
        except (requests.exceptions.RequestException, OSError) as error:
            raise _silent(doing, error) from error


def refusal(doing: str, said: str) -> HarnessError:
    """The error for what an engine said when it refused."""
    if "no space left on device" in said or "disk quota exceeded" in said:
        return DiskFull(
            f"{doing}: the disk that holds the engine's images is full",
            remedy=f"free some space (images can be removed, the cache, {paths.cache()}, can be deleted) and go on",
        )
    return BuildFailure(f"{doing}: the Docker engine refused", log=said)


def _silent(doing: str, error: Exception) -> MissingComponent:
    return MissingComponent(
        f"{doing}: the Docker engine stopped answering ({_first_line(error)})",
        remedy="see 'harness engine status', then start it again",
    )


def _candidates() -> Iterator[tuple[str, Kind]]:
    given = os.environ.get("DOCKER_HOST")
    yield given or _DEFAULT_SOCKET, "reachable"
    own = os.environ.get("XDG_RUNTIME_DIR")
    if not given and own and Path(own, "docker.sock").exists():
        yield f"unix://{own}/docker.sock", "reachable"  # a rootless engine
    yield _places().url, "private"


def _reach(url: str, kind: Kind) -> Engine | str:
    """The engine at ``url``, or why it can't be used."""
    name = "the private engine" if kind == "private" else url.removeprefix("unix://")
    parts = urlsplit(url)
    if parts.scheme == "unix":
        # Asked for plainly first: docker-py takes its time to load, and leaves a refused socket open.
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.settimeout(_PING_S)
                probe.connect(parts.path)
        except FileNotFoundError:
            return f"{name} is not running" if kind == "private" else f"there is no {name}"
        except PermissionError:
            return f"{name} may not be used by this user"
        except OSError:
            return f"{name} does not answer"
    import docker.errors
    import requests

    try:
        return _described(url, kind, _client(url, _PING_S).info())
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError, ImportError):
        return f"{name} does not answer"


def _described(url: str, kind: Kind, info: dict[str, Any]) -> Engine:
    return Engine(
        url=url,
        kind=kind,
        version=str(info.get("ServerVersion", "")),
        storage_driver=str(info.get("Driver", "")),
        data_root=Path(info.get("DockerRootDir") or "/var/lib/docker"),
        cgroup_version=f"v{info.get('CgroupVersion', '1')}",
        cgroup_driver=str(info.get("CgroupDriver", "")),
    )


def _address(url: str) -> dict[str, Any]:
    import docker.utils

    if url == os.environ.get("DOCKER_HOST"):
        return dict(docker.utils.kwargs_from_env())  # with the certificates of DOCKER_CERT_PATH
    return {"base_url": url}


@lru_cache(maxsize=8)
def _client(url: str, timeout_s: int = _ANSWER_S) -> Any:
    import docker

    return docker.APIClient(version="auto", timeout=timeout_s, **_address(url))


# --- the private engine --------------------------------------------------------------------------


def start(say: Say = lambda _: None) -> Engine:
    """Start the private engine, which then outlives this process; the one that runs already is left as it is.

    MissingComponent where it can't be started here. ``say`` is told what is being waited for.
    """
    places = _places()
    with tools.alone(places.lock):
        found = _reach(places.url, "private")
        if isinstance(found, Engine):
            return found
        lacking = _remedy_to_start()
        if lacking:
            raise MissingComponent("a private Docker engine can't be started", remedy=lacking)
        engine_processes.end_processes(places)
        engine_processes.clear_runtime(places)
        _prepare(places)
        pid = process.start_daemon(_command(places), env=_environment(places), log_file=places.log)
        try:
            return _awaited(places, pid, say)
        except BaseException:  # an interrupt too: an engine that nobody was told of must not stay
            engine_processes.end_processes(places)
            engine_processes.clear_runtime(places)
            raise


def _awaited(places: Places, pid: int, say: Say) -> Engine:
    """The engine, once the daemon ``pid`` answers; MissingComponent if it ends or takes too long."""
    begin = time.monotonic()
    with process.ledger.waiting_for("engine"):
        while engine_processes.alive(pid) and time.monotonic() - begin < _START_S:
            say(f"waiting for the private Docker engine ({time.monotonic() - begin:.0f} s)")
            found = _reach(places.url, "private")
            if isinstance(found, Engine):
                places.socket.chmod(0o600)
                # Containers that were running when an earlier engine was killed are still listed.
                client(found).prune_containers()
                return found
            time.sleep(0.1)
    raise _did_not_start(places)


def stop() -> bool:
    """End the private engine, its containers and everything it left mounted; False if there was nothing to end."""
    places = _places()
    if not places.folder.is_dir() and not places.runtime.is_dir():
        return False
    with tools.alone(places.lock), process.ledger.waiting_for("engine"):
        _client.cache_clear()
        found = engine_processes.end_processes(places)
        return engine_processes.clear_runtime(places) or found


def status() -> Status:
    """What stands, without changing it."""
    places = _places()
    try:
        engine, reason = connect(), ""
    except MissingComponent as error:
        engine, reason = None, str(error)
    return Status(
        engine=engine,
        reason=reason,
        private_pid=engine_processes.daemon_pid(places),
        private_data=places.data,
        private_log=places.log,
    )


@contextlib.contextmanager
def session(say: Say = lambda _: None) -> Iterator[Engine]:
    """An engine for the time of a block: one that answers is used as it is, else the private one runs meanwhile."""
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
            stop()


@contextlib.contextmanager
def apart() -> Iterator[Engine]:
    """One more private engine, with an empty store, for the time of a block: a node that has no image yet.

    MissingComponent where it can't be started here; its store is gone afterwards.
    """
    lacking = _remedy_to_start()
    if lacking:
        raise MissingComponent("a second Docker engine, to pull to, can't be started", remedy=lacking)
    runtime = Path("/run") / f"ml-packaging-harness-node-{secrets.token_hex(4)}"
    with process.temporary_folder("node") as folder, process.guarded(folder=str(runtime)):
        places = Places(folder=folder, runtime=runtime)
        _prepare(places)
        child = process.Child(_command(places), env=_environment(places))
        with process.guarded(process_group=child.pid):
            try:
                yield _awaited(places, child.pid, lambda _: None)
            finally:
                child.ask_to_end(_START_S)
                engine_processes.end_processes(places)
                engine_processes.clear_runtime(places)


def _places() -> Places:
    return Places(
        folder=paths.cache().resolve() / "engine", runtime=Path("/run") / f"ml-packaging-harness-{paths.key()}"
    )


def _program(name: str) -> str | None:
    # An unprivileged user's PATH, and a container's, may lack the sbin folders.
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *_SYSTEM_FOLDERS]))


def _remedy_to_start() -> str:
    """What has to be done before a private engine can be started here; empty if nothing."""
    lacking = []
    if _program("dockerd") is None:
        lacking.append("apt-get install docker.io iptables")
    elif not _SETTINGS["iptables"]:
        pass  # it is started without packet filter rules and works without iptables' program
    elif _program("iptables") is None:
        lacking.append("apt-get install iptables")
    if os.geteuid() != 0:
        lacking.append("run 'harness engine start' as root, or join the group that may use the machine's engine")
    return "; ".join(lacking)


def _prepare(places: Places) -> None:
    with process.disk_full_named(places.folder):
        places.data.mkdir(parents=True, exist_ok=True)
        places.folder.chmod(0o711)
        places.settings.write_text(json.dumps(_SETTINGS, indent=1))
        places.log.unlink(missing_ok=True)
    places.runtime.mkdir(mode=0o700, parents=True, exist_ok=True)


def _command(places: Places) -> list[str]:
    return [
        _program("dockerd") or "dockerd",
        *("--config-file", str(places.settings)),
        *("--data-root", str(places.data)),
        *("--exec-root", str(places.execution)),
        *("--pidfile", str(places.pid_file)),
        *("--host", places.url),
    ]


def _environment(places: Places) -> dict[str, str]:
    # Proxies and certificates pass through: the engine is what pulls images.
    return process.network_environment(places.runtime)


def _did_not_start(places: Places) -> MissingComponent:
    try:
        lines = places.log.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    said = [line for line in lines if "failed" in line or "level=error" in line or "level=fatal" in line] or lines
    text = "".join(f"\n    {line[:300]}" for line in said[-4:])
    return MissingComponent(
        f"the private Docker engine did not start{text}",
        remedy=f"read {places.log}; in a container it needs the rights of 'docker run --privileged'",
    )


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
