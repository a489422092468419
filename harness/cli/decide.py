"""Commands that conclude from stored results: recommend, report, verify, export."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from harness import __version__, paths
from harness.cli import console
from harness.errors import BadInput, CheckFailure, HarnessError

if TYPE_CHECKING:
    from harness.calibrate.records import Calibration
    from harness.recommend.article import Features
    from harness.recommend.engine import Recommendation
    from harness.report import Format
    from harness.spec.scenario import Scenario
    from harness.store.query import Evidence

run_option = click.option("--run", "run_id", help="The run to use. [default: the newest with this model]")


@click.command()
@click.argument("model")
@click.option("--scenario", required=True, help="A name that 'harness scenarios' lists, or a scenario.toml of yours.")
@run_option
@console.results_option
@console.json_option
def recommend(model: str, scenario: str, run_id: str | None, results: str | None, as_json: bool) -> int:
    """Which method to use for MODEL in a scenario: ranked, with reasons and what would change it.

    Exit code 1 where no method is left.
    """
    from harness.cli import advice, evidence
    from harness.methods import METHODS
    from harness.recommend import engine
    from harness.spec import scenario as scenarios

    wanted = scenarios.find(scenario)
    found = evidence.of(model, run_id, results, predicted=True)
    recommendation = engine.recommend(found, wanted, METHODS, features=features_of(found))
    simple = _simple_rule(found, wanted, results) if found.profile is not None else []
    if as_json:
        rule = [{"method": name, "mean_value": mean} for name, mean in simple]
        console.as_json({**engine.as_dict(recommendation), **({"simple_rule": rule} if simple else {})})
    else:
        advice.print_recommendation(recommendation, wanted, found)
        advice.print_simple_rule(simple)
    return 0 if recommendation.winner else 1


@click.command()
@click.argument("model", required=False)
@console.format_option("html", "md", default="html")
@console.out_option("Where to write it. [default: results/]")
@click.option("--scenario", "scenario_names", multiple=True, help="Recommend for this one. [default: all]")
@run_option
@console.results_option
@console.json_option
def report(
    model: str | None,
    kind: str,
    out: Path | None,
    scenario_names: tuple[str, ...],
    run_id: str | None,
    results: str | None,
    as_json: bool,
) -> None:
    """Write a report of the newest run: comparison, charts, recommendations, provenance. One file, no network."""
    from harness.methods import METHODS
    from harness.recommend import engine
    from harness.report import contents, write
    from harness.spec import scenario as scenarios

    found = _evidences(model, run_id, results)
    wanted = {one.name: one for one in (scenarios.find(name) for name in scenario_names or scenarios.names())}
    features = {one.model: features_of(one) for one in found}
    advised: list[Recommendation] = [
        engine.recommend(one, scenario, METHODS, features=features[one.model])
        for one in found
        for scenario in wanted.values()
    ]
    folder = paths.results(Path(results) if results else None)
    target = out or folder / f"report-{model or found[0].run_id}.{kind}"
    made = contents.contents(
        found,
        advised,
        scenarios=wanted,
        features=features,
        calibration=next(iter(_calibrations((folder, paths.data("results") / "reference"))), None),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        harness_version=__version__,
    )
    write(made, cast("Format", kind), target)
    if as_json:
        console.as_json({"path": str(target.absolute()), "runs": sorted({one.run_id for one in found})})
    else:
        console.say(str(target.absolute()))


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@console.results_option
@console.json_option
def verify(path: Path, results: str | None, as_json: bool) -> int:
    """Compute every number in a report, or a run folder, again from the raw samples; name each that differs.

    Exit code 1 where something differs.
    """
    folder = paths.results(Path(results) if results else None)
    checked, mismatches, notes = _verify_run(path) if path.is_dir() else _verify_report(path, folder)
    if as_json:
        console.as_json({"checked": checked, "mismatches": mismatches, "notes": notes})
    else:
        for text in (*mismatches, *notes):
            console.say(text)
        verdict = f"{len(mismatches)} differ" if mismatches else "all of them are as the samples say"
        console.say(f"{path}: {checked} values checked; {verdict}.")
    return 1 if mismatches else 0


@click.command()
@click.argument("run_id")
@click.option("--format", "kind", type=click.Choice(("pytest-benchmark", "csv", "parquet")), required=True)
@console.out_option("[default: RUN_ID.FORMAT]")
@console.results_option
@console.json_option
def export(run_id: str, kind: str, out: Path | None, results: str | None, as_json: bool) -> None:
    """Write a run's samples for other tools: pytest-benchmark's JSON, CSV, or Parquet."""
    from harness.store import exporting, query, runs

    folder = runs.folder_of(paths.results(Path(results) if results else None), run_id)
    target = out or Path(f"{run_id}.{'json' if kind == 'pytest-benchmark' else kind}")
    try:
        if kind == "pytest-benchmark":
            exporting.pytest_benchmark(folder, target)
        else:
            query.export(folder, target, kind)
    except OSError as error:
        raise BadInput(f"cannot be written: {error.strerror}", file=target, remedy="--out names another") from error
    if as_json:
        console.as_json({"path": str(target.absolute())})
    else:
        console.say(str(target.absolute()))


def _simple_rule(found: Evidence, scenario: Scenario, results: str | None) -> list[tuple[str, float]]:
    """What is best on the mean of the models that were measured: beside a prediction, a reader should know it."""
    from harness.cli import evidence
    from harness.methods import METHODS
    from harness.recommend import costs, validation

    home = Path(results) if results else paths.data("results") / "reference"
    needed = {"parity", "packed_bytes", "unpacked_bytes", "peak_resident_bytes", *costs.TAKEN}
    needed |= {objective.metric for objective in scenario.objectives}
    measured = [one for one in evidence.of_every_model(home, needed) if one.model != found.model]
    return validation.on_the_mean(measured, scenario, METHODS)


def features_of(evidence: Evidence) -> Features:
    """What the article's rules need to know of the model, from the run's own record of it."""
    from harness.recommend.article import Features

    noted = evidence.manifest.models.get(evidence.model, {}).get("features", {})
    return Features(**{key: int(noted.get(key, 0)) for key in ("dependencies", "pinned", "system_packages")})


def _evidences(model: str | None, run_id: str | None, results: str | None) -> list[Evidence]:
    from harness.cli import evidence
    from harness.store import query, runs

    if model is not None:
        return [evidence.of(model, run_id, results, predicted=True)]
    folder = paths.results(Path(results) if results else None)
    if run_id is not None:
        return query.evidences(folder, run_id)
    known = runs.run_ids(folder)
    shipped = paths.data("results") / "reference"
    if not known and results is None and runs.run_ids(shipped):
        console.note("From the reference results that travel with the harness; 'harness run' measures here.")
        return evidence.of_every_model(shipped)
    for newest in reversed(known):
        try:
            return query.evidences(folder, newest)
        except (BadInput, CheckFailure) as error:
            evidence.left_out(newest, error)
    raise BadInput(
        f"there is no run in {folder} that can be read", remedy="'harness run' measures one; or name a MODEL"
    )


def _verify_run(path: Path) -> tuple[int, list[str], list[str]]:
    from harness.store import checking

    return checking.verify_run(path)


def _verify_report(path: Path, results: Path) -> tuple[int, list[str], list[str]]:
    from harness.report import verify as verifying
    from harness.store import query, runs

    reference = paths.data("results") / "reference"
    by_run = _predicted_again(path, (results, reference))
    for run_id in verifying.runs_of(path):
        if run_id not in by_run:
            home = results if run_id in runs.run_ids(results) else reference
            by_run[run_id] = query.evidences(home, run_id)
    found = verifying.verify(path, by_run, calibrations=_calibrations((results, reference)))
    return found.checked, [str(mismatch) for mismatch in found.mismatches], list(found.notes)


def _calibrations(homes: Sequence[Path]) -> list[Calibration]:
    """Those that lie in results folders and are of the runs there; of another it is said that it is not used."""
    from harness.calibrate import records

    found = []
    for home in dict.fromkeys(homes):
        try:
            made = records.of_results(home)
        except HarnessError as error:
            console.note(f"The calibration in {home} is not used: {error.problem}")
            continue
        found += [made] if made else []
    return found


def _predicted_again(path: Path, homes: Sequence[Path]) -> dict[str, list[Evidence]]:
    """What was predicted in a report, from the profile in it and the calibration that it names."""
    from harness.calibrate import predicting
    from harness.methods import METHODS
    from harness.report import verify as verifying

    found: dict[str, list[Evidence]] = {}
    wanted = verifying.predicted_in(path)
    known = _calibrations(homes) if wanted else []
    for run_id, profile, memory_mb in wanted:
        calibration = next((one for one in known if predicting.run_id_of(one) == run_id), None)
        if calibration is None:
            raise BadInput(
                f"was predicted by '{run_id}', and no calibration here is that one",
                file=path,
                remedy="give the results folder with the calibration that it was made with (--results DIR)",
            )
        evidence = predicting.evidence_from(calibration, profile, METHODS, memory_mb=memory_mb)
        found.setdefault(run_id, []).append(evidence)
    return found


COMMANDS: tuple[Any, ...] = (recommend, report, verify, export)
