"""Commands about models: models, check."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness import paths
from harness.cli import console

if TYPE_CHECKING:
    from harness.measure.needs import Needs
    from harness.measure.profile import Profile
    from harness.spec.model import Model


@click.command()
@click.argument("model", required=False)
@click.option("--synthetic", is_flag=True, help="List the generated models of the designed set as well.")
@click.option(
    "--plot",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw how the profiled models spread over what drives packaging: an SVG.",
)
@console.json_option
def models(model: str | None, synthetic: bool, plot: Path | None, as_json: bool) -> None:
    r"""List the models that travel with the harness, with what drives their packaging; with MODEL, explain one.

    What they bring along is known of those that have a profile: the reference results hold one of each model that
    travels, 'harness profile MODEL' makes one of any other.

    \b
    A name like synthetic-w128-f3000-i20 stands for a generated model: 128 MB of weights, a dependency of
    3000 modules, 20 million loop turns at import. Any numbers do.
    """
    from harness.spec import model as specs
    from harness.spec import synthetic as generated

    if model is not None:
        found = [specs.find(model)]
    else:
        names = [*specs.sample_names(), *((one.name for one in generated.DESIGNS) if synthetic else ())]
        found = [specs.find(name) for name in names]
    profiles = {one.name: _profile_of(one) for one in found}
    if plot is not None:
        _draw([known for known in profiles.values() if known is not None], plot)
    if as_json:
        console.as_json([_described(one, profiles[one.name]) for one in found])
    elif model is not None:
        _explain(found[0], profiles[found[0].name])
    else:
        _list(found, profiles)
    if plot is not None:
        console.note(f"Drew {plot}")


@click.command()
@click.argument("model")
@click.option("--fix", is_flag=True, help="Write the 'system_packages' that images lack into its model.toml.")
@console.json_option
def check(model: str, fix: bool, as_json: bool) -> None:
    """Try MODEL step by step before it is packaged: its folder, requirements, weights, and every example's answer.

    It runs as it will in every package: apart, without a network, within its 'resources'. What is wrong is named with
    the file, the key and what to do; what could be better comes last and does not fail the check.

    The system's libraries that it loads are looked for in base images as well as here. What they lack is named with
    its Debian package: --fix adds that to model.toml.
    """
    from harness import ceiling
    from harness.measure import checking
    from harness.measure.needs import on_target
    from harness.spec import model as models

    found = models.find(model)
    console.note_ceilings(found)
    done: list[checking.Step | checking.Advice] = []
    for one in checking.steps(found, say=console.note):
        done.append(one)
        if not as_json and isinstance(one, checking.Step):
            console.say(f"ok  {one.name:<16} {one.found}")
    advice = [one for one in done if isinstance(one, checking.Advice)]
    needs = next((one.needs for one in done if isinstance(one, checking.Step) and one.needs), None)
    written = _fixed(found, needs) if fix and needs else ""
    if written:
        advice = [one for one in advice if one.subject != checking.SYSTEM_PACKAGES]
    if as_json:
        steps = [{"name": one.name, "found": one.found} for one in done if isinstance(one, checking.Step)]
        held_back = ceiling.bounded(found.file.resources).told
        told = [dataclasses.asdict(one) for one in advice]
        system = dataclasses.asdict(needs) if needs else None
        record = {"model": found.name, "steps": steps, "advice": told, "ceiling": held_back, "system": system}
        console.as_json({**record, "written": written})
        return
    if needs and needs.idle:
        console.say(f"    no start loads  {', '.join(one.soname for one in needs.idle)}")
    target = on_target(needs) if needs else ""
    works = f"It works here, {target}" if target else "It works"
    console.say()
    console.say(f"{works}. What could be better:" if advice else f"{works}.")
    for one in advice:
        console.item(f"{one.subject}: {one.text}; {one.remedy}")
    if written:
        console.say(f"Wrote into {found.folder / 'model.toml'}: {written}")
    console.say()
    console.say(f"Next: harness run {model} --profile quick")


def _fixed(model: Model, needs: Needs) -> str:
    """The line that was written into model.toml; empty where nothing was lacking. BadInput for what nothing brings."""
    from harness.errors import BadInput
    from harness.measure import checking
    from harness.spec import fixing

    unknown = [one for one in needs.lacking if not one.package]
    if unknown:
        told = ", ".join(f"{one.soname} ({one.needed_by[0]})" for one in unknown)
        raise BadInput(
            f"images lack {told}, and {needs.unnamed or 'no Debian package brings it'}",
            file=model.folder / "model.toml",
            key=checking.SYSTEM_PACKAGES,
            remedy=checking.UNKNOWN_REMEDY,
        )
    return fixing.add_system_packages(model, needs.to_add) if needs.to_add else ""


def _profile_of(model: Model) -> Profile | None:
    from harness.measure import profile as profiles

    return profiles.find(model, paths.data("results") / "reference" / "profiles")


def _described(model: Model, profile: Profile | None) -> dict[str, Any]:
    file = model.file
    return {
        "name": model.name,
        "framework": file.framework,
        "family": file.family,
        "description": file.description,
        "licence": file.licence,
        "requirements": file.requirements,
        "system_packages": file.system_packages,
        "folder": str(model.folder),
        "profile": dataclasses.asdict(profile) if profile else None,
    }


_MEASURED = ("packages", "installed", "files", "weights", "import", "load", "memory")


def _list(found: list[Model], profiles: dict[str, Profile | None]) -> None:
    rows = []
    for model in found:
        known = profiles[model.name]
        measured = _shown(known) if known else ("-",) * len(_MEASURED)
        needs = " ".join(model.file.system_packages) or "none"
        rows.append((model.name, model.file.family, *measured, needs))
    console.blocks("", ("model", "family", *_MEASURED, "system packages"), rows)
    lacking = [name for name, known in profiles.items() if known is None]
    if lacking:
        console.say(f"Not profiled yet ('harness profile MODEL'): {', '.join(lacking)}")
    console.say("Installed: the closure of its dependencies. Import, load: medians, files in memory. Memory: resident.")
    console.say("'harness models MODEL' explains one. Any model folder works as well: 'harness init DIR' makes one.")


def _shown(known: Profile) -> tuple[str, ...]:
    from harness.report import numbers

    seconds = [known.median(quantity, "page-warm") for quantity in ("imports_s", "load_s")]
    memory = known.median("peak_resident_bytes", "page-warm")
    return (
        str(known.packages),
        numbers.shown(known.installed.total.bytes, "bytes"),
        f"{known.installed.total.files:,}",
        numbers.shown(known.weights.bytes, "bytes"),
        *("-" if one is None else numbers.shown(one, "s") for one in seconds),
        "-" if memory is None else numbers.shown(memory, "bytes"),
    )


def _explain(model: Model, known: Profile | None) -> None:
    file = model.file
    rows = [
        ("description", file.description),
        ("family", file.family),
        ("framework", file.framework),
        ("version", file.version),
        ("licence", file.licence or "not given"),
        ("requirements", ", ".join(file.requirements) or "none"),
        ("system packages", ", ".join(file.system_packages) or "none"),
        ("python", file.python),
        ("examples", str(len(model.examples.inputs))),
        ("may use", f"{file.resources.memory_mb} MiB of memory, {file.resources.start_timeout_s:g} s to start"),
    ]
    if known is not None:
        rows += list(zip(_MEASURED, _shown(known), strict=True))
    console.table("", (model.name, ""), rows)
    if known is None:
        console.say(f"What it brings along, and how it starts: harness profile {model.name}")


def _draw(profiles: list[Profile], file: Path) -> None:
    from harness.errors import BadInput
    from harness.report import spread

    if not profiles:
        raise BadInput("no model has a profile to draw", key="--plot", value=file, remedy="harness profile MODEL")
    picture = spread.svg(profiles)
    try:
        file.write_text(picture, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot be written: {error.strerror}", file=file, remedy="--plot names another file") from error


COMMANDS = (models, check)
