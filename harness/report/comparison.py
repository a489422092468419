"""Methods side by side: tables of medians with intervals, and ratios paired within rounds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.bootstrap import FEWEST, Interval
from harness.metrics import ARRIVALS, METRICS, PERCENTILES, PHASES, START_STATES
from harness.report import numbers
from harness.report.facts import Fact, Prose, Statistic, identity, text
from harness.store.query import Evidence, Value, paired_ratio

#: Metrics of the machine or of the network, not of what a method made; they are shown as conditions of the run.
CONDITIONS = ("sentinel_s", "download_s")

#: name, caption, and metrics of each table. Metrics that are in none land in a last table, "more".
_TABLES: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "size",
        "Size, build and install",
        ("packed_bytes", "over_base_bytes", "unpacked_bytes", "files", "build_clean_s", "install_s", "transfer_s"),
        (),
    ),
    (
        "start",
        "Start: from spawn to the first correct prediction, and a request after that",
        ("cold_start_s", "warm_request_s", "parity"),
        (),
    ),
    *(
        (f"phases-{state}", f"Phases of a cold start, {state}", tuple(f"phase_{name}_s" for name in PHASES), (state,))
        for state in START_STATES
    ),
    (
        "use",
        "Memory and processor until the first prediction",
        ("peak_memory_bytes", "anonymous_bytes", "peak_resident_bytes", "minimum_memory_bytes", "cpu_to_first_s"),
        ("", *START_STATES),
    ),
    (
        "change",
        "After a change, and built twice",
        ("update_bytes", "build_weights_s", "build_code_s", "build_dependency_s", "reproducible"),
        (),
    ),
    *(
        (
            f"load-{pattern}",
            f"Warm, under load: {pattern}",
            (*(f"latency_p{each}_s" for each in PERCENTILES), "throughput_per_s", "cpu_per_prediction_s"),
            (pattern,),
        )
        for pattern in ARRIVALS
    ),
    ("portable", "Where it starts and answers right", ("portable",), ()),
    (
        "around",
        "How busy the machine was while starts were taken",
        ("pressure_cpu_share", "pressure_io_share", "pressure_memory_share", "steal_share"),
        START_STATES,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Column:
    """A metric in a cache state."""

    metric: str
    state: str
    title: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One value of the table, or why there is none.

    ``ratio`` is to the best method of the column, paired within rounds. ``standing`` is ``best``,
    ``tied`` (its interval of the ratio includes 1) or nothing. ``marks``: ``unstable``, ``few``.
    """

    fidelity: str
    median: Fact | None = None
    low: Fact | None = None
    high: Fact | None = None
    n: Fact | None = None
    ratio: Fact | None = None
    ratio_low: Fact | None = None
    ratio_high: Fact | None = None
    standing: str = ""
    marks: tuple[str, ...] = ()
    absent: Fact | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method under one set of limits; ``failure`` says why it has no right answer."""

    method: str
    limits: str
    failure: Fact | None
    cells: tuple[Cell, ...]

    @property
    def blank(self) -> bool:
        """Whether there is nothing to show but the failure."""
        return self.failure is not None and not any(cell.median or cell.absent for cell in self.cells)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Methods by metrics."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def of_one_state(self) -> bool:
        """Whether the caption says the cache state, so that the columns need not."""
        return self.name.startswith(("phases-", "load-"))

    def column(self, metric: str, state: str = "") -> list[tuple[Row, Cell]]:
        """The rows with their cell of that metric and state; empty where the table has no such column."""
        for index, column in enumerate(self.columns):
            if (column.metric, column.state) == (metric, state):
                return [(row, row.cells[index]) for row in self.rows]
        return []


def tables(evidence: Evidence) -> tuple[Table, ...]:
    """The comparison of a model's methods; a table without any value is left out."""
    grouped = {metric for _, _, metrics, _ in _TABLES for metric in metrics}
    rest = tuple(name for name in METRICS if name not in grouped and name not in CONDITIONS)
    built = (_table(evidence, *plan) for plan in (*_TABLES, ("more", "More", rest, ())))
    return tuple(table for table in built if table.columns)


def _table(evidence: Evidence, name: str, caption: str, metrics: Sequence[str], states: Sequence[str]) -> Table:
    present = {(value.metric, value.state) for value in evidence.values if value.method in evidence.methods}
    keys = [
        (metric, state)
        for metric in metrics
        for state in METRICS[metric].states or ("",)
        if (metric, state) in present and (not states or state in states)
    ]
    columns = [_column(metric, state) for metric, state in keys]
    # The parts of a start are not compared one by one: it is their sum that a user waits for. Nor are conditions.
    alone = name.startswith("phases-") or name == "around"
    bests = [None if alone else _best(evidence, metric, state) for metric, state in keys]
    rows = tuple(
        Row(
            method=method,
            limits=limits,
            failure=_failure(evidence, method),
            cells=tuple(
                _cell(evidence, method, limits, column, best) for column, best in zip(columns, bests, strict=True)
            ),
        )
        for method, limits in evidence.rows
    )
    # A method under other limits stands only where something of that was measured.
    rows = tuple(row for row in rows if row.limits == "default" or any(cell.median for cell in row.cells))
    return Table(name=name, caption=caption, columns=tuple(columns), rows=rows)


def ordered(evidence: Evidence) -> list[Value]:
    """The values by method, metric, state and limits, in whatever order a store gave them."""
    methods, metrics = list(evidence.methods), list(METRICS)

    def place(value: Value) -> tuple[int, str, int, int, str]:
        method = methods.index(value.method) if value.method in methods else len(methods)
        states = METRICS[value.metric].states
        state = states.index(value.state) if value.state in states else len(states)
        return method, value.method, metrics.index(value.metric), state, value.limits

    return sorted((value for value in evidence.values if value.metric in METRICS), key=place)


def _column(metric: str, state: str) -> Column:
    declared = METRICS[metric]
    title = declared.title.removeprefix("start: ")
    return Column(metric=metric, state=state, title=title, meaning=declared.meaning)


def _failure(evidence: Evidence, method: str) -> Fact | None:
    why = evidence.failure(method)
    where = (evidence.run_id, evidence.model, method, "failure")
    return text(numbers.line(why), *where, shown=numbers.brief(why)) if why else None


def _best(evidence: Evidence, metric: str, state: str) -> Value | None:
    """The best value of the column among the methods that answer rightly; the first one where several are equal."""
    if METRICS[metric].unit == "bool":
        return None
    sign = 1 if METRICS[metric].direction == "lower" else -1
    able = [
        (sign * value.interval.median, value)
        for method in evidence.methods
        if not evidence.failure(method)
        and (value := evidence.value(method, metric, state)) is not None
        and value.interval is not None
    ]
    return min(able, key=lambda pair: pair[0])[1] if able else None


def _cell(evidence: Evidence, method: str, limits: str, column: Column, best: Value | None) -> Cell:
    value = evidence.value(method, column.metric, column.state, limits)
    if value is None or value.interval is None:
        return _absent(evidence, method, limits, column, value)
    median, low, high, n = interval_facts(evidence.run_id, value, value.interval)
    against = paired_ratio(value, best) if best is not None else None
    ratios = _ratio_facts(evidence.run_id, value, against, best.method if best else "")
    return Cell(
        fidelity=value.fidelity,
        median=median,
        low=low,
        high=high,
        n=n,
        ratio=ratios[0],
        ratio_low=ratios[1],
        ratio_high=ratios[2],
        standing=_standing(evidence, value, best, against),
        marks=marks(value, value.interval),
    )


def _absent(evidence: Evidence, method: str, limits: str, column: Column, value: Value | None) -> Cell:
    """Why there is no value; nothing where the whole method failed for that reason: its row says so once."""
    failure = evidence.failure(method)
    why = (value.why_absent if value else "") or failure or "was not measured"
    where = (evidence.run_id, evidence.model, method, limits if limits != "default" else "")
    key = (*where, column.metric, column.state, "absent")
    said = text(numbers.line(why), *key, shown=numbers.brief(why)) if why != failure else None
    return Cell(fidelity=value.fidelity if value else "", absent=said)


def interval_facts(run: str, value: Value, interval: Interval) -> tuple[Fact, Fact, Fact, Fact]:
    """Median, low, high and n of a value, shown on the scale of the median."""
    unit = value.declared.unit
    scale = numbers.scale(interval.median or interval.high, unit)
    alone = numbers.shown(interval.median, unit) if unit == "bool" else scale.full(interval.median)
    return (
        fact(run, value, "median", interval.median, alone),
        fact(run, value, "low", interval.low, scale.number(interval.low)),
        fact(run, value, "high", interval.high, scale.number(interval.high)),
        fact(run, value, "n", interval.n, f"{interval.n}"),
    )


def marks(value: Value, interval: Interval) -> tuple[str, ...]:
    """``few`` where n is too small for a headline, ``unstable`` where the interval is wide."""
    # One time that was taken once has no spread, but that does not make it exact, as it makes a size.
    noisy = value.declared.unit == "s" or (bool(value.declared.states) and value.declared.unit != "bool")
    few = interval.n < FEWEST[50] if noisy else not interval.enough
    wide = not interval.exact and interval.unstable
    return tuple(mark for mark, holds in (("few", few), ("unstable", wide)) if holds)


def _ratio_facts(run: str, value: Value, ratio: Interval | None, against: str) -> tuple[Fact | None, ...]:
    if ratio is None or value.method == against:
        return None, None, None
    middle = numbers.ratio(ratio.median, exact=ratio.exact)
    parts: tuple[tuple[Statistic, float, str], ...] = (
        ("ratio", ratio.median, middle),
        ("ratio-low", ratio.low, numbers.ratio(ratio.low).removesuffix(numbers.TIMES)),
        ("ratio-high", ratio.high, numbers.ratio(ratio.high).removesuffix(numbers.TIMES)),
    )
    return tuple(fact(run, value, kind, number, shown, against=against) for kind, number, shown in parts)


def _standing(evidence: Evidence, value: Value, best: Value | None, ratio: Interval | None) -> str:
    if best is None or evidence.failure(value.method) or value.limits != "default":
        return ""
    if value.method == best.method or (ratio is not None and ratio.low == ratio.high == 1):
        return "best"
    return "tied" if ratio is not None and ratio.low <= 1 <= ratio.high else ""


def fact(run: str, value: Value, statistic: Statistic, number: float, shown: str, *, against: str = "") -> Fact:
    """A fact of ``value``, with the id that says where it came from."""
    limits = value.limits if value.limits != "default" else ""
    return Fact(
        id=identity(run, value.model, value.method, limits, value.metric, value.state, statistic, against),
        run=run,
        model=value.model,
        method=value.method,
        metric=value.metric,
        state=value.state,
        statistic=statistic,
        value=number,
        shown=shown,
        against=against,
    )


def summary(evidence: Evidence, compared: Iterable[Table]) -> Prose:
    """One sentence: which methods are best at what a reader asks first, and the number."""
    parts: list[str | Fact] = [f"{evidence.model}: "]
    wanted = (
        ("packed_bytes", "", "smallest to ship"),
        ("cold_start_s", "page-warm", "first to answer when its files are in memory"),
        ("cold_start_s", "disk-cold", "first to answer when they must be read from disk"),
    )
    for metric, state, words in wanted:
        for table in compared:
            parts += _leaders(table.column(metric, state), words, first=len(parts) == 1)
    if len(parts) == 1:
        return (f"{evidence.model}: no method gave a right answer in this run.",)
    return (*parts, ".")


def _leaders(column: list[tuple[Row, Cell]], words: str, *, first: bool) -> list[str | Fact]:
    best = [(row, cell) for row, cell in column if cell.standing == "best" and cell.median]
    if not best:
        return []
    tied = [row.method for row, cell in column if cell.standing == "tied"]
    number = [cell.median for _, cell in best[:1] if cell.median]
    names = " and ".join(row.method for row, _ in best)
    verb = "is" if len(best) == 1 else "are"
    also = f", not told apart from {', '.join(tied)}" if tied else ""
    return ["" if first else "; ", f"{names} {verb} {words} (", *number, f"{also})"]
