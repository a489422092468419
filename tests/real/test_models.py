"""Every model that travels with the harness answers every example right as an image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import process
from harness.measure import start
from harness.measure.start import limits_of
from harness.methods import METHODS, hosted
from harness.methods.contract import BuildOptions, Installed
from harness.spec import model as models
from harness.spec import synthetic, weights

#: Those that the conformance suite packages with every method, and those of another Python (``test_pythons.py``).
ELSEWHERE = {"digits-forest", "digits-onnx", "wine-legacy", "clusters-modern"}
#: One generated model stands for all of them.
NAMES = [*(name for name in models.sample_names() if name not in ELSEWHERE), synthetic.DESIGNS[0].name]


NEEDS_A_LIBRARY = """
import ctypes

def load(model_dir):
    ctypes.CDLL("libnowhere.so.7")

def predict(model, inputs):
    return inputs
"""


#: An image differs most from the plain environment, in which each model is asked before it is packaged. One of the two
#: models of PyTorch, which takes a minute to install, goes by a virtual environment in its place.
WAYS = dict.fromkeys(NAMES, "container") | {"digits-mlp-torch": "venv"}


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_carried(name: str, traces_of: Callable[[str], Any]) -> None:
    """Every answer right, a cold start whose phases add up, nothing left."""
    model, method_id = models.find(name), WAYS[name]
    assert model.file.licence
    assert model.file.family != "unspecified"
    traces, method = traces_of(method_id), METHODS[method_id]
    method.prepare(model)
    locked = weights.locked(model, extra=method.REQUIREMENTS)
    # A plain requirement of PyTorch or XGBoost brings gigabytes that no model here can use.
    assert not [package for package, _ in locked.lock.packages if package.startswith(("nvidia", "triton", "cuda"))]
    before = traces.now()
    with process.temporary_folder("case", readable=True) as place, process.temporary_folder("tools") as tools:
        artifact = method.build(locked, place, BuildOptions(tool_cache=tools))
        try:
            # Started where it was built: packing and fetching it shows nothing that other models have not shown.
            installed = (
                Installed(artifact=artifact, image=artifact.image)
                if artifact.path is None
                else hosted.installed_at(artifact, artifact.path)
            )
            facts = start.right_answers(method, installed, limits_of(model), model)
            assert int(facts["modules_from_source"]) <= int(facts["modules_from_bytecode"]) / 20
            taken = start.take(method, installed, limits_of(model), model, "page-warm")
            phases = [value for metric, value in taken.values.items() if metric.startswith("phase_")]
            assert min(phases) >= 0
            assert sum(phases) == pytest.approx(taken.values["cold_start_s"])
        finally:
            method.remove(artifact)
    assert traces.since(before) == []


def test_what_a_method_cannot_carry_is_a_result_with_a_reason(harness: Any, make_model: Any, tmp_path: Path) -> None:
    """A library of the operating system that is not there, which a virtual environment does not bring along."""
    folder = make_model("needs-library", NEEDS_A_LIBRARY, outputs=[1, 2, 3], system_packages=["libgl1"])
    ran = harness(
        "run", folder, "--method", "venv", "--profile", "quick", "--rounds", 1, "--results", tmp_path, "--json"
    )
    found = ran.expect(0).json
    assert found["failed"] == {}
    ((_, reason),) = found["unfit"].items()
    for part in ("libgl1", "libnowhere.so.7"):
        assert part in reason


def test_a_run_that_can_measure_nothing_is_no_success(harness: Any, tmp_path: Path) -> None:
    """Where no method can be used here it says so, with the reason, and the exit code is not that of a run."""
    args = ("run", "spam-bayes", "--method", "pex-scie", "--profile", "quick", "--results", tmp_path)
    ran = harness(*args, HARNESS_SCIE_ASSETS=str(tmp_path)).expect(3)
    assert "Nothing was measured" in ran.out
    assert "measured nothing, as no method can be used here" in ran.err
    assert "harness doctor" in ran.err
