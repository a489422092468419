"""Whether a model folder is whole and right, step by step, before it is packaged; and what could be better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from harness import door, tree
from harness.errors import ModelFailure
from harness.measure import idle, needs, plain, start, tracing
from harness.measure.idle import Package
from harness.measure.needs import Needs
from harness.measure.start import limits_of
from harness.methods.contract import Installed, Limits, Method
from harness.platforms.engine import Say
from harness.spec import environments, fixing, weights
from harness.spec.lock import LOCK_NAME
from harness.spec.model import Model
from harness.spec.weights import LockedModel

#: From which share of what it may use on a model is said to be near its limit.
_NEAR = 0.8

#: The key of model.toml, and the subject of advice, about libraries that images lack.
SYSTEM_PACKAGES = "system_packages"

#: What to do about a library that no package brings.
UNKNOWN_REMEDY = (
    "bring it in a wheel of your own ('wheels' in model.toml), or put it into the model's folder and load it from there"
)

#: From how many bytes on packages that are carried in vain are told of, and how many of them by name.
_IN_VAIN_BYTES = 5_000_000
_SHOWN = 5

#: From how many bytes on a file is taken for weights, which should be declared.
_LARGE_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class Step:
    """Something that was tried and is right: what, and what was found; for the last one, all of it."""

    name: str
    found: str
    needs: Needs | None = None


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Something that works and could be better: the key or file it is about, what is the matter, what to do."""

    subject: str
    text: str
    remedy: str


def steps(model: Model, *, say: Say = lambda _: None) -> Iterator[Step | Advice]:
    """Each step once it is done, then what could be better. ``say`` is told what takes long meanwhile.

    What is wrong ends it: BadInput for a key or a file, BuildFailure for packages that can't be had, ModelFailure for a
    model that does not train, start, or answer its examples.
    """
    count = len(model.examples.inputs)
    yield Step(name="folder", found=f"model.toml, {model.file.entrypoint} and {_counted(count, 'example')}")
    locked = weights.locked(model)
    number = len(locked.lock.packages)
    had = f"{_counted(number, 'package')}, {_megabytes(locked.lock.wheel_bytes)}"
    if locked.lock.sources:
        names = ", ".join(source.name for source in locked.lock.sources)
        had += f"; {len(locked.lock.sources)} built from source: {names}"
    yield Step(name="requirements", found=had)
    payload_bytes, files = tree.size(locked.payload)
    yield Step(name="weights", found=f"{_counted(files, 'file')} to package, {_megabytes(payload_bytes)}")
    python = environments.installed(locked.lock)
    yield Step(name="environment", found=f"installed from {_counted(number, 'wheel')}, without a network")
    with plain.laid_out(locked, python) as (method, installed):
        limits = limits_of(model)
        _right_answers(method, installed, limits, locked)
        apart = "as a user without rights, " if door.abilities().unprivileged_user else ""
        within = f"{apart}without a network, within {limits.memory_bytes / 2**20:.0f} MiB of memory"
        yield Step(name="answers", found=f"all of {_counted(count, 'example')} right, {within}")
        taken = start.take(method, installed, limits, model, "page-warm")
        peak = taken.values.get("peak_resident_bytes")
        used = f", {peak / 1e6:.0f} MB of memory" if peak is not None else ""
        yield Step(name="again", found=f"started once more: right after {taken.values['cold_start_s']:.2f} s{used}")
        assert installed.root is not None
        traced = tracing.of(locked)
        found = needs.of_model(locked, python, installed.root, traced, say=say)
        yield Step(name="system libraries", found=needs.summary(found), needs=found)
    if taken.doubt:
        yield Advice(
            subject=model.file.entrypoint,
            text=f"will have no phases of a start: {taken.doubt}",
            remedy="leave the runner's own module and its clock to themselves",
        )
    yield from _advice_on_system(model, found)
    if traced.modules:
        yield from _advice_on_idle(
            model, idle.packages(environments.site_packages(python.parent.parent, locked.lock.python), traced)
        )
    yield from _advice(locked, taken.values)


def _right_answers(method: Method, installed: Installed, limits: Limits, locked: LockedModel) -> None:
    """As :func:`harness.measure.start.right_answers`; a library that is not there is told with its Debian package."""
    try:
        start.right_answers(method, installed, limits, locked.model)
    except ModelFailure as error:
        lacking = needs.not_there(error.problem)
        package = needs.packages_for([lacking], locked.lock.python.minor).get(lacking)
        if package is None:
            raise
        raise ModelFailure(
            error.problem,
            remedy=f"'apt-get install {package}' for this machine, and in model.toml for images: "
            f"{fixing.line(locked.model, [package])}; a method that carries no system libraries needs it on the target",
        ) from error


def _advice_on_system(model: Model, found: Needs) -> Iterator[Advice]:
    lacking = [one for one in found.lacking if one.package]
    if lacking:
        sonames = ", ".join(f"{one.soname} ({one.needed_by[0]})" for one in lacking)
        yield Advice(
            subject=SYSTEM_PACKAGES,
            text=f"images lack {sonames}; it works here, {needs.on_target(found)}",
            remedy=f"'harness check --fix' writes {fixing.line(model, found.to_add)}",
        )
    for one in found.lacking:
        if not one.package:
            yield Advice(
                subject=one.soname,
                text=f"is in no base image, and {found.unnamed or 'no Debian package brings it'} ({one.needed_by[0]})",
                remedy=UNKNOWN_REMEDY,
            )
    if (found.of_target or found.perhaps) and not found.lacking:
        yield Advice(
            subject="system libraries",
            text=f"images have them; a method that carries none {needs.on_target(found)}",
            remedy="choose a method that carries system libraries, or have them installed there",
        )
    if found.unknown:
        yield Advice(
            subject="system libraries",
            text=f"{needs.packages_named(found.unknown)}: whether images have them is not known: {found.absent}",
            remedy="check again where Debian's archive is in reach",
        )
    for text in found.too_new:
        yield Advice(
            subject="requirements",
            text=f"native files need {text}: images can't start it",
            remedy="pin versions that have wheels for older systems (a lower manylinux number)",
        )
    for text in found.unread:
        yield Advice(subject="native files", text=f"makes no sense: {text}", remedy="leave that package out")


def _advice_on_idle(model: Model, found: Sequence[Package]) -> Iterator[Advice]:
    total = sum(one.size for one in found)
    for_gpus = sum(one.size for one in found if one.for_gpus)
    line = idle.line_without_gpus(found, model.file.requirements)
    if for_gpus > _IN_VAIN_BYTES and model.file.torch_backend is None:
        yield Advice(
            subject="requirements",
            text=f"{_megabytes(for_gpus)} of {_megabytes(total)} are libraries for GPUs, which no method here has",
            remedy=line or f"take a build for processors of {', '.join(idle.asking(found)) or 'what needs them'}",
        )
    untouched = [one for one in found if not one.touched and not one.for_gpus and one.size > _IN_VAIN_BYTES]
    if untouched:
        own = {canonicalize_name(Requirement(text).name) for text in model.file.requirements}
        named = [one.name for one in untouched if one.name in own]
        shown = ", ".join(f"{one.name} ({_megabytes(one.size)})" for one in untouched[:_SHOWN])
        more = f" and {len(untouched) - _SHOWN} more" if len(untouched) > _SHOWN else ""
        yield Advice(
            subject="requirements",
            text=f"no example makes a start load anything of {shown}{more}",
            remedy=f"leave {', '.join(named)} out, if no other input needs it"
            if named
            else "they come along with packages that ask for them: see whether those can do without",
        )


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
