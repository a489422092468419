"""``container``: a Docker image, multi-stage, non-root, its bytecode compiled by the interpreter that runs it.

How images are made, weighed and started is in :mod:`harness.methods.imaging`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from harness.methods import imaging
from harness.methods.contract import Artifact, Availability, BuildOptions, Installed, Layers, Limit, Limits, Sizes
from harness.methods.serving import Served
from harness.platforms.depot import Depot
from harness.spec.model import Model
from harness.spec.weights import LockedModel

ID = "container"
FAMILY = "container"
LAYERS = Layers(environment="image", interface="command line, Unix socket", platform="self-hosted, Docker engine")
FIDELITY = "measured"
LIMITS: tuple[Limit, ...] = ()
REQUIREMENTS: tuple[str, ...] = ()
REQUIRES = frozenset({"container-engine"})
PROVIDES = frozenset({"carries-python", "carries-system-libraries", "locked-dependencies", "isolated"})

RECIPE = imaging.Recipe(module="harness_runner", command=["once"], measured_bytecode=True)


def check() -> Availability:
    """Ready where a Docker engine answers, the machine's own or the harness's private one."""
    return imaging.check()


def prepare(model: Model) -> None:
    """Make or fetch the base images; MissingComponent where there is no way to get one."""
    imaging.prepare(model)


def build(locked: LockedModel, workdir: Path, options: BuildOptions) -> Artifact:
    """An image with a tag of its own, built without the engine's layer cache."""
    return imaging.build(ID, RECIPE, locked, workdir, options)


def sizes(artifact: Artifact, depot: Depot) -> Sizes:
    """Packed: the compressed layers as a registry stores them, base included. Unpacked: all layers."""
    return imaging.sizes(artifact, depot)


def install(artifact: Artifact, target: Path, depot: Depot) -> Installed:
    """Have a node that has nothing pull the image."""
    return imaging.install(artifact, depot)


def start(installed: Installed, limits: Limits) -> AbstractContextManager[Served]:
    """``docker run --network none --read-only --cap-drop ALL``, the socket in a folder shared with the host."""
    assert installed.image is not None
    return imaging.serving(installed.image, limits, command=["serve", "--socket", "{socket}"])


def present(artifact: Artifact) -> bool:
    """Whether the engine that is used now has the image, under its tag and with its digest."""
    return imaging.present(artifact)


def remove(artifact: Artifact) -> None:
    """Delete the image with its tag, and what its build left."""
    imaging.remove(artifact)
