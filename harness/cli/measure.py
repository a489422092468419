"""The command that measures: run."""

from __future__ import annotations

import contextlib
import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from harness import __version__, paths
from harness.cli import aws, console, disk
from harness.errors import BadInput, DiskFull, EngineGone, HarnessError, Interrupted, MissingComponent

if TYPE_CHECKING:
    from harness.measure.budget import Applied
    from harness.measure.plan import Plan, ProfileName
    from harness.measure.recording import Outcome
    from harness.platforms.aws import AccountKind
    from harness.spec.model import Model
    from harness.store.records import Manifest
    from harness.store.runs import RunWriter

_PROFILES = ("quick", "standard", "nightly")
PARTS = ("rebuild", "memory-limit", "portability", "load")

#: How many earlier runs an estimate looks at.
_PAST_RUNS = 12
_CLOUDS = {"moto": "a stand-in (moto)", "real": "the user's own account"}


@click.command()
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@click.option("--method", "methods", multiple=True, help="Measure this method only; may be given several times.")
@click.option(
    "--profile",
    type=click.Choice(_PROFILES),
    default="quick",
    show_default=True,
    help="How thoroughly: quick starts and sizes; standard all metrics; nightly all models, a fourteenth of it whole.",
)
@click.option("--rounds", type=click.IntRange(1, 256), help="Rounds of starts, no more and no fewer.")
@click.option("--builds", type=click.IntRange(min=1), help="Clean builds of each cell, instead of the profile's.")
@click.option(
    "--part",
    "parts",
    type=click.Choice(PARTS),
    multiple=True,
    help="Measure this besides sizes and starts, instead of what the profile has; may be given several times.",
)
@click.option(
    "--with",
    "options",
    metavar="OPTION=VALUE",
    multiple=True,
    help="Build each method this way too: bytecode=none, weights=mounted, ...; may be given several times.",
)
@click.option("--anew", is_flag=True, help="Take no build, pull or rebuild from the cache: time all of them again.")
@click.option("--resume", metavar="RUN_ID", help="Go on with a run that was interrupted; repeats nothing it has.")
@click.option("--seed", type=int, help="Seed of the random order. [default: drawn, and recorded]")
@click.option(
    "--aws",
    "cloud",
    type=click.Choice(["moto", "real"]),
    default="moto",
    show_default=True,
    help="Where methods for AWS deploy to: a stand-in on this machine, or your own account, once you confirm the cost.",
)
@click.option("--aws-role", metavar="ARN", default="", help="With --aws real: the execution role; else one is made.")
@click.option("--yes", is_flag=True, help="With --aws real: go on without asking.")
@console.results_option
@console.json_option
def run(
    models: tuple[str, ...],
    methods: tuple[str, ...],
    profile: ProfileName,
    rounds: int | None,
    builds: int | None,
    parts: tuple[str, ...],
    options: tuple[str, ...],
    anew: bool,
    resume: str | None,
    seed: int | None,
    cloud: AccountKind,
    aws_role: str,
    yes: bool,
    results: str | None,
    as_json: bool,
) -> int:
    """Package every MODEL with every method and measure it. Without MODEL: all sample models.

    A model is a name that 'harness models' lists, or the path of a model folder. A cell that fails is a
    result with a reason; the others go on, and the exit code is 1. Interrupt it whenever you like: what was
    measured is kept, and --resume goes on from there. Where the Docker engine goes away, the run waits for it
    (HARNESS_ENGINE_WAIT_S, 60 seconds), then ends with exit code 3, to be resumed. Where none of
    the methods can be used on this machine, the exit code is 3 as well.

    It says beforehand what disk it needs, and ends before a step that the disk has no room for, to be resumed. After
    each model the cache is held to its budget (HARNESS_CACHE_BUDGET): see 'harness cache --help'.
    """
    from harness import ceiling
    from harness.measure.trial import Trial
    from harness.methods import METHODS
    from harness.platforms import depot, engine
    from harness.store import query
    from harness.store import runs as stored

    disk.check_settings()
    ceiling.ceilings(), engine.waiting_s()  # a variable that is wrong is told before anything is made
    folder = paths.results(Path(results) if results else None)
    if resume is not None and (models or methods or parts or options or anew):
        remedy = "leave out models and methods, --part, --with and --anew"
        raise BadInput("follows the plan of its run", key="--resume", remedy=remedy)
    wanted: dict[str, Any] = {
        "rounds": rounds,
        "builds": builds,
        "seed": seed,
        "parts": parts,
        "options": options,
        "anew": anew,
    }
    plan = None if resume else _new_plan(models, methods, profile, **wanted)
    if cloud == "real":
        if parts or options:
            raise BadInput(
                "would make more in the account than can be said beforehand",
                key="--part" if parts else "--with",
                remedy="leave it out, or measure it on the stand-in, without --aws real",
            )
        # A deployment and its starts: that is what is told and confirmed, whatever the profile has besides.
        plan = plan.sparing() if plan else None
        aws.confirm(plan or _resumed_plan(folder, resume), role=aws_role, yes=yes)
    elif aws_role or yes:
        raise BadInput("is for --aws real", key="--aws-role" if aws_role else "--yes", remedy="add --aws real")
    with _writer(folder, plan, resume, cloud) as (plan, writer):
        run_id = writer.manifest.run_id
        _announce(plan, run_id, resumed=resume is not None)
        _tell_ceilings(plan)
        sizes = disk.known_sizes(plan, folder)
        if resume is None:
            _tell_estimate(plan, writer, folder)
            disk.tell_needed(plan, sizes)
        disk.hold_to_budget()
        try:
            with (
                console.progress() as tell,
                depot.session(cloud=cloud, role=aws_role, anew="pull" not in plan.kept) as store,
            ):
                outcome = Trial(
                    plan,
                    writer,
                    METHODS,
                    store,
                    tell,
                    taken=stored.read_samples(writer.folder),
                    say=console.note,
                    sizes=sizes,
                    between=lambda: disk.let_go(store),
                ).carry_out()
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted; what run {run_id} has measured is kept", remedy=f"harness run --resume {run_id}"
            ) from None
        except EngineGone as error:
            raise EngineGone(
                f"{error.problem}; what run {run_id} has measured is kept",
                remedy=f"'harness engine start', then go on: harness run --resume {run_id}",
            ) from error
        except DiskFull as error:
            disk.hold_to_budget()
            raise DiskFull(
                f"{error.problem}; what run {run_id} has measured is kept",
                remedy=f"{error.remedy.removesuffix(' with --resume')}: harness run --resume {run_id}",
            ) from error
        writer.update(finished_at=_now(), digests=query.compact(writer.folder))
    applied = disk.hold_to_budget()
    _tell_outcome(run_id, writer.folder, outcome, folder, applied, as_json=as_json)
    if len(outcome.absent) == len(plan.models) * len(plan.lanes):
        why = next(iter(outcome.absent.values())).strip().splitlines()[0]
        raise MissingComponent(
            f"run {run_id} measured nothing, as no method can be used here: {why}",
            remedy="'harness doctor' says what each of them lacks on this machine",
        )
    return 1 if outcome.failed else 0


def _resumed_plan(results: Path, run_id: str | None) -> Plan:
    from harness.measure.plan import Plan
    from harness.store import runs

    assert run_id is not None
    return Plan.from_dict(runs.read_manifest(runs.folder_of(results, run_id)).plan)


@contextmanager
def _writer(
    results: Path, plan: Plan | None, resume: str | None, cloud: AccountKind
) -> Iterator[tuple[Plan, RunWriter]]:
    """The writer of a new run with ``plan``, or of the run to resume with its own."""
    from harness.measure import host
    from harness.measure.plan import Plan
    from harness.platforms import engine
    from harness.store import runs

    if plan is not None:
        with runs.create(results, _new_manifest(plan, cloud)) as writer:
            yield plan, writer
        return
    assert resume is not None
    with runs.resume(results, resume) as writer:
        if not host.same_machine(dict(writer.manifest.host), host.facts()):
            raise BadInput(
                "was measured on another machine, or with another Python; results of two are never pooled",
                key="--resume",
                value=resume,
                remedy="start a new run here",
            )
        if dict(writer.manifest.tools).get("aws", _CLOUDS["moto"]) != _CLOUDS[cloud]:
            raise BadInput(
                "was begun with the other account; values of the two are never pooled",
                key="--aws",
                value=cloud,
                remedy="give the --aws that it was begun with, or start a new run",
            )
        if "docker" in writer.manifest.tools:
            engine.expect()
        yield Plan.from_dict(writer.manifest.plan), writer


def _new_plan(
    models: tuple[str, ...],
    methods: tuple[str, ...],
    profile: ProfileName,
    *,
    rounds: int | None,
    builds: int | None,
    seed: int | None,
    parts: tuple[str, ...],
    options: tuple[str, ...],
    anew: bool,
) -> Plan:
    from harness.measure.plan import PROFILES, Plan
    from harness.methods import METHODS, variants
    from harness.metrics import CACHE_STATES, START_STATES
    from harness.spec import model as specs
    from harness.spec import reading

    for method in methods:
        if method not in METHODS:
            raise BadInput("is not a method", key="--method", value=method, remedy=reading.one_of(method, METHODS))
    found = [specs.find(name) for name in models or specs.sample_names()]
    names = [model.name for model in found]
    for name in names:
        if names.count(name) > 1:
            raise BadInput("is given twice", key="MODEL", value=name, remedy="results tell models apart by their names")
    chosen = PROFILES[profile]
    ids = tuple(method for method in METHODS if not methods or method in methods)
    labels = dict.fromkeys(variants.parse([option]).label for option in options)
    return Plan(
        models=tuple(names),
        methods=ids,
        profile=profile,
        rounds=rounds or chosen.rounds,
        most=rounds or chosen.most,
        builds=builds or chosen.builds,
        installs=chosen.installs,
        states=CACHE_STATES if chosen.node_cold else START_STATES,
        seed=seed if seed is not None else random.SystemRandom().randrange(2**31),
        folders={model.name: _place(model) for model in found},
        parts=tuple(part for part in PARTS if part in (parts or chosen.parts)),
        # Its starts are the steadiest, so what is left of a difference is the machine's.
        canary="" if not chosen.canary else "venv" if "venv" in ids else ids[0],
        variants=tuple(f"{method}:{label}" for label in labels if label != "default" for method in ids),
        every=1 if parts else chosen.every,
        night=datetime.now(UTC).toordinal(),
        kept=() if anew else chosen.kept,
    )


def _place(model: Model) -> str:
    from harness.spec import synthetic

    travels = model.folder.parent == paths.data("sample_models") or synthetic.is_generated(model.folder)
    return model.name if travels else str(model.folder)


def _new_manifest(plan: Plan, cloud: AccountKind) -> Manifest:
    from harness import tools
    from harness.measure import host
    from harness.store.records import SCHEMA_VERSION, Manifest

    now = datetime.now(UTC)
    return Manifest(
        schema_version=SCHEMA_VERSION,
        run_id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        created_at=_now(),
        finished_at=None,
        harness_version=__version__,
        plan=plan.as_dict(),
        host={**host.facts(), "load_at_start": host.load()},
        tools={
            "uv": tools.uv_version(),
            "pex": tools.version("pex"),
            "pip": tools.version("pip"),
            **_engine_version(),
            "aws": _CLOUDS[cloud],
        },
    )


def _engine_version() -> dict[str, str]:
    from harness.platforms import engine

    found, _ = engine.look()
    return {"docker": f"{found.version} ({found.kind})"} if found else {}


def _announce(plan: Plan, run_id: str, *, resumed: bool) -> None:
    builds = sum(len([*plan.builds_of(name)]) for name in plan.models)
    per_round = sum(len(next(plan.starts_of(name))[1]) for name in plan.models)
    rounds = f"{plan.rounds}" if plan.last == plan.rounds else f"{plan.rounds} to {plan.last}"
    states = " and ".join(state for state in plan.states if state != "node-cold")
    lines = [
        f"Run {run_id}{' (resumed)' if resumed else ''}: {', '.join(plan.models)}",
        f"  as {', '.join(plan.methods)}",
        f"  {plan.profile}: {builds} clean builds, {rounds} rounds of {per_round} starts ({states}), seed {plan.seed}",
    ]
    cells = {part: sum(one == part for name in plan.models for one, _ in plan.parts_of(name)) for part in plan.parts}
    if cells:
        lines.append("  " + ", ".join(f"{part} of {n} cells" for part, n in cells.items()))
    if plan.variants:
        lines.append("  also built with " + ", ".join(dict.fromkeys(v.partition(":")[2] for v in plan.variants)))
    console.note("\n".join(lines))


def _tell_ceilings(plan: Plan) -> None:
    from harness.spec import model as specs

    for name in plan.models:
        found = None
        with contextlib.suppress(BadInput):  # a model that can't be read any more is told where it is measured
            found = specs.find(plan.folders[name])
        if found is not None:
            console.note_ceilings(found)


def _tell_estimate(plan: Plan, writer: RunWriter, results: Path) -> None:
    """Say how long it will take, and put that into the manifest, so that it can be held against what it took."""
    from harness.measure import artifacts, estimate, sentinel
    from harness.methods import METHODS
    from harness.spec import model as specs
    from harness.store import runs

    past = []
    for place in dict.fromkeys((results, paths.data("results") / "reference")):
        for run_id in reversed(runs.run_ids(place)):
            with contextlib.suppress(HarnessError):
                told = runs.read_manifest(runs.folder_of(place, run_id))
                of_models = {
                    name: str(facts["framework"]) for name, facts in told.models.items() if "framework" in facts
                }
                past += [estimate.Past(run_id=run_id, steps=told.steps, frameworks=of_models)] if told.steps else []
            if len(past) >= _PAST_RUNS:
                break
    ready = {method for method in plan.methods if METHODS[method].check().ready}
    kept = {(model, method): artifacts.seem_kept(model, method) for model in plan.models for method in plan.methods}
    # The middle one: earlier runs are scaled by the mean of theirs, not by their best moment.
    now_s = median(sentinel.seconds() for _ in range(3))
    frameworks = {name: specs.find(plan.folders[name]).file.framework for name in plan.models}
    seconds = estimate.seconds(plan, past, ready=ready, kept=kept, frameworks=frameworks, sentinel_s=now_s)
    writer.update(timings={"estimated_s": round(seconds, 1)})
    by = f"by {len(past)} earlier run{'s' * (len(past) > 1)}" if past else "without an earlier run to go by"
    console.note(f"  Estimated to take {console.duration(seconds)}, {by}.")
    new = estimate.guessed(plan, past) if past else ()
    if new:
        console.note(f"  Never measured before, so guessed by other models: {', '.join(new)}.")


def _tell_outcome(
    run_id: str, folder: Path, outcome: Outcome, results: Path, applied: Applied, *, as_json: bool
) -> None:
    from harness.cli import evidence
    from harness.store import query

    share = outcome.own_s / outcome.wall_s if outcome.wall_s else 0.0
    found = query.evidences(results, run_id)
    if as_json:
        told: dict[str, Any] = {
            "run": run_id,
            "folder": str(folder),
            "failed": {"/".join(cell): why for cell, why in outcome.failed.items()},
            "absent": {"/".join(cell): why for cell, why in outcome.absent.items()},
            "unfit": {"/".join(cell): why for cell, why in outcome.unfit.items()},
            "timings": {"wall_s": outcome.wall_s, "own_s": outcome.own_s, "own_share": share, **outcome.spent_s},
            "cache": disk.as_dict(applied),
            "models": [evidence.as_dict(one) for one in found],
        }
        console.as_json(told)
        return
    for one in found:
        evidence.print_comparison(one)
    spent = ", ".join(f"{kind} {seconds:.0f} s" for kind, seconds in sorted(outcome.spent_s.items()))
    console.say(
        f"\nTook {outcome.wall_s:.0f} s: {spent}; the harness itself {outcome.own_s:.1f} s, {share:.1%} of the whole."
    )
    estimated_s = found[0].manifest.timings.get("estimated_s") if found else None
    if estimated_s:
        console.say(f"Estimated were {estimated_s:.0f} s: it took {outcome.wall_s / estimated_s:.2f} of that.")
    console.say(f"Kept in {folder}")
    if outcome.failed:
        console.say(f"{len(outcome.failed)} of the cells failed; see above.")
    if all(one.failure(method) for one in found for method in one.methods):
        console.say("Nothing was measured: there is nothing to recommend or to report on.")
        return
    first = found[0].model
    console.say(f"Next: harness recommend {first} --scenario edge-device; harness report --run {run_id}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


COMMANDS = (run,)
