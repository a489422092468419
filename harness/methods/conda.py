"""``conda``: an environment locked by conda-lock, installed from packages whose sha256 is checked, made by conda-pack.

It brings its own Python. The channel is conda-forge, or what the model's table ``conda`` names, where it answers within
seconds; else one that is made here from the locked wheels and the interpreter. ``HARNESS_CONDA_CHANNEL``
(an address or a folder) names a mirror. Which one it was is among the artifact's facts.

As with every method, packages are there before the build, and the lock is made: a build is the installation (by
py-rattler, offline), conda-pack, the model's files, and the bytecode of all packages. That of the standard library
travels in the package of Python, as conda-forge's does.
Docs: conda-lock's ``lock``, conda-pack and its ``conda-unpack``, py-rattler's ``install``.
"""

from __future__ import annotations

import dataclasses
import shutil
from contextlib import AbstractContextManager
from pathlib import Path

from harness import files, process, tools, tree
from harness.errors import BadInput, BuildFailure, CheckFailure, HarnessError
from harness.interpreter import Interpreter
from harness.methods import hosted, layout, placement, variants
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
from harness.platforms.conda import locking, tooling
from harness.platforms.depot import Depot
from harness.spec import capabilities, environments
from harness.spec import lock as locks
from harness.spec.model import Model
from harness.spec.scenario import Facility
from harness.spec.weights import LockedModel

ID = "conda"
FAMILY = "virtual-environment"
LAYERS = Layers(environment="conda environment", interface="command line, Unix socket", platform="self-hosted")
FIDELITY = "measured"
LIMITS: tuple[Limit, ...] = ()
REQUIREMENTS: tuple[str, ...] = ()
REQUIRES: frozenset[Facility] = frozenset()
PROVIDES = capabilities.given(LAYERS)
MENDS: frozenset[Mends] = frozenset()

# The channel that was decided on for each model in this process: nothing else tells a kept artifact from another's.
_channels: dict[str, str] = {}

_UNPACK_S = 300.0
_CHANNEL = "name another channel in the table 'conda' of model.toml"


def check() -> Availability:
    """Ready on Linux with glibc wherever uv and an interpreter are; the tools are fetched on first use."""
    found = hosted.check()
    if not found.ready:
        return found
    try:
        tooling.platform()
    except HarnessError as error:
        return Availability(ready=False, reason=error.problem, remedy=error.remedy)
    return found


def prepare(model: Model) -> None:
    """The tools, the channel, the lock, and every package: what a node's administrator has ready."""
    _channels[model.name] = locking.locked(model, locks.lock(model, extra=REQUIREMENTS)).source.said


def build(locked: LockedModel, workdir: Path, options: BuildOptions) -> Artifact:
    """A folder ``conda/``: the relocatable environment with the model among its packages."""
    variants.require(ID, options, locked.model)
    environment = locking.locked(locked.model, locked.lock)
    folder = layout.fresh_folder(workdir, ID)
    python = locked.lock.python
    packages = _installed(environment, folder, python, options)
    layout.write_sources(
        locked, environments.site_packages(folder, python), bytecode=options.bytecode, weights=options.weights
    )
    placement.kept_apart(locked, options, workdir)
    _compile(folder, python, options)
    return Artifact(
        method=ID,
        model=locked.model.name,
        digest=tree.digest(folder),
        path=folder,
        facts={
            "channel": environment.source.said,
            "python": packages["python"],
            "conda packages": str(len(packages)),
            **tooling.versions(),
            **placement.facts(locked, options),
        },
    )


def sizes(artifact: Artifact, depot: Depot) -> Sizes:
    """Packed: the tar.gz. Unpacked: the environment with its interpreter."""
    return hosted.folder_sizes(artifact)


def install(artifact: Artifact, target: Path, depot: Depot) -> Installed:
    """Fetch the archive, unpack it on the target, and run its ``bin/conda-unpack``."""
    installed = hosted.install_archive(artifact, target, depot)
    assert installed.root is not None
    seconds = _unpacked(installed.root)
    return dataclasses.replace(
        installed,
        install_s=installed.install_s + seconds if installed.install_s is not None else None,
    )


def start(installed: Installed, limits: Limits) -> AbstractContextManager[Served]:
    """``bin/python -m harness_runner serve``, in bounds."""
    python = str(installed.root) + "/bin/python"
    return hosted.serving(
        installed, limits, lambda socket: [python, "-m", "harness_runner", "serve", "--socket", str(socket)]
    )


def present(artifact: Artifact) -> bool:
    """Whether it is still there, and from the channel that is used now."""
    channel = artifact.facts.get("channel")
    return hosted.present(artifact) and _channels.get(artifact.model, channel) == channel


def remove(artifact: Artifact) -> None:
    """Delete the environment and its archive."""
    hosted.remove(artifact)


def _installed(environment: locking.Locked, folder: Path, python: Interpreter, options: BuildOptions) -> dict[str, str]:
    """Install the locked packages, and unpack them to the empty ``folder`` as conda-pack packs them; their versions.

    Where and whence is one folder: conda-pack finds files as they were before their installation in the cache of
    packages, and takes none from another disk (conda-pack issue 478). It is another user's meanwhile.
    """
    scratch = options.tool_cache
    prefix, unpacked = scratch / "prefix", scratch / ID
    for old in (prefix, unpacked):
        files.remove(old)
    request = {**locking.request(environment), "prefix": str(prefix), "cache": str(scratch / "packages")}
    shows = [environment.file, *(tooling.folder(name) for name in ("packages", "made", "channels"))]
    answer = tooling.task("install", request, timeout_s=options.timeout_s, shows=shows, writes=(scratch,))
    # rattler's mark that a folder can be made again; conda-unpack would carry the folder's name for its sake.
    files.remove(prefix / "CACHEDIR.TAG")
    _relocatable(scratch, prefix, unpacked, options.timeout_s)
    _checked(unpacked, python)
    files.remove(prefix)
    folder.rmdir()
    shutil.move(unpacked, folder)
    return {str(name): str(version) for name, version in answer["packages"]}


def _relocatable(scratch: Path, prefix: Path, folder: Path, timeout_s: float) -> None:
    """Have conda-pack archive the environment, and unpack that to ``folder``, which is packed as every other is.

    Its ``--format no-archive`` would do so at once, but ends silently, with exit code 0, where two packages have a
    file in common (conda-pack issue 422) or the package cache is on another disk (issue 478).
    """
    archive = scratch / f"{ID}-pack.tar"
    folder.mkdir()
    pack = [str(tools.executable("conda", "conda-pack")), "--prefix", str(prefix), "--output", str(archive), "--quiet"]
    for argv in (pack, ["tar", "-xf", str(archive), "-C", str(folder)]):
        done = tooling.run(argv, timeout_s=timeout_s, writes=(scratch,))
        if done.returncode != 0:
            raise BuildFailure(f"{Path(argv[0]).name} ended with exit code {done.returncode}", log=done.output)
    files.remove(archive)
    if not (folder / "bin" / "conda-unpack").is_file():
        raise BuildFailure("conda-pack packed no conda-unpack", log=done.output)


def _checked(folder: Path, python: Interpreter) -> None:
    """BuildFailure where packages have put anything into the environment that the harness could be led out of it by."""
    try:
        files.take_back(folder, at_most_bytes=tools.BOUNDS.disk_bytes, links="inside")
    except (BadInput, CheckFailure) as error:
        raise BuildFailure(f"a package of the channel is harmful: {error.problem}", remedy=error.remedy) from error
    packages = environments.site_packages(folder, python)
    for place in (packages, *packages.parents):
        if place == folder:
            return
        if place.is_symlink() or not place.is_dir():
            name = place.relative_to(folder)
            raise BuildFailure(f"a package of the channel has something else than a folder at {name}", remedy=_CHANNEL)


def _compile(folder: Path, python: Interpreter, options: BuildOptions) -> None:
    """Compile all packages afresh, as uv does for the other methods; a file that no Python can read is left out.

    By the host's interpreter: that of the environment would execute what packages put into its start. The standard
    library has bytecode whatever the options say, as it has where it is the target's: its own, unless that goes by
    dates, which are fixed when it is packed.
    """
    packages = environments.site_packages(folder, python)
    library = packages.parent
    _without_bytecode(packages)
    if not _undated(library):
        layout.compile_packages(
            folder, python=python, bytecode="unchecked-hash", timeout_s=options.timeout_s, below=library
        )
        if options.bytecode == "unchecked-hash":
            return
        _without_bytecode(packages)
    if options.bytecode == "timestamp":
        layout.compile_dated(folder, packages, python, timeout_s=options.timeout_s)
    else:
        layout.compile_packages(
            folder, python=python, bytecode=options.bytecode, timeout_s=options.timeout_s, below=packages
        )


def _without_bytecode(packages: Path) -> None:
    for old in [*packages.rglob("__pycache__")]:
        shutil.rmtree(old)


def _undated(library: Path) -> bool:
    """Whether the bytecode of the standard library is of the kind that does not look at dates (PEP 552)."""
    compiled = next(library.glob("__pycache__/os.*.pyc"), None)
    return compiled is not None and compiled.read_bytes()[4] != 0


def _unpacked(root: Path) -> float:
    """Run ``conda-unpack``, which is the artifact's own code; its seconds."""
    argv = [str(root / "bin" / "python"), str(root / "bin" / "conda-unpack")]
    with (
        process.temporary_folder("unpack") as home,
        tools.bench("conda-unpack", writes=(root, home), links="inside") as bench,
    ):
        env = process.environment(home, PYTHONDONTWRITEBYTECODE="1")
        return bench.run(argv, env=env, timeout_s=_UNPACK_S, cwd=home).wall_s
