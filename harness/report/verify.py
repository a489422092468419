"""Checking a report, or an appendix, against the samples it was made from.

What is in it is taken from the evidence again and compared, in three ways, each of which names
what differs: the embedded data, fact by fact; the text that is shown for each fact; and everything
else on the page (words, tables, charts), by making the page again.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import files
from harness.errors import BadInput, MissingComponent, one_line, printable
from harness.measure.profile import Profile
from harness.report import appendix, appendix_markdown, appendix_typst, facts, html, markdown, pages, pdf
from harness.report.appendix import Appendix
from harness.report.contents import SCHEMA_VERSION, ReportContents, contents
from harness.report.facts import Fact
from harness.spec import kinds, reading
from harness.spec.kinds import MOST
from harness.store.query import Evidence

if TYPE_CHECKING:
    from harness.calibrate.records import Calibration
    from harness.recommend.article import Features
    from harness.recommend.engine import Recommendation
    from harness.spec.scenario import Scenario

#: Computes a recommendation again from what it was made of.
Advise = Callable[[Evidence, "Scenario", "Features | None"], "Recommendation"]

#: Marks around a fact's text in a page that is made for comparison; no font and no tool writes them.
_OPEN, _MID, _CLOSE = "\ue000", "\ue001", "\ue002"

#: How deep the data of a report is nested, and how many values it has: one over all models has two million.
#: The reasons of a value, one for each round, may stand in one text.
_DEEPEST, _MANY, _LONG = 40, 20_000_000, 2**24

_REMEDY = "give a file that 'harness report' or 'harness appendix' wrote"


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """One thing that is not as the samples say: ``where`` in the file, the fact's ``id`` if it is one."""

    where: str
    id: str
    found: str
    expected: str

    def __str__(self) -> str:
        name = f" {self.id}" if self.id else ""
        return one_line(f"{self.where}:{name} says '{self.found}', the samples say '{self.expected}'")


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The outcome: how many facts were computed again, what differs, and what could not be compared."""

    checked: int
    mismatches: tuple[Mismatch, ...]
    notes: tuple[str, ...] = ()


def verify_report(
    path: Path, evidences_by_run: Mapping[str, Sequence[Evidence]], advise: Advise | None = None
) -> list[Mismatch]:
    """What differs between the report at ``path`` and the evidence; see :func:`verify`."""
    return list(verify(path, evidences_by_run, advise).mismatches)


def verify(
    path: Path,
    evidences_by_run: Mapping[str, Sequence[Evidence]],
    advise: Advise | None = None,
    calibrations: Sequence[Calibration] = (),
) -> Verification:
    """Compute everything in the HTML or Markdown report or appendix at ``path`` again.

    ``evidences_by_run`` holds, by run id, the evidence on each model. ``advise`` computes a recommendation
    (by default the engine, over all methods). One of ``calibrations`` has to be the one whose quality the file tells,
    if it tells of one. BadInput where the file is no report, or a run or that calibration is not there.
    """
    data = _embedded(path)
    calibration = _calibration(data, path, calibrations)
    contents = _again(data, path, evidences_by_run, advise or _engine, calibration)
    again = appendix.of(contents) if data.get("kind") == appendix.KIND else contents
    named = facts.names(again)
    expected = again.data() if isinstance(again, Appendix) else facts.as_dict(again, named)
    found = list(_data_differs(data, expected))
    notes: list[str] = []
    if isinstance(again, Appendix) and pdf.is_pdf(path):
        found += _pdf_differs(path, again, notes)
    else:
        page = _read(path)
        differs = _html_differs if pages.is_html(page) else _markdown_differs
        found += differs(page, again, notes)
    ids = {name: known for known, name in named.items()}
    told = (dataclasses.replace(one, id=ids.get(one.id, one.id)) for one in found)
    return Verification(checked=len(ids), mismatches=tuple(dict.fromkeys(told)), notes=tuple(notes))


def runs_of(path: Path) -> list[str]:
    """The ids of the runs that the report at ``path`` was made from; BadInput where it is no report."""
    data = _embedded(path)
    parts = [part for key in ("models", "advice") for part in _list(data, key, path)]
    return list(dict.fromkeys(str(part["run"]) for part in parts if "run" in part))


def predicted_in(path: Path) -> list[tuple[str, Profile, int | None]]:
    """Of each model of which nothing was measured: the run's id, its profile and the memory that it is given.

    BadInput where the file is no report, or a profile in it is not one.
    """
    found = []
    for part in _list(_embedded(path), "predicted", path):
        try:
            run, table, memory_mb = str(part["run"]), dict(part["profile"]), part.get("memory_mb")
            if not (memory_mb is None or (isinstance(memory_mb, int) and 0 <= memory_mb <= MOST)):
                raise ValueError(memory_mb)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInput(f"its embedded data is not a report's: {error!r}", file=path, remedy=_REMEDY) from error
        found.append((run, reading.record(Profile, table, file=path), memory_mb))
    return found


def _read(path: Path) -> str:
    return files.read_text(path.resolve(), at_most=pdf.LARGEST, remedy=_REMEDY)


def _embedded(path: Path) -> dict[str, Any]:
    """The data that the report carries."""
    text = pdf.embedded(path) if pdf.is_pdf(path) else pages.embedded(_read(path))
    try:
        data = json.loads(text) if text is not None else None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"its embedded data is not JSON: {error}", file=path, remedy=_REMEDY) from error
    if not isinstance(data, dict) or "schema_version" not in data:
        raise BadInput("carries no data of a report", file=path, remedy=_REMEDY)
    key, wrong = kinds.check_bounds(data, depth=_DEEPEST, values=_MANY, letters=_LONG)
    if wrong:
        raise BadInput(f"its embedded data is not a report's: {wrong}", file=path, key=key, remedy=_REMEDY)
    version = data["schema_version"]
    if version != SCHEMA_VERSION:
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        remedy = "upgrade the harness" if newer else "make the report again"
        raise BadInput(f"must be {SCHEMA_VERSION}", file=path, key="schema_version", value=version, remedy=remedy)
    return data


def _list(data: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    """The tables under ``key``; BadInput where there is something else."""
    found = data.get(key, [])
    if not isinstance(found, list) or not all(isinstance(part, dict) for part in found):
        raise BadInput("is not a list of tables", file=path, key=key, remedy=_REMEDY)
    return found


def _calibration(data: dict[str, Any], path: Path, known: Sequence[Calibration]) -> Calibration | None:
    """The calibration whose quality the file tells; None where it tells of none."""
    told = data.get("calibration")
    if told is None:
        return None
    digest = told.get("digest") if isinstance(told, dict) else None
    found = next((one for one in known if one.digest == digest), None)
    if found is None:
        raise BadInput(
            "tells the quality of a calibration that is not here",
            file=path,
            key="calibration.digest",
            value=digest,
            remedy="give the results folder with the calibration that it was made with (--results DIR)",
        )
    return found


def _again(
    data: dict[str, Any],
    path: Path,
    evidences_by_run: Mapping[str, Sequence[Evidence]],
    advise: Advise,
    calibration: Calibration | None,
) -> ReportContents:
    """The contents, made again from the evidence and from what was given: scenarios, features, a date."""
    try:
        evidences = [
            _evidence(part["run"], part["model"], path, evidences_by_run) for part in _list(data, "models", path)
        ]
        recommendations, scenarios, features = [], {}, {}
        for part in _list(data, "advice", path):
            scenario, feature = _given(part, path)
            scenarios[scenario.name] = scenario
            if feature:
                features[part["model"]] = feature
            evidence = _evidence(part["run"], part["model"], path, evidences_by_run)
            recommendations.append(advise(evidence, scenario, feature))
        return contents(
            evidences,
            recommendations,
            scenarios=scenarios,
            features=features,
            calibration=calibration,
            made_at=str(data.get("made_at", "")),
            harness_version=str(data.get("harness_version", "")),
        )
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise BadInput(f"its embedded data is not a report's: {error!r}", file=path, remedy=_REMEDY) from error


def _evidence(run: str, model: str, path: Path, evidences_by_run: Mapping[str, Sequence[Evidence]]) -> Evidence:
    for evidence in evidences_by_run.get(run, ()):
        if evidence.model == model:
            return evidence
    raise BadInput(
        f"run '{run}' holds nothing of model '{model}' here",
        file=path,
        remedy="give the folder with the raw samples of that run (--results DIR)",
    )


def _given(part: dict[str, Any], path: Path) -> tuple[Scenario, Features | None]:
    """The scenario and the model's features that a recommendation was made from."""
    from harness.recommend.article import Features
    from harness.spec.scenario import Scenario

    if "requirements" not in part:
        raise BadInput("does not carry the scenario", file=path, key=str(part["scenario"]), remedy="make it again")
    scenario = reading.record(Scenario, part["requirements"], file=path)
    noted = part.get("features")
    if noted and not all(isinstance(value, int) and 0 <= value <= MOST for value in noted.values()):
        raise BadInput("is not a table of numbers", file=path, key="features", value=noted, remedy=_REMEDY)
    return scenario, Features(**noted) if noted else None


def _engine(evidence: Evidence, scenario: Scenario, features: Features | None) -> Recommendation:
    from harness.methods import METHODS
    from harness.recommend.engine import recommend

    return recommend(evidence, scenario, METHODS, features=features)


def _data_differs(found: Any, expected: Any, where: str = "data", owner: str = "") -> Iterator[Mismatch]:
    """Each leaf of the embedded data that is not as computed; a fact's leaves carry its short name."""
    if isinstance(found, dict) and isinstance(expected, dict):
        owner = str(expected.get("id", owner))
        for key in dict.fromkeys([*expected, *found]):
            yield from _data_differs(found.get(key), expected.get(key), f"{where}.{key}", owner)
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for place, (one, other) in enumerate(zip(found, expected, strict=True)):
            yield from _data_differs(one, other, f"{where}[{place}]", owner)
    # 3 and 3.0 are one number, however a store keeps it; 1 and true are not.
    elif found != expected or isinstance(found, bool) != isinstance(expected, bool):
        yield Mismatch(where=where, id=owner, found=_short(found), expected=_short(expected))


def _html_differs(page: str, again: ReportContents | Appendix, notes: list[str]) -> Iterator[Mismatch]:
    shown = _shown(again)
    for spot in pages.facts(page):
        if spot.id not in shown:
            yield Mismatch(where=f"line {spot.line}", id=spot.id, found=spot.text, expected="(no such fact)")
        elif spot.text not in shown[spot.id]:
            yield Mismatch(where=f"line {spot.line}", id=spot.id, found=spot.text, expected=" or ".join(shown[spot.id]))
    try:
        made = html.render_appendix(again) if isinstance(again, Appendix) else html.render(again)
    except MissingComponent as error:
        notes.append(f"words and charts were not compared: {error.problem}; {error.remedy}")
        return
    yield from _rest_differs(pages.tokens(page), pages.tokens(made))


def _pdf_differs(path: Path, again: Appendix, notes: list[str]) -> Iterator[Mismatch]:
    """Each line of each page against the same document set again; where the words agree, what is drawn."""
    try:
        made = list(pdf.pages(appendix_typst.render(again), path))
    except MissingComponent as error:
        notes.append(f"the pages were not compared: {error.problem}; {error.remedy}")
        return
    found = list(pdf.pages(path, path))
    for number, (one, other) in enumerate(zip(found, made, strict=False), start=1):
        differing = [
            Mismatch(where=f"page {number}", id="", found=_short(line), expected=_short(expected))
            for line, expected in zip(one.lines, other.lines, strict=False)
            if line != expected
        ]
        yield from differing
        if len(one.lines) != len(other.lines):
            told = f"{len(one.lines)} lines", f"{len(other.lines)} lines"
            yield Mismatch(where=f"page {number}", id="", found=told[0], expected=told[1])
        elif not differing and one.drawn != other.drawn:
            yield Mismatch(where=f"page {number}", id="", found="the same words, drawn otherwise", expected="this page")
    if len(found) != len(made):
        yield Mismatch(where="file", id="", found=f"{len(found)} pages", expected=f"{len(made)} pages")


def _shown(again: ReportContents | Appendix) -> dict[str, list[str]]:
    """What may be shown for each fact, by its short name: nearly always one text."""
    named, shown = facts.names(again), dict[str, list[str]]()
    for fact in facts.walk(again):
        texts = shown.setdefault(named[fact.id], [])
        text = " ".join(printable(fact.shown).split())
        if text not in texts:
            texts.append(text)
    return shown


def _rest_differs(found: Sequence[pages.Token], expected: Sequence[pages.Token]) -> Iterator[Mismatch]:
    """Words, tags and charts, one after the other; after a token too many or too few nothing can be paired."""
    for one, other in zip(found, expected, strict=False):
        if one.kind != other.kind or (one.kind == "fact" and one.id != other.id):
            yield Mismatch(where=f"line {one.line}", id=one.id, found=_short(one.text), expected=_short(other.text))
            return
        if one.kind != "fact" and one.text != other.text:
            yield Mismatch(where=f"line {one.line}", id=one.id, found=_short(one.text), expected=_short(other.text))
    if len(found) != len(expected):
        line = found[-1].line if found else 1
        yield Mismatch(where=f"line {line}", id="", found=f"{len(found)} parts", expected=f"{len(expected)} parts")


def _markdown_differs(page: str, again: ReportContents | Appendix, notes: list[str]) -> Iterator[Mismatch]:
    def marked(fact: Fact) -> str:
        return f"{_OPEN}{fact.id}{_MID}{markdown.escape(fact.shown)}{_CLOSE}"

    lines, start = page.splitlines(), 0
    if isinstance(again, Appendix):
        written = appendix_markdown.render(again, marked)
        start, skipped = appendix_markdown.front_matter(page), appendix_markdown.front_matter(written)
        made = written.splitlines()[skipped:]
        if lines[:start] != written.splitlines()[:skipped]:
            notes.append("the front matter is no longer as it was made: it is for people to fill in, and not compared")
        lines = lines[start:]
    else:
        made = markdown.render(again, marked).splitlines()
    for number, (line, model) in enumerate(zip(lines, made, strict=False), start=start + 1):
        if not line.startswith(markdown.OPENING):
            yield from _line_differs(line, model, f"line {number}")
    if len(lines) != len(made):
        yield Mismatch(where="file", id="", found=f"{len(lines)} lines", expected=f"{len(made)} lines")


def _line_differs(line: str, model: str, where: str) -> Iterator[Mismatch]:
    """The facts on a line that differ; where its other words do, the line itself."""
    parts = re.split(f"{_OPEN}(.*?){_MID}(.*?){_CLOSE}", model)
    words, ids, texts = parts[0::3], parts[1::3], parts[2::3]
    expected = words[0] + "".join(text + word for text, word in zip(texts, words[1:], strict=True))
    if line == expected:
        return
    shape = "(.*?)".join(map(re.escape, words))
    match = re.fullmatch(shape, line)
    if match is None:
        yield Mismatch(where=where, id="", found=_short(line), expected=_short(expected))
        return
    for name, text, found in zip(ids, texts, match.groups(), strict=True):
        if text != found:
            yield Mismatch(where=where, id=name, found=found, expected=text)


def _short(value: object, limit: int = 120) -> str:
    text = value if isinstance(value, str) else "(nothing)" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= limit else text[: limit - 1] + "…"
