"""Warm load: one instance, asked in a declared pattern of arrivals, each latency from the intended time of sending.

The patterns are named after those of MLCommons' LoadGen where they are the same:

``single-stream``  the next query is sent when the last one is answered (SingleStream)
``poisson``        queries arrive at random, at half of the rate that this very instance could answer (Server)
``saturation``     eight queries are always outstanding, so that the instance never waits
``batch``          as single stream, with queries of 32 inputs each (MultiStream)

An instance answers one query at a time over one connection: that is what the runner offers, and a function's
instance by its platform's rules. What is due while another is answered waits on our side, and that wait counts:
the send time of a query is the one that its pattern intended, so a stall is felt by every query that fell into it
(no coordinated omission). Under saturation the latency therefore is of a full queue, and the throughput is the
capacity; what a server would gain by answering several at once is not seen.

Why the generator is our own: LoadGen (mlcommons-loadgen 6.0.17, tried on 2026-11-23) was the one to take, for its
patterns are ours and it is 2 MB. But its wheels leave out Linux on ARM and Python 3.14; an exception, such as an
interrupt, that passes through its callback ends the whole process (SIGABRT, SIGSEGV); its Python binding has no
hard cap of time, so that a model that hangs cannot be given up; and to keep its schedule it needs a second thread,
whose hand-over added 0.04 to 0.13 ms to the median, as much as a small model takes (spam-bayes as venv: 0.06 ms under
ours, 0.10 under LoadGen). wrk, k6 and locust speak HTTP over TCP, where most instances have a Unix socket or a network
namespace of their own, and don't know a right answer from a wrong one.

The process is the replicate (docs/methodology.md): queries of one process are not independent of each other. So
what is given are *that process's* percentiles, each only where the process answered enough queries for it
(:data:`harness.bootstrap.FEWEST`); an interval is of several processes.
"""

from __future__ import annotations

import contextlib
import gc
import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from harness import process
from harness.bootstrap import FEWEST
from harness.errors import ModelFailure
from harness.measure.part import Part, Subject, Taken
from harness.methods.contract import Instance, Limits
from harness.methods.messages import longest_bytes, shown
from harness.metrics import ARRIVALS, PERCENTILES, State
from harness.spec.model import Json, Model, answers_match

#: Inputs in a query of the batch pattern.
BATCH = 32

#: Queries that are always outstanding under saturation.
OUTSTANDING = 8

#: The rate of Poisson arrivals, as a share of what the instance could answer.
LOAD_SHARE = 0.5

#: How long an instance is left alone before each query that says what it could answer. Asked without a pause a small
#: model answers more than twice as fast as when it has to be woken (spam-bayes as rest-api: 0.5 ms, 1.2 ms), so half
#: of that rate would be no rest for it at all.
_REST_S = 0.001

#: How much of JSON waits to be judged: what an instance says that never answers the same must not pile up.
_KEPT_BYTES = 4 * 2**20

#: How long before a query is due sleeping ends and watching the clock begins: a sleep of Linux ends 0.06 to 0.1 ms
#: late, which would be taken for the instance's.
_WATCH_S = 0.0003


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How long to ask: ``seconds``, then on until there are ``fewest`` queries, but never beyond ``cap_s``.

    The query that is being answered when the cap is reached is waited for, as long as the model's limits let it.
    """

    seconds: float
    fewest: int
    cap_s: float

    def reached(self, elapsed_s: float, queries: int) -> bool:
        """Whether it is enough."""
        return elapsed_s >= self.cap_s or (elapsed_s >= self.seconds and queries >= self.fewest)


#: What is asked before anything counts: caches fill, lazy imports are done.
WARM_UP = Bounds(seconds=0.25, fewest=3, cap_s=2.0)

#: How the rate of Poisson arrivals is found.
PROBE = Bounds(seconds=0.5, fewest=5, cap_s=4.0)

#: What counts.
MEASURED = Bounds(seconds=2.0, fewest=FEWEST[50], cap_s=20.0)


@dataclass(frozen=True, kw_only=True)
class Driven:
    """What came of a pattern: the latency of each query in seconds; infinite where it was due and never sent."""

    latencies_s: Sequence[float]
    elapsed_s: float

    @property
    def answered(self) -> int:
        """How many queries have an answer."""
        return sum(map(math.isfinite, self.latencies_s))

    @property
    def per_second(self) -> float:
        """Answered queries per second."""
        return self.answered / self.elapsed_s

    def percentiles(self) -> dict[str, float]:
        """Those that there are enough queries for, and that are not among the queries never sent.

        By nearest rank, without interpolation: each is a latency that a query had.
        """
        ordered = sorted(self.latencies_s)
        supported = [percentile for percentile in PERCENTILES if len(ordered) >= FEWEST[percentile]]
        found = {percentile: ordered[math.ceil(len(ordered) * percentile / 100) - 1] for percentile in supported}
        return {f"latency_p{percentile}_s": value for percentile, value in found.items() if math.isfinite(value)}


@dataclass(kw_only=True)
class Asker:
    """Sends queries of ``size`` inputs, the model's examples over and over, and keeps the answers to be judged later.

    Judging takes time that is not the instance's; answers that are the same as before are not kept again, and of the
    others no more than some.
    """

    instance: Instance
    model: Model
    size: int = 1
    most_kept: int = 1
    _last: dict[int, list[Json]] = field(default_factory=dict)
    _kept: list[tuple[int, list[Json]]] = field(default_factory=list)

    def ask(self, number: int) -> float:
        """Ask the query of this number; when its answer was there, on the monotonic clock."""
        first = number * self.size % len(self.model.examples.inputs)
        inputs = self._pick(self.model.examples.inputs, first)
        outputs = self.instance.predict(inputs)
        answered_s = time.monotonic()
        if outputs != self._last.get(first):
            self._last[first] = outputs
            self._kept.append((first, outputs))
            if len(self._kept) >= self.most_kept:
                self.judge()
        return answered_s

    def judge(self) -> None:
        """ModelFailure where an answer was wrong."""
        tolerance = self.model.file.examples.tolerance
        for first, outputs in self._kept:
            expected = self._pick(self.model.examples.outputs, first)
            if not answers_match(expected, outputs, tolerance):
                raise ModelFailure(
                    f"an answer under load is wrong: {shown(outputs)} instead of {shown(expected)} "
                    f"(from inputs[{first}] on)",
                    remedy="mend the model: alone it answers right, query after query it doesn't",
                )
        self._kept.clear()

    def _pick(self, values: Sequence[Json], first: int) -> list[Json]:
        return [values[(first + offset) % len(values)] for offset in range(self.size)]


def take(subject: Subject, state: State, replicate: int) -> Taken:
    """Load one instance with the pattern ``state``; ModelFailure where it fails or answers wrongly."""
    limits = subject.limits
    with process.ledger.waiting_for("instances"), subject.method.start(subject.installed, limits) as instance:
        asker = Asker(instance=instance, model=subject.model, most_kept=_most_kept(limits, 1))
        asker.ask(0)
        warm = keep_asking(asker.ask, 1, WARM_UP)
        alone_s = 1 / warm.per_second
        if state == "batch":
            if alone_s * BATCH > limits.predict_timeout_s:
                return Taken(
                    absent=f"{BATCH} inputs at {alone_s:.3g} s each are more than the {limits.predict_timeout_s:g} s "
                    "that one query may take (resources.predict_timeout_s)"
                )
            asker.judge()
            kept = _most_kept(limits, BATCH)
            asker = Asker(instance=instance, model=subject.model, size=BATCH, most_kept=kept)
            keep_asking(asker.ask, 1, WARM_UP)
        rate = LOAD_SHARE / _woken_s(asker.ask, alone_s) if state == "poisson" else 0.0
        before = instance.usage()
        with _undisturbed():
            if state == "poisson":
                driven = keep_time(asker.ask, arrivals(rate, replicate, MEASURED), MEASURED)
            else:
                driven = keep_asking(asker.ask, OUTSTANDING if state == "saturation" else 1, MEASURED)
        after = instance.usage()
        asker.judge()
    values = driven.percentiles()
    predictions = driven.answered * asker.size
    if before.cpu_s is not None and after.cpu_s is not None and after.cpu_s > before.cpu_s:
        values["cpu_per_prediction_s"] = (after.cpu_s - before.cpu_s) / predictions
    # Last, because it closes the step in the store.
    values["throughput_per_s"] = driven.per_second * asker.size
    note = f"{_described(state, driven, rate)}; usage by {after.source}"
    return Taken(values=values, note=note, fidelity=subject.installed.start_fidelity)


def _most_kept(limits: Limits, size: int) -> int:
    """How many answers may wait to be judged."""
    return max(1, _KEPT_BYTES // longest_bytes(limits, size))


def keep_asking(ask: Callable[[int], float], outstanding: int, bounds: Bounds) -> Driven:
    """Ask without a pause: as soon as one query is answered another arrives, so ``outstanding`` are always there."""
    begin = time.monotonic()
    waiting = deque([begin] * outstanding)
    latencies: list[float] = []
    while True:
        answered = ask(len(latencies))
        latencies.append(answered - waiting.popleft())
        if bounds.reached(answered - begin, len(latencies)):
            return Driven(latencies_s=latencies, elapsed_s=answered - begin)
        waiting.append(time.monotonic())


def keep_time(ask: Callable[[int], float], schedule: Sequence[float], bounds: Bounds) -> Driven:
    """Ask at the times of the ``schedule`` (seconds from now), or as soon after as the answer before is there.

    Where the cap is reached first, the queries that were due by then and not sent have an infinite latency: to leave
    them out would hide the very stall that kept them waiting.
    """
    begin = answered = time.monotonic()
    latencies: list[float] = []
    for number, due_s in enumerate(schedule):
        _wait_until(begin + due_s)
        answered = ask(number)
        latencies.append(answered - begin - due_s)
        if answered - begin >= bounds.cap_s:
            break
    never = [due_s for due_s in schedule[len(latencies) :] if due_s <= answered - begin]
    return Driven(latencies_s=[*latencies, *[math.inf] * len(never)], elapsed_s=answered - begin)


def arrivals(rate: float, replicate: int, bounds: Bounds) -> list[float]:
    """When queries arrive, in seconds from now: a Poisson process of ``rate`` per second; one at least.

    The same replicate has the same arrivals in every cell, but for the rate.
    """
    source = random.Random(f"arrivals-{replicate}")
    at, found = 0.0, list[float]()
    while not bounds.reached(at, len(found)):
        at += source.expovariate(rate)
        found.append(at)
    return [at for at in found if at < bounds.cap_s] or [0.0]


def _woken_s(ask: Callable[[int], float], alone_s: float) -> float:
    """The mean time of a query that finds the instance at rest; ``alone_s`` is about that."""
    apart_s, times = 2 * alone_s + _REST_S, list[float]()
    while not PROBE.reached(len(times) * apart_s, len(times)):
        times.append(len(times) * apart_s)
    return fmean(filter(math.isfinite, keep_time(ask, times, PROBE).latencies_s))


def _wait_until(moment: float) -> None:
    while (left := moment - time.monotonic()) > 0:
        if left > _WATCH_S:
            time.sleep(left - _WATCH_S)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Without collections of our own garbage, which would be taken for the instance's."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _described(state: State, driven: Driven, rate: float) -> str:
    """What was asked, and what of it has no value and why."""
    how = {
        "single-stream": "one after another",
        "poisson": f"at {rate:.4g}/s, {LOAD_SHARE:.0%} of what it could answer",
        "saturation": f"with {OUTSTANDING} outstanding",
        "batch": f"of {BATCH} inputs, one after another",
    }[state]
    told = [f"{driven.answered} queries {how}"]
    never = len(driven.latencies_s) - driven.answered
    if never:
        told.append(f"{never} more were due and never sent within {MEASURED.cap_s:g} s")
    few = [f"p{percentile}" for percentile in PERCENTILES if len(driven.latencies_s) < FEWEST[percentile]]
    if few:
        told.append(f"too few for {', '.join(few)}")
    return "; ".join(told)


PART = Part(name="load", title="warm load", closing="throughput_per_s", states=ARRIVALS, take=take)
