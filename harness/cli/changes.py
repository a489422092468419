"""The command that looks back over nights: changes."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness import paths
from harness.cli import console

if TYPE_CHECKING:
    from harness.store.history import Change, Night


@click.command()
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@click.option("--all", "unsure", is_flag=True, help="Also what only the last night has: it may be gone tomorrow.")
@console.results_option
@console.json_option
def changes(models: tuple[str, ...], unsure: bool, results: str | None, as_json: bool) -> None:
    """What changed from night to night ('harness run --profile nightly'), since when, and what else was new then.

    A change is told when a night's interval lies beyond those of up to seven nights before it, the next night's does
    too, and it is larger than the noise that the A/A canary shows. A size that differs is always a change.
    """
    from harness.cli import evidence
    from harness.store import history

    folder = paths.results(Path(results) if results else None)
    known = history.nights(folder, evidence.left_out)
    found = [one for one in history.changes(known) if not models or one.model in models]
    waiting = [one for one in found if not one.recurs]
    told = found if unsure else [one for one in found if one.recurs]
    if as_json:
        nights = [night.run_id for night in known]
        table = [{**dataclasses.asdict(one), "ratio": _finite(one.ratio)} for one in told]
        console.as_json({"nights": nights, "changes": table, "seen_once": len(waiting)})
        return
    _say(known, told, waiting if not unsure else [])


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _say(known: list[Night], told: list[Change], waiting: list[Change]) -> None:
    from harness.store.history import FEWEST

    if len(known) <= FEWEST:
        console.say(
            f"There are {len(known)} nights of one machine; a change is told from {FEWEST + 2} on. "
            "'harness run --profile nightly' takes one."
        )
    else:
        console.say(f"{len(known)} nights, from run {known[0].run_id} to run {known[-1].run_id}.")
    if told:
        columns = ("model", "method", "value", "before", "after", "", "since", "canary", "sentinel")
        console.table("", columns, [_row(one) for one in told], right=(3, 4))
        for run_id in dict.fromkeys(one.since for one in told):
            new = next(one.new for one in told if one.since == run_id)
            if new:
                console.say(f"New in run {run_id}: {'; '.join(new)}")
    elif len(known) > FEWEST:
        console.say("Nothing has changed.")
    if waiting:
        console.say(f"{len(waiting)} more were seen in the last night alone; --all shows them, the next night decides.")


def _row(one: Change) -> tuple[str, ...]:
    from harness.metrics import METRICS
    from harness.recommend import words
    from harness.report import numbers

    unit = METRICS[one.metric].unit
    before, after = words.apart(one.before, one.after, unit)
    size = f"{numbers.ratio(one.ratio, exact=True)}" if math.isfinite(one.ratio) else "from nothing"
    verdict = f"{size} {'worse' if one.worse else 'better'}{'' if one.recurs else ', seen once'}"
    noise = f"within {numbers.ratio(one.noise)}" if one.noise else "exact"
    sentinel = numbers.ratio(one.sentinel) if one.sentinel else ""
    return (
        one.model,
        one.method,
        words.measure(one.metric, one.state),
        before,
        after,
        verdict,
        one.since,
        noise,
        sentinel,
    )


COMMANDS: tuple[Any, ...] = (changes,)
