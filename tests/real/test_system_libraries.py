"""System libraries for real: which a model loads, which bases have them, what is written, and whether verdicts hold."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import interpreter, paths, process
from harness.measure import artifacts, portability, start, verdict
from harness.measure.part import Subject
from harness.measure.sample import Cell
from harness.methods import METHODS
from harness.platforms import debian, images, libraries, targets
from harness.platforms.depot import Depot
from harness.spec import model as models
from harness.spec import weights

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The sample model of OpenCV without the line that names its system packages."""
    folder = tmp_path / "edges"
    shutil.copytree(paths.data("sample_models") / "edges-opencv", folder)
    file = folder / "model.toml"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if not line.startswith("system_packages")))
    return folder


def test_what_is_known_of_bases_holds() -> None:
    """The versions that are known of releases, and the libraries that every base has, are those of a real one."""
    minor = interpreter.default().minor
    least, real = libraries.least(minor), libraries.of_base(minor)
    assert least.sonames < real.sonames
    assert (least.glibc, least.libstdcxx, least.title) == (real.glibc, real.libstdcxx, real.title)
    for python, suite in images.SUITES.items():
        root = targets.release_with(python).surroundings
        assert root is not None
        assert root.root is not None
        found = libraries.of_folder(root.root, title=suite)
        assert (found.glibc, found.libstdcxx) == libraries._VERSIONS[suite]
        assert found.sonames > libraries._ALWAYS


def test_the_index_of_contents_names_packages() -> None:
    """Of a release that is not this one, so that nothing here is looked up."""
    wanted = {"libxcb.so.1": "libxcb1", "libGL.so.1": "libgl1", "libgomp.so.1": "libgomp1", "libzbar.so.0": "libzbar0"}
    found = debian.packages_of([*wanted, "libnobodyhasthis.so.1"], "bullseye")
    assert not found.absent
    assert dict(found.found) == wanted


@pytest.mark.usefixtures("engine")
def test_an_image_gets_what_it_lacks(bare: Path) -> None:
    """A model that names no system packages is built with those that a start asks for, and that is told."""
    method, locked = METHODS["container"], weights.locked(models.find(str(bare)))
    method.prepare(locked.model)
    artifact = artifacts.up_to_date(method, locked)
    try:
        assert artifact.facts["proven"].startswith("answers all")
        assert artifact.facts["mended"].startswith("Debian's libgl1, libglib2.0-0")
        assert artifact.facts["mended"].endswith(" added (step: system libraries)")
    finally:
        method.remove(artifact)


def test_check_finds_what_images_lack_and_writes_it(harness: Any, bare: Path) -> None:
    """Only what a start loads; then images have it, and nothing is left to write."""
    told = harness("check", bare, "--json").expect(0).json
    lacking = {one["soname"]: one for one in told["system"]["libraries"] if one["loaded"] and not one["in_image"]}
    assert lacking
    assert all(one["here"] and one["package"] for one in lacking.values())
    written = harness("check", bare, "--fix", "--json").expect(0).json["written"]
    assert written.startswith("system_packages = [")
    names = models.read(bare).file.system_packages
    assert set(names) == {one["package"] for one in lacking.values()}
    again = harness("check", bare, "--fix", "--json").expect(0).json
    assert again["written"] == ""
    assert all(one["in_image"] for one in again["system"]["libraries"] if one["loaded"])
    has = libraries.of_base(interpreter.default().minor, names)
    assert lacking.keys() <= has.sonames


@pytest.mark.parametrize("method_id", ["venv", "pex", "pyinstaller", "pyinstaller-onefile"])
def test_verdicts_hold(
    method_id: str, bare: Path, traces_of: Callable[[str], Any], depot: Depot, make_model: Callable[..., Path]
) -> None:
    """Of a model that needs libraries, and of one that needs none, on bare releases: each is proven by a start."""
    traces_of(method_id)
    method = METHODS[method_id]
    for folder in (bare, make_model("tiny")):
        model = models.read(folder)
        method.prepare(model)
        locked = weights.locked(model, extra=method.REQUIREMENTS)
        artifact = artifacts.up_to_date(method, locked)
        known = verdict.known(method, locked, artifact)
        assert verdict.known(method, locked, artifact) == known  # as it was noted
        json.dumps(verdict.on_target(known))
        with process.temporary_folder("verdict", readable=True) as place:
            subject = Subject(
                cell=Cell(model=model.name, method=method_id),
                method=method,
                locked=locked,
                artifact=artifact,
                installed=method.install(artifact, place, depot),
                limits=start.limits_of(model),
                depot=depot,
            )
            for python in images.SUITES:
                machine = targets.release_with(python)
                told = verdict.against(known, verdict.place_of(machine))
                failed = portability.tried(subject, machine)
                assert told.says != ("does not" if not failed else "runs"), (machine.title, str(told), failed)
