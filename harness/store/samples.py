"""Samples as they lie on disk, checked before anything uses them: a results folder may be anybody's.

What is right is said by the types of :class:`harness.measure.sample.Sample`. Lines are read by JSON's strict rules;
whoever wants them for DuckDB gets them written anew, so nothing but what was checked here reaches it.
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness import files
from harness.errors import BadInput, CheckFailure, one_line, printable
from harness.measure.sample import LEAST, LONGEST_NOTE, Sample
from harness.spec.kinds import MOST

LINES = "samples.jsonl"

#: The most that a file of samples, a line of it, and their number may be. A night over all models is 14 MB, 45,000.
LARGEST, LONGEST_LINE, COUNT = 128 * 2**20, 2**20, 1_000_000

_REMEDY = "restore the file from a backup"


def contents(file: Path) -> bytes:
    """The bytes of a file of samples. CheckFailure where it is a link, a pipe, or too large."""
    try:
        return files.read_bytes(file, at_most=LARGEST, below=file.parent, remedy=_REMEDY)
    except BadInput as error:
        raise CheckFailure(error.problem, remedy=error.remedy) from error


def of_file(file: Path) -> list[Sample]:
    """Every sample in the lines of ``file``, in their order; a last line that was cut off is left out.

    CheckFailure where a line in the middle is not a sample: then the file was damaged afterwards.
    """
    found = []
    for number, line in enumerate(contents(file).split(b"\n")[:-1], start=1):
        try:
            if len(line) > LONGEST_LINE or number > COUNT:
                raise ValueError(f"a line has at most {LONGEST_LINE:,} bytes, a file at most {COUNT:,} lines")
            found.append(_adapter().validate_json(line, strict=True))
        except ValueError as error:
            raise CheckFailure(
                f"{one_line(str(file))}, line {number} is not a sample: {_said(error)}", remedy=_REMEDY
            ) from None
    return found


def as_lines(samples: Iterable[Sample]) -> bytes:
    """The lines of samples that were read by :func:`of_file`, or are to be."""
    return b"".join(_adapter().dump_json(sample) + b"\n" for sample in samples)


def writable(sample: Sample) -> Sample:
    """``sample`` as :func:`of_file` takes it back. ValueError where no reader would: that is a mistake of ours.

    A value that cannot be is a failure with a note, because an instance may have made it up; a note that is too long
    keeps its beginning.
    """
    value, flags, note = sample.value, sample.flags, printable(sample.note)
    if value is not None and not (math.isfinite(value) and 0 <= value <= MOST):
        value, flags, note = None, tuple({*flags, "failed"}), f"its value was {value!r}, which is not possible. {note}"
    elif value is not None and 0 < value < LEAST:
        value = 0.0
    kept = dataclasses.replace(sample, value=value, flags=flags, note=note[:LONGEST_NOTE])
    try:
        _adapter().validate_json(_adapter().dump_json(kept), strict=True)
    except ValidationError as error:
        raise ValueError(f"this is not a sample: {_said(error)}") from error
    return kept


def check_columns(columns: Mapping[str, Sequence[Any]]) -> None:
    """The values that occur in each column of a table of samples. CheckFailure names the first that cannot be."""
    for name, values in columns.items():
        try:
            _column(name).validate_json(json.dumps(values), strict=True)
        except ValidationError as error:
            raise CheckFailure(f"column {name}: {_said(error)}", remedy=_REMEDY) from None


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Sample]:
    return TypeAdapter(Sample)


@lru_cache(maxsize=32)
def _column(name: str) -> TypeAdapter[Any]:
    hint: Any = typing.get_type_hints(Sample, include_extras=True)[name]
    return TypeAdapter(list[hint])


def _said(error: ValueError) -> str:
    """The first thing that is wrong, with its key and value."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    what = str(first["msg"]).removeprefix("Value error, ").replace("at line 1 column", "at column")
    what = "is not a known key" if first["type"] == "unexpected_keyword_argument" else what
    known = key and not isinstance(first["input"], dict | bytes)
    return one_line(BadInput(what, key=key, value=first["input"] if known else None).problem if key else what)
