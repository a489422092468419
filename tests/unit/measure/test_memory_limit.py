"""The search for the smallest memory limit: how near it comes, with how many starts, and what counts as too small."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.errors import BuildFailure, ModelFailure
from harness.measure import memory_limit, start
from harness.measure.part import Subject
from harness.measure.start import ColdStart
from harness.methods import METHODS
from harness.methods.contract import Artifact, Installed, Limits

MIB = 2**20
LIMITS = Limits(memory_bytes=2048 * MIB, processes=1, disk_bytes=1, start_timeout_s=60.0, predict_timeout_s=1.0)
OUT_OF_MEMORY = ModelFailure("ran out of memory: it may use 64 MiB")


class Machine:
    """Stands in for starts: an instance needs ``need`` bytes, and uses ``cache`` bytes more where it may."""

    def __init__(self, need: int, cache: int = 0, failure: Exception = OUT_OF_MEMORY) -> None:
        self.need, self.cache, self.failure = need, cache, failure
        self.source, self.knows_peak = "cgroup-v2", True
        self.tried: list[Limits] = []

    def take(self, _method: Any, _installed: Any, limits: Limits, _model: Any, state: str) -> ColdStart:
        """As :func:`harness.measure.start.take`."""
        assert state == "page-warm"
        self.tried.append(limits)
        if limits.memory_bytes < self.need:
            raise self.failure
        peak = min(self.need + self.cache, limits.memory_bytes)
        values = {"peak_memory_bytes": float(peak)} if self.knows_peak else {}
        return ColdStart(values={**values, "cold_start_s": 0.5}, source=self.source)


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Machine], Machine]:
    """``on(machine)``: starts happen there."""

    def use(machine: Machine) -> Machine:
        monkeypatch.setattr(start, "take", machine.take)
        return machine

    return use


def subject(method: str = "venv", **installed: Any) -> Subject:
    """A cell; only what the search looks at."""
    artifact = Artifact(method=method, model="tiny", digest="d")
    found = SimpleNamespace(
        method=METHODS[method], installed=Installed(artifact=artifact, **installed), limits=LIMITS, model=None
    )
    return cast("Subject", found)


@pytest.mark.parametrize("knows_peak", [True, False])
@pytest.mark.parametrize("cache_mib", [0, 150, 1500])
@pytest.mark.parametrize("need_mib", [7, 12, 91, 230, 1000, 2000])
def test_the_answer_is_within_the_resolution(
    on: Callable[[Machine], Machine], need_mib: int, cache_mib: int, knows_peak: bool
) -> None:
    """It was tried and sufficed, and what is smaller by more than the resolution does not, or was never tried."""
    machine = on(Machine(need_mib * MIB, cache_mib * MIB))
    machine.knows_peak = knows_peak
    taken = memory_limit.PART.take(subject(), "", 0)
    found = int(taken.values[memory_limit.METRIC])
    sizes = [one.memory_bytes for one in machine.tried]
    assert found in sizes
    assert machine.need <= found <= machine.need + max(0.05 * found, 4 * MIB) + 2**18
    assert found == min(size for size in sizes if size >= machine.need)
    assert len(sizes) <= memory_limit.MOST_STARTS
    assert f"{len(sizes)} starts" in taken.note
    assert "broken off" not in taken.note


def test_a_known_peak_saves_starts(on: Callable[[Machine], Machine]) -> None:
    """Where no page cache is charged, the peak is nearly the answer: one start at it, one below it."""
    machine = on(Machine(91 * MIB))
    taken = memory_limit.PART.take(subject(), "", 0)
    assert taken.values == {memory_limit.METRIC: 91.0 * MIB}
    assert [one.memory_bytes for one in machine.tried][:2] == [2048 * MIB, 91 * MIB]
    assert len(machine.tried) == 3
    assert "91.0 MiB sufficed, 86.5 MiB did not; 3 starts" in taken.note


def test_a_start_that_does_not_end_is_not_waited_for(
    on: Callable[[Machine], Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a tight limit it may take five times as long as usually, and ten seconds at least."""
    monkeypatch.setattr(memory_limit.time, "monotonic", iter((0.0, 4.0)).__next__)
    machine = on(Machine(91 * MIB, failure=ModelFailure("did not answer within 20 s")))
    memory_limit.PART.take(subject(), "", 0)
    assert [one.start_timeout_s for one in machine.tried][:2] == [60.0, 20.0]
    assert memory_limit.patience_s(LIMITS, 0.1) == 10.0
    assert memory_limit.patience_s(LIMITS, 30.0) == LIMITS.start_timeout_s


@pytest.mark.parametrize(
    "failure",
    [
        OUT_OF_MEMORY,
        ModelFailure("loading the model raised MemoryError: "),
        ModelFailure("predicting raised _ArrayMemoryError: Unable to allocate 8 GiB"),
        ModelFailure("was killed by signal 9 before it answered"),
        ModelFailure("it raised Runtime.ExitError: Runtime exited with error: signal: killed"),
        ModelFailure("did not listen within 10 s of its start"),
        BuildFailure("the image x can't be started", log="container init was OOM-killed (memory limit too low?)"),
    ],
)
def test_what_lack_of_memory_looks_like(on: Callable[[Machine], Machine], failure: Exception) -> None:
    """All of it means that the limit was too small."""
    machine = on(Machine(91 * MIB, failure=failure))
    assert memory_limit.PART.take(subject(), "", 0).values == {memory_limit.METRIC: 91.0 * MIB}
    assert any(one.memory_bytes < machine.need for one in machine.tried)


@pytest.mark.parametrize(
    "failure",
    [
        ModelFailure("the first answer is wrong: 3 instead of 4"),
        ModelFailure("exited with code 1 before it answered"),
        BuildFailure("the image x can't be started", log="no such file or directory"),
    ],
)
def test_other_failures_are_raised(on: Callable[[Machine], Machine], failure: Exception) -> None:
    """They say nothing about memory."""
    on(Machine(91 * MIB, failure=failure))
    with pytest.raises(type(failure)):
        memory_limit.PART.take(subject(), "", 0)


def test_where_nothing_holds_a_limit_there_is_no_value(on: Callable[[Machine], Machine]) -> None:
    """Nor where another limit would be another deployment."""
    on(Machine(91 * MIB)).source = "psutil"
    taken = memory_limit.PART.take(subject(), "", 0)
    assert not taken.values
    assert "psutil" in taken.absent
    assert "deployment" in memory_limit.PART.take(subject(elsewhere=lambda: None), "", 0).absent


def test_a_platforms_own_minimum_is_told(on: Callable[[Machine], Machine]) -> None:
    """Lambda gives 128 MB at least, whatever suffices."""
    on(Machine(91 * MIB))
    assert "at least 128 MB" in memory_limit.PART.take(subject("lambda-zip"), "", 0).note
    assert "at least" not in memory_limit.PART.take(subject("venv"), "", 0).note
