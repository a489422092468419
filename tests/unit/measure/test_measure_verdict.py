"""What artifacts carry, by their files, and what is said of them on a target. Nothing is built or started."""

from __future__ import annotations

import dataclasses
import json
import struct
import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fuzz import elf

from harness import interpreter
from harness.measure import carried, needs, verdict
from harness.measure.carried import Carried, Left
from harness.measure.needs import Library, Needs
from harness.measure.verdict import Known, Place
from harness.methods import METHODS
from harness.methods.contract import Artifact, Traced
from harness.platforms import libraries
from harness.platforms.libraries import System
from harness.spec import reading

CORE = elf.library(
    needed=["libstdc++.so.6", "libxcb.so.1", "libc.so.6"],
    versions={"libc.so.6": ["GLIBC_2.17"], "libstdc++.so.6": ["GLIBCXX_3.4.22"]},
    isa=0b11,
)
PLUGIN = elf.library(needed=["libcuda.so.1"], versions={"libc.so.6": ["GLIBC_2.38"]})


@pytest.fixture(autouse=True)
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, and this machine for an x86_64 one whose Python lies nowhere."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    python = SimpleNamespace(minor="3.11", files=(tmp_path / "stdlib",), path=Path("/usr/bin/python3.11"))
    monkeypatch.setattr(interpreter, "default", lambda: python)
    monkeypatch.setattr(carried.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(libraries, "folders_here", lambda: [str(tmp_path / "system")])


@pytest.fixture
def plain(tmp_path: Path) -> needs.Closure:
    """The plain environment: of its two native files a start loads one, and opens a library by its name."""
    packages, sources, system = tmp_path / "packages", tmp_path / "sources", tmp_path / "system"
    for folder in (packages / "np", sources, system):
        folder.mkdir(parents=True)
    (packages / "np" / "core.so").write_bytes(CORE)
    (packages / "np" / "plugin.so").write_bytes(PLUGIN)
    (system / "libzbar.so.0.3").write_bytes(elf.library(soname="libzbar.so.0"))
    traced = Traced(modules=("np",), mapped=("np/core.so",), system=(str(system / "libzbar.so.0.3"),))
    return needs.Closure(packages, sources, traced, interpreter.default())


def of(method: str, place: Path, plain: needs.Closure) -> Carried:
    """What an artifact at that place carries."""
    artifact = Artifact(method=method, model="tiny", digest="d", path=place)
    return carried.of_artifact(METHODS[method], artifact, plain)


def left(found: Carried) -> dict[str, bool | None]:
    """Which libraries it leaves to its target, and whether a start loads them."""
    return {one.soname: one.loaded for one in found.libraries}


LEFT = {"libstdc++.so.6": True, "libxcb.so.1": True, "libcuda.so.1": False, "libzbar.so.0": None}


# --- what is carried -----------------------------------------------------------------------------


def test_a_virtual_environment(tmp_path: Path, plain: Any) -> None:
    """Its interpreter is a link to the target's; versions are of what a start loads."""
    place = tmp_path / "venv"
    packages = place / "lib" / "python3.11" / "site-packages" / "np"
    packages.mkdir(parents=True)
    (packages / "core.so").write_bytes(CORE)
    (packages / "plugin.so").write_bytes(PLUGIN)
    (place / "bin").mkdir()
    (place / "bin" / "python").symlink_to("python3.11")
    (place / "bin" / "python3.11").symlink_to("/usr/bin/python3.11")
    found = of("venv", place, plain)
    assert (found.python, found.path, found.native_files) == ("at", "/usr/bin/python3.11", 2)
    assert (found.level, found.glibc, found.libstdcxx) == (2, "2.17", "3.4.22")
    assert left(found) == LEFT
    assert reading.record(Carried, json.loads(json.dumps(dataclasses.asdict(found))), file=tmp_path) == found


def test_without_a_trace_everything_may_be_loaded(tmp_path: Path, plain: Any) -> None:
    """Versions are of all files; of libraries it is not known."""
    place = tmp_path / "venv"
    place.mkdir()
    (place / "plugin.so").write_bytes(PLUGIN)
    closure = needs.Closure(tmp_path / "packages", tmp_path / "sources", Traced(), interpreter.default())
    found = of("venv", place, closure)
    assert (found.glibc, left(found)) == ("2.38", {"libcuda.so.1": None})


def test_a_pex(tmp_path: Path, plain: Any) -> None:
    """It takes any Python that suits its wheels, which its own record names."""
    place = tmp_path / "tiny.pex"
    wheels = ["np-1-cp311-cp311-manylinux_2_27_x86_64.whl", "six-1-py2.py3-none-any.whl"]
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("PEX-INFO", json.dumps({"distributions": dict.fromkeys(wheels, "0")}))
        archive.writestr(".deps/np.whl/np/core.so", CORE)
        archive.writestr(".deps/np.whl/np/plugin.so", PLUGIN)
        archive.writestr(".deps/np.whl/np-1.dist-info/METADATA", "Name: np\nRequires-Python: >=3.9\n\nText")
    found = of("pex", place, plain)
    assert found.python == "any"
    assert found.wheels == ("cp311-cp311-manylinux_2_27_x86_64", "py2-none-any py3-none-any")
    assert found.requires == (">=3.9",)
    assert (found.glibc, left(found)) == ("2.17", LEFT)


def onefile(members: dict[str, tuple[bytes, bool]]) -> bytes:
    """A program of PyInstaller's: a bootloader, packed members, a table, a cookie."""
    data, table = b"", b""
    for name, (content, packed) in members.items():
        stored = zlib.compress(content) if packed else content
        raw = name.encode() + b"\0"
        table += struct.pack("!IIIIBc", 18 + len(raw), len(data), len(stored), len(content), packed, b"b") + raw
        data += stored
    size = len(data) + len(table) + 88
    cookie = struct.pack("!8sIIII64s", b"MEI\014\013\012\013\016", size, len(data), len(table), 311, b"libpython3.11")
    return elf.library(loader="/ld.so", versions={"libc.so.6": ["GLIBC_2.14"]}) + data + table + cookie


def test_one_file_of_pyinstaller(tmp_path: Path, plain: Any) -> None:
    """What is behind its bootloader is looked into: it has its C++ runtime itself, and Python's library."""
    place = tmp_path / "tiny"
    members = {
        "np/core.so": (CORE, True),
        "libstdc++.so.6": (elf.library(soname="libstdc++.so.6"), False),
        "libpython3.11.so.1.0": (elf.library(versions={"libc.so.6": ["GLIBC_2.34"]}), True),
    }
    place.write_bytes(onefile(members))
    found = of("pyinstaller-onefile", place, plain)
    assert (found.python, found.native_files) == ("own", 4)
    assert (found.glibc, found.libstdcxx) == ("2.34", "")
    assert left(found) == {"libxcb.so.1": True, "libzbar.so.0": None}


@pytest.mark.parametrize("damage", ["cut", "table", "none"])
def test_an_archive_without_sense_is_told(tmp_path: Path, plain: Any, damage: str) -> None:
    """Whatever is wrong with it."""
    whole = onefile({"np/core.so": (CORE, True)})
    data = {
        "cut": whole[1000:],
        "table": whole[:-88] + struct.pack("!8sIIII64s", b"MEI\014\013\012\013\016", 2**31, 0, 2**31, 0, b""),
        "none": elf.library(),
    }[damage]
    (tmp_path / "tiny").write_bytes(data)
    found = of("pyinstaller-onefile", tmp_path / "tiny", plain)
    assert found.unread
    assert verdict.against(known(found), place()).says == "unsure"


def test_a_cloud_has_the_python(tmp_path: Path, plain: Any) -> None:
    """What is in the zip says no more of it."""
    with zipfile.ZipFile(tmp_path / "function.zip", "w") as archive:
        archive.writestr("np/core.so", CORE)
    found = of("lambda-zip", tmp_path / "function.zip", plain)
    assert (found.python, found.glibc, left(found)) == (
        "platform",
        "2.17",
        {name: loaded for name, loaded in LEFT.items() if name != "libcuda.so.1"},
    )


def test_an_image_brings_its_system(plain: Any) -> None:
    """It needs an engine, or the platform that it is for."""
    artifact = Artifact(method="container", model="tiny", digest="d", image="tiny:1")
    found = carried.of_artifact(METHODS["container"], artifact, plain)
    assert found == Carried(machine="x86_64", python="system")
    found = carried.of_artifact(METHODS["lambda-image"], dataclasses.replace(artifact, method="lambda-image"), plain)
    assert found == Carried(machine="x86_64", python="platform")


# --- what is said of it --------------------------------------------------------------------------

BOOKWORM = System(
    title="Debian bookworm",
    machine="x86_64",
    sonames=frozenset({"libstdc++.so.6", "libgcc_s.so.1"}),
    glibc=(2, 36),
    libstdcxx=(3, 4, 30),
)


def place(**changes: Any) -> Place:
    """A target with Python 3.11, as the processor v3."""
    return Place(**{"system": BOOKWORM, "pythons": {"/usr/bin/python3.11": "3.11"}, "level": 3, **changes})


def known(found: Carried, *, python: str = ">=3.11", lacking: tuple[str, ...] = ()) -> Known:
    """A record of it, of a model whose base image lacks these libraries."""
    made = Needs(
        machine="x86_64",
        level=0,
        glibc="",
        libstdcxx="",
        files=0,
        unread=(),
        traced=True,
        base="Debian",
        base_glibc="2.36",
        base_libstdcxx="3.4.30",
        absent="",
        unnamed="",
        libraries=tuple(
            Library(
                soname=name,
                needed_by=("a.so",),
                loaded=True,
                here=True,
                in_image=False,
                in_base=False,
                package=name.partition(".")[0] + "1",
            )
            for name in lacking
        ),
    )
    return Known(carried=found, needs=made, python=python, minor="3.11")


def own(**said: Any) -> Carried:
    """An artifact that brings its Python."""
    return Carried(machine="x86_64", python="own", **said)


XCB = Left(soname="libxcb.so.1", needed_by="cv2.so", loaded=True)


@pytest.mark.parametrize(
    ("found", "where", "says", "reason"),
    [
        (own(), place(), "runs", ""),
        (own(glibc="2.36", libstdcxx="3.4.30", level=3), place(), "runs", ""),
        (own(glibc="2.37"), place(), "does not", "needs glibc 2.37, and it has 2.36"),
        (own(glibc="2.4"), place(), "runs", ""),
        (own(libstdcxx="3.4.32"), place(), "does not", "GLIBCXX_3.4.32"),
        (own(level=4), place(), "does not", "x86-64-v4"),
        (own(level=3), place(level=0), "unsure", "x86-64-v3"),
        (own(libraries=(XCB,)), place(), "does not", "needs libxcb.so.1 (cv2.so)"),
        (own(libraries=(dataclasses.replace(XCB, loaded=False),)), place(), "runs", ""),
        (own(libraries=(dataclasses.replace(XCB, loaded=None),)), place(), "unsure", "may need libxcb.so.1"),
        (own(libraries=(dataclasses.replace(XCB, soname="libstdc++.so.6"),)), place(), "runs", ""),
        (own(unread=("a.so: odd",)), place(), "unsure", "a.so: odd"),
        (Carried(machine="aarch64", python="own"), place(), "does not", "is for aarch64"),
        (Carried(machine="x86_64", python="at", path="/usr/bin/python3.11"), place(), "runs", ""),
        (Carried(machine="x86_64", python="at", path="/usr/bin/python3.11"), place(pythons={}), "does not", "3.11"),
        (Carried(machine="x86_64", python="platform"), place(), "unsure", "its platform decides"),
        (Carried(machine="x86_64", python="system"), place(), "does not", "container engine"),
        (Carried(machine="x86_64", python="system", libraries=(XCB,)), place(engine=True), "runs", ""),
    ],
)
def test_what_is_said(found: Carried, where: Place, says: str, reason: str) -> None:
    """Each reason by itself."""
    told = verdict.against(known(found), where)
    assert told.says == says
    assert reason in str(told)


PURE, NUMPY = "py2-none-any py3-none-any", "cp311-cp311-manylinux2014_x86_64 cp311-cp311-manylinux_2_17_x86_64"
OLDER, NEWER = {"/usr/bin/python3.9": "3.9"}, {"/usr/bin/python3.13": "3.13"}


@pytest.mark.parametrize(
    ("wheels", "requires", "pythons", "says", "reason"),
    [
        ((PURE, NUMPY), (">=3.9",), {"/usr/bin/python3.11": "3.11"}, "runs", ""),
        (
            (PURE, NUMPY),
            (),
            NEWER,
            "does not",
            "has a wheel for cp311-cp311-manylinux2014_x86_64, and it has Python 3.13",
        ),
        ((PURE,), (), NEWER, "runs", ""),
        ((PURE,), (), OLDER, "unsure", "asks for Python >=3.11, and it has 3.9"),
        ((PURE,), (">=3.10",), OLDER, "does not", "has a package for Python >=3.10, and it has 3.9"),
        ((PURE,), ("rubbish",), NEWER, "runs", ""),
        (("cp38-abi3-manylinux_2_28_x86_64",), (), NEWER, "runs", ""),
        (("cp38-abi3-manylinux_2_99_x86_64",), (), NEWER, "does not", "manylinux_2_99"),
        (("cp312-abi3-linux_x86_64",), (), {"/usr/bin/python3.11": "3.11"}, "does not", "cp312"),
        (("py3-none-musllinux_1_2_x86_64",), (), NEWER, "does not", "musllinux"),
        ((PURE,), (), {}, "does not", "needs a Python"),
        ((PURE, NUMPY), (), {**OLDER, "/usr/bin/python3.11": "3.11"}, "runs", ""),
    ],
)
def test_what_is_said_of_a_pex(
    wheels: tuple[str, ...], requires: tuple[str, ...], pythons: dict[str, str], says: str, reason: str
) -> None:
    """It looks for a Python that all its wheels suit."""
    found = Carried(machine="x86_64", python="any", wheels=wheels, requires=requires)
    told = verdict.against(known(found), place(pythons=pythons))
    assert told.says == says
    assert reason in str(told)


def test_what_a_target_must_have() -> None:
    """Said beside the artifact, with Debian's packages."""
    one = known(
        Carried(machine="x86_64", python="at", path="/usr/bin/python3.11", glibc="2.17", level=2, libraries=(XCB,)),
        lacking=("libxcb.so.1", "libother.so.1"),
    )
    assert verdict.on_target(one) == (
        "x86_64",
        "glibc 2.17 or newer",
        "/usr/bin/python3.11",
        "a processor of x86-64-v2",
    )
    assert verdict.lacking(one) == ("libxcb1",)


def test_the_level_of_this_machine_is_known() -> None:
    """Every x86-64 processor has one."""
    assert verdict.level_here() in range(5)
