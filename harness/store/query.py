"""Questions to the stored samples, answered by DuckDB: one row per cell, metric and state.

Results of different hosts are never pooled: every question is about one run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness import bootstrap, process, tree
from harness.bootstrap import Interval
from harness.errors import BadInput, CheckFailure
from harness.measure.sample import CANARY, Cell, Sample
from harness.metrics import METRICS, Fidelity, Metric, State
from harness.store import runs
from harness.store.records import Manifest

#: The compacted samples of a run.
PARQUET = "samples.parquet"

_COLUMNS = """{run: 'VARCHAR', cell: 'STRUCT(model VARCHAR, method VARCHAR, limits VARCHAR)', metric: 'VARCHAR',
    value: 'DOUBLE', unit: 'VARCHAR', round: 'BIGINT', state: 'VARCHAR', fidelity: 'VARCHAR', "at": 'VARCHAR',
    flags: 'VARCHAR[]', note: 'VARCHAR'}"""

# Of two samples with the same key the later one counts: the earlier belongs to an interrupted step.
_LATEST = """
    SELECT * EXCLUDE line FROM (
        SELECT *, row_number() OVER () AS line FROM {source}
    ) QUALIFY row_number() OVER (
        PARTITION BY cell.model, cell.method, cell.limits, metric, round, state ORDER BY line DESC
    ) = 1"""

_VALUES = """
    SELECT cell.model, cell.method, cell.limits, metric, state, max(fidelity) AS fidelity,
        list({r: round, v: value} ORDER BY round) FILTER (value IS NOT NULL AND NOT dropped) AS by_round,
        count(*) FILTER (list_contains(flags, 'failed')) AS failed,
        count(*) FILTER (dropped) AS dropped,
        count(*) FILTER (list_contains(flags, 'unfit')) AS unfit,
        count(*) FILTER (list_contains(flags, 'kept')) AS kept,
        string_agg(DISTINCT note, '; ' ORDER BY note) FILTER (value IS NULL AND note <> '') AS why_absent
    FROM (SELECT *, len(list_filter(flags, lambda f: f LIKE 'dropped:%')) > 0 AS dropped FROM samples)
    WHERE list_contains(?, metric) AND (? = '' OR cell.model = ?)
    GROUP BY ALL"""


@dataclass(frozen=True, kw_only=True)
class Value:
    """One metric of one method in one state: the median and interval, and the values by round behind it.

    ``interval`` is None where no sample counts; ``why_absent`` then says why in a reader's words.
    ``failed``, ``dropped`` and ``unfit`` (beyond a limit of its platform) count the samples that don't count,
    ``kept`` those that were taken earlier than the run.
    """

    model: str
    method: str
    limits: str
    metric: str
    state: State
    fidelity: Fidelity
    by_round: Mapping[int, float]
    interval: Interval | None
    failed: int = 0
    dropped: int = 0
    unfit: int = 0
    kept: int = 0
    why_absent: str = ""

    @property
    def declared(self) -> Metric:
        """The metric's declaration: unit, direction, meaning."""
        return METRICS[self.metric]

    @property
    def outliers(self) -> tuple[int, ...]:
        """The rounds whose value is far from the others'; they count all the same."""
        return bootstrap.outliers(self.by_round)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What one run knows of one model: every method that was planned, and the values that were obtained.

    ``profile`` is what the values were predicted from, where nothing was measured, as JSON would hold it.
    """

    run_id: str
    model: str
    manifest: Manifest
    values: tuple[Value, ...]
    profile: Mapping[str, Any] | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that the run planned for the model, in the order of the plan."""
        return tuple(self.manifest.plan["methods"])

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        """Every planned method under the default limits, and under whichever others it was measured."""
        others = sorted({(value.method, value.limits) for value in self.values if value.limits != "default"})
        return tuple(
            row
            for method in self.methods
            for row in [(method, "default"), *(other for other in others if other[0] == method)]
        )

    def value(self, method: str, metric: str, state: str = "", limits: str = "default") -> Value | None:
        """That value, or None where the run holds nothing of it."""
        return self._by_key.get((method, metric, state, limits))

    @cached_property
    def _by_key(self) -> Mapping[tuple[str, str, str, str], Value]:
        # The first of equals, as a search from the beginning would find it.
        pairs = (((value.method, value.metric, value.state, value.limits), value) for value in reversed(self.values))
        return dict(pairs)

    def canary(self, state: str) -> Interval | None:
        """A method against itself (A/A): the ratio of its cold starts, paired within rounds; None without one."""
        for value in self.values:
            if (value.metric, value.state, value.limits) == ("cold_start_s", state, CANARY):
                return paired_ratio(value, self.value(value.method, "cold_start_s", state))
        return None

    def interval(self, method: str, metric: str, state: str = "") -> Interval | None:
        """The median and interval, or None."""
        value = self.value(method, metric, state)
        return value.interval if value else None

    def failure(self, method: str) -> str:
        """Why the method has no right answer for this model: empty where it has one."""
        parity = self.value(method, "parity")
        if parity is None:
            return "was not measured"
        if parity.interval is None:
            return parity.why_absent or "was not measured"
        return "" if parity.interval.median == 1 else "answers wrongly"


def paired_ratio(one: Value | None, other: Value | None) -> Interval | None:
    """``one`` over ``other``, paired within rounds; None where either is absent."""
    if one is None or other is None:
        return None
    return bootstrap.ratio(one.by_round, other.by_round)


def metrics_of(values: Iterable[Value]) -> list[Metric]:
    """The declared metrics that occur, in the order of their declaration."""
    present = {value.metric for value in values}
    return [metric for name, metric in METRICS.items() if name in present]


def evidence(results: Path, run_id: str, model: str) -> Evidence:
    """What the run knows of the model; BadInput where it knows nothing."""
    folder = runs.folder_of(results, run_id)
    manifest = runs.read_manifest(folder)
    # Asked for alone: the intervals of a night's other models take a second.
    found = values(folder, model=model) if model in manifest.plan["models"] else []
    if not found:
        known = [one.model for one in evidences(results, run_id)]
        if model not in known:
            raise BadInput(f"run {run_id} did not measure '{model}'", remedy=f"it measured {', '.join(known)}")
    return Evidence(run_id=run_id, model=model, manifest=manifest, values=tuple(found))


def evidences(results: Path, run_id: str, metrics: Collection[str] = ()) -> list[Evidence]:
    """The evidence on every model that the run measured, in the order of its plan.

    What a run has not reached yet it says nothing of; one that has reached nothing says so of all. Of ``metrics`` alone
    where they are named: intervals of all that a night measured take a second.
    """
    folder = runs.folder_of(results, run_id)
    manifest = runs.read_manifest(folder)
    every = values(folder, metrics)
    reached = {value.model for value in every} or set(manifest.plan["models"])
    return [
        Evidence(
            run_id=run_id,
            model=model,
            manifest=manifest,
            values=tuple(value for value in every if value.model == model),
        )
        for model in manifest.plan["models"]
        if model in reached
    ]


def latest_run(results: Path, model: str) -> str | None:
    """The newest run below ``results`` that has a start of the model, else the newest that tried; None where none did.

    CheckFailure where the only runs that may have one are damaged.
    """
    damaged: CheckFailure | None = None
    planned: str | None = None
    for run_id in reversed(runs.run_ids(results)):
        folder = runs.folder_of(results, run_id)
        # A run that is damaged, or of a newer harness, must not keep the others from being used.
        try:
            if model in runs.read_manifest(folder).plan["models"]:
                if _has_start(folder, model):
                    return run_id
                planned = planned or (run_id if _has_sample(folder, model) else None)
        except CheckFailure as error:
            damaged = damaged or error
        except BadInput:
            continue
    if planned is None and damaged is not None:
        raise damaged
    return planned


def _has_start(folder: Path, model: str) -> bool:
    return _has(folder, "cell.model = ? AND metric = 'cold_start_s' AND value IS NOT NULL", model)


def _has_sample(folder: Path, model: str) -> bool:
    return _has(folder, "cell.model = ?", model)


def _has(folder: Path, condition: str, model: str) -> bool:
    with _reading(folder) as connection:
        return bool(connection.execute(f"SELECT 1 FROM samples WHERE {condition} LIMIT 1", [model]).fetchall())


def compact(folder: Path) -> dict[str, str]:
    """Write ``samples.parquet`` beside the lines: the same samples, and enough without them. Its sha256, by name."""
    target = folder / PARQUET
    _copy(folder, "SELECT * FROM samples", target, "(FORMAT parquet, COMPRESSION zstd)")
    return {PARQUET: tree.sha256(target)}


def samples(folder: Path) -> list[Sample]:
    """Every sample that counts for queries, from the lines or the Parquet, whichever is there."""
    with _reading(folder) as connection:
        cursor = connection.execute("SELECT * FROM samples")
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return [Sample(**{**row, "cell": Cell(**row["cell"]), "flags": tuple(row["flags"])}) for row in rows]


def parquet_differs(folder: Path) -> list[str]:
    """What the Parquet holds that the lines don't, or the other way round; empty where they are the same."""
    import duckdb

    parquet = f"SELECT * FROM read_parquet('{_quoted(folder / PARQUET)}')"
    with _reading(folder) as connection:
        try:
            differing = connection.execute(
                f"SELECT cell.model, cell.method, metric, round, state FROM "
                f"((FROM samples EXCEPT ({parquet})) UNION ALL (({parquet}) EXCEPT FROM samples))"
            ).fetchall()
        except duckdb.Error as error:
            return [f"cannot be read: {str(error).splitlines()[0]}"]
    named = sorted({f"{row[0]}/{row[1]} {row[2]} round {row[3]} {row[4]}".strip() for row in differing})
    return [f"{name} is not as in samples.jsonl" for name in named]


def export(folder: Path, target: Path, kind: str) -> None:
    """Write the run's samples to ``target`` as ``csv`` or ``parquet``, one row each, the cell in columns."""
    rows = (
        "SELECT run, cell.model, cell.method, cell.limits, * EXCLUDE (run, cell, flags), "
        "array_to_string(flags, ' ') AS flags FROM samples"
    )
    _copy(folder, rows, target, "(FORMAT csv, HEADER)" if kind == "csv" else "(FORMAT parquet)")


def _copy(folder: Path, rows: str, target: Path, form: str) -> None:
    """Write ``rows`` of the run's samples to ``target``, whole or not at all. BadInput where it can't be written."""
    import duckdb

    part = target.with_name(target.name + ".part")
    with _reading(folder) as connection:
        try:
            connection.execute(f"COPY ({rows}) TO '{_quoted(part)}' {form}")
            part.replace(target)
        except (duckdb.IOException, OSError) as error:
            part.unlink(missing_ok=True)
            reason = str(error).splitlines()[0]
            raise BadInput(f"cannot be written: {reason}", file=target, remedy="name another file") from error


def values(folder: Path, metrics: Collection[str] = (), model: str = "") -> list[Value]:
    """Every value of the run, or those of ``metrics`` and ``model``, sorted; CheckFailure where samples are damaged."""
    asked = [*metrics] or [*METRICS]
    with _reading(folder) as connection:
        rows = connection.execute(_VALUES, [asked, model, model]).fetchall()
    order = {name: rank for rank, name in enumerate(METRICS)}
    found = [_value(row) for row in rows]
    return sorted(found, key=lambda value: (value.model, value.method, order.get(value.metric, 99), value.state))


@contextmanager
def _reading(folder: Path) -> Iterator[Any]:
    """A connection with the run's samples as the table ``samples``; CheckFailure where they are damaged."""
    import duckdb

    with _whole_lines(folder) as source, _connection() as connection:
        try:
            connection.execute(f"CREATE TEMP TABLE samples AS {_LATEST.format(source=source)}")
            yield connection
        except duckdb.Error as error:
            raise CheckFailure(
                f"the samples in {folder} cannot be read: {str(error).splitlines()[0]}",
                remedy="'harness verify' names the damaged line; restore the file from a backup",
            ) from error


def _value(row: tuple[Any, ...]) -> Value:
    model, method, limits, metric, state, fidelity, by_round, failed, dropped, unfit, kept, why_absent = row
    rounds = {int(entry["r"]): float(entry["v"]) for entry in by_round or ()}
    return Value(
        model=model,
        method=method,
        limits=limits,
        metric=metric,
        state=state,
        fidelity=fidelity,
        by_round=rounds,
        interval=bootstrap.interval(list(rounds.values())) if rounds else None,
        failed=failed,
        dropped=dropped,
        unfit=unfit,
        kept=kept,
        why_absent=why_absent or "",
    )


@contextmanager
def _whole_lines(folder: Path) -> Iterator[str]:
    """What DuckDB reads the run's samples from: the lines, else the Parquet made from them.

    A last line that a kill cut off is not there, for DuckDB as for :func:`harness.store.runs.read_samples`.
    """
    lines, parquet = folder / "samples.jsonl", folder / PARQUET
    if lines.is_file() and runs.ends_torn(lines):
        with process.temporary_folder("query") as scratch:
            whole = scratch / lines.name
            whole.write_bytes(lines.read_bytes().rpartition(b"\n")[0] + b"\n")
            yield _json_source(whole)
    elif lines.is_file():
        yield _json_source(lines)
    elif parquet.is_file():
        yield f"read_parquet('{_quoted(parquet)}')"
    else:
        raise CheckFailure(f"{folder} has no samples", remedy="restore samples.jsonl or samples.parquet")


def _json_source(file: Path) -> str:
    return f"read_json('{_quoted(file)}', format='newline_delimited', columns={_COLUMNS}) WHERE run IS NOT NULL"


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _connection() -> Any:
    import duckdb

    # One thread keeps the order of lines, which decides which of two samples is the later one.
    config: dict[str, Any] = {"threads": 1, "autoinstall_known_extensions": False, "autoload_known_extensions": False}
    return duckdb.connect(config=config)
