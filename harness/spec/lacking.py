"""What a build that failed had not found, read from what it printed, with the Debian package that brings it.

The tables have what packages for Python most often ask for. What they don't have is named as the build named it.

The names are those of bookworm, written from knowledge. Only libldap-dev and default-libmysqlclient-dev were seen to
be right, in builds that failed without them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_PROGRAMS = {
    **dict.fromkeys(("gcc", "cc", "x86_64-linux-gnu-gcc", "aarch64-linux-gnu-gcc"), "gcc"),
    **dict.fromkeys(("g++", "c++", "x86_64-linux-gnu-g++", "aarch64-linux-gnu-g++"), "g++"),
    **dict.fromkeys(("make", "gmake"), "make"),
    **{name: name for name in ("cmake", "gfortran", "rustc", "cargo", "swig", "git", "clang", "patchelf", "autoconf")},
    **{name: name for name in ("automake", "libtool", "bison", "flex", "nasm", "pkg-config")},
    "ninja": "ninja-build",
    "protoc": "protobuf-compiler",
    "nvcc": "nvidia-cuda-toolkit",
    "javac": "default-jdk-headless",
    "java": "default-jre-headless",
    "pg_config": "libpq-dev",
    "mysql_config": "default-libmysqlclient-dev",
    "curl-config": "libcurl4-openssl-dev",
    "xml2-config": "libxml2-dev",
    "xslt-config": "libxslt1-dev",
    "gdal-config": "libgdal-dev",
    "geos-config": "libgeos-dev",
    "llvm-config": "llvm-dev",
    "krb5-config": "libkrb5-dev",
}
#: A name that ends in '/' stands for all headers of that folder.
_HEADERS = {
    **dict.fromkeys(("stdio.h", "stdlib.h", "string.h", "limits.h", "math.h", "features.h"), "libc6-dev"),
    **dict.fromkeys(("libpq-fe.h", "pg_config.h"), "libpq-dev"),
    **dict.fromkeys(("sql.h", "sqlext.h"), "unixodbc-dev"),
    **dict.fromkeys(("lber.h", "ldap.h"), "libldap-dev"),
    "linux/": "linux-libc-dev",
    "ffi.h": "libffi-dev",
    "openssl/": "libssl-dev",
    "zlib.h": "zlib1g-dev",
    "bzlib.h": "libbz2-dev",
    "lzma.h": "liblzma-dev",
    "zstd.h": "libzstd-dev",
    "lz4.h": "liblz4-dev",
    "sqlite3.h": "libsqlite3-dev",
    "libxml/": "libxml2-dev",
    "libxslt/": "libxslt1-dev",
    "jpeglib.h": "libjpeg-dev",
    "png.h": "libpng-dev",
    "tiffio.h": "libtiff-dev",
    "ft2build.h": "libfreetype-dev",
    "hdf5.h": "libhdf5-dev",
    "netcdf.h": "libnetcdf-dev",
    "fftw3.h": "libfftw3-dev",
    "gsl/": "libgsl-dev",
    "cblas.h": "libopenblas-dev",
    "lapacke.h": "liblapacke-dev",
    "gmp.h": "libgmp-dev",
    "mpfr.h": "libmpfr-dev",
    "mpi.h": "libopenmpi-dev",
    "boost/": "libboost-dev",
    "Eigen/": "libeigen3-dev",
    "sndfile.h": "libsndfile1-dev",
    "portaudio.h": "portaudio19-dev",
    "alsa/": "libasound2-dev",
    "X11/": "libx11-dev",
    "GL/": "libgl-dev",
    "cairo.h": "libcairo2-dev",
    "curl/": "libcurl4-openssl-dev",
    "mysql.h": "default-libmysqlclient-dev",
    "sasl/": "libsasl2-dev",
    "yaml.h": "libyaml-dev",
    "hunspell/": "libhunspell-dev",
    "re2/": "libre2-dev",
    "snappy-c.h": "libsnappy-dev",
    "crypt.h": "libcrypt-dev",
    "opencv2/": "libopencv-dev",
    "google/protobuf/": "libprotobuf-dev",
}
_LIBRARIES = {
    "z": "zlib1g-dev",
    **dict.fromkeys(("ssl", "crypto"), "libssl-dev"),
    "ffi": "libffi-dev",
    "bz2": "libbz2-dev",
    "lzma": "liblzma-dev",
    "sqlite3": "libsqlite3-dev",
    **dict.fromkeys(("blas", "cblas"), "libblas-dev"),
    "lapack": "liblapack-dev",
    "openblas": "libopenblas-dev",
    "gfortran": "gfortran",
    "stdc++": "g++",
    **dict.fromkeys(("c", "m", "dl", "pthread", "rt"), "libc6-dev"),
    "xml2": "libxml2-dev",
    "xslt": "libxslt1-dev",
    "jpeg": "libjpeg-dev",
    "png": "libpng-dev",
    "pq": "libpq-dev",
    "hdf5": "libhdf5-dev",
    "gmp": "libgmp-dev",
    "GL": "libgl-dev",
    "X11": "libx11-dev",
    "curl": "libcurl4-openssl-dev",
    "fftw3": "libfftw3-dev",
    "gsl": "libgsl-dev",
    "boost_python3": "libboost-python-dev",
}
#: What pkg-config calls some of them.
_PKG_CONFIG = {
    "mysqlclient": "default-libmysqlclient-dev",
    "mariadb": "libmariadb-dev",
    "cairo": "libcairo2-dev",
    "libffi": "libffi-dev",
    "libxml-2.0": "libxml2-dev",
    "openssl": "libssl-dev",
    "hdf5": "libhdf5-dev",
    "openblas": "libopenblas-dev",
    "gobject-introspection-1.0": "libgirepository1.0-dev",
    "sentencepiece": "libsentencepiece-dev",
}
_NAME = r"([\w.+/-]{1,200})"
_TOOL = "(cmake|ninja|swig|gfortran|pg_config|mysql_config|cargo|rustc|protoc|nvcc)"
_NO_FILE = "No such file or directory"
#: How tools say that a program is not there. The first that matches is meant: what follows comes of it.
_PROGRAM_SAYINGS = (
    rf"command '{_NAME}' failed: {_NO_FILE}",
    rf"unable to execute '{_NAME}': {_NO_FILE}",
    rf"FileNotFoundError: \[Errno 2\] {_NO_FILE}: '(?:\S*/)?([\w+-]+)'",
    rf"(?m)^(?:/bin/)?(?:ba)?sh: (?:line )?\d+: {_NAME}: (?:command )?not found",
    rf"(?i)\b{_TOOL}\b[^\n]{{0,40}} (?:is )?(?:not (?:be )?(?:found|installed)|must be installed|is required)",
    rf"(?i)could not find [^\n]{{0,20}}\b{_TOOL}\b",
)
_COMPILERS = (
    (r"can't find Rust compiler|the Rust package manager, is not installed|Rust not found", "cargo"),
    (r"No CMAKE_CXX_COMPILER could be found|Unknown compiler\(s\): \[\['c\+\+'", "g++"),
    (r"No CMAKE_C_COMPILER could be found|Unknown compiler\(s\): \[\['cc'|no acceptable C compiler found", "gcc"),
    (r"CMAKE_MAKE_PROGRAM is not set|CMake was unable to find a build program", "make"),
)
_NETWORK = (
    r"Temporary failure in name resolution|Name or service not known|Network is unreachable|Could not resolve host"
    r"|Failed to establish a new connection|nodename nor servname|Could not resolve hostname"
)


@dataclass(frozen=True, kw_only=True)
class Lacking:
    """What was not there, as a sentence goes on after 'its build'; and what to do."""

    what: str
    remedy: str


def found(output: str, *, python_minor: str) -> Lacking | None:
    """What the build that printed ``output`` lacked; None where it does not say so in words that are known."""
    for look in (_programs, _compilers, _headers, _libraries, _packages, _network, _modules):
        for lacking in look(output, python_minor):
            return lacking
    return None


def _programs(output: str, _: str) -> Iterator[Lacking]:
    for saying in _PROGRAM_SAYINGS:
        for match in re.finditer(saying, output):
            name = match[1].rpartition("/")[2].lower()
            yield _program(name)


def _compilers(output: str, _: str) -> Iterator[Lacking]:
    yield from (_program(name) for saying, name in _COMPILERS if re.search(saying, output))


def _program(name: str) -> Lacking:
    # What was put into a home folder is not seen: the build is behind the door.
    return Lacking(
        what=f"needs the program {name}, which is not below /usr", remedy=_install(_PROGRAMS.get(name), name)
    )


def _headers(output: str, minor: str) -> Iterator[Lacking]:
    for match in re.finditer(rf"fatal error: {_NAME}: {_NO_FILE}", output):
        header = match[1]
        if header in {"Python.h", "pyconfig.h"}:
            yield Lacking(what=f"needs the header {header}", remedy=_install(f"python{minor}-dev", header))
        elif header.startswith("numpy/"):
            yield _module("numpy")
        package = next((one for name, one in _HEADERS.items() if _is_header(header, name)), None)
        yield Lacking(what=f"needs the header {header}", remedy=_install(package, header))


def _is_header(header: str, name: str) -> bool:
    return header.startswith(name) if name.endswith("/") else header == name


def _libraries(output: str, minor: str) -> Iterator[Lacking]:
    for match in re.finditer(rf"(?:cannot find|unable to find library) -l{_NAME}", output):
        name = match[1].rstrip(":.")
        package = f"libpython{minor}-dev" if name == f"python{minor}" else _LIBRARIES.get(name)
        yield Lacking(what=f"needs the library lib{name}", remedy=_install(package, f"lib{name}.so"))


def _packages(output: str, _: str) -> Iterator[Lacking]:
    for saying in (
        rf"No package '{_NAME}' found",
        rf'Dependency "{_NAME}" not found',
        rf"Package {_NAME} was not found in the pkg-config search path",
        rf"pkg-config --exists {_NAME}' returned non-zero",
    ):
        for match in re.finditer(saying, output):
            yield Lacking(
                what=f"needs the library that pkg-config calls {match[1]}",
                remedy=_install(_PKG_CONFIG.get(match[1]), f"{match[1]}.pc"),
            )


def _network(output: str, _: str) -> Iterator[Lacking]:
    if re.search(_NETWORK, output):
        yield Lacking(
            what="wants the network, which no build has",
            remedy="give the package a wheel: build it where you trust it ('pip wheel --no-deps'), and name its folder "
            "by 'wheels' in model.toml",
        )


def _modules(output: str, _: str) -> Iterator[Lacking]:
    for match in re.finditer(r"(?:ModuleNotFoundError|ImportError): No module named '([\w.]{1,100})'", output):
        yield _module(match[1])


def _module(name: str) -> Lacking:
    return Lacking(
        what=f"imports {name}, which it does not name among its build requirements",
        remedy="require another version, or give the package a wheel: 'wheels' in model.toml names a folder of them",
    )


def _install(package: str | None, file: str) -> str:
    if package is not None:
        return f"install it on this machine: apt-get install {package}"
    return f"install the package that brings it: 'apt-file search {file}' names Debian's"
