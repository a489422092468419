"""Finding the evidence on a model, and showing it side by side; shared by the commands that read results."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness import paths, settings
from harness.bootstrap import Interval
from harness.cli import console
from harness.errors import BadInput, CheckFailure, HarnessError, one_line
from harness.measure.sample import CANARY
from harness.metrics import METRICS, PHASES, START_STATES, TARGETS, Fidelity, State
from harness.report import numbers
from harness.spec import model as models
from harness.spec.model import Model
from harness.store import query, runs
from harness.store.query import Evidence, Value

#: What became of a method in a run.
Outcome = Literal["measured", "failed", "unfit", "absent", "unmeasured"]


def of(model: str, run_id: str | None, results: str | None, *, predicted: bool = False) -> Evidence:
    """The evidence on ``model`` (a name or a folder) in that run, else in the newest run that has it.

    Where the user's results have none, the reference results that travel with the harness are used, and it is said.
    ``predicted`` allows values that a calibration predicts from a profile, where the model was never measured.
    """
    folder, name = paths.results(Path(results) if results else None), name_of(model)
    if run_id is not None:
        return query.evidence(folder, run_id, name)
    found = query.latest_run(folder, name, left_out)
    if found is not None:
        return query.evidence(folder, found, name)
    reference = paths.data("results") / "reference"
    shipped = query.latest_run(reference, name, left_out)
    if shipped is None or results is not None:
        known = models.find(model)  # where there is no such model, this says so
        if predicted and (made := _predicted(known, (folder, reference) if results is None else (folder,))):
            return made
        raise BadInput(
            f"'{name}' has not been measured: no run in {folder} has it",
            remedy=f"'harness run {model}' measures it, 'harness profile {model}' lets 'recommend' predict it; "
            "--results names another folder",
        )
    host = runs.read_manifest(runs.folder_of(reference, shipped)).host
    console.note(
        f"From the reference results that travel with the harness (run {shipped}, {host['processor']}, "
        f"{host['cores']} cores), not from this machine; 'harness run {model}' measures here."
    )
    return query.evidence(reference, shipped, name)


def of_every_model(home: Path, metrics: Collection[str] = ()) -> list[Evidence]:
    """Of each model that runs in ``home`` measured, the evidence of the newest one that has a start of it.

    Models may be of several machines, whose seconds are not the same. Of ``metrics`` alone where they are named.
    BadInput where there is no run.
    """
    started: dict[str, Evidence] = {}
    tried: dict[str, Evidence] = {}
    wanted = {*metrics, "cold_start_s"} if metrics else ()
    for run_id, manifest in reversed(list(runs.readable(home, left_out))):
        if started.keys() >= set(manifest.plan["models"]):
            continue  # all of it is known from newer ones; reading its samples takes a tenth of a second
        try:
            known = query.evidences(home, run_id, wanted)
        except (BadInput, CheckFailure) as error:
            left_out(run_id, error)
            continue
        for one in known:
            has_start = any(value.interval for value in one.values if value.metric == "cold_start_s")
            (started if has_start else tried).setdefault(one.model, one)
    if not started and not tried:
        raise BadInput(
            f"there is no run in {home} that can be read", remedy="'harness run' measures one; --results names others"
        )
    return list({**tried, **started}.values())


def left_out(run_id: str, error: HarnessError) -> None:
    """Say that a run is not used: one that is damaged must not keep the others from being used."""
    console.note(f"Run {one_line(run_id)} is left out: {one_line(error.problem)}")


def _predicted(model: Model, homes: Sequence[Path]) -> Evidence | None:
    """What a calibration predicts from the model's stored profile; None where either is not there."""
    from harness.calibrate import predicting
    from harness.methods import METHODS

    found = predicting.known(model, homes, METHODS)
    if found is None:
        return None
    console.note(found[1])
    return found[0]


def name_of(model: str) -> str:
    """The name under which a model given as a name or a folder stands in results."""
    folder = settings.path(model, key="MODEL")
    return models.read(folder).name if (folder / "model.toml").is_file() else model


def as_dict(evidence: Evidence) -> dict[str, Any]:
    """For ``--json``: every value with its interval, unit and fidelity."""
    return {
        "run": evidence.run_id,
        "model": evidence.model,
        "host": dict(evidence.manifest.host),
        "methods": {method: evidence.failure(method) or "measured" for method in evidence.methods},
        "outcomes": {method: outcome(evidence, method) for method in evidence.methods},
        "needs_on_target": {method: evidence.left_to_target(method) for method in evidence.methods},
        "values": [
            {
                "method": value.method,
                "metric": value.metric,
                "state": value.state,
                "limits": value.limits,
                "unit": METRICS[value.metric].unit,
                "fidelity": value.fidelity,
                "interval": dataclasses.asdict(value.interval) if value.interval else None,
                "failed": value.failed,
                "dropped": value.dropped,
                "outliers": list(value.outliers),
                "why_absent": value.why_absent,
            }
            for value in evidence.values
        ],
    }


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Columns that stand together, in a block of their own."""

    title: str
    columns: tuple[tuple[str, State], ...]
    #: Whether the intervals are left to the report.
    medians: bool = False


_GROUPS = (
    _Group(
        title="Size, build and installation",
        columns=(
            ("packed_bytes", ""),
            ("unpacked_bytes", ""),
            ("files", ""),
            ("build_clean_s", ""),
            ("install_s", ""),
            ("transfer_s", ""),
        ),
    ),
    _Group(
        title="Cold start, and what is used until the first answer",
        columns=(
            ("cold_start_s", "page-warm"),
            ("cold_start_s", "disk-cold"),
            ("peak_memory_bytes", "page-warm"),
            ("peak_resident_bytes", "page-warm"),
            ("cpu_to_first_s", "page-warm"),
        ),
    ),
    _Group(
        title="Cold start on a node that has nothing, memory, and what a change costs",
        columns=(
            ("cold_start_s", "node-cold"),
            ("minimum_memory_bytes", ""),
            ("update_bytes", ""),
            ("build_weights_s", ""),
            ("build_code_s", ""),
            ("build_dependency_s", ""),
            ("reproducible", ""),
        ),
    ),
    _Group(
        title="Warm, under load (medians alone)",
        columns=(
            ("latency_p50_s", "single-stream"),
            ("latency_p99_s", "single-stream"),
            ("latency_p50_s", "poisson"),
            ("latency_p99_s", "poisson"),
            ("throughput_per_s", "saturation"),
            ("throughput_per_s", "batch"),
            ("cpu_per_prediction_s", "saturation"),
        ),
        medians=True,
    ),
    _Group(title="Where it starts and answers right", columns=tuple(("portable", target) for target in TARGETS)),
    _Group(
        title="Phases of a page-warm start (medians alone)",
        columns=tuple((f"phase_{phase}_s", "page-warm") for phase in PHASES),
        medians=True,
    ),
)

#: After a number that was not measured, or the name of a row of such numbers. A line below the tables explains it.
_LETTERS: dict[Fidelity, str] = {
    "emulated": "e: emulated, a real artifact on a local stand-in for its platform",
    "modelled": "m: modelled, predicted or computed from measured values",
    "documented": "d: documented, a vendor's stated value",
}


#: What options of a build are told to change.
_VARIED: tuple[tuple[str, State], ...] = (
    ("packed_bytes", ""),
    ("unpacked_bytes", ""),
    *(("cold_start_s", state) for state in START_STATES),
    ("peak_resident_bytes", "page-warm"),
)

#: Their state is in the title of their group.
_PHASE_METRICS = frozenset(f"phase_{phase}_s" for phase in PHASES)

_ONCE = "n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}1"  # in one piece


def print_comparison(evidence: Evidence) -> None:
    """Methods down, values across, in blocks that fit the terminal; then what is not there, and why."""
    console.say(f"{evidence.model}: median [95 % interval], run {evidence.run_id}")
    for group in _GROUPS:
        _print_group(evidence, group)
    _print_variants(evidence)
    counts = {value.interval.n for value in evidence.values if value.interval and value.metric == "cold_start_s"}
    used = {value.fidelity for value in evidence.values if value.interval}
    if used == {"modelled"}:
        console.say("Nothing here was measured: every value is predicted from the model's profile.")
    elif counts:
        span = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
        console.say(f"Cold starts: {span} per cell. All values are measured unless a letter says otherwise.")
    outlying = sum(len(value.outliers) for value in evidence.values if value.metric == "cold_start_s")
    if outlying:
        console.say(f"{outlying} of these starts are outliers (modified z-score over 3.5); they are kept.")
    _print_canary(evidence)
    if any(value.kept for value in evidence.values):
        console.say("(kept): not taken in this run, but when the cached artifact was built, or its image last pulled.")
    for fidelity, meaning in _LETTERS.items():
        if fidelity in used:
            console.say(meaning)
    _print_gaps(evidence)


def _print_canary(evidence: Evidence) -> None:
    """What the machine makes of a method against itself."""
    for state in START_STATES:
        found = evidence.canary(state)
        if found is not None:
            calm = "which includes 1, as it should" if found.low <= 1 <= found.high else "a false alarm of this machine"
            console.say(f"A/A, {state}: a method against itself is {_ratio(found)}, {calm}.")


def _print_group(evidence: Evidence, group: _Group) -> None:
    shown = evidence.rows
    marked = {row: _fidelity_of_row(evidence, *row, group) for row in shown}
    columns: list[tuple[str, list[str]]] = []
    for metric, state in group.columns:
        values = {row: evidence.value(row[0], metric, state, row[1]) for row in shown}
        told = [value for value in values.values() if value and value.interval]
        once = all(value.interval.n == 1 and value.fidelity != "modelled" for value in told if value.interval)
        single = once and METRICS[metric].unit == "s"
        head = METRICS[metric].title.removeprefix("start: ")
        head += f", {state}" if state and metric not in _PHASE_METRICS else ""
        cells = [
            _cell(value, n=not single, interval=not group.medians, fidelity=not marked[row])
            for row, value in values.items()
        ]
        if any(cells):
            columns.append((head + (f", {_ONCE}" if single else ""), cells))
    rows = [
        (_named(evidence, *row) + marked[row], *(cells[number] for _, cells in columns))
        for number, row in enumerate(shown)
        if any(cells[number] for _, cells in columns)
    ]
    if rows:
        console.blocks(group.title, ("", *(head for head, _ in columns)), rows)


def _print_variants(evidence: Evidence) -> None:
    """What an option of the build changes: ratios to the method as it is, paired within rounds."""
    lines = []
    for method, limits in evidence.rows:
        if limits in ("default", CANARY):
            continue
        for metric, state in _VARIED:
            plain = evidence.value(method, metric, state)
            ratio = query.paired_ratio(evidence.value(method, metric, state, limits), plain)
            if ratio is not None:
                title = METRICS[metric].title + (f", {state}" if state else "")
                lines.append((method, limits, title, _ratio(ratio)))
    if lines:
        console.table("What the options change, as ratios to the method as it is", ("", "built with", "", ""), lines)


def _ratio(found: Interval) -> str:
    if found.exact:
        return numbers.ratio(found.median, exact=True)
    low, high = (numbers.ratio(end).removesuffix(numbers.TIMES) for end in (found.low, found.high))
    return f"{numbers.ratio(found.median)} [{low}{numbers.DASH}{high}]"


def _fidelity_of_row(evidence: Evidence, method: str, limits: str, group: _Group) -> str:
    """The letter of all the row's values in the group; nothing where they differ, or are measured."""
    found = {
        value.fidelity
        for column in group.columns
        if (value := evidence.value(method, *column, limits)) is not None and value.interval is not None
    }
    return f" {found.pop()[0]}" if len(found) == 1 and found != {"measured"} else ""


def outcome(evidence: Evidence, method: str) -> Outcome:
    """What became of the method: a right answer, or why there is none."""
    if not evidence.failure(method):
        return "measured"
    parity = evidence.value(method, "parity")
    if parity is not None and (parity.interval is not None or parity.failed):
        return "failed"
    if parity is not None and parity.unfit:
        return "unfit"
    known = evidence.manifest.availability.get(method)
    return "absent" if known is not None and not known.get("ready") else "unmeasured"


def _named(evidence: Evidence, method: str, limits: str = "default") -> str:
    marks = {"failed": " (failed)", "unfit": " (unfit)"}
    told = "" if limits == "default" else f" {limits}"
    return method + told + marks.get(outcome(evidence, method), "")


def _cell(value: Value | None, *, n: bool, interval: bool, fidelity: bool) -> str:
    """A value; with its interval, ``n = 1``, and the letter of its fidelity, where each is wanted and not plain."""
    if value is None:
        return ""
    if value.interval is None:
        return "failed" if value.failed else "-"
    found, unit = value.interval, value.declared.unit
    scale = numbers.scale(found.median, unit)
    parts = [numbers.shown(found.median, unit)]
    if interval and not found.exact:
        parts.append(f"[{scale.number(found.low)}{numbers.DASH}{scale.number(found.high)}]")
    if n and found.n == 1 and unit == "s" and value.fidelity != "modelled":
        parts.append(f"({_ONCE})")
    if value.kept:
        parts.append("(kept)")
    if fidelity and value.fidelity != "measured":
        parts.append(value.fidelity[0])
    return " ".join(parts)


#: How what became of a method is said to people.
_SAID: dict[Outcome, str] = {
    "failed": "failed: ",
    "absent": "not ready on that machine: ",
    "unfit": "",  # the reason says so
    "unmeasured": "",
    "measured": "",
}


def _print_gaps(evidence: Evidence) -> None:
    """What is not in the table: a line for each method; whole logs only where the user asked for more."""
    lines = [
        f"{method}: {_SAID[outcome(evidence, method)]}{failure}"
        for method in evidence.methods
        if (failure := evidence.failure(method))
    ]
    lines += [
        f"{method}: works here, needs {needed} on the target"
        for method in evidence.methods
        if (needed := evidence.left_to_target(method)) and not evidence.failure(method)
    ]
    dropped = sum(value.dropped for value in evidence.values if value.metric == "cold_start_s")
    if dropped:
        lines.append(f"{dropped} disk-cold starts were dropped: their pages had not left memory.")
    for value in evidence.values:
        if value.metric == "cold_start_s" and value.doubtful:
            where = f"{value.method} {value.limits}" if value.limits != "default" else value.method
            lines.append(
                f"{where}: {value.doubtful} of its starts, {value.state}, are doubtful: what it says of its phases "
                "cannot be true. How long they took in all was measured from outside."
            )
    # One reason for several methods is said once.
    reasons: dict[tuple[str, str], list[str]] = {}
    for value in evidence.values:
        if value.limits != "default" and value.metric == "parity" and value.why_absent:
            lines.append(f"{value.method} {value.limits}: {value.why_absent}")
        told = value.metric == "parity" or evidence.failure(value.method)
        if value.interval is None and value.why_absent and not told:
            of_phases = value.doubtful and value.metric in _PHASE_METRICS
            title = ("phases of a start" if of_phases else value.declared.title) + (
                f", {value.state}" * bool(value.state)
            )
            methods = reasons.setdefault((title, value.why_absent), [])
            methods += [value.method] if value.method not in methods else []
    lines += [f"{', '.join(methods)}: no {title}: {why}" for (title, why), methods in reasons.items()]
    if not lines:
        return
    console.say("Gaps:")
    cut = False
    for line in lines:
        shown = line if console.verbose() else numbers.brief(line)
        cut = cut or shown != numbers.line(line)
        if console.verbose():
            console.say(f"  - {shown}")
        else:
            console.item(shown)
    if cut and not console.verbose():
        console.say("'harness -v compare' and --json tell the reasons in full.")
