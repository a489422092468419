"""What the methods share whose artifact runs as a process on the target itself, with the target's Python."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness import door as doors
from harness import files, interpreter, process, tools, tree
from harness.errors import HarnessError
from harness.methods import placement
from harness.methods.contract import Artifact, Availability, Installed, Limits, Sizes
from harness.methods.serving import SOCKET_NAME, Http, Port, Served, UnixSocket
from harness.platforms import host
from harness.platforms.depot import Depot, Fetched


def check() -> Availability:
    """Ready wherever uv and an interpreter are."""
    try:
        tools.uv()
        interpreter.default()
    except HarnessError as error:
        return Availability(ready=False, reason=error.problem, remedy=error.remedy)
    return Availability(ready=True)


def archive_of(artifact: Artifact) -> Path:
    """The artifact's folder as a ``.tar.gz`` beside it, packed where it is not there yet."""
    assert artifact.path is not None
    archive = artifact.path.with_name(artifact.path.name + ".tar.gz")
    if not archive.is_file():
        with process.ledger.waiting_for("tools"):
            tree.pack(artifact.path, archive)
    return archive


def folder_sizes(artifact: Artifact) -> Sizes:
    """Packed: the archive. Unpacked: the folder, without the interpreter that the target has."""
    assert artifact.path is not None
    unpacked_bytes, files = tree.size(artifact.path)
    return sizes_of_file(archive_of(artifact), unpacked_bytes=unpacked_bytes, files=files)


def sizes_of_file(file: Path, *, unpacked_bytes: int, files: int) -> Sizes:
    """The sizes where all that travels is ``file``, in one piece."""
    return Sizes(packed_bytes=file.stat().st_size, unpacked_bytes=unpacked_bytes, files=files, pieces=tree.pieces(file))


def install_archive(artifact: Artifact, target: Path, depot: Depot) -> Installed:
    """Fetch the archive from the depot and unpack it below ``target``."""
    root, copy = target / "app", target / "fetched.tar.gz"
    fetched = depot.fetch(archive_of(artifact), copy)
    begin = time.monotonic()
    with process.ledger.waiting_for("tools"):
        tree.unpack(copy, root)
    unpacking_s = time.monotonic() - begin
    copy.unlink()
    found = installed_at(artifact, root, fetched=fetched, unpacking_s=unpacking_s)
    return placement.installed(found, target, depot)


def install_file(
    artifact: Artifact, target: Path, depot: Depot, *, extraction_caches: tuple[Path, ...] = ()
) -> Installed:
    """Fetch a single-file artifact from the depot to the target, readable and executable by all."""
    assert artifact.path is not None
    root = target / "app"
    root.mkdir(mode=0o755, parents=True)
    copy = root / artifact.path.name
    fetched = depot.fetch(artifact.path, copy)
    copy.chmod(0o755)
    found = installed_at(artifact, root, fetched=fetched, extraction_caches=extraction_caches)
    return placement.installed(found, target, depot)


def installed_at(
    artifact: Artifact,
    root: Path,
    *,
    fetched: Fetched | None = None,
    unpacking_s: float = 0.0,
    extraction_caches: tuple[Path, ...] = (),
) -> Installed:
    """The record of an artifact that lies at ``root``; a cold start reads the target's interpreter if it uses that."""
    python = interpreter.described(artifact.python).files if artifact.python is not None else ()
    seconds = fetched.seconds if fetched else None
    return Installed(
        artifact=artifact,
        root=root,
        own_paths=(root,),
        cold_paths=(root, *extraction_caches, *python),
        extraction_caches=extraction_caches,
        install_s=seconds + unpacking_s if seconds is not None else None,
        install_fidelity=fetched.fidelity if fetched else "measured",
        install_absent=fetched.absent if fetched else "",
    )


@contextmanager
def serving(
    installed: Installed,
    limits: Limits,
    command: Callable[[Path], Sequence[str]],
    *,
    http: Http | None = None,
    port: int | None = None,
    shows: Sequence[Path] = (),
    **env: str,
) -> Iterator[Served]:
    """Start ``command(socket)`` behind the door, with a home of its own that is gone afterwards.

    It sees the artifact's root, the interpreter, and what it ``shows``; it writes to its home and to the folders that
    the artifact extracts itself to, all of them on one disk. With ``port`` it is reached there, on the loopback of a
    network namespace of its own, instead of on the socket. In another root file system the interpreter is the one that
    is in there, if any.
    """
    assert installed.root is not None
    kept = installed.extraction_caches
    with _disk(limits.disk_bytes, kept) as disk:
        home = disk / "home"
        home.mkdir(mode=0o755)
        with (
            contextlib.closing(UnixSocket(home / SOCKET_NAME, owned=True)) as own,
            placement.access(installed, home) as access,
            host.running(
                command(home / SOCKET_NAME),
                env=process.environment(home, **env, **access.env),
                cwd=home,
                bounds=limits.bounds,
                shows=(installed.root, *shows, *access.shown),
                kept=(home, *kept),
                around=limits.surroundings,
            ) as running,
            placement.answering(access.store),
        ):
            door = own if port is None else Port(running.pid, port)
            served = Served(running, door, limits, http=http, folder=home)
            try:
                yield served
            finally:
                served.close()


def extraction_folder(target: Path, name: str) -> Path:
    """A folder on the target that the artifact extracts itself to, kept from one start to the next."""
    folder = target / "extracted" / name
    folder.mkdir(parents=True)
    return folder


@contextmanager
def _disk(disk_bytes: int, kept: Sequence[Path]) -> Iterator[Path]:
    """The disk that an instance writes to: the one with what it has extracted before, else one for it alone."""
    if not kept:
        with doors.workspace(disk_bytes) as folder:
            yield folder
        return
    folder = kept[0].parent
    doors.limit(folder, disk_bytes)
    for each in kept:
        each.mkdir(exist_ok=True)
    try:
        yield folder
    finally:
        files.remove(folder / "home")


def present(artifact: Artifact) -> bool:
    """Whether the artifact's file or folder is there, and the weights that are not in it."""
    return artifact.path is not None and artifact.path.exists() and placement.present(artifact)


def remove(artifact: Artifact) -> None:
    """Delete the artifact and its archive, and the weights that are not in it."""
    assert artifact.path is not None
    placement.remove(artifact)
    if artifact.path.is_dir():
        shutil.rmtree(artifact.path, ignore_errors=True)
    else:
        artifact.path.unlink(missing_ok=True)
    artifact.path.with_name(artifact.path.name + ".tar.gz").unlink(missing_ok=True)
