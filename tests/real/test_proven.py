"""Packages that read, list and load what packaging leaves out: every method carries them, or mends itself."""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness import process
from harness.errors import BuildFailure, ModelFailure
from harness.measure import artifacts, proof, tracing
from harness.measure.start import limits_of
from harness.methods import METHODS, mending
from harness.methods.contract import Mending, Traced
from harness.platforms import depot
from harness.spec import environments, weights
from harness.spec import model as models

ON_THE_HOST = ["pex", "pyinstaller", "pyinstaller-onefile"]
IN_THE_ENGINE = ["lambda-zip", "container"]

#: Names are put together, so that no text has them: only a start shows what is opened.
KERN = """\
import ctypes, importlib, os
HERE = os.path.dirname(os.path.abspath(__file__))

def text(*names):
    with open(os.path.join(HERE, *names)) as file:
        return file.read()

SOURCE = text("_ker" + "nels.cu")
STUB = text("core" + ".pyi")
TABLE = text("te" + "sts", "table" + ".csv")
DATA = importlib.import_module("kern.te" + "sts.data")
PLUGINS = [importlib.import_module("kern.plugins." + name[:-3])
           for name in sorted(os.listdir(os.path.join(HERE, "plugins"))) if name.startswith("p_")]
LIBRARY = ctypes.CDLL(os.path.join(HERE, "lib", "libx.so"))
LIBRARY.zlibVersion.restype = ctypes.c_char_p

def double(number):
    assert LIBRARY.zlibVersion()
    return number * DATA.TWO * len(PLUGINS) * int(SOURCE) * int(STUB) * int(TABLE)
"""
FILES = {
    "kern/__init__.py": KERN,
    "kern/_kernels.cu": "1",
    "kern/core.py": "",
    "kern/core.pyi": "1",
    "kern/unused.h": "",
    "kern/tests/__init__.py": "",
    "kern/tests/conftest.py": "",
    "kern/tests/data.py": "TWO = 2\n",
    "kern/tests/table.csv": "1",
    "kern/plugins/__init__.py": "",
    "kern/plugins/p_one.py": "",
}
PREDICT = "def load(model_dir):\n    return kern\n\n\ndef predict(model, inputs):\n    return [{} for one in inputs]\n"

#: Opens a file for an input that a trace of the examples does not see: only a proof, or a user, finds it.
LATE = "import kern\n\n\n" + PREDICT.format("model.double(one) if one < 9 else int(model.text('un' + 'used.h') or 18)")


def wheel(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """A wheel of these files (packaging.python.org, "Binary distribution format")."""
    info = "kern-1+harness.dist-info"
    contents = {
        **files,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: kern\nVersion: 1+harness\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    folder.mkdir(parents=True)
    file = folder / "kern-1+harness-py3-none-any.whl"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            data = content.encode() if isinstance(content, str) else content
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(data)}\n"
            archive.writestr(name, data)
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return file


def library() -> bytes:
    """A native library that needs nothing but the C library: zlib, which this interpreter has loaded."""
    assert zlib.ZLIB_VERSION
    maps = Path("/proc/self/maps").read_text()
    found = re.search(r"(/\S*/libz\.so\S*)", maps)
    assert found is not None, "this interpreter has zlib in itself: there is no library to copy"
    return Path(found.group(1)).read_bytes()


@pytest.fixture
def kern(make_model: Any) -> Any:
    """Makes a model whose one dependency does all of this."""

    def make(predictor: str, **keys: Any) -> models.Model:
        folder = make_model("kern", predictor, wheels="wheels", requirements=["kern==1+harness"], **keys)
        wheel(folder / "wheels", {**FILES, "kern/lib/libx.so": library()})
        return models.find(str(folder))

    return make


def built(model: models.Model, method_id: str) -> Any:
    """The artifact, proven, in the cache."""
    method = METHODS[method_id]
    available = method.check()
    assert available.ready, available.reason
    method.prepare(model)
    return artifacts.up_to_date(method, weights.locked(model, extra=method.REQUIREMENTS))


def test_a_plain_start_shows_what_it_needs(kern: Any) -> None:
    """Once, behind the door: what is opened, listed, mapped; what pruning would remove without knowing that."""
    model, method = kern("import kern\n\n\n" + PREDICT.format("model.double(one)")), METHODS["pex"]
    locked = weights.locked(model)
    found = tracing.of(locked)
    assert found.opened == ("kern/_kernels.cu", "kern/core.pyi", "kern/tests/table.csv")
    assert found.listed == ("kern/plugins",)
    assert found.mapped == ("kern/lib/libx.so",)
    assert {"kern", "kern.plugins.p_one", "kern.tests.data"} <= set(found.modules)
    assert proof.plain_problem(method, locked) == ""
    with environments.at_hand(locked.lock) as python:
        packages = environments.site_packages(python.parent.parent, locked.lock.python)
        removed = [
            proof._removed(environments.removable(packages, ["tests", "stubs", "headers"], keep, timeout_s=60.0))
            for keep in ((), found.kept)
        ]
    assert removed[0]["headers"] == ("kern/_kernels.cu", "kern/unused.h")
    assert removed[0]["stubs"] == ("kern/core.pyi",)
    assert set(removed[0]["tests"]) == {name for name in FILES if name.startswith("kern/tests/")}
    assert removed[1]["headers"] == ("kern/unused.h",)
    assert removed[1]["stubs"] == ()
    assert removed[1]["tests"] == ("kern/tests/conftest.py",)


@pytest.mark.parametrize("method_id", [*ON_THE_HOST, *IN_THE_ENGINE])
def test_what_a_start_needs_is_carried(kern: Any, method_id: str, request: pytest.FixtureRequest) -> None:
    """At the first build: what was opened, listed and mapped is not pruned, and is collected."""
    if method_id in IN_THE_ENGINE:
        request.getfixturevalue("engine")
    artifact = built(kern("import kern\n\n\n" + PREDICT.format("model.double(one)")), method_id)
    assert artifact.facts["proven"] == "answers all 3 examples"
    assert "mended" not in artifact.facts


@pytest.mark.parametrize("method_id", [*ON_THE_HOST, *IN_THE_ENGINE])
def test_what_no_trace_shows_is_mended(
    kern: Any, method_id: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a trace: less is pruned, packages are taken whole; what it took is told."""
    if method_id in IN_THE_ENGINE:
        request.getfixturevalue("engine")
    monkeypatch.setattr(tracing, "of", lambda *_: Traced(modules=("kern", "harness_runner.model")))
    artifact = built(kern("import kern\n\n\n" + PREDICT.format("model.double(one)")), method_id)
    assert artifact.facts["proven"] == "answers all 3 examples"
    assert artifact.facts["mended"].startswith("without pruning ")
    assert ("kern taken along whole" in artifact.facts["mended"]) == (method_id in ON_THE_HOST[1:])


@pytest.mark.parametrize("method_id", ["pex", "pyinstaller"])
def test_what_cannot_be_mended_is_told_with_all_steps(
    kern: Any, method_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that answers wrongly once it is packaged: what was tried is in the message, and nothing stays."""
    monkeypatch.setattr(proof, "plain_problem", lambda *_: "")
    with pytest.raises(BuildFailure, match=r"tried in vain: 1\. without pruning") as raised:
        built(kern("import kern\n\n\n" + PREDICT.format("model.double(one) + 1")), method_id)
    assert "answers are wrong" in raised.value.problem


def test_a_file_that_only_another_input_needs_is_told_of(kern: Any) -> None:
    """The artifact answers its examples; the message for the other input names the rule."""
    model = kern(LATE)
    artifact = built(model, "pex")
    assert artifact.facts["proven"].startswith("answers")

    with process.temporary_folder("late", readable=True) as scratch:
        (scratch / "target").mkdir(mode=0o755)
        method = METHODS["pex"]
        installed = method.install(artifact, scratch / "target", depot.Nowhere())
        with method.start(installed, limits_of(model)) as instance:
            assert instance.predict([1]) == [2]
            with pytest.raises(ModelFailure, match=r"FileNotFoundError(.|\n)*pruned: the rule 'headers' leaves such"):
                instance.predict([9])


def test_what_mended_one_build_is_where_the_next_begins(kern: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A further clean build needs one build, and comes to the same."""
    monkeypatch.setattr(tracing, "of", lambda *_: Traced(modules=("kern",)))
    model, method = kern("import kern\n\n\n" + PREDICT.format("model.double(one)")), METHODS["pex"]
    locked = weights.locked(model)
    method.prepare(model)
    first = artifacts.clean_build(method, locked)
    known = proof.mended(method, locked, "default")
    assert first.tries >= 1
    assert known != Mending()
    assert mending.told(known) in str(artifacts.up_to_date(method, locked).facts["mended"])
    assert artifacts.clean_build(method, locked).differing == ()
