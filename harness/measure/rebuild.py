"""Rebuilding after a change, with what tools and engines keep; and what must travel again when weights change.

The artifact is built once from empty caches, which are then kept, and once more after each of three changes of the
model. The first is a clean build like any other, and counts as one. The changes:

* *weights*: the largest file of weights is changed in a way that its format does not mind, so that it still loads;
* *code*: a comment is added to the predictor;
* *dependency*: a small package is added to what is locked. For a tool that installs wheels a new release of a package
  that is there already is the same work, but none is to be had offline. Locking again is in no build time.

The changes are made to copies. What is built is removed, with the caches, when all is known.
"""

from __future__ import annotations

import base64
import codecs
import hashlib
import os
import shutil
import time
import zipfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from harness import process, tree
from harness.errors import BuildFailure
from harness.measure import artifacts
from harness.measure.part import Part, Subject, Taken
from harness.methods import mending
from harness.methods.contract import Artifact, BuildOptions, Method, Sizes
from harness.metrics import State
from harness.spec import lock as locks
from harness.spec import pins
from harness.spec.lock import LOCK_NAME
from harness.spec.locked import Lock
from harness.spec.model import Model
from harness.spec.pins import Pin
from harness.spec.weights import LockedModel

_NAME, _MODULE = "harness-rebuild", "harness_rebuild"
# A local version label: no index takes one, so nobody can put another package of this name in its place.
_VERSION = "1+harness"
_HEAD_BYTES = 4096


def take(subject: Subject, state: State, replicate: int) -> Taken:
    """Wall seconds of the build after each change, and the bytes of the pieces that other weights made new."""
    method, locked, values, note = subject.method, subject.locked, dict[str, float](), ""
    with ExitStack() as stack:
        place = stack.enter_context(process.temporary_folder("rebuild", readable=True))
        (place / "tool-cache").mkdir(mode=0o755)
        asked = BuildOptions(tool_cache=place / "tool-cache", keep_cache=True)
        # Changed or not, it is built as the artifact was.
        options = artifacts.options(method, locked, asked)
        locked = mending.to_build(locked, options.mended)

        def built(changed: LockedModel, name: str) -> tuple[Artifact, float]:
            artifact, wall_s = _timed(method, changed, place / name, options)
            stack.callback(method.remove, artifact)
            return artifact, wall_s

        first, wall_s = built(locked, "first")
        build = artifacts.held_against(method, subject.locked, subject.artifact, first, wall_s)
        before = _sizes(subject, first)
        absent = "the model has no weights that could change"
        weights = with_other_weights(locked, place / "other-weights")
        if weights is not None:
            artifact, values["build_weights_s"] = built(weights, "weights")
            after = method.sizes(artifact, subject.depot)
            absent = after.packed_absent
            if not absent:
                values["update_bytes"] = float(travelling_again(before, after))
        _, values["build_code_s"] = built(with_other_code(locked, place / "other-code"), "code")
        another = with_another_dependency(locked, place / "other-lock")
        try:
            method.prepare(another.model)
        except BuildFailure as error:
            note = f"there is no build with another dependency: {error.problem}"
        else:
            _, values["build_dependency_s"] = built(another, "dependency")
    return Taken(values=values, absent=absent, note=note, build=build)


PART = Part(name="rebuild", title="rebuild after changes", closing="update_bytes", take=take, lasting=True)


def travelling_again(before: Sizes, after: Sizes) -> int:
    """The bytes of the pieces of an artifact ``after`` a change that the one ``before`` did not have."""
    return sum(size for digest, size in after.pieces.items() if digest not in before.pieces)


def _sizes(subject: Subject, first: Artifact) -> Sizes:
    """Of the first build; packing one that came out as the cell's own artifact did would give what is known of that."""
    if first.digest == subject.artifact.digest:
        return artifacts.sizes(subject.method, subject.locked, subject.artifact, subject.depot)
    return subject.method.sizes(first, subject.depot)


def _timed(method: Method, locked: LockedModel, workdir: Path, options: BuildOptions) -> tuple[Artifact, float]:
    workdir.mkdir(mode=0o755, exist_ok=True)
    begin = time.monotonic()
    with process.ledger.waiting_for("tools"):
        artifact = method.build(locked, workdir, options)
    return artifact, time.monotonic() - begin


# --- weights and code ----------------------------------------------------------------------------


def with_other_weights(locked: LockedModel, place: Path) -> LockedModel | None:
    """The model with other weights, its payload at ``place``; None where it has none.

    Where no file of weights is known to load with a change, one that nothing reads is put beside the largest: what
    travels has it in the same piece.
    """
    declared = locked.model.file.artifacts
    names = [file.relative_to(locked.payload) for file in tree.files(locked.payload)]
    weights = [name for name in names if any(artifact.holds(name) for artifact in declared)]
    if not weights:
        return None
    tree.copy(locked.payload, place)
    weights.sort(key=lambda name: ((place / name).stat().st_size, name), reverse=True)
    if not any(changed_as_it_loads(place / name) for name in weights):
        (place / weights[0]).with_name("changed.txt").write_text("changed\n")
    return _with_payload(locked, place)


def changed_as_it_loads(file: Path) -> bool:
    """Change a file of weights in a way that its format does not mind; False where none is known.

    A zip archive has a comment (APPNOTE.TXT 4.4.26); in ONNX's protocol buffer a text (``ModelProto.doc_string``,
    field 6) that is given once more replaces the first; pickles and NumPy's arrays end where they say, whatever
    follows; text may end with an empty line.
    """
    with file.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    if head.startswith(b"PK\x03\x04"):
        if not zipfile.is_zipfile(file):
            return False  # zipfile would put another archive behind it
        with zipfile.ZipFile(file, "a") as archive:
            archive.comment = b"changed"
        return True
    known = b"\n" if head.startswith((b"\x80", b"\x93NUMPY")) or _is_text(head) else b""
    more = b"\x32\x01\n" if file.suffix == ".onnx" else known
    with file.open("ab") as stream:
        stream.write(more)
    return bool(more)


def _is_text(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut off
    except UnicodeDecodeError:
        return False
    return b"\0" not in head


def with_other_code(locked: LockedModel, place: Path) -> LockedModel:
    """The model with one more comment in its predictor, its payload at ``place``."""
    tree.copy(locked.payload, place)
    with (place / locked.model.file.entrypoint).open("a", encoding="utf-8") as source:
        source.write("\n# changed\n")
    return _with_payload(locked, place)


def _with_payload(locked: LockedModel, place: Path) -> LockedModel:
    return replace(locked, payload=place, digest=tree.digest(place)[:24])


# --- a dependency --------------------------------------------------------------------------------


def with_another_dependency(locked: LockedModel, place: Path) -> LockedModel:
    """The model with one small package more, locked and at hand; what that needs lies below ``place``."""
    wheels, folder = place / "wheels", place / "model"
    for made in (wheels, folder / "wheels"):
        made.mkdir(parents=True)
    for wheel in locked.lock.wheels.iterdir():
        os.link(wheel, wheels / wheel.name)
    added = _write_wheel(wheels)
    file = locked.model.file
    # Beside each other as in any model's folder, for methods that lock for a package manager of their own.
    own = (locked.model.folder / file.wheels).glob("*.whl") if file.wheels else ()
    shutil.copyfile(added, folder / "wheels" / added.name)
    for wheel in own:
        tree.copy_file(wheel, folder / "wheels" / wheel.name, below=locked.model.folder)
    wanted = (*file.requirements, f"{_NAME}=={_VERSION}")
    model = replace(locked.model, folder=folder, file=replace(file, requirements=wanted, wheels="wheels"))
    lock = _with_wheel(locked.lock, model, added, place / "requirements.txt")
    (folder / LOCK_NAME).write_text(locks.travelling(lock, model))
    return replace(locked, model=model, lock=lock)


def _with_wheel(lock: Lock, model: Model, wheel: Path, requirements: Path) -> Lock:
    """The lock with one more line, as if the model's requirements had been locked again."""
    pin = Pin(line=f"{_NAME}=={_VERSION}", hashes=frozenset([tree.sha256(wheel)]))
    requirements.write_text(pins.render([*locks.read(lock.requirements, model), pin], model.file.requirements))
    return replace(
        lock,
        requirements=requirements,
        wheels=wheel.parent,
        digest=tree.sha256(requirements),
        packages=(*lock.packages, (_NAME, _VERSION)),
        wheel_bytes=lock.wheel_bytes + wheel.stat().st_size,
    )


def _write_wheel(folder: Path) -> Path:
    """A wheel with one module that nothing imports (packaging.python.org, "Binary distribution format")."""
    wheel, info = folder / f"{_MODULE}-{_VERSION}-py3-none-any.whl", f"{_MODULE}-{_VERSION}.dist-info"
    contents = {
        f"{_MODULE}.py": '"""Nothing."""\n',
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {_NAME}\nVersion: {_VERSION}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: harness\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in contents.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(text)}\n"
            archive.writestr(_entry(name), text)
        archive.writestr(_entry(f"{info}/RECORD"), f"{record}{info}/RECORD,,\n")
    return wheel


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)  # of 1980, so that the wheel is the same every time
    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    return entry
