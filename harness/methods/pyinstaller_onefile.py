"""``pyinstaller-onefile``: what :mod:`harness.methods.pyinstaller` makes, as one executable file.

It unpacks itself below ``TMPDIR`` on *every* start, and removes that when it ends by itself (PyInstaller's "How the
One-File Program Works"): starts are slow and write as much as a folder has, and programs must be allowed to run there.
"""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager
from pathlib import Path

from harness import tree
from harness.methods import hosted, layout, pyinstaller, variants
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
from harness.spec import capabilities
from harness.spec.model import Model
from harness.spec.scenario import Facility
from harness.spec.weights import LockedModel

ID = "pyinstaller-onefile"
FAMILY = "executable"
LAYERS = Layers(
    environment="single file with its own Python", interface="command line, Unix socket", platform="self-hosted"
)
FIDELITY = "measured"
LIMITS: tuple[Limit, ...] = ()
REQUIREMENTS: tuple[str, ...] = ()
REQUIRES: frozenset[Facility] = frozenset()
PROVIDES = capabilities.given(LAYERS)
MENDS: frozenset[Mends] = frozenset({"prune", "collect"})

#: As with every artifact that lies on the target.
present, remove = hosted.present, hosted.remove


def check() -> Availability:
    """Ready where PyInstaller can be used."""
    return pyinstaller.check()


def prepare(model: Model) -> None:
    """Make PyInstaller's own environment; the model itself needs nothing."""
    pyinstaller.prepare(model)


def build(locked: LockedModel, workdir: Path, options: BuildOptions) -> Artifact:
    """The executable ``MODEL``."""
    variants.require(ID, options, locked.model)
    made, facts = pyinstaller.frozen(locked, layout.fresh_folder(workdir, ID), options, kind="onefile")
    return Artifact(method=ID, model=locked.model.name, digest=tree.sha256(made), path=made, facts=facts)


def sizes(artifact: Artifact, depot: Depot) -> Sizes:
    """Packed: the file. Unpacked: the same file; what a start unpacks is gone with the instance."""
    assert artifact.path is not None
    return hosted.sizes_of_file(artifact.path, unpacked_bytes=artifact.path.stat().st_size, files=1)


def install(artifact: Artifact, target: Path, depot: Depot) -> Installed:
    """Fetch the file."""
    found = hosted.install_file(artifact, target, depot)
    return dataclasses.replace(found, cold_paths=found.own_paths)  # the target's Python is not read


def start(installed: Installed, limits: Limits) -> AbstractContextManager[Served]:
    """``MODEL serve``, in bounds; what it unpacks lies in the instance's home, which is ``TMPDIR`` too."""
    return pyinstaller.start(installed, limits)
