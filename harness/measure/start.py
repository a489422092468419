"""One cold start: from spawn to the first correct prediction, with phases and what was used."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import median

from harness import ceiling, files, process
from harness.errors import ModelFailure
from harness.measure import host, pages
from harness.methods.contract import LONGEST_BYTES, Installed, Instance, Limits, Method, Stamps, Usage
from harness.methods.messages import shown
from harness.metrics import PHASES, State
from harness.spec.model import Json, Model, answers_match

#: How many more requests a page-warm start is asked, one at a time, and for how long at most: their median is what a
#: warm request takes, with the process as its replicate. The first of them still fill caches, which a median passes by.
_REQUESTS = 25
_REQUESTS_S = 0.2

#: How many times as long as the longest expected output an answer may be: the same numbers can have more digits.
_ANSWER_FACTOR = 8


@dataclass(frozen=True, kw_only=True)
class ColdStart:
    """The values of one start by metric, and why they don't count, where they don't.

    In a start with a ``doubt`` what the instance says of its phases can't be true: they are not in the values. All
    others are the harness's own, ``cold_start_s`` too, and count.
    """

    values: Mapping[str, float]
    source: str
    dropped: str = ""
    doubt: str = ""


def take(method: Method, installed: Installed, limits: Limits, model: Model, state: State) -> ColdStart:
    """Start, ask for the first example, and stop. ModelFailure where no correct answer came."""
    dropped = make_cold(installed) if state == "disk-cold" else ""
    if state == "node-cold":
        empty_caches(installed)
    expected = [model.examples.outputs[0]]
    before = host.calm()
    with process.ledger.waiting_for("instances"), method.start(installed, limits) as instance:
        outputs = _answers(instance, model.examples.inputs[:1])
        answered_s = time.monotonic()
        around = host.calm().since(before)
        usage = instance.usage()
        stamps = instance.stamps()
        _hold(model, expected, outputs, "first")
        warm = {"warm_request_s": _warm_request_s(instance, model)} if state == "page-warm" else {}
    values = {**around, **warm, **_values(stamps, answered_s, usage)}
    return ColdStart(values=values, source=usage.source, dropped=dropped, doubt=stamps.doubt)


def right_answers(method: Method, installed: Installed, limits: Limits, model: Model) -> Mapping[str, str]:
    """Ask for every example; the instance's facts. ModelFailure where an answer is wrong."""
    with process.ledger.waiting_for("instances"), method.start(installed, limits) as instance:
        outputs = _answers(instance, model.examples.inputs)
        facts = instance.facts()
    tolerance = model.file.examples.tolerance
    pairs = zip(model.examples.outputs, outputs, strict=True)
    wrong = [(number, want, got) for number, (want, got) in enumerate(pairs) if not answers_match(want, got, tolerance)]
    if wrong:
        number, want, got = wrong[0]
        raise ModelFailure(
            f"{len(wrong)} of {len(outputs)} answers are wrong; "
            f"to inputs[{number}]: {shown(got)} instead of {shown(want)}",
            remedy="mend the model, or the outputs in its examples",
        )
    return facts


def limits_of(model: Model) -> Limits:
    """What an instance of the model may use: what its ``[resources]`` say, below this machine's ceiling."""
    allowed = ceiling.bounded(model.file.resources)
    return Limits(
        memory_bytes=allowed.memory_bytes,
        processes=allowed.processes,
        disk_bytes=allowed.disk_bytes,
        start_timeout_s=allowed.start_timeout_s,
        predict_timeout_s=allowed.predict_timeout_s,
        memory_told=allowed.memory_told,
        answer_bytes=_ANSWER_FACTOR * _longest(model.examples.outputs),
    )


def _longest(outputs: Sequence[Json]) -> int:
    """How many characters of JSON the longest of them has."""
    try:
        return max(len(json.dumps(output)) for output in outputs)
    except RecursionError:
        return LONGEST_BYTES  # whoever asks for it is told


def _answers(instance: Instance, inputs: Sequence[Json]) -> list[Json]:
    outputs = instance.predict(inputs)
    if len(outputs) != len(inputs):
        raise ModelFailure(f"answers wrongly: {len(outputs)} answers to {len(inputs)} inputs")
    return outputs


def _hold(model: Model, expected: list[Json], outputs: list[Json], which: str) -> None:
    if not answers_match(expected, outputs, model.file.examples.tolerance):
        raise ModelFailure(f"the {which} answer is wrong: {shown(outputs[0])} instead of {shown(expected[0])}")


def _warm_request_s(instance: Instance, model: Model) -> float:
    """The median seconds of the first example asked again, each time when the answer before is there."""
    taken: list[float] = []
    began_s = time.monotonic()
    while not taken or (len(taken) < _REQUESTS and time.monotonic() - began_s < _REQUESTS_S):
        sent_s = time.monotonic()
        outputs = _answers(instance, model.examples.inputs[:1])
        taken.append(time.monotonic() - sent_s)
        _hold(model, [model.examples.outputs[0]], outputs, "next")
    return median(taken)


def empty_caches(installed: Installed) -> None:
    """Remove what the artifact extracted for itself in earlier starts."""
    for cache in installed.extraction_caches:
        for entry in cache.iterdir():
            files.remove(entry)


def make_cold(installed: Installed) -> str:
    """Empty the extraction caches and evict the pages; why the start will not count, where it will not."""
    empty_caches(installed)
    apart = {*installed.own_paths, *installed.extraction_caches}
    fixed = tuple(path for path in installed.cold_paths if path not in apart)
    pages.evict(_files_of(fixed))
    left = pages.evict(_files_of(installed.own_paths))
    if left.share > pages.TOLERATED:
        with process.ledger.waiting_for("disk"):
            os.sync()  # what was just unpacked is still being written to the disk, and such pages stay
        left = pages.evict(_files_of(installed.own_paths))
    if left.share > pages.TOLERATED:
        return f"{left.share:.0%} of its pages stayed in memory"
    return ""


@lru_cache(maxsize=64)
def _files_of(paths: tuple[Path, ...]) -> tuple[str, ...]:
    """The files below an installed artifact, which don't change while it is there; walking them takes time."""
    return tuple(pages.files_below(paths))


def _values(stamps: Stamps, answered_s: float, usage: Usage) -> dict[str, float]:
    ends = (stamps.sandbox_s, stamps.interpreter_s, stamps.imports_s, stamps.weights_s, answered_s)
    begins = (stamps.spawned_s, *ends)
    found = {f"phase_{phase}_s": end - begin for phase, begin, end in zip(PHASES, begins, ends, strict=False)}
    if stamps.doubt:
        found = {}
    used = {
        "peak_memory_bytes": usage.peak_memory_bytes,
        "peak_resident_bytes": usage.peak_resident_bytes,
        "anonymous_bytes": usage.anonymous_bytes,
        "cpu_to_first_s": usage.cpu_s,
    }
    found |= {name: float(value) for name, value in used.items() if value is not None}
    # Last, because it closes the step in the store.
    return {**found, "cold_start_s": answered_s - stamps.spawned_s}
