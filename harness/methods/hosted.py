"""What the methods share whose artifact runs as a process on the target itself, with the target's Python."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness import interpreter, process, tools, tree
from harness.errors import HarnessError
from harness.methods.contract import Artifact, Availability, Installed, Limits, Sizes
from harness.methods.serving import SOCKET_NAME, Served
from harness.platforms import host
from harness.spec import environments


def check() -> Availability:
    """Ready wherever uv and an interpreter are."""
    try:
        tools.uv()
        interpreter.default()
    except HarnessError as error:
        return Availability(ready=False, reason=error.problem, remedy=error.remedy)
    return Availability(ready=True)


def site_packages(environment: Path) -> Path:
    """The folder of a virtual environment that its packages are in."""
    return environment / "lib" / f"python{interpreter.default().minor}" / "site-packages"


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
    return Sizes(packed_bytes=archive_of(artifact).stat().st_size, unpacked_bytes=unpacked_bytes, files=files)


def install_archive(artifact: Artifact, target: Path) -> Installed:
    """Unpack the archive below ``target``."""
    archive = archive_of(artifact)
    root = target / "app"
    with process.ledger.waiting_for("tools"):
        tree.unpack(archive, root)
    return installed_at(artifact, root)


def installed_at(artifact: Artifact, root: Path, *, extraction_caches: tuple[Path, ...] = ()) -> Installed:
    """The record of an artifact that lies at ``root``; a cold start also reads the interpreter."""
    return Installed(
        artifact=artifact,
        root=root,
        own_paths=(root,),
        cold_paths=(root, *extraction_caches, *interpreter.default().files),
        extraction_caches=extraction_caches,
    )


@contextmanager
def serving(
    installed: Installed,
    limits: Limits,
    command: Callable[[Path], Sequence[str]],
    *,
    http_api: bool = False,
    needed: Sequence[Path] = (),
    writable: Sequence[Path] = (),
    **env: str,
) -> Iterator[Served]:
    """Start ``command(socket)`` in bounds, with a home of its own that is gone afterwards.

    It reads the artifact's root, the interpreter, and ``needed``.
    """
    assert installed.root is not None
    with process.temporary_folder("instance", readable=True) as scratch:
        home = scratch / "home"
        home.mkdir(mode=0o755)
        with host.running(
            command(home / SOCKET_NAME),
            env=process.environment(home, **env),
            cwd=home,
            memory_bytes=limits.memory_bytes,
            processes=limits.processes,
            disk_bytes=limits.disk_bytes,
            cpus=limits.cpus,
            needed=environments.needed_paths(installed.root, *needed),
            writable=[home, *writable],
        ) as running:
            served = Served(running, home / SOCKET_NAME, limits, http_api=http_api)
            try:
                yield served
            finally:
                served.close()


def present(artifact: Artifact) -> bool:
    """Whether the artifact's file or folder is there."""
    return artifact.path is not None and artifact.path.exists()


def remove(artifact: Artifact) -> None:
    """Delete the artifact and its archive."""
    assert artifact.path is not None
    if artifact.path.is_dir():
        shutil.rmtree(artifact.path, ignore_errors=True)
    else:
        artifact.path.unlink(missing_ok=True)
    artifact.path.with_name(artifact.path.name + ".tar.gz").unlink(missing_ok=True)


def copy_file(source: Path, target: Path) -> None:
    """Copy a single-file artifact to the target, readable and executable by all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    os.chmod(target, 0o755)
    os.chmod(target.parent, 0o755)
