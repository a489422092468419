"""What a plain start of a model needs, found by tracing one.

It is kept in the cache, for each model, lock, interpreter and tracing script: ``<cache>/traces/<key>.json``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from dataclasses import replace

from harness import ceiling, files, paths, process, tree
from harness.errors import BadInput
from harness.methods import layout, rehearsal
from harness.methods.contract import Method, Traced
from harness.spec import environments
from harness.spec.lock import lock
from harness.spec.weights import LockedModel

_LARGEST_RECORD = 16 * 2**20
_DAMAGED = (BadInput, OSError, ValueError, TypeError, AttributeError, RecursionError)

_not_answered: set[str] = set()


def plainly(method: Method, locked: LockedModel) -> LockedModel:
    """The model with its own lock, without what the method adds."""
    return replace(locked, lock=lock(locked.model)) if method.REQUIREMENTS else locked


def key(locked: LockedModel) -> str:
    """24 hex digits that stand for the model, its lock and its interpreter."""
    python = locked.lock.python
    parts = [locked.digest, locked.model.digest, locked.lock.digest, str(python.path), python.version]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def of(locked: LockedModel) -> Traced:
    """What answering the examples needs, where nothing is packaged; ``locked`` is with the model's own lock.

    Found once, and kept. Nothing where the examples are not answered: that is asked anew by the next process.
    """
    script = tree.sha256(paths.PACKAGE / "resources" / "rehearsal" / "loaded.py")
    name = f"{key(locked)}-{script[:8]}"
    record = paths.cache() / "traces" / f"{name}.json"
    with contextlib.suppress(*_DAMAGED):
        table = json.loads(files.read_text(record, at_most=_LARGEST_RECORD))
        kept = Traced(**{kind: tuple(map(str, names)) for kind, names in table.items()})
        if set(table) == {one.name for one in dataclasses.fields(Traced)}:  # else it is of an earlier version
            return kept
    if name in _not_answered:
        return Traced()
    found = _taken(locked)
    if not found.modules:
        _not_answered.add(name)
        return found
    with process.disk_full_named(record):
        record.parent.mkdir(exist_ok=True)
        partial = record.with_name(f"{record.name}.partial")
        partial.write_text(json.dumps(dataclasses.asdict(found)), encoding="utf-8")
        partial.replace(record)
    return found


def _taken(locked: LockedModel) -> Traced:
    with (
        environments.at_hand(locked.lock) as python,
        process.temporary_folder("trace", readable=True) as scratch,
    ):
        sources = scratch / "sources"
        layout.write_sources(locked, sources, bytecode="unchecked-hash")
        allowed = ceiling.bounded(locked.model.file.resources)
        timeout_s = allowed.start_timeout_s + allowed.predict_timeout_s
        return rehearsal.traced(locked, python, sources, timeout_s=timeout_s)
