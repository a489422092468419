"""Weights and payloads: what is not committed is trained on first use, checked, and kept by its inputs.

<cache>/weights/<key>/      what train.py wrote, under the digest of all that training can see
<cache>/payloads/<digest>/  what travels in an artifact: the predictor and its weights, nothing else
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath

from harness import ceiling, door, files, paths, process, tools, tree, usage
from harness.errors import BadInput, CheckFailure, HarnessError, ModelFailure
from harness.runtime import RUNNER
from harness.spec import environments
from harness.spec.lock import LOCK_NAME, lock
from harness.spec.locked import Lock
from harness.spec.model import LARGEST_BYTES, Model, answers_match, as_table

_NEVER_TRAVEL = {"model.toml", LOCK_NAME, ".gitignore"}
_PROSE = {".md", ".rst"}


@dataclass(frozen=True, kw_only=True)
class LockedModel:
    """A model with its lock and its payload: the folder of what travels, nothing else."""

    model: Model
    lock: Lock
    payload: Path
    digest: str


def locked(model: Model, *, extra: tuple[str, ...] = ()) -> LockedModel:
    """The model ready to be packaged: locked with ``extra``, weights there and checked.

    BadInput where a given file is not what ``model.toml`` says; ModelFailure where training fails.
    """
    found = lock(model, extra=extra)
    folder = payload(model, _weights(model))
    return LockedModel(model=model, lock=found, payload=folder, digest=folder.name)


def payload(model: Model, weights: Path) -> Path:
    """The folder of what travels, made once: every file of the model except training, examples and prose."""
    script = model.file.train.script if model.file.train else None
    skipped = {*_NEVER_TRAVEL, script, model.file.examples.path}

    def declared(relative: Path) -> bool:
        return any(artifact.holds(relative) for artifact in model.file.artifacts)

    wheels = PurePath(model.file.wheels) if model.file.wheels else None

    def travels(relative: Path) -> bool:
        if wheels is not None and relative.is_relative_to(wheels):
            return False
        hidden = any(part.startswith(".") or part == "__pycache__" for part in relative.parts)
        prose = len(relative.parts) == 1 and (relative.suffix in _PROSE or relative.name.startswith("LICEN"))
        return not hidden and not prose and relative.as_posix() not in skipped and not declared(relative)

    with process.temporary_folder("payload") as scratch, process.disk_full_named(scratch):
        new = scratch / "payload"
        _copy(model, new, travels)
        tree.copy(weights, new, keep=declared, at_most_bytes=_largest(model))
        place = paths.cache() / "payloads" / tree.digest(new)[:24]
        if not usage.used(place):
            place.parent.mkdir(exist_ok=True)
            with tools.alone(place.with_suffix(".lock")):
                if not usage.used(place):
                    usage.keep(new, place)
    return place


def _largest(model: Model) -> int:
    """How many bytes the model's files may have in all, holes counted."""
    return max(LARGEST_BYTES, model.file.resources.disk_mb * 2**20)


def _weights(model: Model) -> Path:
    """The folder that holds every declared artifact, checked."""
    if not all(artifact.present(model.folder) for artifact in model.file.artifacts):
        return _trained(model)
    _check_size(model, model.folder)
    for index, artifact in enumerate(model.file.artifacts):
        place, kind = model.folder / artifact.path, "folder" if artifact.is_folder else "file"
        size, _ = tree.size(place)
        if artifact.bytes is not None and size != artifact.bytes:
            raise BadInput(
                f"the {kind} has {size} bytes, not as many as given",
                file=model.folder / "model.toml",
                key=f"artifacts.{index}.bytes",
                value=artifact.bytes,
                remedy=f"restore {artifact.path}, or correct the number",
            )
        if artifact.sha256 is not None and (found := _sha256(place)) != artifact.sha256:
            raise BadInput(
                f"the {kind}'s sha256 is {found}, not the one given",
                file=model.folder / "model.toml",
                key=f"artifacts.{index}.sha256",
                value=artifact.sha256,
                remedy=f"restore {artifact.path}, delete it to have it trained again, or correct the sha256",
            )
    return model.folder


def _check_size(model: Model, folder: Path) -> None:
    """BadInput where the artifacts have too many bytes, before anybody reads them."""
    total = sum(tree.size(folder / artifact.path)[0] for artifact in model.file.artifacts)
    if total > _largest(model):
        raise BadInput(
            f"the weights have {total:,} bytes in all, and {_largest(model):,} are allowed",
            file=model.folder / "model.toml",
            key="resources.disk_mb",
            value=model.file.resources.disk_mb,
            remedy="raise it, or give smaller files",
        )


def _sha256(place: Path) -> str:
    """What ``sha256`` of an artifact means: of a file its contents', of a folder the tree's."""
    return tree.digest(place) if place.is_dir() else tree.sha256(place)


def _trained(model: Model) -> Path:
    train = model.file.train
    assert train is not None, "spec.model.read refuses a missing artifact without a [train] table"
    found = lock(model, extra=train.requirements)
    place = paths.cache() / "weights" / _training_key(model, found)
    if usage.used(place):
        return place
    with tools.alone(place.with_suffix(".lock")):
        if not usage.used(place):
            _train(model, found, place)
    return place


def _training_key(model: Model, found: Lock) -> str:
    """Everything that the weights depend on: all files that training sees, what it runs with, what is checked."""
    total = hashlib.sha256(found.digest.encode())
    size = 0
    for entry in files.walk(model.folder):
        if entry.kind == "folder" or not _seen_by_training(entry.relative):
            continue
        files.check_kind(entry.status.st_mode, entry.path)
        size += entry.status.st_size
        if size > _largest(model):
            raise BadInput(
                f"the files in it have more than {_largest(model):,} bytes",
                file=model.folder,
                remedy="raise resources.disk_mb in model.toml, or move out what training does not need",
            )
        with entry.open() as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        executable = bool(entry.status.st_mode & 0o100)
        total.update(os.fsencode(f"{entry.relative.as_posix()}\0{digest}\0{executable}\n"))
    # The table as it was read: a model that is imported or generated need not have it in its folder.
    total.update(json.dumps(as_table(model.file), sort_keys=True).encode())
    return f"{model.name}-{total.hexdigest()[:24]}"


def _seen_by_training(relative: Path) -> bool:
    return not relative.parts[0].startswith(".") and "__pycache__" not in relative.parts


def _train(model: Model, found: Lock, place: Path) -> None:
    train = model.file.train
    assert train is not None
    python = environments.installed(found)
    bounds = environments.bounds(model)
    with (
        process.temporary_folder("train", readable=True) as scratch,
        door.workspace(bounds.disk_bytes) as disk,
        process.disk_full_named(scratch),
    ):
        # A copy, so that the script can't change the model's folder, and sees the same path everywhere.
        _copy(model, scratch / "model", _seen_by_training)
        out, home = disk / "out", disk / "home"
        for folder in (out, home, *{(out / artifact.path).parent for artifact in model.file.artifacts}):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            done = door.run(
                [str(python), train.script, str(out)],
                bounds=bounds,
                shows=(scratch / "model", python.parent.parent),
                kept=(out, home),  # looked at below, where it can be said whose they are
                env=process.environment(home, **model.file.env),
                cwd=scratch / "model",
                timeout_s=ceiling.patience(train.timeout_s),
                kind="instances",
            )
        except process.TimedOut as error:
            raise ModelFailure(
                f"{model.name}: training did not end within {ceiling.patience(train.timeout_s):g} s",
                remedy="make it shorter, or raise train.timeout_s in model.toml",
            ) from error
        if done.returncode != 0:
            raise ModelFailure(
                f"{model.name}: {train.script} ended with exit code {done.returncode}:\n{_tail(done.output)}",
                remedy=f"mend {model.folder / train.script}{_held_back(model)}",
            )
        _take(model, out)
        _check_trained(model, out, python, scratch)
        place.parent.mkdir(exist_ok=True)
        tree.copy(out, scratch / "checked")
        usage.keep(scratch / "checked", place)


def runner_variables(folder: Path) -> dict[str, str]:
    """The environment variables with which Python finds the runner in ``folder``, whatever the model's own say."""
    return {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


def _copy(model: Model, target: Path, keep: Callable[[Path], bool]) -> None:
    """Copy what ``keep`` wants of the model's folder; BadInput for what cannot be copied: the folder is the user's."""
    try:
        tree.copy(model.folder, target, keep=keep, at_most_bytes=_largest(model))
    except CheckFailure as error:
        raise BadInput(error.problem, remedy=error.remedy) from error


def _take(model: Model, out: Path) -> None:
    """Make ours what training wrote: files and folders only, no more than it may write, on the disk and by its size."""
    allowed = model.file.resources.disk_mb * 2**20
    try:
        files.take_back(out, at_most_bytes=allowed, links="refuse")
        size, _ = tree.size(out)
        if size > allowed:
            raise CheckFailure(
                f"the files have {size:,} bytes, holes counted, and {allowed:,} are allowed",
                remedy="write less, or raise resources.disk_mb in model.toml",
            )
    except HarnessError as error:
        raise ModelFailure(f"{model.name}: what training wrote: {error.problem}", remedy=error.remedy) from error


def _check_trained(model: Model, out: Path, python: Path, scratch: Path) -> None:
    for artifact in model.file.artifacts:
        place = out / artifact.path
        if not artifact.present(out):
            raise ModelFailure(
                f"{model.name}: training ended without writing {artifact.path}",
                remedy="train.py is given the folder to write to as its first argument",
            )
        if artifact.verify == "sha256" and (found := _sha256(place)) != artifact.sha256:
            raise ModelFailure(
                f"{model.name}: trained {artifact.path} has sha256 {found}, model.toml says {artifact.sha256}",
                remedy='correct the sha256; where training is not bit-reproducible across machines, verify = "outputs"',
            )
    if any(artifact.verify == "outputs" for artifact in model.file.artifacts):
        _check_outputs(model, out, python, scratch)


def _check_outputs(model: Model, out: Path, python: Path, scratch: Path) -> None:
    """Load the trained weights in a process of their own, and hold its answers against the examples."""
    candidate = scratch / "candidate"
    tree.copy(payload(model, out), candidate)
    tree.copy(RUNNER, scratch / "harness_runner", keep=lambda relative: "__pycache__" not in relative.parts)
    home = scratch / "asked"
    home.mkdir()
    argv = [str(python), "-m", "harness_runner", "once", "--model", str(candidate)]
    try:
        done = door.run(
            [*argv, "--entrypoint", model.file.entrypoint],
            bounds=environments.bounds(model),
            shows=(scratch / "harness_runner", candidate, python.parent.parent),
            writes=(home,),
            env=process.environment(home, **{**model.file.env, **runner_variables(scratch)}),
            cwd=home,
            stdin=json.dumps({"inputs": list(model.examples.inputs)}),
            timeout_s=ceiling.bounded(model.file.resources).start_timeout_s,
            kind="instances",
        )
    except process.TimedOut as error:
        raise ModelFailure(
            f"{model.name}: the trained model did not answer within {model.file.resources.start_timeout_s:g} s",
            remedy="make it quicker, or raise resources.start_timeout_s in model.toml",
        ) from error
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        answer = {}
    if not answers_match(list(model.examples.outputs), answer.get("outputs"), model.file.examples.tolerance):
        raise ModelFailure(
            f"{model.name}: the trained model does not answer the examples as expected: "
            f"{answer.get('error') or 'other values'}",
            remedy="mend train.py, or the outputs in the examples",
        )


def _held_back(model: Model) -> str:
    """What to add to a remedy where the model has less memory than it asks for."""
    told = ceiling.bounded(model.file.resources).memory_told
    return f"; where it lacked memory: it {told}" if told else ""


def _tail(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines()[-12:])
