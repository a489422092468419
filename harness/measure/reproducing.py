"""Whether two builds of the same inputs came to the same, and, where they did not, which files differ.

What is compared is what an artifact's digest is of. A folder is the same where names, contents, links and executable
bits are, as it is packed with fixed dates and owners. A file (zip, tar.gz, executable) has to be the same to the byte.

An image's own digest says when it was built, and so do the dates of folders that the builder made: no two are ever
the same. So images are held against each other by the files that a container sees (contents, links, modes, owners)
and by what is started; a registry takes two such images for different ones all the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from harness import paths, tree
from harness.errors import CheckFailure
from harness.methods.contract import Artifact, Method
from harness.platforms import builds, engine
from harness.platforms.engine import Engine

_MOST = 20


def differences(method: Method, one: Artifact, other: Artifact) -> list[str]:
    """The names of the files that differ between two builds, at most 20 and how many more; empty where they are alike.

    CheckFailure where one of the two is not there any more.
    """
    if one.digest == other.digest:
        return []
    for artifact in (one, other):
        if not method.present(artifact):
            raise CheckFailure(f"a build of {artifact.model} as {method.ID} is gone", remedy="run again")
    found: list[str] = []
    if one.path is not None and other.path is not None:
        found += _in_paths(one.path, other.path)
    if one.image is not None and other.image is not None:
        found += _in_images(one.image, other.image)
    rest = len(found) - _MOST
    return [*found[:_MOST], f"and {rest} more"] if rest > 0 else found


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The names that only one of the two has, or has otherwise, in order."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


# --- folders and files ---------------------------------------------------------------------------


def _in_paths(one: Path, other: Path) -> list[str]:
    if one.is_dir() and other.is_dir():
        return differing(dict(_in_folder(one)), dict(_in_folder(other)))
    if one.is_dir() or other.is_dir():
        return [f"{other.name} itself"]
    if tree.sha256(one) == tree.sha256(other):
        return []
    inside = differing(dict(_in_archive(one)), dict(_in_archive(other)))
    return inside or [f"{other.name} itself"]


def _in_folder(folder: Path) -> Iterator[tuple[str, str]]:
    for file in tree.files(folder):
        name = file.relative_to(folder).as_posix()
        if file.is_symlink():
            yield name, f"link to {os.readlink(file)}"
        else:
            yield name, f"{tree.sha256(file)} {file.stat().st_mode & 0o100}"


def _in_archive(file: Path) -> Iterator[tuple[str, str]]:
    """The entries of a zip (also behind a launcher) or a tar with what their bytes depend on; none of anything else."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                yield entry.filename, f"{entry.CRC} {entry.file_size} {entry.external_attr} {entry.date_time}"
    elif tarfile.is_tarfile(file):
        with tarfile.open(file) as archive:
            yield from ((name, f"{known} {mtime}") for name, known, mtime in _in_tar(archive))


def _in_tar(archive: tarfile.TarFile) -> Iterator[tuple[str, str, float]]:
    """Name, fingerprint and date of each member that is no folder."""
    for member in archive:
        if not member.isdir():
            content = archive.extractfile(member) if member.isreg() else None
            digest = hashlib.file_digest(content, "sha256").hexdigest() if content else member.linkname  # type: ignore[arg-type]
            known = f"{member.type!r} {digest} {member.mode & 0o7777} {member.uid} {member.gid}"
            yield member.name, known, member.mtime


# --- images --------------------------------------------------------------------------------------


def _in_images(one: str, other: str) -> list[str]:
    running = engine.connect()
    started = differing(_started(running, one), _started(running, other))
    ours, theirs = builds.image_layers(running, one), builds.image_layers(running, other)
    if ours is not None and theirs is not None:
        shared = {*ours} & {*theirs}
        files = differing(_in_layers(ours, shared), _in_layers(theirs, shared))
    else:
        files = differing(_exported(running, one), _exported(running, other))
    return [*(f"configuration: {name}" for name in started), *files]


def _started(running: Engine, image: str) -> dict[str, str]:
    """What the image says of how it is started; its labels name the build."""
    with engine.asking(running, f"looking at {image}") as asked:
        config: Mapping[str, Any] = asked.inspect_image(image)["Config"]
    return {
        name: json.dumps(value, sort_keys=True) for name, value in config.items() if name not in ("Labels", "Image")
    }


def _in_layers(folders: Sequence[Path], shared: set[Path]) -> dict[str, str]:
    """The files in the layers' folders, the topmost first, by their place in the image; none of ``shared`` layers."""
    found: dict[str, str] = {}
    for folder in folders:
        if folder in shared:
            continue
        for file in tree.files(folder):
            name = f"/{file.relative_to(folder).as_posix()}"
            if name not in found:
                found[name] = _fingerprint(file)
    return found


def _fingerprint(file: Path) -> str:
    status = file.lstat()
    about = f"{status.st_mode} {status.st_uid} {status.st_gid}"
    if stat.S_ISLNK(status.st_mode):
        return f"{about} {os.readlink(file)}"
    return f"{about} {tree.sha256(file)}" if stat.S_ISREG(status.st_mode) else about


def _exported(running: Engine, image: str) -> dict[str, str]:
    """The same from the archive of ``docker save``, for an engine whose folders can't be seen."""
    with contextlib.ExitStack() as stack:
        asked = stack.enter_context(engine.asking(running, f"exporting {image}"))
        stream = stack.enter_context(tempfile.TemporaryFile(dir=paths.cache()))
        for chunk in asked.get_image(image):
            stream.write(chunk)
        stream.seek(0)
        return in_export(stream)


def in_export(stream: IO[bytes]) -> dict[str, str]:
    """The files of an archive of ``docker save`` by their place in the image, as its topmost layer has them."""
    found: dict[str, str] = {}
    with tarfile.open(fileobj=stream, mode="r:") as outer:
        manifest = outer.extractfile("manifest.json")
        assert manifest is not None
        for name in reversed(json.load(manifest)[0]["Layers"]):
            content = outer.extractfile(name)
            assert content is not None
            with tarfile.open(fileobj=content, mode="r:*") as layer:
                for path, known, _ in _in_tar(layer):
                    found.setdefault(f"/{path.removeprefix('./')}", known)
    return found
