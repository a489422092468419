"""The report as Markdown: GitHub's tables, readable as it is, with the same data in a comment at the end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from harness.errors import printable
from harness.report import facts, overview
from harness.report.advice import Advice, Part
from harness.report.claims import ClaimRow
from harness.report.comparison import Cell, Row
from harness.report.contents import ModelPart, ReportContents
from harness.report.facts import Fact, Prose
from harness.report.numbers import DASH
from harness.report.overview import Line, Verdict
from harness.report.provenance import Gap, RunPart
from harness.report.quality import CalibrationPart, DecisionRow

#: The comment that carries the data begins and ends so.
OPENING, CLOSING = "<!-- contents ", " -->"

#: What could be read as markup wherever it stands, and what could at the beginning of a line or an item of a list.
_MARKUP = re.compile(r"([\\`*_\[\]|~#$])")
_BEGINNING = re.compile(r"^(\d+(?=[.)])|(?=[-+=]))([-+=.)])(?=[-=\s]|$)")

Show = Callable[[Fact], str]


def render(contents: ReportContents, show: Show | None = None) -> str:
    """The whole document; ``show`` (escaped text by default) gives the text of each fact."""
    page = _Page(show or (lambda fact: escape(fact.shown)))
    body = "\n".join(page.document(contents))
    return f"{body}\n\n{OPENING}{facts.embedded(facts.as_dict(contents))}{CLOSING}\n"


def escape(text: str) -> str:
    """``text`` so that Markdown and HTML show it and obey nothing in it, also where it begins a line."""
    return _BEGINNING.sub(r"\1\\\2", _inline(text))


def _inline(text: str) -> str:
    marked = _MARKUP.sub(r"\\\1", " ".join(printable(text).split()))
    return marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def code(text: str) -> str:
    """A name in a code span, where nothing but a backtick means anything."""
    return f"`{' '.join(printable(text).replace('`', chr(39)).split())}`"


class _Page:
    """Writes lines; everything that comes from data goes through ``show`` or :func:`escape`."""

    def __init__(self, show: Show) -> None:
        self._show = show

    def document(self, contents: ReportContents) -> Iterator[str]:
        yield f"# {escape(contents.title)}"
        yield ""
        glance = overview.of(contents.advice)
        if glance:
            yield from grid(("model", *map(escape, glance.scenarios)), map(self._line, glance.lines))
        elif len(contents.answer) == 1:
            yield self._prose(contents.answer[0])
        elif contents.answer:
            yield from (f"- {self._prose(prose)}" for prose in contents.answer)
        else:
            yield "There is no evidence to show."
        yield ""
        yield f"Made {escape(contents.made_at)} by harness {escape(contents.harness_version)}."
        for advice in contents.advice:
            yield from self._advice(advice, alone=len(contents.advice) == 1)
        for model in contents.models:
            yield from self._model(model, summed_up=not contents.advice)
        if contents.claims and contents.claims.rows:
            yield from ("", "## The article's claims", "")
            yield from grid(("the article says", "verdict", "because"), map(self._claim, contents.claims.rows))
            yield from ("", f"These runs do not reach {self._show(contents.claims.open)} more.")
        if contents.calibration:
            yield from self._calibration(contents.calibration)
        yield from ("", "## Provenance")
        for run in contents.runs:
            yield from self._run(run)
        yield from _CHECK
        yield from ("", "## Glossary", "")
        yield from grid(
            ("metric", "unit", "direction", "meaning"),
            ([escape(each) for each in (t.title, t.unit, t.direction, t.meaning)] for t in contents.glossary),
        )

    def _prose(self, prose: Prose) -> str:
        return "".join(self._show(part) if isinstance(part, Fact) else escape_within(part) for part in prose)

    def _line(self, line: Line) -> list[str]:
        return [escape(line.model), *map(self._verdict, line.verdicts)]

    def _verdict(self, verdict: Verdict | None) -> str:
        if verdict is None:
            return DASH
        if verdict.first is None:
            return "none is left"
        names = " = ".join(map(escape, verdict.methods)) + (" (tie)" if len(verdict.methods) > 1 else "")
        return f"**{names}**, value {self._show(verdict.first.value)}, best in {self._show(verdict.first.p_best)}"

    def _advice(self, advice: Advice, *, alone: bool) -> Iterator[str]:
        yield from ("", f"## Recommendation for {escape(advice.model)}: {escape(advice.title)}")
        if not alone:
            yield from ("", self._prose(advice.answer))
        if advice.description:
            yield from ("", f"The scenario {code(advice.scenario)}: {escape(advice.description)}")
        if advice.ranked:
            yield from ("", "### Ranking", "")
            heads = [
                f"{escape(each.title)}{_state(each.state)}, weight {self._show(each.weight)}"
                for each in advice.criteria
            ]
            yield from grid(("rank", "method", "value", "best in", *heads), self._ranking(advice))
            yield from (
                "",
                "Under a criterion: the median, points, the worth in brackets, fidelity. "
                + self._prose(advice.confidence),
            )
            scales = [
                f"{escape(c.title)}{_state(c.state)}: worth {self._show(c.scale)}" for c in advice.criteria if c.scale
            ]
            yield from _list("### Fixed scales", scales)
        yield from _list(
            "### Excluded",
            [
                f"{self._show(item.reason)} ({escape(', '.join(_filled(item.rule, item.fidelity, certain)))})"
                for item in advice.excluded
                for certain in ["" if item.certain else "not certain"]
            ],
        )
        changes = [self._show(item) for item in (*advice.rates, *advice.relaxations, *advice.flips)]
        steady = [self._prose(advice.steady)] if advice.steady else []
        yield from _list("### What would change it", [*changes, *steady])
        yield from _list("### Before relying on it", [self._show(item) for item in (*advice.missing, *advice.doubts)])
        yield from _list("### Worth measuring", [self._show(item) for item in advice.measuring])
        yield from _list("### Added up in another way", [self._show(advice.second)] if advice.second else [])
        yield from (
            "",
            "### The article's rule",
            "",
            f"**{self._show(advice.article.agreement)}.** {self._show(advice.article.text)}",
        )
        for correction in advice.article.corrections:
            yield from ("", self._show(correction))

    def _calibration(self, part: CalibrationPart) -> Iterator[str]:
        yield from ("", "## How good predictions are", "")
        count = f"{len(part.models)} models of {len(part.families)} families"
        yield f"Of models that were never measured, by a calibration from {count}, each left out whole. {part.caveat}"
        yield ""
        rows = (
            [
                f"{escape(row.title)}{_state(row.state)}",
                *map(self._show, (row.cells, row.median_error, row.simple_error, row.largest_error)),
                self._show(row.coverage) if row.coverage else DASH,
                escape(row.target),
            ]
            for row in part.errors
        )
        errors = ("median error", "of the simple rule", "largest", "inside the 90 % interval", "target")
        yield from grid(("value", "cells", *errors), rows)
        if part.decisions:
            yield ""
            decided = ("chosen by", "cases", "mean regret", "gap closed", "the best", "the best among two")
            yield from grid(decided, map(self._decided, part.decisions))

    def _decided(self, row: DecisionRow) -> list[str]:
        shares = [
            (self._show(share) if share else DASH) + (f" ({escape(target)})" if target else "")
            for share, target in zip(row.shares, row.targets, strict=True)
        ]
        return [escape(row.chooser), self._show(row.cases), self._show(row.regret), *shares]

    def _claim(self, row: ClaimRow) -> list[str]:
        turns = f" It turns on {self._show(row.turns)}." if row.turns else ""
        because = f"{self._show(row.text)}.{turns}"
        return [
            f"“{escape(row.quote)}”",
            f"{self._show(row.word)} ({', '.join(map(escape, row.fidelities)) or DASH})",
            because,
        ]

    def _ranking(self, advice: Advice) -> Iterator[list[str]]:
        for option in advice.ranked:
            yield [
                self._show(option.rank),
                f"{escape(option.method)}{' (tie)' if option.tied else ''}",
                f"{self._show(option.value)} [{self._show(option.low)}{DASH}{self._show(option.high)}]",
                f"{self._show(option.p_best)}; weights as given {self._show(option.p_best_as_weighed)}",
                *map(self._part, option.parts),
            ]

    def _part(self, part: Part) -> str:
        if part.missing or part.median is None:
            return self._show(part.missing) if part.missing else DASH
        return (
            f"{self._show(part.median)}: {self._show(part.points)} ({self._show(part.worth)}) {escape(part.fidelity)}"
        )

    def _model(self, model: ModelPart, *, summed_up: bool) -> Iterator[str]:
        yield from ("", f"## {escape(model.model)}: methods side by side", "")
        summary = "" if summed_up else f"{self._prose(model.summary)} "
        yield f"{summary}Run {code(model.run)}."
        for table in model.tables:
            yield from ("", f"### {escape(table.caption)}", "")
            heads = [escape(c.title) + ("" if table.of_one_state else _state(c.state)) for c in table.columns]
            yield from grid(
                ("method", *heads),
                map(self._row, table.rows),
            )
        if model.money:
            yield from ("", "### What a month costs, by requests a day (modelled)", "")
            heads = [f"{rate:,.0f} a day" for rate in model.money.rates]
            rows = ([escape(row.method), *map(self._show, row.months), escape(row.tariff)] for row in model.money.rows)
            yield from grid(("method", *heads, "priced as"), rows)
            yield from _list("#### The cheapest", [self._show(span) for span in model.money.cheapest])
        if model.gaps:
            yield from ("", "### What failed, is absent or was dropped", "")
            yield from grid(("method", "value", "why", "failed", "dropped"), map(self._gap, model.gaps))
            logs = [
                f"{escape(gap.method)}, {escape(gap.title)}: {self._show(gap.whole)}" for gap in model.gaps if gap.whole
            ]
            yield from _list("#### What the tools said", logs)
        if model.conditions:
            yield from ("", "### How calm the machine was", "")
            yield from grid(("", "median", "late to early rounds", "slowest to fastest"), self._conditions(model))

    def _row(self, row: Row) -> list[str]:
        if row.blank and row.failure:
            return [self._name(row), self._show(row.failure), *[DASH] * (len(row.cells) - 1)]
        return [self._name(row), *map(self._cell, row.cells)]

    def _name(self, row: Row) -> str:
        limits = f" ({escape(row.limits)})" if row.limits != "default" else ""
        return f"{escape(row.method)}{limits}{' ✗' if row.failure else ''}"

    def _cell(self, cell: Cell) -> str:
        if cell.median is None or cell.low is None or cell.high is None or cell.n is None:
            return self._show(cell.absent) if cell.absent else DASH
        text = self._show(cell.median)
        if cell.low.value != cell.high.value:
            text += f" [{self._show(cell.low)}{DASH}{self._show(cell.high)}]"
        if cell.standing:
            text += ", **best**" if cell.standing == "best" else ", tied with best"
        if cell.ratio and cell.ratio_low and cell.ratio_high:
            text += f", {self._show(cell.ratio)} of best"
            if cell.ratio_low.value != cell.ratio_high.value:
                text += f" [{self._show(cell.ratio_low)}{DASH}{self._show(cell.ratio_high)}]"
        return ", ".join([text, f"n={self._show(cell.n)}", escape(cell.fidelity), *map(escape, cell.marks)])

    def _gap(self, gap: Gap) -> list[str]:
        return [
            escape(gap.method) or "(machine)",
            f"{escape(gap.title)}{_state(gap.state)}",
            self._show(gap.why) if gap.why else "",
            self._show(gap.failed) if gap.failed else "",
            self._show(gap.dropped) if gap.dropped else "",
        ]

    def _conditions(self, model: ModelPart) -> Iterator[list[str]]:
        for each in model.conditions:
            title = escape(each.title) + (f" ({escape(each.method)})" if each.method in model.methods else "")
            ends = f"[{self._show(each.low)}{DASH}{self._show(each.high)}]"
            yield [
                title,
                f"{self._show(each.median)} {ends}, n={self._show(each.n)}, {escape(each.fidelity)}",
                self._show(each.drift) if each.drift else DASH,
                self._show(each.spread) if each.spread else DASH,
            ]

    def _run(self, run: RunPart) -> Iterator[str]:
        yield from ("", f"### Run {escape(run.run)}", "")
        rows = (
            [escape(group.title), escape(item.label), self._show(item.fact)]
            for group in run.groups
            for item in group.items
        )
        yield from grid(("", "what", "value"), rows)


_CHECK = (
    "",
    "## How to check it",
    "",
    "`harness verify PATH` on this file computes every number and reason again from the raw samples of the runs",
    "named above, and names each that differs. Medians stand with their 95 % bootstrap interval in brackets; ratios",
    "are to the best method of the column, paired within rounds. `few`: too few replicates for a headline;",
    "`unstable`: the interval is wider than 5 % of the median; ✗: no right answer.",
)


def escape_within(text: str) -> str:
    """As :func:`escape`, but keeping the spaces at both ends: the text stands between facts."""
    head, tail = " " * (len(text) - len(text.lstrip())), " " * (len(text) - len(text.rstrip()))
    return f"{head}{_inline(text)}{tail}" if text.strip() else " " * len(text)


def _state(state: str) -> str:
    return f" ({escape(state)})" if state else ""


def _filled(*texts: str) -> list[str]:
    return [text for text in texts if text]


def _list(heading: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield from ("", heading, "")
        yield from (f"- {line}" for line in lines)


def grid(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table in GitHub's form; heads and cells are Markdown already."""
    yield f"| {' | '.join(heads)} |"
    yield "|" + " --- |" * len(heads)
    for row in rows:
        yield f"| {' | '.join(row)} |"
