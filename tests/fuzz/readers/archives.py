"""Archives: nothing in them is written outside the folder that they are unpacked to."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import tree
from harness.archives import UnsoundError
from harness.errors import HarnessError
from harness.methods import lambda_zip
from harness.spec import sdists

_KINDS = {
    "file": tarfile.REGTYPE,
    "folder": tarfile.DIRTYPE,
    "link": tarfile.SYMTYPE,
    "hard": tarfile.LNKTYPE,
    "fifo": tarfile.FIFOTYPE,
    "device": tarfile.CHRTYPE,
    "sparse": tarfile.GNUTYPE_SPARSE,
}


def tar(data: bytes, place: Path) -> None:
    """A ``.tar.gz``: what is not compressed is, since no mutation gets past a checksum."""
    whole = data if data.startswith(b"\x1f\x8b") else gzip.compress(data, 1)
    _kept_inside(place, whole, tree.unpack)


def tar_members(data: bytes, place: Path) -> None:
    """The same from a JSON list of members."""
    made = _made(data, _add_to_tar, _tar_to)
    if made is not None:
        _kept_inside(place, made, tree.unpack)


def sdist(data: bytes, place: Path) -> None:
    """A source distribution, looked at before it is built; what is not compressed is."""
    file = place / "tiny-1.tar.gz"
    file.write_bytes(data if data.startswith(b"\x1f\x8b") else gzip.compress(data, 1))
    with contextlib.suppress(UnsoundError):
        sdists.read(file, name="tiny", version="1")


def sdist_members(data: bytes, place: Path) -> None:
    """The same from a JSON list of members."""
    made = _made(data, _add_to_tar, _tar_to)
    if made is not None:
        sdist(made, place)


def zipped(data: bytes, place: Path) -> None:
    """A zip: any bytes."""
    _kept_inside(place, data, lambda_zip.unpack)


def zip_members(data: bytes, place: Path) -> None:
    """The same from a JSON list of members."""
    made = _made(data, _add_to_zip, _zip_to)
    if made is not None:
        _kept_inside(place, made, lambda_zip.unpack)


def _made(data: bytes, add: Callable[[Any, dict[str, Any]], None], opened: Callable[[io.BytesIO], Any]) -> bytes | None:
    """An archive of the members; None where they are none that could be written."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that come twice are what is wanted
        try:
            members = json.loads(data)
            with opened(stream) as archive:
                for member in members[:64]:
                    add(archive, member)
        except Exception:  # of the test's own making
            return None
    return stream.getvalue()


def _tar_to(stream: io.BytesIO) -> tarfile.TarFile:
    return tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1)


def _zip_to(stream: io.BytesIO) -> zipfile.ZipFile:
    return zipfile.ZipFile(stream, "w")


def _add_to_tar(archive: tarfile.TarFile, member: dict[str, Any]) -> None:
    entry = tarfile.TarInfo(str(member.get("name", "")))
    entry.type = _KINDS.get(str(member.get("kind")), tarfile.REGTYPE)
    entry.linkname = str(member.get("to", ""))
    text = str(member.get("text", "")).encode()
    entry.size = len(text) if entry.isreg() else 0
    entry.mode = int(member.get("mode", 0o644)) & 0o7777
    entry.mtime, entry.uid = int(member.get("time", 0)), int(member.get("user", 0))
    archive.addfile(entry, io.BytesIO(text))


def _add_to_zip(archive: zipfile.ZipFile, member: dict[str, Any]) -> None:
    entry = zipfile.ZipInfo(str(member.get("name", "")))
    kind = stat.S_IFLNK if member.get("kind") == "link" else stat.S_IFREG
    entry.external_attr = (kind | int(member.get("mode", 0o644)) & 0o7777) << 16
    archive.writestr(entry, str(member.get("to") or member.get("text", "")))


def _kept_inside(place: Path, data: bytes, unpack: Callable[[Path, Path], None]) -> None:
    outside = place / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"as it was")
    archive, target = place / "archive", place / "in" / "target"
    target.parent.mkdir()
    archive.write_bytes(data)
    try:
        unpack(archive, target)
    except HarnessError:
        pass
    finally:
        assert sorted(one.name for one in place.iterdir()) == ["archive", "cache", "in", "outside"], (
            "it left the folder"
        )
        assert [one.name for one in (place / "in").iterdir()] in (["target"], []), "it left the folder"
        assert [one.name for one in outside.iterdir()] == ["kept"], "it wrote through a link"
        assert (outside / "kept").read_bytes() == b"as it was", "it wrote through a link"
        assert archive.read_bytes() == data, "it wrote over the archive"
