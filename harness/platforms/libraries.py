"""Which shared libraries a system has: this machine, a root file system, or the archive of a base image.

Names are listed as ``ldconfig`` finds them: in the folders of the loader's configuration, not below those. Of two files
more is read: the C library and the C++ runtime, whose highest versions decide what they can carry.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import tarfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from harness import files
from harness.errors import BadInput
from harness.platforms import debian, images
from harness.platforms.engine import Say
from harness.spec import native
from harness.spec.native import Native

#: Where the loader looks by default, below the root: ld.so(8), and Debian's folder for the architecture.
_FOLDERS = ("lib/{triplet}", "usr/lib/{triplet}", "lib64", "usr/lib64", "lib", "usr/lib")
#: What /etc/ld.so.conf.d adds on Debian.
_LOCAL = ("usr/local/lib", "usr/local/lib/{triplet}")
#: What every base image has at least (libgcc-s1, libstdc++6 and zlib1g, of the packages that images.py includes), and
#: the versions of C library and C++ runtime of each release: so most models need no base image to be held against.
_ALWAYS = frozenset({"libgcc_s.so.1", "libstdc++.so.6", "libz.so.1"})
_VERSIONS = {
    "bullseye": ((2, 31), (3, 4, 28)),
    "bookworm": ((2, 36), (3, 4, 30)),
    "trixie": ((2, 41), (3, 4, 33)),
}
_LIBRARY = re.compile(r"[^/]+\.so(\.[\w.]+)?")
#: Not every release of glibc adds to every library of it: 2.31 added to the second alone.
_LIBC, _LIBM = "libc.so.6", "libm.so.6"
_LIBSTDCXX = "libstdc++.so.6"
_CONFIGURATION_BYTES = 2**16
_MOST_LINKS = 8


@dataclass(frozen=True, kw_only=True)
class System:
    """A system in a reader's words, the sonames that its loader finds, and two versions (empty: has none).

    ``libstdcxx`` is the highest ``GLIBCXX_`` version of its C++ runtime.
    """

    title: str
    machine: str
    sonames: frozenset[str]
    glibc: tuple[int, ...] = ()
    libstdcxx: tuple[int, ...] = ()


def here() -> System:
    """This machine."""
    return of_folder(Path("/"), title="this machine", more=_configured())


def folders_here() -> list[str]:
    """The folders that this machine's loader looks in, without links in them."""
    found = (os.path.realpath(f"/{folder}") for folder in (*_folders(platform.machine()), *_configured()))
    return [folder for folder in dict.fromkeys(found) if os.path.isdir(folder)]


def least(minor: str) -> System:
    """What Debian's base image for that Python has at least, without a look at one. MissingComponent for no release."""
    suite = images.suite(minor)
    glibc, libstdcxx = _VERSIONS[suite]
    return System(title=_title(minor), machine=platform.machine(), sonames=_ALWAYS, glibc=glibc, libstdcxx=libstdcxx)


def of_base(minor: str, packages: Sequence[str] = (), *, say: Say = lambda _: None) -> System:
    """All that the base image has, with ``packages``; made where it is not there, but not given to an engine.

    MissingComponent where it can't be made, BuildFailure where Debian has no such package.
    """
    return of_image(images.archive(minor, packages, say=say), title=_title(minor))


def _title(minor: str) -> str:
    return f"Debian {images.suite(minor)} with Python {minor}"


def of_folder(root: Path, *, title: str, more: Sequence[str] = ()) -> System:
    """The root file system in a folder of ours; ``more`` are further folders that its loader is told to look in."""
    machine = platform.machine()
    found: dict[str, Path] = {}
    for folder in (*_folders(machine), *more):
        with contextlib.suppress(OSError), os.scandir(root / folder) as entries:
            for entry in entries:
                if _LIBRARY.fullmatch(entry.name):
                    found.setdefault(entry.name, Path(entry.path))

    @contextlib.contextmanager
    def opened(name: str) -> Iterator[IO[bytes]]:
        with found[name].open("rb") as stream:  # a link of the system's own, within its folder
            yield stream

    return _system(title, machine, found, opened)


def of_image(archive: Path, *, title: str) -> System:
    """The one layer in an archive for ``docker load`` that :func:`harness.platforms.images.write_image` has made."""
    machine = platform.machine()
    folders = set(_folders(machine))
    with tarfile.open(archive, mode="r:") as outer:
        layer = next(member for member in outer if member.name.endswith("/layer.tar"))
        with tarfile.open(fileobj=outer.extractfile(layer), mode="r:") as tar:
            found: dict[str, tarfile.TarInfo] = {}
            for member in tar:
                place = PurePosixPath(member.name)
                if not member.isdir() and str(place.parent) in folders and _LIBRARY.fullmatch(place.name):
                    found.setdefault(place.name, member)

            @contextlib.contextmanager
            def opened(name: str) -> Iterator[IO[bytes]]:
                member = found[name]
                for _ in range(_MOST_LINKS):
                    if member.issym():
                        member = found[PurePosixPath(member.linkname).name]
                stream = tar.extractfile(member)
                assert stream is not None
                with stream:
                    yield stream

            return _system(title, machine, found, opened)


def _system(
    title: str,
    machine: str,
    names: Collection[str],
    opened: Callable[[str], contextlib.AbstractContextManager[IO[bytes]]],
) -> System:
    def highest(library: str, prefix: str) -> tuple[int, ...]:
        if library not in names:
            return ()
        with opened(library) as stream:
            found = native.read(stream, library)
        return native.defined(found, prefix) if isinstance(found, Native) else ()

    return System(
        title=title,
        machine=machine,
        sonames=frozenset(names),
        glibc=max(highest(_LIBC, "GLIBC_"), highest(_LIBM, "GLIBC_")),
        libstdcxx=highest(_LIBSTDCXX, "GLIBCXX_"),
    )


def _folders(machine: str) -> list[str]:
    triplet = debian.TRIPLETS.get(machine, f"{machine}-linux-gnu")
    return [folder.format(triplet=triplet) for folder in (*_FOLDERS, *_LOCAL)]


def _configured() -> list[str]:
    """The folders that this machine's loader is told of in /etc/ld.so.conf.d, relative to the root."""
    found = []
    for file in [Path("/etc/ld.so.conf"), *sorted(Path("/etc/ld.so.conf.d").glob("*.conf"))]:
        with contextlib.suppress(BadInput):
            text = files.read_text(file, at_most=_CONFIGURATION_BYTES)
            found += [line.strip().lstrip("/") for line in text.splitlines() if line.startswith("/")]
    return found
