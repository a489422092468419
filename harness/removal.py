"""Removal of folders that others filled: any depth, any name, any mode, no link followed.

Standard library only: the watchdog loads this file by its path.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

#: Deeper folders are moved up to the top before they are emptied: that many descriptors are open at once, no more.
_DEPTH = 64
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: How often what appears meanwhile is removed as well: a process that is dying may still write.
_TRIES = 3


def remove(path: str) -> list[OSError]:
    """Remove the file, link or folder at ``path``; what stays and why, nothing where all of it is gone."""
    parent, name = os.path.split(os.path.abspath(path))
    try:
        above = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        return [error]
    try:
        for number in range(_TRIES):
            stays = _remove(above, name, path, number)
            if not any(error.errno == errno.ENOTEMPTY for error in stays):
                break
        return stays
    finally:
        os.close(above)


class _Level:
    """A folder on the way down: its descriptor, its name, and the folders in it that are still there."""

    def __init__(self, descriptor: int, name: str, failed: list[OSError]) -> None:
        self.descriptor, self.name = descriptor, name
        self.folders = _unlink_files(descriptor, failed)


def _remove(above: int, name: str, path: str, number: int) -> list[OSError]:
    failed: list[OSError] = []
    if _unlinked(name, above, failed):
        return failed
    levels: list[_Level] = []
    moved = 0
    _descend(levels, above, name, failed)
    while levels:
        here = levels[-1]
        if not here.folders:
            levels.pop()
            os.close(here.descriptor)
            with _noted(failed, path):
                os.rmdir(here.name, dir_fd=levels[-1].descriptor if levels else above)
        elif len(levels) < _DEPTH:
            _descend(levels, here.descriptor, here.folders.pop(), failed)
        else:
            fresh = f".{number}-{os.getpid()}-{moved}"
            moved += 1
            with _noted(failed, path):
                # A folder that is moved gets another '..', which takes the right to write into it.
                os.close(_opened(here.descriptor, child := here.folders.pop()))
                os.rename(child, fresh, src_dir_fd=here.descriptor, dst_dir_fd=levels[0].descriptor)
                levels[0].folders.append(fresh)
    return failed


def _descend(levels: list[_Level], parent: int, name: str, failed: list[OSError]) -> None:
    with _noted(failed, name):
        levels.append(_Level(_opened(parent, name), name, failed))


def _opened(parent: int, name: str) -> int:
    """A descriptor of the folder, which its owner may list and change from now on."""
    place = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if os.fstat(place).st_mode & 0o700 != 0o700:  # noqa: PLR2004 -- rwx for the owner
            with contextlib.suppress(OSError):
                os.chmod(f"/proc/self/fd/{place}", 0o700)
        return os.open(".", _FOLDER, dir_fd=place)
    finally:
        os.close(place)


def _unlink_files(folder: int, failed: list[OSError]) -> list[str]:
    """Remove all that is in the folder but folders; the names of those."""
    folders = []
    with _noted(failed, "."), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            else:
                _unlinked(entry.name, folder, failed)
    return folders


def _unlinked(name: str, parent: int, failed: list[OSError]) -> bool:
    """Whether there is nothing to descend into: it is gone, or it can't be removed, which is noted."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        return False
    except OSError as error:
        if error.errno == errno.EPERM and _is_folder(name, parent):  # what POSIX says of a folder
            return False
        failed.append(error)
    return True


def _is_folder(name: str, parent: int) -> bool:
    with contextlib.suppress(OSError):
        os.close(os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent))
        return True
    return False


@contextlib.contextmanager
def _noted(failed: list[OSError], what: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.filename is None:
            error.filename = what
        failed.append(error)
