"""The bounds of unit tests hold."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness import paths, process


def test_no_process_can_be_started() -> None:
    """Every usual way to start a process fails the test."""
    for start in (lambda: subprocess.run(["true"], check=False), os.fork, lambda: os.system("true")):  # noqa: S605
        with pytest.raises(pytest.fail.Exception, match="starts a process"):
            start()


def test_no_network_can_be_reached() -> None:
    """Connecting anywhere but to a Unix socket fails the test."""
    with socket.socket() as connection, pytest.raises(pytest.fail.Exception, match="connects to"):
        connection.connect(("127.0.0.1", 9))
    with socket.socket(socket.AF_UNIX) as connection, pytest.raises(FileNotFoundError):
        connection.connect("/nonexistent/socket")


def test_cache_and_results_are_the_tests_own(tmp_path: Path) -> None:
    """Nothing lands outside the test's temporary folder."""
    assert paths.cache() == tmp_path / "cache"
    assert paths.results() == tmp_path / "results"


def test_the_watchdog_is_told_and_not_started(watchdog: object, tmp_path: Path) -> None:
    """A temporary folder is listed while it is there, and struck off afterwards."""
    with process.temporary_folder("x") as folder:
        assert list(watchdog.left.values()) == [{"folder": str(folder)}]
        assert folder.parent == tmp_path / "cache" / "tmp"
    assert watchdog.left == {}
    assert not folder.exists()


@pytest.mark.spawns
def test_a_marked_test_may_start_a_process() -> None:
    """The marker opens exactly what it says."""
    assert subprocess.run([sys.executable, "-c", ""], check=False).returncode == 0
