"""The command that makes a model folder of what MLflow kept: import-mlflow."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from harness.cli import console


@click.command("import-mlflow")
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
@click.argument("target", metavar="DEST", type=click.Path(path_type=Path))
@click.option(
    "--variant",
    type=click.Choice(["native", "pyfunc", "both"]),
    help="native: without MLflow; pyfunc: run by MLflow; both: each in a folder of DEST. "
    "[default: native where there can be one, else pyfunc]",
)
@click.option(
    "--input",
    "given",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="What to ask it instead of its own input example: JSON as MLflow's server takes it.",
)
@console.json_option
def import_mlflow(source: Path, target: Path, variant: Any, given: Path | None, as_json: bool) -> None:
    """Make a model folder in DEST of the MLflow model folder SRC, without importing mlflow.

    Both variants are made where they can be, and asked the model's input example in bounds, without network; their
    answers have to agree, and become what the model must answer.
    """
    from harness.spec.mlflow import importing

    found = importing.import_model(source, target, wanted=variant, given=given, say=console.note)
    if as_json:
        console.as_json(dataclasses.asdict(found))
        return
    for note in found.notes:
        console.note(f"Mind: {note}")
    for one in found.made:
        size = f"{one.packages} packages, {one.wheel_bytes / 2**20:.1f} MiB of wheels"
        console.say(f"Made {one.folder}: {one.variant} variant, {size}.")
    if found.compared:
        console.say("Both variants, with MLflow and without, answer the input example alike.")
    console.say(f"Measure it:  harness run {found.made[0].folder} --profile quick")


COMMANDS = (import_mlflow,)
