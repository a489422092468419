"""Which libraries a system has, and which of Debian's packages brings one. No network."""

from __future__ import annotations

import gzip
import io
import json
import platform
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fuzz import elf

from harness.platforms import debian, images, libraries

LIBC = elf.library(soname="libc.so.6", defines=["GLIBC_2.4", "GLIBC_2.36", "GLIBC_PRIVATE"])
LIBSTDCXX = elf.library(soname="libstdc++.so.6", defines=["GLIBCXX_3.4", "GLIBCXX_3.4.30"])
CONTENTS = """\
bin/bash                                                shells/bash
lib/x86_64-linux-gnu/libz.so.1                          libs/zlib1g
usr/lib/x86_64-linux-gnu/libxcb.so.1                    libs/libxcb1
usr/lib/x86_64-linux-gnu/libtorch.so.2                  debug/libtorch-dbg,libs/libtorch2.0,libs/libtorch2.0-extra
usr/lib/x86_64-linux-gnu/blas/libblas.so.3              libs/libblas3
usr/lib/x86_64-linux-gnu/libonly.so                     libdevel/libonly-dev
usr/lib/x86_64-linux-gnu/libbad.so.1                    libs/--option
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache, a machine and lists of its own; no network."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    for name in ("_DPKG", "_APT"):
        monkeypatch.setattr(debian, name, tmp_path / name)
        (tmp_path / name).mkdir()
    (tmp_path / "os-release").write_text('ID=debian\nVERSION_CODENAME=bookworm\nVERSION_ID="12"\n')
    monkeypatch.setattr(debian, "_OS_RELEASE", tmp_path / "os-release")
    return tmp_path / "cache"


Serve = Callable[[bytes], list[str]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Every address has these bytes; a list of those that were asked."""

    def serving(data: bytes) -> list[str]:
        asked: list[str] = []

        def urlopen(url: str, timeout: float) -> io.BytesIO:
            asked.append(url)
            return io.BytesIO(data)

        monkeypatch.setattr(urllib.request, "urlopen", urlopen)
        return asked

    return serving


# --- systems -------------------------------------------------------------------------------------


def root(folder: Path) -> Path:
    """A root file system as Debian's: /lib is a link, libraries are links to files with longer names."""
    place = folder / "usr" / "lib" / "x86_64-linux-gnu"
    (place / "blas").mkdir(parents=True)
    (folder / "lib").symlink_to("usr/lib")
    (place / "libc.so.6").write_bytes(LIBC)
    (place / "libstdc++.so.6.0.30").write_bytes(LIBSTDCXX)
    (place / "libstdc++.so.6").symlink_to("libstdc++.so.6.0.30")
    (place / "blas" / "libblas.so.3").write_bytes(b"")
    (place / "gconv.txt").write_bytes(b"")
    return folder


EXPECTED = {"libc.so.6", "libstdc++.so.6", "libstdc++.so.6.0.30"}


def test_a_root_file_system(tmp_path: Path) -> None:
    """What the loader finds in its folders, not below them."""
    found = libraries.of_folder(root(tmp_path / "root"), title="a system")
    assert found.sonames == EXPECTED
    assert (found.title, found.machine) == ("a system", "x86_64")
    assert (found.glibc, found.libstdcxx) == ((2, 36), (3, 4, 30))


def test_folders_that_the_loader_is_told_of(tmp_path: Path) -> None:
    """They count as well."""
    place = root(tmp_path / "root")
    (place / "opt").mkdir()
    (place / "opt" / "libown.so.1").write_bytes(b"")
    assert "libown.so.1" in libraries.of_folder(place, title="", more=["opt"]).sonames


def test_a_release_that_added_to_one_library_alone(tmp_path: Path) -> None:
    """The version is the highest that either has."""
    place = root(tmp_path / "root") / "usr" / "lib" / "x86_64-linux-gnu"
    (place / "libm.so.6").write_bytes(elf.library(soname="libm.so.6", defines=["GLIBC_2.2.5", "GLIBC_2.37"]))
    assert libraries.of_folder(tmp_path / "root", title="").glibc == (2, 37)


def test_an_empty_system_has_nothing(tmp_path: Path) -> None:
    """No version either."""
    found = libraries.of_folder(tmp_path, title="")
    assert (found.sonames, found.glibc, found.libstdcxx) == (frozenset(), (), ())


def test_the_archive_of_a_base_image(tmp_path: Path) -> None:
    """The same is found in the layer of the archive that an engine is given."""
    layer, archive = tmp_path / "root.tar", tmp_path / "image.tar"
    with tarfile.open(layer, "w") as tar:
        tar.add(root(tmp_path / "root"), arcname=".")
    with archive.open("wb") as stream:
        images.write_image(layer, stream, tag="ml-packaging-harness/base:3.11-x", minor="3.11")
    found = libraries.of_image(archive, title="the base image")
    assert found.sonames == EXPECTED
    assert (found.glibc, found.libstdcxx) == ((2, 36), (3, 4, 30))


# --- packages ------------------------------------------------------------------------------------


def test_what_is_installed_here_is_looked_up_here(tmp_path: Path) -> None:
    """In dpkg's lists, and only for a system of this release."""
    (tmp_path / "_DPKG" / "libxcb1:amd64.list").write_text("/.\n/usr/lib/x86_64-linux-gnu/libxcb.so.1\n")
    (tmp_path / "_DPKG" / "other.list").write_text("/usr/lib/x86_64-linux-gnu/x/libxcb.so.1\n/usr/libxcb.so.1\n")
    assert debian.packages_of(["libxcb.so.1"], "bookworm").found == {"libxcb.so.1": "libxcb1"}


def test_the_index_knows_the_rest(serve: Serve, own_cache: Path) -> None:
    """Fetched once; packages for building are none, nor what is in a folder of its own, nor an odd name."""
    asked = serve(gzip.compress(CONTENTS.encode()))
    wanted = ["libxcb.so.1", "libz.so.1", "libtorch.so.2", "libblas.so.3", "libonly.so", "libbad.so.1", "libno.so.1"]
    found = debian.packages_of(wanted, "trixie")
    assert found.found == {"libxcb.so.1": "libxcb1", "libz.so.1": "zlib1g", "libtorch.so.2": "libtorch2.0"}
    assert not found.absent
    assert asked == ["http://deb.debian.org/debian/dists/trixie/main/Contents-amd64.gz"]
    assert debian.packages_of(["libxcb.so.1"], "trixie").found == {"libxcb.so.1": "libxcb1"}
    assert len(asked) == 1
    assert [file.name for file in (own_cache / "debian").glob("*.json")] == ["trixie-amd64.json"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"<html>not found</html>", "incorrect header"),
        (gzip.compress(CONTENTS.encode())[:-20], "cut off"),
        (gzip.compress(b"nothing here\n"), "names no library"),
        (b"", "cut off"),
    ],
    ids=["a page", "half of it", "nothing of use", "empty"],
)
def test_an_index_that_is_none_is_told(serve: Serve, own_cache: Path, data: bytes, why: str) -> None:
    """In one line; nothing of it is kept."""
    serve(data)
    found = debian.packages_of(["libxcb.so.1"], "trixie")
    assert why in found.absent
    assert found.found == {}
    assert not list((own_cache / "debian").glob("*.json"))


def test_an_index_larger_than_any_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed or unpacked."""
    serve(gzip.compress(CONTENTS.encode() * 1000))
    monkeypatch.setattr(debian, "_MOST_UNPACKED", 10_000)
    assert "larger than any" in debian.packages_of(["libxcb.so.1"], "trixie").absent
    monkeypatch.setattr(debian, "_MOST_PACKED", 100)
    assert "has more than" in debian.packages_of(["libxcb.so.1"], "trixie").absent


def test_an_index_that_never_ends_to_arrive_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly a server answers."""
    serve(gzip.compress(CONTENTS.encode()))
    monkeypatch.setattr(debian, "_FETCH_S", -1.0)
    assert "did not arrive" in debian.packages_of(["libxcb.so.1"], "trixie").absent


def test_no_network_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known without it stays."""

    def urlopen(url: str, timeout: float) -> Any:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    found = debian.packages_of(["libxcb.so.1"], "trixie")
    assert found.absent == "Debian's index of contents can't be had: no route to host"


def test_a_damaged_index_in_the_cache_is_fetched_anew(serve: Serve, own_cache: Path) -> None:
    """By the next command; this one says so."""
    serve(gzip.compress(CONTENTS.encode()))
    kept = own_cache / "debian" / "trixie-amd64.json"
    kept.parent.mkdir()
    kept.write_text("{")
    assert "damaged" in debian.packages_of(["libxcb.so.1"], "trixie").absent
    assert debian.packages_of(["libxcb.so.1"], "trixie").found == {"libxcb.so.1": "libxcb1"}


def test_kept_names_are_checked(own_cache: Path) -> None:
    """They end up in a file that others read."""
    (own_cache / "debian").mkdir()
    (own_cache / "debian" / "trixie-amd64.json").write_text(json.dumps({"liba.so.1": "a; rm", "libb.so.1": "libb1"}))
    assert debian.packages_of(["liba.so.1", "libb.so.1"], "trixie").found == {"libb.so.1": "libb1"}


def test_the_mirror_is_the_one_that_apt_uses(tmp_path: Path) -> None:
    """In both forms of its sources; Debian's own where there is none."""
    assert debian.mirror("trixie") == "http://deb.debian.org/debian"
    apt = tmp_path / "_APT"
    (apt / "sources.list.d").mkdir()
    (apt / "sources.list.d" / "a.sources").write_text(
        "Types: deb\n# a comment: here\nURIs: http://security.example/debian-security\n"
        "Suites: bookworm-security\nComponents: main\n\n"
        "Types: deb\nURIs: https://mirror.example/debian/\nSuites: bookworm bookworm-updates\nComponents: main\n"
    )
    assert debian.mirror("bookworm") == "https://mirror.example/debian"
    assert debian.mirror("trixie") == "http://deb.debian.org/debian"
    (apt / "sources.list").write_text("deb [arch=amd64] http://old.example/debian trixie main non-free\n")
    assert debian.mirror("trixie") == "http://old.example/debian"


def test_a_system_of_another_kind_has_no_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nothing is looked up here."""
    (tmp_path / "os-release").write_text("ID=other\n")
    assert debian.release() == ""
    monkeypatch.setattr(debian, "_OS_RELEASE", tmp_path / "nowhere")
    assert debian.release() == ""
