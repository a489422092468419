"""What a check tries, in which order, and what it advises. Nothing is started here; tests/real does that."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import ModelFailure
from harness.interpreter import Interpreter
from harness.measure import checking
from harness.measure.checking import Advice, Step
from harness.measure.idle import Package
from harness.measure.needs import Library, Needs
from harness.measure.start import ColdStart
from harness.methods.contract import Traced
from harness.spec.locked import Lock, Source


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, here: Interpreter) -> dict[str, float]:
    """Locking, installing and starting are pretended; what the start used may be changed."""
    used = {"cold_start_s": 0.5, "peak_resident_bytes": 2e7}
    payload = tmp_path / "payload"
    payload.mkdir()
    (payload / "predictor.py").write_text("")
    lock = Lock(
        python=here,
        requirements=tmp_path,
        wheels=tmp_path,
        digest="d",
        packages=(("a", "1"),),
        wheel_bytes=10,
        download_s=None,
    )

    @contextlib.contextmanager
    def laid_out(*_: Any) -> Iterator[tuple[None, None]]:
        yield None, SimpleNamespace(root=tmp_path)

    made = SimpleNamespace(payload=payload, lock=lock)
    monkeypatch.setattr(checking.weights, "locked", lambda model: SimpleNamespace(model=model, **vars(made)))
    monkeypatch.setattr(checking.environments, "installed", lambda _: tmp_path / "bin" / "python")
    monkeypatch.setattr(checking.plain, "laid_out", laid_out)
    monkeypatch.setattr(checking.start, "right_answers", lambda *_: {})
    monkeypatch.setattr(checking.start, "take", lambda *_: ColdStart(values=used, source="psutil"))
    monkeypatch.setattr(checking.tracing, "of", lambda _: Traced(modules=("os",)))
    monkeypatch.setattr(checking.needs, "of_model", lambda *_, **__: NEEDS)
    monkeypatch.setattr(checking.idle, "packages", lambda *_: [])
    return used


#: A model that needs nothing but the C library.
NEEDS = Needs(
    machine="x86_64",
    level=0,
    glibc="2.17",
    libstdcxx="",
    files=1,
    unread=(),
    traced=True,
    base="Debian bookworm with Python 3.11",
    base_glibc="2.36",
    base_libstdcxx="3.4.30",
    absent="",
    unnamed="",
    libraries=(),
)


def library(soname: str, **said: Any) -> Library:
    """One that a start loads, that is here and in no base image."""
    known = {"needed_by": ("cv2/cv2.so",), "loaded": True, "here": True, "in_image": False, "in_base": False}
    return Library(soname=soname, **{**known, **said})


@pytest.fixture
def needing(started: object, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the model need these libraries, or say something else of itself."""

    def of_these(*libraries: Library, **said: Any) -> None:
        found = dataclasses.replace(NEEDS, libraries=libraries, **said)
        monkeypatch.setattr(checking.needs, "of_model", lambda *_, **__: found)

    return of_these


def found(model: Any) -> tuple[list[str], dict[str, str]]:
    """The names of the steps, and the subjects of the advice with their remedies."""
    done = list(checking.steps(model))
    advice = {one.subject: one.remedy for one in done if isinstance(one, Advice)}
    return [one.name for one in done if isinstance(one, Step)], advice


@pytest.mark.usefixtures("started")
def test_every_step_is_told_in_order(folder: Any) -> None:
    """From the folder to a second start; a model that lacks nothing is given no advice."""
    folder.write(family="trees", licence="ours", requirements=["a==1"])
    steps, advice = found(folder.read())
    assert steps == ["folder", "requirements", "weights", "environment", "answers", "again", "system libraries"]
    assert advice == {}


@pytest.mark.usefixtures("started")
def test_what_could_be_better_is_advised(folder: Any) -> None:
    """Loose requirements, nothing said of kind and licence."""
    folder.write(requirements=["a>=1", "b==2"])
    _, advice = found(folder.read())
    assert {"requirements", "family", "licence"} <= set(advice)
    assert "harness lock" in advice["requirements"]
    (folder.path / "requirements.lock").write_text("")
    assert "requirements" not in found(folder.read())[1]


@pytest.mark.usefixtures("started")
def test_a_doubtful_start_is_told(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It works, and nothing will be known of its phases."""
    taken = ColdStart(values={"cold_start_s": 0.5}, source="psutil", doubt="it says what cannot be true")
    monkeypatch.setattr(checking.start, "take", lambda *_: taken)
    done = list(checking.steps(folder.read()))
    assert any("it says what cannot be true" in one.text for one in done if isinstance(one, Advice))


def test_what_is_nearly_used_up_is_advised(folder: Any, started: dict[str, float]) -> None:
    """Memory, and the time of a start."""
    folder.write(resources={"memory_mb": 100, "start_timeout_s": 10.0})
    started |= {"peak_resident_bytes": 90 * 2**20, "cold_start_s": 9.0}
    assert {"resources.memory_mb", "resources.start_timeout_s"} <= set(found(folder.read())[1])


@pytest.mark.usefixtures("started")
def test_large_files_are_to_be_declared(folder: Any, tmp_path: Path) -> None:
    """With the lines to write."""
    (tmp_path / "payload" / "big.bin").write_bytes(bytes(2**20 + 1))
    _, advice = found(folder.read())
    assert 'path = "big.bin"' in advice["big.bin"]
    assert "sha256" in advice["big.bin"]


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize(("outputs", "advised"), [([1, 1], True), ([1, 2], False), ([1], True)])
def test_examples_have_to_tell_a_broken_model(folder: Any, outputs: list[int], advised: bool) -> None:
    """One answer to everything may be given by a broken model as well."""
    examples = {"inputs": list(range(len(outputs))), "outputs": outputs}
    (folder.path / "examples.json").write_text(json.dumps(examples))
    assert ("examples.json" in found(folder.read())[1]) == advised


@pytest.mark.usefixtures("started")
def test_a_wrong_answer_ends_it(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps before it stand; nothing is advised."""

    def wrong(*_: Any) -> None:
        raise ModelFailure("1 of 3 answers are wrong")

    monkeypatch.setattr(checking.start, "right_answers", wrong)
    steps = checking.steps(folder.read())
    names = []
    with pytest.raises(ModelFailure):
        names.extend(one.name for one in steps if isinstance(one, Step))
    assert list(steps) == []


# --- system libraries ----------------------------------------------------------------------------

XCB = library("libxcb.so.1", package="libxcb1")
LINE = 'system_packages = ["libxcb1"]'


def test_what_images_lack_is_advised_with_the_line(folder: Any, needing: Any) -> None:
    """And what works here alone is said to."""
    needing(XCB)
    told = next(one for one in checking.steps(folder.read()) if getattr(one, "subject", "") == "system_packages")
    assert isinstance(told, Advice)
    assert "libxcb.so.1 (cv2/cv2.so)" in told.text
    assert "it works here, needs libxcb1 on the target" in told.text
    assert LINE in told.remedy


@pytest.mark.parametrize(
    ("said", "library_said", "subject", "telling"),
    [
        ({}, {}, "libown.so.1", "no Debian package brings it"),
        ({"unnamed": "no route"}, {}, "libown.so.1", "no route"),
        ({"absent": "no mmdebstrap"}, {"in_image": None, "in_base": None}, "system libraries", "no mmdebstrap"),
        ({}, {"in_image": True, "package": "libown1"}, "system libraries", "needs libown1 on the target"),
        ({"glibc": "2.38"}, {"in_image": True, "in_base": True}, "requirements", "glibc 2.38 (the base has 2.36)"),
        ({"unread": ("a.so: odd",)}, {"in_base": True, "in_image": True}, "native files", "a.so: odd"),
    ],
)
def test_what_else_is_advised_on_libraries(
    folder: Any, needing: Any, said: dict[str, Any], library_said: dict[str, Any], subject: str, telling: str
) -> None:
    """A library that nothing brings, one not looked for, one that images alone have; wheels that are too new."""
    needing(library("libown.so.1", **library_said), **said)
    advice = [one for one in checking.steps(folder.read()) if isinstance(one, Advice) and one.subject == subject]
    assert [telling in one.text for one in advice] == [True]


def test_the_step_says_it_in_a_line(folder: Any, needing: Any) -> None:
    """Versions, how many libraries, where they are."""
    needing(XCB, library("libcuda.so.1", loaded=False), libstdcxx="3.4.22", level=3)
    step = next(one for one in checking.steps(folder.read()) if getattr(one, "name", "") == "system libraries")
    assert isinstance(step, Step)
    assert step.found == (
        "glibc 2.17 or newer, GLIBCXX 3.4.22, x86-64-v3; 1 library of the system; images lack libxcb1; "
        "no start loads 1 more"
    )


@pytest.mark.usefixtures("started")
def test_a_library_that_is_not_here_is_told_with_its_package(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """For this machine and for images; without a known package the message stays as it was."""
    said = "loading the model raised ImportError: libxcb.so.1: cannot open shared object file: No such file"

    def lacking(*_: Any) -> None:
        raise ModelFailure(said, remedy="name the Debian package")

    monkeypatch.setattr(checking.start, "right_answers", lacking)
    monkeypatch.setattr(checking.needs, "packages_for", lambda names, _: dict.fromkeys(names, "libxcb1"))
    with pytest.raises(ModelFailure) as refused:
        list(checking.steps(folder.read()))
    assert refused.value.problem == said
    assert "apt-get install libxcb1" in refused.value.remedy
    assert LINE in refused.value.remedy
    monkeypatch.setattr(checking.needs, "packages_for", lambda *_: {})
    with pytest.raises(ModelFailure) as refused:
        list(checking.steps(folder.read()))
    assert refused.value.remedy == "name the Debian package"


# --- what is carried in vain ---------------------------------------------------------------------


def package(name: str, megabytes: int, *, touched: bool = True, requires: tuple[str, ...] = ()) -> Package:
    """One that is installed."""
    return Package(name=name, size=megabytes * 1_000_000, requires=frozenset(requires), touched=touched)


@pytest.mark.parametrize(
    ("packages", "requirements", "text", "remedy"),
    [
        (
            [package("nvidia-nccl-cu12", 400), package("xgboost", 150)],
            ["xgboost==3.1.0"],
            "400 MB of 550 MB are libraries for GPUs",
            '"xgboost-cpu==3.1.0" in requirements, in place of "xgboost==3.1.0"',
        ),
        ([package("triton", 500), package("torch", 900)], ["torch"], "500 MB of 1.4e+03 MB", 'torch_backend = "cpu"'),
        (
            [package("nvidia-cublas", 300), package("ownlib", 5, requires=("nvidia-cublas",))],
            ["ownlib==1"],
            "300 MB of 305 MB",
            "take a build for processors of ownlib",
        ),
        (
            [package("pandas", 60, touched=False), package("numpy", 80)],
            ["pandas==3.0.0"],
            "no example makes a start load anything of pandas (60 MB)",
            "leave pandas out, if no other input needs it",
        ),
        (
            [package("scipy", 90, touched=False), package("numpy", 80)],
            ["numpy==3.0.0"],
            "no example makes a start load anything of scipy (90 MB)",
            "they come along with packages that ask for them",
        ),
    ],
)
@pytest.mark.usefixtures("started")
def test_what_is_carried_in_vain_is_advised(
    folder: Any,
    monkeypatch: pytest.MonkeyPatch,
    packages: list[Package],
    requirements: list[str],
    text: str,
    remedy: str,
) -> None:
    """Bytes, and the line to write where one is known."""
    folder.write(requirements=requirements)
    monkeypatch.setattr(checking.idle, "packages", lambda *_: packages)
    advice = [one for one in checking.steps(folder.read()) if isinstance(one, Advice) and text in one.text]
    assert [remedy in one.remedy for one in advice] == [True]


@pytest.mark.usefixtures("started")
def test_small_packages_and_touched_ones_are_no_matter(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a GPU build that the model asks for by its backend."""
    folder.write(requirements=["numpy==3.0.0"], licence="ours", family="trees")
    monkeypatch.setattr(checking.idle, "packages", lambda *_: [package("six", 1, touched=False), package("numpy", 9)])
    assert found(folder.read())[1] == {}


# --- the command ---------------------------------------------------------------------------------


def test_fix_writes_the_line(harness: Any, folder: Any, needing: Any) -> None:
    """And says so; without it nothing is written."""
    needing(XCB)
    said = harness("check", folder.path)
    assert said.code == 0
    assert "It works here, needs libxcb1 on the target" in said.out
    assert folder.read().file.system_packages == ()
    said = harness("check", folder.path, "--fix")
    assert said.code == 0
    assert LINE in said.out
    assert "--fix" not in said.out
    assert folder.read().file.system_packages == ("libxcb1",)


def test_fix_has_nothing_to_write(harness: Any, folder: Any, needing: Any) -> None:
    """For a model that lacks nothing, or what no start loads."""
    before = (folder.path / "model.toml").read_bytes()
    needing(library("libcuda.so.1", loaded=False))
    said = harness("check", folder.path, "--fix")
    assert said.code == 0
    assert "Wrote" not in said.out
    assert "no start loads  libcuda.so.1" in said.out
    assert (folder.path / "model.toml").read_bytes() == before


def test_fix_refuses_what_no_package_brings(harness: Any, folder: Any, needing: Any) -> None:
    """Exit code 2, with file, key and remedy; nothing is written."""
    before = (folder.path / "model.toml").read_bytes()
    needing(XCB, library("libown.so.1"))
    said = harness("check", folder.path, "--fix")
    assert said.code == 2
    assert "model.toml: key 'system_packages'" in said.err
    assert "libown.so.1 (cv2/cv2.so)" in said.err
    assert "'wheels' in model.toml" in said.err
    assert (folder.path / "model.toml").read_bytes() == before


def test_machines_are_told_what_is_needed(harness: Any, folder: Any, needing: Any) -> None:
    """With --json: every library, and the line that was written."""
    needing(XCB)
    told = harness("check", folder.path, "--fix", "--json").json
    assert [one["soname"] for one in told["system"]["libraries"]] == ["libxcb.so.1"]
    assert told["written"] == LINE
    assert [one["name"] for one in told["steps"]][-1] == "system libraries"


# --- built from source ---


def test_what_was_built_from_source_is_told(
    folder: Any, started: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name: it took a compiler of this machine, perhaps."""
    lock = checking.weights.locked(folder.read()).lock
    built = dataclasses.replace(lock, sources=(Source(name="a", version="1", sdist="a" * 64, wheel="b" * 64),))
    made = SimpleNamespace(payload=folder.path, lock=built)
    monkeypatch.setattr(checking.weights, "locked", lambda model: SimpleNamespace(model=model, **vars(made)))
    told = [one.found for one in checking.steps(folder.read()) if isinstance(one, Step)]
    assert any(text.startswith("1 package") and text.endswith("; 1 built from source: a") for text in told)
