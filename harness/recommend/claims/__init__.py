"""The article's claims as tests of evidence: each with its words, what it means as a test, and a verdict.

A claim that can be measured is judged from runs, each run by itself: the newest that holds what the test needs gives
the verdict, and the others are named with theirs. A claim about what platforms offer is judged from what their vendors
document (:mod:`harness.spec.capabilities`). A claim about people's ease or success is not testable here; it says
what would test it.

``table`` has the claims, in the article's order. What judges them has a module for each of its headings: ``general``,
``containers``, ``environments``, ``serverless``, ``pex``, ``platforms``, ``wrappers``; ``judging`` is what these share.
A new claim is one more entry in the table, and one judge.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from harness.errors import BadInput
from harness.metrics import METRICS, Fidelity
from harness.recommend import words
from harness.recommend.claims.judging import Finding, Number, Run, Stated, Word, brief, stated
from harness.recommend.claims.table import CLAIMS, Claim

if TYPE_CHECKING:
    from harness.recommend.limits import Packaging
    from harness.store.query import Evidence

_MOST_REASONS = 3


@dataclass(frozen=True, kw_only=True)
class Other:
    """What another run says of the same claim."""

    run_id: str
    word: Word


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A claim, the word, and what is behind it.

    ``run_id`` is the run that decides, empty where none does. ``text`` tells the numbers, ``turns`` on what it
    depends. ``others`` are older runs that could decide as well, newest first: of other machines, or earlier.
    """

    claim: Claim
    word: Word
    text: str
    turns: str = ""
    run_id: str = ""
    models: tuple[str, ...] = ()
    numbers: tuple[Number, ...] = ()
    stated: tuple[Stated, ...] = ()
    others: tuple[Other, ...] = ()

    @property
    def fidelities(self) -> tuple[Fidelity, ...]:
        """How what is behind it was obtained: runs first, then documents."""
        found = {one.fidelity for one in self.numbers} | ({"documented"} if self.stated else set())
        return tuple(one for one in get_args(Fidelity) if one in found)


def find(name: str) -> Claim:
    """The claim of that name; BadInput where there is none."""
    known = {claim.name: claim for claim in CLAIMS}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"did you mean '{near[0]}'? " if near else ""
        raise BadInput("is not a claim", key="CLAIM", value=name, remedy=f"{meant}'harness claims' lists them")
    return known[name]


def verdicts(
    evidences: Sequence[Evidence], methods: Mapping[str, Packaging], chosen: Sequence[Claim] | None = None
) -> tuple[Verdict, ...]:
    """A verdict on each claim (or on the ``chosen``) from the evidence of any number of runs, never pooled."""
    return tuple(verdict(claim, runs_of(evidences, methods), methods) for claim in chosen or CLAIMS)


def runs_of(evidences: Sequence[Evidence], methods: Mapping[str, Packaging]) -> tuple[Run, ...]:
    """The evidence by run, newest first; the names of runs begin with their date."""
    by_run: dict[str, list[Evidence]] = {}
    for evidence in evidences:
        by_run.setdefault(evidence.run_id, []).append(evidence)
    return tuple(
        Run(run_id=run_id, evidences=tuple(by_run[run_id]), methods=methods) for run_id in sorted(by_run, reverse=True)
    )


def verdict(claim: Claim, runs: Sequence[Run], methods: Mapping[str, Packaging]) -> Verdict:
    """The verdict on one claim; ``runs`` are the newest first."""
    if claim.judge is None:
        return Verdict(claim=claim, word="not testable here", text=claim.instead)
    if not claim.measured:
        found = claim.judge(Run(run_id="", evidences=(), methods=methods))
        if found is None:
            return Verdict(claim=claim, word="not testable here", text="there is no method here that it is about")
        return _verdict(claim, found, methods)
    decided = [(run, found) for run in runs if (found := claim.judge(run)) is not None]
    if not decided:
        known = _documented(claim, methods)
        return Verdict(claim=claim, word="not measured yet", text=_lacking(claim, runs), stated=known)
    (run, found), *older = decided
    others = tuple(Other(run_id=each.run_id, word=its.word) for each, its in older)
    return _verdict(claim, found, methods, run, others)


def _verdict(
    claim: Claim,
    found: Finding,
    methods: Mapping[str, Packaging],
    run: Run | None = None,
    others: tuple[Other, ...] = (),
) -> Verdict:
    return Verdict(
        claim=claim,
        word=found.word,
        text=found.text,
        turns=found.turns,
        run_id=run.run_id if run else "",
        models=tuple(evidence.model for evidence in run.evidences) if run else (),
        numbers=found.numbers,
        stated=found.stated or _documented(claim, methods),
        others=others,
    )


def _documented(claim: Claim, methods: Mapping[str, Packaging]) -> tuple[Stated, ...]:
    """What is documented of the claim's methods: known before anything is measured, and no measurement."""
    names = [name for name in methods if name in claim.methods or not claim.methods]
    return stated(Run(run_id="", evidences=(), methods=methods), names, *claim.qualities)


def _lacking(claim: Claim, runs: Sequence[Run]) -> str:
    """What no run holds; and where a run tried and could not, why."""
    measured = claim.needs or words.listing(dict.fromkeys(METRICS[metric].title for metric, _ in claim.looks_at))
    reasons = dict.fromkeys(
        f"{value.method}: {brief(value.why_absent)} (run {run.run_id})"
        for run in runs
        for evidence in run.evidences
        for value in evidence.values
        if (value.metric, value.state) in claim.looks_at
        and value.interval is None
        and value.why_absent
        and (not claim.methods or value.method in claim.methods)
    )
    absent = f"; absent: {'; '.join(list(reasons)[:_MOST_REASONS])}" if reasons else ""
    return f"No run has what it is tested by: {measured}{absent}."


def as_dict(found: Verdict) -> dict[str, Any]:
    """For ``--json``: the verdict with its claim, without what can't be written."""
    table = dataclasses.asdict(found)
    del table["claim"]["judge"]
    return table
