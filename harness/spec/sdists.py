"""Source distributions, looked at before they are built: what is read of them here is never executed here.

Sources: packaging.python.org, "Source distribution format"; PEP 517 and 518 for ``[build-system]`` and its defaults.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.metadata import parse_email
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from harness import archives, files, tree
from harness.archives import UnsoundError
from harness.errors import BadInput
from harness.spec import reading
from harness.spec.model import requirement_text

#: The most that one may have, packed and unpacked; that of OpenCV has 0.1 and 0.4 GB.
LARGEST_BYTES = 2**30
_UNPACKED_BYTES = 2 * 2**30
_MOST_ENTRIES = 50_000
_TEXT_BYTES = 2**20
#: What is taken where a project says nothing. Before setuptools 82, because projects that say nothing are old, and
#: many of them import pkg_resources, which is in no later one (setuptools' history, 82.0.0).
_OLD_BUILD = ("setuptools>=40.8.0,<82", "wheel")
_OLD_BACKEND = "setuptools.build_meta:__legacy__"


@dataclass(frozen=True, kw_only=True)
class Sdist:
    """What a source distribution says of itself: its one folder, and how it is to be built."""

    folder: str
    requires: tuple[str, ...]
    backend: str
    backend_path: tuple[str, ...] = ()


def read(file: Path, *, name: str, version: str) -> Sdist:
    """What the source distribution of ``name`` ``version`` says of how it is built.

    UnsoundError where it is damaged, could leave its folder when it is unpacked, is of another name or version, or
    says something about its build that cannot be.
    """
    with files.opened(file) as stream:
        if os.fstat(stream.fileno()).st_size > LARGEST_BYTES:
            raise UnsoundError(f"it has more than {LARGEST_BYTES // 2**30} GiB")
        if file.name.endswith(".zip"):
            with archives.opened(stream, at_most_bytes=_UNPACKED_BYTES) as archive:
                names = set(archive.namelist())
                return _described(
                    names,
                    lambda path: archives.read(archive, path, at_most=_TEXT_BYTES) if path in names else None,
                    name,
                    version,
                )
        if not file.name.endswith((".tar.gz", ".tgz")):
            raise UnsoundError(f"{archives.shown(file.name)} is neither a .tar.gz nor a .zip")
        with _complaints(), gzip.GzipFile(fileobj=stream, mode="rb") as zipped:
            with tarfile.open(fileobj=tree.BoundedArchive(zipped), mode="r:") as tar:
                texts = dict(_members(tar))
        return _described(set(texts), texts.get, name, version)


@contextmanager
def _complaints() -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError) as error:
        raise UnsoundError(f"it is damaged: {error}") from error
    except RecursionError as error:  # headers that are about headers
        raise UnsoundError("it is damaged: its headers are nested too deeply") from error


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, bytes | None]]:
    """The name of each member, and of the few that are read what is in them."""
    total = count = 0
    while (member := tar.next()) is not None:
        count, total = count + 1, total + max(member.size, 0)
        if count > _MOST_ENTRIES or total > _UNPACKED_BYTES:
            raise UnsoundError(f"unpacked, it has more than {_UNPACKED_BYTES / 2**30:.3g} GiB, or too many files")
        name = member.name.removesuffix("/")
        if not archives.plain(name):
            raise UnsoundError(f"{archives.shown(member.name)} is not a plain name")
        if member.issym() or member.islnk():
            _check_link(member, name)
        elif not (member.isdir() or (member.isreg() and not member.issparse())):
            raise UnsoundError(f"{archives.shown(name)} is neither a file, a folder nor a link")
        content = None
        if member.isreg() and name.count("/") == 1 and name.endswith(("/pyproject.toml", "/PKG-INFO")):
            if member.size > _TEXT_BYTES:
                raise UnsoundError(f"{archives.shown(name)} is larger than {_TEXT_BYTES // 2**20} MiB")
            stream = tar.extractfile(member)
            content = stream.read() if stream is not None else None
        yield name, content


def _check_link(member: tarfile.TarInfo, name: str) -> None:
    """UnsoundError for a link that leads out of the folder. It is followed behind the door alone."""
    top = name.split("/", maxsplit=1)[0]
    start = "" if member.islnk() else os.path.dirname(name)
    leads = os.path.normpath(os.path.join(start, member.linkname))
    if os.path.isabs(member.linkname) or leads.split("/")[0] != top or name == top:
        raise UnsoundError(f"{archives.shown(name)} is a link that leads out of it")


def _described(names: set[str], content: Callable[[str], bytes | None], name: str, version: str) -> Sdist:
    tops = {path.split("/")[0] for path in names}
    if len(tops) != 1:
        raise UnsoundError(f"it has {len(tops)} folders at its top, not one")
    [top] = tops
    _check_name(content(f"{top}/PKG-INFO"), name, version)
    text = content(f"{top}/pyproject.toml")
    try:
        table = reading.toml_text(text.decode("utf-8"), file="its pyproject.toml") if text is not None else {}
    except UnicodeDecodeError:
        raise UnsoundError("its pyproject.toml is not UTF-8") from None
    except BadInput as error:
        raise UnsoundError(error.problem) from error
    return _build_system(top, table)


def _check_name(text: bytes | None, name: str, version: str) -> None:
    """Hold what it says that it is against what it was fetched as. Very old ones say nothing: then the wheel tells."""
    if text is None:
        return
    raw, _ = parse_email(text)
    said, number = raw.get("name", ""), raw.get("version", "")
    try:
        same = canonicalize_name(said) == canonicalize_name(name) and Version(number) == Version(version)
    except InvalidVersion:
        same = False
    if not same:
        raise UnsoundError(f"it says that it is {archives.shown(said)} {archives.shown(number)}, not {name} {version}")


def _build_system(top: str, table: Mapping[str, Any]) -> Sdist:
    said = table.get("build-system")
    if said is None:
        return Sdist(folder=top, requires=_OLD_BUILD, backend=_OLD_BACKEND)
    if not isinstance(said, dict):
        raise UnsoundError("build-system in its pyproject.toml is not a table")
    requires = _texts(said, "requires") if "requires" in said else _OLD_BUILD
    backend_path = _texts(said, "backend-path")
    backend = said.get("build-backend", _OLD_BACKEND)
    module, _, inside = backend.partition(":") if isinstance(backend, str) else ("", "", "")
    if not all(part.isidentifier() for part in [*module.split("."), *(inside.split(".") if inside else [])]):
        raise UnsoundError(f"build-backend in its pyproject.toml is not a module: {archives.shown(str(backend))}")
    for text in requires:
        check_requirement(text)
    for path in backend_path:
        if path != "." and not archives.plain(path):
            raise UnsoundError(f"backend-path in its pyproject.toml leaves the folder: {archives.shown(path)}")
    return Sdist(folder=top, requires=requires, backend=backend, backend_path=backend_path)


def check_requirement(text: str) -> None:
    """UnsoundError where what a build asks for cannot be locked."""
    try:
        requirement_text(text)
    except ValueError as error:
        raise UnsoundError(f"its build requires {archives.shown(text)}, which {error}") from error


def _texts(table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise UnsoundError(f"{key} in its pyproject.toml is not a list of texts")
    return tuple(value)
