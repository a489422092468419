"""Commands that make things: a model folder, a lock, the private engine."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness import paths
from harness.cli import console
from harness.errors import BadInput

if TYPE_CHECKING:
    from harness.platforms.engine import Engine

_TEMPLATE = paths.PACKAGE / "resources" / "model_template"


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@console.json_option
def init(folder: Path, as_json: bool) -> None:
    """Make a model folder in DIR that runs as it is; fill in your own model then."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput("is there already and not empty", file=folder, remedy="name a folder that is not there yet")
    name = "".join(sign if sign.isalnum() and sign.isascii() else "-" for sign in folder.absolute().name.lower()).strip(
        "-"
    )[:64]
    try:
        shutil.copytree(_TEMPLATE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        spec = folder / "model.toml"
        spec.write_text(spec.read_text(encoding="utf-8").replace("my-model", name or "my-model"), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot be written: {error.strerror}", file=folder, remedy="name a folder of yours") from error
    if as_json:
        console.as_json({"folder": str(folder), "name": name, "files": sorted(p.name for p in folder.iterdir())})
        return
    console.say(f"Made {folder}: model.toml, predictor.py, examples.json, README.md.")
    console.say(f"It runs as it is:  harness run {folder} --profile quick")
    console.say("Then put your own model into predictor.py, and what it must answer into examples.json.")


@click.command()
@click.argument("model")
@console.json_option
def lock(model: str, as_json: bool) -> None:
    """Write MODEL's requirements.lock, so that everyone who has its folder gets the same packages."""
    from harness import files
    from harness.spec import lock as locking
    from harness.spec import model as models
    from harness.spec import pins

    found = models.find(model)
    file = found.folder / locking.LOCK_NAME
    if found.file.torch_backend:
        raise BadInput(
            "locks of PyTorch's own builds name files of one platform; they are made on each machine instead",
            file=found.folder / "model.toml",
            key="torch_backend",
            value=found.file.torch_backend,
            remedy="pin torch exactly in 'requirements'",
        )
    locked = locking.resolve(found, universal=True)
    files.write_whole(file, pins.render(locked, found.file.requirements))
    if as_json:
        console.as_json({"file": str(file), "packages": [pin.line for pin in locked]})
    else:
        sources = [pin.requirement.name for pin in locked if pin.source]
        built = f"; {len(sources)} built from source: {', '.join(sources)}" if sources else ""
        console.say(f"Wrote {file}: {len(locked)} packages{built}.")


@click.group()
def engine() -> None:
    """A private engine (Docker; for an ordinary user Podman) and base images, for when no engine is reachable."""


@engine.command("start")
@console.json_option
def engine_start(as_json: bool) -> None:
    """Start the private engine and make the base images; it runs until 'harness engine stop'."""
    from harness import interpreter
    from harness.platforms import engine as engines
    from harness.platforms import images

    last = ""

    def tell(text: str) -> None:
        nonlocal last
        if text.partition("(")[0] != last:
            last = text.partition("(")[0]
            console.note(text)

    there = engines.look()[0] is not None
    started = engines.connect() if there else engines.start(tell)
    minor = interpreter.default().minor
    base, build_base = images.base(started, minor, say=tell), images.build_base(started, minor, say=tell)
    if as_json:
        console.as_json({"started": not there, "engine": dataclasses.asdict(started), "base": dataclasses.asdict(base)})
        return
    console.say(_named(started))
    console.say("It ran before." if there else "It was started just now; 'harness engine stop' ends it.")
    console.say(f"Base image: {base.tag} ({base.source}), for building: {build_base.tag}")


@engine.command("stop")
@click.option("--wait", is_flag=True, help="Wait until nobody uses it any more, then stop it.")
@click.option("--force", is_flag=True, help="Stop it under whoever uses it: their runs wait for it, or end resumable.")
@console.json_option
def engine_stop(wait: bool, force: bool, as_json: bool) -> None:
    """Stop the private engine; its images stay in the cache. Exit code 1 where a process uses it.

    Whoever uses it does so until the process ends: 'harness engine status' lists them.
    """
    from harness.platforms import engine as engines

    if wait and force:
        raise BadInput("is the opposite of --wait", key="--force", remedy="give one of them")
    stopped = engines.stop_when_unused(console.note) if wait else engines.stop(force=force)
    if as_json:
        console.as_json({"stopped": stopped})
    else:
        console.say("Stopped the private engine." if stopped else "No private engine was running.")


@engine.command("status")
@console.json_option
def engine_status(as_json: bool) -> int:
    """Say which engine answers, and who uses the private one; exit code 3 where none answers."""
    from harness.platforms import engine as engines

    found = engines.status()
    if as_json:
        console.as_json(dataclasses.asdict(found))
    elif found.engine:
        console.say(_named(found.engine))
    else:
        console.say(found.reason)
    if not as_json and found.users:
        console.say("The private engine is used by:")
        for user in found.users:
            console.item(str(user))
    return 0 if found.engine else 3


def _named(found: Engine) -> str:
    rootless = ", rootless" if found.rootless else ""
    return f"{found.software} engine: {found.kind}, version {found.version}{rootless}, at {found.url}"


COMMANDS = (init, lock, engine)
