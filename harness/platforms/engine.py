"""The Docker engine: one that is reachable, else a private one that the harness starts and stops.

The private engine keeps its images below the cache and its sockets below ``/run`` (a socket's path may
have 107 bytes at most, and a cache folder's may be longer). It touches nothing of the machine's own
engine: no default bridge, no packet filter rules, its own configuration file, data and process ids.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from harness import cgroup, paths, process, tools
from harness.errors import BuildFailure, CheckFailure, DiskFull, HarnessError, MissingComponent

Kind = Literal["reachable", "private"]
Say = Callable[[str], None]

_PING_S = 3
_ANSWER_S = 900  # a build step may be silent for as long as it takes to install a large model's packages
_START_S = 60.0
_STOP_S = 30.0
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


@dataclass(frozen=True, kw_only=True)
class _Places:
    """Where the private engine of this cache folder keeps things."""

    folder: Path
    runtime: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def settings(self) -> Path:
        return self.folder / "daemon.json"

    @property
    def log(self) -> Path:
        return self.folder / "dockerd.log"

    @property
    def lock(self) -> Path:
        return self.folder / "lock"

    @property
    def execution(self) -> Path:
        return self.runtime / "exec"

    @property
    def pid_file(self) -> Path:
        return self.runtime / "docker.pid"

    @property
    def socket(self) -> Path:
        return self.runtime / "docker.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"


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
        _end_processes(places)
        _clear_runtime(places)
        _prepare(places)
        pid = process.start_daemon(_command(places), env=_environment(places), log_file=places.log)
        try:
            return _awaited(places, pid, say)
        except BaseException:  # an interrupt too: an engine that nobody was told of must not stay
            _end_processes(places)
            _clear_runtime(places)
            raise


def _awaited(places: _Places, pid: int, say: Say) -> Engine:
    """The engine, once the daemon ``pid`` answers; MissingComponent if it ends or takes too long."""
    begin = time.monotonic()
    with process.ledger.waiting_for("engine"):
        while _alive(pid) and time.monotonic() - begin < _START_S:
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
        found = _end_processes(places)
        return _clear_runtime(places) or found


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
        private_pid=_daemon_pid(places),
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
    pid = _daemon_pid(_places())
    with process.guarded(process_group=os.getpgid(pid)) if pid is not None else contextlib.nullcontext():
        try:
            yield engine
        finally:
            stop()


def _places() -> _Places:
    cache = paths.cache().resolve()
    key = hashlib.sha256(str(cache).encode()).hexdigest()[:12]
    return _Places(folder=cache / "engine", runtime=Path("/run") / f"ml-packaging-harness-{key}")


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


def _prepare(places: _Places) -> None:
    with process.disk_full_named(places.folder):
        places.data.mkdir(parents=True, exist_ok=True)
        places.folder.chmod(0o711)
        places.settings.write_text(json.dumps(_SETTINGS, indent=1))
        places.log.unlink(missing_ok=True)
    places.runtime.mkdir(mode=0o700, parents=True, exist_ok=True)


def _command(places: _Places) -> list[str]:
    return [
        _program("dockerd") or "dockerd",
        *("--config-file", str(places.settings)),
        *("--data-root", str(places.data)),
        *("--exec-root", str(places.execution)),
        *("--pidfile", str(places.pid_file)),
        *("--host", places.url),
    ]


def _environment(places: _Places) -> dict[str, str]:
    # Proxies and certificates pass through: the engine is what pulls images.
    return process.network_environment(places.runtime)


def _did_not_start(places: _Places) -> MissingComponent:
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


# --- its processes and mounts --------------------------------------------------------------------


def _daemon_pid(places: _Places) -> int | None:
    """The process that the pid file names, if it really is our engine (the number may have been given anew)."""
    try:
        pid = int(places.pid_file.read_text())
    except (OSError, ValueError):
        return None
    return pid if _alive(pid) and str(places.pid_file) in _arguments(pid) else None


def _end_processes(places: _Places) -> bool:
    """End the daemon politely, then what is left of it: containerd, its shims, and the containers' processes."""
    pid = _daemon_pid(places)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        _wait_for_end([pid], _STOP_S)
    left = _family(places)
    groups = [group for other in left for group in _container_groups(other)]
    for other in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(other, signal.SIGKILL)
    _wait_for_end(left, 5.0)
    for group in groups:
        with contextlib.suppress(OSError):
            group.rmdir()
    return pid is not None or bool(left)


def _container_groups(pid: int) -> list[Path]:
    """The control groups that the engine made for the container that ``pid`` runs in; empty for its own processes."""
    try:
        text = Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return []
    found = set(re.findall(r"/docker/([0-9a-f]{64})$", text, re.MULTILINE))
    places = [f"docker/{name}" for name in found] + [f"*/docker/{name}" for name in found]
    return [folder for place in places for folder in cgroup.ROOT.glob(place)]


def _family(places: _Places) -> list[int]:
    """Every process that was started for this engine, those that serve it last."""
    parents: dict[int, int] = {}
    servers = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or not _alive(int(entry.name)):
            continue
        pid = int(entry.name)
        parents[pid] = _stat(pid)[1]
        # The daemon, containerd and the shims carry a path below our own runtime folder as an argument.
        if any(str(places.runtime) + "/" in argument for argument in _arguments(pid)) and _is_engine_program(pid):
            servers.add(pid)
    return [pid for pid in parents if pid not in servers and _descends(pid, servers, parents)] + sorted(servers)


def _is_engine_program(pid: int) -> bool:
    try:
        name = Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return False
    return name.startswith(("dockerd", "containerd", "docker-containerd", "runc"))


def _descends(pid: int, ancestors: set[int], parents: dict[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid in ancestors:
            return True
    return False


def _alive(pid: int) -> bool:
    return _stat(pid)[0] not in ("", "Z", "X")


def _stat(pid: int) -> tuple[str, int]:
    """State letter and parent of a process; ``("", 0)`` if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0
    return fields[0], int(fields[1])


def _arguments(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _wait_for_end(pids: list[int], patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while any(_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)


def _clear_runtime(places: _Places) -> bool:
    """Unmount what is left mounted below the engine's folders, then remove its sockets; whether there was anything."""
    mounts = _mounts_below(places)
    for point in mounts:
        process.run(["umount", "--lazy", point], env=process.environment(places.folder), timeout_s=20, kind="engine")
    left = _mounts_below(places)
    if left:
        raise CheckFailure(f"{left[0]} can't be unmounted", remedy=f"umount {left[0]}, then try again")
    there = places.runtime.is_dir()
    shutil.rmtree(places.runtime, ignore_errors=True)
    return there or bool(mounts)


def _mounts_below(places: _Places) -> list[str]:
    """Mount points below the engine's folders, the innermost first."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return []
    return parse_mounts(lines, (places.data, places.execution))


def parse_mounts(lines: list[str], folders: tuple[Path, ...]) -> list[str]:
    """The mount points in ``/proc/self/mountinfo`` that lie in or below ``folders``, the innermost first."""
    # The kernel writes blanks and backslashes in octal.
    points = [re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), line.split()[4]) for line in lines]
    found = [point for point in points if any(Path(point).is_relative_to(folder) for folder in folders)]
    return found[::-1]


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
