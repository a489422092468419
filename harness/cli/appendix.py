"""The command that writes a decision record: appendix."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from harness import __version__, paths
from harness.cli import console
from harness.cli.decide import features_of, run_option


@click.command()
@click.argument("model")
@click.option("--scenario", required=True, help="A name that 'harness scenarios' lists, or a scenario.toml of yours.")
@console.format_option("md", "html", "pdf", default="md")
@console.out_option("Where to write it. [default: results/]")
@run_option
@console.results_option
@console.json_option
def appendix(
    model: str, scenario: str, kind: str, out: Path | None, run_id: str | None, results: str | None, as_json: bool
) -> int:
    """Write a decision record on MODEL in a scenario: options, outcome, consequences, each number with a footnote.

    Its sections are MADR's. 'harness verify' checks it. Exit code 1 where no method is left to choose.
    """
    from harness.cli import evidence
    from harness.methods import METHODS
    from harness.recommend import engine
    from harness.report import appendix as appendices
    from harness.report import contents, write
    from harness.spec import scenario as scenarios

    wanted = scenarios.find(scenario)
    found = evidence.of(model, run_id, results, predicted=True)
    features = features_of(found)
    recommendation = engine.recommend(found, wanted, METHODS, features=features)
    made = contents.contents(
        [found],
        [recommendation],
        scenarios={wanted.name: wanted},
        features={found.model: features},
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        harness_version=__version__,
    )
    record = appendices.of(made)
    folder = paths.results(Path(results) if results else None)
    target = out or folder / f"appendix-{found.model}-{wanted.name}.{kind}"
    write(record, kind, target)  # type: ignore[arg-type]  # click has checked it
    if as_json:
        told: dict[str, Any] = {"path": str(target.absolute()), "run": found.run_id, "title": record.title}
        console.as_json({**told, "winner": recommendation.winner, "footnotes": len(record.notes)})
    else:
        console.say(str(target.absolute()))
    return 0 if recommendation.winner else 1


COMMANDS: tuple[Any, ...] = (appendix,)
