"""Artifacts, built once for the same inputs; and clean builds, when the build is what is measured.

    <cache>/artifacts/<key>/artifact.json   the record, beside what was built
                            build.json      how long that took, and when

The key is of everything that a build depends on: the model's payload, the lock, the interpreter,
the options, and the harness's own sources that go into artifacts or make them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from harness import interpreter, paths, process, tools, tree
from harness.measure import reproducing
from harness.methods.contract import Artifact, Method, Sizes
from harness.methods.variants import DEFAULT, Variant
from harness.metrics import METRICS
from harness.platforms.depot import Depot
from harness.spec.weights import LockedModel

_SOURCES = ("methods", "runtime", "resources", "platforms")


def up_to_date(method: Method, locked: LockedModel, *, variant: Variant = DEFAULT) -> Artifact:
    """The artifact of these inputs, built where it is not there yet."""
    found = cached(method, locked, variant=variant)
    if found is not None:
        return found
    with _alone(method, locked, variant) as folder:
        # Another harness may have built it while this one waited.
        return cached(method, locked, variant=variant) or _build_kept(method, locked, folder, variant)[0]


def kept_build(method: Method, locked: LockedModel, *, variant: Variant = DEFAULT) -> tuple[float, str] | None:
    """Wall seconds of the clean build that made the artifact in the cache, and when; None where there is none."""
    if cached(method, locked, variant=variant) is None:
        return None
    try:
        table = json.loads((_folder(method, locked, variant) / "build.json").read_text())
        return float(table["wall_s"]), str(table["at"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def seems_kept(model: str, method: str) -> bool:
    """Whether the cache has an artifact of that name made by our sources as they are: enough for an estimate."""
    for record in paths.cache().glob(f"artifacts/{model}-{method}-{'[0-9a-f]' * 24}/build.json"):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if json.loads(record.read_text()).get("sources") == _own_sources():
                return True
    return False


@dataclass(frozen=True, kw_only=True)
class CleanBuild:
    """Wall seconds of a build with empty tool caches, and in which files it differs from the one before.

    ``differing`` is None where there was none before to compare with.
    """

    wall_s: float
    differing: tuple[str, ...] | None = None


def clean_build(method: Method, locked: LockedModel, *, variant: Variant = DEFAULT) -> CleanBuild:
    """Build with empty tool caches. What is built is kept where it was not there yet, else compared and removed."""
    with _alone(method, locked, variant) as folder:
        known = cached(method, locked, variant=variant)
        if known is None:
            return CleanBuild(wall_s=_build_kept(method, locked, folder, variant)[1])
    with process.temporary_folder("build", readable=True) as workdir:
        artifact, wall_s = _timed(method, locked, workdir, variant)
        try:
            with process.ledger.waiting_for("tools"):
                differing = tuple(reproducing.differences(method, known, artifact))
        finally:
            if artifact.image is not None:
                method.remove(artifact)
    return CleanBuild(wall_s=wall_s, differing=differing)


def sizes(
    method: Method, locked: LockedModel, artifact: Artifact, depot: Depot, *, variant: Variant = DEFAULT
) -> Sizes:
    """The artifact's sizes, taken once and kept beside it: packing it again would give the same."""
    record = _folder(method, locked, variant) / "sizes.json"
    try:
        table = json.loads(record.read_text())
        if table.pop("digest") == artifact.digest:
            return Sizes(**table)
    except (OSError, ValueError, TypeError, KeyError):
        pass
    found = method.sizes(artifact, depot)
    if found.packed_bytes is not None:
        with process.disk_full_named(record):
            record.write_text(json.dumps({**dataclasses.asdict(found), "digest": artifact.digest}))
    return found


def beyond_limits(method: Method, sizes: Sizes) -> list[str]:
    """Which documented limits of its platform the sizes are beyond, in a reader's words."""
    known = {"packed_bytes": sizes.packed_bytes, "unpacked_bytes": sizes.unpacked_bytes}
    return [
        f"{METRICS[limit.metric].title} {size / 1e6:.1f} MB of {limit.value / 1e6:.1f} MB "
        f"({limit.name}; {limit.source})"
        for limit in method.LIMITS
        if limit.metric and (size := known[limit.metric]) is not None and size > limit.value
    ]


def cached(method: Method, locked: LockedModel, *, variant: Variant = DEFAULT) -> Artifact | None:
    """The artifact of these inputs; None where it was not built, or is gone."""
    record = _folder(method, locked, variant) / "artifact.json"
    try:
        table = json.loads(record.read_text())
        artifact = Artifact(**{**table, "path": Path(table["path"]) if table["path"] else None})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return artifact if method.present(artifact) else None


@contextmanager
def _alone(method: Method, locked: LockedModel, variant: Variant) -> Iterator[Path]:
    """The artifact's folder, held against other harnesses."""
    folder = _folder(method, locked, variant)
    with tools.alone(folder.with_suffix(".lock")), process.disk_full_named(folder):
        yield folder


def _build_kept(method: Method, locked: LockedModel, folder: Path, variant: Variant) -> tuple[Artifact, float]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o755)
    with process.guarded(folder=str(folder)):  # half an artifact must not be taken for one
        try:
            artifact, wall_s = _timed(method, locked, folder, variant)
            table = dataclasses.asdict(artifact) | {"path": str(artifact.path) if artifact.path else None}
            at = datetime.now(UTC).isoformat(timespec="seconds")
            (folder / "build.json").write_text(json.dumps({"wall_s": wall_s, "at": at, "sources": _own_sources()}))
            (folder / "artifact.json").write_text(json.dumps(table))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return artifact, wall_s


def _timed(method: Method, locked: LockedModel, workdir: Path, variant: Variant) -> tuple[Artifact, float]:
    with process.temporary_folder("tool-cache") as tool_cache:
        options = variant.options(tool_cache)
        begin = time.monotonic()
        with process.ledger.waiting_for("tools"):
            artifact = method.build(locked, workdir, options)
        return artifact, time.monotonic() - begin


def _folder(method: Method, locked: LockedModel, variant: Variant) -> Path:
    python = interpreter.default()
    parts = [
        method.ID,
        locked.digest,
        locked.model.digest,
        locked.lock.digest,
        str(python.path),
        python.version,
        variant.label,
        _own_sources(),
    ]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
    return paths.cache() / "artifacts" / f"{locked.model.name}-{method.ID}-{key}"


@lru_cache(maxsize=1)
def _own_sources() -> str:
    total = hashlib.sha256()
    for name in _SOURCES:
        for file in tree.files(paths.PACKAGE / name):
            # What `package` writes beside an artifact is in none.
            if "__pycache__" not in file.parts and not file.is_relative_to(paths.PACKAGE / "resources" / "package"):
                total.update(f"{file.relative_to(paths.PACKAGE)}\0{tree.sha256(file)}\n".encode())
    return total.hexdigest()
