"""Which wheels an installer is given, and which are refused before."""

from __future__ import annotations

import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from harness import archives
from harness.archives import UnsoundError
from harness.spec import wheels

NAME = "own-1.0-py3-none-any.whl"
INFO = "own-1.0.dist-info"


def check(file: Path) -> None:
    """As the wheelhouse does."""
    wheels.check(file, file.name)


def test_a_wheel_may_have_packages_data_and_commands(tmp_path: Path, wheel_file: Any) -> None:
    """Whatever an environment has room for."""
    files = {
        "own.pth": "import own",
        "sub/package/__init__.py": "",
        "own-1.0.data/data/share/man/own.1": "",
        "own-1.0.data/scripts/own-tool": "#!python",
        "own-1.0.data/headers/own.h": "",
        f"{INFO}/entry_points.txt": "[console_scripts]\nown = own:main\nactivate-own = own:x\n[other]\na/b = c\n",
    }
    check(wheel_file(tmp_path / NAME, files))


@pytest.mark.parametrize(
    "name",
    [
        "../x.py",
        "/etc/cron.d/x",
        "a/../../x",
        "a//b",
        "./x",
        "a\\b",
        "a\nb",
        "x" * 2000,
        "/".join("a" * 100),
        "own-1.0.data/data/bin/python",
        "own-1.0.data/data/bin/python3.11",
        "own-1.0.data/data/pyvenv.cfg",
        "own-1.0.data/data/lib64/x",
        "own-1.0.data/scripts/python3",
        "own-1.0.data/scripts/activate",
        "own-1.0.data/scripts/../../x",
        "own-1.0.data/nowhere/x",
        "other-1.0.data/data/x",
        "other-1.0.dist-info/RECORD",
    ],
)
def test_no_file_goes_where_none_belongs(tmp_path: Path, wheel_file: Any, name: str) -> None:
    """Neither outside the folder of packages, nor over what the environment consists of."""
    with pytest.raises(UnsoundError):
        check(wheel_file(tmp_path / NAME, {name: "x"}))


@pytest.mark.parametrize("command", ["python", "python3.11", "../../x", "/bin/x", "activate", ".hidden", "a/b", "-x"])
def test_no_command_is_the_environments_own(tmp_path: Path, wheel_file: Any, command: str) -> None:
    """Installers write commands themselves, by the names that a wheel gives."""
    text = f"[console_scripts]\n{command} = own:main\n"
    with pytest.raises(UnsoundError, match="command"):
        check(wheel_file(tmp_path / NAME, {f"{INFO}/entry_points.txt": text}))


@pytest.mark.parametrize("listed", ["../../x,,", "/etc/shadow,sha256=x,1", '"unclosed', "a\x00b,,", b"\xff,,\n"])
def test_its_list_names_no_place_outside(tmp_path: Path, wheel_file: Any, listed: str | bytes) -> None:
    """What is read of installed packages is found by it."""
    text = listed if isinstance(listed, bytes) else f"own.py,,\n{listed}\n"
    if listed == '"unclosed':
        text = '"' + "x" * 200_000
    with pytest.raises(UnsoundError, match="RECORD"):
        check(wheel_file(tmp_path / NAME, {f"{INFO}/RECORD": text}))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_there_is_nothing_but_files(tmp_path: Path, wheel_file: Any, kind: int) -> None:
    """A link would be followed by what is unpacked after it."""
    file = wheel_file(tmp_path / NAME, {})
    entry = zipfile.ZipInfo("own/link")
    entry.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(entry, "/etc")
    with pytest.raises(UnsoundError, match="neither a file nor a folder"):
        check(file)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("own/x", "own/x"), ("own/x", "own/x/y"), ("own/x/", "own/x")])
def test_each_name_is_one_thing(tmp_path: Path, wheel_file: Any, names: tuple[str, str]) -> None:
    """Readers of archives differ in which of two they take."""
    file = wheel_file(tmp_path / NAME, {})
    with zipfile.ZipFile(file, "a") as archive:
        for name in names:
            archive.writestr(name, "")
    with pytest.raises(UnsoundError, match=r"twice|both"):
        check(file)


def test_what_it_unpacks_to_is_bounded(tmp_path: Path, wheel_file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what it says; and what it says is counted."""
    file = wheel_file(tmp_path / NAME, {"zeros": "0" * 2**20})
    monkeypatch.setattr(wheels, "_UNPACKED_BYTES", 2**19)
    with pytest.raises(UnsoundError, match="unpacked"):
        check(file)
    monkeypatch.undo()
    content = bytearray(file.read_bytes())
    place = content.rindex(b"PK\1\2", 0, content.rindex(b"zeros"))
    struct.pack_into("<L", content, place + 24, 10)  # uncompressed size, in the directory
    file.write_bytes(content)
    with pytest.raises(UnsoundError, match="damaged"):
        check(file)


def test_a_bomb_is_refused(tmp_path: Path, wheel_file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large wheel of next to nothing; a small one harms nobody."""
    file = wheel_file(tmp_path / NAME, {"zeros.bin": bytes(2**20)})
    check(file)
    monkeypatch.setattr(wheels, "_BOMB_BYTES", 2**19)
    monkeypatch.setattr(wheels, "_BOMB_TIMES", 100)
    with pytest.raises(UnsoundError, match="a zip bomb"):
        check(file)


@pytest.mark.parametrize("damage", [b"", b"PK", b"PK\5\6" + bytes(18), b"x" * 100])
def test_rubbish_is_no_wheel(tmp_path: Path, damage: bytes) -> None:
    """It says so, whatever it is."""
    file = tmp_path / NAME
    file.write_bytes(damage)
    with pytest.raises(UnsoundError):
        check(file)


@pytest.mark.parametrize("name", ["own.whl", "own-1.0.whl", "other-1.0-py3-none-any.whl"])
def test_it_is_called_what_it_is(tmp_path: Path, wheel_file: Any, name: str) -> None:
    """Installers go by the name."""
    file = wheel_file(tmp_path / NAME, {})
    with pytest.raises(UnsoundError):
        wheels.check(file, name)


def test_a_directory_is_not_read_without_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is held in memory; that of large archives is looked for where it is."""
    file = tmp_path / "x.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(100):
            archive.writestr(f"name-{number}", "")
    content = file.read_bytes()
    end = content.rindex(b"PK\5\6")
    size, begin = struct.unpack_from("<LL", content, end + 12)
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 100, 100, size, begin)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    told = bytearray(content[end:])
    struct.pack_into("<L", told, 12, 2**32 - 1)
    large = tmp_path / "large.zip"
    large.write_bytes(content[:end] + record + locator + bytes(told))
    for path in (file, large):
        with path.open("rb", buffering=0) as stream, archives.opened(stream, at_most_bytes=0) as archive:
            assert len(archive.namelist()) == 100
    monkeypatch.setattr(archives, "_DIRECTORY_BYTES", 1000)
    for path in (file, large):
        with (
            path.open("rb", buffering=0) as stream,
            pytest.raises(UnsoundError, match="directory is larger"),
            archives.opened(stream, at_most_bytes=0),
        ):
            pass
