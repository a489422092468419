"""Artifacts, built once for the same inputs; and clean builds, when the build is what is measured.

    <cache>/artifacts/<key>/artifact.json   the record, beside what was built
                            build.json      how long that took, and each clean build since, and when
                            sizes.json, ... what was found of it that would be found again

The key is of everything that a build depends on: the model's payload, the lock, the interpreter,
the options, and the harness's own sources that go into artifacts or make them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness import files, paths, process, tools, tree, usage
from harness.errors import BadInput
from harness.measure import proof, reproducing, tracing
from harness.methods import mending
from harness.methods.contract import Artifact, BuildOptions, Mending, Method, Sizes
from harness.methods.variants import DEFAULT, Variant
from harness.metrics import METRICS
from harness.platforms.depot import Depot
from harness.spec.weights import LockedModel

_BUILDS = "build.json"

#: How many clean builds are kept in mind.
_REMEMBERED = 8

#: The largest record of an artifact or its builds that is read.
_LARGEST_RECORD = 16 * 2**20

#: What reading a record that is damaged, or of another version, may raise: it is as good as none then.
_DAMAGED = (BadInput, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError)

#: Which fields of a record are paths.
_PATHS = ("path", "python")

_SOURCES = ("methods", "runtime", "resources", "platforms")


def up_to_date(method: Method, locked: LockedModel, *, variant: Variant = DEFAULT) -> Artifact:
    """The artifact of these inputs, built where it is not there yet."""
    found = cached(method, locked, variant=variant)
    if found is not None:
        return found
    with _alone(method, locked, variant) as folder:
        # Another harness may have built it while this one waited.
        return cached(method, locked, variant=variant) or _build_kept(method, locked, folder, variant)[0]


@dataclass(frozen=True, kw_only=True)
class CleanBuild:
    """Wall seconds of a build with empty tool caches, when it was, and in which files it differs from the first.

    ``differing`` is None where there was none before to compare with. Of the first there are also the seconds that
    asking the examples took (``proof_s``), and how many builds before it did not answer them, with their seconds.
    """

    wall_s: float
    at: str
    differing: tuple[str, ...] | None = None
    proof_s: float = 0.0
    tries: int = 0
    tries_s: float = 0.0

    @property
    def told(self) -> str:
        """What is noted beside its seconds, which are those of one build; empty where there is nothing to say."""
        said = [f"answered the examples in {self.proof_s:.1f} s after the build"] if self.proof_s else []
        tries = "1 more build" if self.tries == 1 else f"{self.tries} more builds"
        return "; ".join(
            [*said, *([f"{tries} to find one that answers took {self.tries_s:.0f} s"] if self.tries else [])]
        )

    @staticmethod
    def from_dict(table: Mapping[str, Any]) -> CleanBuild:
        """Back from a file; TypeError, ValueError or KeyError where it is another table."""
        differing = table["differing"]
        return CleanBuild(
            wall_s=float(table["wall_s"]),
            at=str(table["at"]),
            differing=None if differing is None else tuple(map(str, differing)),
            proof_s=float(table.get("proof_s", 0.0)),
            tries=int(table.get("tries", 0)),
            tries_s=float(table.get("tries_s", 0.0)),
        )


def kept_builds(method: Method, locked: LockedModel, *, variant: Variant = DEFAULT) -> list[CleanBuild]:
    """The clean builds of the artifact in the cache that are known of, the newest last; none where it is not there."""
    if cached(method, locked, variant=variant) is None:
        return []
    return _known_builds(_folder(method, locked, variant))


def seem_kept(model: str, method: str) -> tuple[int, frozenset[str]]:
    """How many clean builds are known of an artifact of that name, and under which names something else is noted.

    Of what our sources as they are made; whether the model is still as it was is not looked at. For estimates.
    """
    for record in paths.cache().glob(f"artifacts/{model}-{method}-{'[0-9a-f]' * 24}/{_BUILDS}"):
        with contextlib.suppress(*_DAMAGED):
            if _load(record).get("sources") == own_sources():
                return len(_known_builds(record.parent)), frozenset(one.stem for one in record.parent.glob("*.json"))
    return 0, frozenset()


def clean_build(method: Method, locked: LockedModel, *, variant: Variant = DEFAULT) -> CleanBuild:
    """Build with empty tool caches. What is built is kept where it was not there yet, else compared and removed."""
    with _alone(method, locked, variant) as folder:
        known = cached(method, locked, variant=variant)
        if known is None:
            return _build_kept(method, locked, folder, variant)[1]
    mended = proof.mended(method, locked, variant.label)
    with process.temporary_folder("build", readable=True) as workdir:
        artifact, wall_s = _timed(method, locked, workdir, variant, mended)
        try:
            return held_against(method, locked, known, artifact, wall_s, variant=variant)
        finally:
            if artifact.image is not None:
                method.remove(artifact)


def held_against(
    method: Method, locked: LockedModel, known: Artifact, built: Artifact, wall_s: float, *, variant: Variant = DEFAULT
) -> CleanBuild:
    """What there is to say of one more clean build of what is in the cache; it is kept in mind there."""
    with process.ledger.waiting_for("tools"):
        differing = tuple(reproducing.differences(method, known, built))
    build = CleanBuild(wall_s=wall_s, at=_now(), differing=differing)
    with _alone(method, locked, variant) as folder:
        if folder.is_dir():
            _remember(folder, [*_known_builds(folder), build])
    return build


def sizes(
    method: Method, locked: LockedModel, artifact: Artifact, depot: Depot, *, variant: Variant = DEFAULT
) -> Sizes:
    """The artifact's sizes, taken once and kept beside it: packing it again would give the same."""
    with contextlib.suppress(TypeError):
        if (table := noted(method, locked, artifact, "sizes", variant=variant)) is not None:
            return Sizes(**table)
    found = method.sizes(artifact, depot)
    if found.packed_bytes is not None:
        note(method, locked, artifact, "sizes", dataclasses.asdict(found), variant=variant)
    return found


def noted(
    method: Method, locked: LockedModel, artifact: Artifact, name: str, *, variant: Variant = DEFAULT
) -> dict[str, Any] | None:
    """What was noted beside the artifact under that name; None where nothing was, or of another artifact."""
    try:
        table = _load(_folder(method, locked, variant) / f"{name}.json")
        return table if table.pop("digest") == artifact.digest else None
    except _DAMAGED:
        return None


def note(
    method: Method,
    locked: LockedModel,
    artifact: Artifact,
    name: str,
    table: Mapping[str, Any],
    *,
    variant: Variant = DEFAULT,
) -> None:
    """Note a table beside the artifact in the cache: something that costs time and would be found again."""
    folder = _folder(method, locked, variant)
    if folder.is_dir():
        _write(folder / f"{name}.json", {**table, "digest": artifact.digest})


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
    """The artifact of these inputs, in use; None where it was not built, or is gone."""
    folder = _folder(method, locked, variant)
    try:
        artifact = _read(folder / "artifact.json") if usage.used(folder) else None
    except _DAMAGED:
        return None
    return artifact if artifact is not None and method.present(artifact) else None


@dataclass(frozen=True, kw_only=True)
class Outdated:
    """An artifact that other sources of the harness made, and its folder in the cache."""

    artifact: Artifact
    folder: Path


def outdated() -> list[Outdated]:
    """The artifacts in the cache that nothing will ask for as long as the harness's sources are as they are."""
    found = []
    for record in sorted(paths.cache().glob(f"artifacts/*/{_BUILDS}")):
        with contextlib.suppress(*_DAMAGED):
            if _load(record).get("sources") != own_sources():
                artifact = _read(record.with_name("artifact.json"))
                found.append(Outdated(artifact=artifact, folder=record.parent))
    return found


def recorded(folder: Path) -> Artifact | None:
    """The artifact that lies in a folder of the cache; None where it is none, or only half of one."""
    try:
        return _read(folder / "artifact.json")
    except _DAMAGED:
        return None


def recorded_size(folder: Path) -> int:
    """Bytes of the artifact in a folder of the cache when it is unpacked, as noted there; 0 where nothing is."""
    try:
        return int(_load(folder / "sizes.json")["unpacked_bytes"])
    except _DAMAGED:
        return 0


def discard(folder: Path, artifact: Artifact | None, methods: Mapping[str, Method]) -> bool:
    """Remove an artifact's folder, with its image; False where it is in use, or gone.

    The image goes first, as an artifact without one is none. MissingComponent where no engine answers that could have
    the image: all stays then.
    """

    def with_image() -> None:
        method = methods.get(artifact.method) if artifact is not None and artifact.image is not None else None
        if method is not None and artifact is not None:
            method.remove(artifact)

    return usage.drop(folder, first=with_image)


def discard_unfinished() -> int:
    """Remove what is left of builds that were killed together with the watchdog; how many."""
    removed = 0
    for folder in paths.cache().glob("artifacts/*"):
        if folder.is_dir() and not _finished(folder):
            with tools.alone(folder.with_suffix(".lock")):
                if not _finished(folder):  # the build may have been going on
                    files.remove(folder)
                    removed += 1
    return removed


def _finished(folder: Path) -> bool:
    return os.path.lexists(folder / "artifact.json")


def _load(record: Path) -> Any:
    """The JSON value in a record; one of ``_DAMAGED`` where there is none."""
    return json.loads(files.read_text(record, at_most=_LARGEST_RECORD))


def _read(record: Path) -> Artifact:
    """The artifact that a record is of; one of ``_DAMAGED`` where it is none."""
    table = _load(record)
    return Artifact(**{**table, **{name: Path(table[name]) if table.get(name) else None for name in _PATHS}})


@contextmanager
def _alone(method: Method, locked: LockedModel, variant: Variant) -> Iterator[Path]:
    """The artifact's folder, held against other harnesses."""
    folder = _folder(method, locked, variant)
    with tools.alone(folder.with_suffix(".lock")), process.disk_full_named(folder):
        yield folder


def _build_kept(method: Method, locked: LockedModel, folder: Path, variant: Variant) -> tuple[Artifact, CleanBuild]:
    """Build below ``folder`` until it answers the examples, and keep that."""
    images: list[Artifact] = []

    def build(mended: Mending) -> tuple[Artifact, float]:
        while images:
            method.remove(images.pop())
        files.remove(folder)
        folder.mkdir(parents=True, mode=0o755)
        artifact, wall_s = _timed(method, locked, folder, variant, mended)
        images.extend([artifact] if artifact.image is not None else [])
        return artifact, wall_s

    with process.guarded(folder=str(folder)):  # half an artifact must not be taken for one
        try:
            found = proof.proven(method, locked, build, of=folder.name, variant=variant.label)
            artifact, wall_s = found.artifact, found.wall_s
            table = dataclasses.asdict(artifact)
            table |= {name: str(table[name]) if table[name] else None for name in _PATHS}
            kept = CleanBuild(wall_s=wall_s, at=_now(), proof_s=found.proof_s, tries=found.tries, tries_s=found.tries_s)
            _remember(folder, [kept])
            _write(folder / "artifact.json", table)
        except BaseException:
            files.remove(folder, ignore_errors=True)
            raise
    return artifact, kept


def _known_builds(folder: Path) -> list[CleanBuild]:
    try:
        return [CleanBuild.from_dict(table) for table in _load(folder / _BUILDS)["builds"]]
    except _DAMAGED:
        return []


def _remember(folder: Path, builds: Sequence[CleanBuild]) -> None:
    tables = [dataclasses.asdict(build) for build in builds[-_REMEMBERED:]]
    _write(folder / _BUILDS, {"sources": own_sources(), "builds": tables})


def _write(file: Path, table: Mapping[str, Any]) -> None:
    """All of the file or nothing; DiskFull where there is no room."""
    with process.disk_full_named(file):
        partial = file.with_name(f"{file.name}.partial")
        partial.write_text(json.dumps(table))
        partial.replace(file)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def options(method: Method, locked: LockedModel, options: BuildOptions, *, variant: Variant = DEFAULT) -> BuildOptions:
    """The options with what is known of the model and of earlier builds: a plain start's trace, and what mends."""
    return dataclasses.replace(
        options,
        traced=tracing.of(tracing.plainly(method, locked)) if method.MENDS else None,
        mended=proof.mended(method, locked, variant.label),
    )


def _timed(
    method: Method, locked: LockedModel, workdir: Path, variant: Variant, mended: Mending
) -> tuple[Artifact, float]:
    with process.temporary_folder("tool-cache") as tool_cache:
        known = options(method, locked, variant.options(tool_cache), variant=variant)
        given, built = dataclasses.replace(known, mended=mended), mending.to_build(locked, mended)
        if mended.system_packages:
            method.prepare(built.model)  # a base image is in no build's time
        begin = time.monotonic()
        with process.ledger.waiting_for("tools"), tools.full_disk_named():
            artifact = method.build(built, workdir, given)
        return artifact, time.monotonic() - begin


def _folder(method: Method, locked: LockedModel, variant: Variant) -> Path:
    python = locked.lock.python
    parts = [
        method.ID,
        locked.digest,
        locked.model.digest,
        locked.lock.digest,
        str(python.path),
        python.version,
        variant.label,
        own_sources(),
    ]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
    return paths.cache() / "artifacts" / f"{locked.model.name}-{method.ID}-{key}"


@lru_cache(maxsize=1)
def own_sources() -> str:
    """The digest of those of the harness's sources that go into artifacts or make them."""
    total = hashlib.sha256()
    for name in _SOURCES:
        for file in tree.files(paths.PACKAGE / name):
            # What `package` writes beside an artifact is in none.
            if "__pycache__" not in file.parts and not file.is_relative_to(paths.PACKAGE / "resources" / "package"):
                total.update(f"{file.relative_to(paths.PACKAGE)}\0{tree.sha256(file)}\n".encode())
    return total.hexdigest()
