"""Model folders that somebody made to do harm: each gets a message at once, none a traceback."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import files, paths, process, tree
from harness.errors import BadInput, HarnessError, ModelFailure
from harness.spec import environments, pins, reading, scenario, weights
from harness.spec import lock as locks
from harness.spec import model as models
from harness.spec.mlflow import folder as mlflow
from harness.spec.mlflow import safe_yaml
from harness.spec.model import answers_match

pytestmark = pytest.mark.usefixtures("here")


def _socket(path: Path) -> None:
    os.mknod(path, stat.S_IFSOCK | 0o600)  # binding one would bound the length of its path


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 100 * 2**30)


#: What may lie where a file belongs.
ODD: dict[str, Callable[[Path], object]] = {
    "a link to a secret": lambda path: path.symlink_to("/etc/shadow"),
    "an endless device by a link": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to what proc shows": lambda path: path.symlink_to("/proc/self/environ"),
    "a pipe": os.mkfifo,
    "a socket": _socket,
    "a folder": Path.mkdir,
}


def whole(folder: Any) -> Path:
    """The folder with everything that a model can have, and a lock of nothing."""
    path: Path = folder.path
    (path / "weights").mkdir()
    (path / "weights" / "w.bin").write_text("weights")
    folder.wheel("own-1-py3-none-any.whl")
    (path / "train.py").write_text("")
    (path / "requirements.lock").write_text(pins.header([]))
    folder.write(
        train={"script": "train.py"}, artifacts=[{"path": "weights/w.bin", "verify": "outputs"}], wheels="wheels"
    )
    return path


def refused(path: Path, name: str) -> str:
    """The message, which names what is meant."""
    with pytest.raises(HarnessError) as raised:
        weights.payload(models.read(path), path)
    text = str(raised.value)
    assert name in text
    assert raised.value.remedy
    return text


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize(
    "name",
    [
        "model.toml",
        "predictor.py",
        "examples.json",
        "train.py",
        "weights/w.bin",
        "wheels/own-1-py3-none-any.whl",
        "more",
    ],
)
def test_nothing_but_a_file_is_read(folder: Any, name: str, kind: str) -> None:
    """Neither links nor pipes, wherever they lie; what a link leads to is not in the message."""
    path = whole(folder)
    (path / name).unlink(missing_ok=True)
    ODD[kind](path / name)
    if name == "more" and kind == "a folder":
        return
    assert "root:" not in refused(path, name.split("/", maxsplit=1)[0])


@pytest.mark.parametrize("name", ["weights", "wheels"])
def test_no_folder_is_a_link(folder: Any, name: str, tmp_path: Path) -> None:
    """Neither those of weights nor of wheels."""
    path = whole(folder)
    (path / name).rename(path / "elsewhere")
    (path / name).symlink_to("elsewhere")
    assert "is a link" in refused(path, name)


def test_folders_nested_without_end(folder: Any, harness: Any, nested: Any) -> None:
    """A message that names the folder; it can be removed."""
    path = whole(folder)
    nested(path)
    assert "nested more than 200 deep" in refused(path, str(path))
    said = harness("check", path)
    assert said.code in {1, 2}
    assert "nested more than 200 deep" in said.err
    files.remove(path)
    assert not path.exists()


def test_a_sparse_file_is_refused_before_it_is_read(folder: Any) -> None:
    """Weights and data of 100 GB that take no room on this disk."""
    path = whole(folder)
    _sparse(path / "more")
    assert "more than" in refused(path, "more")
    (path / "more").unlink()
    _sparse(path / "weights" / "w.bin")
    with pytest.raises(BadInput, match="disk_mb"):
        weights.locked(models.read(path))
    (path / "model.toml").unlink()
    _sparse(path / "model.toml")
    assert "larger than 1 MiB" in refused(path, "model.toml")


def test_odd_names_travel(folder: Any) -> None:
    """Newlines, bytes that are no text, the longest names, hard links."""
    path = whole(folder)
    names = ["a\nb", "\udcff\udcfe", "n" * 255, "-rf", " ", "~"]
    for name in names:
        (path / name).write_text(name, errors="surrogateescape")
    os.link(path / "-rf", path / "hard")
    payload = weights.payload(models.read(path), path)
    assert {*names, "hard"} <= set(os.listdir(payload))
    assert payload.name == tree.digest(payload)[:24]


@pytest.mark.parametrize("key", ["entrypoint", "wheels"])
@pytest.mark.parametrize(
    "value", ["a\0b", "n" * 5000, "../x", "/etc/shadow", "", "loop/x.py", "\x1b[2J.py"], ids="{:.9}".format
)
def test_impossible_paths(folder: Any, key: str, value: str) -> None:
    """Whatever model.toml names, the message is about model.toml or what it names."""
    path = whole(folder)
    (path / "loop").symlink_to("loop")
    with pytest.raises(BadInput) as raised:
        folder.write(**{key: value}).read() if value or key != "wheels" else folder.write(entrypoint="").read()
    assert "\x1b" not in str(raised.value)


@pytest.mark.parametrize("name", ["n" * 5000, "a\0b", "~nobody-is-called-so/x", "/dev/zero/x"], ids="{:.9}".format)
def test_impossible_names_of_models_and_scenarios(name: str) -> None:
    """They are not there, and that is what is said."""
    for find in (models.find, scenario.find):
        with pytest.raises(BadInput):
            find(name)


# --- what files hold ---


@pytest.mark.parametrize("number", ["1e999", "-1e999", "Infinity", "NaN", "1" * 5000])
def test_no_number_without_bounds(folder: Any, number: str) -> None:
    """Infinity is not JSON, however it is written; nor does a number have 5,000 digits."""
    (folder.path / "examples.json").write_text(f'{{"inputs": [1], "outputs": [{number}]}}')
    with pytest.raises(BadInput, match=r"examples\.json"):
        folder.read()


def test_infinity_answers_nothing() -> None:
    """It made every answer right: the difference to it is infinite, and so was what is allowed."""
    inf, nan = float("inf"), float("nan")
    assert not answers_match(inf, 1.0, 1e-6)
    assert not answers_match(1.0, inf, 1e-6)
    assert not answers_match(inf, -inf, 1e-6)
    assert not answers_match(nan, nan, 1e-6)
    assert answers_match([inf], [inf], 1e-6)
    assert not answers_match(inf, 10**400, 1e-6)


@pytest.mark.parametrize("tolerance", ["inf", "nan", "1e300", "1e7", "-1.0"])
def test_a_tolerance_has_bounds(folder: Any, tolerance: str) -> None:
    """With an endless one every answer would be right."""
    file = folder.path / "model.toml"
    file.write_text(file.read_text() + f"[examples]\ntolerance = {tolerance}\n")
    with pytest.raises(BadInput, match="tolerance"):
        folder.read()


def test_files_of_settings_and_examples_have_bounds(folder: Any) -> None:
    """One MiB of settings, 16 of examples."""
    file = folder.path / "examples.json"
    file.write_bytes(b'{"inputs": [1], "outputs": [2]' + b" " * 16 * 2**20 + b"}")
    with pytest.raises(BadInput, match="larger than 16 MiB"):
        folder.read()
    file = folder.path / "model.toml"
    file.write_bytes(file.read_bytes() + b"#" * 2**20)
    with pytest.raises(BadInput, match="larger than 1 MiB"):
        folder.read()


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "1" * 5000,
        "a = 1979-99-99",
        "[" * 100_000,
        "a = " + "[" * 50_000 + "]" * 50_000,
        ".".join("a" * 50_000) + " = 1",
        "a = 1e999",
        "\0",
        'a = "\\uD800"',
    ],
)
def test_settings_that_python_stumbles_over(folder: Any, text: str) -> None:
    """A number of thousands of digits, a day that is none, nesting, dotted keys."""
    (folder.path / "model.toml").write_text(text)
    with pytest.raises(BadInput):
        folder.read()


@pytest.mark.parametrize("text", ['["\\ud800"]', "[" * 100_000, "[" * 400 + "]" * 400, '{"a":' * 990 + "1" + "}" * 990])
def test_examples_that_python_stumbles_over(folder: Any, text: str) -> None:
    """Halves of characters, and nesting beyond what answers can be compared in."""
    (folder.path / "examples.json").write_text(f'{{"inputs": [1], "outputs": {text}}}')
    with pytest.raises(BadInput, match=r"examples\.json"):
        folder.read()


@pytest.mark.parametrize(
    "text",
    [
        "a: !!timestamp x",
        "a: !!bool x",
        "a: !!int ''",
        "a: !!float x",
        "a: 1" + ":1" * 100_000,
        "a: 1" + ":1" * 100_000 + ".5",
        "a: !!python/object/apply:os.system ['true']",
        "a: &a [*a]",
        "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9) if n else 1}]\n" for n in range(12)),
        "? {a: b}\n: c",
        "[" * 10_000,
        "<<: {a: b}",
    ],
)
def test_yaml_that_pyyaml_stumbles_over(tmp_path: Path, text: str) -> None:
    """Values whose reader raises what it should not, or takes for ever; bombs of aliases."""
    (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(BadInput, match="MLmodel"):
        safe_yaml.table(tmp_path / "MLmodel", remedy="-")


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", ["MLmodel", "requirements.txt", "conda.yaml", "more/x"])
def test_mlflow_folders_are_read_in_the_same_way(tmp_path: Path, name: str, kind: str) -> None:
    """A message for each, at once."""
    (tmp_path / "more").mkdir()
    (tmp_path / "MLmodel").write_text("flavors: {python_function: {loader_module: mlflow.sklearn}}")
    (tmp_path / "requirements.txt").write_text("numpy")
    (tmp_path / name).unlink(missing_ok=True)
    ODD[kind](tmp_path / name)
    if kind == "a folder" and name != "MLmodel":
        return
    with pytest.raises(BadInput):
        mlflow.read(tmp_path)


@pytest.mark.parametrize("kind", ODD)
def test_scenarios_are_read_in_the_same_way(tmp_path: Path, kind: str) -> None:
    """Its user may name a link; what that leads to is a file, or is refused."""
    ODD[kind](tmp_path / "s.toml")
    with pytest.raises(BadInput):
        scenario.find(str(tmp_path / "s.toml"))


# --- training ---


@pytest.fixture
def trained(
    folder: Any, monkeypatch: pytest.MonkeyPatch, open_door: object
) -> Callable[[Callable[[Path], object]], Path]:
    """Train a model whose script is a function: it writes into the folder that it is given."""
    path = whole(folder)
    (path / "weights" / "w.bin").unlink()
    digest = "5ea3d0ce2cb4a4b8d3ec6dc7d1c6e4ef0d9e0a1e6c3b1a2b9e0f4d5c6b7a8990"
    folder.write(artifacts=[{"path": "weights/w.bin", "sha256": digest}], resources={"disk_mb": 64}, wheels=None)

    def train(write: Callable[[Path], object]) -> Path:
        def run(argv: list[str], **_: Any) -> process.Completed:
            out = Path(argv[2])
            (out / "weights" / "w.bin").write_text("w")
            write(out)
            return process.Completed(argv=(), returncode=0, stdout="", stderr="", wall_s=1.0)

        monkeypatch.setattr(process, "run", run)
        monkeypatch.setattr(environments, "installed", lambda _: Path("/envs/e/bin/python"))
        monkeypatch.setattr(tree, "sha256", lambda _: digest)
        return weights.locked(folder.read()).payload

    return train


@pytest.mark.parametrize("kind", ODD)
def test_training_that_leaves_something_odd_is_a_model_failure(trained: Any, kind: str) -> None:
    """In place of its weights, beside them, and a folder as a link; nothing of it stays."""

    def replace(out: Path) -> None:
        (out / "weights" / "w.bin").unlink()
        ODD[kind](out / "weights" / "w.bin")

    with pytest.raises((ModelFailure, BadInput)):
        trained(replace)
    if kind != "a folder":
        with pytest.raises(ModelFailure, match="more"):
            trained(lambda out: ODD[kind](out / "more"))
    assert os.listdir(paths.cache() / "tmp") == []


def test_training_is_bounded_in_what_it_leaves(trained: Any, nested: Any) -> None:
    """By its apparent size too: 100 GB that take no room are not copied out."""
    with pytest.raises(ModelFailure, match="disk_mb"):
        trained(lambda out: _sparse(out / "weights" / "w.bin"))
    with pytest.raises(ModelFailure, match="more than the 64 MiB"):
        trained(lambda out: (out / "more").write_bytes(b"1" * 65 * 2**20))
    with pytest.raises(ModelFailure, match="nested"):
        trained(nested)
    assert os.listdir(paths.cache() / "tmp") == []


def test_what_training_leaves_is_ours(trained: Any) -> None:
    """Its modes, without setuid."""

    def write(out: Path) -> None:
        (out / "weights" / "w.bin").chmod(0o6777)

    payload = trained(write)
    assert (payload / "weights" / "w.bin").stat().st_mode & 0o7777 == 0o755


CHANGES: dict[str, Callable[[Any], object]] = {
    "data": lambda folder: (folder.path / "data.csv").write_text("2"),
    "name of data": lambda folder: (folder.path / "data.csv").rename(folder.path / "other.csv"),
    "executable": lambda folder: (folder.path / "data.csv").chmod(0o755),
    "code": lambda folder: (folder.path / "train.py").write_text("# changed"),
    "environment": lambda folder: folder.write(env={"SEED": "2"}),
    "memory": lambda folder: folder.write(resources={"memory_mb": 4096}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_training_sees_is_in_its_key(folder: Any, change: str) -> None:
    """Other data are other weights; what it can't see changes nothing."""
    path = whole(folder)
    (path / "data.csv").write_text("1")
    folder.write(env={"SEED": "1"})

    def key() -> str:
        model = folder.read()
        return weights._training_key(model, locks.lock(model))

    before = key()
    (path / ".hidden").write_text("x")
    (path / "__pycache__").mkdir()
    (path / "__pycache__" / "a.pyc").write_text("x")
    assert key() == before
    CHANGES[change](folder)
    assert key() != before


def test_a_json_file_has_bounds(tmp_path: Path) -> None:
    """Whoever reads one says how much of it."""
    (tmp_path / "x.json").write_text("[1, 2, 3]")
    assert reading.json_value(tmp_path / "x.json", remedy="-", at_most=9) == [1, 2, 3]
    with pytest.raises(BadInput, match="larger than 8 bytes"):
        reading.json_value(tmp_path / "x.json", remedy="-", at_most=8)
