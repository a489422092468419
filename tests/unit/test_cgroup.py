"""Control groups of both versions, on a made-up tree of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import cgroup

V1 = ("memory", "cpuacct", "cpu", "pids")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ``/sys/fs/cgroup``."""
    found = tmp_path / "cgroup"
    found.mkdir()
    monkeypatch.setattr(cgroup, "ROOT", found)
    return found


@pytest.fixture
def v1(root: Path) -> Path:
    """Version 1: a hierarchy for each controller."""
    for controller in V1:
        (root / controller).mkdir()
    return root


@pytest.fixture
def v2(root: Path) -> Path:
    """Version 2: one hierarchy, its controllers handed down."""
    (root / "cgroup.controllers").write_text("cpu memory pids")
    (root / "cgroup.subtree_control").write_text("cpu memory pids")
    return root


def made(name: str = "g") -> cgroup.Group:
    """A new group."""
    found = cgroup.create(name)
    assert found is not None
    return found


def put(folder: Path, **files: str) -> None:
    """Files as the kernel makes them in a new group; ``__`` stands for a dot."""
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def read(folder: Path) -> dict[str, str]:
    """The files of a folder."""
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_without_control_groups_there_is_no_group(root: Path) -> None:
    """Nothing is made where nothing can be."""
    assert cgroup.version() is None
    assert cgroup.create("g") is None


def test_version_2_needs_the_memory_controller(v2: Path) -> None:
    """Where the controllers are not handed down, memory could not be measured."""
    assert cgroup.version() == "v2"
    (v2 / "cgroup.subtree_control").write_text("cpu")
    assert cgroup.version() is None


def test_limits_of_version_2(v2: Path) -> None:
    """Memory, swap, CPU share and processes are written in the kernel's form."""
    group = made()
    put(v2 / "g", memory__max="max", memory__swap__max="max", cpu__max="max 100000", pids__max="max")
    group.limit(memory_bytes=2**20, cpus=1.5, pids=7)
    assert read(v2 / "g") == {
        "memory.max": "1048576",
        "memory.swap.max": "0",
        "cpu.max": "150000 100000",
        "pids.max": "7",
    }


def test_limits_of_version_1(v1: Path) -> None:
    """Each controller has its own folder and its own files."""
    group = made()
    assert set(group.folders) == set(V1)
    put(v1 / "memory" / "g", memory__limit_in_bytes="", memory__memsw__limit_in_bytes="")
    put(v1 / "cpu" / "g", cpu__cfs_period_us="", cpu__cfs_quota_us="")
    put(v1 / "pids" / "g", pids__max="")
    group.limit(memory_bytes=2**20, cpus=0.5, pids=7)
    assert set(read(v1 / "memory" / "g").values()) == {"1048576"}
    assert read(v1 / "cpu" / "g") == {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}
    assert read(v1 / "pids" / "g") == {"pids.max": "7"}


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_an_open_limit_is_not_written(kind: str, request: pytest.FixtureRequest) -> None:
    """None leaves a limit as it is, and so does a file that the kernel does not have."""
    root = request.getfixturevalue(kind)
    group = made()
    folders = list(group.folders.values())
    put(folders[0], memory__max="max", memory__limit_in_bytes="max")
    group.limit(memory_bytes=None, cpus=None, pids=None)
    assert set(read(folders[0]).values()) == {"max"}
    group.limit(memory_bytes=5, cpus=1.0, pids=1)
    assert {"memory.max", "memory.limit_in_bytes"} == set(read(folders[0]))
    assert root in folders[0].parents


def test_usage_of_version_2(v2: Path) -> None:
    """Peak, anonymous memory, and CPU in seconds."""
    group = made()
    put(v2 / "g", memory__peak="4096\n", memory__stat="anon 1024\nfile 3072\n", cpu__stat="usage_usec 2500000\nx 1\n")
    assert group.usage() == cgroup.GroupUsage(peak_memory_bytes=4096, anonymous_bytes=1024, cpu_s=2.5)


def test_usage_of_version_1(v1: Path) -> None:
    """The same from version 1's files; CPU is in nanoseconds there."""
    group = made()
    put(v1 / "memory" / "g", memory__max_usage_in_bytes="4096", memory__stat="cache 1\ntotal_rss 1024\n")
    put(v1 / "cpuacct" / "g", cpuacct__usage="2500000000")
    assert group.usage() == cgroup.GroupUsage(peak_memory_bytes=4096, anonymous_bytes=1024, cpu_s=2.5)


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_what_the_kernel_does_not_count_is_none(kind: str, request: pytest.FixtureRequest) -> None:
    """A missing or unreadable counter is said to be missing, never filled in."""
    request.getfixturevalue(kind)
    group = made()
    unknown = cgroup.GroupUsage(peak_memory_bytes=None, anonymous_bytes=None, cpu_s=None)
    assert group.usage() == unknown
    assert cgroup.Group(version="v1", folders={}).usage() == unknown
    for folder in group.folders.values():
        put(folder, memory__peak="?", memory__max_usage_in_bytes="?", cpuacct__usage="?", cpu__stat="usage_usec ?")
    assert group.usage() == unknown


def test_running_out_of_memory_is_seen(v2: Path, tmp_path: Path) -> None:
    """The kernel's own count of kills decides, in both versions."""
    group = made()
    assert not group.oom_killed()
    put(v2 / "g", memory__events="oom 1\noom_kill 0\n")
    assert not group.oom_killed()
    put(v2 / "g", memory__events="oom 1\noom_kill 2\n")
    assert group.oom_killed()
    old = cgroup.Group(version="v1", folders={"memory": tmp_path})
    assert not old.oom_killed()
    put(tmp_path, memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    assert old.oom_killed()
    assert not cgroup.Group(version="v1", folders={}).oom_killed()


def test_a_process_enters_every_hierarchy(v1: Path) -> None:
    """``0`` stands for the process that writes it."""
    group = made()
    group.enter()
    assert [(v1 / controller / "g" / "cgroup.procs").read_text() for controller in V1] == ["0"] * 4


def test_a_group_ends_with_every_process_in_it(v1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process is killed until the folders can be removed; one that is gone already does not matter."""
    group = made()
    put(v1 / "memory" / "g", cgroup__procs="123456\n123457\n")
    killed: list[tuple[int, int]] = []

    def kill(pid: int, signal: int) -> None:
        killed.append((pid, signal))
        (v1 / "memory" / "g" / "cgroup.procs").unlink(missing_ok=True)
        raise ProcessLookupError

    monkeypatch.setattr(os, "kill", kill)
    group.kill_and_remove()
    assert killed == [(123456, 9), (123457, 9)]
    assert not any(folder.exists() for folder in group.folders.values())
    group.kill_and_remove()


def test_a_group_that_cannot_be_removed_is_given_up(v2: Path) -> None:
    """After its patience is over, the harness goes on."""
    group = made()
    put(v2 / "g", stays="")
    group.kill_and_remove(patience_s=0.0)
    assert (v2 / "g").is_dir()


def test_a_group_is_made_whole_or_not_at_all(v1: Path) -> None:
    """Where one hierarchy refuses, none of the others keeps a folder."""
    (v1 / "pids" / "g").write_text("in the way")
    assert cgroup.create("g") is None
    assert not (v1 / "memory" / "g").exists()


def test_the_group_of_a_process_is_found(root: Path) -> None:
    """By what the kernel says of the process, as far as its folders can be seen."""
    assert cgroup.of_process(os.getpid()) is None
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            (root / controller / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
    found = cgroup.of_process(os.getpid())
    assert found is None or (found.version == "v1" and all(root in folder.parents for folder in found.folders.values()))
    assert cgroup.of_process(2**22 + 1) is None


def test_settling_moves_this_process_to_where_it_is_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a group that lists it is written to; one that it only seems to be in is left alone."""
    own = os.getpid()
    for name, pids in (("elsewhere", f"{own + 1}\n"), ("here", f"1\n{own}\n"), ("too", f"{own}\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").write_text(pids)
    folders = {name: tmp_path / name for name in ("elsewhere", "here", "too")}
    monkeypatch.setattr(cgroup, "of_process", lambda _: cgroup.Group(version="v1", folders=folders))
    cgroup.settle()
    assert [(tmp_path / name / "cgroup.procs").read_text() for name in folders] == [
        f"{own + 1}\n",
        f"{own}",
        f"{own}\n",
    ]
    monkeypatch.setattr(cgroup, "of_process", lambda _: None)
    cgroup.settle()
