"""The command ``claims``: what the article says, held against what was measured."""

from __future__ import annotations

import textwrap
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from harness import paths
from harness.cli import console
from harness.errors import BadInput, CheckFailure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.recommend.claims import Verdict
    from harness.recommend.claims.judging import Number
    from harness.store.query import Evidence


@click.command()
@click.argument("claim", required=False)
@click.option("--model", help="Judge by this model alone: a name that 'harness models' lists, or a model folder.")
@console.results_option
@console.json_option
def claims(claim: str | None, model: str | None, results: str | None, as_json: bool) -> None:
    """What the article says, each claim with a verdict; with CLAIM, all that is behind it.

    A verdict is 'supported', 'contradicted', 'depends' (on what, where it turns), 'not measured yet' (with the command
    that measures it) or 'not testable here' (with what would test it). Each is of one run, the newest that holds what
    the test needs, among yours and the reference results; runs are never pooled. A contradicted claim is no failure:
    the exit code is 0.
    """
    from harness.methods import METHODS
    from harness.recommend import claims as known
    from harness.recommend.claims.table import CLAIMS

    chosen = [known.find(claim)] if claim else list(CLAIMS)
    found = known.verdicts(_evidences(model, results), METHODS, chosen)
    if as_json:
        tables = [known.as_dict(one) for one in found]
        console.as_json(tables[0] if claim else tables)
    elif claim:
        _explain(found[0])
    else:
        _list(found)


def _evidences(model: str | None, results: str | None) -> list[Evidence]:
    """All that runs know: the user's, and the reference ones unless a folder is named; of one model if asked."""
    from harness.cli import evidence
    from harness.spec import model as models
    from harness.store import query, runs

    homes = [paths.results(Path(results) if results else None)]
    if results is None:
        homes.append(paths.data("results") / "reference")
    found: dict[str, list[Evidence]] = {}
    for home in homes:
        for run_id in runs.run_ids(home):
            try:
                found.setdefault(run_id, query.evidences(home, run_id))
            except (BadInput, CheckFailure) as error:
                evidence.left_out(run_id, error)
    every = [one for of_run in found.values() for one in of_run if one.values]
    if model is None:
        return every
    name = evidence.name_of(model)
    of_model = [one for one in every if one.model == name]
    if not of_model:
        models.find(model)  # where there is no such model, this says so
        console.note(f"No run has '{name}'; 'harness run {model}' measures it.")
    return of_model


def _list(found: Sequence[Verdict]) -> None:
    from harness.recommend.claims.judging import Word

    rows = [(one.claim.name, one.claim.quote, _word(one), ", ".join(one.fidelities)) for one in found]
    console.table("", ("claim", "the article says", "verdict", "by what is"), rows)
    counts = Counter(one.word for one in found)
    told = ", ".join(f"{counts[word]} {word}" for word in get_args(Word) if counts[word])
    console.item(f"{len(found)} claims: {told}.", indent=0, mark="")
    used = sorted({one.run_id for one in found if one.run_id})
    if used:
        console.item(f"Judged from {'run' if len(used) == 1 else 'runs'} {', '.join(used)}.", indent=0, mark="")
    console.item("'harness claims CLAIM' tells what a claim means, the experiment, the samples.", indent=0, mark="")


def _word(found: Verdict) -> str:
    """The word, and what runs that are not used say, where they differ."""
    others = dict.fromkeys(one.word for one in found.others if one.word != found.word)
    return f"{found.word} (older runs: {', '.join(others)})" if others else found.word


def _explain(found: Verdict) -> None:
    claim = found.claim
    console.item(f'{claim.name}: "{claim.quote}" ({claim.about})', indent=0, mark="")
    console.say()
    _paragraph("As a test", claim.means)
    _paragraph("Experiment", claim.experiment)
    console.say(f"Verdict: {found.word}")
    _paragraph("Because", found.text)
    if found.turns:
        _paragraph("It depends on" if found.word == "depends" else "Where it turns", found.turns)
    if found.run_id:
        _paragraph("From run", f"{found.run_id}, by {', '.join(found.models)}")
    if found.others:
        older = ", ".join(f"{one.run_id}: {one.word}" for one in found.others)
        _paragraph("Other runs, which are not pooled with it", older)
    if claim.command and found.word == "not measured yet":
        console.say(f"To measure it: {claim.command}")
    if found.numbers:
        _print_numbers(found.numbers)
    if found.stated:
        _print_stated(found)


def _paragraph(title: str, text: str) -> None:
    console.say(textwrap.fill(f"{title}: {text}", min(console.width(), 110), subsequent_indent="  "))


def _print_numbers(numbers: Sequence[Number]) -> None:
    from harness.recommend import words
    from harness.recommend.claims.judging import shown

    rows = [
        (
            one.model,
            f"{one.method} to {one.over}" if one.over else one.method,
            _what(words.measure(one.metric, one.state), one.unit),
            shown(one.median, one.unit),
            f"{shown(one.low, one.unit)} to {shown(one.high, one.unit)}" if one.low != one.high else "",
            str(one.n),
            one.fidelity,
        )
        for one in numbers
    ]
    columns = ("model", "method", "what", "median", "95 % interval", "n", "by what is")
    console.table("Samples", columns, rows, right=(3, 4, 5))


def _what(measure: str, unit: str) -> str:
    return {"ratio": f"{measure}, ratio", "1/day": f"turning point, by {measure}"}.get(unit, measure)


def _print_stated(found: Verdict) -> None:
    """Methods of which the same is stated share a row."""
    sources: list[str] = []
    rows: dict[tuple[str, ...], list[str]] = {}
    for one in found.stated:
        source = f"{one.source}, read {one.read_on}"
        if source not in sources:
            sources.append(source)
        place = f"[{sources.index(source) + 1}]"
        rows.setdefault((one.about, "yes" if one.has else "no", one.statement, place), []).append(one.method)
    columns = ("about", "", "stated", "source", "of")
    console.table("Documented", columns, [(*row, ", ".join(methods)) for row, methods in rows.items()])
    for number, source in enumerate(sources, start=1):
        console.say(f"[{number}] {source}")


COMMANDS: tuple[Any, ...] = (claims,)
