"""Wheels, looked at before an installer is given them; each once, under the digest of its contents.

An installer puts files where a wheel says: this holds them to the folder of packages, and to what an environment may
have of commands and data. What a wheel's code does when it is imported is another matter: that runs behind the door.

Source: packaging.python.org, "Binary distribution format", "Recording installed projects", "Entry points
specification".
"""

from __future__ import annotations

import configparser
import csv
import io
import re
import zipfile
from pathlib import Path

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from harness import archives, files
from harness.archives import UnsoundError

#: What a wheel may have unpacked; PyTorch with CUDA has 3 GB.
_UNPACKED_BYTES = 16 * 2**30
#: A large wheel that is more than this many times its size unpacked is no honest one: zeros alone give 1,000 times.
_BOMB_BYTES, _BOMB_TIMES = 256 * 2**20, 200
_LIST_BYTES, _TEXT_BYTES = 32 * 2**20, 2**20

_SCHEMES = {"purelib", "platlib", "scripts", "headers", "data"}
#: What an environment consists of, and what starts it.
_COMMAND_OF_ENVIRONMENT = re.compile(
    r"(python|pythonw|pypy)[0-9.]*[a-z]?|(de)?activate(\.\w+)?|pyvenv\.cfg", re.IGNORECASE
)
_COMMAND = re.compile(r"[\w][\w.+ -]*")


def check(file: Path, name: str) -> None:
    """UnsoundError where the wheel at ``file``, called ``name``, is damaged or could do harm when it is installed."""
    try:
        distribution, version, _, _ = parse_wheel_filename(name)
    except InvalidWheelFilename as error:
        raise UnsoundError(str(error)) from error
    with files.opened(file) as stream, archives.opened(stream, at_most_bytes=_UNPACKED_BYTES) as archive:
        _check_growth(archive, file.stat().st_size)
        info = _own_folder(archive, str(distribution), str(version))
        _check_places(archive, info.removesuffix(".dist-info"))
        _check_list(archive, info)
        _check_commands(archive, info)
        archives.check_contents(archive)


def _check_growth(archive: zipfile.ZipFile, packed: int) -> None:
    unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > _BOMB_BYTES and unpacked > _BOMB_TIMES * packed:
        raise UnsoundError(f"its {packed / 1e6:.3g} MB would be {unpacked / 1e6:.3g} MB unpacked: a zip bomb")


def _own_folder(archive: zipfile.ZipFile, distribution: str, version: str) -> str:
    """The name of the one ``*.dist-info`` folder, which must be that of the wheel."""
    found = {top for top in (name.split("/")[0] for name in archive.namelist()) if top.endswith(".dist-info")}
    if len(found) != 1:
        raise UnsoundError(f"it has {len(found)} folders '*.dist-info', not one")
    [info] = found
    called, _, of_version = info.removesuffix(".dist-info").partition("-")
    if canonicalize_name(called) != canonicalize_name(distribution) or not of_version:
        raise UnsoundError(f"{archives.shown(info)} is not that of {distribution} {version}")
    for name in ("METADATA", "WHEEL", "RECORD"):
        archives.read(archive, f"{info}/{name}", at_most=_LIST_BYTES)
    return info


def _check_places(archive: zipfile.ZipFile, stem: str) -> None:
    for name in archive.namelist():
        top, *rest = name.removesuffix("/").split("/")
        if not top.endswith(".data") or not rest:
            continue
        scheme, *place = rest
        if top != f"{stem}.data" or scheme not in _SCHEMES:
            raise UnsoundError(f"{archives.shown(name)} is for a place that there is not")
        if scheme == "scripts":
            place = ["bin", *place]
        if scheme in {"scripts", "data"} and _of_environment(place):
            raise UnsoundError(f"{archives.shown(name)} would replace a part of the environment")


def _of_environment(place: list[str]) -> bool:
    """Whether a path below an environment is one of those that it consists of, or leads through a link of it."""
    if not place:
        return False
    top, *rest = place
    command = rest[0] if top in {"bin", "Scripts"} and rest else top
    return top in {"lib64", "pyvenv.cfg"} or bool(_COMMAND_OF_ENVIRONMENT.fullmatch(command))


def _check_list(archive: zipfile.ZipFile, info: str) -> None:
    """The list of files may name no place outside; what a wheel has that is not listed is the installer's affair."""
    text = archives.read(archive, f"{info}/RECORD", at_most=_LIST_BYTES)
    there = set(archive.namelist())
    try:
        for row in csv.reader(io.StringIO(text.decode("utf-8"))):
            if row and row[0] not in there and not archives.plain(row[0]):
                raise UnsoundError(f"its RECORD names {archives.shown(row[0])}")
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnsoundError(f"its RECORD cannot be read: {error}") from error


def _check_commands(archive: zipfile.ZipFile, info: str) -> None:
    """Commands that an installer makes have plain names, and are none of the environment's own."""
    name = f"{info}/entry_points.txt"
    if name not in archive.namelist():
        return
    table = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    table.optionxform = str  # type: ignore[assignment,method-assign]  # as its documentation says: names keep their case
    try:
        table.read_string(archives.read(archive, name, at_most=_TEXT_BYTES).decode("utf-8"))
    except (UnicodeDecodeError, configparser.Error) as error:
        raise UnsoundError(f"its entry_points.txt cannot be read: {str(error).splitlines()[0]}") from error
    for section in ("console_scripts", "gui_scripts"):
        for command in table[section] if table.has_section(section) else ():
            if not _COMMAND.fullmatch(command) or _COMMAND_OF_ENVIRONMENT.fullmatch(command):
                raise UnsoundError(f"it has a command called {archives.shown(command)}")
