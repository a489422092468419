"""Everything that a harness with one cache can leave on this machine, found from outside."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests

_GROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, kw_only=True)
class Traces:
    """What is there of the harness whose cache is ``cache``, named by ``key`` in what the whole machine shares.

    ``watched`` are folders in which nothing unfinished may lie once nobody works there.
    """

    cache: Path
    key: str
    watched: tuple[Path, ...]

    @property
    def runtime(self) -> Path:
        """The sockets of the private engine."""
        return Path("/run") / f"ml-packaging-harness-{self.key}"

    def now(self) -> frozenset[str]:
        """A line for each process, control group, mount, loop device, container, dangling image and temporary file."""
        found = (*self._processes(), *self._groups(), *self._mounts(), *self._loops(), *self._in_engine())
        return frozenset((*found, *self._files()))

    def since(self, before: frozenset[str], *, patience_s: float) -> list[str]:
        """What is there and was not there before, given some time to go away."""
        deadline = time.monotonic() + patience_s
        while True:
            left = sorted(self.now() - before)
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.25)

    def watchdogs_of(self, pid: int) -> list[int]:
        """The watchdogs among the children of the process."""
        return [
            one
            for one in _pids()
            if _parent(one) == pid and b"/harness/watchdog.py" in _content(Path(f"/proc/{one}/cmdline"))
        ]

    def clean(self, lines: list[str]) -> None:
        """Remove by hand what was left, so that what follows is not blamed for it."""
        for line in lines:
            kind, _, what = line.partition(": ")
            with contextlib.suppress(OSError):
                if kind == "process":
                    os.kill(int(what.split()[0]), signal.SIGKILL)
                elif kind == "mount":
                    subprocess.run(["umount", "--lazy", what], check=False)
                elif kind == "loop device":
                    subprocess.run(["losetup", "--detach", what.split()[0]], check=False)
                elif kind in ("container", "image"):
                    self._remove_from_engine(kind, what.split()[0])
        for line in lines:
            kind, _, what = line.partition(": ")
            with contextlib.suppress(OSError):
                if kind == "control group":
                    time.sleep(0.1)
                    Path(what).rmdir()
                elif kind == "file":
                    shutil.rmtree(what) if Path(what).is_dir() else Path(what).unlink()

    def _remove_from_engine(self, kind: str, name: str) -> None:
        with contextlib.suppress(docker.errors.DockerException, requests.RequestException), self._asking() as asked:
            remove = asked.remove_container if kind == "container" else asked.remove_image
            remove(name, force=True)

    def _marks(self) -> tuple[bytes, ...]:
        return (f"{self.cache}/".encode(), f"{self.runtime}/".encode(), f"harness-{self.key}-".encode())

    def _processes(self) -> Iterator[str]:
        ours = {os.getpid(), *_ancestors()}
        for pid in _pids():
            place = Path(f"/proc/{pid}")
            arguments = _content(place / "cmdline")
            known = b"\0".join((arguments, _content(place / "environ"), _content(place / "cgroup"), _root(place)))
            of_ours = any(mark in known for mark in self._marks()) or f"HARNESS_CACHE={self.cache}".encode() in known
            if of_ours and pid not in ours and _state(pid) not in ("", "Z", "X") and not self._is_engine(arguments):
                said = arguments.replace(b"\0", b" ").decode(errors="replace")
                yield f"process: {pid} {_started(pid)} {said[:160]}"

    def _is_engine(self, arguments: bytes) -> bool:
        """Whether it is the private engine itself, which outlives the harness, and may have been started again."""
        name = Path(os.fsdecode(arguments.split(b"\0")[0])).name
        return name in ("dockerd", "containerd") and f"{self.runtime}/".encode() in arguments

    def _groups(self) -> Iterator[str]:
        for parent, folders, _ in os.walk(_GROUPS):
            for name in folders:
                if name.startswith(f"harness-{self.key}-"):
                    yield f"control group: {parent}/{name}"

    def _mounts(self) -> Iterator[str]:
        for line in _content(Path("/proc/self/mountinfo")).decode(errors="replace").splitlines():
            point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), line.split()[4])
            if point.startswith((f"{self.cache}/", f"{self.runtime}/")):
                yield f"mount: {point}"

    def _loops(self) -> Iterator[str]:
        for file in Path("/sys/block").glob("loop*/loop/backing_file"):
            backing = _content(file).decode(errors="replace").strip()
            if backing.startswith(f"{self.cache}/"):
                yield f"loop device: /dev/{file.parts[3]} {backing}"

    def _in_engine(self) -> Iterator[str]:
        """What is in the private engine, where that answers."""
        with contextlib.suppress(docker.errors.DockerException, requests.RequestException), self._asking() as asked:
            for one in asked.containers(all=True):
                yield f"container: {one['Id'][:12]} {' '.join(one['Names'])}"
            for one in asked.images(filters={"dangling": True}):
                yield f"image: {one['Id'][7:19]} without a name"

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Any]:
        client = docker.APIClient(base_url=f"unix://{self.runtime}/docker.sock", version="auto", timeout=60)
        try:
            yield client
        finally:
            client.close()

    def _files(self) -> Iterator[str]:
        yield from (f"file: {path}" for path in (self.cache / "tmp").glob("*"))
        yield from (f"file: {path}" for path in Path("/run").glob(f"*{self.key}*") if path != self.runtime)
        for folder in self.watched:
            yield from (f"file: {path}" for path in folder.rglob("*.part"))
            yield from (f"file: {path}" for path in folder.rglob(".harness-*"))


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _ancestors() -> Iterator[int]:
    pid = os.getppid()
    while pid > 1:
        yield pid
        pid = _parent(pid)


def _fields(pid: int) -> list[str]:
    return _content(Path(f"/proc/{pid}/stat")).decode(errors="replace").rpartition(")")[2].split()


def _state(pid: int) -> str:
    return next(iter(_fields(pid)), "")


def _parent(pid: int) -> int:
    fields = _fields(pid)
    return int(fields[1]) if fields else 0


def _started(pid: int) -> str:
    """When it was started: a number may be given anew."""
    fields = _fields(pid)
    return f"(since {fields[19]})" if fields else ""


def _root(place: Path) -> bytes:
    """The line of a process's root mount: a container's names the folders of its layers."""
    for line in _content(place / "mountinfo").splitlines():
        if line.split()[4] == b"/":
            return line
    return b""


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
