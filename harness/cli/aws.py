"""The user's own AWS account: what is confirmed before a run makes anything there, and what runs left."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from harness.cli import console
from harness.errors import BadInput, HarnessError

_CENT = 0.01

if TYPE_CHECKING:
    from harness.measure.plan import Plan
    from harness.platforms.aws import Ledger, Leftover


def confirm(plan: Plan, *, role: str, yes: bool) -> None:
    """Show what the plan will make in the account, and what it will cost; BadInput where that is not confirmed.

    Nothing is made before. It asks AWS who we are, and nothing else.
    """
    from harness.platforms import aws, aws_plan
    from harness.spec import model as models

    memory = {name: models.find(plan.folders[name]).file.resources.memory_mb for name in plan.models}
    cells = [
        aws_plan.Wanted(method=method, model=name, memory_mb=memory[name], starts=plan.rounds + 1)
        for name in plan.models
        for method in plan.methods
    ]
    found = aws_plan.planned(cells, own_role=bool(role))
    if not found.rows:
        raise BadInput(
            "none of the methods deploys to AWS",
            key="--aws",
            value="real",
            remedy=f"add --method {' or --method '.join(aws_plan.MADE)}",
        )
    _, number, region = aws.user_session()
    console.note(f"\nIn AWS account {number}, region {region}, this run will make, tag, and delete at its end:\n")
    for row in found.rows:
        console.note(f"  {row.count:4} x {row.what:34} {row.why}")
    cost = f"{found.usd:.2f} USD" if found.usd >= _CENT else "less than 0.01 USD"
    console.note(f"\nEstimated cost: {cost} ({found.assumed}).")
    for price in found.prices:
        console.note(f"  {price.name}: {price.usd:.8g} USD per {price.unit} ({price.source}; read {price.read_on})")
    console.note("This was tested against a stand-in for AWS, never against AWS itself.\n")
    left = aws.ledgers()
    if left:
        console.note(f"Earlier runs may have left things there ({len(left)}): see 'harness aws leftovers'.\n")
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput("nobody is there to confirm it", key="--aws", value="real", remedy="add --yes")
    typed = click.prompt(f"Type the account's number, {number}, to go on", default="", show_default=False, err=True)
    if typed.strip() != number:
        raise BadInput("it was not confirmed; nothing was made", key="--aws", value="real")


@click.group()
def aws() -> None:
    """The user's own AWS account, where 'harness run --aws real' deployed to it."""


@aws.command()
@click.option("--delete", "delete", is_flag=True, help="Delete what runs on this machine left; nothing else.")
@console.json_option
def leftovers(delete: bool, as_json: bool) -> int:
    """List what runs left in the account, from their ledgers and by searching it; exit code 1 if there is any.

    --delete deletes what ledgers in this machine's cache speak of and what carries their run's tag. What other
    machines' harnesses made is listed, and never touched.
    """
    from harness.platforms import aws as platform

    ours: list[Leftover] = []
    problems: list[str] = []
    for ledger in platform.ledgers():
        try:
            ours += _of(ledger, delete=delete)
        except HarnessError as error:
            problems.append(str(error))
    others = [one for one in platform.found_by_search() if one.run not in {own.run for own in ours}]
    if as_json:
        rows = [{**vars(one), "ledger": one in ours} for one in (*ours, *others)]
        console.as_json({"leftovers": rows, "problems": problems})
    else:
        # Lines, no table: a name that is to be copied must not be broken.
        for one in (*ours, *others):
            console.say(f"run {one.run}: {one}{'' if one in ours else ', not noted on this machine'}")
        if not ours and not others:
            console.say("Nothing is left in the account, as far as it could be looked at.")
        for problem in problems:
            console.note(problem)
    return 1 if ours or others or problems else 0


def _of(ledger: Ledger, *, delete: bool) -> list[Leftover]:
    from harness.platforms import aws as platform

    return platform.delete_leftovers(ledger) if delete else platform.of_ledger(ledger).leftovers()


COMMANDS = (aws,)
