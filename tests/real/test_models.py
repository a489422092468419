"""Every model that travels with the harness, as an image and in a virtual environment, answers every example right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.measure import artifacts, trial
from harness.measure import start as starts
from harness.methods import METHODS
from harness.platforms.depot import Depot
from harness.spec import model as models
from harness.spec import synthetic, weights

#: Those that the conformance suite packages with every method, and one generated model in place of all.
ELSEWHERE = {"digits-forest", "digits-onnx"}
NAMES = [*(name for name in models.sample_names() if name not in ELSEWHERE), synthetic.DESIGNS[0].name]


NEEDS_A_LIBRARY = """
import ctypes

def load(model_dir):
    ctypes.CDLL("libnowhere.so.7")

def predict(model, inputs):
    return inputs
"""


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_carried(name: str, tmp_path: Path, request: pytest.FixtureRequest, depot: Depot) -> None:
    """By an image, and by a virtual environment on this machine; its licence and its kind are said."""
    model = models.find(name)
    assert model.file.licence
    assert model.file.family != "unspecified"
    for method_id in ("venv", "container"):
        if method_id == "container":
            request.getfixturevalue("engine")
        method = METHODS[method_id]
        method.prepare(model)
        locked = weights.locked(model, extra=method.REQUIREMENTS)
        artifact = artifacts.up_to_date(method, locked)
        try:
            target = tmp_path / method_id
            target.mkdir(mode=0o755)
            installed = method.install(artifact, target, depot)
            facts = starts.right_answers(method, installed, trial.limits_of(model), model)
            assert facts["python"].startswith("3.")
        finally:
            method.remove(artifact)


def test_what_a_method_cannot_carry_is_a_result_with_a_reason(harness: Any, make_model: Any, tmp_path: Path) -> None:
    """A library of the operating system that is not there, which a virtual environment does not bring along."""
    folder = make_model("needs-library", NEEDS_A_LIBRARY, outputs=[1, 2, 3], system_packages=["libgl1"])
    ran = harness(
        "run", folder, "--method", "venv", "--profile", "quick", "--rounds", 1, "--results", tmp_path, "--json"
    )
    found = json.loads(ran.expect(0).out)
    assert found["failed"] == {}
    ((_, reason),) = found["unfit"].items()
    for part in ("libgl1", "libnowhere.so.7"):
        assert part in reason
