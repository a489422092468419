"""What PyInstaller is told, and what is believed of what the model's process wrote. tests/real runs PyInstaller."""

from __future__ import annotations

import dataclasses
import importlib.machinery
import os
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from harness import interpreter, process, tools
from harness.errors import BuildFailure
from harness.methods import hosted, layout, pyinstaller, pyinstaller_onefile
from harness.methods.contract import Artifact, BuildOptions, Installed, Limits, Method, Traced
from harness.spec import environments, weights
from harness.spec.weights import LockedModel

pytestmark = pytest.mark.usefixtures("here", "open_door")


@pytest.fixture
def locked(folder: Any) -> LockedModel:
    """A model with sources of its own and one dependency."""
    (folder.path / "helper.py").write_text("")
    (folder.path / "parts").mkdir()
    (folder.path / "parts" / "__init__.py").write_text("")
    (folder.path / "weights").mkdir()
    (folder.path / "weights" / "not-a-module.py").write_text("")
    found = weights.locked(folder.read())
    return dataclasses.replace(found, lock=dataclasses.replace(found.lock, packages=(("num-py", "2.4"),)))


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a build: its environment has ``numpy``, PyInstaller's has ``packaging`` too."""
    place = tmp_path / "scratch"
    (environments.site_packages(place / "environment", interpreter.default()) / "numpy").mkdir(parents=True)
    (environments.site_packages(place / "environment", interpreter.default()) / "numpy-2.4.dist-info").mkdir()
    for name in ("numpy", "packaging", "altgraph", "altgraph-1.dist-info", "__pycache__"):
        (environments.site_packages(tmp_path / "tools", interpreter.default()) / name).mkdir(parents=True)
    monkeypatch.setattr(tools, "executable", lambda *_, **__: tmp_path / "tools" / "bin" / "pyinstaller")
    return place


def values(arguments: list[str], option: str) -> list[str]:
    return [arguments[number + 1] for number, one in enumerate(arguments) if one == option]


@pytest.mark.parametrize("method", [pyinstaller, pyinstaller_onefile])
def test_it_is_a_method(method: Method) -> None:
    """It has what the contract wants, and needs no Python on the target; only one of the two is one file."""
    assert not method.REQUIRES
    assert "carries-python" in method.PROVIDES
    assert ("single-file" in method.PROVIDES) == (method is pyinstaller_onefile)


def test_every_module_that_is_loaded_is_named(locked: LockedModel, scratch: Path) -> None:
    """And those of the model, for what it loads for other inputs; its folder lies where the runner looks."""
    found = pyinstaller._arguments(locked, scratch / "disk", scratch, ["numpy", "numpy._core", "json"], "onedir")
    assert values(found, "--hidden-import") == ["numpy", "numpy._core", "json", "helper", "parts", "predictor"]
    assert values(found, "--add-data") == [f"{scratch}/sources/{layout.MODEL_FOLDER}:{layout.MODEL_FOLDER}"]
    assert found[0] == "--onedir"
    assert values(found, "--distpath") == [str(scratch / "disk" / "dist")]
    assert found[-1] == str(pyinstaller._RESOURCES / "entry.py")


def test_data_and_metadata_of_dependencies_are_taken(locked: LockedModel, scratch: Path) -> None:
    """Not those of the standard library, which has none that PyInstaller leaves out."""
    found = pyinstaller._arguments(locked, scratch / "disk", scratch, ["numpy._core", "json", "json.decoder"], "onedir")
    assert values(found, "--collect-data") == ["numpy"]
    assert values(found, "--copy-metadata") == ["num-py"]


def test_nothing_of_pyinstallers_own_gets_in(locked: LockedModel, scratch: Path) -> None:
    """But what the model's environment has too is the model's."""
    found = pyinstaller._arguments(locked, scratch / "disk", scratch, [], "onefile")
    assert values(found, "--exclude-module") == ["altgraph", "packaging"]


def test_neither_the_models_nor_the_runners_modules_are_named(locked: LockedModel) -> None:
    """They travel as they are."""
    names = ("numpy", "numpy._core.multiarray", "predictor", "parts.one", "harness_runner.model", "__main__", "_ctypes")
    assert pyinstaller._loaded(locked, Traced(modules=names)) == ["numpy", "numpy._core.multiarray", "_ctypes"]


def test_what_pyinstaller_leaves_out_is_named_at_its_own_place(scratch: Path) -> None:
    """A library that is loaded by its path, a source that is read as text, the sources of a folder that is listed."""
    packages = environments.site_packages(scratch / "environment", interpreter.default())
    files = ["numpy/lib/libx.so", "numpy/_core/m.cpython-311-x86_64-linux-gnu.so", "numpy/k.cu", "numpy/read.py"]
    files += ["numpy/plugins/one.py", "numpy/plugins/one.txt", "other/k.cu", "numpy-2.4.dist-info/METADATA", "a:b.txt"]
    for name in files:
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text("")
    traced = Traced(
        opened=("a:b.txt", "gone.txt", "numpy-2.4.dist-info/METADATA", "numpy/k.cu", "numpy/read.py", "other/k.cu"),
        listed=("gone", "numpy/plugins"),
        mapped=("numpy/_core/m.cpython-311-x86_64-linux-gnu.so", "numpy/lib/libx.so"),
    )
    found = pyinstaller._found(packages, ["numpy", "numpy._core.m"], traced, [])
    added = [(source.removeprefix(f"{packages}/"), to) for source, _, to in (one.partition(":") for one in found[1::2])]
    assert added == [
        ("numpy/read.py", "numpy"),
        ("other/k.cu", "other"),
        ("numpy/plugins/one.py", "numpy/plugins"),
        ("numpy/lib/libx.so", "numpy/lib"),
    ]
    assert found[0::2] == [*["--add-data"] * 3, "--add-binary"]


def test_packages_are_taken_whole_where_that_mends(scratch: Path) -> None:
    """Only those that are there."""
    packages = environments.site_packages(scratch / "environment", interpreter.default())
    found = pyinstaller._found(packages, [], Traced(), ["numpy", "gone", "--onefile", "../up"])
    assert found == ["--collect-all", "numpy"]


@pytest.mark.parametrize("ends", [1, process.TimedOut(["python"], 900, "hook-numpy.py")])
def test_a_refusal_is_a_failed_build_with_its_log(
    scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_door: list[Any], ends: Any
) -> None:
    """It runs by the environment's Python, without network variables, in bounds."""
    ran: list[Any] = []

    def run(argv: Any, **how: Any) -> process.Completed:
        ran.append((argv, how))
        if isinstance(ends, Exception):
            raise ends
        return process.Completed(argv=tuple(argv), returncode=ends, stdout="", stderr="hook-numpy.py", wall_s=0.1)

    monkeypatch.setattr(process, "run", run)
    disk = tmp_path / "disk"
    disk.mkdir()
    with pytest.raises(BuildFailure, match="PyInstaller") as raised:
        pyinstaller._run_pyinstaller(
            disk, scratch, interpreter.default(), ["--onedir"], BuildOptions(tool_cache=tmp_path)
        )
    assert "hook-numpy.py" in raised.value.log
    [(argv, how)] = ran
    assert argv[:2] == [str(scratch / "environment/bin/python"), "-s"]  # -I would ignore the hash seed
    assert argv[-1] == "--onedir"
    assert how["env"]["PYTHONHASHSEED"] == "1"
    assert how["policy"].bounds == tools.BOUNDS
    assert {path.name for path in open_door[0]["writes"]} == {"own", "dist", "work", "spec"}
    assert open_door[0]["links"] == "inside"


def test_what_was_made_is_copied_with_its_links(tmp_path: Path) -> None:
    """PyInstaller makes some, of libraries that packages share; in place of all of it there may be none."""
    made = tmp_path / "dist" / "tiny"
    (made / "inside").mkdir(parents=True)
    (made / "program").write_text("x")
    (made / "program").chmod(0o755)
    (made / "link").symlink_to("program")
    pyinstaller._copy(made, tmp_path / "tiny")
    assert os.readlink(tmp_path / "tiny" / "link") == "program"
    assert (tmp_path / "tiny" / "program").stat().st_mode & 0o777 == 0o755
    for wrong in ("gone", "linked"):
        (tmp_path / "linked").unlink(missing_ok=True)
        (tmp_path / "linked").symlink_to(made)
        with pytest.raises(BuildFailure, match="left no"):
            pyinstaller._copy(tmp_path / wrong, tmp_path / "other")


def test_a_machine_without_objcopy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install: PyInstaller itself would fail at its last step."""
    monkeypatch.setattr(shutil, "which", lambda name, **_: None if name == "objcopy" else f"/usr/bin/{name}")
    found = pyinstaller_onefile.check()
    assert not found.ready
    assert "objcopy" in found.reason
    assert "binutils" in found.remedy


def test_an_interpreter_without_a_library_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, here: Any) -> None:
    """With what to install; one beside the standard library is found."""
    bare = dataclasses.replace(here, stdlib=tmp_path / "lib" / f"python{here.minor}", library=None)
    monkeypatch.setattr(pyinstaller.interpreter, "default", lambda: bare)
    found = pyinstaller_onefile.check()
    assert not found.ready
    assert "shared library" in found.reason
    assert f"libpython{here.minor}" in found.remedy
    (tmp_path / "lib" / "x86_64-linux-gnu").mkdir(parents=True)
    (tmp_path / "lib" / "x86_64-linux-gnu" / f"libpython{here.minor}.so.1.0").touch()
    assert pyinstaller.check().ready


@pytest.mark.parametrize("method", [pyinstaller, pyinstaller_onefile])
def test_its_own_executable_is_started(method: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the target's Python."""
    commands: list[Any] = []
    monkeypatch.setattr(hosted, "serving", lambda *given: commands.append(given[2](Path("/s"))))
    artifact = Artifact(method=method.ID, model="tiny", digest="d", path=tmp_path / "tiny")
    limits = Limits(memory_bytes=1, processes=1, disk_bytes=1, start_timeout_s=1.0, predict_timeout_s=1.0)
    method.start(Installed(artifact=artifact, root=tmp_path / "app"), limits)
    assert commands == [[str(tmp_path / "app" / "tiny"), "serve", "--socket", "/s"]]


def test_modules_of_an_executable_count_as_bytecode(runner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are named after sources that are not there."""

    packed, loaded = types.ModuleType("packed"), types.ModuleType("loaded")
    packed.__file__ = "/nowhere/packed.py"
    loaded.__file__ = __file__
    loaded.__loader__ = importlib.machinery.SourceFileLoader("loaded", __file__)
    monkeypatch.setattr(sys, "modules", {"packed": packed, "loaded": loaded})
    found = runner.facts()
    assert (found["modules_from_bytecode"], found["modules_from_source"]) == (0, 2)
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    found = runner.facts()
    assert (found["modules_from_bytecode"], found["modules_from_source"]) == (1, 1)
