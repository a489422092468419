"""The private engine's own processes and mounts: found, and ended with nothing left behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from harness import cgroup, files, process
from harness.errors import CheckFailure

_STOP_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the private engine of this cache folder keeps things."""

    folder: Path
    runtime: Path

    @property
    def data(self) -> Path:
        """Images, layers and containers."""
        return self.folder / "data"

    @property
    def settings(self) -> Path:
        """The daemon's configuration file."""
        return self.folder / "daemon.json"

    @property
    def log(self) -> Path:
        """What the daemon prints."""
        return self.folder / "dockerd.log"

    @property
    def lock(self) -> Path:
        """Held while it is started or stopped."""
        return self.folder / "lock"

    @property
    def execution(self) -> Path:
        """State of what runs."""
        return self.runtime / "exec"

    @property
    def pid_file(self) -> Path:
        """The daemon's process id."""
        return self.runtime / "docker.pid"

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.runtime / "docker.sock"

    @property
    def url(self) -> str:
        """The socket as a URL."""
        return f"unix://{self.socket}"


def daemon_pid(places: Places) -> int | None:
    """The process that the pid file names, if it really is our engine (the number may have been given anew)."""
    try:
        pid = int(places.pid_file.read_text())
    except (OSError, ValueError):
        return None
    return pid if alive(pid) and places.url in _arguments(pid) else None


def end_processes(places: Places) -> bool:
    """End the daemon politely, then what is left of it: containerd, its shims, and the containers' processes."""
    pid = daemon_pid(places)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        _wait_for_end([pid], _STOP_S)
    left = list(dict.fromkeys([*_family(places), *_in_its_user_namespace(places)]))
    groups = [group for other in left for group in _container_groups(other)]
    for other in left:
        with contextlib.suppress(ProcessLookupError, PermissionError):
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


def _family(places: Places) -> list[int]:
    """Every process that was started for this engine, those that serve it last."""
    parents: dict[int, int] = {}
    servers = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or not alive(int(entry.name)):
            continue
        pid = int(entry.name)
        parents[pid] = _stat(pid)[1]
        # The daemon, containerd and the shims carry a path below our own runtime folder as an argument.
        if any(str(places.runtime) + "/" in argument for argument in _arguments(pid)) and _is_engine_program(pid):
            servers.add(pid)
    return [pid for pid in parents if pid not in servers and _descends(pid, servers, parents)] + sorted(servers)


def _in_its_user_namespace(places: Places) -> list[int]:
    """Who lives in the user namespace of a rootless Podman: the process that it leaves to hold that is the last."""
    try:
        holder = int((places.execution / "pause.pid").read_text())
        if Path(f"/proc/{holder}/exe").readlink().name not in ("catatonit", "podman"):
            return []  # the number was given anew
        space = os.stat(f"/proc/{holder}/ns/user")
    except (OSError, ValueError):
        return []
    found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _lives_in(entry, space)]
    return [*(pid for pid in found if pid != holder), holder]


def _lives_in(entry: Path, space: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(entry / "ns" / "user"), space)
    except OSError:
        return False


def _is_engine_program(pid: int) -> bool:
    try:
        name = Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return False
    return name.startswith(("dockerd", "containerd", "docker-containerd", "runc", "crun", "podman", "conmon"))


def _descends(pid: int, ancestors: set[int], parents: dict[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid in ancestors:
            return True
    return False


def alive(pid: int) -> bool:
    """Whether the process is there and not a zombie."""
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
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)


def clear_runtime(places: Places) -> bool:
    """Unmount what is left mounted below the engine's folders, then remove its sockets; whether there was anything."""
    mounts = _mounts_below(places)
    for point in mounts:
        process.run(["umount", "--lazy", point], env=process.environment(places.folder), timeout_s=20, kind="engine")
    left = _mounts_below(places)
    if left:
        raise CheckFailure(f"{left[0]} can't be unmounted", remedy=f"umount {left[0]}, then try again")
    there = places.runtime.is_dir()
    files.remove(places.runtime, ignore_errors=True)
    return there or bool(mounts)


def _mounts_below(places: Places) -> list[str]:
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
