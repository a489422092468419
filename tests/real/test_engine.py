"""The private engine, its base image, containers and registry, for real: root on a Debian with docker.io.

One engine in a cache of its own serves the module; making the base image takes most of the time.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import cgroup, paths
from harness.errors import BadInput, BuildFailure, EngineGone, MissingComponent
from harness.platforms import builds, containers, engine, engine_processes, engine_users, images, registry
from harness.platforms.engine import Engine
from harness.platforms.engine_users import EngineInUse
from harness.platforms.images import BaseImage
from harness.store import runs as stored

MINOR = "3.11"
MEMORY = 128 * 2**20


@pytest.fixture(scope="module")
def running(engine_wanted: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A private engine of the module's own; when it is stopped, nothing of it is left."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(cache))
        patch.setenv("HARNESS_REGISTRY", "off")
        patch.delenv("HARNESS_BASE_IMAGE", raising=False)
        patch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")  # not the machine's own engine, if it has one
        found = engine.start()
        try:
            yield found
        finally:
            assert engine.stop() is True
            assert engine.stop() is False
            assert left_of(found) == []
            shutil.rmtree(cache)  # pytest would keep its images for three more runs


@pytest.fixture(scope="module")
def base(running: Engine) -> BaseImage:
    """Debian's Python as an image, made once."""
    return images.base(running, MINOR)


def left_of(stopped: Engine) -> list[str]:
    """Processes, mounts and files that still belong to an engine."""
    assert stopped.socket is not None
    marks = (str(stopped.data_root), str(stopped.socket.parent))
    left = [line for line in Path("/proc/mounts").read_text().splitlines() if any(mark in line for mark in marks)]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            arguments = engine_processes._arguments(int(entry.name))
            if any(mark in argument for argument in arguments for mark in marks):
                left.append(" ".join(arguments))
    if stopped.socket.parent.exists():
        left.append(str(stopped.socket.parent))
    return left


def output_of(running: Engine, image: str, script: str) -> str:
    """What a shell script prints in a container of ``image``."""
    with containers.running(
        running, image, entrypoint=["sh", "-c", script], memory_bytes=MEMORY, processes=32
    ) as container:
        code = container.wait(60)
        said = container.output()
    assert code == 0, said
    return said


def all_containers(running: Engine) -> list[str]:
    """The names of all containers, ended ones too."""
    return [name for one in engine.client(running).containers(all=True) for name in one["Names"]]


# --- the engine ----------------------------------------------------------------------------------


def test_the_private_engine_is_private(running: Engine) -> None:
    """Only root may talk to it, it is below the cache, and a second start finds the first."""
    assert running.kind == "private"
    assert running.socket is not None
    assert running.socket.stat().st_mode & 0o777 == 0o600
    assert running.data_root.is_relative_to(paths.cache())
    assert running.storage_driver == "overlay2"
    assert engine.start() == running
    status = engine.status()
    assert status.private_pid is not None
    assert status.engine is not None


@pytest.mark.usefixtures("running")
def test_the_private_engine_survives_what_started_it() -> None:
    """Its parent is the system, and it has a session of its own."""
    pid = engine.status().private_pid
    assert pid is not None
    assert engine_processes._stat(pid)[1] != os.getpid()
    assert os.getsid(pid) != os.getsid(0)


def test_no_bridge_and_no_rule_was_made(running: Engine) -> None:
    """The machine's network is as it was."""
    assert not Path("/sys/class/net/docker0").exists() or Path("/var/run/docker.sock").exists()
    names = {network["Name"] for network in engine.client(running).networks()}
    assert names == {"none", "host"}


# --- the base image ------------------------------------------------------------------------------


def test_the_base_is_small_and_its_library_is_compiled(running: Engine, base: BaseImage) -> None:
    """Every module of the standard library that is loaded comes from bytecode that holds."""
    assert base.source == "mmdebstrap bookworm"
    assert base.python == "/usr/bin/python3.11"
    assert any(package.startswith("libstdc++6=") for package in base.packages)
    assert builds.unpacked_size(running, base.tag).total_bytes < 90 * 2**20
    imports = "import ssl, sqlite3, lzma, bz2, ctypes.util, zoneinfo, distutils.core, json, http.server, email.message"
    script = f"""
        python3 -W ignore -v -c '{imports}; zoneinfo.ZoneInfo("Europe/Berlin")' 2>/tmp/said || cat /tmp/said
        python3 -c "t = open('/tmp/said').read(); print(t.count(' matches '), t.count('code object from'))"
        python3 -c "t = open('/tmp/said').read(); print(t.count('# wrote '), t.count('could not create'))"
    """
    matching, loaded, written, refused = map(int, output_of(running, base.tag, script).split())
    assert matching == loaded > 100
    assert written == refused == 0


def test_the_base_has_nothing_that_gives_rights_and_no_package_manager(running: Engine, base: BaseImage) -> None:
    """No setuid file, no dpkg, no documentation, no list of packages to be had."""
    folders = builds.image_layers(running, base.tag)
    assert folders is not None
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                status = os.lstat(Path(parent, name))
                assert not (status.st_mode & 0o6000 and Path(parent, name).is_file()), Path(parent, name)
        for gone in ("usr/bin/dpkg", "usr/bin/apt", "usr/share/doc", "usr/share/man", "var/cache/apt/pkgcache.bin"):
            assert not (folder / gone).exists()
        assert list((folder / "var/lib/apt/lists").glob("*Packages")) == []


def test_the_base_is_found_again(running: Engine, base: BaseImage) -> None:
    """The second time nothing is made."""
    begin = time.monotonic()
    assert images.base(running, MINOR) == base
    assert time.monotonic() - begin < 1


def test_the_build_base_has_uv(running: Engine, base: BaseImage) -> None:
    """It is the same base with uv on top."""
    build_base = images.build_base(running, MINOR)
    assert build_base.python == base.python
    assert output_of(running, build_base.tag, "uv --version").startswith("uv ")


def test_a_named_image_is_pulled_compiled_and_recorded_by_digest(
    running: Engine, base: BaseImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HARNESS_BASE_IMAGE, with a registry of our own in the place of the official one."""
    with registry.session() as store:
        name = f"{store.address}/python:{MINOR}-slim"
        asked = engine.client(running)
        asked.tag(base.tag, f"{store.address}/python", f"{MINOR}-slim")
        asked.push(f"{store.address}/python", tag=f"{MINOR}-slim")
        builds.remove_image(running, name)
        monkeypatch.setenv("HARNESS_BASE_IMAGE", f"{store.address}/python:{{minor}}-slim")
        found = images.base(running, MINOR)
        try:
            assert found.source.startswith(f"registry:{store.address}/python@sha256:")
            assert found.python == "/usr/bin/python3"
            with pytest.raises(MissingComponent, match="can't be pulled"):
                images.base(running, "3.12")
            monkeypatch.setenv("HARNESS_BASE_IMAGE", name)
            with pytest.raises(BadInput, match=r"has Python 3\.11, not 3\.12"):
                images.base(running, "3.12")
        finally:
            for tag in (found.tag, name):
                builds.remove_image(running, tag)
            builds.prune_stages(running, found.tag)


# --- builds --------------------------------------------------------------------------------------


@pytest.fixture
def image(running: Engine, base: BaseImage, tmp_path: Path) -> Iterator[str]:
    """A small two-stage image."""
    (tmp_path / "data").write_bytes(b"x" * 1000)
    tag = "mlph-test:small"
    text = f"FROM {base.reference} AS build\nCOPY data /made\nRUN cp /made /more\n"
    text += f"FROM {base.tag}\nCOPY --from=build /made /more /app/\n"
    builds.build_image(running, tmp_path, text, tag)
    yield tag
    builds.remove_image(running, tag)
    builds.prune_stages(running, tag)


def test_a_build_leaves_its_stages_only_until_they_are_pruned(running: Engine, image: str) -> None:
    """The stages are found by their label; the image that was built stays."""
    dangling = {"dangling": True, "label": [f"{builds.BUILD_LABEL}={image}"]}
    assert engine.client(running).images(filters=dangling) != []
    builds.prune_stages(running, image)
    assert engine.client(running).images(filters=dangling) == []
    assert builds.image_id(running, image) is not None
    assert all_containers(running) == []


def test_sizes_and_layers_of_an_image(running: Engine, image: str, base: BaseImage) -> None:
    """By its folders and by its export the same; what was added is what was copied."""
    by_layers = builds.unpacked_size(running, image)
    below = builds.unpacked_size(running, base.tag)
    assert (by_layers.total_bytes - below.total_bytes, by_layers.files - below.files) == (2000, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builds, "image_layers", lambda *_: None)
        by_archive = builds.unpacked_size(running, image)
    assert by_archive.source == "archive"
    assert (by_archive.total_bytes, by_archive.files) == (by_layers.total_bytes, by_layers.files)


def test_a_failing_build_says_why_and_leaves_nothing(running: Engine, base: BaseImage, tmp_path: Path) -> None:
    """The log's end is in the message; no image, stage or container stays."""
    before = len(engine.client(running).images(all=True))
    with pytest.raises(BuildFailure, match="nosuchthing: not found"):
        builds.build_image(running, tmp_path, f"FROM {base.tag}\nRUN echo hi\nRUN nosuchthing\n", "mlph-test:bad")
    assert len(engine.client(running).images(all=True)) == before
    assert all_containers(running) == []


def test_a_build_has_no_network(running: Engine, base: BaseImage, tmp_path: Path) -> None:
    """Only the loopback device is there."""
    built = builds.build_image(running, tmp_path, f"FROM {base.tag}\nRUN ls /sys/class/net\n", "mlph-test:net")
    builds.remove_image(running, "mlph-test:net")
    builds.prune_stages(running, "mlph-test:net")
    assert "\nlo\n" in built.log
    assert "eth0" not in built.log


@pytest.mark.parametrize("script", ["sleep 300", "while true; do echo on and on; sleep 0.01; done"])
def test_a_build_that_never_ends_is_broken_off(running: Engine, base: BaseImage, tmp_path: Path, script: str) -> None:
    """Whether it says nothing or never stops talking; its container is gone, and so is what it had made."""
    before = len(engine.client(running).images(all=True))
    with pytest.raises(BuildFailure, match="did not end within 2 s"):
        builds.build_image(running, tmp_path, f"FROM {base.tag}\nRUN {script}\n", "mlph-test:long", timeout_s=2)
    assert all_containers(running) == []
    assert len(engine.client(running).images(all=True)) == before


def test_a_build_is_below_the_ceiling_of_memory(
    running: Engine, base: BaseImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What needs more is killed; what one line of the log may hold is bounded, too."""
    monkeypatch.setenv("HARNESS_MAX_MEMORY_MB", "64")
    text = f"FROM {base.tag}\nRUN python3 -c \"print('x' * 2_000_000); x = b'x' * 400_000_000\"\n"
    with pytest.raises(BuildFailure, match="137") as raised:
        builds.build_image(running, tmp_path, text, "mlph-test:memory")
    assert len(raised.value.log) < 1_000_000
    assert all_containers(running) == []


# --- containers ----------------------------------------------------------------------------------


def test_a_container_is_in_bounds(running: Engine, base: BaseImage) -> None:
    """Unprivileged, without capabilities or network, its root read-only, its /tmp bounded and executable."""
    script = """
        id -u; ls /sys/class/net
        touch /x 2>/dev/null && echo writable
        dd if=/dev/zero of=/tmp/x bs=1M count=300 2>/dev/null && echo unbounded
        rm /tmp/x; cp /bin/true /tmp/true && /tmp/true && echo runs
        while read -r line; do
            case "$line" in CapEff*|CapBnd*|NoNewPrivs*) echo "$line" ;; esac
        done < /proc/self/status
    """
    said = output_of(running, base.tag, script).split("\n")
    assert said[:3] == ["65532", "lo", "runs"]
    assert {" ".join(line.split()) for line in said[3:6]} == {
        "CapEff: 0000000000000000",
        "CapBnd: 0000000000000000",
        "NoNewPrivs: 1",
    }


def test_stamps_usage_and_shared_folder(running: Engine, base: BaseImage, tmp_path: Path) -> None:
    """The stamps are in order on the same clock as in the container; its control group is read from outside."""
    os.chown(tmp_path, 65532, 65532)
    script = "import time; open('/shared/at', 'w').write(str(time.monotonic())); x = b'x' * 40_000_000; time.sleep(30)"
    before = time.monotonic()
    with containers.running(
        running,
        base.tag,
        command=["python3", "-c", script],
        mounts={tmp_path: "/shared"},
        memory_bytes=MEMORY,
        processes=16,
        cpus=1.0,
    ) as container:
        assert all_containers(running) == [f"/{container.name}"]
        usage = None
        while time.monotonic() < before + 20:
            usage, source = container.group_usage()
            if (usage.anonymous_bytes or 0) > 40_000_000:
                break
            time.sleep(0.02)
        assert usage is not None
        assert source.startswith("cgroup-v")
        assert usage.peak_memory_bytes is None or usage.peak_memory_bytes > 40_000_000
        assert usage.cpu_s is not None
        assert usage.cpu_s > 0
        assert container.exit_code() is None
        inside = float((tmp_path / "at").read_text())
    assert before <= container.spawned_s <= container.created_s <= container.sandbox_s
    assert -0.05 < inside - container.sandbox_s < 5
    assert all_containers(running) == []
    assert not Path(f"/proc/{container.pid}").exists()


def test_too_much_memory_is_told_from_other_ends(running: Engine, base: BaseImage) -> None:
    """The kernel's kill is reported as such."""
    command = ["python3", "-c", "x = b'x' * 400_000_000"]
    with containers.running(running, base.tag, command=command, memory_bytes=64 * 2**20, processes=16) as container:
        assert container.wait(30) == -signal.SIGKILL
        assert container.oom_killed()
    command = ["python3", "-c", "print('said'); raise SystemExit(3)"]
    with containers.running(running, base.tag, command=command, memory_bytes=MEMORY, processes=16) as container:
        assert container.wait(30) == 3
        assert container.output() == "said\n"
        assert not container.oom_killed()


def test_a_program_that_is_not_there_is_a_failure_of_the_image(running: Engine, base: BaseImage) -> None:
    """The message names it, and no container stays."""
    with (
        pytest.raises(BuildFailure, match="nosuch"),
        containers.running(running, base.tag, command=["nosuch"], memory_bytes=MEMORY, processes=16),
    ):
        pytest.fail("it was started")
    assert all_containers(running) == []


KILLED = """
import sys, time
from harness.platforms import containers, engine
running = containers.running(engine.connect(), sys.argv[1], command=["sleep", "300"], memory_bytes=2**26, processes=8)
with running as one:
    print(one.pid, flush=True)
    time.sleep(300)
"""


def test_a_container_does_not_outlive_a_killed_harness(running: Engine, base: BaseImage) -> None:
    """After SIGKILL the watchdog removes it."""
    with subprocess.Popen([sys.executable, "-c", KILLED, base.tag], stdout=subprocess.PIPE, text=True) as harness:
        assert harness.stdout is not None
        pid = int(harness.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        harness.kill()
    deadline = time.monotonic() + 20
    while all_containers(running) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert all_containers(running) == []
    assert not Path(f"/proc/{pid}").exists()


# --- the registry --------------------------------------------------------------------------------


def test_what_an_image_weighs_when_it_travels(running: Engine, image: str, base: BaseImage) -> None:
    """Shared layers are the base's own, by digest; a pull by digest brings the same image."""
    with registry.session() as store:
        pushed = registry.push(store, running, image)
        below = registry.push(store, running, base.tag, name="base")
        assert pushed.layers[0] == below.layers[0]
        assert len(pushed.layers) == len(below.layers) + 1
        assert pushed.layers[-1].compressed_bytes < 2000
        assert 15 * 2**20 < below.packed_bytes < 40 * 2**20
        assert registry.pull(running, pushed.reference) == builds.image_id(running, image)
        builds.remove_image(running, pushed.reference)
    assert not [tag for one in engine.client(running).images() for tag in one["RepoTags"] or [] if "127.0.0.1" in tag]
    assert not list((paths.cache() / "tmp").glob("registry-*"))


# --- ends (these come last: they take the engine away and bring it back) --------------------------


def test_an_engine_that_was_killed_is_cleaned_up_and_started_again(running: Engine, base: BaseImage) -> None:
    """Stopping ends what it left, a container's process and mounts included; starting again forgets the container."""
    pid = engine.status().private_pid
    assert pid is not None
    with contextlib.ExitStack() as stack:
        sleeping = containers.running(running, base.tag, command=["sleep", "300"], memory_bytes=MEMORY, processes=8)
        container = stack.enter_context(sleeping)
        os.kill(pid, signal.SIGKILL)
        engine_processes._wait_for_end([pid], 5)
        leave = stack.pop_all()
    with warnings.catch_warnings():
        # docker-py leaves the socket open that was refused.
        warnings.simplefilter("ignore", ResourceWarning)
        with pytest.raises(EngineGone, match="stopped answering"):
            leave.close()
        gc.collect()
    assert engine_processes.alive(container.pid)
    assert engine.stop() is True
    assert not engine_processes.alive(container.pid)
    assert list(cgroup.ROOT.rglob(f"*{container.id}*")) == []
    assert left_of(running) == []
    again = engine.start()
    assert again == running
    assert all_containers(again) == []
    assert images.base(again, MINOR) == base


def test_a_session_leaves_an_engine_that_ran_before(running: Engine) -> None:
    """It is used, not stopped; one that the session had to start is stopped."""
    with engine.session() as found:
        assert found == running
    assert engine.connect() == running
    engine.stop()
    with engine.session() as found:
        assert found == running
    assert left_of(running) == []
    with pytest.raises(MissingComponent, match="harness engine start"):
        engine.connect()
    engine.start()


USES_IT = """
import time
from harness.platforms import engine
engine.connect()
print("connected", flush=True)
time.sleep(300)
"""


@contextlib.contextmanager
def another_user() -> Iterator[subprocess.Popen[str]]:
    """A process that uses the engine, and nothing else."""
    with subprocess.Popen([sys.executable, "-c", USES_IT], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "connected\n"
            yield process
        finally:
            process.kill()


def test_an_engine_that_is_used_is_stopped_only_when_it_is_not_or_by_force(running: Engine, harness: Any) -> None:
    """Refused with the user's name; --wait outlasts the user, killed as it is; --force does not ask."""
    engine_users.leave(engine._places().folder)  # this process, which has used it up to now
    with another_user() as user:
        refused = harness("engine", "stop").expect(1)
        assert f"process {user.pid} (-c)" in refused.err
        assert "--wait" in refused.err
        assert f"process {user.pid}" in harness("engine", "status").expect(0).out
        with harness.started("engine", "stop", "--wait") as waiting:
            waiting.wait_for(f"waiting for process {user.pid}")
            assert engine.look()[0] == running
            user.kill()
            waiting.end().expect(0)
        assert left_of(running) == []
    engine.start()
    engine_users.leave(engine._places().folder)
    with another_user() as user:
        with pytest.raises(EngineInUse, match=str(user.pid)):
            engine.stop()
        harness("engine", "stop", "--force").expect(0)
        assert user.poll() is None
        assert left_of(running) == []
    engine.start()


def kill(running: Engine) -> None:
    """End the engine as a crash does."""
    pid = engine.status().private_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    engine_processes._wait_for_end([pid], 5)


def test_a_run_outlives_its_engine(
    running: Engine, base: BaseImage, harness: Any, make_model: Any, tmp_path: Path
) -> None:
    """It ends resumable where the engine stays away, goes on where it comes back, and no cell has failed of it."""
    folder = make_model("outlives", files={"salt.txt": os.urandom(8).hex()})
    plan = ("--method", "container", "--method", "venv", "--rounds", 2, "--results", tmp_path)
    with harness.started("run", folder, *plan, HARNESS_ENGINE_WAIT_S="0.5") as run:
        run.wait_for(r"\] start ")
        kill(running)
        ended = run.end().expect(3)
    (run_id,) = stored.run_ids(tmp_path)
    assert ended.err.count("Waiting up to 0.5 s") == 1
    assert f"harness run --resume {run_id}" in ended.err
    kept = stored.read_samples(tmp_path / "runs" / run_id)
    assert kept
    assert not [sample for sample in kept if {"failed", "absent"} & set(sample.flags)]
    engine.start()
    with harness.started("run", "--resume", run_id, "--results", tmp_path) as run:
        run.wait_for(r"\] start ")
        kill(running)
        run.wait_for("Waiting up to 60 s")
        engine.start()
        whole = run.end().expect(0)
    assert "The Docker engine is back; going on." in whole.err
    samples = stored.read_samples(tmp_path / "runs" / run_id)
    assert samples[: len(kept)] == kept
    assert not [sample for sample in samples if "failed" in sample.flags]
    starts = {(s.cell.method, s.round, s.state) for s in samples if s.metric == "cold_start_s" and s.value is not None}
    assert len(starts) == 2 * 2 * 2
    assert all_containers(engine.connect()) == []
    harness("runs", "--results", tmp_path).expect(0)
