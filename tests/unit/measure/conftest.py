"""A method in memory, and runs of it: no process, no tool, the real trial, artifacts and store."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.measure import host, pages, proof, recording, sentinel, trial, verdict
from harness.measure.pages import Residency
from harness.measure.plan import Plan
from harness.measure.room import Size
from harness.measure.sample import Sample
from harness.methods.contract import (
    Artifact,
    Availability,
    BuildOptions,
    Installed,
    Layers,
    Limit,
    Limits,
    Sizes,
    Stamps,
    Usage,
)
from harness.spec.model import Model
from harness.spec.weights import LockedModel
from harness.store import runs


class FakeInstance:
    """Doubles numbers."""

    def __init__(self, spawned_s: float) -> None:
        self._spawned_s = spawned_s

    def predict(self, inputs: Any) -> list[Any]:
        """As the model's examples have it."""
        return [2 * value for value in inputs]

    def stamps(self) -> Stamps:
        """A millisecond a phase."""
        begin = self._spawned_s
        return Stamps(
            spawned_s=begin,
            sandbox_s=begin + 0.001,
            interpreter_s=begin + 0.002,
            imports_s=begin + 0.003,
            weights_s=begin + 0.004,
        )

    def usage(self) -> Usage:
        """Always the same."""
        return Usage(peak_memory_bytes=10, peak_resident_bytes=8, cpu_s=0.01, source="cgroup-v2")

    def facts(self) -> dict[str, str]:
        """Of the interpreter."""
        return {"python": "3.11.2"}


class FakeMethod:
    """A method that packages nothing; ``at(call, do)`` has ``do`` called at the n-th call of a function."""

    FAMILY = "executable"
    LAYERS = Layers(environment="none", interface="none", platform="none")
    FIDELITY = "measured"
    LIMITS: tuple[Limit, ...] = ()
    REQUIREMENTS = ()
    REQUIRES = frozenset({"python"})
    PROVIDES = frozenset()
    MENDS = frozenset()

    def __init__(self, name: str) -> None:
        self.ID = name
        self.calls: list[str] = []
        self.options: list[BuildOptions] = []
        self.availability = Availability(ready=True)
        self.planned: dict[str, Callable[[int], None]] = {}
        self.cold_absent = self.install_absent = self.packed_absent = ""

    def at(self, call: str, do: Callable[[int], None]) -> None:
        """Have ``do(n)`` called at every n-th call (from 1) of ``call``; it may raise."""
        self.planned[call] = do

    def _called(self, call: str) -> None:
        self.calls.append(call)
        if call in self.planned:
            self.planned[call](self.calls.count(call))

    def check(self) -> Availability:
        """As told."""
        return self.availability

    def prepare(self, model: Model) -> None:  # noqa: ARG002
        """Nothing."""
        self._called("prepare")

    def build(self, locked: LockedModel, workdir: Path, options: BuildOptions) -> Artifact:
        """One file."""
        self.options.append(options)
        self._called("build")
        (workdir / "built").write_text(self.ID)
        name, place = locked.model.name, workdir / "built"
        return Artifact(method=self.ID, model=name, digest="d" * 64, path=place, facts={"t": "1"})

    def sizes(self, artifact: Artifact, depot: Any) -> Sizes:  # noqa: ARG002
        """Made up."""
        packed = None if self.packed_absent else 5
        return Sizes(packed_bytes=packed, unpacked_bytes=10, files=1, packed_absent=self.packed_absent)

    def install(self, artifact: Artifact, target: Path, depot: Any) -> Installed:  # noqa: ARG002
        """Nothing lands below ``target``."""
        self._called("install")
        return Installed(
            artifact=artifact,
            root=target,
            install_s=None if self.install_absent else 0.25,
            install_fidelity="emulated",
            cold_absent=self.cold_absent,
            install_absent=self.install_absent,
        )

    @contextlib.contextmanager
    def start(self, installed: Installed, limits: Limits) -> Iterator[FakeInstance]:  # noqa: ARG002
        """An instance that doubles."""
        self._called("start")
        yield FakeInstance(time.monotonic() - 0.01)

    def present(self, artifact: Artifact) -> bool:
        """Whether the file is there."""
        return artifact.path is not None and artifact.path.is_file()

    def remove(self, artifact: Artifact) -> None:  # noqa: ARG002
        """Nothing."""
        self._called("remove")


class Bench:
    """Runs of fake methods on the model ``tiny``."""

    def __init__(self, folder: Any, made: Any) -> None:
        self.folder, self.made = folder, made
        self.methods = {name: FakeMethod(name) for name in ("one", "two", "three")}
        self.told: list[tuple[str, int, int]] = []
        self.sizes: dict[tuple[str, str], Size] = {}
        self.between: Callable[[], None] = lambda: None

    def plan(self, **changes: Any) -> Plan:
        """Three rounds, two builds."""
        known = {"methods": tuple(self.methods), "rounds": 3, "builds": 2, "folders": {"tiny": str(self.folder.path)}}
        return self.made.plan(**{**known, **changes})

    def run(self, **changes: Any) -> recording.Outcome:
        """A new run."""
        plan = self.plan(**changes)
        with runs.create(self.made.results, self.made.manifest(plan=plan.as_dict())) as writer:
            return self._trial(plan, writer).carry_out()

    def resume(self) -> recording.Outcome:
        """Go on with it, as the command line does."""
        with runs.resume(self.made.results, self.made.RUN) as writer:
            return self._trial(Plan.from_dict(writer.manifest.plan), writer).carry_out()

    def _trial(self, plan: Plan, writer: Any) -> trial.Trial:
        taken = runs.read_samples(writer.folder)
        more: dict[str, Any] = {"taken": taken, "sizes": self.sizes, "between": self.between}
        return trial.Trial(plan, writer, self.methods, None, lambda *step: self.told.append(step), **more)

    def samples(self) -> list[Sample]:
        """What is stored."""
        return runs.read_samples(self.made.results / "runs" / self.made.RUN)

    def keys(self) -> list[tuple[Any, ...]]:
        """What each sample is of."""
        return [(s.cell.method, s.metric, s.round, s.state) for s in self.samples()]

    def of(self, method: str, metric: str) -> list[Sample]:
        """The samples of a method's metric."""
        return [s for s in self.samples() if (s.cell.method, s.metric) == (method, metric)]

    def manifest(self) -> Any:
        """What is stored besides."""
        return runs.read_manifest(self.made.results / "runs" / self.made.RUN)


@pytest.fixture
def bench(folder: Any, made: Any, here: object, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench whose sentinel, page cache and neighbours are made up, and whose disk does not make it wait.

    What is built answers the examples, without being asked.
    """
    monkeypatch.setattr(proof, "problem_of", lambda *_: "")
    monkeypatch.setattr(verdict, "known", lambda *_, **__: None)
    monkeypatch.setattr(verdict, "lacking", lambda _: ())
    monkeypatch.setattr(sentinel, "seconds", lambda: 0.1)
    monkeypatch.setattr(host, "calm", lambda: host.Calm(at_s=0.0, stolen=0.0, ticks=0.0))
    monkeypatch.setattr(pages, "evict", lambda _: Residency(resident_bytes=0, total_bytes=1))
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr("os.fdatasync", lambda _: None)
    return Bench(folder, made)
