"""One cold start, its phases, and when it does not count; and the small parts of measuring."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import process
from harness.errors import CheckFailure, ModelFailure
from harness.measure import host, pages, sentinel, start
from harness.measure.pages import Residency
from harness.methods.contract import LONGEST_BYTES, Artifact, Installed, Stamps, Usage
from harness.metrics import PHASES

ARTIFACT = Artifact(method="fake", model="tiny", digest="d")


class Instance:
    """An instance that answers as it is told to."""

    def __init__(self, outputs: list[Any], usage: Usage) -> None:
        self._outputs, self._usage = outputs, usage

    def predict(self, inputs: Any) -> list[Any]:  # noqa: ARG002
        """The outputs, whatever the inputs."""
        return self._outputs

    def stamps(self) -> Stamps:
        """Half a second a phase."""
        now = time.monotonic()
        return Stamps(
            spawned_s=now - 2.0, sandbox_s=now - 1.5, interpreter_s=now - 1.0, imports_s=now - 0.5, weights_s=now
        )

    def usage(self) -> Usage:
        """As told."""
        return self._usage

    def facts(self) -> dict[str, str]:
        """Of the interpreter."""
        return {"python": "3.11"}


class Method:
    """A method whose instances answer so."""

    def __init__(self, outputs: list[Any], usage: Usage | None = None) -> None:
        self.usage = usage or Usage(peak_memory_bytes=5, peak_resident_bytes=3, cpu_s=0.25, source="cgroup-v2")
        self.outputs, self.inside = outputs, 0

    @contextlib.contextmanager
    def start(self, installed: Any, limits: Any) -> Iterator[Instance]:  # noqa: ARG002
        """Start one."""
        self.inside += 1
        try:
            yield Instance(self.outputs, self.usage)
        finally:
            self.inside -= 1


INSTALLED = Installed(artifact=ARTIFACT)


def test_the_phases_add_up_to_the_total(folder: Any) -> None:
    """Every phase is there, together they are the cold start, which is told last: it closes the step."""
    method = Method([2])
    found = start.take(method, INSTALLED, None, folder.read(), "page-warm")
    assert method.inside == 0
    assert list(found.values)[-1] == "cold_start_s"
    assert sum(found.values[f"phase_{phase}_s"] for phase in PHASES) == pytest.approx(found.values["cold_start_s"])
    assert found.values["phase_sandbox_s"] == pytest.approx(0.5)
    assert found.values["peak_memory_bytes"] == 5.0
    assert (found.source, found.dropped) == ("cgroup-v2", "")


def test_a_doubtful_start_has_no_phases(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its total is from our own clock, and all else that we have measured stays."""
    begun = time.monotonic()
    stamps = Stamps(
        spawned_s=begun, sandbox_s=begun, interpreter_s=-1e9, imports_s=math.inf, weights_s=math.nan, doubt="no"
    )
    monkeypatch.setattr(Instance, "stamps", lambda _: stamps)
    found = start.take(Method([2]), INSTALLED, None, folder.read(), "page-warm")
    assert not {f"phase_{phase}_s" for phase in PHASES} & set(found.values)
    assert found.doubt == "no"
    assert 0 <= found.values["cold_start_s"] < 10
    assert found.values["peak_memory_bytes"] == 5.0


def test_how_long_an_answer_may_be_is_the_examples_word(folder: Any) -> None:
    """Eight times the longest; a model whose examples can't be written down is bounded as all are."""
    (folder.path / "examples.json").write_text('{"inputs": [1, 2], "outputs": ["12345678", 1]}')
    assert start.limits_of(folder.read()).answer_bytes == 80
    deep: Any = []
    for _ in range(5_000):
        deep = [deep]
    assert start._longest([deep]) == LONGEST_BYTES


class Answering(Method):
    """A method whose instances give these answers one after the other, and each of them after so many seconds."""

    def __init__(self, answers: list[tuple[Any, float]]) -> None:
        super().__init__([])
        self.answers, self.asked = iter(answers), 0

    @contextlib.contextmanager
    def start(self, installed: Any, limits: Any) -> Iterator[Instance]:
        """Start one."""
        with super().start(installed, limits) as instance:
            instance.predict = self._next  # type: ignore[method-assign]
            yield instance

    def _next(self, inputs: Any) -> list[Any]:  # noqa: ARG002
        answer, seconds = next(self.answers)
        self.asked += 1
        time.sleep(seconds)
        return [answer]


def test_warm_requests_follow_the_first_in_a_page_warm_start(folder: Any) -> None:
    """Twenty-five of them, and their median: caches that the first ones fill don't count."""
    method = Answering([(2, 0.0), (2, 0.03), (2, 0.03), *[(2, 0.0)] * 40])
    found = start.take(method, INSTALLED, None, folder.read(), "page-warm")
    assert method.asked == 26
    assert 0 < found.values["warm_request_s"] < 0.03
    for state in ("disk-cold", "node-cold"):
        assert "warm_request_s" not in start.take(Answering([(2, 0.0)]), INSTALLED, None, folder.read(), state).values


def test_a_slow_model_is_asked_once_more(folder: Any) -> None:
    """There is always one, and no more once they have taken their time."""
    method = Answering([(2, 0.0), (2, 0.25)])
    assert start.take(method, INSTALLED, None, folder.read(), "page-warm").values["warm_request_s"] >= 0.25


def test_a_wrong_answer_later_is_a_model_failure(folder: Any) -> None:
    """An instance that answers rightly once and wrongly from then on was not started well."""
    with pytest.raises(ModelFailure, match="the next answer is wrong: 3 instead of 2"):
        start.take(Answering([(2, 0.0), (3, 0.0)]), INSTALLED, None, folder.read(), "page-warm")


def test_what_could_not_be_measured_is_left_out(folder: Any) -> None:
    """A counter that is not there gives no value, not a zero."""
    method = Method([2], Usage(peak_memory_bytes=None, peak_resident_bytes=None, cpu_s=None, source="psutil"))
    found = start.take(method, INSTALLED, None, folder.read(), "page-warm")
    assert not {"peak_memory_bytes", "peak_resident_bytes", "cpu_to_first_s"} & set(found.values)


@pytest.mark.parametrize("outputs", [[3], [None], ["2"], [[2]], []])
def test_a_wrong_first_answer_is_a_model_failure(folder: Any, outputs: list[Any]) -> None:
    """A start ends with a correct prediction or is none; also where there is no answer in the list."""
    with pytest.raises(ModelFailure, match="wrong"):
        start.take(Method(outputs), INSTALLED, None, folder.read(), "page-warm")


@pytest.mark.parametrize("outputs", [[2, 5, 7], [2, 5], [2, 5, 6, 7]])
def test_every_example_has_to_be_answered_rightly(folder: Any, outputs: list[Any]) -> None:
    """A wrong answer, and too few or too many of them, are the model's failure."""
    assert start.right_answers(Method([2, 5.0, 6]), INSTALLED, None, folder.read()) == {"python": "3.11"}
    with pytest.raises(ModelFailure):
        start.right_answers(Method(outputs), INSTALLED, None, folder.read())


def test_the_wrong_answer_is_named(folder: Any) -> None:
    """Which input, what came, what was expected."""
    with pytest.raises(ModelFailure, match=r"1 of 3 answers are wrong; to inputs\[2\]: 7 instead of 6"):
        start.right_answers(Method([2, 5, 7]), INSTALLED, None, folder.read())


def test_a_disk_cold_start_finds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Extraction caches are emptied, links not followed, and every page is asked to go."""
    cache, own, shared = tmp_path / "cache", tmp_path / "own", tmp_path / "shared"
    for folder in (cache / "deep", own, shared):
        folder.mkdir(parents=True)
    (cache / "deep" / "x").touch()
    (cache / "y").touch()
    (cache / "link").symlink_to(own)
    (own / "a").touch()
    (shared / "b").touch()
    evicted: list[str] = []

    def evict(files: list[str]) -> Residency:
        evicted.extend(files)
        return Residency(resident_bytes=0, total_bytes=100)

    monkeypatch.setattr(pages, "evict", evict)
    installed = Installed(artifact=ARTIFACT, own_paths=(own,), cold_paths=(own, shared), extraction_caches=(cache,))
    assert start.make_cold(installed) == ""
    assert list(cache.iterdir()) == []
    assert evicted == [str(shared / "b"), str(own / "a")]


def test_pages_that_stay_are_a_reason(monkeypatch: pytest.MonkeyPatch, folder: Any) -> None:
    """A start whose pages did not leave memory is measured, and dropped with the share that stayed."""
    monkeypatch.setattr(pages, "evict", lambda _: Residency(resident_bytes=50, total_bytes=100))
    found = start.take(Method([2]), INSTALLED, None, folder.read(), "disk-cold")
    assert found.dropped == "50% of its pages stayed in memory"
    assert start.take(Method([2]), INSTALLED, None, folder.read(), "page-warm").dropped == ""


@pytest.mark.parametrize(
    ("value", "flags", "counts"),
    [
        (1.0, (), True),
        (0.0, (), True),
        (1.0, ("outlier",), True),
        (1.0, ("dropped:x",), False),
        (None, ("failed",), False),
    ],
)
def test_which_samples_count(made: Any, value: float | None, flags: tuple[str, ...], counts: bool) -> None:
    """A value that was dropped, and no value, are not in the statistics; an outlier is."""
    assert made.sample(value=value, flags=flags).counts is counts


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("returncode", "stdout"), [(0, "ffffffff 1"), (0, ""), (1, sentinel._ANSWER)])
def test_a_sentinel_that_computes_something_else_is_an_alarm(
    monkeypatch: pytest.MonkeyPatch, returncode: int, stdout: str
) -> None:
    """A machine that does not compute reliably measures nothing reliably."""

    def run(argv: list[str], **_: Any) -> process.Completed:
        return process.Completed(argv=tuple(argv), returncode=returncode, stdout=stdout, stderr="", wall_s=0.1)

    monkeypatch.setattr(process, "run", run)
    with pytest.raises(CheckFailure, match="does not compute reliably"):
        sentinel.seconds()


def test_a_run_goes_on_only_on_its_own_machine() -> None:
    """Processor, cores, memory, machine and Python decide; load and kernel don't."""
    one = {"processor": "p", "cores": 2, "memory_bytes": 1, "machine": "x", "python": "3.11", "kernel": "6.1"}
    assert host.same_machine(one, {**one, "kernel": "6.2", "load": 3})
    for key in ("processor", "cores", "memory_bytes", "machine", "python"):
        assert not host.same_machine(one, {**one, key: "other"})


def test_the_load_is_told_in_json() -> None:
    """Whatever this kernel tells, it can stand in the manifest."""
    found = json.loads(json.dumps(host.load(), allow_nan=False))
    assert {"load_1m", "steal_share"} <= set(found)
