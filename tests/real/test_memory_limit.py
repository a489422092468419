"""The minimum memory limit, on models whose need is known: found near it, and held by what the note says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from harness import process
from harness.errors import ModelFailure
from harness.measure import artifacts, memory_limit, start
from harness.measure.part import Subject
from harness.measure.sample import Cell
from harness.methods import METHODS
from harness.platforms.depot import Depot
from harness.spec import model as models
from harness.spec import weights

MIB = 2**20
NEEDED_MIB = 150

#: Fills memory while it loads; what a Python needs itself comes on top.
SOURCE = f"""
def load(model_dir):
    held = bytearray({NEEDED_MIB} * 2**20)
    held[::4096] = b"x" * len(held[::4096])
    return held

def predict(model, inputs):
    return [2 * number for number in inputs]
"""


@pytest.mark.parametrize("method_id", ["venv", "container"])
def test_a_known_need_is_found(method_id: str, traces_of: Callable[[str], Any], make_model: Any, depot: Depot) -> None:
    """What is found suffices again, and half of what the model holds does not; nothing is left behind."""
    traces_of(method_id)
    method, model = METHODS[method_id], models.read(make_model("fills", SOURCE))
    method.prepare(model)
    locked = weights.locked(model, extra=method.REQUIREMENTS)
    artifact = artifacts.up_to_date(method, locked)
    with process.temporary_folder("memory", readable=True) as target:
        installed, limits = method.install(artifact, target, depot), start.limits_of(model)
        subject = Subject(
            cell=Cell(model=model.name, method=method_id),
            method=method,
            locked=locked,
            artifact=artifact,
            installed=installed,
            limits=limits,
            depot=depot,
        )
        before = traces_of(method_id).now()
        taken = memory_limit.PART.take(subject, "", 0)
        assert traces_of(method_id).since(before) == []
        found = int(taken.values[memory_limit.METRIC])
        assert NEEDED_MIB * MIB < found < (NEEDED_MIB + 50) * MIB, taken.note
        assert "did not" in taken.note
        assert "control group" in taken.note
        start.take(method, installed, dataclasses.replace(limits, memory_bytes=found), model, "page-warm")
        half = dataclasses.replace(limits, memory_bytes=NEEDED_MIB * MIB // 2)
        with pytest.raises(ModelFailure, match="memory"):
            start.take(method, installed, half, model, "page-warm")
