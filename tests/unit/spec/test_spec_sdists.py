"""Source distributions: what is read of them, and which are refused before anything of them runs."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.archives import UnsoundError
from harness.spec import sdists

INFO = "Metadata-Version: 1.1\nName: Some.Pkg\nVersion: 1.0\n"


def packed(
    folder: Path, contents: Mapping[str, str], *members: tarfile.TarInfo, name: str = "some-pkg-1.0.tar.gz"
) -> Path:
    """An archive of these files below one folder, and of members as they are."""
    file = folder / name
    with tarfile.open(file, "w:gz") as archive:
        for path, text in contents.items():
            member = tarfile.TarInfo(f"some-pkg-1.0/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
        for member in members:
            archive.addfile(member, io.BytesIO(b"\0" * member.size) if member.isreg() else None)
    return file


def read(file: Path) -> sdists.Sdist:
    return sdists.read(file, name="some-pkg", version="1.0")


def odd(name: str, kind: bytes = tarfile.REGTYPE, *, link: str = "", **more: Any) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    for key, value in more.items():
        setattr(member, key, value)
    return member


def test_one_that_says_nothing_is_built_by_setuptools(tmp_path: Path) -> None:
    """As PEP 517 has it, by a version that old ones work with."""
    found = read(packed(tmp_path, {"setup.py": "", "PKG-INFO": INFO}))
    assert (found.folder, found.backend) == ("some-pkg-1.0", "setuptools.build_meta:__legacy__")
    assert found.requires[0].startswith("setuptools")


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_what_it_says_of_its_build_is_read(tmp_path: Path, kind: str) -> None:
    """From either archive; nothing of it is unpacked."""
    text = (
        '[build-system]\nrequires = ["flit_core >=3,<4"]\nbuild-backend = "flit_core.buildapi"\nbackend-path = ["."]\n'
    )
    if kind == "tar":
        file = packed(tmp_path, {"pyproject.toml": text, "deeper/pyproject.toml": "[build-system"})
    else:
        file = tmp_path / "some-pkg-1.0.zip"
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("some-pkg-1.0/pyproject.toml", text)
    found = read(file)
    assert found.requires == ("flit_core >=3,<4",)
    assert (found.backend, found.backend_path) == ("flit_core.buildapi", (".",))
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_link_inside_is_left_to_the_door(tmp_path: Path) -> None:
    """Some have them; they are followed where the build is."""
    member = odd("some-pkg-1.0/docs/README", tarfile.SYMTYPE, link="../README.md")
    assert read(packed(tmp_path, {"README.md": ""}, member)).folder == "some-pkg-1.0"


@pytest.mark.parametrize(
    ("member", "says"),
    [
        (odd("../evil"), "not a plain name"),
        (odd("/etc/evil"), "not a plain name"),
        (odd("some-pkg-1.0/../../evil"), "not a plain name"),
        (odd("some-pkg-1.0/a\nb"), "not a plain name"),
        (odd("some-pkg-1.0/link", tarfile.SYMTYPE, link="/etc/passwd"), "leads out"),
        (odd("some-pkg-1.0/link", tarfile.SYMTYPE, link="../other"), "leads out"),
        (odd("some-pkg-1.0/link", tarfile.LNKTYPE, link="../../etc/passwd"), "leads out"),
        (odd("some-pkg-1.0", tarfile.SYMTYPE, link="some-pkg-1.0"), "leads out"),
        (odd("some-pkg-1.0/device", tarfile.CHRTYPE), "neither a file"),
        (odd("some-pkg-1.0/pipe", tarfile.FIFOTYPE), "neither a file"),
        (odd("other/file"), "2 folders at its top"),
        (odd("some-pkg-1.0/PKG-INFO", size=2**20 + 1), "larger than 1 MiB"),
    ],
)
def test_a_member_that_could_do_harm_is_refused(tmp_path: Path, member: tarfile.TarInfo, says: str) -> None:
    """With its name."""
    with pytest.raises(UnsoundError, match=says):
        read(packed(tmp_path, {"setup.py": ""}, member))


def test_a_bomb_is_refused_by_what_it_says(tmp_path: Path) -> None:
    """Before it is unpacked: the size stands in front of the contents."""
    header = odd("some-pkg-1.0/much", size=3 * 2**30).tobuf()
    file = tmp_path / "some-pkg-1.0.tar.gz"
    file.write_bytes(gzip.compress(header + bytes(2**20)))
    with pytest.raises(UnsoundError, match="more than 2 GiB"):
        read(file)


def test_headers_that_claim_much_are_refused(tmp_path: Path) -> None:
    """A header is read whole by Python's reader, so its size is held against a limit first."""
    file = tmp_path / "some-pkg-1.0.tar.gz"
    header = odd("x", tarfile.XHDTYPE, size=2**29).tobuf()
    file.write_bytes(gzip.compress(header))
    with pytest.raises(UnsoundError):
        read(file)


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small."""
    monkeypatch.setattr(sdists, "_MOST_ENTRIES", 3)
    with pytest.raises(UnsoundError, match="too many files"):
        read(packed(tmp_path, {str(number): "" for number in range(4)}))


@pytest.mark.parametrize(
    "damage",
    [b"", b"\x1f\x8b", b"rubbish" * 100, gzip.compress(b"x" * 600)],
    ids=["empty", "cut off", "rubbish", "no tar"],
)
def test_a_damaged_one_is_refused(tmp_path: Path, damage: bytes) -> None:
    """In one sentence."""
    file = tmp_path / "some-pkg-1.0.tar.gz"
    file.write_bytes(damage)
    with pytest.raises(UnsoundError, match="damaged"):
        read(file)


def test_other_archives_are_refused(tmp_path: Path) -> None:
    """Only the two that an index may have."""
    file = packed(tmp_path, {"setup.py": ""}, name="some-pkg-1.0.tar.bz2")
    with pytest.raises(UnsoundError, match=r"neither a .tar.gz nor a .zip"):
        read(file)


@pytest.mark.parametrize(
    "info", [INFO.replace("Some.Pkg", "other"), INFO.replace("1.0", "2.0"), "Name: some-pkg\n", "x"]
)
def test_one_of_another_name_or_version_is_refused(tmp_path: Path, info: str) -> None:
    """Names are compared as indexes do."""
    with pytest.raises(UnsoundError, match=r"not some-pkg 1.0"):
        read(packed(tmp_path, {"PKG-INFO": info}))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[build-system", "is not valid TOML"),
        ("build-system = 1", "not a table"),
        ('[build-system]\nrequires = "x"', "not a list of texts"),
        ('[build-system]\nrequires = ["x @ file:///etc/passwd"]', "its build requires"),
        ('[build-system]\nrequires = ["--index-url=https://evil.example"]', "its build requires"),
        ('[build-system]\nrequires = []\nbuild-backend = "os;x"', "not a module"),
        ("[build-system]\nrequires = []\nbuild-backend = 1", "not a module"),
        ('[build-system]\nrequires = []\nbuild-backend = "x"\nbackend-path = ["../.."]', "leaves the folder"),
        ('[build-system]\nrequires = []\nbuild-backend = "x"\nbackend-path = ["/usr"]', "leaves the folder"),
        ("a." * 40 + "a = 1", "more than twenty parts"),
    ],
)
def test_a_build_that_cannot_be_is_refused(tmp_path: Path, text: str, says: str) -> None:
    """What it requires is given to uv, so it is held to what a requirement may be."""
    with pytest.raises(UnsoundError, match=says):
        read(packed(tmp_path, {"pyproject.toml": text}))
