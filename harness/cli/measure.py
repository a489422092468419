"""The command that measures: run."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness import __version__, paths
from harness.cli import aws, console
from harness.errors import BadInput, Interrupted

if TYPE_CHECKING:
    from harness.measure.plan import Plan, ProfileName
    from harness.measure.trial import Outcome
    from harness.platforms.aws import AccountKind
    from harness.spec.model import Model
    from harness.store.records import Manifest
    from harness.store.runs import RunWriter

_PROFILES = ("quick", "standard", "nightly")
_CLOUDS = {"moto": "a stand-in (moto)", "real": "the user's own account"}


@click.command()
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@click.option("--method", "methods", multiple=True, help="Measure this method only; may be given several times.")
@click.option(
    "--profile",
    type=click.Choice(_PROFILES),
    default="quick",
    show_default=True,
    help="How thoroughly: quick 8 rounds and 1 clean build, standard 15 and 3, nightly 25 and 5.",
)
@click.option("--rounds", type=click.IntRange(min=1), help="Rounds of starts, instead of the profile's.")
@click.option("--builds", type=click.IntRange(min=1), help="Clean builds of each cell, instead of the profile's.")
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
    measured is kept, and --resume goes on from there.
    """
    from harness.measure.trial import Trial
    from harness.methods import METHODS
    from harness.platforms import depot
    from harness.store import query
    from harness.store import runs as stored

    folder = paths.results(Path(results) if results else None)
    if resume is not None and (models or methods):
        raise BadInput("follows the plan of its run", key="--resume", remedy="leave out models and methods")
    plan = None if resume else _new_plan(models, methods, profile, rounds=rounds, builds=builds, seed=seed)
    if cloud == "real":
        aws.confirm(plan or _resumed_plan(folder, resume), role=aws_role, yes=yes)
    elif aws_role or yes:
        raise BadInput("is for --aws real", key="--aws-role" if aws_role else "--yes", remedy="add --aws real")
    with _writer(folder, plan, resume, cloud) as (plan, writer):
        run_id = writer.manifest.run_id
        _announce(plan, run_id, resumed=resume is not None)
        try:
            with console.progress() as tell, depot.session(cloud=cloud, role=aws_role, anew=plan.anew) as store:
                taken = stored.read_samples(writer.folder)
                outcome = Trial(plan, writer, METHODS, store, tell, taken=taken).carry_out()
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted; what run {run_id} has measured is kept", remedy=f"harness run --resume {run_id}"
            ) from None
        writer.update(finished_at=_now())
    query.compact(writer.folder)
    _tell_outcome(run_id, writer.folder, outcome, folder, as_json=as_json)
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
        yield Plan.from_dict(writer.manifest.plan), writer


def _new_plan(
    models: tuple[str, ...],
    methods: tuple[str, ...],
    profile: ProfileName,
    *,
    rounds: int | None,
    builds: int | None,
    seed: int | None,
) -> Plan:
    from harness.measure.plan import PROFILES, Plan
    from harness.methods import METHODS
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
    return Plan(
        models=tuple(names),
        methods=tuple(method for method in METHODS if not methods or method in methods),
        profile=profile,
        rounds=rounds or chosen.rounds,
        builds=builds or chosen.builds,
        seed=seed if seed is not None else random.SystemRandom().randrange(2**31),
        folders={model.name: _place(model) for model in found},
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
    from harness.errors import MissingComponent
    from harness.platforms import engine

    try:
        found = engine.connect()
    except MissingComponent:
        return {}
    return {"docker": f"{found.version} ({found.kind})"}


def _announce(plan: Plan, run_id: str, *, resumed: bool) -> None:
    cells = len(plan.models) * len(plan.methods)
    starts = cells * plan.rounds * len(plan.states)
    console.note(
        f"Run {run_id}{' (resumed)' if resumed else ''}: {', '.join(plan.models)}\n"
        f"  as {', '.join(plan.methods)}\n"
        f"  {plan.profile}: {cells * plan.builds} clean builds, {starts} cold starts "
        f"({plan.rounds} rounds, {' and '.join(plan.states)}), seed {plan.seed}"
    )


def _tell_outcome(run_id: str, folder: Path, outcome: Outcome, results: Path, *, as_json: bool) -> None:
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
    console.say(f"Kept in {folder}")
    if outcome.failed:
        console.say(f"{len(outcome.failed)} of the cells failed; see above.")
    first = found[0].model
    console.say(f"Next: harness recommend {first} --scenario edge-device; harness report --run {run_id}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


COMMANDS = (run,)
