"""Podman for an ordinary user: what is told where it can't be had, and what it is asked otherwise than Docker."""

from __future__ import annotations

import json
import os
import resource
import stat
from pathlib import Path
from typing import Any

import pytest

from harness import ceiling, cgroup
from harness.errors import CheckFailure, MissingComponent
from harness.methods import imaging
from harness.platforms import (
    builds,
    containers,
    engine,
    engine_processes,
    engine_reach,
    engine_setup,
    namespaces,
    podman,
)
from harness.platforms.engine_processes import Places
from harness.platforms.engine_reach import Engine

#: What a rootless Podman 4.3.1 says of itself, cut short.
INFO = {
    "ServerVersion": "4.3.1",
    "Driver": "overlay",
    "BuildahVersion": "1.28.2",
    "Rootless": True,
    "MemoryLimit": True,
}


@pytest.fixture(autouse=True)
def ordinary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user on a machine that has all."""
    for name, ids in (("subuid", "somebody:100000:65536\n"), ("subgid", "somebody:100000:65536\n"), ("policy", "{}")):
        (tmp_path / name).write_text(ids)
    monkeypatch.setattr(podman, "_SUBORDINATE", (str(tmp_path / "subuid"), str(tmp_path / "subgid")))
    monkeypatch.setattr(podman, "_POLICY", str(tmp_path / "policy"))
    monkeypatch.setattr(podman, "_NETWORKING", (str(tmp_path),))
    monkeypatch.setattr(podman, "_asked_elsewhere", lambda: False)
    monkeypatch.setattr(podman.getpass, "getuser", lambda: "somebody")
    monkeypatch.setattr(podman.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(engine_setup, "_is_root", lambda: False)
    monkeypatch.setattr(engine_setup, "program", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(namespaces, "check", lambda: "")
    monkeypatch.setattr(cgroup, "ROOT", tmp_path / "cgroup")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Of an engine that does not run."""
    return Places(folder=tmp_path / "engine", runtime=tmp_path / "run")


def rootless(*controllers: str) -> Engine:
    """A rootless Podman to which the system delegates these control groups."""
    return engine_reach.described("unix:///x", "private", INFO, lambda: controllers)


def test_nothing_is_lacking_where_all_is_there() -> None:
    assert engine_setup.remedy_to_start() == ""


def test_each_thing_that_is_lacking_has_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages, numbers of subordinate users, and namespaces."""
    monkeypatch.setattr(podman.shutil, "which", lambda _: None)
    monkeypatch.setattr(engine_setup, "program", lambda _: None)
    monkeypatch.setattr(podman, "_NETWORKING", ())
    assert engine_setup.remedy_to_start() == "as root: apt-get install podman uidmap netavark"
    monkeypatch.undo()
    monkeypatch.setattr(engine_setup, "_is_root", lambda: False)
    monkeypatch.setattr(engine_setup, "program", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(podman.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(podman, "_SUBORDINATE", (str(tmp_path / "none"),))
    monkeypatch.setattr(podman, "_asked_elsewhere", lambda: False)
    monkeypatch.setattr(podman.getpass, "getuser", lambda: "somebody")
    monkeypatch.setattr(podman, "_POLICY", str(tmp_path / "policy"))
    monkeypatch.setattr(podman, "_NETWORKING", (str(tmp_path),))
    monkeypatch.setattr(namespaces, "check", lambda: "none may be made")
    told = engine_setup.remedy_to_start()
    assert "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 somebody" in told
    assert told.endswith(namespaces.REMEDY)


def test_runc_is_wanted_where_both_versions_of_control_groups_are_mounted(
    monkeypatch: pytest.MonkeyPatch, places: Places
) -> None:
    """crun refuses such a machine; elsewhere Podman chooses."""
    assert "runtime" not in podman._settings(places)[places.folder / "containers.conf"]
    (cgroup.ROOT / "unified").mkdir(parents=True)
    assert 'runtime = "runc"' in podman._settings(places)[places.folder / "containers.conf"]
    monkeypatch.setattr(podman.shutil, "which", lambda name: None if name == "runc" else name)
    assert engine_setup.remedy_to_start() == "as root: apt-get install runc"


def test_it_cannot_be_started_without_its_remedy_being_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_setup, "program", lambda _: None)
    with pytest.raises(MissingComponent) as raised:
        engine.start()
    assert "apt-get install podman" in raised.value.remedy


def test_its_store_settings_and_sockets_are_its_own(places: Places) -> None:
    """By command line and environment: a user's own settings and images are left alone."""
    engine_setup.prepare(places)
    argv = engine_setup.command(places)
    assert argv[0] == "/bin/sh"
    assert str(places.pid_file) in argv[2]
    assert f"ulimit -d {ceiling.memory().value * 1024};" in argv[2]
    assert argv[4:] == [
        *("/usr/bin/podman", "--root", str(places.data), "--runroot", str(places.runtime / "run")),
        *("--tmpdir", str(places.execution), "system", "service", "--time=0", places.url),
    ]
    env = engine_setup.environment(places)
    for name in ("CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "CONTAINERS_REGISTRIES_CONF"):
        assert Path(env[name]).parent == places.folder
        assert Path(env[name]).is_file()
    assert Path(env["TMPDIR"]).is_dir()
    assert stat.S_IMODE(places.runtime.stat().st_mode) == 0o700


def test_containers_of_another_runtime_folder_are_forgotten(places: Places) -> None:
    """Podman would refuse to go on; images stay."""
    for folder in ("libpod", "overlay"):
        (places.data / folder).mkdir(parents=True)
    engine_setup.prepare(places)
    engine_setup.prepare(places)
    assert (places.data / "libpod").is_dir()
    engine_setup.prepare(Places(folder=places.folder, runtime=places.runtime.with_name("other")))
    assert not (places.data / "libpod").exists()
    assert (places.data / "overlay").is_dir()


def test_a_runtime_folder_of_another_user_is_not_used(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below /tmp anybody may have made it."""
    places.runtime.mkdir()
    owner = os.geteuid()
    monkeypatch.setattr(engine_setup.os, "geteuid", lambda: owner + 1)
    with pytest.raises(CheckFailure, match="belongs to another user"):
        engine_setup.prepare(places)


def test_who_lives_in_its_user_namespace_is_found(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the process that holds that; a number that was given to another process since is nobody's to end."""
    places.execution.mkdir(parents=True)
    assert engine_processes._in_its_user_namespace(places) == []
    (places.execution / "pause.pid").write_text(str(os.getpid()))
    assert engine_processes._in_its_user_namespace(places) == []
    monkeypatch.setattr(Path, "readlink", lambda _: Path("/usr/bin/catatonit"))
    found = engine_processes._in_its_user_namespace(places)
    assert found[-1] == os.getpid()
    assert len(found) == len(set(found))


def test_what_it_says_of_itself_becomes_a_record() -> None:
    """Its word on limits is not believed where it is rootless: what the system delegates is."""
    found = rootless("memory", "pids", "rdma")
    assert (found.software, found.rootless, found.controllers) == ("Podman", True, ("memory", "pids"))
    assert found.described == "private Podman 4.3.1, rootless"
    assert found.unbounded == "processors are not bounded"
    assert rootless("cpu", "memory", "pids").unbounded == ""
    by_root = engine_reach.described("unix:///x", "private", {**INFO, "Rootless": False})
    assert by_root.controllers == engine_reach.ALL_CONTROLLERS


def test_a_rootless_docker_is_known() -> None:
    """And what it says it can't bound is believed."""
    info = {"ServerVersion": "27.1", "SecurityOptions": ["name=seccomp", "name=rootless"], "MemoryLimit": False}
    found = engine_reach.described("unix:///x", "reachable", info)
    assert (found.software, found.rootless, found.controllers) == ("Docker", True, ("pids", "cpu"))
    assert found.described == "reachable 27.1, rootless"


def test_its_controllers_are_asked_for() -> None:
    class Client:
        base_url = "http+docker://localhost"

        def get(self, url: str) -> Any:
            assert url.endswith("/libpod/info")
            return self

        def json(self) -> Any:
            return {"host": {"cgroupControllers": ["memory"]}}

    assert podman.controllers(Client()) == ("memory",)


class Asked:
    """A client that starts containers of nobody; what it was asked."""

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}

    def create_host_config(self, **settings: Any) -> dict[str, Any]:
        return settings

    def create_container(self, **settings: Any) -> dict[str, str]:
        self.settings = settings
        return {"Id": "c"}

    def start(self, _: str) -> None: ...

    def inspect_container(self, _: str) -> dict[str, Any]:
        return {"State": {"Pid": 4711, "StartedAt": "2026-12-01T04:00:00.5+01:00", "Running": True}}

    def remove_container(self, *_: Any, **__: Any) -> None: ...


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What stands for docker-py."""
    found = Asked()
    monkeypatch.setattr(engine_reach, "client", lambda *_: found)
    monkeypatch.setattr(cgroup, "of_process", lambda _: None)
    return found


@pytest.fixture
def prlimits(monkeypatch: pytest.MonkeyPatch) -> dict[int, tuple[int, int]]:
    """Which limits a process was given from outside."""
    found: dict[int, tuple[int, int]] = {}
    monkeypatch.setattr(containers.resource, "prlimit", lambda _, kind, both: found.update({kind: both}))
    return found


def test_without_control_groups_each_process_is_bounded(asked: Asked, prlimits: dict[int, tuple[int, int]]) -> None:
    """Limits that would be refused or forgotten are not asked for; it runs as who runs the engine."""
    with containers.running(rootless(), "image", memory_bytes=2**28, processes=16, cpus=0.5) as container:
        assert container.pid == 4711
    host = asked.settings["host_config"]
    assert asked.settings["user"] == "0:0"
    assert (host["mem_limit"], host["pids_limit"], host["nano_cpus"]) == (None, None, None)
    assert prlimits[resource.RLIMIT_DATA] == (2**28, 2**28)
    assert prlimits[resource.RLIMIT_NPROC][0] > 16
    assert {"/tmp", "/run", "/var/tmp"} == set(host["tmpfs"])


def test_what_is_delegated_is_used(asked: Asked, prlimits: dict[int, tuple[int, int]]) -> None:
    with containers.running(rootless("memory", "pids"), "image", memory_bytes=2**28, processes=16, cpus=0.5):
        pass
    host = asked.settings["host_config"]
    assert (host["mem_limit"], host["pids_limit"], host["nano_cpus"]) == (2**28, 16, None)
    assert prlimits == {}


def test_times_may_be_of_another_zone() -> None:
    """Podman's are in its own."""
    assert containers.parse_time("2026-12-01T04:00:00.5+01:30") == containers.parse_time("2026-12-01T02:30:00.5Z")
    assert containers.parse_time("2026-12-01T01:00:00-01:30") == containers.parse_time("2026-12-01T02:30:00Z")


def test_its_builds_have_no_network() -> None:
    """Docker's word for that would be taken no heed of."""
    told = builds._parameters(rootless(), "none")
    assert told["networkmode"] == "NetworkDisabled"
    assert json.loads(told["nsoptions"]) == [{"Name": "network", "Host": False}]
    assert builds._parameters(engine_reach.described("unix:///x", "private", {}), "none") == {}


def test_starts_in_it_are_known_by_that() -> None:
    """In the facts of an artifact, which reports show."""
    assert imaging._starts_in(rootless("memory", "pids", "cpu")) == {
        "starts": "in an ordinary user's Podman, as that user"
    }
    assert "process by process" in imaging._starts_in(rootless())["starts"]
    assert imaging._starts_in(engine_reach.described("unix:///x", "private", {})) == {}


def test_ports_are_reached_in_the_user_s_own_engine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's containers have networks that only root may enter."""
    monkeypatch.setattr(imaging.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(imaging.engine, "connect", lambda: engine_reach.described("unix:///x", "reachable", {}))
    assert "only root may enter" in imaging.check(port=True).reason
    assert imaging.check().ready
    monkeypatch.setattr(imaging.engine, "connect", rootless)
    assert imaging.check(port=True).ready
