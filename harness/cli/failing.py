"""What becomes of an exception that no command expects: a message, a remedy and an exit code, never a traceback."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import shlex
import sys
import tempfile
import traceback
from importlib import metadata
from pathlib import Path

from harness import __version__, paths
from harness.errors import BadInput, Bug, DiskFull, HarnessError, OutOfMemory, one_line

#: What the system may say of a file or folder that the user can mend.
_MENDABLE = {
    errno.EACCES: "let this user read and write it, or name another",
    errno.EPERM: "let this user read and write it, or name another",
    errno.EROFS: "name a place that can be written to",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOTDIR: "name a folder, not a file",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "name a file, not a link",
    errno.EEXIST: "name another, or remove it",
    errno.ENOTEMPTY: "name another, or remove it",
    errno.EIO: "see whether the disk is whole (dmesg)",
    errno.ESTALE: "mount it again",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENFILE: "end what has so many files open",
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.ETXTBSY: "end the program that runs from it",
}


def as_ours(error: BaseException) -> HarnessError:
    """``error`` as one of ours: what the user can mend, else a bug, of which a file has the traceback."""
    if isinstance(error, HarnessError):
        return error
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return OutOfMemory("this machine had no memory left", remedy="end what takes much of it, then try again")
    if isinstance(error, RecursionError):
        return BadInput("what was given is nested too deeply", remedy="flatten it; -v tells where")
    if isinstance(error, UnicodeError):
        return BadInput(
            f"a name or text that was given is not whole Unicode ({error})", remedy="write it in UTF-8; -v tells where"
        )
    if isinstance(error, OSError):
        place = error.filename if isinstance(error.filename, str) else os.fsdecode(error.filename or b"")
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DiskFull(
                f"the disk that holds {one_line(place) or 'the output'} is full", remedy="free some space, then go on"
            )
        if error.errno in _MENDABLE:
            return BadInput(
                f"cannot be used: {error.strerror}", file=place or "the output", remedy=_MENDABLE[error.errno]
            )
    return _bug(error)


def _bug(error: BaseException) -> Bug:
    where = _traced(error)
    trace = f"the file {where}" if where else "what -v prints"
    return Bug(
        f"this is a bug in the harness: {type(error).__name__}: {one_line(str(error))[:500]}",
        remedy=f"report it{_tracker()} with the command and {trace}",
    )


def _tracker() -> str:
    """Where the project takes reports, as its metadata says; nothing where it says nothing."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        for line in metadata.metadata("ml-packaging-harness").get_all("Project-URL") or ():
            name, _, address = str(line).partition(", ")
            if name.lower() in ("issues", "tracker", "bug tracker", "bugs"):
                return f" at {address}"
    return ""


def _traced(error: BaseException) -> Path | None:
    """A file of this user's alone with the traceback; None where none can be written."""
    text = "".join(traceback.format_exception(error))
    told = f"harness {__version__}, Python {platform.python_version()}\n{shlex.join(sys.argv)}\n\n{text}"
    folders = []
    with contextlib.suppress(HarnessError):
        folders.append(paths.cache() / "tmp")
    for folder in (*folders, Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o755, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix="bug-", suffix=".txt", dir=folder)
            with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(told)
            return Path(name)
    return None
