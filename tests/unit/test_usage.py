"""What is in use may not be dropped, whoever uses it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import leftovers, paths, usage
from harness.errors import DiskFull, MissingComponent

USER = """
import sys
from pathlib import Path
from harness import usage
print(usage.used(Path(sys.argv[1])), flush=True)
sys.stdin.readline()
usage.renew()
print("renewed", flush=True)
sys.stdin.readline()
"""


def entry(name: str = "entry") -> Path:
    """An entry of the cache that was used long ago."""
    found = paths.cache() / "artifacts" / name
    found.mkdir(parents=True)
    os.utime(found, (1e9, 1e9))
    return found


def test_what_is_used_stays() -> None:
    """From its use on; what was used before this process came may go."""
    one, other = entry("one"), entry("other")
    assert usage.used(one)
    assert (usage.drop(one), usage.drop(other)) == (False, True)
    assert (one.is_dir(), other.exists()) == (True, False)


def test_what_is_not_there_is_told() -> None:
    """It is to be made then, and what is made is in use at once."""
    one = paths.cache() / "artifacts" / "new"
    assert not usage.used(one)
    assert not usage.drop(one)
    made = entry("made")
    usage.keep(made, one)
    assert one.is_dir()
    assert not usage.drop(one)


def test_what_was_used_before_it_renewed_may_go() -> None:
    """A run that goes on to its next model lets go of the last one's."""
    one = entry()
    usage.used(one)
    time.sleep(0.02)
    usage.renew()
    assert usage.drop(one)
    again = entry()
    usage.used(again)
    assert not usage.drop(again)


KILLED = """
import contextlib, os, signal, sys
from pathlib import Path
from harness import process, usage
process.guarded = lambda **_: contextlib.nullcontext()  # the watchdog is killed as well
process.files.remove = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
usage.drop(Path(sys.argv[1]))
"""


@contextlib.contextmanager
def process(one: Path) -> Iterator[Any]:
    """A second harness that uses the entry."""
    child = subprocess.Popen(
        [sys.executable, "-c", USER, str(one)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "True\n"
        yield child
    finally:
        child.kill()
        child.communicate()


@pytest.mark.spawns
def test_what_another_process_uses_stays_until_it_ends() -> None:
    """However it ends; its file is removed by the next one."""
    one, other = entry("one"), entry("other")
    usage.renew()
    with process(one) as child:
        assert (usage.drop(one), usage.drop(other)) == (False, True)
        time.sleep(0.02)
        usage.renew()
        assert not usage.drop(one)
        assert str(child.pid) in {file.name.partition("-")[0] for file in (paths.cache() / "users").iterdir()}
    assert usage.drop(one)
    assert str(child.pid) not in {file.name.partition("-")[0] for file in (paths.cache() / "users").iterdir()}


@pytest.mark.spawns
def test_what_another_process_let_go_of_may_go() -> None:
    """It lives on, and uses the entry no longer."""
    one = entry()
    with process(one) as child:
        time.sleep(0.02)
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "renewed\n"
        usage.renew()
        assert usage.drop(one)


def test_nobody_takes_into_use_what_is_being_dropped() -> None:
    """Who comes meanwhile waits at the gate, and is told that it is gone."""
    one = entry()

    def closed() -> None:
        gate = os.open(paths.cache() / "users" / "gate", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(gate)

    assert usage.drop(one, first=closed)
    assert not usage.used(one)
    assert not usage.drop(one)


def test_what_fails_first_keeps_it() -> None:
    """An image that can't be removed, say."""
    one = entry()

    def fail() -> None:
        raise MissingComponent("no engine answers")

    with pytest.raises(MissingComponent):
        usage.drop(one, first=fail)
    assert one.is_dir()


@pytest.mark.spawns
def test_a_kill_while_it_is_dropped_leaves_no_half_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is out of the way at once, and the next harness removes what is left of it."""
    one = entry()
    for number in range(200):
        (one / str(number)).write_text("x")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(one)], capture_output=True, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not usage.used(one)
    (left,) = (paths.cache() / "tmp").glob("dropped-*")
    assert len([*(left / "entry").iterdir()]) == 200
    monkeypatch.setattr(leftovers, "_NEW_S", -1.0)
    assert leftovers.remove(paths.cache() / "tmp") == 1
    assert not left.exists()


def refusing(number: int) -> Callable[..., int]:
    """``os.open`` that can make nothing among the users."""
    really = os.open

    def refuse(path: Any, *how: Any, **more: Any) -> int:
        if Path(path).parent.name == "users":
            raise OSError(number, os.strerror(number))
        return really(path, *how, **more)

    return refuse


def test_a_cache_that_may_only_be_read_is_used_and_never_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be noted there."""
    one = entry()
    monkeypatch.setattr(os, "open", refusing(errno.EROFS))
    assert usage.used(one)
    assert not usage.drop(one)
    usage.renew()


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be noted is not taken for used."""
    one = entry()
    monkeypatch.setattr(os, "open", refusing(errno.ENOSPC))
    with pytest.raises(DiskFull):
        usage.used(one)


def test_a_process_has_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And goes along to another cache."""
    usage.used(entry("one"))
    usage.used(entry("two"))
    assert len([*(paths.cache() / "users").iterdir()]) == 2  # and the gate
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "other"))
    usage.used(entry())
    assert len([*(paths.cache() / "users").iterdir()]) == 2
