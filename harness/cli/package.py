"""The command that leaves an artifact for whoever only wants the package: package."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness import __version__, files, settings
from harness.cli import console, disk
from harness.errors import BadInput, DoesNotFit, MissingComponent

if TYPE_CHECKING:
    from harness.measure.verdict import Known
    from harness.methods.contract import Artifact, Method, Sizes
    from harness.spec.model import Model
    from harness.spec.weights import LockedModel

#: The file that says what is in a package, and that one is whole.
RECORD = "package.json"
#: The largest record of a package that is read.
_LARGEST_RECORD = 16 * 2**20

#: The version of that file's format.
PACKAGE_VERSION = 1


@click.command()
@click.argument("model")
@click.option("--method", "method_id", required=True, help="How to package it: a name that 'harness methods' lists.")
@click.option(
    "--out",
    "folder",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path),
    help="The folder to leave it in, made where it is not there.",
)
@click.option("--no-check", is_flag=True, help="Leave it without having tried whether it answers the examples right.")
@click.option("--force", is_flag=True, help="Replace what an earlier 'harness package' left in DIR.")
@console.json_option
def package(model: str, method_id: str, folder: Path, no_check: bool, force: bool, as_json: bool) -> None:
    """Package MODEL with one method and leave the artifact in DIR, with a README on how to use it.

    It is started once and asked every example before it is left there; exit code 1 where an answer is wrong, or
    where it is beyond a limit of its platform. What it needs of its target is read from its files and told.
    """
    from harness.measure import artifacts, room, verdict
    from harness.methods import METHODS
    from harness.platforms import depot
    from harness.spec import model as models
    from harness.spec import reading, weights

    disk.check_settings()
    if method_id not in METHODS:
        raise BadInput("is not a method", key="--method", value=method_id, remedy=reading.one_of(method_id, METHODS))
    method, found = METHODS[method_id], models.find(model)
    place = Path(os.path.realpath(settings.path(str(folder), key="FOLDER")))
    replaced = _what_is_replaced(place, force=force)
    available = method.check()
    if not available.ready:
        raise MissingComponent(f"{method_id} can't be used here: {available.reason}", remedy=available.remedy)
    console.note(f"Packaging {found.name} as {method_id}")
    console.note_ceilings(found)
    method.prepare(found)
    locked = weights.locked(found, extra=method.REQUIREMENTS)
    size = room.guessed(locked)
    room.check(f"package {found.name}", size.stays if artifacts.cached(method, locked) else size.stays + size.build)
    artifact = artifacts.up_to_date(method, locked)
    if "mended" in artifact.facts:
        console.note(f"It was mended so that it answers: {artifact.facts['mended']}")
    with depot.session() as store:
        sizes = artifacts.sizes(method, locked, artifact, store)
        beyond = artifacts.beyond_limits(method, sizes)
        if beyond and not no_check:
            raise DoesNotFit(f"does not fit: {'; '.join(beyond)}", remedy="--no-check leaves it all the same")
        if not no_check:
            console.note("Asking it every example")
            _right_answers(method, artifact, found, store)
    known = verdict.known(method, locked, artifact, say=console.note)
    with _unfinished(place) as unfinished:
        made = _Package(method=method, locked=locked, artifact=artifact, sizes=sizes, known=known, checked=not no_check)
        written = made.write(unfinished)
        _move(unfinished, place, written, replaced)
    record = json.loads((place / RECORD).read_text(encoding="utf-8"))
    applied = disk.hold_to_budget()
    if as_json:
        console.as_json({"folder": str(place), **record, "cache": disk.as_dict(applied)})
        return
    for text in beyond:
        console.note(f"Mind: does not fit: {text}")
    for name, file in record["files"].items():
        console.say(f"{file['bytes']:>15,} bytes  {name}")
    console.say(f"Needs: {', '.join(verdict.on_target(known))}.")
    if lacking := verdict.lacking(known):
        console.say(f"Works here, needs {', '.join(lacking)} on the target.")
    for text in known.carried.unread:
        console.note(f"Mind: not all of it could be read: {text}")
    console.say(f"Left in {place}; README.md says how to use it.")


def _right_answers(method: Method, artifact: Artifact, model: Model, store: Any) -> None:
    from harness import process
    from harness.measure import start
    from harness.measure.start import limits_of

    with process.temporary_folder("package", readable=True) as scratch:
        target = scratch / "target"
        target.mkdir(mode=0o755)
        start.right_answers(method, method.install(artifact, target, store), limits_of(model), model)


# --- what is in it -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Package:
    """What is known of a package before it is written."""

    method: Method
    locked: LockedModel
    artifact: Artifact
    sizes: Sizes
    known: Known
    checked: bool

    def write(self, folder: Path) -> list[str]:
        """Put everything into ``folder``; the files' names, the record last."""
        from harness.cli import manuals

        model = self.locked.model
        manual = manuals.MANUALS[self.method.ID]
        travelling = [name.format(model=model.name) for name in manual.files]
        self._travelling(folder, travelling)
        example = {"inputs": model.examples.inputs[:1], "outputs": model.examples.outputs[:1]}
        _write_json(folder / "request.json", {manual.asked: example["inputs"]})
        _write_json(folder / "expected.json", {manual.answered: example["outputs"]})
        record = self.record(folder, [*travelling, "request.json", "expected.json"])
        (folder / "README.md").write_text(manuals.readme(record, manual), encoding="utf-8")
        record["files"]["README.md"] = _described(folder / "README.md")
        (folder / RECORD).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return [*record["files"], RECORD]

    def _travelling(self, folder: Path, names: Sequence[str]) -> None:
        """Copy the artifact in the form in which it travels, under these names: an image's is the first."""
        from harness.methods import hosted

        artifact = self.artifact
        if artifact.image is not None:
            save_image(artifact.image, folder / names[0])
        if artifact.path is not None and artifact.path.is_dir():
            # A method whose folder travels otherwise than as a tar.gz has a function of that name itself.
            archived = getattr(self.method, "archive_of", hosted.archive_of)
            shutil.copyfile(archived(artifact), folder / names[-1])
        elif artifact.path is not None:
            shutil.copyfile(artifact.path, folder / names[-1])
            (folder / names[-1]).chmod(0o755 if os.access(artifact.path, os.X_OK) else 0o644)

    def record(self, folder: Path, names: Sequence[str]) -> dict[str, Any]:
        """What ``package.json`` says."""
        from harness.measure import artifacts, verdict

        model, method = self.locked.model, self.method
        return {
            "package_version": PACKAGE_VERSION,
            "made_by": f"harness {__version__}",
            "model": {
                "name": model.name,
                "version": model.file.version,
                "description": model.file.description,
                "framework": model.file.framework,
                "licence": model.file.licence,
                "payload": self.locked.digest,
            },
            "method": {
                "id": method.ID,
                "family": method.FAMILY,
                "layers": dataclasses.asdict(method.LAYERS),
                "target_must_have": sorted(method.REQUIRES),
                "gives": sorted(method.PROVIDES),
            },
            "artifact": {
                "digest": self.artifact.digest,
                "image": self.artifact.image,
                "facts": dict(self.artifact.facts),
            },
            "built_on": {
                "system": platform.system(),
                "machine": platform.machine(),
                "libc": " ".join(platform.libc_ver()),
                "python": self.locked.lock.python.version,
            },
            "needs": {
                "target": verdict.on_target(self.known),
                "packages": verdict.lacking(self.known),
                **dataclasses.asdict(self.known.carried),
            },
            "packages": [f"{name}=={version}" for name, version in self.locked.lock.packages],
            "built_from_source": self.locked.lock.built_from_source,
            "sizes": dataclasses.asdict(self.sizes),
            "limits": [dataclasses.asdict(limit) for limit in method.LIMITS],
            "beyond_limits": artifacts.beyond_limits(method, self.sizes),
            "examples_answered_right": len(model.examples.inputs) if self.checked else None,
            "files": {name: _described(folder / name) for name in names},
        }


def save_image(image: str, file: Path) -> None:
    """The image with its tag as ``docker load`` takes it, compressed."""
    from harness import process
    from harness.platforms import engine

    running = engine.connect()
    with (
        engine.asking(running, f"saving {image}") as asked,
        process.ledger.waiting_for("engine"),
        file.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as zipped,
    ):
        for chunk in asked.get_image(image):
            zipped.write(chunk)


def _described(file: Path) -> dict[str, Any]:
    from harness import tree

    return {"bytes": file.stat().st_size, "sha256": tree.sha256(file)}


def _write_json(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")


# --- where it is left ----------------------------------------------------------------------------


def _what_is_replaced(folder: Path, *, force: bool) -> list[str]:
    """The files of an earlier package that are in the way. BadInput where anything else is."""
    if not folder.exists():
        return []
    if not folder.is_dir():
        raise BadInput("is there already and no folder", file=folder, remedy="name a folder that is not there yet")
    there = sorted(entry.name for entry in folder.iterdir())
    if there and not force:
        remedy = "name a folder that is not there yet; --force replaces what an earlier 'harness package' left"
        raise BadInput("is there already and not empty", file=folder, remedy=remedy)
    strange = sorted(set(there) - _files_of_package(folder))
    if strange:
        remedy = "name a folder that is not there yet; --force deletes nothing that 'harness package' has not made"
        raise BadInput(f"holds what no package left: {', '.join(strange[:5])}", file=folder, remedy=remedy)
    return there


def _files_of_package(folder: Path) -> set[str]:
    """The names that the folder's own record lists; none where it has no such record."""
    try:
        table: Mapping[str, Any] = json.loads(files.read_text(folder / RECORD, at_most=_LARGEST_RECORD))
        return {*table["files"], RECORD} if "package_version" in table else set()
    except (BadInput, ValueError, TypeError, KeyError, RecursionError):
        return set()


@contextlib.contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """A folder on the same disk that is gone afterwards, also when the harness is killed."""
    from harness import process

    try:
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
        beside = folder if folder.is_dir() else folder.parent
        place = Path(tempfile.mkdtemp(prefix=".harness-package-", dir=beside))
    except OSError as error:
        raise BadInput(f"cannot be written: {error.strerror}", file=folder, remedy="name a folder of yours") from error
    with process.guarded(folder=str(place)), process.disk_full_named(folder):
        try:
            yield place
        finally:
            files.remove(place, ignore_errors=True)


def _move(unfinished: Path, folder: Path, names: Sequence[str], replaced: Sequence[str]) -> None:
    """Put the finished package where it belongs, wholly or not at all."""
    from harness import process

    with process.uninterrupted():
        if not folder.is_dir():
            unfinished.chmod(0o755)
            unfinished.rename(folder)
            return
        # The record goes first and comes last: where it is, the package is whole.
        for name in sorted(replaced, key=lambda name: name != RECORD):
            (folder / name).unlink()
        for name in names:
            (unfinished / name).rename(folder / name)


COMMANDS: tuple[Any, ...] = (package,)
