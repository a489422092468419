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
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness import files
from harness.errors import BadInput, CheckFailure, HarnessError, one_line
from harness.measure.sample import Sample
from harness.process import disk_full_named, guarded
from harness.spec import kinds, reading
from harness.store import samples, schema
from harness.store.records import SCHEMA_VERSION, Manifest

MANIFEST = "run.json"

#: What a run is called: a name that cannot leave the folder, nor do anything on a terminal.
_RUN_ID = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"

#: The most bytes of a manifest; a night over all models has 150 KB.
_LARGEST_MANIFEST = 16 * 2**20

_DAMAGED, _NOT_OURS = "restore it from a backup", "this is not a run of the harness"

#: How many seconds of samples a power failure may cost; forcing each to the disk costs more than taking it.
_SYNC_S = 5.0


def folder_of(results: Path, run_id: str) -> Path:
    """The folder of that run; BadInput where there is none."""
    if not re.fullmatch(_RUN_ID, run_id):
        raise BadInput("is not the name of a run", key="RUN_ID", value=run_id, remedy="'harness runs' lists them")
    folder = results / "runs" / run_id
    if not os.path.lexists(folder / MANIFEST):
        known = ", ".join(run_ids(results)[-5:]) or "(none)"
        raise BadInput(
            f"there is no run '{run_id}' in {one_line(str(results / 'runs'))}",
            remedy=f"the latest are {known}; --results names another folder",
        )
    return folder


def run_ids(results: Path) -> list[str]:
    """The runs below ``results``, oldest first (their names begin with their date). BadInput where it is no folder.

    A folder with the name of no run is passed over; :func:`strangers` has those.
    """
    return [name for name in _names(results) if re.fullmatch(_RUN_ID, name)]


def strangers(results: Path) -> list[str]:
    """Folders among the runs whose names are not those of runs."""
    return [name for name in _names(results) if not re.fullmatch(_RUN_ID, name)]


def _names(results: Path) -> list[str]:
    place = results / "runs"
    try:
        with os.scandir(place) as entries:
            return sorted(entry.name for entry in entries if os.path.lexists(os.path.join(entry.path, MANIFEST)))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BadInput(
            f"cannot be read: {error.strerror}", file=place, remedy="--results names another folder"
        ) from error


#: Told of a run that is left out, and why.
LeftOut = Callable[[str, HarnessError], None]


def silently(_run_id: str, _error: HarnessError) -> None:
    """Tell nobody of a run that is left out."""


def readable(results: Path, left_out: LeftOut) -> Iterator[tuple[str, Manifest]]:
    """Every run whose manifest can be read, oldest first; of the others ``left_out`` is told."""
    for run_id in run_ids(results):
        try:
            yield run_id, read_manifest(folder_of(results, run_id))
        except (BadInput, CheckFailure) as error:
            left_out(run_id, error)


def read_manifest(folder: Path) -> Manifest:
    """``run.json``, checked; BadInput where it is not one of this run, or of a newer schema than this harness knows."""
    file = folder / MANIFEST
    table = _table(file)
    found = table.get("schema_version")
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise BadInput("is not a number", file=file, key="schema_version", value=found, remedy=_NOT_OURS)
    if found > SCHEMA_VERSION:
        raise BadInput(
            f"was written by a newer harness; this one knows up to {SCHEMA_VERSION}",
            file=file,
            key="schema_version",
            value=found,
            remedy="upgrade the harness",
        )
    key, wrong = kinds.check_bounds(table)
    if wrong:
        raise BadInput(wrong, file=file, key=key, remedy=_DAMAGED)
    reading.record(schema.Written, table, file=file)
    if table["run_id"] != folder.resolve().name:
        raise BadInput(
            "is not what its folder is called",
            file=file,
            key="run_id",
            value=table["run_id"],
            remedy="call the folder by the run's name",
        )
    known = {field.name for field in dataclasses.fields(Manifest)}
    return Manifest(**{key: value for key, value in table.items() if key in known})


def _table(file: Path) -> dict[str, Any]:
    """The JSON object in ``file``."""
    text = files.read_text(file, at_most=_LARGEST_MANIFEST, below=file.parent, remedy=_DAMAGED)
    try:
        table = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise BadInput("is nested too deeply", file=file, remedy=_DAMAGED) from None
    except ValueError as error:
        raise BadInput(f"is not valid JSON: {error}", file=file, remedy=_DAMAGED) from None
    if not isinstance(table, dict):
        raise BadInput("is not a table", file=file, remedy=_NOT_OURS)
    return table


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; ValueError where a key is there twice, of which readers would choose differently."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r:.80} is there twice")
    return found


def read_samples(folder: Path) -> list[Sample]:
    """Every sample, in the order taken; a last line that was cut off is left out.

    CheckFailure where a line in the middle is not a sample: then the file was damaged afterwards.
    """
    file = folder / samples.LINES
    return samples.of_file(file) if os.path.lexists(file) else []


class RunWriter:
    """The one writer of a run. Opening it takes the run's lock; see :func:`create` and :func:`resume`."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        if os.path.lexists(folder / samples.LINES):
            files.check_regular(folder / samples.LINES, below=folder, remedy=_DAMAGED)
        # Unbuffered: what did not fit on a full disk must not be written later.
        self._samples = (folder / samples.LINES).open("ab", buffering=0)
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

    def record(self, taken: Iterable[Sample]) -> None:
        """Append a step's samples, all or none.

        They are the kernel's when this returns, so they survive the harness being killed; they are forced
        to the disk now and then, and on closing, for the machine to lose at most some seconds of work.
        """
        lines = samples.as_lines(map(samples.writable, taken))
        begin = self._samples.seek(0, os.SEEK_END)
        with disk_full_named(self.folder):
            try:
                left = memoryview(lines)
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
    with disk_full_named(folder), guarded(file=str(part)):
        part.unlink(missing_ok=True)  # of a killed harness, or a link that somebody put there
        with part.open("x", encoding="utf-8") as file:
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
