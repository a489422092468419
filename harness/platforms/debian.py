"""Which Debian package brings a shared library.

What is installed on this machine is looked up in dpkg's lists, where it is of the same release. Everything else is in
the archive's index of contents (``Contents-amd64.gz``, 12 MB), which is fetched once when it is first needed:

    <cache>/debian/<suite>-<architecture>.json      {soname: package} of the folder that the loader looks in

Libraries in other folders are left out: base images configure no package, so no alternative leads to them.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import platform
import re
import time
import urllib.request
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness import files, paths, process, tools
from harness.errors import BadInput

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
#: Debian's folder for an architecture, below ``lib`` and ``usr/lib``.
TRIPLETS = {"x86_64": "x86_64-linux-gnu", "aarch64": "aarch64-linux-gnu", "i686": "i386-linux-gnu"}
_ARCHIVE = "http://deb.debian.org/debian"
#: The index of Debian 13 has 12.7 MB, 500 MB when it is unpacked.
_MOST_PACKED = 64 * 2**20
_MOST_UNPACKED = 4 * 2**30
_LONGEST_LINE = 2**16
_CHUNK = 2**20
_PATIENCE_S = 30.0
_FETCH_S = 180.0
_LARGEST_LIST = 32 * 2**20
_LARGEST_INDEX = 16 * 2**20
_LARGEST_CONFIGURATION = 2**20

_DPKG = Path("/var/lib/dpkg/info")
_APT = Path("/etc/apt")
_OS_RELEASE = Path("/etc/os-release")
_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]*[a-z0-9+]")
#: Packages for building or debugging, not for running.
_NOT_FOR_USE = re.compile(r"-(dev|dbg|dbgsym|cross|doc)\b|-cross$")


@dataclass(frozen=True, kw_only=True)
class Packages:
    """The package of each soname that one is known of; ``absent`` says why the index was not asked, if it was not."""

    found: Mapping[str, str]
    absent: str = ""


def packages_of(sonames: Collection[str], suite: str) -> Packages:
    """The packages of Debian's release ``suite`` that bring these libraries. Never raises for a network that fails."""
    found = _installed(sonames) if suite == release() else {}
    rest = [name for name in sonames if name not in found]
    if not rest:
        return Packages(found=found)
    try:
        index = _index(suite)
    except (OSError, ValueError, zlib.error, http.client.HTTPException) as error:
        said = str(getattr(error, "reason", "") or error)
        return Packages(found=found, absent=f"Debian's index of contents can't be had: {said[:200]}")
    return Packages(found={**found, **{name: index[name] for name in rest if name in index}})


def release() -> str:
    """The code name of this machine's release (``bookworm``); empty where it says none."""
    with contextlib.suppress(BadInput):
        # A link on Debian: the system's own.
        text = files.read_text(_OS_RELEASE.resolve(), at_most=_LARGEST_CONFIGURATION)
        said = re.search(r'(?m)^VERSION_CODENAME="?([\w.-]+)"?$', text)
        return said[1] if said else ""
    return ""


def _installed(sonames: Collection[str]) -> dict[str, str]:
    """What packages that are installed here bring, as dpkg's lists of files say."""
    triplet = TRIPLETS.get(platform.machine(), "")
    wanted = {name: [f"/{top}/{triplet}/{name}\n".encode() for top in ("usr/lib", "lib")] for name in sonames}
    found: dict[str, set[str]] = {}
    for file in _DPKG.glob("*.list"):
        with contextlib.suppress(BadInput):
            text = b"\n" + files.read_bytes(file, at_most=_LARGEST_LIST)
            for name, places in wanted.items():
                if any(b"\n" + place in text for place in places):
                    found.setdefault(name, set()).add(file.stem.partition(":")[0])
    return {name: chosen for name, packages in found.items() if (chosen := _preferred(packages))}


def _index(suite: str) -> dict[str, str]:
    """The index of that release, fetched where it is not kept; OSError where it can't be, ValueError if it is none."""
    architecture = _ARCHITECTURES.get(platform.machine())
    if architecture is None:
        raise ValueError(f"no index is known for {platform.machine()}")
    file = paths.cache() / "debian" / f"{suite}-{architecture}.json"
    with tools.alone(file.with_suffix(".lock")), process.disk_full_named(file):
        if not file.is_file():
            url = f"{mirror(suite)}/dists/{suite}/main/Contents-{architecture}.gz"
            found = _parsed(_unpacked(_fetched(url)), TRIPLETS[platform.machine()])
            if not found:
                raise ValueError(f"{url} names no library")
            files.write_whole(file, json.dumps(found, sort_keys=True))
        try:
            table = json.loads(files.read_text(file, at_most=_LARGEST_INDEX))
        except (BadInput, ValueError) as error:
            files.remove(file)
            raise ValueError("the kept index is damaged; it is fetched anew the next time") from error
    return {str(name): str(package) for name, package in table.items() if _NAME.fullmatch(str(package))}


def mirror(suite: str) -> str:
    """Where apt on this machine gets that release from; Debian's own address where it gets it from nowhere."""
    for file in sorted([_APT / "sources.list", *_APT.glob("sources.list.d/*")]):
        with contextlib.suppress(BadInput):
            for stanza in re.split(r"\n\s*\n", files.read_text(file, at_most=_LARGEST_CONFIGURATION)):
                lines = [line for line in stanza.splitlines() if not line.lstrip().startswith("#")]
                told = re.findall(rf"(?m)^deb\s+(?:\[[^\]]*\]\s+)?(https?://\S+)\s+{suite}\s+(?:\S+\s+)*main\b", stanza)
                fields = dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("deb "))
                if suite in fields.get("Suites", "").split() and "main" in fields.get("Components", "").split():
                    told += [uri for uri in fields.get("URIs", "").split() if uri.startswith(("http://", "https://"))]
                if told:
                    return str(told[0]).rstrip("/")
    return _ARCHIVE


def _fetched(url: str) -> Iterator[bytes]:
    """What lies at the address, piece by piece, through the user's proxy; no more than the largest index."""
    total, end = 0, time.monotonic() + _FETCH_S
    with urllib.request.urlopen(url, timeout=_PATIENCE_S) as answer:  # noqa: S310 -- http or https, by mirror()
        while part := answer.read(_CHUNK):
            total += len(part)
            if total > _MOST_PACKED:
                raise ValueError(f"{url} has more than {_MOST_PACKED >> 20} MiB")
            if time.monotonic() > end:
                raise ValueError(f"{url} did not arrive within {_FETCH_S:g} s")
            yield part


def _unpacked(parts: Iterator[bytes]) -> Iterator[bytes]:
    """The lines of a gzip file, many at once, each piece whole lines."""
    inflating, total, rest = zlib.decompressobj(wbits=31), 0, b""
    for part in parts:
        packed = part
        while packed:
            text = inflating.decompress(packed, 16 * _CHUNK)
            packed = inflating.unconsumed_tail
            total += len(text)
            if total > _MOST_UNPACKED or len(rest) > _LONGEST_LINE:
                raise ValueError("the index of contents is larger than any")
            whole, _, rest = (rest + text).rpartition(b"\n")
            yield whole
    if not inflating.eof:
        raise ValueError("the index of contents is cut off")
    yield rest


def _parsed(pieces: Iterator[bytes], triplet: str) -> dict[str, str]:
    """``{soname: package}`` of an index of contents: lines ``usr/lib/<triplet>/libz.so.1   libs/zlib1g``."""
    # Each begins with what is rare, so that most of 500 MB is only skimmed.
    patterns = [
        re.compile(rf"\n{top}/{triplet}/(lib[^/\s]+\.so[.\d]*)[ \t]+(\S+)(?=\n|$)".encode())
        for top in ("usr/lib", "lib")
    ]
    found: dict[str, set[str]] = {}
    for piece in pieces:
        for pattern in patterns:
            for name, packages in pattern.findall(b"\n" + piece):
                names = {one.rpartition("/")[2] for one in packages.decode("utf-8", "replace").split(",")}
                found.setdefault(name.decode("utf-8", "replace"), set()).update(names)
    return {name: chosen for name, packages in sorted(found.items()) if (chosen := _preferred(packages))}


def _preferred(packages: Collection[str]) -> str:
    """The one to install of several that bring the same library: for use, with the shortest name; empty for none."""
    fitting = [name for name in packages if _NAME.fullmatch(name) and not _NOT_FOR_USE.search(name)]
    return min(fitting, key=lambda name: (len(name), name), default="")
