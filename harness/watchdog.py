"""Cleans up after a harness that was killed: run as a process of its own, standard library only.

The harness writes one JSON object a line to this process's standard input: ``{"id": N, "do": ...}``
for something that must not outlive it, ``{"id": N}`` once it is gone. When the pipe closes, which
it does even on SIGKILL, whatever is still listed is ended, newest first.
"""

from __future__ import annotations

import contextlib
import ctypes
import http
import http.client
import importlib.util
import json
import os
import signal
import socket
import sys
import time
from types import ModuleType


def _beside(name: str) -> ModuleType:
    """The module in the file beside this one: run as a file of its own, the watchdog has no package."""
    spec = importlib.util.spec_from_file_location(name, os.path.join(os.path.dirname(__file__), f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# At once: when the harness was killed, its files may be gone as well.
removal = _beside("removal")

_BEING_MADE_S = 5.0
_DYING_S = 5.0
_MNT_DETACH = 2


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(20)
        self.sock.connect(self._path)


def end_process_group(pgid: int) -> None:
    """Kill every process of the group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pgid, signal.SIGKILL)


def end_control_group(folders: list[str]) -> None:
    """Kill every process in the control group's folders, then remove them."""
    deadline = time.monotonic() + 5
    for folder in folders:
        while os.path.isdir(folder) and time.monotonic() < deadline:
            with contextlib.suppress(OSError), open(os.path.join(folder, "cgroup.procs")) as file:
                for pid in file.read().split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.rmdir(folder)
            time.sleep(0.01)


def end_container(engine_socket: str, name: str) -> None:
    """Remove the container from the engine that listens on ``engine_socket``.

    It is looked for again for a while where it is not there: the engine may still be making it.
    """
    deadline = time.monotonic() + _BEING_MADE_S
    with contextlib.suppress(OSError, http.client.HTTPException):
        while time.monotonic() < deadline:
            connection = _UnixConnection(engine_socket)
            connection.request("DELETE", f"/containers/{name}?force=1&v=1")
            answer = connection.getresponse()
            answer.read()
            connection.close()
            if answer.status < http.HTTPStatus.BAD_REQUEST:
                return
            time.sleep(0.1)


def remove_folder(path: str) -> None:
    """Delete the folder and everything in it.

    What was mounted below it by a Docker engine that was killed is unmounted, and what still writes there while it
    is dying is waited for.
    """
    deadline = time.monotonic() + _DYING_S
    while os.path.isdir(path):
        unmount_below(path)
        removal.remove(path)
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


def unmount_below(path: str) -> None:
    """Detach every mount below ``path``, the last first."""
    with contextlib.suppress(OSError), open("/proc/self/mounts") as file:
        places = [line.split()[1].encode().decode("unicode_escape") for line in file]
        for place in reversed(places):
            if place.startswith(f"{path}/"):
                ctypes.CDLL(None).umount2(os.fsencode(place), _MNT_DETACH)


def end(what: dict[str, object]) -> None:
    """Carry out one entry."""
    match what:
        case {"process_group": int(pgid)}:
            end_process_group(pgid)
        case {"control_group": list(folders)}:
            end_control_group([str(folder) for folder in folders])
        case {"container": str(name), "engine": str(engine)}:
            end_container(engine, name)
        case {"folder": str(path)}:
            remove_folder(path)
        case {"file": str(path)}:
            with contextlib.suppress(OSError):
                os.unlink(path)


def main() -> None:
    """Read entries until the pipe closes, then end what is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    left: dict[int, dict[str, object]] = {}
    for line in sys.stdin:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # cut off: the harness died while it wrote; what is listed already still has to be ended
        if "do" in entry:
            left[entry["id"]] = entry["do"]
        else:
            left.pop(entry["id"], None)
    for _, what in sorted(left.items(), reverse=True):
        end(what)


if __name__ == "__main__":
    main()
