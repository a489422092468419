"""A model started as it lies, from the cached environment of its lock: in bounds as any artifact, but not packaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import cast

from harness import process
from harness.methods import hosted, layout
from harness.methods.contract import Artifact, Installed, Limits, Method
from harness.methods.serving import Served
from harness.spec.weights import LockedModel


class _Plain:
    """The part of a method that a start needs: the environment's interpreter, the sources on its path."""

    def __init__(self, python: Path) -> None:
        self._python = python

    def start(self, installed: Installed, limits: Limits) -> AbstractContextManager[Served]:
        return hosted.serving(
            installed,
            limits,
            lambda socket: [str(self._python), "-m", "harness_runner", "serve", "--socket", str(socket)],
            shows=[self._python.parent.parent],
            PYTHONPATH=str(installed.root),
        )


@contextmanager
def laid_out(locked: LockedModel, python: Path) -> Iterator[tuple[Method, Installed]]:
    """What :mod:`harness.measure.start` is given for the model and the interpreter of its environment."""
    with process.temporary_folder("plain", readable=True) as scratch:
        sources = scratch / "sources"
        layout.write_sources(locked, sources, bytecode="unchecked-hash")
        own = (sources, python.parent.parent)
        artifact = Artifact(method="plain", model=locked.model.name, digest=locked.digest, path=sources)
        installed = Installed(
            artifact=artifact, root=sources, own_paths=own, cold_paths=(*own, *locked.lock.python.files)
        )
        # measure.start calls nothing of a method but start().
        yield cast("Method", _Plain(python)), installed
