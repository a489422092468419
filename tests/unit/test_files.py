"""Reading, writing and removing what others made: no link followed, regular files only, nothing without bounds."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import files, removal
from harness.errors import BadInput, CheckFailure

ROOT = os.geteuid() == 0


def sock(path: Path) -> None:
    """A socket at the path."""
    os.mknod(path, stat.S_IFSOCK | 0o600)  # binding one would bound the length of its path


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "link": (lambda path: path.symlink_to("/etc/passwd"), "is a link"),
    "loop": (lambda path: path.symlink_to(path.name), "is a link"),
    "device by a link": (lambda path: path.symlink_to("/dev/zero"), "is a link"),
    "pipe": (os.mkfifo, "named pipe"),
    "socket": (sock, "socket"),
    "folder": (Path.mkdir, "folder"),
    "missing": (lambda _: None, "no such file"),
}


@pytest.mark.parametrize("kind", ODD)
def test_only_regular_files_are_read(tmp_path: Path, kind: str) -> None:
    """Anything else is refused at once, by its name; a pipe that nobody writes to does not hang."""
    make, said = ODD[kind]
    make(tmp_path / "x")
    with pytest.raises(BadInput, match=said) as caught:
        files.read_bytes(tmp_path / "x", at_most=10)
    assert str(tmp_path / "x") in str(caught.value)


@pytest.mark.parametrize("path", ["/proc/self/environ", "/sys/kernel/uevent_seqnum", "/proc/kmsg"])
def test_answers_of_the_kernel_are_not_files(path: str) -> None:
    """What proc and sysfs show is no file on a disk."""
    with pytest.raises(BadInput):
        files.read_bytes(Path(path), at_most=10**6)


def test_no_more_than_allowed_is_read(tmp_path: Path) -> None:
    """A file may have as many bytes as that, not one more; a sparse one of any size costs nothing."""
    file = tmp_path / "x"
    file.write_bytes(b"0123456789")
    assert files.read_bytes(file, at_most=10) == b"0123456789"
    with pytest.raises(BadInput, match="larger than 9 bytes"):
        files.read_bytes(file, at_most=9)
    os.truncate(file, 100 * 2**30)
    with pytest.raises(BadInput, match="larger than 16 MiB"):
        files.read_bytes(file, at_most=16 * 2**20)


def test_a_file_that_grows_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size that a file says it has is not believed."""
    file = tmp_path / "x"
    file.write_bytes(b"0123456789")
    small = os.stat_result((stat.S_IFREG | 0o644, 0, 0, 1, 0, 0, 0, 0, 0, 0))
    monkeypatch.setattr(os, "fstat", lambda _: small)
    with pytest.raises(BadInput, match="larger than 4 bytes"):
        files.read_bytes(file, at_most=4)


def test_text_is_utf_8(tmp_path: Path) -> None:
    """Other bytes are refused with a message."""
    (tmp_path / "x").write_bytes("ü".encode())
    assert files.read_text(tmp_path / "x", at_most=10) == "ü"
    (tmp_path / "x").write_bytes(b"\xff")
    with pytest.raises(BadInput, match="UTF-8"):
        files.read_text(tmp_path / "x", at_most=10)


def test_no_folder_on_the_way_is_a_link(tmp_path: Path) -> None:
    """Below the folder that is named no component may be a link, wherever it leads."""
    (tmp_path / "model" / "real").mkdir(parents=True)
    (tmp_path / "model" / "real" / "x").write_text("x")
    (tmp_path / "model" / "inner").symlink_to("real")
    (tmp_path / "way").symlink_to("model")
    below = tmp_path / "way"
    assert files.read_text(below / "real" / "x", at_most=1, below=below) == "x"
    with pytest.raises(BadInput, match="folder inner is a link"):
        files.read_bytes(below / "inner" / "x", at_most=1, below=below)
    with pytest.raises(BadInput, match="leaves"):
        files.read_bytes(below / ".." / "way" / "x", at_most=1, below=below)


@pytest.mark.parametrize("name", ["a\0b", "n" * 300, "a\udc80b", "\ud800"])
def test_impossible_names_get_a_message(tmp_path: Path, name: str) -> None:
    """A name that no file can have, or has not, is no traceback."""
    with pytest.raises(BadInput):
        files.read_bytes(tmp_path / name, at_most=1)


# --- walking ---


def test_a_walk_is_sorted_and_follows_nothing(tmp_path: Path) -> None:
    """Files first, then folders, each before its contents; links and pipes are told, not entered."""
    (tmp_path / "b" / "c").mkdir(parents=True)
    (tmp_path / "z").write_text("z")
    (tmp_path / "b" / "a").write_text("a")
    (tmp_path / "l").symlink_to("/")
    os.mkfifo(tmp_path / "p")
    found = [(entry.relative.as_posix(), entry.kind) for entry in files.walk(tmp_path)]
    assert found == [("l", "link"), ("p", "other"), ("z", "file"), ("b", "folder"), ("b/a", "file"), ("b/c", "folder")]
    for entry in files.walk(tmp_path):
        if entry.kind == "file":
            with entry.open() as stream:
                assert stream.readall() == entry.path.name.encode()


def descriptors() -> int:
    """How many are open."""
    return len(os.listdir("/proc/self/fd"))


def test_a_walk_is_bounded(tmp_path: Path, nested: Callable[..., Path]) -> None:
    """Too deep and too many are messages, and nothing stays open."""
    (tmp_path / "x").mkdir()
    nested(tmp_path / "x", 1500)
    before = descriptors()
    with pytest.raises(BadInput, match="nested more than 200 deep"):
        list(files.walk(tmp_path / "x"))
    with pytest.raises(BadInput, match="more than 3 entries"):
        list(files.walk(tmp_path / "x", max_entries=3))
    assert len(list(files.walk(tmp_path / "x" / "d" / "d", max_depth=1498))) == 1498
    next(files.walk(tmp_path / "x"))
    assert descriptors() == before


def test_what_vanishes_during_a_walk_is_a_message(tmp_path: Path) -> None:
    """A folder that is gone when it is entered, a file that is a pipe when it is opened."""
    (tmp_path / "a").mkdir()
    walking = files.walk(tmp_path)
    os.rmdir(next(walking).path)
    with pytest.raises(BadInput, match="no such file"):
        next(walking)
    (tmp_path / "f").touch()
    walking = files.walk(tmp_path)
    entry = next(walking)
    entry.path.unlink()
    os.mkfifo(entry.path)
    with pytest.raises(BadInput, match="named pipe"):
        entry.open()


def test_odd_names_are_walked_and_shown_on_one_line(tmp_path: Path) -> None:
    """Newlines, bytes that are no text, and the longest names."""
    names = sorted(["a\nb", "\udcff", "n" * 255])
    for name in names:
        (tmp_path / name).touch()
    assert [entry.path.name for entry in files.walk(tmp_path)] == names
    assert "\n" not in files.shown(tmp_path / "a\nb")
    assert len(files.shown("x/" * 9999)) < 500
    files.shown("\udcff").encode()


# --- writing ---


def test_a_link_is_replaced_not_written_through(tmp_path: Path) -> None:
    """The file that it led to stays as it was; the new one is for everybody to read."""
    victim = tmp_path / "victim"
    victim.write_text("safe")
    (tmp_path / "x").symlink_to(victim)
    files.write_whole(tmp_path / "x", "new")
    assert victim.read_text() == "safe"
    assert not (tmp_path / "x").is_symlink()
    assert (tmp_path / "x").read_text() == "new"
    assert (tmp_path / "x").stat().st_mode & 0o7777 == 0o644
    assert sorted(os.listdir(tmp_path)) == ["victim", "x"]


def test_where_nothing_can_be_written_there_is_a_message(tmp_path: Path) -> None:
    """A missing folder, a folder of that name; nothing is left behind."""
    (tmp_path / "real" / "x").mkdir(parents=True)
    for place, said in {"none/y": "No such file", "real/x": "cannot be written"}.items():
        with pytest.raises(BadInput, match=said):
            files.write_whole(tmp_path / place, b"")
    assert os.listdir(tmp_path / "real") == ["x"]


# --- removing ---


@pytest.mark.parametrize("levels", [10, 1500, 5000])
def test_any_depth_is_removed(tmp_path: Path, levels: int, nested: Callable[..., Path]) -> None:
    """However deep, with the longest names: few descriptors, no recursion."""
    place = tmp_path / "x"
    place.mkdir()
    nested(place, levels, "n" * (255 if levels == 1500 else 1))
    before = descriptors()
    files.remove(place)
    assert os.listdir(tmp_path) == []
    assert descriptors() == before


def test_wide_and_odd_folders_are_removed_and_no_link_is_followed(tmp_path: Path) -> None:
    """Any kind, any name, any mode; what links lead to stays."""
    (tmp_path / "safe").mkdir()
    (tmp_path / "safe" / "file").touch()
    place = tmp_path / "x"
    (place / "locked" / "inner").mkdir(parents=True)
    (place / "locked" / "inner" / "f").touch()
    (place / "link").symlink_to("../safe")
    os.mkfifo(place / "pipe")
    sock(place / "s")
    for name in ("a\nb", "\udcff", "n" * 255):
        (place / name).mkdir()
        (place / name / name).touch()
    (place / "locked" / "inner").chmod(0)
    (place / "locked").chmod(0)
    files.remove(place)
    assert os.listdir(tmp_path) == ["safe"]
    assert os.listdir(tmp_path / "safe") == ["file"]


def test_files_links_and_nothing_are_removed(tmp_path: Path) -> None:
    """A file, a link to a folder (which stays), and what is not there."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "file").touch()
    for name in ("link", "file", "none", "none/below", "file/below"):
        files.remove(tmp_path / name)
    assert os.listdir(tmp_path) == ["folder"]


def test_what_stays_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error by name, or silence where that is asked for; the rest is removed."""
    (tmp_path / "x" / "busy").mkdir(parents=True)
    (tmp_path / "x" / "file").touch()
    real = os.rmdir

    def rmdir(name: str, *, dir_fd: int | None = None) -> None:
        if name == "busy":
            raise OSError(errno.EBUSY, "Device or resource busy", name)
        real(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", rmdir)
    with pytest.raises(CheckFailure, match="busy: Device or resource busy"):
        files.remove(tmp_path / "x")
    files.remove(tmp_path / "x", ignore_errors=True)
    assert os.listdir(tmp_path / "x") == ["busy"]
    monkeypatch.undo()
    assert removal.remove(str(tmp_path / "x")) == []


# --- taking back ---


def test_what_others_wrote_becomes_ours(tmp_path: Path) -> None:
    """Owner and modes, no setuid; the link stays and what it leads to is not touched."""
    victim = tmp_path / "victim"
    victim.write_text("safe")
    victim.chmod(0o600)
    place = tmp_path / "out"
    (place / "sub").mkdir(parents=True)
    (place / "tool").touch()
    (place / "data").touch()
    (place / "link").symlink_to(victim)
    (place / "broken").symlink_to("nowhere")
    (place / "tool").chmod(0o6777)
    (place / "data").chmod(0)
    (place / "sub").chmod(0o1000)
    if ROOT:
        for path in (place, *place.iterdir()):
            os.chown(path, 12345, 12345, follow_symlinks=False)
        (place / "tool").chmod(0o6777)
    place.chmod(0)
    files.take_back(place, at_most_bytes=10**6)
    modes = {path.name: path.lstat().st_mode & 0o7777 for path in place.iterdir() if not path.is_symlink()}
    assert modes == {"tool": 0o755, "data": 0o644, "sub": 0o755}
    assert {path.lstat().st_uid for path in (place, *place.iterdir())} == {os.geteuid()}
    assert victim.stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize("make", [os.mkfifo, sock])
def test_what_cannot_be_kept_is_named(tmp_path: Path, make: Callable[[Path], object]) -> None:
    """Pipes and sockets."""
    make(tmp_path / "odd")
    with pytest.raises(CheckFailure, match=r"odd is a (named pipe|socket)"):
        files.take_back(tmp_path, at_most_bytes=10**6)


def test_links_are_as_the_caller_wants_them(tmp_path: Path) -> None:
    """All, none, or those that stay in the folder."""
    place = tmp_path / "out"
    (place / "sub").mkdir(parents=True)
    (place / "sub" / "up").symlink_to("../file")
    (place / "file").touch()
    files.take_back(place, at_most_bytes=10**6, links="inside")
    with pytest.raises(CheckFailure, match="up is a link"):
        files.take_back(place, at_most_bytes=10**6, links="refuse")
    for target in ("/etc/passwd", "../../x", "sub/../../x", "s2/../x", "s3"):
        (place / "s2").symlink_to("/")
        (place / "s3").symlink_to("s4")
        (place / "s4").symlink_to("/etc")
        (place / "bad").symlink_to(target)
        with pytest.raises(CheckFailure, match="leaves the folder"):
            files.take_back(place, at_most_bytes=10**6, links="inside")
        for name in ("bad", "s2", "s3", "s4"):
            (place / name).unlink()


def test_all_that_is_taken_back_is_bounded(tmp_path: Path) -> None:
    """By what it takes on the disk: holes are free, hard links count once."""
    (tmp_path / "a").write_bytes(bytes([1]) * 200_000)
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 10**12)
    files.take_back(tmp_path, at_most_bytes=250_000)
    (tmp_path / "c").write_bytes(bytes([1]) * 200_000)
    with pytest.raises(CheckFailure, match="more than the 250,000 bytes"):
        files.take_back(tmp_path, at_most_bytes=250_000)


def test_what_a_folder_takes_on_the_disk_is_counted_as_far_as_it_matters(tmp_path: Path) -> None:
    """Blocks, not apparent sizes: holes take nothing."""
    (tmp_path / "data").write_bytes(os.urandom(2**20))
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(2**40)
    assert 2**20 <= files.taken(tmp_path, at_most=2**30) < 2**21
    assert files.taken(tmp_path, at_most=2**10) > 2**10
