"""Reaching a Docker engine by its URL: who listens there, and what it says of itself."""

from __future__ import annotations

import functools
import os
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from harness.platforms import podman

Kind = Literal["reachable", "private"]

_PING_S = 3
_PEER = struct.Struct("3i")  # process, user, group: unix(7)
#: Memory, processes and processors: what containers are bounded in.
ALL_CONTROLLERS = ("memory", "pids", "cpu")
ANSWER_S = 900  # a build step may be silent for as long as it takes to install a large model's packages


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine that answers. ``url`` is its socket; ``data_root`` is a folder on the engine's own host.

    ``rootless`` is one that an ordinary user runs: root in its containers is that user, on the host. ``controllers``
    are those of control groups by which it bounds containers.
    """

    url: str
    kind: Kind
    version: str
    storage_driver: str
    data_root: Path
    cgroup_version: str
    cgroup_driver: str
    software: Literal["Docker", "Podman"] = "Docker"
    rootless: bool = False
    controllers: tuple[str, ...] = ALL_CONTROLLERS

    @property
    def described(self) -> str:
        """What reports call it."""
        named = self.version if self.software == "Docker" else f"{self.software} {self.version}"
        return f"{self.kind} {named}{', rootless' if self.rootless else ''}"

    @property
    def unbounded(self) -> str:
        """What of its containers it can't bound, in a reader's words; empty where it bounds all."""
        lacking = {
            "memory is bounded process by process": "memory",
            "processes are counted together with the engine's own": "pids",
            "processors are not bounded": "cpu",
        }
        return "; ".join(words for words, controller in lacking.items() if controller not in self.controllers)

    @property
    def socket(self) -> Path | None:
        """The Unix socket it listens on; None for an engine that is reached over a network."""
        parts = urlsplit(self.url)
        return Path(parts.path) if parts.scheme == "unix" else None


def reach(url: str, kind: Kind) -> Engine | str:
    """The engine at ``url``, or why it can't be used."""
    name = "the private engine" if kind == "private" else url.removeprefix("unix://")
    # Asked for plainly first: docker-py takes its time to load, and leaves a refused socket open.
    try:
        listener(url, own=kind == "private")
    except FileNotFoundError:
        return f"{name} is not running" if kind == "private" else f"there is no {name}"
    except PermissionError:
        return f"{name} may not be used by this user"
    except OSError:
        return f"{name} does not answer"
    import docker.errors
    import requests

    try:
        asked = client(url, _PING_S)
        return described(url, kind, asked.info(), functools.partial(podman.controllers, asked))
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError, ImportError):
        return f"{name} does not answer"


def listener(url: str, *, own: bool = False) -> int:
    """The process that listens at ``url``, 0 where that can't be known; OSError where nobody does.

    PermissionError where it has to be our ``own`` and another user listens: sockets may lie where anybody writes.
    """
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PING_S)
        probe.connect(parts.path)
        told = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    pid, user, _ = _PEER.unpack(told)
    if own and user != os.geteuid():
        raise PermissionError(f"user {user} listens at {url}")
    return int(pid)


def described(url: str, kind: Kind, info: dict[str, Any], controllers: Callable[[], Sequence[str]] = tuple) -> Engine:
    """The record of what an engine says of itself; ``controllers`` asks a rootless Podman for those that it has."""
    is_podman = podman.answers_as_podman(info)
    # Podman's word, and Docker's.
    rootless = bool(info.get("Rootless")) or "name=rootless" in (info.get("SecurityOptions") or ())
    keys = {"memory": "MemoryLimit", "pids": "PidsLimit", "cpu": "CpuCfsQuota"}
    told = controllers() if is_podman and rootless else [name for name, key in keys.items() if info.get(key, True)]
    return Engine(
        url=url,
        kind=kind,
        version=str(info.get("ServerVersion", "")),
        storage_driver=str(info.get("Driver", "")),
        data_root=Path(info.get("DockerRootDir") or "/var/lib/docker"),
        cgroup_version=f"v{info.get('CgroupVersion', '1')}",
        cgroup_driver=str(info.get("CgroupDriver", "")),
        software="Podman" if is_podman else "Docker",
        rootless=rootless,
        controllers=tuple(name for name in ALL_CONTROLLERS if name in told),
    )


def _address(url: str) -> dict[str, Any]:
    import docker.utils

    if url == os.environ.get("DOCKER_HOST"):
        return dict(docker.utils.kwargs_from_env())  # with the certificates of DOCKER_CERT_PATH
    return {"base_url": url}


@lru_cache(maxsize=8)
def client(url: str, timeout_s: int = ANSWER_S) -> Any:
    """docker-py's low-level client, made once for each URL and patience."""
    import docker

    return docker.APIClient(version="auto", timeout=timeout_s, **_address(url))
