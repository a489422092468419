"""Finding an engine, and what is said where there is none. No engine is asked here."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from harness import process
from harness.errors import BuildFailure, DiskFull, MissingComponent
from harness.platforms import engine, engine_processes, engine_reach, engine_setup


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own, and no engine of the machine in sight."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return tmp_path / "cache"


def programs(monkeypatch: pytest.MonkeyPatch, *there: str) -> None:
    """Only these programs are installed."""
    monkeypatch.setattr(
        "harness.platforms.engine_setup.shutil.which", lambda name, **_: f"/usr/sbin/{name}" if name in there else None
    )


def test_without_any_engine_the_command_that_starts_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, "dockerd")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(MissingComponent) as raised:
        engine.connect()
    assert "none.sock" in raised.value.problem
    assert "the private engine is not running" in raised.value.problem
    assert raised.value.remedy == "'harness engine start' starts a private one"
    assert raised.value.exit_code == 3


def test_without_dockerd_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(MissingComponent, match="can't be started") as raised:
        engine.start()
    assert raised.value.remedy == "apt-get install docker.io iptables"


def test_iptables_is_asked_for_only_if_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, "dockerd")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert engine_setup.remedy_to_start() == ""
    monkeypatch.setitem(engine_setup.SETTINGS, "iptables", True)
    assert engine_setup.remedy_to_start() == "apt-get install iptables"


def test_the_sbin_folders_are_searched_although_the_path_lacks_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbin = tmp_path / "sbin"
    sbin.mkdir()
    (sbin / "dockerd").write_text("#!/bin/sh\n")
    (sbin / "dockerd").chmod(0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(engine_setup, "_SYSTEM_FOLDERS", (str(sbin),))
    assert str(sbin / "dockerd") == engine_setup.program("dockerd")


def test_status_says_why_there_is_none(own_cache: Path) -> None:
    found = engine.status()
    assert found.engine is None
    assert "no Docker engine answers" in found.reason
    assert found.private_pid is None
    assert found.private_data == own_cache / "engine" / "data"


def test_stopping_nothing_changes_nothing(own_cache: Path) -> None:
    assert engine.stop() is False
    assert list(own_cache.iterdir()) == []


def test_sockets_lie_where_their_path_is_short_however_long_the_cache_path_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / ("x" * 120)))
    places = engine._places()
    assert len(str(places.execution / "containerd" / "containerd-debug.sock.ttrpc")) < 100
    assert places.data.is_relative_to(tmp_path)


def test_caches_have_engines_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = engine._places()
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "other"))
    assert first.runtime != engine._places().runtime


def test_the_command_line_holds_everything_that_tells_the_engine_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, "dockerd")
    places = engine._places()
    argv = engine_setup.command(places)
    assert argv[0] == "/usr/sbin/dockerd"
    options = dict(zip(argv[1::2], argv[2::2], strict=True))
    assert options == {
        "--config-file": str(places.settings),
        "--data-root": str(places.data),
        "--exec-root": str(places.execution),
        "--pidfile": str(places.pid_file),
        "--host": f"unix://{places.socket}",
    }


def test_the_private_engine_makes_no_bridge_and_no_packet_filter_rules() -> None:
    assert engine_setup.SETTINGS["bridge"] == "none"
    assert not engine_setup.SETTINGS["iptables"]
    assert not engine_setup.SETTINGS["ip-forward"]
    json.dumps(engine_setup.SETTINGS)


def test_a_pid_file_that_names_another_process_is_not_believed(tmp_path: Path) -> None:
    places = engine_processes.Places(folder=tmp_path / "engine", runtime=tmp_path / "run")
    places.runtime.mkdir()
    places.pid_file.write_text(str(os.getpid()))
    assert engine_processes.daemon_pid(places) is None
    places.pid_file.write_text("rubbish")
    assert engine_processes.daemon_pid(places) is None


def test_the_end_of_the_log_is_in_the_message_when_the_engine_does_not_start(tmp_path: Path) -> None:
    places = engine_processes.Places(folder=tmp_path, runtime=tmp_path / "run")
    places.log.write_text('level=info msg="hello"\nfailed to start daemon: devices cgroup isn\'t mounted\n')
    error = engine_setup.did_not_start(places)
    assert "devices cgroup isn't mounted" in error.problem
    assert "hello" not in error.problem
    assert str(places.log) in error.remedy


def test_mounts_are_found_below_the_folders_only_and_innermost_first() -> None:
    lines = [
        "1 0 254:0 / / rw - ext4 /dev/vda rw",
        "2 1 0:40 / /c/data/overlay2 rw - ext4 x rw",
        "3 2 0:41 / /c/data/overlay2/a\\040b/merged rw - overlay overlay rw",
        "4 1 0:42 / /c/database rw - tmpfs x rw",
        "5 1 0:43 net:[1] /run/x/exec/netns/default rw - nsfs nsfs rw",
    ]
    found = engine_processes.parse_mounts(lines, (Path("/c/data"), Path("/run/x/exec")))
    assert found == ["/run/x/exec/netns/default", "/c/data/overlay2/a b/merged", "/c/data/overlay2"]


def test_what_an_engine_says_of_itself_becomes_a_record() -> None:
    info = {
        "ServerVersion": "20.10.24",
        "Driver": "overlay2",
        "DockerRootDir": "/d",
        "CgroupVersion": "2",
        "CgroupDriver": "systemd",
    }
    found = engine_reach.described("unix:///run/x.sock", "reachable", info)
    assert found.socket == Path("/run/x.sock")
    assert (found.version, found.storage_driver, found.data_root) == ("20.10.24", "overlay2", Path("/d"))
    assert (found.cgroup_version, found.cgroup_driver) == ("v2", "systemd")
    assert engine_reach.described("tcp://10.0.0.1:2376", "reachable", info).socket is None


def test_a_full_disk_is_told_from_other_refusals() -> None:
    for said in ("write /x: no space left on device", "No space left on device (os error 28)", "Disk quota exceeded"):
        assert isinstance(engine.refusal("building x", said), DiskFull)
    refused = engine.refusal("building x", "no such image")
    assert isinstance(refused, BuildFailure)
    assert "building x" in str(refused)
    assert "no such image" in str(refused)


def test_an_engine_that_went_away_is_a_missing_component(monkeypatch: pytest.MonkeyPatch) -> None:
    import requests

    monkeypatch.setattr(engine, "client", lambda *_, **__: object())
    gone = engine_reach.described("unix:///x", "reachable", {})
    with (
        pytest.raises(MissingComponent, match=r"looking: .* stopped answering \(refused\)"),
        engine.asking(gone, "looking"),
    ):
        raise requests.exceptions.ConnectionError("refused\nand more")


def test_a_socket_that_nobody_listens_on_is_said_to_be_silent(short_folder: Path) -> None:
    place = short_folder / "d.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(place))
    assert engine_reach.reach(f"unix://{place}", "reachable") == f"{place} does not answer"
    assert engine_reach.reach(f"unix://{short_folder}/none", "reachable") == f"there is no {short_folder}/none"


def test_an_absent_image_ends_the_block_if_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    import docker.errors

    monkeypatch.setattr(engine, "client", lambda *_, **__: object())
    there = engine_reach.described("unix:///x", "reachable", {})
    with engine.asking(there, "looking", absent_ok=True):
        raise docker.errors.NotFound("no such image")
    with pytest.raises(BuildFailure), engine.asking(there, "looking"):
        raise docker.errors.NotFound("no such image")


def test_waiting_for_the_engine_is_not_the_harness_s_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = process.Ledger()
    monkeypatch.setattr(process, "ledger", ledger)
    monkeypatch.setattr(engine, "client", lambda *_, **__: object())
    with engine.asking(engine_reach.described("unix:///x", "reachable", {}), "looking"):
        pass
    assert list(ledger.spent_s) == ["engine"]


def test_a_session_uses_a_running_engine_and_leaves_it_running(monkeypatch: pytest.MonkeyPatch) -> None:
    running = engine_reach.described("unix:///x", "reachable", {})
    monkeypatch.setattr(engine, "connect", lambda: running)
    monkeypatch.setattr(engine, "stop", lambda: pytest.fail("it is not ours to stop"))
    with engine.session() as found:
        assert found is running


def test_a_session_stops_the_engine_that_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> engine.Engine:
        raise MissingComponent("none")

    done: list[Any] = []
    monkeypatch.setattr(engine, "connect", none)
    monkeypatch.setattr(engine, "start", lambda _say: engine_reach.described("unix:///x", "private", {}))
    monkeypatch.setattr(engine, "stop", lambda: done.append("stopped"))
    with pytest.raises(MissingComponent, match="of the body"), engine.session():
        raise MissingComponent("of the body")
    assert done == ["stopped"]
