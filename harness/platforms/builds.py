"""Images in the engine: build them, look into their layers, weigh them, remove them.

docker-py and Debian's engine offer the legacy builder, Podman has Buildah; nothing here relies on BuildKit. What it
runs has no network, no more memory than this machine's ceiling, and no swap; without control groups each process has
that ceiling. A build that takes too long is broken off. Engines can't bound the disk that a build fills (overlay2 needs
XFS with quotas for that), nor its processes but by their memory, nor take the capabilities away that they give by
default. So builds run our tools alone: no code of a model.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
import tarfile
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from harness import ceiling, paths, process, tree
from harness.errors import BuildFailure, CheckFailure, DiskFull, HarnessError
from harness.platforms import podman
from harness.platforms.engine import Engine, asking, asking_apart, hold, refusal

#: On every image and build stage of ours, with the tag that was being built.
BUILD_LABEL = "ml-packaging-harness.build"

_DOCKERFILE = "Dockerfile.harness"
_LOG_LINES, _LINE_LETTERS = 400, 1000
_BUILD_S, _SILENT_S = 3600.0, 900.0
_MOST_FILES = 2_000_000


@dataclass(frozen=True, kw_only=True)
class BuiltImage:
    """An image that was built: its id (a digest of its configuration and layers), its tag, the end of the log."""

    id: str
    tag: str
    log: str


@dataclass(frozen=True, kw_only=True)
class UnpackedSize:
    """Apparent bytes and files over all layers; hard links count once, marks of deleted files don't count.

    A file that a later layer replaces counts twice, as it lies on the disk twice. ``source`` is ``layers``
    (their folders, exact) or ``archive`` (the engine's export of the image).
    """

    total_bytes: int
    files: int
    source: Literal["layers", "archive"]


# --- building ------------------------------------------------------------------------------------


def build_image(
    engine: Engine,
    context: Path,
    dockerfile: str,
    tag: str,
    *,
    no_cache: bool = False,
    labels: Mapping[str, str] | None = None,
    network: str = "none",
    timeout_s: float = _BUILD_S,
) -> BuiltImage:
    """Build the text ``dockerfile`` with the folder ``context``; BuildFailure with the log's end if it fails.

    It is broken off after ``timeout_s``, or where it says nothing for as long, 15 minutes at most.
    Intermediate containers are removed. Images of earlier stages stay, as the cache of a rebuild, unless the
    build failed: call :func:`prune_stages` where that is not wanted.
    """
    silent_s = min(timeout_s, _SILENT_S)
    try:
        with (
            _context(context, label_stages(dockerfile, tag)) as stream,
            asking_apart(engine, f"building {tag}", _parameters(engine, network)) as asked,
        ):
            answers = asked.build(
                fileobj=stream,
                custom_context=True,
                dockerfile=_DOCKERFILE,
                tag=tag,
                nocache=no_cache,
                labels=dict(labels or {}),
                network_mode=network if engine.software == "Docker" else None,
                rm=True,
                forcerm=True,
                decode=True,
                container_limits=_limits() if "memory" in engine.controllers else None,
                timeout=silent_s,  # without, docker-py waits for ever
            )
            image, log = _followed(answers, tag, timeout_s)
            return BuiltImage(id=asked.inspect_image(image or tag)["Id"], tag=tag, log=log)
    except HarnessError:
        hold()  # an engine that is being stopped says that the build failed
        _end_build(engine, tag)
        prune_stages(engine, tag)
        raise


def _parameters(engine: Engine, network: str) -> dict[str, str]:
    return podman.build_parameters() if engine.software == "Podman" and network == "none" else {}


def _limits() -> dict[str, int]:
    memory = ceiling.memory().value * 2**20
    return {"memory": memory, "memswap": memory}


def _end_build(engine: Engine, tag: str) -> None:
    """Remove the containers that a build which was broken off left running: the engine does, but in its own time."""
    with asking(engine, f"ending the build of {tag}") as asked:
        for one in asked.containers(all=True, filters={"label": [f"{BUILD_LABEL}={tag}"]}):
            with contextlib.suppress(BuildFailure), asking(engine, f"removing {one['Id']}", absent_ok=True):
                asked.remove_container(one["Id"], force=True, v=True)


def _followed(answers: Iterable[Mapping[str, Any]], tag: str, timeout_s: float = _BUILD_S) -> tuple[str, str]:
    """Read what the builder says to its end: the image's id and the end of the log. An error raises."""
    lines: deque[str] = deque(maxlen=_LOG_LINES)
    image = ""
    begin = time.monotonic()
    for answer in _in_time(answers):
        if answer is None or time.monotonic() - begin > timeout_s:
            raise BuildFailure(f"building the image {tag} did not end within {timeout_s:g} s", log="\n".join(lines))
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(answer.get("stream") or answer.get("error") or ""))
        lines.extend(line[:_LINE_LETTERS] for line in text.splitlines() if line.strip())
        if "error" in answer:
            said = "\n".join(lines)
            failed = refusal(f"building {tag}", said)
            raise failed if isinstance(failed, DiskFull) else BuildFailure(f"building the image {tag} failed", log=said)
        image = answer.get("aux", {}).get("ID", image)
    return image, "\n".join(lines)


def _in_time(answers: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any] | None]:
    """The answers; None where the next took too long."""
    import requests
    import urllib3

    try:
        yield from answers
    except (TimeoutError, requests.exceptions.Timeout, urllib3.exceptions.TimeoutError):
        yield None


def label_stages(dockerfile: str, tag: str) -> str:
    """``dockerfile`` with a label after each FROM: the legacy builder leaves stages behind without any name."""
    return re.sub(r"(?im)^(FROM\s.*)$", rf'\1\nLABEL {BUILD_LABEL}="{tag}"', dockerfile)


def prune_stages(engine: Engine, tag: str) -> int:
    """Remove the unnamed images that builds of ``tag`` left; the bytes that became free."""
    with asking(engine, f"removing the build stages of {tag}") as asked:
        filters = {"dangling": True, "label": [f"{BUILD_LABEL}={tag}"]}
        return int(asked.prune_images(filters=filters).get("SpaceReclaimed", 0))


def prune_all_stages(engine: Engine) -> int:
    """Remove the unnamed images of every build of ours, which builds that were killed left too; how many."""
    with asking(engine, "removing what builds left") as asked:
        found = asked.prune_images(filters={"dangling": True, "label": [BUILD_LABEL]})
        return sum("Deleted" in one for one in found.get("ImagesDeleted") or ())


def image_id(engine: Engine, image: str) -> str | None:
    """The id of the image with that tag; None where the engine has none."""
    with asking(engine, f"looking for {image}", absent_ok=True) as asked:
        return str(asked.inspect_image(image)["Id"])
    return None


def remove_image(engine: Engine, image: str) -> None:
    """Remove the tag or image, and the layers that nothing else uses; nothing happens if it is not there."""
    with asking(engine, f"removing {image}", absent_ok=True) as asked:
        asked.remove_image(image, force=True)


@contextlib.contextmanager
def _context(folder: Path, dockerfile: str) -> Iterator[IO[bytes]]:
    """The folder as a tar stream with its files' own dates, spooled to the disk, and the Dockerfile."""
    with process.disk_full_named(folder), tempfile.TemporaryFile(dir=_spool()) as stream:
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for parent, folders, names in os.walk(folder):
                folders.sort()
                for name in sorted([*folders, *names]):
                    path = Path(parent, name)
                    tar.add(path, arcname=path.relative_to(folder).as_posix(), recursive=False, filter=_owned_by_root)
            entry = tarfile.TarInfo(_DOCKERFILE)
            text = dockerfile.encode()
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
        stream.seek(0)
        yield stream


def _spool() -> Path:
    folder = paths.cache() / "tmp"
    folder.mkdir(exist_ok=True)
    return folder


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


# --- layers and sizes ----------------------------------------------------------------------------


def image_layers(engine: Engine, image: str) -> tuple[Path, ...] | None:
    """The folders on this host that hold the image's layers, the topmost first; None if they can't be seen."""
    with asking(engine, f"looking into {image}") as asked:
        driver: Mapping[str, Any] = asked.inspect_image(image).get("GraphDriver") or {}
    data = driver.get("Data") or {}
    if engine.socket is None or driver.get("Name") not in ("overlay2", "overlay") or "UpperDir" not in data:
        return None
    folders = tuple(Path(part) for part in [data["UpperDir"], *data.get("LowerDir", "").split(":")] if part)
    return folders if all(os.access(folder, os.R_OK | os.X_OK) for folder in folders) else None


def unpacked_size(engine: Engine, image: str) -> UnpackedSize:
    """What the image takes when it is unpacked on a node."""
    folders = image_layers(engine, image)
    if folders is not None:
        return size_of_layers(folders)
    with asking(engine, f"exporting {image}") as asked, tempfile.TemporaryFile(dir=_spool()) as stream:
        room = ceiling.disk().value * 2**20
        for chunk in asked.get_image(image):
            stream.write(chunk)
            if stream.tell() > room:
                raise CheckFailure(
                    f"{image} is larger than {ceiling.disk().shown}",
                    remedy=f"raise {ceiling.DISK}, or make the model smaller",
                )
        stream.seek(0)
        return size_of_archive(stream)


def size_of_layers(folders: tuple[Path, ...]) -> UnpackedSize:
    """The sum over overlay2's layer folders, where a deleted file is a character device 0/0."""
    linked: set[tuple[int, int]] = set()
    total = files = 0
    for folder in folders:
        for file in tree.files(folder):
            found = file.lstat()
            whiteout = stat.S_ISCHR(found.st_mode) and found.st_rdev == 0
            if whiteout or (found.st_dev, found.st_ino) in linked:
                continue
            if found.st_nlink > 1:
                linked.add((found.st_dev, found.st_ino))
            files += 1
            _hold_files(files)
            total += found.st_size
    return UnpackedSize(total_bytes=total, files=files, source="layers")


def _hold_files(files: int) -> None:
    if files > _MOST_FILES:
        raise CheckFailure(f"the image has more than {_MOST_FILES:,} files", remedy="make the model smaller")


def size_of_archive(stream: IO[bytes]) -> UnpackedSize:
    """The same from the archive of ``docker save``, where a deleted file is an empty one called ``.wh.*``.

    The layers are the archive's members that are archives themselves: ``*/layer.tar`` or blobs by digest.
    """
    total = files = entries = 0
    with tarfile.open(fileobj=stream, mode="r:") as outer:
        for member in outer:
            content = outer.extractfile(member) if member.isfile() else None
            if content is None:
                continue
            # What can't be read as an archive is the manifest or a configuration.
            with contextlib.suppress(tarfile.ReadError), tarfile.open(fileobj=content, mode="r:*") as layer:
                for entry in layer:
                    entries += 1
                    _hold_files(entries)
                    if entry.isdir() or entry.islnk() or Path(entry.name).name.startswith(".wh."):
                        continue
                    files += 1
                    total += len(entry.linkname) if entry.issym() else entry.size
    return UnpackedSize(total_bytes=total, files=files, source="archive")
