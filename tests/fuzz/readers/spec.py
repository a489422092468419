"""A model's folder, scenarios, prices, answers, and the environment's own variables."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from fuzz import bundles, made
from harness import paths, tree
from harness.cli import console
from harness.errors import HarnessError
from harness.measure import profile as profiles
from harness.methods import METHODS
from harness.platforms.conda import channels
from harness.recommend import engine, prices
from harness.spec import lock as locking
from harness.spec import model as models
from harness.spec import pins, weights
from harness.spec import scenario as scenarios
from harness.spec.model import Model

TOML = b'spec_version = 1\nname = "tiny"\nversion = "1"\ndescription = "d"\nframework = "none"\n'
EXAMPLES = b'{"inputs": [1, 2.5], "outputs": [2, 5.0]}'
PREDICTOR = b"def load(model_dir):\n    return 2\n\ndef predict(model, inputs):\n    return inputs\n"


def _folder(place: Path, *, toml: bytes = TOML, examples: bytes = EXAMPLES) -> Path:
    folder = place / "tiny"
    (folder / "weights").mkdir(parents=True)
    for name, text in {"model.toml": toml, "examples.json": examples, "predictor.py": PREDICTOR}.items():
        (folder / name).write_bytes(text)
    (folder / "weights" / "w.bin").write_bytes(b"w")
    (folder / "train.py").write_bytes(b"")
    return folder


def _used(model: Model) -> None:
    """All that is done with a model before its code is run."""
    _ = model.digest
    profiles.sources_digest(model)
    for artifact in model.file.artifacts:
        artifact.present(model.folder)
    with contextlib.suppress(HarnessError):
        channels.source(model, "3.11")
    weights.locked(model)


def model_toml(data: bytes, place: Path) -> None:
    """``model.toml``, as the harness reads it and goes by it."""
    _used(models.read(_folder(place, toml=data)))


def examples_json(data: bytes, place: Path) -> None:
    """``examples.json``; what it expects is right where it is answered, but for numbers that nothing equals."""
    model = models.read(_folder(place, examples=data))
    _used(model)
    for answer in model.examples.outputs:
        assert models.answers_match(answer, json.loads(json.dumps(answer)), 1e-6), "an answer is not itself"


def model_folder(data: bytes, place: Path) -> None:
    """A folder whose every file is anybody's: a bundle."""
    folder = place / "tiny"
    bundles.write(data, folder)
    _used(models.read(folder))


def lock_text(data: bytes, place: Path) -> None:
    """A ``requirements.lock`` that travels with a model, below the header that fits its requirements."""
    folder = _folder(place)
    (folder / locking.LOCK_NAME).write_bytes(pins.header(()).encode() + data)
    locking.lock(models.read(folder))


def wheel_names(data: bytes, place: Path) -> None:
    """A model's own wheel of any name, locked by its digest: the first line is the name, the rest is the lock."""
    name, _, lines = data.partition(b"\n")
    called = os.fsdecode(name)
    if "/" in called or "\0" in called or not called.removesuffix(".whl"):
        return
    folder = _folder(place, toml=TOML + b'wheels = "wheels"\n')
    (folder / "wheels").mkdir()
    with contextlib.suppress(OSError):  # a name that is too long
        (folder / "wheels" / called).write_bytes(b"PK")
    digest = hashlib.sha256(b"PK").hexdigest()
    text = lines.replace(b"@DIGEST@", digest.encode())
    (folder / locking.LOCK_NAME).write_bytes(pins.header(()).encode() + text)
    locking.lock(models.read(folder))


def scenario_toml(data: bytes, place: Path) -> None:
    """``scenario.toml``, and the recommendation that is made for it."""
    file = place / "scenario.toml"
    file.write_bytes(data)
    scenario = scenarios.read(file)
    engine.as_dict(engine.recommend(made.evidence(), scenario, METHODS))


def prices_toml(data: bytes, place: Path) -> None:
    """A table of prices."""
    file = place / "prices.toml"
    file.write_bytes(data)
    table = prices.read(file)
    _ = table.read_on
    for tariff in table.tariffs:
        table.of(tariff.platform)
        tariff.machine(1024)
        if tariff.by_use is not None:
            tariff.by_use.second(512)
            tariff.by_use.seconds(0.25)


def answers(data: bytes, place: Path) -> None:
    """What a model answers beside what it should: a pair of JSON values. Whether they match, never an error."""
    file = place / "pair.json"
    file.write_bytes(data)
    try:
        pair = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(pair, list) and len(pair) == 2:
        assert isinstance(models.answers_match(pair[0], pair[1], 1e-6), bool)


_VARIABLES = (
    *("HARNESS_CACHE", "HARNESS_RESULTS", "HARNESS_PYTHON", "HARNESS_BASE_IMAGE", "HARNESS_REGISTRY"),
    *("HARNESS_CONDA_CHANNEL", "HARNESS_SCIE_ASSETS", "COLUMNS", "XDG_CACHE_HOME"),
)


def environment(data: bytes, place: Path) -> None:
    """``NAME=value`` lines: the harness's variables. Folders are only ever made below ``place``."""
    for line in data.split(b"\n"):
        name, _, value = line.partition(b"=")
        if b"\0" in value:  # which no variable can hold
            continue
        text = os.fsdecode(value)
        leaves = ".." in text or os.path.isabs(text) or os.path.isabs(os.path.expanduser(text))
        if name.decode("ascii", "replace") in _VARIABLES and not leaves:
            os.environ[name.decode()] = text
    with contextlib.chdir(place):
        console.width()
        asked: list[Callable[[], object]] = [paths.results, paths.key, *(one.check for one in METHODS.values())]
        for ask in asked:
            with contextlib.suppress(HarnessError):
                ask()
        channels.source(models.read(_folder(place)), "3.11")


def sources(data: bytes, place: Path) -> None:
    """A folder of anybody's files, as digests, sizes and copies are taken of it."""
    folder = place / "folder"
    bundles.write(data, folder)
    tree.digest(folder)
    tree.size(folder)
    tree.copy(folder, place / "copy")
    tree.pack(folder, place / "packed.tar.gz")
    tree.unpack(place / "packed.tar.gz", place / "unpacked")
    assert tree.digest(place / "copy") == tree.digest(place / "unpacked")
