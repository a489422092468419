"""What a check tries, in which order, and what it advises. Nothing is started here; tests/real does that."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import ModelFailure
from harness.measure import checking
from harness.measure.checking import Advice, Step
from harness.measure.start import ColdStart
from harness.spec.locked import Lock, Source


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, float]:
    """Locking, installing and starting are pretended; what the start used may be changed."""
    used = {"cold_start_s": 0.5, "peak_resident_bytes": 2e7}
    payload = tmp_path / "payload"
    payload.mkdir()
    (payload / "predictor.py").write_text("")
    lock = Lock(
        requirements=tmp_path, wheels=tmp_path, digest="d", packages=(("a", "1"),), wheel_bytes=10, download_s=None
    )

    @contextlib.contextmanager
    def laid_out(*_: Any) -> Iterator[tuple[None, None]]:
        yield None, None

    made = SimpleNamespace(payload=payload, lock=lock)
    monkeypatch.setattr(checking.weights, "locked", lambda model: SimpleNamespace(model=model, **vars(made)))
    monkeypatch.setattr(checking.environments, "installed", lambda _: tmp_path / "bin" / "python")
    monkeypatch.setattr(checking.plain, "laid_out", laid_out)
    monkeypatch.setattr(checking.start, "right_answers", lambda *_: {})
    monkeypatch.setattr(checking.start, "take", lambda *_: ColdStart(values=used, source="psutil"))
    return used


def found(model: Any) -> tuple[list[str], dict[str, str]]:
    """The names of the steps, and the subjects of the advice with their remedies."""
    done = list(checking.steps(model))
    advice = {one.subject: one.remedy for one in done if isinstance(one, Advice)}
    return [one.name for one in done if isinstance(one, Step)], advice


@pytest.mark.usefixtures("started")
def test_every_step_is_told_in_order(folder: Any) -> None:
    """From the folder to a second start; a model that lacks nothing is given no advice."""
    folder.write(family="trees", licence="ours", requirements=["a==1"])
    steps, advice = found(folder.read())
    assert steps == ["folder", "requirements", "weights", "environment", "answers", "again"]
    assert advice == {}


@pytest.mark.usefixtures("started")
def test_what_could_be_better_is_advised(folder: Any) -> None:
    """Loose requirements, nothing said of kind and licence."""
    folder.write(requirements=["a>=1", "b==2"])
    _, advice = found(folder.read())
    assert {"requirements", "family", "licence"} <= set(advice)
    assert "harness lock" in advice["requirements"]
    (folder.path / "requirements.lock").write_text("")
    assert "requirements" not in found(folder.read())[1]


@pytest.mark.usefixtures("started")
def test_a_doubtful_start_is_told(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It works, and nothing will be known of its phases."""
    taken = ColdStart(values={"cold_start_s": 0.5}, source="psutil", doubt="it says what cannot be true")
    monkeypatch.setattr(checking.start, "take", lambda *_: taken)
    done = list(checking.steps(folder.read()))
    assert any("it says what cannot be true" in one.text for one in done if isinstance(one, Advice))


def test_what_is_nearly_used_up_is_advised(folder: Any, started: dict[str, float]) -> None:
    """Memory, and the time of a start."""
    folder.write(resources={"memory_mb": 100, "start_timeout_s": 10.0})
    started |= {"peak_resident_bytes": 90 * 2**20, "cold_start_s": 9.0}
    assert {"resources.memory_mb", "resources.start_timeout_s"} <= set(found(folder.read())[1])


@pytest.mark.usefixtures("started")
def test_large_files_are_to_be_declared(folder: Any, tmp_path: Path) -> None:
    """With the lines to write."""
    (tmp_path / "payload" / "big.bin").write_bytes(bytes(2**20 + 1))
    _, advice = found(folder.read())
    assert 'path = "big.bin"' in advice["big.bin"]
    assert "sha256" in advice["big.bin"]


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize(("outputs", "advised"), [([1, 1], True), ([1, 2], False), ([1], True)])
def test_examples_have_to_tell_a_broken_model(folder: Any, outputs: list[int], advised: bool) -> None:
    """One answer to everything may be given by a broken model as well."""
    examples = {"inputs": list(range(len(outputs))), "outputs": outputs}
    (folder.path / "examples.json").write_text(json.dumps(examples))
    assert ("examples.json" in found(folder.read())[1]) == advised


@pytest.mark.usefixtures("started")
def test_a_wrong_answer_ends_it(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps before it stand; nothing is advised."""

    def wrong(*_: Any) -> None:
        raise ModelFailure("1 of 3 answers are wrong")

    monkeypatch.setattr(checking.start, "right_answers", wrong)
    steps = checking.steps(folder.read())
    names = []
    with pytest.raises(ModelFailure):
        names.extend(one.name for one in steps if isinstance(one, Step))
    assert list(steps) == []


def test_what_was_built_from_source_is_told(
    folder: Any, started: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name: it took a compiler of this machine, perhaps."""
    lock = checking.weights.locked(folder.read()).lock
    built = replace(lock, sources=(Source(name="a", version="1", sdist="a" * 64, wheel="b" * 64),))
    made = SimpleNamespace(payload=folder.path, lock=built)
    monkeypatch.setattr(checking.weights, "locked", lambda model: SimpleNamespace(model=model, **vars(made)))
    told = [one.found for one in checking.steps(folder.read()) if isinstance(one, Step)]
    assert any(text.startswith("1 package") and text.endswith("; 1 built from source: a") for text in told)
