"""Which files differ between two builds. Real builds are in tests/real."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness import tree
from harness.errors import CheckFailure
from harness.measure import reproducing
from harness.methods.contract import Artifact

METHOD = cast("Any", SimpleNamespace(ID="made", present=lambda artifact: "gone" not in artifact.facts))


def artifact(number: int, **more: Any) -> Artifact:
    """A build; each has a digest of its own."""
    return Artifact(method="made", model="tiny", digest=f"{number:064}", **more)


def differences(one: Path, other: Path) -> list[str]:
    """Of two builds at these places."""
    return reproducing.differences(METHOD, artifact(1, path=one), artifact(2, path=other))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders that are the same."""
    for name in ("one", "other"):
        (tmp_path / name / "lib").mkdir(parents=True)
        (tmp_path / name / "lib" / "a.py").write_text("A = 1\n")
        (tmp_path / name / "link").symlink_to("lib/a.py")
    return tmp_path / "one", tmp_path / "other"


def test_builds_with_the_same_digest_are_not_looked_into() -> None:
    """The digest is of all that counts."""
    one = artifact(1, path=Path("/not/there"))
    assert reproducing.differences(METHOD, one, one) == []


def test_a_build_that_is_gone_cannot_be_compared(tmp_path: Path) -> None:
    """It is not said to be the same, nor another."""
    gone = artifact(2, path=tmp_path, facts={"gone": "yes"})
    with pytest.raises(CheckFailure, match="is gone"):
        reproducing.differences(METHOD, artifact(1, path=tmp_path), gone)


def test_folders_differ_by_contents_links_and_bits_not_by_dates(folders: tuple[Path, Path]) -> None:
    """A file that only one of them has differs as well."""
    one, other = folders
    os.utime(other / "lib" / "a.py", (1, 1))
    assert differences(one, other) == []
    (other / "lib" / "a.py").write_text("A = 2\n")
    (other / "new").touch()
    (one / "link").unlink()
    (one / "link").symlink_to("elsewhere")
    assert differences(one, other) == ["lib/a.py", "link", "new"]
    (other / "lib" / "a.py").write_text("A = 1\n")
    (other / "lib" / "a.py").chmod(0o755)
    assert "lib/a.py" in differences(one, other)


def test_a_long_list_is_cut_and_counted(folders: tuple[Path, Path]) -> None:
    one, other = folders
    for number in range(30):
        (other / f"new{number:02}").touch()
    found = differences(one, other)
    assert (len(found), found[0], found[-1]) == (21, "new00", "and 10 more")


def zipped(file: Path, *, prefix: bytes = b"", **contents: str) -> Path:
    """A zip behind ``prefix``, as a PEX is one behind a launcher."""
    with file.open("wb") as stream:
        stream.write(prefix)
        with zipfile.ZipFile(stream, "w") as archive:
            for name, text in contents.items():
                archive.writestr(zipfile.ZipInfo(name), text)
    return file


def test_of_zips_the_entries_are_told(tmp_path: Path) -> None:
    """Also behind a launcher; where only that differs, the file itself is named."""
    one = zipped(tmp_path / "one.pex", prefix=b"#!/bin/sh\n", a="1", b="2")
    assert differences(one, zipped(tmp_path / "two.pex", prefix=b"#!/bin/sh\n", a="1", b="3", c="4")) == ["b", "c"]
    assert differences(one, zipped(tmp_path / "three.pex", prefix=b"#!/bin/bash\n", a="1", b="2")) == [
        "three.pex itself"
    ]
    assert differences(one, zipped(tmp_path / "four.pex", prefix=b"#!/bin/sh\n", a="1", b="2")) == []


def test_of_a_zip_dates_count_as_its_bytes_have_them(tmp_path: Path) -> None:
    one, other = zipped(tmp_path / "one.zip", a="1"), tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a", (2024, 1, 1, 0, 0, 0)), "1")
    assert differences(one, other) == ["a"]


def test_of_tars_the_members_are_told(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """With their links; an executable is opaque."""
    one, other = folders
    (other / "lib" / "a.py").write_text("A = 2\n")
    for folder in folders:
        tree.pack(folder, tmp_path / f"{folder.name}.tar.gz")
    assert differences(tmp_path / "one.tar.gz", tmp_path / "other.tar.gz") == ["lib/a.py"]
    (tmp_path / "x").write_bytes(b"\x7fELF 1")
    (tmp_path / "y").write_bytes(b"\x7fELF 2")
    assert differences(tmp_path / "x", tmp_path / "y") == ["y itself"]
    assert differences(tmp_path / "x", one) == ["one itself"]


# --- images --------------------------------------------------------------------------------------


class Images:
    """An engine with two images: what each is started with, its layers' folders, and its archive."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: dict[str, dict[str, Any]] = {
            name: {"User": "65532", "Labels": {"build": name}, "Image": name} for name in ("one", "other")
        }
        self.visible = True
        for layer in ("base", "one", "other"):
            (folder / layer / "app").mkdir(parents=True)
            (folder / layer / "app" / "a.py").write_text("A = 0\n" if layer == "base" else "A = 1\n")

    def layers(self, _: object, image: str) -> tuple[Path, ...] | None:
        return (self.folder / image, self.folder / "base") if self.visible else None

    @contextlib.contextmanager
    def asking(self, *_: Any) -> Iterator[Any]:
        yield SimpleNamespace(
            inspect_image=lambda image: {"Config": self.config[image]},
            get_image=lambda image: iter([exported(self.folder / "base", self.folder / image)]),
        )


def exported(*layers: Path) -> bytes:
    """What ``docker save`` gives, the lowest layer first."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as outer:
        members = {}
        for layer in layers:
            content = io.BytesIO()
            with tarfile.open(fileobj=content, mode="w") as tar:
                tar.add(layer / "app", arcname="app")
            members[f"{layer.name}/layer.tar"] = content.getvalue()
        manifest = json.dumps([{"Config": "c.json", "Layers": list(members)}]).encode()
        for name, data in {"manifest.json": manifest, **members}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            outer.addfile(entry, io.BytesIO(data))
    return written.getvalue()


@pytest.fixture
def engine_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Images:
    """In the place of a real engine's."""
    made = Images(tmp_path)
    monkeypatch.setattr(reproducing.engine, "connect", SimpleNamespace)
    monkeypatch.setattr(reproducing.engine, "asking", made.asking)
    monkeypatch.setattr(reproducing.builds, "image_layers", made.layers)
    return made


@pytest.mark.parametrize("visible", [True, False])
def test_images_differ_by_what_a_container_sees(engine_images: Images, *, visible: bool) -> None:
    """Not by when they were built; with an engine elsewhere, its archive is looked into."""
    engine_images.visible = visible
    one, other = artifact(1, image="one"), artifact(2, image="other")
    file = engine_images.folder / "other" / "app" / "a.py"
    os.utime(file, (1, 1))
    assert reproducing.differences(METHOD, one, other) == []
    file.write_text("A = 2\n")
    (file.parent / "b.py").touch()
    assert reproducing.differences(METHOD, one, other) == ["/app/a.py", "/app/b.py"]
    file.write_text("A = 1\n")
    file.chmod(0o600)
    (file.parent / "b.py").unlink()
    (file.parent / "c").symlink_to("a.py")
    assert reproducing.differences(METHOD, one, other) == ["/app/a.py", "/app/c"]


def test_images_differ_by_how_they_are_started(engine_images: Images) -> None:
    """A label names the build, and says nothing."""
    engine_images.config["other"]["User"] = "0"
    assert reproducing.differences(METHOD, artifact(1, image="one"), artifact(2, image="other")) == [
        "configuration: User"
    ]


def test_of_an_image_with_an_archive_both_are_held(engine_images: Images, tmp_path: Path) -> None:
    """As SageMaker's."""
    archives = zipped(tmp_path / "one.zip", a="1"), zipped(tmp_path / "other.zip", a="2")
    one, other = artifact(1, image="one", path=archives[0]), artifact(2, image="other", path=archives[1])
    assert reproducing.differences(METHOD, one, other) == ["a"]
    assert reproducing.differences(METHOD, one, replace(other, path=archives[0])) == []
