"""What lies on the disk: how much, what is in it, and away with it; however deep, since strangers made it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Container, Iterator
from pathlib import Path
from typing import IO

#: Folders of the cache that hold what any model may use, which is kept from case to case.
TOOLS = {"tools", "uv", "xdg", "engine", "base", "conda", "lambda", "scie", "targets", "pulls", "manifests"}

_MB = 2**20


def taken_mb(*folders: Path) -> float:
    """What the files in there take on the disk; a file that goes away meanwhile takes nothing."""
    found = (status.st_blocks for folder in folders for _, status in files_below(folder, but=TOOLS))
    return sum(found) * 512 / _MB


def files_below(folder: Path, *, but: Container[str] = ()) -> Iterator[tuple[str, os.stat_result]]:
    """Everything in there that is no folder, however deep it lies, as far as a path can be said; ``but`` these."""
    waiting = [str(folder)]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.name in but:
                    continue
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        yield entry.path, entry.stat(follow_symlinks=False)


def holding(path: Path, canary: bytes) -> Iterator[str]:
    """Where in the file the canary is: an empty text for the file itself, a name for one inside an archive."""
    with path.open("rb") as file:
        magic = file.read(2)
        file.seek(0)
        if _holds(file, canary):
            yield ""
    if magic == b"\x1f\x8b":
        with contextlib.suppress(tarfile.TarError, OSError), tarfile.open(path) as archive:
            for member in archive:
                opened = archive.extractfile(member) if member.isfile() else None
                if opened and _holds(opened, canary):
                    yield f":{member.name}"
    elif zipfile.is_zipfile(path):
        with contextlib.suppress(zipfile.BadZipFile, NotImplementedError), zipfile.ZipFile(path) as zipped:
            for name in zipped.namelist():
                with zipped.open(name) as opened:
                    if _holds(opened, canary):
                        yield f":{name}"


def _holds(file: IO[bytes], canary: bytes) -> bool:
    """Whether the canary is in its first 64 MB, read in pieces: it may be a bomb."""
    end = b""
    for _ in range(64):
        piece = file.read(_MB)
        if canary in end + piece:
            return True
        end = piece[-len(canary) :]
        if not piece:
            break
    return False


def remove(path: Path) -> None:
    """Delete, however deep it is: Python's own way ends at a thousand folders."""
    with contextlib.suppress(OSError):
        if not path.is_dir() or path.is_symlink():
            path.unlink(missing_ok=True)
    if path.is_dir():
        subprocess.run(["/bin/rm", "-rf", "--", str(path)], check=False, stderr=subprocess.DEVNULL)
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
