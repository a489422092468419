"""What tests of platforms' own code share: the real runner, importable as it is in an artifact."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from harness.runtime import RUNNER

_OURS = ("harness_runner", "harness_server", "harness_http", "predictor", "score", "main")


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The runner's module ``model``; the model that is packaged with it doubles numbers."""
    monkeypatch.setattr(sys, "path", [str(RUNNER.parent), *sys.path])
    packaged = tmp_path / "packaged"
    packaged.mkdir()
    (packaged / "predictor.py").write_text(
        "def load(model_dir):\n    return 2\n\n\ndef predict(model, inputs):\n    return [model * i for i in inputs]\n"
    )
    import harness_runner.model as found  # type: ignore[import-not-found]

    monkeypatch.setattr(found, "PACKAGED", packaged)
    monkeypatch.setattr(found, "stamps", {"interpreter": 1.0})
    yield found
    for name in [name for name in sys.modules if name.partition(".")[0] in _OURS]:
        del sys.modules[name]
