"""A newcomer's way: init, check, and what check says of each mistake, until the model is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PREDICTOR = """
import tabulate

def load(model_dir):
    return tabulate.tabulate

def predict(model, inputs):
    return [model([[value]], tablefmt="plain") for value in inputs]
"""


def test_a_newcomers_model_is_led_to_a_whole_one(harness: Any, tmp_path: Path) -> None:
    """Each mistake is named with its file or key and what to do; doing that is enough to get on."""
    folder = tmp_path / "mine"
    harness("init", folder).expect(0)
    spec = folder / "model.toml"
    first = harness("check", folder).expect(0)
    assert [line.split()[1] for line in first.out.splitlines() if line.startswith("ok ")] == [
        *("folder", "requirements", "weights", "environment", "answers", "again", "system")
    ]
    assert "family" in first.out
    assert "licence" in first.out

    # A predictor of one's own, which needs a package.
    (folder / "predictor.py").write_text(PREDICTOR)
    lacking = harness("check", folder).expect(1)
    assert "No module named 'tabulate'" in lacking.err
    assert "'requirements' in model.toml" in lacking.err

    # The package, not pinned; the examples are still those of the template.
    spec.write_text(spec.read_text().replace("requirements = []", 'requirements = ["tabulate"]', 1))
    wrong = harness("check", folder).expect(1)
    assert "answers are wrong" in wrong.err
    assert "inputs[0]" in wrong.err
    (folder / "examples.json").write_text(json.dumps({"inputs": [1, 2], "outputs": ["1", "2"]}))
    loose = harness("check", folder, "--json").expect(0).json
    advice = {one["subject"]: one["remedy"] for one in loose["advice"]}
    assert "harness lock" in advice["requirements"]

    # What the advice says.
    harness("lock", folder).expect(0)
    text = (
        spec.read_text().replace('family = "unspecified"', 'family = "text"').replace('licence = ""', 'licence = "x"')
    )
    spec.write_text(text)
    done = harness("check", folder, "--json").expect(0).json
    assert done["advice"] == []
    assert [one["name"] for one in done["steps"]][-1] == "system libraries"
    assert not [path for path in folder.rglob("*.pyc") if "lib" in path.parts]


def test_a_typing_mistake_names_file_key_and_value(harness: Any, tmp_path: Path) -> None:
    """Exit code 2, and nothing was started."""
    folder = tmp_path / "mine"
    harness("init", folder).expect(0)
    spec = folder / "model.toml"
    spec.write_text(spec.read_text().replace("memory_mb = 1024", 'memory_mb = "much"'))
    found = harness("check", folder).expect(2)
    for part in (str(spec), "resources.memory_mb", "much"):
        assert part in found.err
    assert "ok " not in found.out
