"""How the private engine's daemon is started: program, settings, command line, and what its log says if it fails.

Root starts Docker, an ordinary user Podman (:mod:`harness.platforms.podman`).
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from typing import Any

from harness import process
from harness.errors import CheckFailure, MissingComponent
from harness.platforms import podman
from harness.platforms.engine_processes import Places

_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")

#: What the private engine may do to the machine, in one place. Containers here run with ``--network none``,
#: so there is no default bridge and no packet filter rule. An internal network of its own can still be made,
#: but nothing but the host's routing then keeps it from the outside: for that, set ``iptables`` to True.
SETTINGS: dict[str, Any] = {
    "bridge": "none",
    "iptables": False,
    "ip6tables": False,
    "ip-forward": False,
    "shutdown-timeout": 10,
    # Layers as folders that can be read from the host: newer engines would default to containerd's store.
    "features": {"containerd-snapshotter": False},
}


def program(name: str) -> str | None:
    """Where the program is; None where it is not installed."""
    # An unprivileged user's PATH, and a container's, may lack the sbin folders.
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *_SYSTEM_FOLDERS]))


def remedy_to_start() -> str:
    """What has to be done before a private engine can be started here; empty if nothing."""
    if not _is_root():
        return "; ".join(podman.lacking(program("podman")))
    lacking = []
    if program("dockerd") is None:
        lacking.append("apt-get install docker.io iptables")
    elif not SETTINGS["iptables"]:
        pass  # it is started without packet filter rules and works without iptables' program
    elif program("iptables") is None:
        lacking.append("apt-get install iptables")
    return "; ".join(lacking)


def _is_root() -> bool:
    return os.geteuid() == 0


def prepare(places: Places) -> None:
    """Make the folders and the configuration file; the log begins anew."""
    with process.disk_full_named(places.folder):
        places.data.mkdir(parents=True, exist_ok=True)
        places.folder.chmod(0o711)
        if _is_root():
            places.settings.write_text(json.dumps(SETTINGS, indent=1))
        else:
            podman.prepare(places)
        places.log.unlink(missing_ok=True)
    places.runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = places.runtime.lstat()
    if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):  # below /tmp anybody may have made it
        raise CheckFailure(f"{places.runtime} belongs to another user", remedy="remove it, or set XDG_RUNTIME_DIR")


def command(places: Places) -> list[str]:
    """The daemon's command line, which tells it from every other engine."""
    if not _is_root():
        return podman.command(places, program("podman") or "podman")
    return [
        program("dockerd") or "dockerd",
        *("--config-file", str(places.settings)),
        *("--data-root", str(places.data)),
        *("--exec-root", str(places.execution)),
        *("--pidfile", str(places.pid_file)),
        *("--host", places.url),
    ]


def environment(places: Places) -> dict[str, str]:
    """The daemon's environment."""
    # Proxies and certificates pass through: the engine is what pulls images.
    if not _is_root():
        return podman.environment(places)
    return process.network_environment(places.runtime)


def did_not_start(places: Places) -> MissingComponent:
    """What to raise where the daemon did not start: what its log says, and what to do."""
    try:
        lines = places.log.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    said = [line for line in lines if "failed" in line or "level=error" in line or "level=fatal" in line] or lines
    text = "".join(f"\n    {line[:300]}" for line in said[-4:])
    rights = "the rights of 'docker run --privileged'" if _is_root() else "user namespaces, and all of /proc"
    return MissingComponent(
        f"the private engine did not start{text}", remedy=f"read {places.log}; in a container it needs {rights}"
    )
