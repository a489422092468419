"""Models that run under another Python than the harness's: packaged for it, and answering from the artifact.

The machine has to have such a Python; where it has none, the test says so and is skipped.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput
from harness.spec import model as models
from harness.spec import pythons

CASES = [
    ("wine-legacy", "pex", "3.9"),
    ("wine-legacy", "container", "3.9"),
    ("clusters-modern", "venv", "3.13"),
    ("clusters-modern", "pyinstaller", "3.13"),
]


@pytest.mark.parametrize(("name", "method", "minor"), CASES, ids=[f"{name}-{method}" for name, method, _ in CASES])
def test_a_model_is_packaged_for_its_own_python(
    name: str, method: str, minor: str, harness: Any, traces_of: Callable[[str], Any], tmp_path: Path
) -> None:
    """``package`` leaves an artifact that answers every example, and says which Python it is for."""
    try:
        assert pythons.of(models.find(name)).minor == minor
    except BadInput as error:
        pytest.skip(error.problem)
    traces_of(method)  # starts an engine where the method needs one
    out = tmp_path / "out"
    harness("package", name, "--method", method, "--out", out).expect(0)
    told = json.loads((out / "package.json").read_text())
    assert told["built_on"]["python"].startswith(f"{minor}.")
    assert told["examples_answered_right"] == len(models.find(name).examples.inputs)
