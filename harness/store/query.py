"""Questions to the stored samples, answered by DuckDB: one row per cell, metric and state.

Results of different hosts are never pooled: every question is about one run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness import bootstrap, files, tree
from harness.bootstrap import Interval
from harness.errors import BadInput, CheckFailure, HarnessError
from harness.measure.sample import CANARY, Cell, Sample
from harness.metrics import METRICS, Fidelity, Metric, State
from harness.process import disk_full_named
from harness.store import runs, tables
from harness.store.records import Manifest
from harness.store.runs import LeftOut
from harness.store.tables import PARQUET

_VALUES = """
    SELECT cell.model, cell.method, cell.limits, metric, state, max(fidelity) AS fidelity,
        list({r: round, v: value} ORDER BY round) FILTER (value IS NOT NULL AND NOT dropped) AS by_round,
        count(*) FILTER (list_contains(flags, 'failed')) AS failed,
        count(*) FILTER (dropped) AS dropped,
        count(*) FILTER (list_contains(flags, 'unfit')) AS unfit,
        count(*) FILTER (list_contains(flags, 'kept')) AS kept,
        count(*) FILTER (list_contains(flags, 'doubtful')) AS doubtful,
        string_agg(DISTINCT note, '; ' ORDER BY note) FILTER (value IS NULL AND note <> '') AS why_absent
    FROM (SELECT *, len(list_filter(flags, lambda f: f LIKE 'dropped:%')) > 0 AS dropped FROM samples)
    WHERE list_contains(?, metric) AND (? = '' OR cell.model = ?)
    GROUP BY ALL"""


@dataclass(frozen=True, kw_only=True)
class Value:
    """One metric of one method in one state: the median and interval, and the values by round behind it.

    ``interval`` is None where no sample counts; ``why_absent`` then says why in a reader's words.
    ``failed``, ``dropped`` and ``unfit`` (beyond a limit of its platform) count the samples that don't count,
    ``kept`` those that were taken earlier than the run, ``doubtful`` those of starts whose phases can't be true.
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
    doubtful: int = 0
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

    def left_to_target(self, method: str) -> str | None:
        """The Debian packages that the method's artifact takes of its target: ``a, b``; None where it was not read."""
        said = self.manifest.artifacts.get(f"{self.model}/{method}", {}).get("needs_on_target")
        return said if isinstance(said, str) else None


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


def latest_run(results: Path, model: str, left_out: LeftOut = runs.silently) -> str | None:
    """The newest run below ``results`` that has a start of the model, else the newest that tried; None where none did.

    A run that is damaged, or of a newer harness, must not keep the others from being used: ``left_out`` is told of it.
    CheckFailure where the only runs that may have one are damaged.
    """
    damaged: HarnessError | None = None
    planned: str | None = None
    for run_id in reversed(runs.run_ids(results)):
        folder = runs.folder_of(results, run_id)
        try:
            if model in runs.read_manifest(folder).plan["models"]:
                if _has_start(folder, model):
                    return run_id
                planned = planned or (run_id if _has_sample(folder, model) else None)
        except (BadInput, CheckFailure) as error:
            left_out(run_id, error)
            damaged = damaged or (error if isinstance(error, CheckFailure) else None)
    if planned is None and damaged is not None:
        raise damaged
    return planned


def _has_start(folder: Path, model: str) -> bool:
    return _has(folder, "cell.model = ? AND metric = 'cold_start_s' AND value IS NOT NULL", model)


def _has_sample(folder: Path, model: str) -> bool:
    return _has(folder, "cell.model = ?", model)


def _has(folder: Path, condition: str, model: str) -> bool:
    with tables.loaded(folder) as connection:
        return bool(connection.execute(f"SELECT 1 FROM samples WHERE {condition} LIMIT 1", [model]).fetchall())


def compact(folder: Path) -> dict[str, str]:
    """Write ``samples.parquet`` beside the lines: the same samples, and enough without them. Its sha256, by name."""
    target = folder / PARQUET
    _copy(folder, "SELECT * FROM samples", target, "FORMAT parquet, COMPRESSION zstd")
    return {PARQUET: tree.sha256(target)}


def samples(folder: Path) -> list[Sample]:
    """Every sample that counts for queries, from the lines or the Parquet, whichever is there."""
    with tables.loaded(folder) as connection:
        cursor = connection.execute("SELECT * FROM samples")
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return [Sample(**{**row, "cell": Cell(**row["cell"]), "flags": tuple(row["flags"])}) for row in rows]


def parquet_differs(folder: Path) -> list[str]:
    """What the Parquet holds that the lines don't, or the other way round; empty where they are the same."""
    try:
        with tables.loaded(folder, both=True) as connection:
            differing = connection.execute(
                "SELECT cell.model, cell.method, metric, round, state FROM "
                "((FROM samples EXCEPT FROM compacted) UNION ALL (FROM compacted EXCEPT FROM samples))"
            ).fetchall()
    except CheckFailure as error:
        return [f"cannot be compared: {error.problem}"]
    named = sorted({f"{row[0]}/{row[1]} {row[2]} round {row[3]} {row[4]}".strip() for row in differing})
    return [f"{name} is not as in samples.jsonl" for name in named]


#: The columns of an export, by what they are made of.
_EXPORTED = {
    "run": "run",
    "model": "cell.model",
    "method": "cell.method",
    "limits": "cell.limits",
    **{name: name for name in ("metric", "value", "unit", "round", "state", "fidelity", '"at"', "note")},
    "flags": "array_to_string(flags, ' ')",
}

#: What a spreadsheet may take for a formula: https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = "^\\s*[=+\\-@\uff1d\uff0b\uff0d\uff20]|^[\\t\\r\\n]"
_TEXT = f"CASE WHEN regexp_matches({{0}}, '{_FORMULA}') THEN '''' ELSE '' END || {{0}}"


def export(folder: Path, target: Path, kind: str) -> None:
    """Write the run's samples to ``target`` as ``csv`` or ``parquet``, one row each, the cell in columns.

    In CSV, a text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    made = _EXPORTED
    if kind == "csv":
        made = {name: one if name in ("value", "round") else _TEXT.format(one) for name, one in _EXPORTED.items()}
    rows = ", ".join(f"{one} AS {name}" for name, one in made.items())
    form = "FORMAT csv, HEADER, FORCE_QUOTE (note)" if kind == "csv" else "FORMAT parquet"
    _copy(folder, f"SELECT {rows} FROM samples", target, form)


def _copy(folder: Path, rows: str, target: Path, form: str) -> None:
    """Write ``rows`` of the run's samples to ``target``, whole or not at all. BadInput where it can't be written."""
    with tables.memory() as made:
        with tables.loaded(folder, out=made) as connection:
            connection.execute(f"COPY ({rows}) TO '{made}' ({form}, USE_TMP_FILE false)")
        data = Path(made).read_bytes()
    write(target, data)


def write(target: Path, data: bytes) -> None:
    """Write ``data`` to ``target``, whole or not at all. BadInput where it can't be written."""
    if not target.parent.is_dir():
        raise BadInput("cannot be written: there is no such folder", file=target, remedy="--out names another")
    with disk_full_named(target):
        files.write_whole(target, data)


def values(folder: Path, metrics: Collection[str] = (), model: str = "") -> list[Value]:
    """Every value of the run, or those of ``metrics`` and ``model``, sorted; CheckFailure where samples are damaged."""
    asked = [*metrics] or [*METRICS]
    with tables.loaded(folder) as connection:
        rows = connection.execute(_VALUES, [asked, model, model]).fetchall()
    order = {name: rank for rank, name in enumerate(METRICS)}
    found = [_value(row) for row in rows]
    return sorted(found, key=lambda value: (value.model, value.method, order.get(value.metric, 99), value.state))


def _value(row: tuple[Any, ...]) -> Value:
    model, method, limits, metric, state, fidelity, by_round, failed, dropped, unfit, kept, doubtful, why_absent = row
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
        doubtful=doubtful,
        why_absent=why_absent or "",
    )
