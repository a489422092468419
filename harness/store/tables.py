"""A run's samples as a table of DuckDB, which sees nothing else.

The files of a run are read by :mod:`harness.files` and handed over in memory, under names that are ours: no path and no
text of a results folder becomes SQL. Once they are loaded, DuckDB may open no file, load no extension and change no
setting.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import CheckFailure, one_line
from harness.store import samples

#: The compacted samples of a run.
PARQUET = "samples.parquet"

#: Columns of the table, with their types as DuckDB writes them.
_COLUMNS = {
    "run": "VARCHAR",
    "cell": "STRUCT(model VARCHAR, method VARCHAR, limits VARCHAR)",
    "metric": "VARCHAR",
    "value": "DOUBLE",
    "unit": "VARCHAR",
    "round": "BIGINT",
    "state": "VARCHAR",
    "fidelity": "VARCHAR",
    "at": "VARCHAR",
    "flags": "VARCHAR[]",
    "note": "VARCHAR",
}
_NAMES = ", ".join(f'"{name}"' for name in _COLUMNS)
_TYPES = ", ".join(f"\"{name}\": '{kind}'" for name, kind in _COLUMNS.items())

# Of two samples with the same key the later one counts: the earlier belongs to an interrupted step.
_LATEST = """
    SELECT * EXCLUDE line FROM (
        SELECT *, row_number() OVER () AS line FROM {source}
    ) QUALIFY row_number() OVER (
        PARTITION BY cell.model, cell.method, cell.limits, metric, round, state ORDER BY line DESC
    ) = 1"""

#: What of a column is checked; of values only those that can be out of bounds.
_OCCURRING = {name: f'SELECT DISTINCT "{name}" FROM {{table}}' for name in _COLUMNS} | {
    "value": "SELECT unnest([min(value), max(value), min(value) FILTER (value > 0)]) FROM {table}"
}

_LONGEST = (
    'SELECT max(length(concat(run, cell::VARCHAR, metric, unit, state, fidelity, "at", flags::VARCHAR, note))) '
    "FROM {table}"
)

_REMEDY = "'harness verify' names the damaged line; restore the file from a backup"


@contextlib.contextmanager
def loaded(folder: Path, *, both: bool = False, out: str = "") -> Iterator[Any]:
    """A connection with the samples of the run in ``folder`` as the table ``samples``: its lines, else its Parquet.

    With ``both``, its Parquet is the table ``compacted`` besides. ``out`` is a file that may be written to (see
    :func:`memory`). CheckFailure where a file is damaged, or not what a harness writes.
    """
    import duckdb

    lines, parquet = folder / samples.LINES, folder / PARQUET
    if not os.path.lexists(lines) and not os.path.lexists(parquet):
        raise CheckFailure(f"{one_line(str(folder))} has no samples", remedy="restore samples.jsonl or samples.parquet")
    with _connection() as connection:
        try:
            if os.path.lexists(lines):
                _load_lines(connection, lines)
            else:
                _load_parquet(connection, parquet, "samples")
            if both:
                _load_parquet(connection, parquet, "compacted")
            _lock(connection, out)
            yield connection
        except (duckdb.Error, UnicodeDecodeError) as error:
            raise _damaged(folder, str(error)) from error


@contextlib.contextmanager
def memory(data: bytes = b"") -> Iterator[str]:
    """A file in memory that holds ``data``: the path under which this process can open it."""
    descriptor = os.memfd_create("samples")
    try:
        with open(descriptor, "wb", closefd=False) as stream:
            stream.write(data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _connection() -> Any:
    import duckdb

    # One thread keeps the order of lines, which decides which of two samples is the later one.
    config: dict[str, Any] = {
        "threads": 1,
        "memory_limit": "1GB",
        "temp_directory": "",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "python_enable_replacements": False,
    }
    return duckdb.connect(config=config)


def _lock(connection: Any, out: str) -> None:
    if out:
        connection.execute(f"SET allowed_paths = ['{out}']")  # a path of :func:`memory`
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _load_lines(connection: Any, file: Path) -> None:
    checked = samples.as_lines(samples.of_file(file))
    with memory(checked) as path:
        source = f"read_json('{path}', format='newline_delimited', columns={{{_TYPES}}})"
        connection.execute(f"CREATE TEMP TABLE samples AS {_LATEST.format(source=source)}")


def _load_parquet(connection: Any, file: Path, table: str) -> None:
    with memory(samples.contents(file)) as path:
        described = connection.execute(f"DESCRIBE SELECT * FROM read_parquet('{path}')").fetchall()
        if {row[0]: row[1].replace('"', "") for row in described} != _COLUMNS:
            raise _damaged(file, "its columns are not those of samples")
        known = connection.execute(f"SELECT count(*) FROM read_parquet('{path}')").fetchone()[0]
        rows = f"SELECT {_NAMES} FROM read_parquet('{path}') LIMIT {samples.COUNT + 1}"
        connection.execute(f"CREATE TEMP TABLE {table} AS {_LATEST.format(source=f'({rows})')}")
    longest = connection.execute(_LONGEST.format(table=table)).fetchone()[0] or 0
    if known > samples.COUNT or longest > samples.LONGEST_LINE:
        raise _damaged(file, f"it has more than {samples.COUNT:,} samples, or one is too long")
    occurring = {
        name: [row[0] for row in connection.execute(query.format(table=table)).fetchall()]
        for name, query in _OCCURRING.items()
    }
    try:
        samples.check_columns(occurring)
    except CheckFailure as error:
        raise _damaged(file, error.problem) from error


def _damaged(place: Path, why: str) -> CheckFailure:
    first = (why.strip().splitlines() or ["nobody knows why"])[0]
    return CheckFailure(f"the samples in {one_line(str(place))} cannot be read: {first}", remedy=_REMEDY)
