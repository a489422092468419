"""The footnotes of an appendix: for each number, the run, cell, metric, state, n, interval and fidelity behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.metrics import METRICS
from harness.recommend import costs, prices
from harness.report.advice import Advice, Part, Ranked
from harness.report.comparison import Cell
from harness.report.contents import ModelPart
from harness.report.document import Note, Ref, Text, plain
from harness.report.facts import Fact
from harness.report.numbers import DASH
from harness.report.provenance import Condition, Gap

_Key = tuple[str, ...]

_COST = (
    "the run's durations and throughput and the memory of model.toml, times the prices in "
    f"harness/recommend/prices.toml, read {prices.shipped().read_on[1]}"
)
_COMBINED = "the environment's own value, and what the interface adds to its own environment in the same run"


class Footnotes:
    """Gives out references, numbered in the order in which they are asked for; one source has one footnote."""

    def __init__(self, model: ModelPart, advice: Advice) -> None:
        self._model, self._advice = model, advice
        self._notes: dict[_Key, Note] = {}
        self._cells: Mapping[_Key, Cell] = {
            (row.method, column.metric, column.state, row.limits): cell
            for table in model.tables
            for row in table.rows
            for column, cell in zip(table.columns, row.cells, strict=True)
        }

    @property
    def notes(self) -> tuple[Note, ...]:
        """Every footnote that was referred to."""
        return tuple(self._notes.values())

    def cell(self, method: str, metric: str, state: str, limits: str = "default") -> Cell | None:
        """What was measured there; None where nothing was."""
        found = self._cells.get((method, metric, state, limits))
        return found if found and found.median else None

    def measured(self, method: str, metric: str, state: str, limits: str = "default") -> Text:
        """A reference to a measured value; nothing where there is none."""
        cell = self.cell(method, metric, state, limits)
        if cell is None or not (cell.median and cell.low and cell.high and cell.n):
            return self._computed(method, metric, state)
        spread = _spread(cell.median, cell.low, cell.high, cell.n)
        under = "" if limits == "default" else limits
        where = f"{self._of(method, under)}; {_metric(metric, state)}; "
        text: Text = (where, *spread, f"; {cell.fidelity}")
        known = {"method": method, "metric": metric, "state": state, "limits": under, "fidelity": cell.fidelity}
        return self._ref(
            ("measured", method, metric, state, limits), text, n=cell.n, low=cell.low, high=cell.high, **known
        )

    def _computed(self, method: str, metric: str, state: str) -> Text:
        """A reference to a value that is no sample: a cost, or anything of a combination of layers."""
        for option in self._advice.ranked:
            for criterion, part in zip(self._advice.criteria, option.parts, strict=True):
                if (option.method, criterion.metric, criterion.state) != (method, metric, state):
                    continue
                if part.median and part.low and part.high and part.n:
                    spread = _spread(part.median, part.low, part.high, part.n)
                    how = _COST if metric == costs.METRIC else _COMBINED
                    text: Text = (f"{self._of(method)}; {_metric(metric, state)}; ", *spread, f"; modelled: {how}")
                    known = {"method": method, "metric": metric, "state": state, "fidelity": "modelled"}
                    more = {"n": part.n, "low": part.low, "high": part.high}
                    return self._ref(("computed", method, metric, state), text, **known, **more)
        return ()

    def given(self) -> Text:
        """A reference to the scenario: what it sets was not measured and has no interval."""
        text = f"given by the scenario {self._advice.scenario}, whose text this file carries; not measured, no interval"
        return self._ref(("given",), (text,), fidelity="documented")

    def value(self, option: Ranked) -> Text:
        """A reference to a method's value, its interval, and what it is computed from."""
        text: Text = (
            (
                f"{self._of(option.method)}; value in the scenario {self._advice.scenario}, from the medians of its "
                f"criteria; 95 % interval "
            ),
            option.low,
            DASH,
            option.high,
            " over ",
            *self._draws(),
            f" of whole rounds; computed from values that are {_kinds(option.parts)}",
        )
        known = {"method": option.method, "fidelity": "modelled", "low": option.low, "high": option.high}
        return self._ref(("value", option.method), text, **known)

    def chance(self, option: Ranked) -> Text:
        """A reference to how often a method is best."""
        text: Text = (
            f"{self._of(option.method)}; share of ",
            *self._draws(),
            (
                " of measurements (whole rounds) and weights in which it is the best in the scenario "
                f"{self._advice.scenario}; no interval; computed from values that are {_kinds(option.parts)}"
            ),
        )
        return self._ref(("chance", option.method), text, method=option.method, fidelity="modelled")

    def rule(self, method: str) -> Text:
        """A reference to what a method says of itself, and a scenario asks for."""
        text = (
            f"{self._of(method)}; stated of the method or of its layers (docs/scenarios.md), and by the scenario "
            f"{self._advice.scenario}; no metric, no interval; documented"
        )
        return self._ref(("rule", method), (text,), method=method, fidelity="documented")

    def outcome(self, method: str) -> Text:
        """A reference to the answers of a method that has no right ones."""
        text = f"{self._of(method)}; {_metric('parity', '')}; no right answer, so no n and no interval"
        return self._ref(("outcome", method), (text,), method=method, metric="parity")

    def thought(self, kind: str, text: str) -> Text:
        """A reference to something that was computed from the whole cell row: flips, relaxations, doubts."""
        where = f"run {self._model.run}; model {self._model.model}, every method; {text}"
        return self._ref(("thought", kind), (where,), fidelity="modelled")

    def condition(self, item: Condition) -> Text:
        """A reference to a value of the machine or of the network."""
        spread = _spread(item.median, item.low, item.high, item.n)
        where = f"run {self._model.run}; the machine, not a method; {_metric(item.metric, '')}; "
        known = {"n": item.n, "low": item.low, "high": item.high, "metric": item.metric, "fidelity": item.fidelity}
        return self._ref(("condition", item.method, item.metric), (where, *spread, f"; {item.fidelity}"), **known)

    def gap(self, gap: Gap) -> Text:
        """A reference to samples that broke, were dropped or are absent."""
        where = f"{self._of(gap.method)}; {gap.title}{f' ({gap.state})' if gap.state else ''}; "
        text = f"{where}a count of samples, so no interval; a sample that failed or was dropped counts in no median"
        known = {"method": gap.method, "metric": gap.metric, "state": gap.state}
        return self._ref(("gap", gap.method, gap.metric, gap.state, gap.title), (text,), **known)

    def manifest(self) -> Text:
        """A reference to ``run.json``."""
        text = f"run {self._model.run}; its run.json, as the harness and the tools noted it; no n, no interval"
        return self._ref(("manifest",), (text,), fidelity="documented")

    def _of(self, method: str, limits: str = "") -> str:
        under = f", {limits}" if limits else ""
        return f"run {self._model.run}; cell ({self._model.model}, {method or 'the machine'}{under})"

    def _draws(self) -> Text:
        found = [fact for fact in self._advice.confidence if isinstance(fact, Fact) and fact.id.endswith(":resamples")]
        return (*plain(tuple(found[:1])), " draws")

    def _ref(self, key: _Key, text: Text, **known: Any) -> Text:
        first = key not in self._notes
        if first:
            number = len(self._notes) + 1
            about = {"run": self._model.run, "model": self._model.model}
            self._notes[key] = Note(number=number, text=text, **{**about, **known})
        return (Ref(number=self._notes[key].number, first=first),)


def _spread(median: Fact, low: Fact, high: Fact, n: Fact) -> Text:
    if low.value != high.value:
        return ("median ", median, ", 95 % interval ", low, DASH, high, ", n = ", n)
    alone = "one value has no interval" if n.value == 1 else "all values are equal"
    return ("median ", median, ", n = ", n, f" ({alone})")


def _metric(metric: str, state: str) -> str:
    title = METRICS[metric].title
    return f"{title} ({metric}{f', {state}' if state else ''})"


def _kinds(parts: tuple[Part, ...]) -> str:
    return " and ".join(dict.fromkeys(part.fidelity for part in parts if part.fidelity)) or "absent"
