"""What the report's own runs say to the article's claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.recommend import claims
from harness.report import numbers
from harness.report.facts import Fact, text

if TYPE_CHECKING:
    from harness.recommend.limits import Packaging
    from harness.store.query import Evidence


@dataclass(frozen=True, kw_only=True)
class ClaimRow:
    """A claim in the article's words, the verdict, why, and on what it depends; ``run`` is the run that decides."""

    name: str
    quote: str
    run: str
    fidelities: tuple[str, ...]
    word: Fact
    text: Fact
    turns: Fact | None


@dataclass(frozen=True, kw_only=True)
class Claims:
    """The claims that have a verdict, and how many the runs do not reach."""

    rows: tuple[ClaimRow, ...]
    open: Fact


def of(evidences: Sequence[Evidence], methods: Mapping[str, Packaging]) -> Claims | None:
    """The verdicts; None where there is no evidence."""
    if not evidences:
        return None
    found = claims.verdicts(evidences, methods)
    told = [one for one in found if one.word != "not measured yet"]
    rest = len(found) - len(told)
    return Claims(
        rows=tuple(_row(one) for one in told),
        open=text(str(rest), "claims", "open"),
    )


def _row(one: claims.Verdict) -> ClaimRow:
    def said(kind: str, words: str) -> Fact:
        return text(numbers.line(words), "claims", one.claim.name, kind)

    return ClaimRow(
        name=one.claim.name,
        quote=one.claim.quote,
        run=one.run_id,
        fidelities=one.fidelities,
        word=said("word", one.word),
        text=said("text", one.text),
        turns=said("turns", one.turns) if one.turns else None,
    )
