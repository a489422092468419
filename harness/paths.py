"""Where things lie: the one cache folder, the sample models and scenarios, the results folder.

The cache holds everything that can be made again: wheels, locks, tool environments, built
artifacts, the private engine's data. ``HARNESS_CACHE`` moves it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from harness import settings
from harness.errors import BadInput

PACKAGE = Path(__file__).resolve().parent

#: The folders of the cache, and what each has.
HOLDS = {
    "artifacts": "what was built, with what was found of it; images are the engine's",
    "aws": "what was deployed to an account and is to be removed again",
    "base": "base images that were made on this machine",
    "built": "what is known of wheels that were built from source",
    "conda": "packages, channel and locks of conda",
    "debian": "which Debian packages bring which libraries",
    "engine": "the private engine: images and layers",
    "environments": "models' dependencies installed, to train and to profile them",
    "lambda": "Lambda's runtime emulator",
    "locks": "locked requirements",
    "manifests": "sizes of images in a registry",
    "mended": "what builds of a lock had to do otherwise, so that their artifacts answer",
    "payloads": "models with their weights, as they are packaged",
    "profiles": "profiles of models",
    "pythons": "interpreters that uv fetched",
    "pulls": "how long images took to be pulled",
    "scie": "launchers and interpreters of pex-scie",
    "synthetic": "generated models",
    "targets": "root file systems that portability is tried on",
    "tmp": "what is being worked on",
    "tools": "tools, each in an environment of its own",
    "traces": "what a plain start of a model needs of its packages",
    "users": "which processes use the cache",
    "uv": "uv's own cache",
    "weights": "weights that models have trained",
    "wheelhouse": "wheels, and the source distributions that some were built from",
    "xdg": "what tools keep for themselves",
}


def cache() -> Path:
    """The cache folder, made if it is not there.

    For root it is under ``/var/cache``, not in root's home: models run as an unprivileged user,
    and that user must be able to walk to the artifact.
    """
    path = settings.folder("HARNESS_CACHE")
    if path is None and os.geteuid() == 0:
        path = Path("/var/cache/ml-packaging-harness")
    elif path is None:
        caches = settings.folder("XDG_CACHE_HOME") or settings.path("~/.cache", key="HARNESS_CACHE")
        path = caches / "ml-packaging-harness"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            f"the cache folder cannot be made: {error.strerror}",
            file=path,
            remedy="set HARNESS_CACHE to a folder that you can write to",
        ) from error
    return path


def key() -> str:
    """Twelve hex digits that stand for this cache in names that the whole machine shares."""
    return hashlib.sha256(str(cache().resolve()).encode()).hexdigest()[:12]


def data(kind: str) -> Path:
    """The folder of shipped data: ``sample_models``, ``scenarios`` or ``results``.

    In a checkout it lies beside the package, in an installed wheel inside it.
    """
    inside = PACKAGE / "_data" / kind
    return inside if inside.is_dir() else PACKAGE.parent / kind


def results(given: Path | None = None) -> Path:
    """Where runs land: ``given``, else ``HARNESS_RESULTS``, else the checkout's ``results/``, else ``./results``."""
    if given is not None:
        return given.absolute()
    if (named := settings.folder("HARNESS_RESULTS")) is not None:
        return named
    if (PACKAGE / "_data").is_dir():
        return Path.cwd() / "results"
    return PACKAGE.parent / "results"
