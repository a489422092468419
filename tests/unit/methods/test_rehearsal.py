"""What a plain start of a model tells of itself, and what is believed of that."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import interpreter
from harness.methods import layout, rehearsal
from harness.methods.contract import Traced
from harness.spec import environments, weights
from harness.spec.weights import LockedModel

pytestmark = pytest.mark.usefixtures("here", "open_door")


@pytest.fixture
def locked(folder: Any) -> LockedModel:
    """A model that doubles."""
    return weights.locked(folder.read())


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """The packages of an environment."""
    place = environments.site_packages(tmp_path / "environment", interpreter.default())
    for name in ("kern/__init__.py", "kern/_kernels.cu", "kern/lib/libx.so", "kern/tests/__init__.py"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("")
    return place


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """The folder with runner and model; the model has a library of its own."""
    (tmp_path / "sources" / "model").mkdir(parents=True)
    (tmp_path / "sources" / "model" / "own.so").touch()
    return tmp_path / "sources"


def test_what_is_there_is_believed(packages: Path, sources: Path) -> None:
    """Names of modules, files and folders of the packages, libraries of the model's own, and where others lie."""
    said = {
        "modules": ["kern", "kern.tests", "json"],
        "sources": [f"{packages}/kern/__init__.py", f"{packages}/kern/tests/__init__.py"],
        "opened": [f"{packages}/kern/_kernels.cu"],
        "listed": [f"{packages}/kern", str(packages)],
        "mapped": [f"{packages}/kern/lib/libx.so", f"{sources}/model/own.so", "/usr/lib/libc.so.6"],
    }
    found = rehearsal.believed(said, packages, sources)
    assert found == Traced(
        modules=("json", "kern", "kern.tests"),
        sources=("kern/__init__.py", "kern/tests/__init__.py"),
        opened=("kern/_kernels.cu",),
        listed=("kern",),
        mapped=("kern/lib/libx.so",),
        own=("model/own.so",),
        system=("/usr/lib/libc.so.6",),
    )
    assert found.kept == ("kern/_kernels.cu", "kern/lib/libx.so", "kern/tests/__init__.py", "kern/")


LIES: list[Any] = [
    None,
    [],
    "kern",
    {"opened": "kern"},
    {"opened": [1, None, ["a"], {"b": 1}], "modules": [1, "--add-data", "a b", "x;y", "", "../up", "a\nb"]},
    {"opened": ["/etc/passwd", "kern/_kernels.cu", "{packages}", "{packages}/", "{packages}//kern/_kernels.cu"]},
    {"opened": ["{packages}/../secret", "{packages}/kern/../../secret", "{packages}/kern/./_kernels.cu"]},
    {"opened": ["{packages}/gone.txt", "{packages}/kern/gone.cu", "{packages}/kern", "{packages}/link.cu"]},
    {"opened": ["{packages}/kern/_kernels.cu\n", "{packages}/ker\x00n", "{packages}/" + "a" * 2000]},
    {"listed": ["{packages}/kern/_kernels.cu", "{packages}/linked", "/", "{packages}/kern/"]},
    {"mapped": ["usr/lib/libc.so.6", "{packages}/kern/lib", "{packages}/gone.so", "/li\x00b.so", 1]},
]


@pytest.mark.parametrize("said", LIES)
def test_lies_are_not_believed(packages: Path, sources: Path, said: Any) -> None:
    """Nothing outside, nothing that is not there, no link, nothing of another kind or spelt in another way."""
    (packages.parent / "secret").write_text("")
    (packages / "link.cu").symlink_to("/etc/passwd")
    (packages / "linked").symlink_to("/etc")
    if isinstance(said, dict):
        said = json.loads(json.dumps(said).replace("{packages}", str(packages)))
    assert rehearsal.believed(said, packages, sources) == Traced()


def test_no_more_is_believed_than_anybody_needs(packages: Path, sources: Path) -> None:
    """However long the list is."""
    said = {"modules": [f"m{number}" for number in range(50_000)]}
    assert len(rehearsal.believed(said, packages, sources).modules) == 20_000


def _too_long(to: Path) -> None:
    to.touch()
    os.truncate(to, rehearsal._LARGEST_LIST + 1)


@pytest.mark.parametrize(
    ("writes", "ended_well"),
    [
        (lambda to: to.write_text('{"modules": ["kern"]}'), False),
        (Path.exists, True),  # nothing is written
        (lambda to: to.mkdir(), True),
        (lambda to: to.symlink_to("/etc/passwd"), True),
        (lambda to: to.write_text("kern"), True),
        (lambda to: to.write_text("[" * 100_000), True),
        (lambda to: to.write_bytes(b"\xff{}"), True),
        (_too_long, True),
    ],
)
def test_without_answers_nothing_is_known(
    locked: LockedModel, packages: Path, monkeypatch: pytest.MonkeyPatch, writes: Any, ended_well: bool
) -> None:
    """A model that fails, or writes something else in place of the list, teaches nothing."""

    def answered(_: Any, argv: Any, *, disk: Path, **__: Any) -> bool:
        (disk / "home").mkdir()
        writes(Path(argv[-1]))
        return ended_well

    monkeypatch.setattr(rehearsal, "answered", answered)
    python = packages.parents[2] / "bin" / "python"
    assert rehearsal.traced(locked, python, packages.parents[2], timeout_s=5.0) == Traced()


KERN = """\
import ctypes, importlib, os
HERE = os.path.dirname(__file__)
SOURCE = open(os.path.join(HERE, "_ker" + "nels.cu")).read()
os.close(os.open(os.path.join(HERE, "low.h"), os.O_RDONLY))
LIBRARY = ctypes.CDLL(os.path.join(HERE, "lib", "libx.so"))
NAMES = os.listdir(os.path.join(HERE, "plugins"))
importlib.import_module("kern." + "tests.data")
open(os.path.join(os.environ["HOME"], "written.h"), "w").close()
"""


@pytest.mark.spawns
def test_a_start_tells_what_it_opens_lists_and_maps(locked: LockedModel, packages: Path, tmp_path: Path) -> None:
    """By Python, by a low-level call, by the loader; not what the import system itself reads and lists."""
    assert ctypes  # which has loaded it
    native = sys.modules["_ctypes"].__file__
    if native is None:
        pytest.skip("this Python has _ctypes in itself: there is no library to load")
    shutil.copy(native, packages / "kern/lib/libx.so")
    texts = {"kern/__init__.py": KERN, "kern/low.h": "", "kern/tests/data.py": "", "kern/more.py": ""}
    for name, text in texts.items():
        (packages / name).write_text(text)
    (packages / "kern/plugins").mkdir()
    (packages / "kern/plugins/a.py").write_text("")
    layout.write_sources(locked, tmp_path / "sources", bytecode="none")
    model = tmp_path / "sources" / layout.MODEL_FOLDER / "predictor.py"
    model.write_text("import kern, kern.more\n" + model.read_text())
    argv = [sys.executable, "-s", str(rehearsal._SCRIPT), str(tmp_path / "sources"), str(tmp_path / "told")]
    said = json.dumps({"inputs": list(locked.model.examples.inputs)})
    env = {"PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(tmp_path)}
    subprocess.run(argv, input=said, text=True, check=True, env=env)
    found = rehearsal.believed(json.loads((tmp_path / "told").read_text()), packages, tmp_path / "sources")
    assert {"kern", "kern.more", "kern.tests.data", "ctypes"} <= set(found.modules)
    assert found.sources == ("kern/__init__.py", "kern/more.py", "kern/tests/__init__.py", "kern/tests/data.py")
    assert found.opened == ("kern/_kernels.cu", "kern/low.h")
    assert found.listed == ("kern/plugins",)
    assert found.mapped == ("kern/lib/libx.so",)
    assert found.own == ()
    assert any("libc" in path for path in found.system)
