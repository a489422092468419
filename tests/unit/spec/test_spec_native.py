"""What native files say that they need, and which of that the system has to have."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from fuzz import elf

from harness.spec import native
from harness.spec.native import Native, Unread


def seen(data: bytes) -> Native:
    """What is read of a file that makes sense."""
    found = native.read(io.BytesIO(data), "a.so")
    assert isinstance(found, Native), found
    return found


def refused(data: bytes) -> str:
    """Why a file makes no sense."""
    found = native.read(io.BytesIO(data), "a.so")
    assert isinstance(found, Unread), found
    return found.why


def test_everything_that_a_file_says() -> None:
    """Architecture, names, folders, versions, level, loader."""
    data = elf.library(
        soname="libown.so.1",
        needed=["libxcb.so.1", "libc.so.6"],
        runpath="$ORIGIN/../own.libs",
        versions={"libc.so.6": ["GLIBC_2.17", "GLIBC_2.4"], "libstdc++.so.6": ["GLIBCXX_3.4.22", "CXXABI_1.3"]},
        defines=["OWN_1.0", "OWN_1.10"],
        isa=0b111,
        loader="/lib64/ld-linux-x86-64.so.2",
    )
    one = seen(data)
    assert (one.machine, one.soname, one.needed) == ("x86_64", "libown.so.1", ("libxcb.so.1", "libc.so.6"))
    assert one.search == ("$ORIGIN/../own.libs",)
    assert ("libstdc++.so.6", "CXXABI_1.3") in one.versions
    assert (one.level, one.loader) == (3, "/lib64/ld-linux-x86-64.so.2")
    assert native.newest([one], "GLIBC_") == (2, 17)
    assert native.newest([one], "GLIBCXX_") == (3, 4, 22)
    assert native.newest([one], "GOMP_") == ()
    assert native.defined(one, "OWN_") == (1, 10)


def test_what_is_not_there_is_empty() -> None:
    """A file without tables needs nothing."""
    one = seen(elf.library(machine=elf.AARCH64))
    assert one == Native(path="a.so", machine="aarch64")


def test_runpath_goes_before_rpath() -> None:
    """As for the loader."""
    assert seen(elf.library(rpath="/old", runpath="/new")).search == ("/new",)
    assert seen(elf.library(rpath="/old")).search == ("/old",)


def test_relative_relocations_need_a_new_c_library() -> None:
    """They have no version that is a number."""
    one = seen(elf.library(versions={"libc.so.6": ["GLIBC_2.4", "GLIBC_ABI_DT_RELR", "GLIBC_PRIVATE"]}))
    assert native.newest([one], "GLIBC_") == (2, 36)


def test_other_files_are_none() -> None:
    """Whatever is in them."""
    assert native.read(io.BytesIO(b""), "a") is None
    assert native.read(io.BytesIO(b"#!/bin/sh\n"), "a") is None


def test_headers_without_sense_are_told() -> None:
    """Cut off anywhere, it is refused or says less; it never raises."""
    data = elf.library(soname="libown.so.1", needed=["libz.so.1"], versions={"libc.so.6": ["GLIBC_2.17"]}, isa=1)
    for length in range(4, len(data)):
        found = native.read(io.BytesIO(data[:length]), "a.so")
        assert isinstance(found, Native | Unread)
    assert refused(data[:30])


def test_tables_without_end_are_given_up() -> None:
    """A chain of versions that leads back to itself, and 65,535 segments."""
    data = bytearray(elf.library(versions={"libc.so.6": ["GLIBC_2.17"], "libm.so.6": ["GLIBC_2.17"]}))
    chain = data.index(struct.pack("<HH", 1, 1), 64)
    assert seen(bytes(data)).versions
    data[chain + 2 : chain + 4] = b"\xff\xff"  # so many versions, ...
    data[chain + 16 + 12 : chain + 32] = bytes(4)  # ... each of which is followed by itself
    assert refused(bytes(data)) == "its tables have no end"
    many = bytearray(elf.library())
    many[54:58] = struct.pack("<HH", 56, 65_535)
    assert refused(bytes(many) + bytes(4 * 2**20)) == "its tables have no end"


def test_a_name_without_end_is_refused() -> None:
    """Not read to the end of a file of gigabytes."""
    data = bytearray(elf.library(needed=["libz.so.1"]))
    place = data.index(b"libz.so.1\0")
    data[place:] = b"z" * (len(data) - place)
    assert refused(bytes(data))


def test_what_the_system_has_to_have() -> None:
    """Not what a file of the closure is, by its soname or by its name; not what comes with the C library."""
    found = [
        Native(path="cv2/cv2.so", machine="x86_64", needed=("libxcb.so.1", "libav-1.so", "libc.so.6", "libm.so.6")),
        Native(path="cv2.libs/libav-1.so", machine="x86_64", needed=("libz.so.1", "libxcb.so.1", "libplug.so")),
        Native(path="lib/plugin", machine="x86_64", soname="libplug.so", needed=("ld-linux-x86-64.so.2",)),
        Native(path="arm/other.so", machine="aarch64", needed=("libarm.so.1",)),
    ]
    needed = native.from_system(found, machine="x86_64")
    assert needed == {"libxcb.so.1": ("cv2.libs/libav-1.so", "cv2/cv2.so"), "libz.so.1": ("cv2.libs/libav-1.so",)}


@pytest.mark.parametrize(
    ("soname", "is_of"),
    [
        *[(name, True) for name in ("libc.so.6", "ld-linux-x86-64.so.2", "libpthread.so.0", "libmvec.so.1")],
        *[(name, False) for name in ("libcrypt.so.1", "libgcc_s.so.1", "libcurl.so.4", "libmagic.so.1")],
    ],
)
def test_libraries_of_the_c_library(soname: str, is_of: bool) -> None:
    """Their version says all."""
    assert native.of_glibc(soname) == is_of


def test_a_folder_is_walked(tmp_path: Path) -> None:
    """Names don't matter, but for those of sources."""
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "mod.so").write_bytes(elf.library(needed=["libz.so.1"]))
    (tmp_path / "pkg" / "tool").write_bytes(elf.library(loader="/lib64/ld-linux-x86-64.so.2"))
    (tmp_path / "pkg" / "bad.so").write_bytes(b"\x7fELF" + b"\xff" * 100)
    (tmp_path / "pkg" / "text.dat").write_bytes(b"nothing" * 100)
    (tmp_path / "pkg" / "linked.so").symlink_to("mod.so")
    found = {one.path: type(one) for one in native.below(tmp_path, at="x/")}
    assert found == {"x/pkg/bad.so": Unread, "x/pkg/mod.so": Native, "x/pkg/tool": Native}


def test_the_level_is_of_the_file_that_needs_most() -> None:
    """Marks are masks: the highest bit counts."""
    levels = [seen(elf.library(isa=mask)).level for mask in (0, 0b1, 0b11, 0b1000, 0xFFFFFFFF)]
    assert levels == [0, 1, 2, 4, 4]
    assert native.level([seen(elf.library(isa=0b11)), seen(elf.library())]) == 2
