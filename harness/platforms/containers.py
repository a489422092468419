"""Containers: started in bounds, stamped, watched, and gone afterwards whatever happens.

A container has no network, a read-only root, a bounded ``/tmp``, no capabilities, no way to new
privileges, an unprivileged user, and bounds on memory (swap included), processes and CPUs.

In a rootless engine that user is root without capabilities, which is who runs the engine. Where such an engine has no
control groups to bound memory and processes with, each process is bounded, from outside, the moment it runs. CPUs are
not bounded then (:attr:`harness.platforms.engine_reach.Engine.unbounded`).
"""

from __future__ import annotations

import calendar
import contextlib
import re
import resource
import secrets
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import cgroup, process
from harness.errors import BuildFailure
from harness.platforms import host, podman
from harness.platforms.engine import Engine, asking, client
from harness.sandbox import UNPRIVILEGED_ID

#: On every container of ours.
LABEL = "ml-packaging-harness"

_TMPFS_BYTES = 256 * 2**20
_LOG_BYTES = "1m"
_TAIL_LINES = 200
_BY_SIGNAL, _LAST_SIGNAL = 128, 64
_EVENTS_APART_S = 1.0
_ENGINES_PROCESSES = 128  # processes and threads of a rootless engine itself


@dataclass(frozen=True, kw_only=True)
class ContainerHandle:
    """A started container. Stamps are seconds on the system-wide monotonic clock.

    ``spawned_s`` is taken just before the engine is asked, ``created_s`` when the container exists,
    ``sandbox_s`` when its process runs. The last is the engine's wall-clock ``State.StartedAt`` (in
    nanoseconds; the engine sets it when its runtime has returned from starting the process, so it is some
    milliseconds late), moved to the monotonic clock by the difference of the two clocks taken at once.
    ``pid`` is the process's number on the host, 0 if the engine is elsewhere.
    """

    engine: Engine
    id: str
    name: str
    spawned_s: float
    created_s: float
    sandbox_s: float
    pid: int
    group: cgroup.Group | None

    def exit_code(self) -> int | None:
        """The exit code (negative: the signal that ended it); None while it runs."""
        state = self._state()
        return None if state.get("Running") else signed_exit_code(int(state.get("ExitCode", 0)))

    def output(self) -> str:
        """The end of what it printed, both streams."""
        with asking(self.engine, f"reading what {self.name} printed") as asked:
            said: bytes = asked.logs(self.id, stdout=True, stderr=True, tail=_TAIL_LINES)
        return said.decode(errors="replace")

    def oom_killed(self) -> bool:
        """Whether the kernel ended something of it for lack of memory."""
        if self.group is not None and self.group.oom_killed():
            return True
        # With the last process the group is gone, and the engine hears of a kill for memory by another event than of
        # the end, which may come a little later.
        deadline = time.monotonic() + _EVENTS_APART_S
        while not (state := self._state()).get("OOMKilled"):
            killed = not state.get("Running") and signed_exit_code(int(state.get("ExitCode", 0))) == -signal.SIGKILL
            if not killed or time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def wait(self, timeout_s: float) -> int | None:
        """Wait until it ends; its exit code, or None if it has not ended by then."""
        deadline = time.monotonic() + timeout_s
        while (code := self.exit_code()) is None and time.monotonic() < deadline:
            time.sleep(0.02)
        return code

    def group_usage(self) -> tuple[cgroup.GroupUsage, str]:
        """What it used so far, and the source of it."""
        if self.group is not None:
            return self.group.usage(), f"cgroup-{self.group.version}"
        if self.engine.rootless and self.pid and "memory" not in self.engine.controllers:
            return host.used_by(self.pid), "psutil"
        with asking(self.engine, f"reading what {self.name} used") as asked:
            return usage_of_stats(asked.stats(self.id, stream=False, one_shot=True)), "docker-stats"

    def _state(self) -> dict[str, Any]:
        with asking(self.engine, f"looking after {self.name}") as asked:
            found: dict[str, Any] = asked.inspect_container(self.id)["State"]
        return found


@contextmanager
def running(
    engine: Engine,
    image: str,
    *,
    command: Sequence[str] | None = None,
    entrypoint: Sequence[str] | None = None,
    mounts: Mapping[Path, str] | None = None,
    shown: Mapping[Path, str] | None = None,
    env: Mapping[str, str] | None = None,
    memory_bytes: int,
    processes: int,
    cpus: float | None = None,
    user: str = f"{UNPRIVILEGED_ID}:{UNPRIVILEGED_ID}",
    tmpfs_bytes: int = _TMPFS_BYTES,
    network: str = "none",
) -> Iterator[ContainerHandle]:
    """Start ``image`` in bounds; the container is gone afterwards, also when the harness is killed.

    ``mounts`` are folders of this host that it may write to, ``shown`` such that it may only read, each with its
    place inside. BuildFailure if the image can't be started (no such program, say).
    """
    name = f"mlph-{secrets.token_hex(6)}"
    groups = engine.controllers
    settings = {
        "image": image,
        "name": name,
        "command": list(command) if command is not None else None,
        "entrypoint": list(entrypoint) if entrypoint is not None else None,
        "environment": dict(env or {}),
        "user": "0:0" if engine.rootless else user,
        "labels": {LABEL: "1"},
        "host_config": client(engine).create_host_config(
            **bounds(
                mounts=mounts or {},
                shown=shown or {},
                memory_bytes=memory_bytes if "memory" in groups else None,
                processes=processes if "pids" in groups else None,
                cpus=cpus if "cpu" in groups else None,
                scratch={"/tmp": tmpfs_bytes, **(podman.SCRATCH if engine.software == "Podman" else {})},  # noqa: S108
                network=network,
            )
        ),
    }
    # Told before it exists, by its name: a harness killed in between leaves nothing.
    guard = process.guarded(container=name, engine=str(engine.socket)) if engine.socket else contextlib.nullcontext()
    with guard as gone:
        try:
            yield _start(engine, name, settings, memory_bytes=memory_bytes, processes=processes)
        finally:
            with process.uninterrupted():
                _remove(engine, name)
                if gone is not None:
                    gone()


def bounds(
    *,
    mounts: Mapping[Path, str],
    shown: Mapping[Path, str],
    memory_bytes: int | None,
    processes: int | None,
    cpus: float | None,
    scratch: Mapping[str, int],
    network: str,
) -> dict[str, Any]:
    """What docker-py's ``create_host_config`` is given: everything that a container may not do.

    None bounds nothing; ``scratch`` are folders in memory and their sizes.
    """
    return {
        "network_mode": network,
        "read_only": True,
        # Programs may be unpacked to /tmp and run from there, as on the host.
        "tmpfs": {place: f"rw,exec,nosuid,nodev,mode=1777,size={size}" for place, size in scratch.items()},
        "binds": {
            str(host): {"bind": inside, "mode": mode}
            for mode, folders in (("rw", mounts), ("ro", shown))
            for host, inside in folders.items()
        },
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "ipc_mode": "private",
        "init": False,
        "pids_limit": processes,
        "mem_limit": memory_bytes,
        "memswap_limit": memory_bytes,
        "nano_cpus": int(cpus * 1e9) if cpus is not None else None,
        "log_config": {"type": "json-file", "config": {"max-size": _LOG_BYTES, "max-file": "1"}},
    }


def _start(
    engine: Engine, name: str, settings: Mapping[str, Any], *, memory_bytes: int, processes: int
) -> ContainerHandle:
    try:
        # A request that is broken off is carried out all the same, maybe after we have removed what was there.
        with process.uninterrupted(), asking(engine, f"starting a container of {settings['image']}") as asked:
            spawned_s = time.monotonic()
            made = asked.create_container(**settings)["Id"]
            created_s = time.monotonic()
            asked.start(made)
            returned_s = time.monotonic()
            clock_offset_s = time.time() - time.monotonic()
            state = asked.inspect_container(made)["State"]
    except BuildFailure as error:
        raise BuildFailure(f"the image {settings['image']} can't be started", log=error.log) from error
    pid = int(state.get("Pid", 0)) if engine.socket else 0
    if pid:
        _bound_process(pid, engine, memory_bytes=memory_bytes, processes=processes)
    started_s = parse_time(state["StartedAt"]) - clock_offset_s if engine.socket else returned_s
    return ContainerHandle(
        engine=engine,
        id=made,
        name=name,
        spawned_s=spawned_s,
        created_s=created_s,
        # A clock that was set in between, or an engine in a virtual machine, must not turn the order round.
        sandbox_s=min(max(started_s, created_s), returned_s),
        pid=pid,
        group=_group_of(pid, made),
    )


def _bound_process(pid: int, engine: Engine, *, memory_bytes: int, processes: int) -> None:
    """Bound the container's first process, and whatever it starts, by what no control group bounds."""
    wanted = {
        resource.RLIMIT_DATA: ("memory", memory_bytes),
        # The kernel counts all of the user's in the engine's user namespace: the engine's own as well.
        resource.RLIMIT_NPROC: ("pids", processes + _ENGINES_PROCESSES),
    }
    for kind, (controller, most) in wanted.items():
        if engine.rootless and controller not in engine.controllers:
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                resource.prlimit(pid, kind, (most, most))


def _group_of(pid: int, container_id: str) -> cgroup.Group | None:
    """The container's control group; None where it can't be seen, or where the process has ended already."""
    group = cgroup.of_process(pid) if pid else None
    if group is None or not all(container_id in str(folder) for folder in group.folders.values()):
        return None
    return group


def _remove(engine: Engine, name: str) -> None:
    with asking(engine, f"removing the container {name}", absent_ok=True) as asked:
        asked.remove_container(name, force=True, v=True)


def signed_exit_code(code: int) -> int:
    """An engine reports a process killed by signal N as 128 + N; here that is -N, as in Python."""
    return _BY_SIGNAL - code if _BY_SIGNAL < code <= _BY_SIGNAL + _LAST_SIGNAL else code


def parse_time(text: str) -> float:
    """Seconds since 1970 of the engine's ``2026-01-31T12:00:00.123456789Z``; Podman's is in its own time zone."""
    found = re.fullmatch(r"(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)(\.\d+)?(?:Z|([+-]\d\d):(\d\d))", text)
    if found is None:
        raise ValueError(f"not a time of the engine: {text!r}")
    whole = calendar.timegm(tuple(int(part) for part in found.groups()[:6]))
    hours = found.group(8) or "+00"
    east = int(hours) * 3600 + int(f"{hours[0]}{found.group(9) or 0}") * 60
    return whole - east + float(found.group(7) or 0)


def usage_of_stats(stats: Mapping[str, Any]) -> cgroup.GroupUsage:
    """What the engine's ``stats`` say; a peak is there only under control groups version 1."""
    memory = stats.get("memory_stats", {})
    cpu_ns = stats.get("cpu_stats", {}).get("cpu_usage", {}).get("total_usage")
    detail = memory.get("stats", {})
    return cgroup.GroupUsage(
        peak_memory_bytes=memory.get("max_usage"),
        anonymous_bytes=detail.get("total_rss", detail.get("anon")),
        cpu_s=cpu_ns / 1e9 if cpu_ns is not None else None,
    )
