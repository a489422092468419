"""Commands of prediction: profile, calibrate."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness import paths
from harness.cli import console, disk
from harness.errors import BadInput

if TYPE_CHECKING:
    from harness.calibrate.elsewhere import Elsewhere
    from harness.calibrate.fit import Fitter, Quality
    from harness.calibrate.records import Calibration, Coefficient, Decided, Fit
    from harness.measure.profile import Profile
    from harness.metrics import State


@click.command()
@click.argument("model")
@console.out_option("Write the profile's JSON there as well.")
@console.json_option
def profile(model: str, out: Path | None, as_json: bool) -> None:
    """Look at MODEL for a few seconds: what it brings along, and how it starts from a plain environment.

    With a calibration, that is enough to predict what each way of packaging it would measure.
    """
    from harness.measure import profile as profiles
    from harness.spec import model as models

    disk.check_settings()
    found = models.find(model)
    console.note_ceilings(found)
    with console.progress() as tell:
        taken = profiles.take(found, tell)
    applied = disk.hold_to_budget()
    file = profiles.kept() / taken.file_name
    if out is not None:
        try:
            out.write_bytes(file.read_bytes())
        except OSError as error:
            remedy = "--out names another file"
            raise BadInput(f"cannot be written: {error.strerror}", file=out, remedy=remedy) from error
    if as_json:
        console.as_json(
            {
                **dataclasses.asdict(taken),
                "medians": _medians(taken),
                "path": str(out or file),
                "cache": disk.as_dict(applied),
            }
        )
        return
    _print_profile(taken)
    console.say(f"Kept in {out or file}")
    console.say(f"Next: harness recommend {model} --scenario edge-device; what no run has measured is predicted.")


@click.command()
@click.option("--run", "run_ids", metavar="RUN_ID", multiple=True, help="Fit from this run; several times for several.")
@console.results_option
@console.out_option("The file to write. [default: by the runs]")
@click.option("--splits", type=click.IntRange(min=0), default=40, show_default=True, help="To judge decisions by.")
@click.option(
    "--against",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Keep nothing; say how well it predicts the runs in this folder, of another machine.",
)
@console.json_option
def calibrate(
    run_ids: tuple[str, ...], results: str | None, out: Path | None, splits: int, against: Path | None, as_json: bool
) -> None:
    """Fit what prediction needs from runs and profiles, and say how well it predicts what it has not seen.

    Without options: from the reference results that travel with the harness, else from your own results. Every model
    of the runs needs a profile ('harness profile MODEL'), which is then kept beside the runs.

    Whether the reference results hold for your machine: measure some sample models there, profile them, and give
    --against the folder of these runs.
    """
    from harness.calibrate import fit, gathering, records
    from harness.cli import evidence

    if against is not None and out is not None:
        raise BadInput("goes with nothing that is kept", key="--against", value=against, remedy="leave out --out")
    folder = _results_folder(run_ids, results)
    chosen = list(run_ids) or _all_runs(folder)
    study = gathering.gather(folder, chosen, None if run_ids else evidence.left_out)
    if len(study.hosts) > 1:
        named = "; ".join(f"{host.get('processor')}, {host.get('cores')} cores" for host in study.hosts)
        console.note(f"Of {len(study.hosts)} machines ({named}); their seconds are compared by the sentinel.")
    console.note(f"Fitting {len(study.profiles)} models, each family held out in turn; this takes up to a minute.")
    fitter = fit.Fitter(study)
    if against is not None:
        _hold_against(fitter, against, splits, as_json=as_json)
        return
    made = fitter.calibration()
    file = out or folder / records.FILE_NAME
    if out is None:
        _keep_profiles(study.profiles.values(), folder / "profiles")
    made = dataclasses.replace(made, decisions=tuple(_decisions(fitter, study.run_of, folder, splits)))
    records.write(made, file)
    qualities = fit.validate(made)
    if as_json:
        told = {
            "path": str(file),
            "quality": [{**dataclasses.asdict(one), "met": one.met} for one in qualities],
            "decisions": [dataclasses.asdict(one) for one in made.decisions],
            "too_few": fit.too_few(made),
            "calibration": dataclasses.asdict(made),
        }
        console.as_json(told)
        return
    _print_fits(made)
    _print_quality(qualities)
    _print_decisions(made.decisions)
    console.say(fit.too_few(made))
    console.say(f"Fitted from {', '.join(one.run_id for one in made.runs)}; kept in {file}")


# --- calibrate -----------------------------------------------------------------------------------


def _hold_against(fitter: Fitter, folder: Path, splits: int, *, as_json: bool) -> None:
    """Print how well another machine is predicted, and how good decisions from profiles are there."""
    from harness.calibrate import gathering
    from harness.calibrate.elsewhere import Elsewhere
    from harness.cli import evidence

    other = Elsewhere(fitter=fitter, study=gathering.gather(folder, _all_runs(folder), evidence.left_out))
    qualities = other.validate()
    decided = _decisions(other, other.study.run_of, folder, splits)
    models, hosts = sorted(other.study.profiles), other.study.hosts
    if as_json:
        quality = [{**dataclasses.asdict(one), "met": one.met} for one in qualities]
        decisions = [dataclasses.asdict(one) for one in decided]
        console.as_json({"models": models, "hosts": hosts, "quality": quality, "decisions": decisions})
        return
    named = "; ".join(f"{host.get('processor')}, {host.get('cores')} cores" for host in hosts)
    _print_quality(qualities, f"Another machine ({named}) and whole families held out: predicted against measured")
    _print_decisions(decided)
    console.say(f"Of {', '.join(models)}, in {folder}.")


def _decisions(fitter: Fitter | Elsewhere, run_of: Mapping[str, str], folder: Path, splits: int) -> list[Decided]:
    """How good decisions would be, over every scenario; nothing where no split is asked for."""
    from harness.methods import METHODS
    from harness.recommend import validation
    from harness.spec import scenario as scenarios
    from harness.store import query

    if not splits:
        return []
    every = (one for run_id in sorted(set(run_of.values())) for one in query.evidences(folder, run_id))
    evidences = [one for one in every if run_of.get(one.model) == one.run_id]
    wanted = [scenarios.find(name) for name in scenarios.names()]
    console.note(
        f"Judging decisions on {len(evidences)} models in {len(wanted)} scenarios, {splits} splits of the rounds."
    )
    return validation.decisions(fitter, evidences, wanted, METHODS, splits=splits)


def _print_decisions(decided: Sequence[Decided]) -> None:
    from harness.recommend.validation import TARGETS

    def beside(value: float | None, target: float | None) -> str:
        if value is None:
            return "-"
        return f"{value:.0%}" + (f" ({'met' if value >= target else 'NOT MET'}: {target:.0%})" if target else "")

    rows = []
    for one in decided:
        gap, first, second = TARGETS.get(one.chooser) or (None, None, None)
        figures = (beside(one.gap_closed, gap), beside(one.top_1, first), beside(one.top_2, second))
        rows.append((one.chooser, f"{one.cases:,}", f"{one.regret:.3f}", *figures))
    if rows:
        columns = ("chosen by", "cases", "mean regret", "gap closed", "the best", "the best among two")
        title = "Decisions, on families that were held out, valued by rounds that did not choose"
        console.table(title, columns, rows, right=range(1, 6))
        console.say(
            "Regret is the value lost to the best method of each case; the gap is that of the single best method.\n"
        )


def _results_folder(run_ids: Sequence[str], results: str | None) -> Path:
    from harness.store import runs

    own = paths.results(Path(results) if results else None)
    reference = paths.data("results") / "reference"
    if run_ids or results or not runs.run_ids(reference):
        return own
    console.note("From the reference results that travel with the harness; --results names others.")
    return reference


def _all_runs(folder: Path) -> list[str]:
    from harness.store import runs

    if not runs.run_ids(folder):
        raise BadInput(f"there is no run in {folder}", remedy="'harness run' measures one; --results names others")
    return runs.run_ids(folder)


def _keep_profiles(found: Any, folder: Path) -> None:
    from harness.measure import profile as profiles

    try:
        for one in found:
            profiles.write(one, folder)
    except OSError as error:
        raise BadInput(
            f"cannot be written: {error.strerror}", file=folder, remedy="--out writes the calibration elsewhere"
        ) from error


def _print_fits(made: Calibration) -> None:
    from harness.calibrate import laws
    from harness.metrics import METRICS

    for metric, state in laws.LAWS:
        fits = [one for one in made.fits if (one.metric, one.state) == (metric, state)]
        if fits:
            rows = [
                (one.method, _formula(one), _factor(one.factor), _worst(one), f"{len(one.models)}/{one.families}")
                for one in fits
            ]
            columns = ("method", "predicted as", "90 % within", "largest held-out error", "models/families")
            console.table(_title(metric, state) + f": {METRICS[metric].meaning}", columns, rows, right=(2, 3, 4))
    console.say("Coefficients marked * are not fitted, but what physics says where too few models are known.")
    console.say("Terms that came out as nothing are left out; none may be below zero.\n")


def _print_quality(
    qualities: Sequence[Quality], title: str = "Whole families held out: predicted against measured, over all methods"
) -> None:
    rows = [
        (
            _title(one.metric, one.state),
            f"{one.n}/{one.families}",
            f"{one.median_error:.1%}",
            f"{one.simple_error:.0%}",
            f"{one.largest_error:.0%}",
            "-" if one.coverage is None else f"{one.coverage:.0%} of {one.covered_of}",
            {True: "met", False: "NOT MET", None: ""}[one.met],
        )
        for one in qualities
    ]
    columns = (
        "metric",
        "cells/families",
        "median error",
        "of the simple rule",
        "largest",
        "inside the 90 % interval",
        "target",
    )
    console.table(title, columns, rows, right=range(1, 6))
    console.say("The simple rule: the same value for every model. A method whose laws do no better is given that.\n")


def _formula(fitted: Fit) -> str:
    parts = [_part(fitted.metric, one) for one in fitted.coefficients if one.value]
    return " + ".join(parts) or "nothing"


def _part(metric: str, one: Coefficient) -> str:
    """``212 ms``, ``1.04 × local start, page-warm``, ``12 ms per MB of installed bytes``."""
    from harness.calibrate import laws
    from harness.metrics import METRICS
    from harness.report import numbers

    mark = "" if one.fitted else "*"
    unit, feature = METRICS[metric].unit, laws.FEATURES[one.feature]
    if one.feature == laws.BASE:
        return numbers.shown(one.value, unit) + mark
    if unit == feature.unit:
        return f"{one.value:.3g}{mark} {numbers.TIMES} {feature.title}"
    each, per = (1e6, "MB of ") if feature.unit == "bytes" else (1e3, "1,000 ")
    return f"{numbers.shown(one.value * each, unit)}{mark} per {per}{feature.title}"


def _factor(factor: float) -> str:
    if factor < 1.5:  # noqa: PLR2004 -- where a percentage begins to mislead about the lower end
        return f"{factor - 1:.0%}"
    return f"a factor of {factor:.2g}" if factor < 99.9 else "not known"  # noqa: PLR2004 -- two orders of magnitude


def _worst(fitted: Fit) -> str:
    worst = max(fitted.held_out, key=lambda one: abs(one.predicted / one.actual - 1))
    return f"{worst.predicted / worst.actual - 1:+.0%} ({worst.model})"


def _title(metric: str, state: State) -> str:
    from harness.metrics import METRICS

    return METRICS[metric].title + (f", {state}" if state else "")


# --- profile -------------------------------------------------------------------------------------

_QUANTITIES = (
    ("interpreter_s", "until the runner's first line", "every way of packaging puts its own launcher in this place"),
    ("imports_s", "imports", "the same Python code is imported however it is packaged"),
    ("load_s", "load the weights", "paid by every instance anew"),
    ("predict_s", "first prediction", "often slower than the later ones"),
    ("warm_s", "a warm request", "what each request after the first takes"),
    ("start_s", "imports to first correct answer", "packaging adds to this, and never takes away"),
    ("peak_resident_bytes", "peak resident", "the least memory that an instance needs"),
    ("peak_memory_bytes", "peak memory", "with the page cache that the start filled"),
    ("cpu_s", "CPU to first answer", "what a platform that bills by CPU charges for a start"),
)


def _medians(taken: Profile) -> dict[str, dict[str, float | None]]:
    from harness.metrics import START_STATES

    return {state: {name: taken.median(name, state) for name, _, _ in _QUANTITIES} for state in START_STATES}


def _print_profile(taken: Profile) -> None:
    from harness.metrics import START_STATES
    from harness.report import numbers

    def size(value: float) -> str:
        return numbers.shown(value, "bytes")

    installed = taken.installed.total
    rows = [
        ("packages", f"{taken.packages}", f"locked; {taken.pinned} of the model's own requirements are pinned"),
        *([("built from source", f"{len(built)}", ", ".join(built))] if (built := taken.built_from_source) else []),
        ("wheels", size(taken.wheel_bytes), "compressed: about what a package of them weighs on the way"),
        ("installed", size(installed.bytes), f"{installed.files:,} files, bytecode included"),
        (
            "native libraries",
            size(taken.installed.native.bytes),
            f"{taken.installed.native.files} files, for this kind of processor alone",
        ),
        ("kept", size(taken.kept.total.bytes), "of what is installed, by the model's own rules of pruning"),
        ("bytecode that is loaded", *_loaded(taken)),
        ("payload", size(taken.weights.bytes), f"predictor and weights; {size(taken.weights.packed_bytes)} compressed"),
        ("system packages", f"{taken.system_packages}", "what only a container can bring along"),
        *_system(taken),
    ]
    console.table(f"{taken.model}: what it brings along", ("", "", "what that means"), rows, right=(1,))
    medians = _medians(taken)
    started = []
    for name, title, meaning in _QUANTITIES:
        known = [medians[state][name] for state in START_STATES]
        shown = ["-" if one is None else numbers.shown(one, "s" if name.endswith("_s") else "bytes") for one in known]
        started.append((title, *shown, meaning))
    counts = {state: sum(one.state == state for one in taken.starts) for state in START_STATES}
    title = "Started from a plain environment, medians of " + ", ".join(f"{n} {state}" for state, n in counts.items())
    console.table(title, ("", *START_STATES, "what that means"), started, right=(1, 2))


def _system(taken: Profile) -> list[tuple[str, str, str]]:
    """What native files need of the system; no row in a profile that does not say."""
    from harness.measure import needs

    if taken.needs is None:
        return []
    return [("system libraries", f"{sum(one.loaded for one in taken.needs.libraries)}", needs.summary(taken.needs))]


def _loaded(taken: Profile) -> tuple[str, str]:
    from harness.report import numbers

    if taken.loaded is None:
        return "-", "it could not be found out which modules the examples load"
    every = taken.installed.bytecode
    return (
        numbers.shown(taken.loaded.bytes, "bytes"),
        f"of {taken.loaded.files:,} modules; all {every.files:,} have {numbers.shown(every.bytes, 'bytes')}",
    )


COMMANDS = (profile, calibrate)
