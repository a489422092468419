"""``container``: a Docker image, multi-stage, non-root, its bytecode compiled by the interpreter that runs it.

How images are made, weighed and started is in :mod:`harness.methods.imaging`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from harness.methods import imaging, placement
from harness.methods.contract import Artifact, Availability, BuildOptions, Installed, Layers, Limit, Limits, Mends
from harness.methods.serving import Served
from harness.platforms.depot import Depot
from harness.spec import capabilities
from harness.spec.weights import LockedModel

ID = "container"
FAMILY = "container"
LAYERS = Layers(environment="image", interface="command line, Unix socket", platform="self-hosted, Docker engine")
FIDELITY = "measured"
LIMITS: tuple[Limit, ...] = ()
REQUIREMENTS: tuple[str, ...] = ()
REQUIRES = frozenset({"container-engine"})
PROVIDES = capabilities.given(LAYERS)
MENDS: frozenset[Mends] = frozenset({"prune", "system"})

RECIPE = imaging.Recipe(module="harness_runner", command=["once"], measured_bytecode=True)

#: As with every image.
prepare, sizes = imaging.prepare, imaging.sizes


def check() -> Availability:
    """Ready where a Docker engine answers, the machine's own or the harness's private one."""
    return imaging.check()


def build(locked: LockedModel, workdir: Path, options: BuildOptions) -> Artifact:
    """An image with a tag of its own, built without the engine's layer cache."""
    return imaging.build(ID, RECIPE, locked, workdir, options)


def install(artifact: Artifact, target: Path, depot: Depot) -> Installed:
    """Have a node that has nothing pull the image, and fetch the weights where they are mounted."""
    return placement.installed(imaging.install(artifact, depot), target, depot)


def start(installed: Installed, limits: Limits) -> AbstractContextManager[Served]:
    """``docker run --network none --read-only --cap-drop ALL``, the socket in a folder shared with the host."""
    assert installed.image is not None
    return imaging.serving(installed.image, limits, command=["serve", "--socket", "{socket}"], installed=installed)


def present(artifact: Artifact) -> bool:
    """Whether the engine that is used now has the image, and the weights that are not in it are there."""
    return placement.present(artifact) and imaging.present(artifact)


def remove(artifact: Artifact) -> None:
    """Delete the image with its tag, what its build left, and the weights that are not in it."""
    placement.remove(artifact)
    imaging.remove(artifact)
