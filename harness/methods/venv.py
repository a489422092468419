"""``venv``: a virtual environment made by uv from the hash-locked wheels, relocatable, packed as tar.gz.

Docs: uv's ``uv venv --relocatable``; bytecode is Python's own ``compileall``. The interpreter is the target's.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from harness import tools, tree
from harness.methods import hosted, layout, placement, variants
from harness.methods.contract import Artifact, BuildOptions, Installed, Layers, Limit, Limits, Mends, Sizes
from harness.methods.serving import Served
from harness.platforms.depot import Depot
from harness.spec import capabilities, environments
from harness.spec.model import Model
from harness.spec.weights import LockedModel

ID = "venv"
FAMILY = "virtual-environment"
LAYERS = Layers(environment="virtual environment", interface="command line, Unix socket", platform="self-hosted")
FIDELITY = "measured"
LIMITS: tuple[Limit, ...] = ()
REQUIREMENTS: tuple[str, ...] = ()
REQUIRES = frozenset({"python"})
PROVIDES = capabilities.given(LAYERS)
MENDS: frozenset[Mends] = frozenset()

#: As with every artifact that lies on the target.
check, present, remove = hosted.check, hosted.present, hosted.remove


def prepare(model: Model) -> None:
    """Nothing is needed besides uv, which comes with the harness."""


def build(locked: LockedModel, workdir: Path, options: BuildOptions) -> Artifact:
    """A folder ``venv/`` with the model and the runner among its packages."""
    variants.require(ID, options, locked.model)
    folder = layout.fresh_folder(workdir, "venv")
    layout.install_packages(locked, folder, options)
    layout.write_sources(
        locked,
        environments.site_packages(folder, locked.lock.python),
        bytecode=options.bytecode,
        weights=options.weights,
    )
    placement.kept_apart(locked, options, workdir)
    return Artifact(
        method=ID,
        model=locked.model.name,
        digest=tree.digest(folder),
        path=folder,
        python=locked.lock.python.path,
        facts={
            "uv": tools.uv_version(),
            "interpreter": locked.lock.python.version,
            **placement.facts(locked, options),
        },
    )


def sizes(artifact: Artifact, depot: Depot) -> Sizes:
    """Packed: the tar.gz. Unpacked: the environment, without the interpreter that the target has."""
    return hosted.folder_sizes(artifact)


def install(artifact: Artifact, target: Path, depot: Depot) -> Installed:
    """Fetch the archive and unpack it on the target."""
    return hosted.install_archive(artifact, target, depot)


def start(installed: Installed, limits: Limits) -> AbstractContextManager[Served]:
    """``bin/python -m harness_runner serve``, in bounds."""
    python = str(installed.root) + "/bin/python"
    return hosted.serving(
        installed, limits, lambda socket: [python, "-m", "harness_runner", "serve", "--socket", str(socket)]
    )
