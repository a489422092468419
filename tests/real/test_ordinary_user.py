"""An ordinary user packages and measures: without an engine, in the user's own namespaces, and with Podman.

As root the user is made up for the time of the test, with numbers of subordinate users, in a mount namespace that has
lists of accounts of its own: the machine's are not touched. Elsewhere it is who runs the tests.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import harness as package
from harness import files

USER, USER_ID, SUBORDINATES = "harness-ordinary", 61418, 1_800_000_000

#: What is written of the user, by the list of accounts.
LINES = {
    "passwd": f"{USER}:x:{USER_ID}:{USER_ID}::{{home}}:/bin/sh",
    "group": f"{USER}:x:{USER_ID}:",
    "subuid": f"{USER}:{SUBORDINATES}:65536",
    "subgid": f"{USER}:{SUBORDINATES}:65536",
}
BECOME = 'for each in passwd group subuid subgid; do mount --bind "$0/$each" "/etc/$each"; done; exec setpriv "$@"'
#: Of the variables of who runs the tests these are not the user's.
NOT_PASSED = ("HOME", "USER", "LOGNAME", "XDG_", "HARNESS_", "DOCKER_", "TMPDIR", "PYTHONPATH", "PYTEST_")


#: The methods that need no engine, but for the one whose interpreter has to be fetched.
WITHOUT_ENGINE = {"venv", "conda", "pex", "pyinstaller", "pyinstaller-onefile", "rest-api", "cloud-functions"}


@dataclass(frozen=True)
class Ordinary:
    """A user with a home of its own that nobody else may look into."""

    home: Path
    accounts: Path
    python: Sequence[str]
    path: str

    def __call__(self, *args: object, timeout_s: float = 600.0) -> str:
        """Run ``harness ...`` as that user; what it prints. It ends well."""
        done = self.run([*self.python, "-m", "harness", *map(str, args)], timeout_s=timeout_s)
        assert done.returncode == 0, f"harness {args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a program as that user."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(NOT_PASSED)}
        env |= {"HOME": str(self.home), "USER": USER, "PYTHONPATH": self.path, "HARNESS_REGISTRY": "off"}
        env |= {"DOCKER_HOST": f"unix://{self.home}/none.sock"}  # no engine of the machine's
        if os.geteuid() == 0:
            # By way of env: setpriv still has rights of root while it looks for the program.
            who = [f"--reuid={USER_ID}", f"--regid={USER_ID}", "--clear-groups", "--", "env"]
            argv = ["unshare", "--mount", "sh", "-euc", BECOME, str(self.accounts), *who, *argv]
        else:
            env["USER"] = os.environ.get("USER", "")
        return subprocess.run(
            argv, env=env, cwd=self.home, capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def owns(self, folder: Path) -> Path:
        """A copy of the folder in the home, the user's own."""
        copy = self.home / folder.name
        shutil.copytree(folder, copy)
        if os.geteuid() == 0:
            for path in (copy, *copy.rglob("*")):
                os.chown(path, USER_ID, USER_ID)
        return copy

    def processes(self) -> list[str]:
        """What of the user still runs; of who runs the tests nothing is looked for."""
        return list(_processes_of(USER_ID).values()) if os.geteuid() == 0 else []


def _processes_of(user: int) -> dict[int, str]:
    """The commands of the user's processes, by their numbers."""
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError):
            if entry.name.isdigit() and entry.stat().st_uid == user:
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state not in ("Z", "X"):
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(entry.name)] = command.decode(errors="replace")
    return found


@pytest.fixture(scope="module")
def ordinary(ordinary_wanted: None) -> Iterator[Ordinary]:
    """The user; with a home and all in it gone afterwards, and nothing of it running."""
    folder = Path(tempfile.mkdtemp(prefix="harness-ordinary-", dir="/var/tmp"))
    folder.chmod(0o755)
    home, accounts = folder / "home", folder / "etc"
    home.mkdir(mode=0o700)
    accounts.mkdir()
    for name, line in LINES.items():
        found = Path("/etc", name)
        before = found.read_text() if found.is_file() else ""
        (accounts / name).write_text(f"{before}{line.format(home=home)}\n")
    if os.geteuid() == 0:
        os.chown(home, USER_ID, USER_ID)
    path = ":".join([str(Path(package.__file__).parents[1]), *(each for each in sys.path if "site-packages" in each)])
    made = Ordinary(home=home, accounts=accounts, python=(), path=path)
    # An interpreter below root's home is out of reach; the system's may have the same minor version.
    version = f"import sys, click; assert sys.version_info[:2] == {sys.version_info[:2]}"
    pythons = [each for each in (sys.executable, "/usr/bin/python3") if not made.run([each, "-c", version]).returncode]
    assert pythons, "this user may start no Python that has the harness; HARNESS_TEST_WITHOUT=user leaves this test out"
    try:
        yield Ordinary(home=home, accounts=accounts, python=pythons[:1], path=path)
        assert made.processes() == []
    finally:
        for pid in _processes_of(USER_ID) if os.geteuid() == 0 else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        files.remove(folder)


@pytest.fixture(scope="module")
def with_podman(ordinary: Ordinary, podman: None) -> Iterator[Ordinary]:
    """The user with a private engine that runs meanwhile."""
    try:
        ordinary("engine", "start")
        yield ordinary
    finally:
        ordinary("engine", "stop")


def ready(ordinary: Ordinary) -> set[str]:
    """The methods that doctor calls ready."""
    done = ordinary.run([*ordinary.python, "-m", "harness", "doctor", "--json"], timeout_s=120)
    checks: list[Mapping[str, Any]] = json.loads(done.stdout).get("checks", [])
    assert checks, done.stdout + done.stderr
    return {one["what"].removeprefix("method ") for one in checks if one["ready"] and one["what"].startswith("method ")}


def measured(ordinary: Ordinary, model: Path, *methods: str) -> Mapping[str, Any]:
    """What a short run of the model with these methods found, which started and answered."""
    chosen = [part for method in methods for part in ("--method", method)]
    results = ordinary.home / "results"
    told = ordinary(*("run", model, "--profile", "quick", "--rounds", 1, "--results", results, "--json"), *chosen)
    found: Mapping[str, Any] = json.loads(told)
    return found


def test_without_an_engine(ordinary: Ordinary, make_model: Any) -> None:
    """Packaged, started and asked; also a server that only speaks TCP, in the user's own network namespace."""
    assert ready(ordinary) >= WITHOUT_ENGINE
    measured(ordinary, ordinary.owns(make_model("ordinary")), "venv", "cloud-functions")
    manifest = json.loads(next((ordinary.home / "results").rglob("run.json")).read_text())
    assert manifest["host"]["as_root"] is False


def test_with_podman(with_podman: Ordinary, make_model: Any) -> None:
    """Twelve of the methods are ready; an image is built, weighed, pulled and started, and says by what."""
    assert len(ready(with_podman)) >= 12
    measured(with_podman, with_podman.owns(make_model("ordinary-image")), "container")
    text = "\n".join(path.read_text() for path in (with_podman.home / "results").rglob("run.json"))
    assert "in an ordinary user's Podman" in text
