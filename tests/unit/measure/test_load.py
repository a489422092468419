"""Warm load: patterns of arrivals, latencies from the intended time of sending, and what has no value."""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from harness.bootstrap import FEWEST
from harness.errors import ModelFailure
from harness.measure import load
from harness.measure.load import MEASURED, Bounds, Driven
from harness.measure.part import Subject
from harness.measure.sample import Cell
from harness.methods.contract import Artifact, Installed, Limits, Usage
from harness.metrics import ARRIVALS, METRICS

INSTALLED = Installed(artifact=Artifact(method="fake", model="tiny", digest="d"))
LIMITS = Limits(memory_bytes=1, processes=1, disk_bytes=1, start_timeout_s=60.0, predict_timeout_s=60.0)


class Clock:
    """Stands in for ``time``: looking at it takes a microsecond, and sleeping ends late."""

    LATE_S = 0.0001

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        """A little later at every look."""
        self.now_s += 1e-6
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """As Linux does."""
        self.now_s += seconds + self.LATE_S


class Instance:
    """Doubles numbers, in the time that ``takes(n)`` gives for the n-th query; a tenth of it is work of the CPU."""

    def __init__(self, clock: Clock, takes: Callable[[int], float]) -> None:
        self._clock, self._takes = clock, takes
        self.sizes: list[int] = []
        self.worked_s: float | None = 0.0

    def predict(self, inputs: Any) -> list[Any]:
        """As the model's examples have it."""
        seconds = self._takes(len(self.sizes))
        self.sizes.append(len(inputs))
        self._clock.now_s += seconds
        if self.worked_s is not None:
            self.worked_s += seconds / 10
        return self.answers([2 * value for value in inputs])

    def answers(self, outputs: list[Any]) -> list[Any]:
        """What it says instead: a test may replace this."""
        return outputs

    def usage(self) -> Usage:
        """What it worked so far."""
        return Usage(peak_memory_bytes=1, peak_resident_bytes=1, cpu_s=self.worked_s, source="cgroup-v2")


class Bench:
    """Loads an instance that answers as told, on a made-up clock."""

    def __init__(self, clock: Clock, model: Any) -> None:
        self.clock, self.model = clock, model
        self.running = 0
        self.instance = self.takes(lambda _: 0.001)

    def takes(self, seconds: Callable[[int], float]) -> Instance:
        """Have the n-th query take so long."""
        self.instance = Instance(self.clock, seconds)
        return self.instance

    @contextlib.contextmanager
    def start(self, installed: Any, limits: Any) -> Iterator[Instance]:  # noqa: ARG002
        """As a method does."""
        self.running += 1
        try:
            yield self.instance
        finally:
            self.running -= 1

    def take(self, state: Any, replicate: int = 0, installed: Installed = INSTALLED) -> Any:
        """As the trial does."""
        subject = Subject(
            cell=Cell(model="tiny", method="fake"),
            method=self,
            locked=SimpleNamespace(model=self.model),
            artifact=installed.artifact,
            installed=installed,
            limits=LIMITS,
            depot=None,
        )
        return load.take(subject, state, replicate)


def asking(instance: Instance, clock: Clock) -> Callable[[int], float]:
    """Asks it for one number; when the answer was there."""

    def ask(_number: int) -> float:
        instance.predict([1])
        return clock.monotonic()

    return ask


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time that passes only where it is told to."""
    made = Clock()
    monkeypatch.setattr(load, "time", made)
    return made


@pytest.fixture
def bench(clock: Clock, folder: Any) -> Bench:
    """The model of the folder: three numbers doubled."""
    return Bench(clock, folder.read())


# --- the patterns --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "latency_s", "per_s", "cpu_s"),
    [
        ("single-stream", 0.001, 1000.0, 0.0001),
        ("saturation", 0.008, 1000.0, 0.0001),
        ("batch", 0.001, 32000.0, 0.0001 / 32),
    ],
)
def test_a_pattern_without_pauses(bench: Bench, state: Any, latency_s: float, per_s: float, cpu_s: float) -> None:
    """Capacity is what one query takes; with eight outstanding each waits for the seven before it."""
    values = bench.take(state).values
    assert values["latency_p50_s"] == pytest.approx(latency_s, rel=0.01)
    assert values["latency_p99_s"] == pytest.approx(latency_s, rel=0.01)
    assert values["throughput_per_s"] == pytest.approx(per_s, rel=0.01)
    assert values["cpu_per_prediction_s"] == pytest.approx(cpu_s, rel=0.01)
    assert bench.running == 0


def test_poisson_arrivals_go_by_the_capacity_of_the_instance(bench: Bench) -> None:
    """Half of what it answers one after another; some queries meet another one, so the tail is longer."""
    taken = bench.take("poisson")
    assert "/s, 50% of what it could answer" in taken.note
    assert taken.values["throughput_per_s"] == pytest.approx(500.0, rel=0.1)
    assert taken.values["latency_p50_s"] < 0.0015
    # A single server with a fixed time of service at half load (M/D/1): the mean wait is half of that time.
    assert 0.002 < taken.values["latency_p95_s"] < 0.004
    assert taken.values["latency_p99_s"] > taken.values["latency_p95_s"]


def test_a_capacity_that_pauses_take_away_is_not_counted_on(bench: Bench, clock: Clock) -> None:
    """An instance that is quicker without a pause is not overrun by a rate that goes by that."""
    answered: list[float] = []

    def takes(_number: int) -> float:
        rested = not answered or clock.now_s - answered[-1] > 0.0001
        seconds = 0.001 if rested else 0.0004
        answered.append(clock.now_s + seconds)
        return seconds

    bench.takes(takes)
    assert bench.take("poisson").values["throughput_per_s"] == pytest.approx(500.0, rel=0.1)
    assert bench.take("single-stream").values["throughput_per_s"] == pytest.approx(2500.0, rel=0.01)


@pytest.mark.parametrize("state", ARRIVALS)
def test_what_is_given_is_declared_and_the_closing_metric_comes_last(bench: Bench, state: Any) -> None:
    """The store takes it, and a step that was cut off is taken again."""
    taken = bench.take(state)
    assert list(taken.values)[-1] == load.PART.closing
    assert all(state in METRICS[name].states for name in taken.values)
    assert taken.note.endswith("usage by cgroup-v2")


def test_queries_of_a_batch_have_the_declared_size(bench: Bench) -> None:
    """Warm-up included, once the time that one takes is known."""
    bench.take("batch")
    sizes = bench.instance.sizes
    first = sizes.index(load.BATCH)
    assert set(sizes[:first]) == {1}
    assert set(sizes[first:]) == {load.BATCH}


def test_an_instance_is_warm_before_it_counts(bench: Bench) -> None:
    """The first queries, which load what is loaded lazily, are in no value."""
    bench.takes(lambda number: 0.2 if number < 3 else 0.001)
    assert bench.take("single-stream").values["latency_p99_s"] == pytest.approx(0.001, rel=0.01)


def test_a_sleep_that_ends_late_is_not_the_instances(clock: Clock) -> None:
    """A query is sent when it is due, because the end of the wait is watched."""
    instance = Instance(clock, lambda _: 0.001)
    driven = load.keep_time(asking(instance, clock), [0.01 * number for number in range(8)], MEASURED)
    assert max(driven.latencies_s) < 0.001 + Clock.LATE_S / 10


def test_where_it_was_started_decides_what_it_is_worth(bench: Bench) -> None:
    """An instance on the platform itself is measured, whatever the method's stand-in would be."""
    there = Installed(artifact=INSTALLED.artifact, start_fidelity="measured")
    assert bench.take("single-stream", installed=there).fidelity == "measured"
    assert bench.take("single-stream").fidelity is None


# --- latencies from the intended time ------------------------------------------------------------


def test_a_stall_is_felt_by_all_that_were_due_in_it(clock: Clock) -> None:
    """No coordinated omission: one query of 300 stalls for a second, a third of them wait."""
    instance = Instance(clock, lambda number: 1.0 if number == 100 else 0.001)
    schedule = [0.01 * number for number in range(300)]
    driven = load.keep_time(asking(instance, clock), schedule, MEASURED)
    found = driven.percentiles()
    assert found["latency_p50_s"] == pytest.approx(0.001, rel=0.01)
    assert 0.7 < found["latency_p90_s"] < 0.75
    assert sum(latency > 0.002 for latency in driven.latencies_s) == pytest.approx(111, abs=1)


def test_what_was_never_sent_is_not_forgotten(clock: Clock) -> None:
    """Queries that were due when the time was up have waited without end; only those not due yet are left out."""
    instance = Instance(clock, lambda number: 30.0 if number == 8 else 0.001)
    schedule = [0.1 * number for number in range(500)]
    driven = load.keep_time(asking(instance, clock), schedule, MEASURED)
    assert driven.answered == 9
    assert len(driven.latencies_s) == pytest.approx(9 + 300, abs=1)
    assert driven.percentiles() == {}
    assert driven.per_second == pytest.approx(9 / 30.8, rel=0.01)


@pytest.mark.parametrize("queries", [1, 7, 8, 45, 46, 92, 93, 472, 473, 5000])
def test_a_percentile_wants_enough_queries(queries: int) -> None:
    """Fewer than the protocol's numbers give no value."""
    found = Driven(latencies_s=[0.1] * queries, elapsed_s=1.0).percentiles()
    assert list(found) == [f"latency_p{percentile}_s" for percentile, fewest in FEWEST.items() if queries >= fewest]


def test_a_percentile_is_a_latency_that_a_query_had() -> None:
    """The nearest rank, not something between two."""
    found = Driven(latencies_s=[float(number) for number in range(1000, 0, -1)], elapsed_s=1.0).percentiles()
    assert list(found.values()) == [500.0, 900.0, 950.0, 990.0]


def test_a_percentile_among_the_queries_never_sent_has_no_value() -> None:
    """The ones below it have."""
    driven = Driven(latencies_s=[*[0.1] * 460, *[math.inf] * 40], elapsed_s=1.0)
    assert list(driven.percentiles()) == ["latency_p50_s", "latency_p90_s"]


# --- Poisson -------------------------------------------------------------------------------------


def test_arrivals_are_those_of_their_replicate() -> None:
    """The same at every rate but for the rate; others in another replicate."""
    slow, fast = (load.arrivals(rate, 3, MEASURED) for rate in (100.0, 1000.0))
    assert fast == load.arrivals(1000.0, 3, MEASURED)
    assert fast != load.arrivals(1000.0, 4, MEASURED)
    assert [at / 10 for at in slow[:100]] == pytest.approx(fast[:100])


@pytest.mark.parametrize("replicate", range(5))
def test_arrivals_are_a_poisson_process(replicate: int) -> None:
    """The mean is the rate's, and gaps have no memory: 1/e of them is longer than the mean, 1/e^2 than twice that."""
    rate = 5000.0
    found = load.arrivals(rate, replicate, MEASURED)
    gaps = [after - before for before, after in zip([0.0, *found], found, strict=False)]
    assert min(gaps) > 0
    assert len(found) / found[-1] == pytest.approx(rate, rel=0.04)  # four standard deviations of 10000 arrivals
    for times in (1, 2):
        longer = sum(gap > times / rate for gap in gaps) / len(gaps)
        assert longer == pytest.approx(math.exp(-times), abs=0.02)


def test_a_slow_model_gets_few_arrivals_but_gets_them() -> None:
    """Enough for a median where the cap lets them, and always one."""
    assert len(load.arrivals(2.0, 0, MEASURED)) == FEWEST[50]
    assert load.arrivals(1e-6, 0, MEASURED) == [0.0]
    assert all(at < MEASURED.cap_s for at in load.arrivals(0.25, 1, MEASURED))


# --- slow models ---------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["single-stream", "saturation", "poisson"])
@pytest.mark.parametrize("seconds", [0.5, 5.0, 50.0])
def test_a_slow_model_ends(bench: Bench, state: Any, seconds: float) -> None:
    """After warm-up, probe and the cap of what counts, each a query longer at most; the note says what is missing."""
    begin = bench.clock.now_s
    bench.takes(lambda _: seconds)
    taken = bench.take(state)
    assert bench.clock.now_s - begin < 27 + 4 * seconds
    assert taken.values["throughput_per_s"] > 0
    assert "latency_p90_s" not in taken.values
    assert "too few for" in taken.note
    assert "p90, p95, p99" in taken.note


def test_eight_queries_give_a_median(bench: Bench) -> None:
    """Two seconds are not enough for them, so it goes on."""
    bench.takes(lambda _: 1.0)
    taken = bench.take("single-stream")
    assert taken.values["latency_p50_s"] == pytest.approx(1.0)
    assert taken.note.startswith("8 queries one after another; too few for p90, p95, p99")


def test_a_batch_that_no_query_has_time_for_is_absent(bench: Bench) -> None:
    """It is said, and the instance is not made to fail on its own limit."""
    bench.takes(lambda _: 2.0)
    taken = bench.take("batch")
    assert taken.values == {}
    assert taken.absent.startswith("32 inputs at 2 s each are more than the 60 s")
    assert bench.running == 0


# --- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ARRIVALS)
@pytest.mark.parametrize("begin", [0, 400])
def test_a_wrong_answer_is_a_model_failure(bench: Bench, state: Any, begin: int) -> None:
    """Also when the answers go wrong later, under load."""
    instance = bench.instance
    instance.answers = lambda outputs: [0] * len(outputs) if len(instance.sizes) > begin else outputs
    with pytest.raises(ModelFailure, match="an answer under load is wrong"):
        bench.take(state)
    assert bench.running == 0


@pytest.mark.parametrize("outputs", [[], [2, 2], [[2]], [None]])
def test_too_few_or_too_many_answers_are_wrong(bench: Bench, outputs: list[Any]) -> None:
    """As is another shape."""
    bench.instance.answers = lambda _: outputs
    with pytest.raises(ModelFailure, match="an answer under load is wrong"):
        bench.take("single-stream")


def test_answers_may_differ_within_the_tolerance(bench: Bench) -> None:
    """Native code is not always the same to the bit."""
    instance = bench.instance
    instance.answers = lambda outputs: [value * (1 + 1e-10 * len(instance.sizes)) for value in outputs]
    bench.take("single-stream")


def test_an_instance_that_fails_is_left_and_ours_is_as_before(bench: Bench) -> None:
    """What it raises comes through, and our own garbage is collected again."""

    collecting: list[bool] = []

    def fail(number: int) -> float:
        if number == 500:
            raise ModelFailure("exited")
        collecting.append(gc.isenabled())
        return 0.001

    bench.takes(fail)
    with pytest.raises(ModelFailure, match="exited"):
        bench.take("single-stream")
    assert (collecting[0], collecting[-1], gc.isenabled()) == (True, False, True)
    assert bench.running == 0


def test_a_counter_that_is_not_there_gives_no_value(bench: Bench) -> None:
    """No zero."""
    bench.instance.worked_s = None
    assert "cpu_per_prediction_s" not in bench.take("single-stream").values


def test_bounds_end_in_time() -> None:
    """Enough time and enough queries, or the cap."""
    bounds = Bounds(seconds=2.0, fewest=8, cap_s=20.0)
    assert not bounds.reached(1.9, 1000)
    assert not bounds.reached(19.0, 7)
    assert bounds.reached(2.0, 8)
    assert bounds.reached(20.0, 0)


def test_answers_that_never_repeat_do_not_pile_up(bench: Bench) -> None:
    """What waits to be judged is bounded; each is judged all the same."""
    asker = load.Asker(instance=bench.instance, model=bench.model, most_kept=3)
    numbers = itertools.count()
    bench.instance.predict = lambda inputs: [2 * value + next(numbers) * 1e-12 for value in inputs]  # type: ignore[assignment]
    for number in range(50):
        asker.ask(number)
        assert len(asker._kept) < 3
    bench.instance.predict = lambda inputs: [next(numbers) for _ in inputs]  # type: ignore[assignment]
    asker.judge()
    asker.ask(0)
    asker.ask(1)
    with pytest.raises(ModelFailure, match="an answer under load is wrong"):
        asker.ask(2)
