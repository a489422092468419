"""What hostile code tries. Each function's source is put into a model, a wheel, a script; nothing of it runs here.

A function is given ``where`` (see :meth:`hostile.ground.Witness.where`) and calls ``say`` for each thing that it
managed and must not be able to. So each function stands for itself: standard library only, imported inside.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

Where = Mapping[str, Any]
Payload = Callable[[Where], None]


def say(what: str) -> None:
    """Stand here for the preamble's, which is what payloads call."""


def say_who_runs() -> None:
    """Stand here for the preamble's."""


def who_runs(where: Where) -> None:
    """Only say where code runs as root, or may write to the machine."""
    say_who_runs()


# --- reading -------------------------------------------------------------------------------------


def reads_secrets(where: Where) -> None:
    """Files of root's and of the user's home, and what the harness has in its environment."""
    for path in (*where["secrets"], "/etc/shadow", "/etc/gshadow", "/root/.bash_history"):
        try:
            with open(path) as file:
                say(f"read {path}: {file.read(60)!r}")
        except OSError:
            pass
    for name, value in os.environ.items():
        if "canary" in value:
            say(f"{name} is in the environment: {value}")


def reads_other_models(where: Where) -> None:
    """What the cache and the results have of others."""
    for folder in ("weights/another-model-0123", "payloads", "artifacts", "wheelhouse", "environments", "locks", ""):
        place = os.path.join(where["cache"], folder)
        try:
            names = os.listdir(place)
        except OSError:
            continue
        # What it runs in is shown to it, each at its place: one name in a folder that has others.
        if folder and (len(names) > 1 or "another-model-0123" in names):
            say(f"listed {place}: {names[:3]}")
    try:
        with open(os.path.join(where["cache"], "weights/another-model-0123/weights.txt")) as file:
            say(f"read another model's weights: {file.read(60)!r}")
    except OSError:
        pass


def reads_processes(where: Where) -> None:
    """Command lines, environments and memory of other processes."""
    import ctypes
    import glob

    for path in glob.glob("/proc/[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                with open(f"{path}/{name}", "rb") as file:
                    content = file.read(4096)
            except OSError:
                continue
            if where["token"].encode() + b"-neighbour" in content or b"canary" in content:
                say(f"read {path}/{name}: {content[:80]!r}")
    libc = ctypes.CDLL(None, use_errno=True)
    for pid in where["neighbours"]:
        if libc.ptrace(16, pid, 0, 0) == 0:  # PTRACE_ATTACH
            say(f"traces process {pid}")
        if os.path.exists(f"/proc/{pid}/cwd") and os.access(f"/proc/{pid}/root/etc", os.R_OK):
            say(f"looked through /proc/{pid}/root")


def kills_others(where: Where) -> None:
    """Every process that may be signalled; those of this model alone are its business."""
    import signal

    for pid in where["neighbours"]:
        try:
            os.kill(pid, signal.SIGKILL)
            say(f"killed process {pid}")
        except OSError:
            pass


# --- reaching out --------------------------------------------------------------------------------


def connects(where: Where) -> None:
    """Sockets of this machine, of every family."""
    import socket

    def attempt(name: str, family: int, kind: int, address: object) -> None:
        try:
            with socket.socket(family, kind) as one:
                one.settimeout(2)
                one.connect(address)  # type: ignore[arg-type]  # of its family
                one.send(b"x")
            say(f"connected to {name}")
        except OSError:
            pass

    attempt("tcp on loopback", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", where["port"]))
    attempt("tcp on loopback, IPv6", socket.AF_INET6, socket.SOCK_STREAM, ("::ffff:127.0.0.1", where["port"]))
    attempt("the abstract socket", socket.AF_UNIX, socket.SOCK_STREAM, "\0" + where["abstract"])
    attempt("the path socket", socket.AF_UNIX, socket.SOCK_STREAM, where["socket"])
    for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/dbus/system_bus_socket", "/run/snapd.socket"):
        attempt(path, socket.AF_UNIX, socket.SOCK_STREAM, path)
    if hasattr(socket, "AF_VSOCK"):
        attempt("vsock of the host", socket.AF_VSOCK, socket.SOCK_STREAM, (2, 1024))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.sendto(b"x", ("127.0.0.1", where["port"]))
            one.settimeout(0.2)
            one.sendto(b"x", ("255.255.255.255", where["port"]))
        except OSError:
            pass


def makes_raw_sockets(where: Where) -> None:
    """Packets, netlink with rights, and kernel interfaces that have had holes."""
    import ctypes
    import socket

    kinds = {"packet": (17, socket.SOCK_RAW), "icmp": (socket.AF_INET, socket.SOCK_RAW)}
    for name, (family, kind) in kinds.items():
        try:
            socket.socket(family, kind, 1).close()
            say(f"has a raw {name} socket")
        except OSError:
            pass
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = ctypes.create_string_buffer(b"\x01\0\0\0\x04\0\0\0\x04\0\0\0\x01\0\0\0", 128)
    if libc.syscall(321, 0, attributes, 128) >= 0:  # bpf(BPF_MAP_CREATE)
        say("made a bpf map")


# --- more rights ---------------------------------------------------------------------------------


def makes_namespaces(where: Where) -> None:
    """A user namespace of its own gives all capabilities in there, and with them most of the kernel."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    for name, flags in {"user": 0x10000000, "user and mount": 0x10020000, "user and network": 0x50000000}.items():
        pid = os.fork()
        if pid == 0:
            os._exit(0 if libc.unshare(flags) == 0 else 1)
        if os.waitpid(pid, 0)[1] == 0:
            say(f"made a {name} namespace")
    stack = ctypes.create_string_buffer(65536)
    child = libc.syscall(56, 0x10000000 | 17, ctypes.byref(stack, 65000), 0, 0, 0)  # clone(CLONE_NEWUSER)
    if child == 0:
        os._exit(0)
    if child > 0:
        say("cloned into a user namespace")


def mounts(where: Where) -> None:
    """Mounts, other namespaces, another root."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    here = os.getcwd().encode()
    if libc.mount(b"tmpfs", here, b"tmpfs", 0, None) == 0:
        say("mounted a tmpfs")
    if libc.mount(b"/", here, None, 0x1000, None) == 0:
        say("bound / into its folder")
    for pid in (1, *where["neighbours"]):
        for kind in ("net", "mnt", "pid", "user"):
            try:
                descriptor = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
            except OSError:
                continue
            own = os.stat(f"/proc/self/ns/{kind}").st_ino == os.fstat(descriptor).st_ino
            if not own and libc.setns(descriptor, 0) == 0:
                say(f"entered the {kind} namespace of process {pid}")
    try:
        os.chroot(here)
        say("changed its root")
    except OSError:
        pass


def gains_rights(where: Where) -> None:
    """Programs with setuid, other users, devices."""
    import subprocess

    for argv in (["su", "-c", "id", "root"], ["sudo", "-n", "id"], ["mount", "-t", "tmpfs", "x", "/mnt"]):
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=5, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            say(f"{argv[0]} worked: {done.stdout[:60]!r}")
    for call, number in ((os.setuid, 0), (os.setgid, 0), (os.setuid, 65532)):
        try:
            if number not in (os.getuid(), os.getgid()):
                call(number)
                say(f"became {number}")
        except OSError:
            pass
    for path in ("/dev/mem", "/dev/vda", "/dev/sda", "/dev/loop-control", "/dev/kvm", "/dev/kmsg"):
        try:
            os.close(os.open(path, os.O_RDWR))
            say(f"opened {path}")
        except OSError:
            pass


def writes_outside(where: Where) -> None:
    """Every folder that it may not write to; what it can, it says."""
    places = [where["anybody"], where["owner"], where["cache"], where["home"], "/usr/local/lib", "/etc", "/root"]
    places += [os.path.join(where["cache"], one) for one in ("weights", "wheelhouse", "artifacts", "payloads", "tmp")]
    for place in (*places, os.environ.get("MODEL_DIR", "/nowhere"), os.path.dirname(sys.executable)):
        path = os.path.join(place, where["token"] + "-written")
        try:
            with open(path, "w") as file:
                file.write("x")
            os.unlink(path)
            say(f"wrote into {place}")
        except OSError:
            pass
    for change in (lambda: os.chmod(where["public"], 0o777), lambda: os.unlink(where["public"])):
        try:
            change()
            say("changed " + where["public"])
        except OSError:
            pass


# --- staying -------------------------------------------------------------------------------------


def outlives(where: Where) -> None:
    """A daemon that leaves its session, its parent and, where it may, its control group."""
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                argv = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"]
                os.execv(argv[0], [*argv, where["token"] + "-daemon"])  # noqa: S606
            os._exit(0)
        os.wait()


def forks(where: Where) -> None:
    """More children than it may have; each only sleeps, so that this machine survives."""
    import time

    made = 0
    for _ in range(400):
        try:
            if os.fork() == 0:
                time.sleep(600)
                os._exit(0)
        except OSError:
            break
        made += 1
    if made > 64:
        say(f"made {made} processes")


def leaves_in_memory(where: Where) -> None:
    """What the next one may find: System V and POSIX memory, queues, keys, sockets, files in shared folders."""
    import contextlib
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    key = 0x4057113
    if libc.shmget(key, 4096, 0o600) >= 0:
        say("found the memory that another start had left")
    libc.shmget(key, 4096, 0o1666)
    if libc.syscall(249, b"user", b"hostile", None, -4) >= 0:  # request_key, user keyring
        say("found the key that another start had left")
    libc.syscall(248, b"user", b"hostile", b"text", 4, -4)  # add_key, to the user's keyring
    for folder in ("/tmp", "/var/tmp", "/dev/shm", "/run/lock", "/run/user", "/dev/mqueue"):
        path = os.path.join(folder, where["token"] + "-left")
        if os.path.exists(path):
            say(f"found {path}, which another start had left")
        with contextlib.suppress(OSError), open(path, "w") as file:
            file.write("left")


# --- using up ------------------------------------------------------------------------------------


def fills_one_file(where: Where) -> None:
    """400 MB into one file, a piece at a time."""
    import time

    with open("one", "wb") as file:
        for number in range(400):
            file.write(bytes(2**20))
            file.flush()
            if number > 100:
                time.sleep(0.005)
    say("wrote 400 MB")


def fills_many_files(where: Where) -> None:
    """400 MB in files that are each within the bound, faster than anybody looks."""
    for number in range(100):
        with open(f"many-{number}", "wb") as file:
            file.write(bytes(4 * 2**20))
    say("wrote 400 MB in 100 files")


def fills_by_children(where: Where) -> None:
    """The same by children, each with bounds of its own."""
    pids = []
    for number in range(10):
        pid = os.fork()
        if pid == 0:
            try:
                for part in range(10):
                    with open(f"part-{number}-{part}", "wb") as file:
                        file.write(bytes(4 * 2**20))
            except OSError:
                os._exit(1)
            os._exit(0)
        pids.append(pid)
    if sum(os.waitpid(pid, 0)[1] == 0 for pid in pids) == 10:
        say("wrote 400 MB by ten children")


def fills_deleted_files(where: Where) -> None:
    """What was deleted and is still open takes room all the same, and nobody sees it who walks the folder."""
    kept = []
    for number in range(100):
        file = open(f"gone-{number}", "wb")  # noqa: SIM115 -- kept open on purpose
        os.unlink(file.name)
        file.write(bytes(4 * 2**20))
        file.flush()
        kept.append(file)
    say("wrote 400 MB into deleted files")


def fills_inodes(where: Where) -> None:
    """Empty files: a disk without inodes is full as well."""
    made = 0
    try:
        for number in range(200_000):
            os.close(os.open(f"inode-{number}", os.O_CREAT))
            made += 1
    except OSError:
        pass
    if made == 200_000:
        say("made 200,000 files")


def fills_shared_memory(where: Where) -> None:
    """The folders that are in memory count as memory, or as disk: in sum they must end."""
    total = 0
    for folder in ("/dev/shm", "/tmp", "/var/tmp", "/run", "/run/lock"):
        try:
            for number in range(100):
                with open(f"{folder}/{where['token']}-{number}", "wb") as file:
                    file.write(bytes(4 * 2**20))
                total += 4
        except OSError:
            pass
    if total > 200:
        say(f"wrote {total} MB into folders in memory")


def nests_deeply(where: Where) -> None:
    """20,000 folders, each in the one before: whoever removes them by recursion does not get far."""
    for _ in range(20_000):
        try:
            os.mkdir("d")
            os.chdir("d")
        except OSError:
            break


def nests(where: Where) -> None:
    """1,500 folders: more than Python's recursion goes."""
    for _ in range(1500):
        os.mkdir("d")
        os.chdir("d")


def prints_endlessly(where: Where) -> None:
    """600 MB on each stream, without an end of line."""
    for _ in range(600):
        os.write(1, b"x" * 2**20)
        os.write(2, b"\x1b[2Jy\x00" * (2**20 // 6))


def locks_folders(where: Where) -> None:
    """Folders that their owner cannot enter: who cleans up must be able to all the same."""
    import tempfile

    top = tempfile.mkdtemp(dir=".")
    os.mkdir(f"{top}/inner")
    open(f"{top}/inner/file", "w").close()
    os.chmod(f"{top}/inner", 0)
    os.chmod(top, 0)


# --- pretending ----------------------------------------------------------------------------------


def swaps_its_socket(where: Where) -> None:
    """A link in the place of its socket, so that whoever connects does so to another's, with his own rights."""
    import contextlib

    for name in ("s", os.path.join(os.environ["HOME"], "s")):
        with contextlib.suppress(OSError):
            os.unlink(name)
        with contextlib.suppress(OSError):
            os.symlink(where["socket"], name)


def says_nothing(where: Where) -> None:
    """Harmless: what must pass."""
