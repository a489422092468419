"""The appendix to a decision: one model in one scenario as a decision record, with its evidence.

The sections are those of MADR, Markdown Architectural Decision Records (https://adr.github.io/madr/). What a
person has to fill in is said to be a placeholder. Like a report, an appendix is a pure function of
:class:`~harness.report.contents.ReportContents`, so that ``harness verify`` can make it again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness.errors import BadInput
from harness.metrics import METRICS
from harness.recommend import words
from harness.report import evidence, facts
from harness.report.advice import Advice, Criterion, Part, Ranked
from harness.report.contents import ModelPart, ReportContents
from harness.report.document import Block, Bullets, Code, Heading, Note, Paragraph, Text, joined, plain
from harness.report.facts import Fact, identity
from harness.report.footnotes import Footnotes

#: What ``kind`` is in the data that an appendix carries; a report carries none.
KIND = "appendix"

#: MADR's front matter: what nobody but those who decide can know.
PLACEHOLDERS = (
    ("status", "proposed (placeholder: accepted, rejected or superseded is for those who decide to say)"),
    ("date", "(placeholder: the day of the decision)"),
    ("decision-makers", "(placeholder: who decides)"),
    ("consulted", "(placeholder: who was asked)"),
    ("informed", "(placeholder: who is told)"),
)

#: From here on a worth speaks for an option, and up to here against it; between them it does neither.
_GOOD, _BAD = 0.67, 0.33

_NOTHING = "neither a Python installation nor a container engine"


@dataclass(frozen=True, kw_only=True)
class Appendix:
    """A decision record: placeholders, blocks, footnotes, and the contents that all of it was made from."""

    contents: ReportContents
    title: str
    made_at: str
    harness_version: str
    placeholders: tuple[tuple[str, str], ...]
    blocks: tuple[Block, ...]
    notes: tuple[Note, ...]

    def data(self) -> dict[str, Any]:
        """What the document carries for machines: a report's data, the kind, and the footnotes."""
        named = facts.names(self)
        return {**facts.as_dict(self.contents, named), "kind": KIND, "notes": facts.as_dict(self.notes, named)}


def of(contents: ReportContents) -> Appendix:
    """The appendix made of ``contents``, which must be of one model and one recommendation."""
    if len(contents.models) != 1 or len(contents.advice) != 1 or contents.advice[0].requirements is None:
        raise BadInput("an appendix is on one model in one scenario", remedy="harness appendix MODEL --scenario S")
    model, advice = contents.models[0], contents.advice[0]
    notes = Footnotes(model, advice)
    sections = _Record(model, advice, notes, predicted=bool(contents.predicted))
    blocks = tuple(sections.blocks()) + tuple(evidence.blocks(contents, notes))
    return Appendix(
        # Nothing moves on paper, and one decision is told.
        contents=dataclasses.replace(contents, what_if=(), claims=None, calibration=None),
        title=_title(model, advice),
        made_at=contents.made_at,
        harness_version=contents.harness_version,
        placeholders=PLACEHOLDERS,
        blocks=blocks,
        notes=notes.notes,
    )


def _title(model: ModelPart, advice: Advice) -> str:
    where = f"for: {advice.title}"
    return f"Package {model.model} as {advice.winner} {where}" if advice.winner else f"Packaging {model.model} {where}"


class _Record:
    """Writes MADR's sections, from the context to the options' pros and cons."""

    def __init__(self, model: ModelPart, advice: Advice, notes: Footnotes, *, predicted: bool) -> None:
        self._model, self._advice, self._notes, self._predicted = model, advice, notes, predicted
        self._given: Any = advice.requirements

    def blocks(self) -> Iterator[Block]:
        yield Heading(level=2, text="Context and Problem Statement")
        yield Paragraph(
            text=(f"The scenario {self._advice.scenario}: {self._advice.description}", *self._notes.given())
        )
        yield Paragraph(
            text=(
                (
                    f"In which way should the model {self._model.model} be packaged for this? "
                    + (
                        "No option was built: each value is predicted from a short profile of the model, by "
                        f"{self._model.run}, which was fitted to measurements of other models."
                        if self._predicted
                        else "Each option was built and started for real, unless its footnotes say otherwise, in run "
                        f"{self._model.run}."
                    )
                ),
            )
        )
        yield Heading(level=2, text="Decision Drivers")
        yield Bullets(items=(*self._limits(), *map(self._driver, self._advice.criteria)))
        yield Heading(level=2, text="Considered Options")
        yield Bullets(items=tuple(self._options()))
        yield Heading(level=2, text="Decision Outcome")
        yield Paragraph(text=self._outcome())
        yield Heading(level=3, text="Consequences")
        yield Paragraph(text=("The chosen option beside the best of the others at each driver.",))
        yield Bullets(items=tuple(self._consequences()))
        yield Heading(level=3, text="What would change it")
        yield Bullets(items=tuple(self._changes()))
        yield Heading(level=3, text="Confirmation")
        yield Bullets(items=tuple(self._confirmation()))
        yield Heading(level=2, text="Pros and Cons of the Options")
        yield Paragraph(
            text=(
                (
                    f"Good: worth at least {_GOOD} on the scenario’s fixed scale from 0 to 1. Bad: at most {_BAD}, "
                    "or a hard limit that is not kept. Neutral: between them."
                ),
                *self._notes.given(),
            )
        )
        for option in self._advice.ranked:
            yield Heading(level=3, text=option.method)
            yield Paragraph(text=self._standing(option))
            pairs = zip(self._advice.criteria, option.parts, strict=True)
            yield Bullets(items=tuple(self._argument(option, criterion, part) for criterion, part in pairs))
        for method in dict.fromkeys(item.method for item in self._advice.excluded):
            yield Heading(level=3, text=method)
            yield Paragraph(text=("Excluded.",))
            yield Bullets(items=tuple(("Bad: ", *text) for text in self._exclusions(method)))

    def _limits(self) -> Iterator[Text]:
        target, traffic = self._given["target"], self._given["traffic"]
        has = words.listing(map(words.facility, target["has"])) if target["has"] else _NOTHING
        yield (f"The target has {has}.", *self._notes.given())
        for key, what in (("memory_mb", "memory"), ("disk_mb", "disk")):
            if target.get(key) is not None:
                amount = self._asked(target[key], f"{target[key]:,} MB", "target", key)
                yield (f"Hard limit: {what} of the target, ", amount, *self._notes.given())
        for need in self._given["needs"]:
            yield (f"Hard limit: it must give ‘{need}’.", *self._notes.given())
        rate = self._asked(
            traffic["requests_per_day"],
            words.quantity(traffic["requests_per_day"], "n"),
            "traffic",
            "requests_per_day",
        )
        yield (f"Traffic: {traffic['pattern']}, ", rate, " requests a day", *self._notes.given())

    def _asked(self, value: float, shown: str, *path: str) -> Fact:
        where = (self._model.run, self._model.model, "for", self._advice.scenario, *path)
        return Fact(id=identity(*where), statistic="value", value=value, shown=shown)

    def _driver(self, criterion: Criterion) -> Text:
        scale: Text = ("; worth ", criterion.scale) if criterion.scale else ()
        return (f"{_named(criterion)}: weight ", criterion.weight, *scale, *self._notes.given())

    def _options(self) -> Iterator[Text]:
        for option in self._advice.ranked:
            yield (f"{option.method} ({option.family})",)
        families = {item.method: item.family for item in self._advice.excluded}
        for method, family in families.items():
            yield (f"{method}{f' ({family})' if family else ''}: excluded by a hard limit or for want of evidence",)

    def _outcome(self) -> Text:
        if not self._advice.ranked:
            return ("No option can be chosen: every one is excluded, for the reasons below.",)
        first, *others = self._advice.ranked
        value: Text = (first.value, *self._notes.value(first))
        chance: Text = (first.p_best, *self._notes.chance(first))
        chosen = f"Chosen option: “{first.method}”, because "
        if first.tied:
            tie = words.listing(option.method for option in self._advice.ranked if option.tied)
            middle = ", though it is best in only "
            end = f" of the draws: {tie} cannot be told apart by this evidence, and either may be chosen."
            return (f"{chosen}it has the highest value, ", *value, middle, *chance, end)
        if not others:
            return (f"{chosen}it is the only option that is not excluded; its value is ", *value, ".")
        second: Text = (others[0].value, *self._notes.value(others[0]))
        middle = ", and is best in "
        end = f" of the draws; next is {others[0].method} with "
        return (f"{chosen}it has the highest value, ", *value, middle, *chance, end, *second, ".")

    def _consequences(self) -> Iterator[Text]:
        """For each criterion, the chosen option beside the best of the others at it."""
        if not self._advice.ranked:
            yield ("Bad, because the model cannot be used in this scenario as long as every option is excluded.",)
            return
        first, *others = self._advice.ranked
        for place, criterion in enumerate(self._advice.criteria):
            mine = first.parts[place]
            if mine.missing:
                yield (f"Bad, because {_named(criterion)} is not known, and counted as worth 0.",)
                continue
            here: Text = (f"{_named(criterion)} is ", *self._measured(first, criterion))
            if not others:
                yield ("Neutral, because ", *here, "; no other option is left to compare it with.")
                continue
            rival = max(others, key=lambda option: _number(option.parts[place].worth))
            there: Text = (f"{rival.method} has ", *self._measured(rival, criterion))
            word, why = self._compared(first, rival, place)
            yield (f"{word}, because ", *here, "; ", *there, why)

    def _compared(self, first: Ranked, rival: Ranked, place: int) -> tuple[str, str]:
        criterion = self._advice.criteria[place]
        key = criterion.metric, criterion.state
        one, other = self._notes.cell(first.method, *key), self._notes.cell(rival.method, *key)
        mine, theirs = _number(first.parts[place].worth), _number(rival.parts[place].worth)
        if mine == theirs:
            return "Neutral", ", which is worth the same here."
        ends = [cell.low and cell.high and (_number(cell.low), _number(cell.high)) for cell in (one, other) if cell]
        if len(ends) == 2 and ends[0] and ends[1] and ends[0][0] <= ends[1][1] and ends[1][0] <= ends[0][1]:  # noqa: PLR2004 -- both
            return "Neutral", ": the intervals overlap."
        return ("Good" if mine > theirs else "Bad"), "."

    def _measured(self, option: Ranked, criterion: Criterion) -> Text:
        cell = self._notes.cell(option.method, criterion.metric, criterion.state)
        if cell is None or cell.median is None:
            part = option.parts[self._advice.criteria.index(criterion)]
            if part.median is None:
                return ("no such value",)
            said = self._notes.measured(option.method, criterion.metric, criterion.state)
            return (part.median, f" ({part.fidelity})", *said)
        marks = [mark for mark in (cell.fidelity, *cell.marks) if mark != "measured"]
        marked = f" ({', '.join(marks)})" if marks else ""
        return (cell.median, marked, *self._notes.measured(option.method, criterion.metric, criterion.state))

    def _changes(self) -> Iterator[Text]:
        about = "computed from medians; the other weights keep their proportions; no interval"
        for rate in self._advice.rates:
            at = "the requests a day at which another option has the highest value, computed from medians; no interval"
            yield (rate, *self._notes.thought("rate", at))
        for flip in self._advice.flips:
            yield (flip, *self._notes.thought("flip", f"the weight at which two options are worth the same, {about}"))
        for relaxed in self._advice.relaxations:
            yield (
                relaxed,
                *self._notes.thought(
                    "relaxed", "values as if the named limits did not exist, from medians; no interval"
                ),
            )
        if self._advice.steady:
            yield plain(self._advice.steady)
        if self._advice.second:
            how = "the same worths and weights by distance to the ideal (TOPSIS); no interval"
            yield (self._advice.second, *self._notes.thought("second", how))
        if not (self._advice.rates or self._advice.flips or self._advice.relaxations or self._advice.steady):
            yield ("Nothing that was looked at: no weight of one criterion and no hard limit.",)

    def _confirmation(self) -> Iterator[Text]:
        yield (
            Code(code="harness verify PATH"),
            " on this file computes every number and reason again from the raw samples, and names each that differs.",
        )
        method = f" --method {self._advice.winner}" if self._advice.winner else ""
        yield (
            Code(code=f"harness run {self._model.model}{method}"),
            " measures again, on the machine where it is run.",
        )
        counted = "counted over the samples of the cells that are named; no interval"
        for worth in self._advice.measuring:
            how = "the expected value of knowing it, over the draws; no interval"
            yield ("Worth measuring: ", worth, *self._notes.thought("measuring", how))
        for doubt in (*self._advice.missing, *self._advice.doubts):
            yield ("Before relying on it: ", doubt, *self._notes.thought("doubt", counted))

    def _standing(self, option: Ranked) -> Text:
        value: Text = (option.value, *self._notes.value(option))
        chance: Text = (option.p_best, *self._notes.chance(option))
        tied = "; it shares a tie" if option.tied else ""
        return (f"Of the family {option.family}. Value ", *value, ", best in ", *chance, f" of the draws{tied}.")

    def _argument(self, option: Ranked, criterion: Criterion, part: Part) -> Text:
        if part.missing:
            return (f"Bad, because {_named(criterion)} is ", part.missing, *self._notes.thought("missing", "no sample"))
        worth = _number(part.worth)
        word = "Good" if worth >= _GOOD else "Bad" if worth <= _BAD else "Neutral"
        measured = self._measured(option, criterion)
        refs = joined((self._notes.measured(option.method, criterion.metric, criterion.state), self._notes.given()), "")
        points: Text = (", which adds ", part.points, *refs)
        return (f"{word}, because {_named(criterion)} is ", *measured, ": worth ", part.worth, *refs, *points)

    def _exclusions(self, method: str) -> Iterator[Text]:
        for item in self._advice.excluded:
            if item.method != method:
                continue
            unsure = "" if item.certain else " (not certain)"
            if item.rule == "evidence":
                source = self._notes.measured(method, "parity", "") or self._notes.outcome(method)
            elif item.metric:
                source = joined((self._notes.measured(method, item.metric, item.state), self._notes.given()), "")
            else:
                source = self._notes.rule(method)
            yield (item.reason, unsure, *source)


def _named(criterion: Criterion) -> str:
    title = f"number of {criterion.title}" if METRICS[criterion.metric].unit == "n" else criterion.title
    return f"{title} ({criterion.state})" if criterion.state else title


def _number(fact: Fact) -> float:
    return float(fact.value) if isinstance(fact.value, (int, float)) else 0.0
