"""What a process behind the door finds, can do and leaves, with this machine's own kernel: as root, and without."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import cgroup, door, files, interpreter, leftovers, paths, process
from harness.sandbox import Bounds

BOUNDS = Bounds(memory_bytes=2**28, processes=24, disk_bytes=8 * 2**20, output_bytes=2**16)
PYTHON = "/usr/bin/python3"
WORDS = "what nobody else may read"

#: Says in JSON what it finds and what it is let do.
LOOK = """
import ctypes, json, os, socket, sys
def tried(what):
    try:
        return what()
    except BaseException as error:
        return type(error).__name__
libc = ctypes.CDLL(None, use_errno=True)
def connected(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as made:
        made.settimeout(2)
        made.connect(address)
        return "connected"
print(json.dumps({
    "user": os.getuid(), "groups": os.getgroups(), "first": open("/proc/1/cmdline").read(),
    "processes": len([name for name in os.listdir("/proc") if name.isdigit()]), "root": sorted(os.listdir("/")),
    "file": tried(lambda: open(sys.argv[1]).read()), "shadow": tried(lambda: open("/etc/shadow").read()),
    "system": tried(lambda: open("/usr/lib/planted", "w")), "temporary": sorted(os.listdir("/tmp")),
    "namespaces": libc.unshare(0x10000000), "machine": tried(lambda: connected(40, (2, 22))),
    "network": tried(lambda: connected(socket.AF_INET, ("1.1.1.1", 80))),
    "host": tried(lambda: connected(socket.AF_INET, ("127.0.0.1", int(sys.argv[2])))),
    "abstract": tried(lambda: connected(socket.AF_UNIX, "\\0" + sys.argv[3])),
}))
"""


@pytest.fixture
def listener() -> Iterator[Any]:
    """Somebody who listens on this machine's own loopback."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def behind(code: str, *more: str, writes: Path | None = None, timeout_s: float = 20) -> process.Completed:
    """Run Python behind the door."""
    home = writes or Path("/tmp")
    return door.run(
        [PYTHON, "-c", code, *more],
        bounds=BOUNDS,
        writes=[writes] if writes else [],
        env=process.environment(home),
        cwd=home,
        timeout_s=timeout_s,
    )


def test_it_finds_nothing_of_anybody_elses(cache: Path, listener: Any) -> None:
    """No file, no process, no network, no way to namespaces or to a virtual machine's host."""
    secret = cache / "tmp" / "secret.txt"
    secret.parent.mkdir(parents=True, exist_ok=True)
    secret.write_text(WORDS)
    name = f"harness-{os.getpid()}"
    with door.workspace(BOUNDS.disk_bytes) as folder:
        home = folder / "home"
        home.mkdir()
        done = behind(LOOK, str(secret), str(listener.getsockname()[1]), name, writes=home)
    found = json.loads(done.stdout)
    assert found["file"] == "FileNotFoundError"
    assert found["shadow"] == "FileNotFoundError"
    assert found["first"].startswith("/bin/sleep")
    assert found["processes"] == 2
    assert not {"home", "opt", "srv", "mnt", "boot"} & set(found["root"])
    assert found["system"] == "OSError"
    assert found["namespaces"] == -1
    assert found["machine"] == "PermissionError"
    assert found["network"] == "OSError"
    assert found["host"] == found["abstract"] == "ConnectionRefusedError"
    if os.geteuid() == 0:
        assert found["user"] >= 1_900_000_000
        assert found["groups"] in ([], [found["user"]])
    secret.unlink()


def test_two_instances_are_two_users(root: None) -> None:
    """So that neither can look into the other, wherever they meet."""
    users = {behind("import os; print(os.getuid())").stdout for _ in range(3)}
    assert len(users) == 3


def test_what_it_leaves_running_ends_with_it() -> None:
    """Also what left its session; that it holds the streams open is not waited for."""
    code = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "71.25"])
    os._exit(0)
print("done")
"""
    begin = time.monotonic()
    assert behind(code).stdout == "done\n"
    assert time.monotonic() - begin < 15
    left = [cmd for cmd in Path("/proc").glob("[0-9]*/cmdline") if b"71.25" in _read(cmd)]
    assert left == []


def test_more_processes_than_allowed_are_refused() -> None:
    """By the control group, or by the limit of the user namespace."""
    code = """
import os, time
made = 0
try:
    for _ in range(200):
        if os.fork() == 0:
            time.sleep(60)
        made += 1
except BlockingIOError:
    print(made)
"""
    done = behind(code, timeout_s=30)
    assert 5 < int(done.stdout) < BOUNDS.processes


def test_the_disk_is_bounded_in_sum(root: None) -> None:
    """Many files, none of them large; what is allowed can be written."""
    code = """
import os
written = 0
try:
    for number in range(64):
        with open(str(number), "wb", buffering=0) as file:
            written += file.write(os.urandom(2**20))
except OSError as error:
    print(written, error.errno)
"""
    with door.workspace(BOUNDS.disk_bytes) as folder:
        home = folder / "home"
        home.mkdir()
        written, number = map(int, behind(code, writes=home).stdout.split())
    assert number == 28
    assert BOUNDS.disk_bytes * 0.9 <= written <= BOUNDS.disk_bytes * 1.2


def test_endless_output_is_cut() -> None:
    """The end of it is kept, and the harness's own memory does not grow with it."""
    done = behind("for _ in range(64): print('x' * 2**20)\nprint('the end')")
    assert done.stdout.endswith("the end\n")
    assert len(done.stdout) <= BOUNDS.output_bytes


def test_it_ends_as_it_ended() -> None:
    """By its exit code, or by the signal, though who waits for it may be another process."""
    assert behind("raise SystemExit(7)").returncode == 7
    assert behind("import os; os.kill(os.getpid(), 11)").returncode == -11
    with pytest.raises(process.TimedOut):
        behind("import time; time.sleep(60)", timeout_s=1)


def test_nothing_is_left(cache: Path) -> None:
    """No mount, no loop device, no control group, no folder."""
    with door.workspace(BOUNDS.disk_bytes) as folder:
        home = folder / "home"
        home.mkdir()
        behind("open('x', 'w').write('1')", writes=home)
        assert (home / "x").read_text() == "1"
    door.let_go()
    mounted = Path("/proc/self/mounts").read_text()
    assert f"{cache}/tmp/" not in mounted
    assert list(cgroup.ROOT.glob(f"**/harness-{paths.key()}-*")) == []
    assert list((cache / "tmp").glob("disk-*")) == []


#: A harness in the middle of its work; says the numbers of its own process and of its watchdog.
WORK = """
import os
from harness import door, process
from harness.sandbox import Bounds
bounds = Bounds(memory_bytes=2**28, processes=24, disk_bytes=8 * 2**20)
with process.temporary_folder("work", readable=True), door.workspace(bounds.disk_bytes) as disk:
    with door.opened(bounds, writes=[disk]) as inside:
        print(os.getpid(), process._watchdog._process.pid, flush=True)
        inside.run(["/bin/sleep", "3601"], env={}, timeout_s=60)
"""


def test_what_was_killed_with_its_watchdog_is_removed_by_the_next(cache: Path) -> None:
    """Its folders, mounts and control groups; what a living one has stays."""
    argv, env = [sys.executable, "-c", WORK], {**os.environ, "HARNESS_CACHE": str(cache)}
    with (
        subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as killed,
        process.temporary_folder("living") as living,
    ):
        assert killed.stdout is not None
        harness, watchdog = map(int, killed.stdout.readline().split())
        time.sleep(0.5)
        for number in (watchdog, harness):
            os.kill(number, signal.SIGKILL)
        killed.wait(timeout=20)
        time.sleep(1.5)
        left = [path for path in (cache / "tmp").iterdir() if path != living]
        assert left
        leftovers.remove(cache / "tmp")
        assert [path.name for path in left if path.exists()] == []
        assert living.is_dir()
        assert not any(f"{path}/" in Path("/proc/self/mounts").read_text() for path in left)
        assert list(cgroup.ROOT.glob(f"**/harness-{paths.key()}-*")) == []


#: A harness that is killed while the first process of an enclosure is being made; that one holds standard output.
DIE = """
import os, time
from harness import mounts, process
said = os.dup(1)
def enter(view):
    os.write(os.dup2(said, 1), b"now")
    time.sleep(0.5)
mounts.View.enter = enter
with process.enclosed(mounts.of_this_machine(shown=[], writable=[], scratch_bytes=2**20)):
    pass
"""


def test_a_harness_that_is_killed_meanwhile_leaves_no_enclosure() -> None:
    """The kernel tells only of a parent that dies later."""
    with subprocess.Popen([sys.executable, "-c", DIE], env=dict(os.environ), stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert killed.stdout.read(3) == b"now"
        killed.kill()
        killed.communicate(timeout=20)  # until nobody holds it any more
        assert killed.returncode == -signal.SIGKILL


USERS = ["finds_nothing", "leaves_running", "more_processes", "endless_output", "it_ends_as", "leaves_no_enclosure"]


@pytest.mark.parametrize("test", USERS)
def test_an_ordinary_user_can_have_it_so(root: None, test: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same tests, as a user without rights: the kernel's user namespaces give them."""
    user = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
    # The tests' own interpreter may lie in root's home; the system's, of the same minor version, takes their packages.
    python, where = str(interpreter.default().path), [sysconfig.get_path("purelib"), str(paths.PACKAGE.parent)]
    reached = ["sh", "-c", 'for place in "$@"; do test -r "$place" && test -x "$place" || exit 1; done', "sh", *where]
    if subprocess.run([*user, *reached, python, str(Path(__file__).parent)], check=False).returncode != 0:
        pytest.skip("the tests lie where an ordinary user cannot read them")
    folder = Path("/var/tmp") / f"harness-user-{os.getpid()}-{test}"
    folder.mkdir(mode=0o700)
    os.chown(folder, 54321, 54321)
    argv = [*user, python, "-m", "pytest", "-q"]
    argv += ["-p", "no:cacheprovider", "-p", "no:cov", "--basetemp", str(folder / "tmp"), "-k", test]
    env = {"HOME": str(folder), "HARNESS_CACHE": str(folder / "cache"), "PATH": os.environ["PATH"]}
    env |= {"HARNESS_TEST_WITHOUT": "root,engine", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": ":".join(where)}
    try:
        done = subprocess.run(
            [*argv, f"{__file__}"], env=env, capture_output=True, text=True, timeout=120, check=False, cwd="/"
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        assert " passed" in done.stdout
    finally:
        files.remove(folder)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
