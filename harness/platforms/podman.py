"""Podman, the engine that an ordinary user starts: all that it does otherwise than Docker, in one place.

``podman system service`` speaks Docker's API. The private one has settings, a store and a runtime folder of its own,
and leaves the user's own Podman alone. Rootless it runs in a user namespace, where root is the user who started it.

* Control groups: it bounds containers only by those that the system lets the user have (version 2, delegated; systemd
  delegates memory and processes). Elsewhere it takes limits and forgets them, or refuses; so they are not asked for.
* crun refuses machines where both versions of control groups are mounted; runc does not.
* Its builds take no heed of Docker's ``networkmode=none``, and would have the user's network: :func:`build_parameters`.
* Its read-only containers can write to ``/run`` and ``/var/tmp``, in memory and without end: :data:`SCRATCH`.

Tried with Podman 4.3.1 of Debian 12. Sources: podman-system-service(1), containers.conf(5), containers-storage.conf(5),
containers-registries.conf(5), podman issues 6798 (limits without control groups) and 25881 (limits of resources).
"""

from __future__ import annotations

import getpass
import json
import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import ceiling, cgroup, files, process
from harness.platforms import namespaces
from harness.platforms.engine_processes import Places

#: Folders of a container that are in memory beside ``/tmp``, and how many bytes they hold.
SCRATCH = {"/run": 16 * 2**20, "/var/tmp": 16 * 2**20}  # noqa: S108 -- inside

_LOG_BYTES = 2**20
_INFO = "/v4.0.0/libpod/info"
_SUBORDINATE = ("/etc/subuid", "/etc/subgid")
#: Either of the programs for networks has to be there, although no container here has one.
_NETWORKING = (
    *(f"/usr/{folder}/podman/netavark" for folder in ("lib", "libexec", "local/lib", "local/libexec")),
    *("/usr/lib/cni", "/opt/cni/bin"),
)
_POLICY = "/etc/containers/policy.json"


# --- starting it ---------------------------------------------------------------------------------


def lacking(program: str | None) -> list[str]:
    """What has to be done before this user can start one; ``program`` is podman's, None where there is none."""
    packages = [] if program else ["podman"]
    packages += [] if all(map(shutil.which, ("newuidmap", "newgidmap"))) else ["uidmap"]
    packages += [] if any(map(os.path.exists, _NETWORKING)) else ["netavark"]
    packages += ["runc"] if _runtime() == "runc" and not shutil.which("runc") else []
    packages += [] if not program or os.path.exists(_POLICY) else ["golang-github-containers-common"]
    found = [f"as root: apt-get install {' '.join(packages)}"] if packages else []
    if not all(map(_has_range, _SUBORDINATE)):
        user = getpass.getuser()
        found.append(f"as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}")
    if namespaces.check():
        found.append(namespaces.REMEDY)
    return found


def _has_range(file: str) -> bool:
    """Whether the file gives this user numbers of others (subuid(5)), or another source may (nsswitch.conf)."""
    try:
        names = {line.split(":")[0] for line in Path(file).read_text().splitlines()}
    except OSError:
        names = set()
    return bool(names & {getpass.getuser(), str(os.getuid())}) or _asked_elsewhere()


def _asked_elsewhere() -> bool:
    try:
        return any(line.startswith("subid:") for line in Path("/etc/nsswitch.conf").read_text().splitlines())
    except OSError:
        return False


def _runtime() -> str:
    """The program that makes containers; empty for Podman's own choice."""
    both = (cgroup.ROOT / "unified").is_dir() and not (cgroup.ROOT / "cgroup.controllers").is_file()
    return "runc" if both else ""


def prepare(places: Places) -> None:
    """Write its settings, and forget the containers of an engine whose runtime folder lay elsewhere."""
    files.remove(_scratch(places), ignore_errors=True)  # what builds that were killed left
    _scratch(places).mkdir()
    for file, text in _settings(places).items():
        file.write_text(text)
    seen = places.folder / "runtime"
    if seen.is_file() and seen.read_text() != str(places.runtime):
        files.remove(places.data / "libpod", ignore_errors=True)  # it refuses to go on with that
    seen.write_text(str(places.runtime))


def _settings(places: Places) -> dict[Path, str]:
    runtime = _runtime()
    containers = [
        "[containers]",
        f"log_size_max = {_LOG_BYTES}",
        "[engine]",
        'events_logger = "file"',
        f"image_copy_tmp_dir = {json.dumps(str(_scratch(places)))}",
        *([f'runtime = "{runtime}"'] if runtime else []),
    ]
    storage = [
        "[storage]",
        'driver = "overlay"',
        f"graphroot = {json.dumps(str(places.data))}",
        f"runroot = {json.dumps(str(places.runtime / 'run'))}",
    ]
    # Our own registry has no certificate, and is reached on the loopback alone.
    registries = ['unqualified-search-registries = ["docker.io"]', "[[registry]]", 'location = "127.0.0.1"']
    registries += ["insecure = true"]
    return {
        _file(places, name): "\n".join([*lines, ""])
        for name, lines in (("containers", containers), ("storage", storage), ("registries", registries))
    }


def _scratch(places: Places) -> Path:
    """Where it unpacks what is sent to it."""
    return places.folder / "tmp"


def _file(places: Places, name: str) -> Path:
    return places.folder / f"{name}.conf"


def command(places: Places, program: str) -> list[str]:
    """The command line of its service, which tells it from every other.

    The shell writes the process id, and bounds the memory of each process: whatever a build runs inherits that.
    """
    memory_kib = ceiling.memory().value * 1024
    script = f'ulimit -d {memory_kib}; echo $$ > {shlex.quote(str(places.pid_file))}; exec "$@"'
    options = ["--root", str(places.data), "--runroot", str(places.runtime / "run"), "--tmpdir", str(places.execution)]
    service = ["system", "service", "--time=0", places.url]
    return ["/bin/sh", "-c", script, "sh", program, *options, *service]


def environment(places: Places) -> dict[str, str]:
    """Its environment: its own settings, and systemd's bus, by which it gets the control groups that users may have."""
    found = process.network_environment(_scratch(places), XDG_RUNTIME_DIR=str(places.runtime))
    found |= {
        f"CONTAINERS_{variable}": str(_file(places, name))
        for variable, name in (("CONF", "containers"), ("STORAGE_CONF", "storage"), ("REGISTRIES_CONF", "registries"))
    }
    bus = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}", "bus")
    return {**found, **({"DBUS_SESSION_BUS_ADDRESS": f"unix:path={bus}"} if bus.exists() else {})}


# --- asking it -----------------------------------------------------------------------------------


def answers_as_podman(info: Mapping[str, Any]) -> bool:
    """Whether what an engine says of itself is Podman's word."""
    return "BuildahVersion" in info


def controllers(client: Any) -> tuple[str, ...]:
    """The controllers by which it bounds containers (``memory``, ``pids``, ``cpu``); of Docker's API it says all."""
    told = client.get(client.base_url + _INFO).json()
    return tuple(map(str, told.get("host", {}).get("cgroupControllers") or ()))


def build_parameters() -> dict[str, str]:
    """What a build is asked for besides, so that it has a network namespace of its own and nothing in it."""
    return {"nsoptions": json.dumps([{"Name": "network", "Host": False}]), "networkmode": "NetworkDisabled"}
