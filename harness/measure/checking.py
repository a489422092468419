"""Whether a model folder is whole and right, step by step, before it is packaged; and what could be better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from packaging.requirements import Requirement

from harness import door, tree
from harness.measure import plain, start
from harness.measure.start import limits_of
from harness.spec import environments, weights
from harness.spec.lock import LOCK_NAME
from harness.spec.model import Model
from harness.spec.weights import LockedModel

#: From which share of what it may use on a model is said to be near its limit.
_NEAR = 0.8

#: From how many bytes on a file is taken for weights, which should be declared.
_LARGE_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class Step:
    """Something that was tried and is right: what, and what was found."""

    name: str
    found: str


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Something that works and could be better: the key or file it is about, what is the matter, what to do."""

    subject: str
    text: str
    remedy: str


def steps(model: Model) -> Iterator[Step | Advice]:
    """Each step once it is done, then what could be better.

    What is wrong ends it: BadInput for a key or a file, BuildFailure for packages that can't be had, ModelFailure for a
    model that does not train, start, or answer its examples.
    """
    count = len(model.examples.inputs)
    yield Step(name="folder", found=f"model.toml, {model.file.entrypoint} and {_counted(count, 'example')}")
    locked = weights.locked(model)
    packages = len(locked.lock.packages)
    had = f"{_counted(packages, 'package')}, {_megabytes(locked.lock.wheel_bytes)}"
    if locked.lock.sources:
        names = ", ".join(source.name for source in locked.lock.sources)
        had += f"; {len(locked.lock.sources)} built from source: {names}"
    yield Step(name="requirements", found=had)
    payload_bytes, files = tree.size(locked.payload)
    yield Step(name="weights", found=f"{_counted(files, 'file')} travel, {_megabytes(payload_bytes)}")
    python = environments.installed(locked.lock)
    yield Step(name="environment", found=f"installed from {_counted(packages, 'wheel')}, without a network")
    with plain.laid_out(locked, python) as (method, installed):
        limits = limits_of(model)
        start.right_answers(method, installed, limits, model)
        apart = "as a user without rights, " if door.abilities().unprivileged_user else ""
        within = f"{apart}without a network, within {limits.memory_bytes / 2**20:.0f} MiB of memory"
        yield Step(name="answers", found=f"all of {_counted(count, 'example')} right, {within}")
        taken = start.take(method, installed, limits, model, "page-warm")
        peak = taken.values.get("peak_resident_bytes")
        used = f", {peak / 1e6:.0f} MB of memory" if peak is not None else ""
        yield Step(name="again", found=f"started once more: right after {taken.values['cold_start_s']:.2f} s{used}")
    if taken.doubt:
        yield Advice(
            subject=model.file.entrypoint,
            text=f"will have no phases of a start: {taken.doubt}",
            remedy="leave the runner's own module and its clock to themselves",
        )
    yield from _advice(locked, taken.values)


def _advice(locked: LockedModel, used: Mapping[str, float]) -> Iterator[Advice]:
    model, file = locked.model, locked.model.file
    loose = [text for text in file.requirements if "==" not in str(Requirement(text).specifier)]
    if loose and not (model.folder / LOCK_NAME).is_file():
        yield Advice(
            subject="requirements",
            text=f"{', '.join(loose)} may be another version tomorrow",
            remedy=f"pin it ('=='), or write {LOCK_NAME}: harness lock {model.folder}",
        )
    if file.family == "unspecified":
        yield Advice(
            subject="family",
            text="is not given",
            remedy="name the kind of model (trees, neural, ...): a calibration is tested on kinds that it has not seen",
        )
    if not file.licence:
        yield Advice(subject="licence", text="is not given", remedy="say whose data and weights these are")
    if len(model.examples.inputs) == 1:
        yield Advice(subject=file.examples.path, text="has one example", remedy="add some that differ")
    elif all(output == model.examples.outputs[0] for output in model.examples.outputs):
        yield Advice(
            subject=file.examples.path,
            text="has one answer to every input, which a broken model may give as well",
            remedy="add an input that is answered differently",
        )
    for path in tree.files(locked.payload):
        relative = path.relative_to(locked.payload)
        if path.stat().st_size > _LARGE_BYTES and not any(one.holds(relative) for one in file.artifacts):
            yield Advice(
                subject=relative.as_posix(),
                text="travels along, but is not declared: nobody notices when it changes",
                remedy=f'[[artifacts]] with path = "{relative}" and sha256 = "{tree.sha256(path)}"',
            )
    allowed, peak_bytes = limits_of(model), used.get("peak_resident_bytes", 0)
    if peak_bytes > _NEAR * allowed.memory_bytes:
        yield Advice(
            subject="resources.memory_mb",
            text=f"is nearly reached: {peak_bytes / 2**20:.0f} of {allowed.memory_bytes / 2**20:.0f} MiB",
            remedy="raise it",
        )
    if used["cold_start_s"] > _NEAR * allowed.start_timeout_s:
        yield Advice(
            subject="resources.start_timeout_s",
            text=f"is nearly reached: {used['cold_start_s']:.1f} of {allowed.start_timeout_s:g} s",
            remedy="raise it; a busy machine is slower",
        )


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.3g} MB"
