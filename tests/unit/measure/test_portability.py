"""Portability: 1, 0 with the reason in a line, absent with the reason; and no value for what was not on its target."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.errors import BuildFailure, CheckFailure, DiskFull, HarnessError, MissingComponent, ModelFailure
from harness.measure import portability
from harness.measure.part import Subject
from harness.methods.contract import Artifact, Installed, Limits
from harness.methods.serving import Served
from harness.metrics import METRICS, TARGETS, Target
from harness.platforms import targets
from harness.platforms.targets import Machine
from harness.sandbox import Surroundings

LIMITS = Limits(memory_bytes=1, processes=1, disk_bytes=1, start_timeout_s=60.0, predict_timeout_s=1.0)
ARTIFACT = Artifact(method="fake", model="tiny", digest="d")


class FakeMethod:
    """Its instances double numbers, unless there is a ``failure``; ``seen`` is what they were started with."""

    def __init__(self) -> None:
        self.failure: HarnessError | None = None
        self.factor = 2
        self.seen: list[tuple[Installed, Limits]] = []

    @contextlib.contextmanager
    def start(self, installed: Installed, limits: Limits) -> Iterator[Served]:
        """As a method's."""
        self.seen.append((installed, limits))
        for cache in installed.extraction_caches:
            assert list(cache.iterdir()) == []
            (cache / "extracted").touch()
        if self.failure is not None:
            raise self.failure
        served = Served(cast("Any", SimpleNamespace(pid=7)), cast("Any", None), limits)
        served.predict = lambda inputs: [self.factor * cast("int", one) for one in inputs]  # type: ignore[method-assign]
        yield served


@pytest.fixture
def method() -> FakeMethod:
    """A method."""
    return FakeMethod()


@pytest.fixture(autouse=True)
def machines(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Every target is ready, and instances are where they should be; ``missing`` and ``astray`` change that."""
    told = SimpleNamespace(missing=None, astray="")

    def find(name: Target, *, python_minor: str) -> Machine:
        assert python_minor == "3.11"
        if told.missing:
            raise told.missing
        return Machine(name=name, title=f"a machine for {name}", surroundings=Surroundings(user_id=9))

    monkeypatch.setattr(targets, "find", find)
    monkeypatch.setattr(targets, "astray", lambda _, pid: told.astray if pid == 7 else "another process")
    return told


def subject(method: FakeMethod, **installed: Any) -> Subject:
    """A cell; only what is looked at."""
    examples = SimpleNamespace(inputs=(1, 2), outputs=(2, 4))
    model = SimpleNamespace(examples=examples, file=SimpleNamespace(examples=SimpleNamespace(tolerance=0.0)))
    found = Installed(artifact=ARTIFACT, **installed)
    locked = SimpleNamespace(lock=SimpleNamespace(python=SimpleNamespace(minor="3.11")))
    return cast("Subject", SimpleNamespace(method=method, installed=found, limits=LIMITS, model=model, locked=locked))


def test_every_target_is_a_state_of_its_own(method: FakeMethod) -> None:
    """1 on each, in that target's surroundings; the trial's own limits stay as they are."""
    assert portability.PART.states == TARGETS == METRICS[portability.PART.closing].states
    for state in TARGETS:
        taken = portability.PART.take(subject(method), state, 0)
        assert taken.values == {"portable": 1.0}
        assert taken.note == f"on a machine for {state}"
    assert all(limits.surroundings == Surroundings(user_id=9) for _, limits in method.seen)
    assert LIMITS.surroundings is None


@pytest.mark.parametrize(
    ("failure", "why"),
    [
        (ModelFailure("exited with code 1 before it answered; it printed:\n    a\n    no GLIBC_2.34"), "no GLIBC_2.34"),
        (
            ModelFailure("exited; it printed:\n    Failed to find a Python\n    Or else install one."),
            "Failed to find a Python",
        ),
        (ModelFailure("loading the model raised TypeError: x"), "loading the model raised TypeError: x"),
        (BuildFailure("the image can't be started", log="no such user"), "no such user"),
    ],
)
def test_what_does_not_start_there_is_a_result(method: FakeMethod, failure: HarnessError, why: str) -> None:
    """0, with the last line of what it printed."""
    method.failure = failure
    taken = portability.PART.take(subject(method), "debian-older", 0)
    assert taken.values == {"portable": 0.0}
    assert taken.note == f"on a machine for debian-older: {why}"
    assert not taken.absent


def test_an_interpreter_that_is_not_there_is_named(method: FakeMethod, tmp_path: Path) -> None:
    """An environment's own is a link to the system's."""
    (tmp_path / "python").symlink_to("/usr/bin/python3.99")
    method.failure = MissingComponent(f"{tmp_path / 'python'} cannot be started: there is no such program")
    taken = portability.PART.take(subject(method), "no-python", 0)
    assert taken.values == {"portable": 0.0}
    assert "needs /usr/bin/python3.99, which is not there" in taken.note


def test_a_machine_that_cannot_stand_in_is_no_result(method: FakeMethod) -> None:
    """What lacks is the harness's then, and not the artifact's."""
    method.failure = MissingComponent("this machine does not let us", remedy="be root")
    taken = portability.PART.take(subject(method), "read-only", 0)
    assert (taken.values, taken.absent) == ({}, "this machine does not let us (remedy: be root)")
    method.failure = MissingComponent("/a/program cannot be started: Exec format error")
    taken = portability.PART.take(subject(method), "read-only", 0)
    assert taken.values == {"portable": 0.0}
    assert taken.note.endswith("program cannot be started: Exec format error")


def test_wrong_answers_are_no_portability(method: FakeMethod) -> None:
    """Starting is not enough."""
    method.factor = 3
    taken = portability.PART.take(subject(method), "debian-newer", 0)
    assert taken.values == {"portable": 0.0}
    assert "not rightly" in taken.note


def test_a_target_that_cannot_be_had_is_absent(method: FakeMethod, machines: SimpleNamespace) -> None:
    """With reason and remedy; nothing is started."""
    machines.missing = MissingComponent("no mmdebstrap", remedy="install it")
    taken = portability.PART.take(subject(method), "debian-newer", 0)
    assert (taken.values, taken.absent) == ({}, "no mmdebstrap (remedy: install it)")
    assert method.seen == []


def test_an_image_brings_its_system_along(method: FakeMethod) -> None:
    """Other releases can't be under it; it can be another user's, read-only, without a network."""
    values = {state: portability.PART.take(subject(method, image="i"), state, 0) for state in TARGETS}
    absent = [state for state, taken in values.items() if taken.absent]
    assert absent == ["debian-older", "debian-newer", "no-python"]
    assert "container engine" in values["no-python"].absent
    assert portability.PART.take(subject(method, elsewhere=lambda: None), "non-root", 0).absent


def test_an_instance_that_was_not_there_is_an_error(method: FakeMethod, machines: SimpleNamespace) -> None:
    """A target that was not one gives no value, and what else breaks is no result either."""
    machines.astray = "it has the network interfaces eth0"
    with pytest.raises(CheckFailure, match="eth0"):
        portability.PART.take(subject(method), "no-network", 0)
    method.failure = DiskFull("the disk is full")
    with pytest.raises(DiskFull):
        portability.PART.take(subject(method), "read-only", 0)


def test_what_was_extracted_is_not_found_on_another_target(method: FakeMethod, tmp_path: Path) -> None:
    """Each start has caches of its own, which are gone afterwards; those of the trial stay as they were."""
    cache = tmp_path / "extracted"
    cache.mkdir()
    (cache / "by another user").touch()
    there = subject(method, extraction_caches=(cache,))
    for state in TARGETS:
        assert portability.PART.take(there, state, 0).values == {"portable": 1.0}
    used = {cache for installed, _ in method.seen for cache in installed.extraction_caches}
    assert len(used) == len(TARGETS)
    assert cache not in used
    assert not any(one.exists() for one in used)
    assert [path.name for path in cache.iterdir()] == ["by another user"]


def test_a_reason_does_not_tell_where_this_machine_keeps_things(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an instance prints names its home, which lies in the cache folder."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    error = ModelFailure(f"broke; it printed:\n    cannot load {tmp_path}/cache/tmp/instance-1/home/x.so")
    assert portability.in_a_line(error) == "cannot load …/tmp/instance-1/home/x.so"
