"""All that is done to the project: ``nox -s bench``, ``tests``, ``nightly``, ``carry``, ``lint``, ``benchmarks``.

Each session sets up all it needs. As root on Debian that includes system packages, which are announced;
elsewhere it says what is missing and what it leaves out, and goes on with the rest.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["tests"]
nox.options.error_on_missing_interpreters = True

#: Debian's packages, and what can't be done without each.
SYSTEM_PACKAGES = {
    "docker.io": "the methods that make images",
    "iptables": "the methods that make images",
    "mmdebstrap": "base images where no registry is in reach",
    "docker-registry": "the packed size and the installation of images",
    "binutils": "the pyinstaller methods",
    "e2fsprogs": "bounding what a model writes in sum",
}
#: What only root has a use for.
ROOT_ONLY = ("docker.io", "iptables", "e2fsprogs")
#: In place of the first two for an ordinary user, whose engine is another.
USER_PACKAGES = {
    "podman": "the methods that make images, as an ordinary user",
    "uidmap": "the same, and base images as an ordinary user",
    "netavark": "Podman, which does not start without",
}
#: What only tests need; of root, who becomes an ordinary user in one of them.
TEST_PACKAGES = {"chromium": "the test that the report's sliders rank as the engine does", **USER_PACKAGES}
CONSTRAINTS = "constraints.txt"
BENCH = ("container", "venv", "pex", "rest-api")
#: After so many nights each library of benchmarks/carry.toml was packaged once more.
CARRY_NIGHTS = 32


@nox.session(reuse_venv=True)
def bench(session: nox.Session) -> None:
    """The main job: package a real model in four ways, measure, recommend, and write an HTML report.

    All methods take a quarter of an hour: ``harness run digits-onnx``.
    """
    system_packages(session)
    install(session, ".[all]")
    report = Path("results", "report.html").absolute()
    started = start_engine(session)
    try:
        methods = [part for method in BENCH for part in ("--method", method)]
        session.run("harness", "run", "digits-onnx", "--profile", "quick", *methods, success_codes=[0, 1])
        # No success where nothing was measured: then there is nothing to recommend.
        session.run("harness", "recommend", "digits-onnx", "--scenario", "edge-device")
        session.run("harness", "report", "--out", str(report))
    finally:
        if started:
            stop_engine(session)


@nox.session(reuse_venv=True)
def tests(session: nox.Session) -> None:
    """All tests against the built wheel: units, the real suite, a part of the hostile inputs; then the linters."""
    without = leave_out(session)
    install(session, ".[all]", "--group", "test")
    env = {"HARNESS_TEST_WITHOUT": ",".join(without), "PYTHONDONTWRITEBYTECODE": "", "HARNESS_CACHE": cache()}
    # Not `python -m pytest`: the checkout must not shadow the installed wheel.
    two = ("--numprocesses=2", "--dist=loadgroup", "--no-loadscope-reorder")
    session.run("pytest", "tests/unit", *two, *session.posargs, env=env)
    # Side by side, each with a cache and an engine of its own: these tests mostly wait for tools.
    session.run("pytest", "tests/real", *two, "--durations=20", *session.posargs, env=env)
    session.run("pytest", "tests/hostile", "--part=quick", "--numprocesses=2", *session.posargs, env=env)
    session.notify("lint")


@nox.session(reuse_venv=True)
def hostile(session: nox.Session) -> None:
    """Every hostile input, tried against the built wheel: models, builds, results, requests. Under half an hour.

    ``nox -s hostile -- --as-user`` tries those that apply as an ordinary user; ``-k NAME`` only some.
    """
    env = {"HARNESS_TEST_WITHOUT": ",".join(leave_out(session)), "PYTHONDONTWRITEBYTECODE": ""}
    install(session, ".[all]", "--group", "test")
    # Each of the two has a cache, a home and an engine of its own; what is left is told apart by them.
    session.run("pytest", "tests/hostile", "--part=all", "--numprocesses=2", *session.posargs, env=env)


@nox.session(reuse_venv=True)
def lint(session: nox.Session) -> None:
    """Ruff, mypy strict, and the order of imports."""
    install(session, ".[all]", "--group", "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")


@nox.session(reuse_venv=True)
def nightly(session: nox.Session) -> None:
    """One night: every model with every method, what changed since other nights, a report, and a few libraries.

    Some three hours; the libraries are those of ``nox -s carry`` whose turn it is.

    ``nox -s nightly -- --resume RUN_ID`` goes on with one that was interrupted.
    """
    system_packages(session)
    install(session, ".[all]")
    started = start_engine(session)
    plan = session.posargs or ("--profile", "nightly")
    try:
        session.run("harness", "run", *plan, success_codes=[0, 1])
        session.run("harness", "changes", "--all")
        session.run("harness", "report")
    finally:
        if started:
            stop_engine(session)
    piece = f"{datetime.now(UTC).timetuple().tm_yday % CARRY_NIGHTS + 1}/{CARRY_NIGHTS}"
    arguments = ("--shard", piece, "--again", "all", "--seconds", "2400")
    session.run("python", "benchmarks/carry.py", *arguments, success_codes=[0, 1])


@nox.session(reuse_venv=True)
def carry(session: nox.Session) -> None:
    """Package the libraries that people use most by every method, or go on with it: ``nox -s carry -- --seconds 3600``.

    All of them take a day; ``nox -s carry -- --list`` says what is known. Exit code 1 where a cell failed.
    """
    system_packages(session)
    install(session, ".[all]")
    session.run("python", "benchmarks/carry.py", *session.posargs)


@nox.session(reuse_venv=True)
def benchmarks(session: nox.Session) -> None:
    """The project's own speed, by pytest-benchmark."""
    system_packages(session)
    install(session, ".[all]", "--group", "test")
    session.run("pytest", "tests/benchmarks", "--benchmark-only", *session.posargs)


@nox.session(reuse_venv=True)
def fuzz(session: nox.Session) -> None:
    """Fuzz every reader of files: ``nox -s fuzz -- --seconds 3600``. What breaks one is kept, and its path printed."""
    install(session, ".[all]", "--group", "fuzz")
    env = {"PYTHONPATH": str(Path("tests").absolute()), "HARNESS_CACHE": cache()}
    session.run("python", "-m", "fuzz.run", *session.posargs, env=env)


@nox.session(reuse_venv=True)
def kills(session: nox.Session) -> None:
    """Kill the harness 200 times at random moments, as root; two hours: ``nox -s kills -- --kills 20``."""
    system_packages(session)
    install(session, ".[all]")
    session.run("python", "benchmarks/kills.py", *session.posargs)


@nox.session(reuse_venv=True)
def verdicts(session: nox.Session) -> None:
    """Hold verdicts against real starts on Debian releases, as root: ``nox -s verdicts -- digits-forest``."""
    system_packages(session)
    install(session, ".[all]")
    session.run("python", "benchmarks/verdicts.py", *session.posargs)


@nox.session
def constraints(session: nox.Session) -> None:
    """Pin every Python package anew, for all supported Pythons; the other sessions install within these."""
    session.install("uv")
    command = ["uv", "pip", "compile", "--universal", "--python-version", "3.11", "--all-extras", "--upgrade"]
    groups = ["--group", "test", "--group", "lint", "--no-annotate", "--no-header", "--quiet"]
    session.run(*command, *groups, "pyproject.toml", "--output-file", CONSTRAINTS)


def install(session: nox.Session, *what: str) -> None:
    """Install within the pinned versions."""
    session.install(*what, "--constraint", CONSTRAINTS)


def start_engine(session: nox.Session) -> bool:
    """Start the private Docker engine where no engine answers; whether it was started here, to be stopped again."""
    running = session.run("harness", "engine", "status", success_codes=[0, 3], silent=True)
    if " engine: " in str(running):
        return False
    # What it says meanwhile goes to the terminal.
    started = session.run("harness", "engine", "start", "--json", success_codes=[0, 2, 3], silent=True, stderr=None)
    try:
        return bool(json.loads(str(started))["started"])
    except (ValueError, KeyError):
        return True  # it has said why not; maybe there is an engine, without a base image


def stop_engine(session: nox.Session) -> None:
    """Stop the private engine, unless others have come to use it: exit code 1."""
    session.run("harness", "engine", "stop", success_codes=[0, 1])


def cache() -> str:
    """The harness's own cache folder, so that a second run is fast; see ``harness.paths.cache``."""
    home = "/var/cache" if os.geteuid() == 0 else os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    return os.environ.get("HARNESS_CACHE") or f"{home}/ml-packaging-harness"


def leave_out(session: nox.Session) -> list[str]:
    """What the tests are told to leave out on this machine, said aloud; empty where all is there."""
    system_packages(session)
    system_packages(session, TEST_PACKAGES)
    found = []
    if os.geteuid() != 0:
        found.append("root")
    if shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None or os.geteuid() != 0:
        found.append("engine")
    if not open_to_all(Path(__file__).parent, Path(session.virtualenv.location)):
        found.append("user")
    if not all(map(is_installed, (*USER_PACKAGES, "mmdebstrap"))):
        found.append("podman")
    found += [what for what, program in {"browser": "chromium", "npm": "npm"}.items() if shutil.which(program) is None]
    if found:
        session.warn(f"Tests that need {' and '.join(found)} are left out on this machine.")
    return found


def open_to_all(*folders: Path) -> bool:
    """Whether every user may walk to the folders; their own user may in any case."""
    if os.geteuid() != 0:
        return True
    return all(place.stat().st_mode & 0o001 for folder in folders for place in (folder, *folder.absolute().parents))


def system_packages(session: nox.Session, wanted: Mapping[str, str] = SYSTEM_PACKAGES) -> None:
    """Install what is missing as root on Debian; elsewhere say what is missing and what is left out."""
    if wanted is SYSTEM_PACKAGES and os.geteuid() != 0:
        wanted = USER_PACKAGES | {name: use for name, use in wanted.items() if name not in ROOT_ONLY}
    missing = [name for name in wanted if not is_installed(name)]
    if not missing:
        return
    uses = ", ".join(f"{name} (for {wanted[name]})" for name in missing)
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        remedy = f"sudo apt-get install {' '.join(missing)}" if apt else "install them with this system's tools"
        session.warn(f"Missing system packages: {uses}. Going on without; to have them: {remedy}")
        return
    session.log(f"Installing system packages: {uses}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    session.run(apt, "update", "-qq", external=True, env=quiet, success_codes=range(256))
    session.run(
        *(apt, "install", "-y", "-qq", "--no-install-recommends", *missing),
        external=True,
        env=quiet,
        silent=True,
        success_codes=range(256),  # what is still missing is said below
    )
    still = [name for name in missing if not is_installed(name)]
    if still:
        session.warn(f"apt-get could not install {', '.join(still)}. Going on without.")


def is_installed(package: str) -> bool:
    """Whether dpkg knows it as installed, or its program is there by other means."""
    programs = {"docker.io": "dockerd", "binutils": "objcopy", "e2fsprogs": "mkfs.ext4", "uidmap": "newuidmap"}
    folders = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/lib/podman:/usr/libexec/podman"
    return shutil.which(programs.get(package, package), path=folders) is not None
