"""``model.toml``: what is read, and what is said of everything that can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import paths
from harness.errors import BadInput
from harness.spec import model as models

SHA = "0" * 64


def refused(folder: Path) -> BadInput:
    """The error of reading ``folder``: bad input, with a remedy."""
    with pytest.raises(BadInput) as raised:
        models.read(folder)
    assert raised.value.exit_code == 2
    assert raised.value.remedy
    assert str(folder) in raised.value.problem
    return raised.value


def test_a_whole_folder_is_read(folder: Any) -> None:
    """What the file leaves out has its default; what it says is there."""
    folder.write(requirements=["numpy==2.0"], resources={"memory_mb": 64}, train={"script": "predictor.py"})
    model = folder.read()
    assert model.name == "tiny"
    assert model.file.requirements == ("numpy==2.0",)
    assert model.file.resources.memory_mb == 64
    assert model.file.entrypoint == "predictor.py"
    assert model.examples.inputs == (1, 2.5, 3)


#: What is changed, and what the message has to name.
BROKEN: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "unknown key": ({"entry_point": "x.py"}, ("key 'entry_point' = 'x.py'", "did you mean 'entrypoint'?")),
    "unlike any key": ({"zzzzzz": 1}, ("key 'zzzzzz' = 1", "known keys here:", "requirements")),
    "unknown in a table": ({"resources": {"memory": 5}}, ("'resources.memory' = 5", "did you mean 'memory_mb'?")),
    "unknown in a list": (
        {"artifacts": [{"path": "w", "sha265": SHA}]},
        ("'artifacts.0.sha265'", "did you mean 'sha256'?"),
    ),
    "text for a number": ({"resources": {"memory_mb": "64"}}, ("key 'resources.memory_mb' = '64'", "integer")),
    "number for a text": ({"version": 1}, ("key 'version' = 1", "string")),
    "text for a list": ({"requirements": "numpy"}, ("key 'requirements' = 'numpy'",)),
    "number in env": ({"env": {"THREADS": 1}}, ("key 'env.THREADS' = 1", "string")),
    "zero byte in env": ({"env": {"THREADS": "1\0"}}, ("key 'env.THREADS'", "zero byte")),
    "no name in env": ({"env": {'""': "1"}}, ("key 'env.'", "is not the name of an environment")),
    "equals in env": (
        {"env": {'"A=B"': "1"}},
        ("key 'env.A=B'", "is not the name of an environment variable"),
    ),
    "missing key": ({"name": None}, ("key 'name'", "is missing", "add 'name' to model.toml")),
    "missing version of the spec": ({"spec_version": None}, ("key 'spec_version'", "is missing")),
    "missing key in a list": ({"artifacts": [{"sha256": SHA}]}, ("key 'artifacts.0.path'", "is missing")),
    "newer spec": ({"spec_version": 2}, ("key 'spec_version' = 2", "newer", "upgrade the harness")),
    "older spec": ({"spec_version": 0}, ("key 'spec_version' = 0", "must be 1", "spec_version = 1")),
    "spec as text": ({"spec_version": "1"}, ("key 'spec_version' = '1'", "must be 1")),
    "spec as truth": ({"spec_version": True}, ("key 'spec_version' = True",)),
    "name": ({"name": "My Model"}, ("key 'name' = 'My Model'", "lower-case letters")),
    "entry point above": ({"entrypoint": "../predictor.py"}, ("'entrypoint' = '../predictor.py'", "leaves the folder")),
    "entry point absolute": ({"entrypoint": "/etc/hosts.py"}, ("'entrypoint' = '/etc/hosts.py'", "leaves the folder")),
    "entry point empty": ({"entrypoint": ""}, ("key 'entrypoint' = ''", "leaves the folder")),
    "entry point not there": ({"entrypoint": "no.py"}, ("'entrypoint' = 'no.py'", "is not a Python file")),
    "entry point not Python": ({"entrypoint": "examples.json"}, ("'examples.json'", "is not a Python file")),
    "examples above": ({"examples": {"path": "../e.json"}}, ("'examples.path' = '../e.json'", "leaves the folder")),
    "script above": ({"train": {"script": "../t.py"}}, ("'train.script' = '../t.py'", "leaves the folder")),
    "script not there": ({"train": {"script": "t.py"}}, ("key 'train.script' = 't.py'", "is not there")),
    "artifact above": ({"artifacts": [{"path": "../w", "sha256": SHA}]}, ("'artifacts.0.path' = '../w'", "leaves")),
    "artifact not there": ({"artifacts": [{"path": "w", "sha256": SHA}]}, ("'artifacts.0.path' = 'w'", "no [train]")),
    "artifact folder not there": (
        {"artifacts": [{"path": "w/", "sha256": SHA}]},
        ("'artifacts.0.path' = 'w/'", "add the folder"),
    ),
    "artifact a file, not a folder": (
        {"artifacts": [{"path": "predictor.py/", "sha256": SHA}]},
        ("'artifacts.0.path' = 'predictor.py/'", "is not there"),
    ),
    "artifact of everything": (
        {"artifacts": [{"path": "./", "sha256": SHA}]},
        ("'artifacts.0.path' = './'", "model's own folder"),
    ),
    "artifact without digest": (
        {"artifacts": [{"path": "predictor.py"}]},
        ("key 'artifacts.0.sha256'", "is missing", 'verify = "outputs"'),
    ),
    "digest malformed": (
        {"artifacts": [{"path": "w", "sha256": "A" * 64}]},
        ("'artifacts.0.sha256' = 'AAA", "64 lower-case hexadecimal"),
    ),
    "bytes negative": ({"artifacts": [{"path": "w", "bytes": -1}]}, ("'artifacts.0.bytes' = -1",)),
    "verify otherwise": ({"artifacts": [{"path": "w", "verify": "no"}]}, ("'artifacts.0.verify' = 'no'", "outputs")),
    "requirement twice": ({"requirements": ["num_py==1", "Num-Py"]}, ("key 'requirements' = 'num-py'", "given twice")),
    "requirement malformed": ({"requirements": ["numpy = 1"]}, ("'requirements.0' = 'numpy = 1'", "not a requirement")),
    "requirement by URL": (
        {"requirements": ["a @ https://x.org/a.whl"]},
        ("'requirements.0' = 'a @ https://x.org/a.whl'", "cannot be locked"),
    ),
    "requirement by path": ({"requirements": ["./wheel.whl"]}, ("'requirements.0' = './wheel.whl'",)),
    "requirement of training": (
        {"train": {"script": "predictor.py", "requirements": ["=="]}},
        ("'train.requirements.0' = '=='", "not a requirement"),
    ),
    "python's digits": ({"python": ">=3." + "9" * 5000}, ("key 'python'", "thousand digits")),
    "requirements' digits": ({"requirements": ["numpy==" + "9" * 5000]}, ("requirements", "thousand digits")),
    "python": ({"python": ">>3"}, ("key 'python' = '>>3'", "is not a version specifier")),
    "torch backend": ({"torch_backend": "cu128"}, ("key 'torch_backend' = 'cu128'", "cpu")),
    "tolerance negative": ({"examples": {"tolerance": -1.0}}, ("'examples.tolerance' = -1.0", "greater than or equal")),
    "timeout zero": ({"resources": {"predict_timeout_s": 0.0}}, ("'resources.predict_timeout_s' = 0.0", "greater")),
    "memory of the world": ({"resources": {"memory_mb": 2**63 - 1}}, ("'resources.memory_mb' = 92233", "less than")),
    "too many processes": ({"resources": {"processes": 65_537}}, ("'resources.processes' = 65537", "less than")),
    "a disk of the world": ({"resources": {"disk_mb": 10**30}}, ("'resources.disk_mb' = 1000", "less than")),
    "a start of years": ({"resources": {"start_timeout_s": 86_401.0}}, ("'resources.start_timeout_s'", "less than")),
    "an answer of years": ({"resources": {"predict_timeout_s": 1e300}}, ("'resources.predict_timeout_s'", "less than")),
    "training for years": (
        {"train": {"script": "predictor.py", "timeout_s": 1e9}},
        ("'train.timeout_s' = 1000000000.0", "less than"),
    ),
    "anything is right": ({"examples": {"tolerance": 1e308}}, ("'examples.tolerance' = 1e+308", "less than")),
    "memory of nothing": ({"resources": {"memory_mb": 0}}, ("'resources.memory_mb' = 0", "greater")),
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_message_names_file_key_value_and_remedy(folder: Any, what: str) -> None:
    """A broken model.toml is bad input whose message names the file, the key, its value and the remedy."""
    changes, named = BROKEN[what]
    text = str(refused(folder.write(**changes).path))
    assert str(folder.path / "model.toml") in text
    for part in (*named, "remedy:"):
        assert part in text


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"examples": {"tolerance": float("inf")}}, id="tolerance inf: every answer is right"),
        pytest.param({"examples": {"tolerance": float("nan")}}, id="tolerance nan"),
        pytest.param({"resources": {"start_timeout_s": float("inf")}}, id="start_timeout_s inf"),
        pytest.param({"resources": {"predict_timeout_s": float("nan")}}, id="predict_timeout_s nan"),
    ],
)
def test_a_number_has_to_be_finite(folder: Any, changes: dict[str, Any]) -> None:
    """Infinite and undefined numbers are refused."""
    refused(folder.write(**changes).path)


def test_a_date_is_not_a_text(folder: Any) -> None:
    """TOML's dates are not taken for strings: nothing is converted silently."""
    spec = folder.path / "model.toml"
    spec.write_text(spec.read_text().replace('version = "1.0"', "version = 2024-01-02"))
    assert "version" in str(refused(folder.path))


def _not_there(folder: Path) -> None:
    (folder / "model.toml").unlink()


def _a_folder(folder: Path) -> None:
    _not_there(folder)
    (folder / "model.toml").mkdir()


def _not_toml(folder: Path) -> None:
    (folder / "model.toml").write_text("name = \n")


def _not_utf8(folder: Path) -> None:
    (folder / "model.toml").write_bytes(b'name = "\xff"\n')


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_not_there, ("there is no such file", "harness init")),
        (_a_folder, ("is a folder, not a file",)),
        (_not_toml, ("is not valid TOML", "line 1", "mend the line")),
        (_not_utf8, ("is not UTF-8 text", "save it as UTF-8")),
    ],
)
def test_a_file_that_cannot_be_read(folder: Any, damage: Callable[[Path], None], named: tuple[str, ...]) -> None:
    """A missing or unreadable model.toml is named, with what to do."""
    damage(folder.path)
    text = str(refused(folder.path))
    for part in (str(folder.path / "model.toml"), *named):
        assert part in text


def test_a_nesting_that_is_too_deep_is_bad_input(folder: Any) -> None:
    """A model.toml or examples.json nested thousands deep is refused like any other malformed file."""
    (folder.path / "examples.json").write_text("[" * 100_000)
    refused(folder.path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A path without a folder is named."""
    assert "there is no such folder" in str(refused(tmp_path / "none"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (None, ("there is no such file", '"inputs"')),
        ("{", ("is not valid JSON", "mend the line")),
        ("\xff", ("is not UTF-8",)),
        ("[1]", ("is not an object",)),
        ('{"inputs": [1]}', ("key 'outputs'", "is missing")),
        ('{"inputs": [1], "outputs": [1], "more": 1}', ("key 'more' = 1", "known keys")),
        ('{"inputs": 5, "outputs": [1]}', ("key 'inputs' = 5",)),
        ('{"inputs": [1], "outputs": [1, 2]}', ("1 inputs and 2 outputs", "one output for each")),
        ('{"inputs": [], "outputs": []}', ("0 inputs and 0 outputs",)),
    ],
)
def test_examples_have_to_be_whole(folder: Any, text: str | None, named: tuple[str, ...]) -> None:
    """Examples that are missing, malformed or of unequal length are named with their file and key."""
    file = folder.path / "examples.json"
    file.unlink() if text is None else file.write_text(text, encoding="latin-1")
    found = str(refused(folder.path))
    for part in (str(file), *named, "remedy:"):
        assert part in found


@pytest.mark.parametrize("number", ["NaN", "Infinity"])
def test_an_expected_answer_is_a_number(folder: Any, number: str) -> None:
    """NaN is never equal to an answer and infinity to all of them, so neither is an expected output."""
    (folder.path / "examples.json").write_text(f'{{"inputs": [1], "outputs": [{number}]}}')
    refused(folder.path)


def test_no_link_leads_out_of_the_folder(folder: Any) -> None:
    """A path that stays inside by its name but leaves by a link is refused."""
    outside = folder.path.parent / "outside.py"
    outside.write_text("")
    (folder.path / "link.py").symlink_to(outside)
    assert "leaves the folder" in str(refused(folder.write(entrypoint="link.py").path))


def test_a_model_is_found_by_name_or_path(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample model's name and a folder's path both work; anything else names the models there are."""
    assert models.find(str(folder.path)) == folder.read()
    assert models.find("spam-bayes").folder == paths.data("sample_models") / "spam-bayes"
    with pytest.raises(BadInput) as raised:
        models.find("spam-buyes")
    assert "'spam-buyes'" in raised.value.problem
    assert "spam-bayes" in raised.value.remedy


def test_every_sample_model_is_whole() -> None:
    """What travels with the harness can be read, under the name of its folder."""
    names = models.sample_names()
    assert "spam-bayes" in names
    assert [models.find(name).name for name in names] == names
