"""The table of readers that are tried, and how one of them is given an input.

A reader may refuse what it is given, by an error of ours; anything else that it raises is a crash.
"""

from __future__ import annotations

import os
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from fuzz import confined, made
from fuzz.readers import archives, mlflow, reports, said, spec, stored, wheels
from harness import paths
from harness.errors import HarnessError

Reader = Callable[[bytes, Path], None]

CORPUS = Path(__file__).with_name("corpus")
#: Where inputs are laid out: in memory, since it is done thousands of times.
_MEMORY = Path("/dev/shm")

_READERS: tuple[Reader, ...] = (
    *(spec.model_toml, spec.examples_json, spec.model_folder, spec.lock_text, spec.wheel_names, spec.scenario_toml),
    *(spec.prices_toml, spec.answers, spec.environment, spec.sources),
    *(mlflow.mlflow_folder, mlflow.printed_answer),
    *(stored.run_json, stored.samples_jsonl, stored.parquet, stored.parquet_columns),
    *(stored.profile, stored.calibration, stored.commands),
    *(reports.page, reports.embedded, reports.pdf),
    *(archives.tar, archives.tar_members, archives.zipped, archives.zip_members),
    *(archives.sdist, archives.sdist_members),
    *(said.lines, said.http, said.http_body, said.request, said.weights_request),
    *(wheels.wheel, wheels.library, wheels.packages),
)

#: Every reader by its name, which is that of its folder in the corpus too.
TARGETS = {reader.__name__: reader for reader in _READERS}


def read(name: str, data: bytes) -> None:
    """Give the reader ``data``. What it raises that is no error of ours passes; see :func:`confined.surroundings`."""
    parent = tempfile.mkdtemp(prefix="harness-fuzz-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None)
    place = Path(parent, "place")
    try:
        (place / "cache").mkdir(parents=True)
        with confined.quietly(place):
            try:
                TARGETS[name](data, place)
            except HarnessError as error:
                str(error)
    finally:
        confined.remove(Path(parent))


def seeds(name: str) -> list[bytes]:
    """The committed corpus of a reader, and what the harness itself writes for it."""
    folder = CORPUS / name
    files: Iterable[Path] = sorted(folder.iterdir()) if folder.is_dir() else ()
    return [*(file.read_bytes() for file in files), *made.seeds(name)]


def cause(error: BaseException) -> str:
    """What tells one crash from another: the kind of error, and the innermost place of the harness's own."""
    package = str(paths.PACKAGE)
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(package)]
    places = [f"{Path(frame.filename).relative_to(package)}:{frame.name}" for frame in ours] or [frames[-1].name]
    most, times = Counter(places).most_common(1)[0]
    where = most if times > 1 else places[-1]  # too deep: what calls itself, wherever it was just then
    said = f" ({error})" if isinstance(error, AssertionError) else ""
    return f"{type(error).__name__} in {where}{said}"
