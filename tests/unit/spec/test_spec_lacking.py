"""What a failed build lacked, from what compilers and build tools really print."""

from __future__ import annotations

import pytest

from harness.spec import lacking


@pytest.mark.parametrize(
    ("output", "what", "package"),
    [
        (
            "error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory",
            "program x86_64-linux-gnu-gcc",
            "gcc",
        ),
        ("unable to execute 'g++': No such file or directory", "program g++", "g++"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'cmake'", "program cmake", "cmake"),
        ("/bin/sh: 1: swig: not found", "program swig", "swig"),
        ("sh: line 3: make: command not found", "program make", "make"),
        ("RuntimeError: CMake must be installed to build this package", "program cmake", "cmake"),
        ("Error: pg_config executable not found.", "program pg_config", "libpq-dev"),
        ("error: can't find Rust compiler", "program cargo", "cargo"),
        ("Cargo, the Rust package manager, is not installed or is not on PATH.", "program cargo", "cargo"),
        ("CMake Error: No CMAKE_CXX_COMPILER could be found.", "program g++", "g++"),
        ("x.c:1:10: fatal error: Python.h: No such file or directory\n", "header Python.h", "python3.11-dev"),
        ("x.c:1:10: fatal error: openssl/ssl.h: No such file or directory\n", "header openssl/ssl.h", "libssl-dev"),
        (
            "x.cc:4:10: fatal error: boost/python.hpp: No such file or directory",
            "header boost/python.hpp",
            "libboost-dev",
        ),
        ("/usr/bin/ld: cannot find -lz: No such file or directory", "library libz", "zlib1g-dev"),
        (
            "Command 'pkg-config --exists mysqlclient' returned non-zero exit status 1.",
            "pkg-config calls mysqlclient",
            "default-libmysqlclient-dev",
        ),
        ("/usr/bin/ld: cannot find -lpython3.11", "library libpython3.11", "libpython3.11-dev"),
    ],
)
def test_it_is_named_with_its_debian_package(output: str, what: str, package: str) -> None:
    """The first that was not there: what follows comes of it."""
    found = lacking.found(f"building\n{output}\nerror: it failed\n", python_minor="3.11")
    assert found is not None
    assert what in found.what
    assert found.remedy == f"install it on this machine: apt-get install {package}"


@pytest.mark.parametrize(
    ("output", "what", "file"),
    [
        ("x.c:1:10: fatal error: rare/thing.h: No such file or directory", "header rare/thing.h", "rare/thing.h"),
        ("/usr/bin/ld: cannot find -lrare", "library librare", "librare.so"),
        ("No package 'rare' found", "pkg-config calls rare", "rare.pc"),
        ('meson.build:3:0: ERROR: Dependency "rare" not found, tried pkgconfig', "pkg-config calls rare", "rare.pc"),
        ("sh: 1: rarely: not found", "program rarely", "rarely"),
    ],
)
def test_what_no_table_has_is_named_as_the_build_named_it(output: str, what: str, file: str) -> None:
    """And how to find out which package brings it."""
    found = lacking.found(output, python_minor="3.11")
    assert found is not None
    assert what in found.what
    assert f"apt-file search {file}" in found.remedy


def test_the_network_and_modules_have_their_own_remedies() -> None:
    """Neither is a package of Debian's."""
    network = lacking.found("urlopen error [Errno -3] Temporary failure in name resolution", python_minor="3.11")
    assert network is not None
    assert "wants the network" in network.what
    module = lacking.found("ModuleNotFoundError: No module named 'numpy'", python_minor="3.11")
    assert module is not None
    assert "imports numpy" in module.what
    header = lacking.found("x.c:1:1: fatal error: numpy/arrayobject.h: No such file or directory", python_minor="3.11")
    assert header is not None
    assert "imports numpy" in header.what


def test_other_failures_are_left_as_they_are() -> None:
    """Nothing is guessed."""
    assert lacking.found("error: use of undeclared identifier 'x'", python_minor="3.11") is None
    assert lacking.found("", python_minor="3.11") is None
