"""Commands that make things: a model folder, a lock, the private engine."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import click

from harness import paths
from harness.cli import console
from harness.errors import BadInput

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
        console.say(f"Wrote {file}: {len(locked)} packages.")


@click.group()
def engine() -> None:
    """A private Docker engine and base images, for when no engine is reachable."""


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

    started = engines.connect() if engines.status().engine else engines.start(tell)
    minor = interpreter.default().minor
    base, build_base = images.base(started, minor, say=tell), images.build_base(started, minor, say=tell)
    if as_json:
        console.as_json({"engine": dataclasses.asdict(started), "base": dataclasses.asdict(base)})
        return
    console.say(f"Docker engine: {started.kind}, version {started.version}, at {started.url}")
    console.say(f"Base image: {base.tag} ({base.source}), for building: {build_base.tag}")


@engine.command("stop")
@console.json_option
def engine_stop(as_json: bool) -> None:
    """Stop the private engine; its images stay in the cache."""
    from harness.platforms import engine as engines

    stopped = engines.stop()
    if as_json:
        console.as_json({"stopped": stopped})
    else:
        console.say("Stopped the private Docker engine." if stopped else "No private Docker engine was running.")


@engine.command("status")
@console.json_option
def engine_status(as_json: bool) -> int:
    """Say which engine answers; exit code 3 where none does."""
    from harness.platforms import engine as engines

    found = engines.status()
    if as_json:
        console.as_json(dataclasses.asdict(found))
    elif found.engine:
        console.say(f"Docker engine: {found.engine.kind}, version {found.engine.version}, at {found.engine.url}")
    else:
        console.say(found.reason)
    return 0 if found.engine else 3


COMMANDS = (init, lock, engine)
