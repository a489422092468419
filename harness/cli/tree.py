"""The command that draws the decision algorithm: decision-tree."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from harness import paths
from harness.cli import console
from harness.errors import BadInput


@click.command("decision-tree")
@console.format_option("svg", "mermaid", default="mermaid")
@console.out_option("Write it there. [default: print it]")
@click.option("--depth", type=click.IntRange(1, 8), default=5, show_default=True, help="Most questions to a decision.")
@click.option("--scenario", "names", multiple=True, help="Vary this one only; may be given several times.")
@console.results_option
@console.json_option
def decision_tree(
    kind: str, out: Path | None, depth: int, names: tuple[str, ...], results: str | None, as_json: bool
) -> None:
    """Draw the decision algorithm: few questions, with measured thresholds, that lead to what the engine decides.

    Before the questions, hard limits strike methods out; at each end stands an order, of which the first that is left
    is taken. The engine decides some thousand random cases of the models that were measured; the tree is fitted to
    them. How well it stands for the engine is told of cases that it has not seen.
    """
    from harness.calibrate import gathering
    from harness.cli import evidence
    from harness.methods import METHODS
    from harness.recommend import tree as trees
    from harness.report import tree_pictures
    from harness.spec import scenario as scenarios

    if out is not None and not out.parent.is_dir():  # before anybody waits for it
        raise BadInput("cannot be written: there is no such folder", file=out, remedy="give another --out")
    wanted = [scenarios.find(name) for name in names or scenarios.names()]
    found = evidence.of_every_model(Path(results) if results else paths.data("results") / "reference")
    machines = len(gathering.machines({one.model: one.manifest.host for one in found}))
    where = f", measured on {machines} machines" if machines > 1 else ""
    console.note(f"Deciding {trees.FITTED + trees.HELD:,} cases of {len(found)} models{where}.")
    grown = trees.grow(found, wanted, METHODS, depth=depth)
    text = tree_pictures.svg(grown) if kind == "svg" else tree_pictures.mermaid(grown)
    if out is not None:
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise BadInput(f"cannot be written: {error.strerror}", file=out, remedy="give another --out") from error
    if as_json:
        told: dict[str, Any] = {"tree": dataclasses.asdict(grown), kind: text}
        console.as_json(told)
        return
    console.say(str(out.absolute()) if out is not None else text)
    console.note(tree_pictures.words_of(grown))


COMMANDS: tuple[Any, ...] = (decision_tree,)
