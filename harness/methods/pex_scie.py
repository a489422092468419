"""``pex-scie``: the PEX with a Python of its own, one executable that needs none on the target.

``pex3 scie create --style eager`` has the tool *science* put three things into one file: the launcher *scie-jump*, an
interpreter of python-build-standalone, and the PEX as :mod:`harness.methods.pex` makes it. None of the first three
is on a package index; all are released on GitHub. Where that is out of reach, ``HARNESS_SCIE_ASSETS`` names a folder,
or the address of a mirror, that holds

* ``science-fat-PLATFORM`` 0.21.0 (from https://github.com/a-scie/lift/releases), beside what two commands of it make:
* ``science download scie-jump --version 1.13.0 FOLDER``
* ``science download provider PythonBuildStandalone --version 3.11 --release 20260320
  --flavor install_only_stripped FOLDER``, where 3.11 is the version of the models' Python

Fetching is no part of a build: ``prepare`` does it once, and a build is served from the local folder over loopback.

What was never run: science, scie-jump and the interpreter themselves, which were out of reach where this was
written. What is sent to and asked by a stand-in for science was held against PEX 2.105.2 (``scie/science.py``) and
science's sources (a-scie/lift, ``science/commands/download.py``, ``providers/python_build_standalone.py``), read
on 2026-11-23.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import http.client
import json
import os
import platform
import queue
import shutil
import threading
import urllib.error
import urllib.parse
import urllib.request
from contextlib import AbstractContextManager
from pathlib import Path

from harness import files, interpreter, paths, process, settings, tools, tree
from harness.errors import BuildFailure, MissingComponent
from harness.interpreter import Interpreter
from harness.methods import hosted, layout, pex, variants
from harness.methods.contract import (
    Artifact,
    Availability,
    BuildOptions,
    Installed,
    Layers,
    Limit,
    Limits,
    Mends,
    Sizes,
)
from harness.methods.serving import Served
from harness.platforms.depot import Depot
from harness.spec import capabilities, pythons
from harness.spec.model import Model
from harness.spec.scenario import Facility
from harness.spec.weights import LockedModel

ID = "pex-scie"
FAMILY = "executable"
LAYERS = Layers(
    environment="single file with its own Python", interface="command line, Unix socket", platform="self-hosted"
)
FIDELITY = "measured"
LIMITS: tuple[Limit, ...] = ()
REQUIREMENTS: tuple[str, ...] = ()
REQUIRES: frozenset[Facility] = frozenset()
PROVIDES = capabilities.given(LAYERS)
MENDS: frozenset[Mends] = frozenset({"prune"})

#: Where the assets are: a folder, or the address of a mirror.
ASSETS = "HARNESS_SCIE_ASSETS"

# What PEX 2.105.2 asks for (MIN_SCIENCE_VERSION, SCIE_JUMP_VERSION); a unit test holds the version against its lock.
PEX_VERSION = "2.105.2"
_SCIENCE, _JUMP = "0.21.0", "1.13.0"
#: The release of python-build-standalone; that there is one of this date is said in PEX's ``scie/science.py``.
_INTERPRETERS = "20260320"
_FLAVOR = "install_only_stripped"

_GITHUB = "https://github.com/a-scie/lift/releases/download"
_SERVING = paths.PACKAGE / "resources" / "pex" / "lift.py"
_PROVIDER = "providers/PythonBuildStandalone"
_PATIENCE_S = 3.0
_REMEDY = (
    f"set {ASSETS} to a folder or a mirror that holds them (the head of harness/methods/pex_scie.py says which "
    "commands make one), or let this machine reach github.com"
)

#: As with every artifact that lies on the target.
present, remove = hosted.present, hosted.remove


def check() -> Availability:
    """Whether PEX can be had, and the assets: are there, or their source answers within a few seconds."""
    found = pex.check()
    if not found.ready:
        return found
    reason = _lack(settings.text(ASSETS), _platform(), interpreter.default().minor)
    return Availability(ready=not reason, reason=reason, remedy=_REMEDY if reason else "")


def prepare(model: Model) -> None:
    """Make PEX's own environment, and fetch the assets. MissingComponent where they can't be had."""
    pex.prepare(model)
    _assets(pythons.of(model).minor)


def build(locked: LockedModel, workdir: Path, options: BuildOptions) -> Artifact:
    """The executable ``MODEL``; BuildFailure where only the PEX that goes into it came out."""
    variants.require(ID, options, locked.model)
    minor = locked.lock.python.minor
    folder, assets = layout.fresh_folder(workdir, "pex-scie"), _assets(minor)
    made = folder / locked.model.name
    with process.temporary_folder("pex-scie") as scratch:
        inside = scratch / f"{locked.model.name}.pex"
        facts = pex.write(locked, inside, options)
        bench = layout.bench_folder(options, "pex")
        output = _lift(inside, bench, assets, locked.lock.python, options)
        lifted = bench / "lifted" / locked.model.name
        if not _is_executable_with(lifted, inside):
            raise BuildFailure(
                "pex3 ended well, but made no executable with an interpreter in it", log=output, remedy=_REMEDY
            )
        with files.opened(lifted, below=bench) as source, made.open("xb") as written:
            shutil.copyfileobj(source, written, 2**20)
        made.chmod(0o755)
    return Artifact(
        method=ID,
        model=locked.model.name,
        digest=tree.sha256(made),
        path=made,
        facts={
            **facts,
            "science": _SCIENCE,
            "scie-jump": _JUMP,
            "interpreter": f"python-build-standalone {_INTERPRETERS}, {minor}, {_FLAVOR}",
        },
    )


def _lift(inside: Path, bench: Path, assets: Path, python: Interpreter, options: BuildOptions) -> str:
    """Have PEX and science make the executable in ``bench/lifted``, behind the door; what they printed."""
    home, lifted = bench / "home", bench / "lifted"
    for folder in (home, lifted):
        files.remove(folder)
        folder.mkdir()
    argv = [str(tools.executable("pex", "pex3")), "scie", "create", "--style", "eager", "--scie-only"]
    argv += ["--dest-dir", str(lifted), "--pex-root", str(bench / "scie")]
    argv += [
        "--scie-science-binary",
        str(assets / _names(_platform(), python.minor)[0]),
        "--scie-assets-base-url",
        "{url}",
    ]
    argv += ["--scie-python-version", python.minor, "--scie-pbs-release", _INTERPRETERS]
    argv += ["--scie-pbs-stripped", "--no-pypi", str(inside)]
    # A cache of its own for science, which is a scie itself: nothing of it is left in anyone's home.
    env = process.environment(home, PEX_IGNORE_RCFILES="1", SCIE_BASE=str(bench / "nce"))
    serving = [str(interpreter.default().path), "-I", str(_SERVING), str(assets)]
    shows = (tools.executable("pex").parent.parent, inside, assets, _SERVING)
    with tools.bench("pex3 scie create", shows=shows, writes=(bench,)) as at:
        return at.run([*serving, *argv], env=env, cwd=home, timeout_s=options.timeout_s).output


def _is_executable_with(file: Path, inside: Path) -> bool:
    """Whether ``file`` is a program of this machine that is larger than what went into it."""
    if file.is_symlink() or not file.is_file() or file.stat().st_size <= inside.stat().st_size:
        return False
    with file.open("rb") as stream:
        return stream.read(4) == b"\x7fELF"


# --- the assets ----------------------------------------------------------------------------------


def _platform() -> str:
    """This machine as the names of the assets have it."""
    return f"{platform.system().lower()}-{platform.machine()}"


def _names(system: str, minor: str) -> tuple[str, ...]:
    """The assets whose names are known beforehand, as ``science download`` lays them out; science first."""
    return (
        f"science-fat-{system}",
        f"jump/download/v{_JUMP}/scie-jump-{system}",
        f"jump/download/v{_JUMP}/scie-jump-{system}.sha256",
        f"{_PROVIDER}/download/{_INTERPRETERS}/distributions-{minor}-{_FLAVOR}.json",
    )


def _interpreter_name(listing: Path, system: str) -> str:
    """The archive of the interpreter for this machine, by the mirror's list; MissingComponent where it has none."""
    triple = f"{system.rpartition('-')[2]}-unknown-linux-gnu"
    try:
        assets = json.loads(listing.read_text())["assets"]
        found = [str(one["rel_path"]) for one in assets if one["target_triple"] == triple]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MissingComponent(f"{listing.name} is not a list of interpreters: {error}", remedy=_REMEDY) from error
    if not found or ".." in Path(found[0]).parts or found[0].startswith("/"):
        raise MissingComponent(f"{listing.name} has no interpreter for {triple}", remedy=_REMEDY)
    return f"{_PROVIDER}/{found[0]}"


@functools.cache
def _lack(given: str, system: str, minor: str) -> str:
    """What is lacking, in a reader's words; nothing if nothing is."""
    if system not in ("linux-x86_64", "linux-aarch64"):
        return f"there is no scie for {system} that was made here"
    if given and "://" not in given:
        return _lack_in(Path(given), system, minor)
    if (_cached(given, minor) / "complete").is_file():
        return ""
    name = _names(system, minor)[0]
    url = f"{given.rstrip('/')}/{name}" if given else f"{_GITHUB}/v{_SCIENCE}/{name}"
    trouble = _trouble_with(url)
    what = "the tool science, the launcher scie-jump and an interpreter of python-build-standalone"
    return f"{what} can't be fetched: {url} can't be had ({trouble})" if trouble else ""


def _trouble_with(url: str) -> str:
    """Why nothing can be fetched from there; nothing where it answers well. Names are looked up without a time limit
    of their own, so this goes on for as long as it takes in a thread that nobody waits for.
    """
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")  # noqa: S310 -- https, or what the user has named
            with urllib.request.urlopen(request, timeout=_PATIENCE_S):  # noqa: S310 -- as above
                answers.put("")
        except (OSError, ValueError, http.client.HTTPException) as error:
            answers.put(str(getattr(error, "reason", None) or error))

    threading.Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=_PATIENCE_S + 1.0)
    except queue.Empty:
        return f"no answer within {_PATIENCE_S + 1.0:g} s"


def _lack_in(folder: Path, system: str, minor: str) -> str:
    names = list(_names(system, minor))
    lacking = [name for name in names if not os.path.isfile(folder / name)]
    if not lacking:
        try:
            name = _interpreter_name(folder / names[-1], system)
        except MissingComponent as error:
            return error.problem
        lacking = [] if os.path.isfile(folder / name) else [name]
    if not lacking and not os.access(folder / names[0], os.X_OK):
        return f"{folder / names[0]} is not executable"
    return f"{folder} ({ASSETS}) does not have {', '.join(lacking)}" if lacking else ""


def _cached(given: str, minor: str) -> Path:
    key = hashlib.sha256(f"{given} {_SCIENCE} {_JUMP} {_INTERPRETERS}".encode()).hexdigest()[:16]
    return paths.cache() / "scie" / f"{key}-python{minor.replace('.', '')}"


def _assets(minor: str) -> Path:
    """The local folder with everything, fetched where it is not there."""
    given, system = settings.text(ASSETS), _platform()
    if given and "://" not in given:
        lacking = _lack_in(Path(given), system, minor)
        if lacking:
            raise MissingComponent(lacking, remedy=_REMEDY)
        return Path(given).absolute()
    folder = _cached(given, minor)
    if not (folder / "complete").is_file():
        with tools.alone(folder.with_suffix(".lock")):
            if not (folder / "complete").is_file():
                files.remove(folder)
                (_fetch_from_mirror if given else _fetch_from_github)(folder, given.rstrip("/"), system, minor)
                (folder / "complete").touch()
    return folder


def _fetch_from_mirror(folder: Path, url: str, system: str, minor: str) -> None:
    """Copy what is needed of a mirror; science itself checks launcher and interpreter against the digests there."""
    names = _names(system, minor)
    for name in names:
        _fetch(f"{url}/{urllib.parse.quote(name)}", folder / name)
    name = _interpreter_name(folder / names[-1], system)
    _fetch(f"{url}/{urllib.parse.quote(name)}", folder / name)
    (folder / names[0]).chmod(0o755)


def _fetch_from_github(folder: Path, _: str, system: str, minor: str) -> None:
    """Fetch science, and have it fetch the others as its documentation says."""
    name = _names(system, minor)[0]
    science, expected = folder / name, folder / f"{name}.sha256"
    for file in (science, expected):
        _fetch(f"{_GITHUB}/v{_SCIENCE}/{file.name}", file)
    if tree.sha256(science) != expected.read_text().split()[0]:
        raise MissingComponent(f"{name} as fetched has not the sha256 that is told for it", remedy="try again")
    science.chmod(0o755)
    version = ("--version", _JUMP)
    pinned = ("--version", minor, "--release", _INTERPRETERS, "--flavor", _FLAVOR)
    env = process.network_environment(folder, SCIE_BASE=str(folder / "nce"))
    for what in (("scie-jump", *version), ("provider", "PythonBuildStandalone", *pinned)):
        argv = [str(science), "--cache-dir", str(folder / "cache"), "download", *what, str(folder)]
        try:
            done = process.run(argv, env=env, timeout_s=600)
        except process.TimedOut as error:
            raise MissingComponent(error.problem, remedy=_REMEDY) from error
        if done.returncode != 0:
            raise MissingComponent(f"science could not fetch {what[0]}:\n{done.output[-2000:]}", remedy=_REMEDY)


def _fetch(url: str, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        with process.disk_full_named(to), process.ledger.waiting_for("tools"):
            with urllib.request.urlopen(url, timeout=60) as answer, to.open("wb") as file:  # noqa: S310 -- as in _lack
                shutil.copyfileobj(answer, file)
    except (urllib.error.URLError, TimeoutError, ConnectionError, ValueError) as error:
        raise MissingComponent(f"{url} can't be had: {error}", remedy=_REMEDY) from error


# --- on the target -------------------------------------------------------------------------------


def sizes(artifact: Artifact, depot: Depot) -> Sizes:
    """Packed: the file. Unpacked: the same file, as it lies on the target until its first start."""
    return pex.sizes(artifact, depot)


def install(artifact: Artifact, target: Path, depot: Depot) -> Installed:
    """Fetch the file; the folder that it extracts interpreter and PEX to is empty until the first start."""
    extraction = hosted.extraction_folder(target, "scie")
    found = hosted.install_file(artifact, target, depot, extraction_caches=(extraction,))
    return dataclasses.replace(found, cold_paths=(*found.own_paths, extraction))


def start(installed: Installed, limits: Limits) -> AbstractContextManager[Served]:
    """``MODEL serve``, in bounds.

    The launcher drops PEX_ROOT when it has the PEX install itself (``configure_binding`` of PEX's ``science.py``), so
    it is its home, with ``.cache/nce`` and ``.cache/pex`` in it, that stays from start to start.
    """
    assert installed.root is not None
    assert installed.artifact.path is not None
    file, extraction = str(installed.root / installed.artifact.path.name), installed.extraction_caches[0]
    return hosted.serving(
        installed,
        limits,
        lambda socket: [file, "serve", "--socket", str(socket)],
        HOME=str(extraction),
    )
