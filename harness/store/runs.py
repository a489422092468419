"""A run on disk: ``run.json`` and append-only ``samples.jsonl``, and how both survive being killed.

Every step of a run ends with one write of all its samples, the closing one last. A step whose
closing sample is there is done and is never repeated; whatever an interrupted step left behind is
replaced, because of two samples with the same key the later one counts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import BadInput, CheckFailure
from harness.measure.sample import Cell, Sample
from harness.metrics import METRICS
from harness.process import disk_full_named
from harness.store.records import SCHEMA_VERSION, Manifest

#: How many seconds of samples a power failure may cost; forcing each to the disk costs more than taking it.
_SYNC_S = 5.0


def folder_of(results: Path, run_id: str) -> Path:
    """The folder of that run; BadInput where there is none."""
    if "/" in run_id or run_id in {"", ".", ".."}:
        raise BadInput("is not the name of a run", key="RUN_ID", value=run_id, remedy="'harness runs' lists them")
    folder = results / "runs" / run_id
    if not (folder / "run.json").is_file():
        known = ", ".join(run_ids(results)[-5:]) or "(none)"
        raise BadInput(
            f"there is no run '{run_id}' in {results / 'runs'}",
            remedy=f"the latest are {known}; --results names another folder",
        )
    return folder


def run_ids(results: Path) -> list[str]:
    """The runs below ``results``, oldest first (their names begin with their date)."""
    return sorted(file.parent.name for file in (results / "runs").glob("*/run.json"))


def read_manifest(folder: Path) -> Manifest:
    """``run.json``; BadInput where it is not one, or of a newer schema than this harness knows."""
    file = folder / "run.json"
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot be read: {error}", file=file, remedy="restore it from a backup") from error
    found = table.get("schema_version") if isinstance(table, dict) else None
    if not isinstance(found, int):
        raise BadInput("is missing", file=file, key="schema_version", remedy="this is not a run of the harness")
    if found > SCHEMA_VERSION:
        raise BadInput(
            f"was written by a newer harness; this one knows up to {SCHEMA_VERSION}",
            file=file,
            key="schema_version",
            value=found,
            remedy="upgrade the harness",
        )
    known = {field.name for field in dataclasses.fields(Manifest)}
    try:
        manifest = Manifest(**{key: value for key, value in table.items() if key in known})
    except TypeError as error:
        raise BadInput(f"lacks something: {error}", file=file, remedy="this is not a run of the harness") from error
    for key in ("models", "methods"):
        if not isinstance(manifest.plan, dict) or not isinstance(manifest.plan.get(key), list):
            raise BadInput("is missing", file=file, key=f"plan.{key}", remedy="this is not a run of the harness")
    return manifest


def read_samples(folder: Path) -> list[Sample]:
    """Every sample, in the order taken; a last line that was cut off is left out.

    CheckFailure where a line in the middle is not a sample: then the file was damaged afterwards.
    """
    file = folder / "samples.jsonl"
    lines = file.read_bytes().split(b"\n") if file.is_file() else []
    samples = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            samples.append(_sample(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise CheckFailure(
                f"{file}, line {number} is not a sample: {error}", remedy="restore the file from a backup"
            ) from error
    return samples


class RunWriter:
    """The one writer of a run. Opening it takes the run's lock; see :func:`create` and :func:`resume`."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        # Unbuffered: what did not fit on a full disk must not be written later.
        self._samples = (folder / "samples.jsonl").open("ab", buffering=0)
        self._synced_s = time.monotonic()
        try:
            fcntl.flock(self._samples, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._samples.close()
            raise BadInput(
                f"run {manifest.run_id} is being written by another harness",
                remedy="wait until it has ended, or end it",
            ) from None
        _cut_torn_line(folder / "samples.jsonl")

    def record(self, samples: Iterable[Sample]) -> None:
        """Append a step's samples, all or none.

        They are the kernel's when this returns, so they survive the harness being killed; they are forced
        to the disk now and then, and on closing, for the machine to lose at most some seconds of work.
        """
        lines = []
        for sample in samples:
            if sample.metric not in METRICS:
                raise ValueError(f"{sample.metric} is not declared in harness.metrics")
            lines.append(json.dumps(dataclasses.asdict(sample), allow_nan=False, separators=(",", ":")))
        begin = self._samples.seek(0, os.SEEK_END)
        with disk_full_named(self.folder):
            try:
                left = memoryview("".join(f"{line}\n" for line in lines).encode())
                while left:
                    left = left[self._samples.write(left) :]
                self._force_to_disk(after_s=_SYNC_S)
            except OSError:
                # What didn't fit must not stay half: an interrupted step is repeated as a whole.
                with contextlib.suppress(OSError):
                    os.ftruncate(self._samples.fileno(), begin)
                raise

    @property
    def run_id(self) -> str:
        """The run's name."""
        return self.manifest.run_id

    def noted(self, field: str) -> Mapping[str, Any]:
        """A table of the manifest: ``models``, ``artifacts``, ``availability``, ``timings`` or ``host``."""
        found: Mapping[str, Any] = getattr(self.manifest, field)
        return found

    def update(self, **changes: Any) -> None:
        """Replace fields of the manifest, on disk too; a reader sees the old or the new, never half."""
        self.manifest = dataclasses.replace(self.manifest, **changes)
        write_manifest(self.folder, self.manifest)

    def close(self) -> None:
        """Force everything to the disk, and let go of the run."""
        self._force_to_disk(after_s=0.0)
        self._samples.close()

    def _force_to_disk(self, *, after_s: float) -> None:
        if time.monotonic() - self._synced_s >= after_s:
            os.fdatasync(self._samples.fileno())
            self._synced_s = time.monotonic()


@contextlib.contextmanager
def create(results: Path, manifest: Manifest) -> Iterator[RunWriter]:
    """A new run."""
    folder = results / "runs" / manifest.run_id
    with disk_full_named(folder):
        try:
            folder.mkdir(parents=True)
        except PermissionError as error:
            raise BadInput("cannot be written to", file=results, remedy="--results names another folder") from error
        write_manifest(folder, manifest)
        writer = RunWriter(folder, manifest)
    try:
        yield writer
    finally:
        writer.close()


@contextlib.contextmanager
def resume(results: Path, run_id: str) -> Iterator[RunWriter]:
    """A run that was interrupted, to go on with."""
    folder = folder_of(results, run_id)
    if (folder / "samples.parquet").is_file() and not (folder / "samples.jsonl").is_file():
        raise BadInput(
            "has finished, and only its compacted samples are left",
            key="--resume",
            value=run_id,
            remedy="start a new run",
        )
    writer = RunWriter(folder, read_manifest(folder))
    try:
        yield writer
    finally:
        writer.close()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``run.json`` whole."""
    part = folder / "run.json.part"
    with disk_full_named(folder):
        with part.open("w", encoding="utf-8") as file:
            json.dump(dataclasses.asdict(manifest), file, indent=1, sort_keys=True, allow_nan=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(folder / "run.json")


def ends_torn(file: Path) -> bool:
    """Whether the last line has no end: it was being written when the harness was killed."""
    with file.open("rb") as stream:
        end = stream.seek(0, os.SEEK_END)
        stream.seek(max(end - 1, 0))
        return end > 0 and stream.read() != b"\n"


def _cut_torn_line(file: Path) -> None:
    if ends_torn(file):
        contents = file.read_bytes()
        with file.open("rb+") as stream:
            stream.truncate(contents.rfind(b"\n") + 1)


def _sample(table: dict[str, Any]) -> Sample:
    cell = Cell(**table.pop("cell"))
    sample = Sample(cell=cell, **{**table, "flags": tuple(table.get("flags", ()))})
    if sample.value is not None and (isinstance(sample.value, bool) or not isinstance(sample.value, int | float)):
        raise TypeError(f"value {sample.value!r} is not a number")
    if isinstance(sample.round, bool) or not isinstance(sample.round, int):
        raise TypeError(f"round {sample.round!r} is not a whole number")
    return sample
