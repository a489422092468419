"""Folders as values: digests, sizes, copies and archives."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import tree
from harness.errors import CheckFailure


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A folder with files, an executable, a link and a folder."""
    folder = tmp_path / "one"
    (folder / "sub").mkdir(parents=True)
    (folder / "b.txt").write_text("b")
    (folder / "a.sh").write_text("#!/bin/sh\n")
    (folder / "a.sh").chmod(0o755)
    (folder / "sub" / "c").write_bytes(bytes(1000))
    (folder / "link").symlink_to("b.txt")
    (folder / "to_folder").symlink_to("sub")
    return folder


def twin(folder: Path) -> Path:
    """The same contents, made in another order at another time."""
    other = folder.with_name("twin")
    (other / "sub").mkdir(parents=True, mode=0o700)
    for name in ("to_folder", "link", "sub/c", "a.sh", "b.txt"):
        source = folder / name
        if source.is_symlink():
            (other / name).symlink_to(os.readlink(source))
        else:
            (other / name).write_bytes(source.read_bytes())
            (other / name).chmod(0o700 if source.stat().st_mode & 0o100 else 0o600)
            os.utime(other / name, (1, 1))
    return other


def test_files_are_listed_in_order_with_their_links(one: Path) -> None:
    """Links are listed and not followed, also those to folders."""
    names = [file.relative_to(one).as_posix() for file in tree.files(one)]
    assert names == ["a.sh", "b.txt", "link", "to_folder", "sub/c"]


def test_a_digest_is_of_contents_alone(one: Path) -> None:
    """Dates, other permissions, and the order of making don't count."""
    assert tree.digest(twin(one)) == tree.digest(one)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owners_do_not_count(one: Path, tmp_path: Path) -> None:
    """The digest and the archive are the same for another owner."""
    before = tree.digest(one)
    tree.pack(one, tmp_path / "1.tar.gz")
    for file in tree.files(one):
        os.chown(file, 12345, 12345, follow_symlinks=False)
    tree.pack(one, tmp_path / "2.tar.gz")
    assert tree.digest(one) == before
    assert (tmp_path / "1.tar.gz").read_bytes() == (tmp_path / "2.tar.gz").read_bytes()


CHANGES: dict[str, Callable[[Path], object]] = {
    "contents": lambda folder: (folder / "b.txt").write_text("c"),
    "name": lambda folder: (folder / "b.txt").rename(folder / "b2.txt"),
    "executable bit": lambda folder: (folder / "b.txt").chmod(0o755),
    "link": lambda folder: ((folder / "link").unlink(), (folder / "link").symlink_to("a.sh")),
    "file for a link": lambda folder: ((folder / "link").unlink(), (folder / "link").write_text("b")),
    "one more": lambda folder: (folder / "empty").touch(),
}


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_matters_changes_the_digest(one: Path, what: str) -> None:
    """Names, contents, link targets and executable bits count."""
    before = tree.digest(one)
    CHANGES[what](one)
    assert tree.digest(one) != before


def test_hard_links_count_once(one: Path) -> None:
    """A second name of a file adds neither bytes nor files."""
    total, count = tree.size(one)
    assert count == 5
    assert total == 1 + 10 + 1000 + len("b.txt") + len("sub")
    os.link(one / "sub" / "c", one / "again")
    assert tree.size(one) == (total, count)


def test_the_size_of_a_file_is_its_own(one: Path) -> None:
    """A file instead of a folder is counted as one."""
    assert tree.size(one / "sub" / "c") == (1000, 1)


def test_a_copy_has_what_is_kept_and_fixed_dates(one: Path, tmp_path: Path) -> None:
    """Permissions are for everyone, dates fixed; a link that is kept is refused."""
    with pytest.raises(CheckFailure, match="link is a link"):
        tree.copy(one, tmp_path / "bad")
    target = tmp_path / "copy"
    tree.copy(one, target, keep=lambda relative: relative.name in {"a.sh", "c"})
    assert [file.relative_to(target).as_posix() for file in tree.files(target)] == ["a.sh", "sub/c"]
    assert (target / "a.sh").stat().st_mode & 0o777 == 0o755
    assert (target / "sub" / "c").stat().st_mode & 0o777 == 0o644
    assert (target / "sub" / "c").stat().st_mtime == tree.FIXED_DATE
    assert (target / "sub").stat().st_mode & 0o777 == 0o755


def test_an_archive_depends_on_contents_alone(one: Path, tmp_path: Path) -> None:
    """The same contents pack to the same bytes, wherever and whenever they were made."""
    tree.pack(one, tmp_path / "1.tar.gz")
    tree.pack(twin(one), tmp_path / "another name.tar.gz")
    assert (tmp_path / "1.tar.gz").read_bytes() == (tmp_path / "another name.tar.gz").read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_hard_links_do_not_change_an_archive(one: Path, tmp_path: Path) -> None:
    """Two equal files pack to the same bytes, whether they share their place on this disk or not."""
    (one / "again").write_bytes(bytes(1000))
    tree.pack(one, tmp_path / "1.tar.gz")
    (one / "again").unlink()
    os.link(one / "sub" / "c", one / "again")
    tree.pack(one, tmp_path / "2.tar.gz")
    assert (tmp_path / "1.tar.gz").read_bytes() == (tmp_path / "2.tar.gz").read_bytes()


def test_what_was_packed_is_unpacked(one: Path, tmp_path: Path) -> None:
    """Unpacking gives the same digest, for everyone to read; links may point outside."""
    (one / "python").symlink_to("/usr/bin/python3")
    tree.pack(one, tmp_path / "a.tar.gz")
    tree.unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert tree.digest(tmp_path / "out") == tree.digest(one)
    assert os.readlink(tmp_path / "out" / "python") == "/usr/bin/python3"
    assert (tmp_path / "out" / "sub").stat().st_mode & 0o777 == 0o755


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    """A member of a tar."""
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    found.size = 4 if kind == tarfile.REGTYPE else 0
    return found


@pytest.mark.parametrize(
    "kind", ["above", "absolute", "through a link", "through a folder link", "through a hard link"]
)
def test_nothing_is_unpacked_outside(tmp_path: Path, kind: str) -> None:
    """However an archive is made, no file outside the target is written."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("safe")
    victim = str(outside / "victim")
    members = {
        "above": [entry("../outside/victim")],
        "absolute": [entry(victim)],
        "through a link": [entry("a", tarfile.SYMTYPE, victim), entry("a")],
        "through a folder link": [entry("a", tarfile.SYMTYPE, str(outside)), entry("a/victim")],
        "through a hard link": [entry("a", tarfile.LNKTYPE, victim), entry("a")],
    }[kind]
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"evil") if member.size else None)
    with contextlib.suppress(CheckFailure):
        tree.unpack(tmp_path / "evil.tar.gz", tmp_path / "target")
    assert (outside / "victim").read_text() == "safe"
    assert [path.name for path in outside.iterdir()] == ["victim"]


# --- what others made ---


def test_a_copy_is_never_written_through_a_link(tmp_path: Path) -> None:
    """A file's link is replaced; one to a folder is refused. What they lead to stays as it is."""
    source, target, outside = tmp_path / "source", tmp_path / "target", tmp_path / "outside"
    for folder in (source / "sub", target, outside):
        folder.mkdir(parents=True)
    (source / "a").write_text("new")
    (source / "sub" / "b").write_text("new")
    (outside / "b").write_text("safe")
    (target / "a").symlink_to(outside / "b")
    (target / "sub").symlink_to(outside)
    with pytest.raises(CheckFailure, match="target/sub cannot be written"):
        tree.copy(source, target)
    assert (target / "a").read_text() == "new"
    assert (outside / "b").read_text() == "safe"
    (target / "sub").unlink()
    (target / "sub").touch()
    with pytest.raises(CheckFailure, match="in the way"):
        tree.copy(source, target)
    (target / "sub").unlink()
    (target / "a").unlink()
    (target / "a").mkdir()
    with pytest.raises(CheckFailure, match="in the way"):
        tree.copy(source, target)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    """A pipe is refused at once by whatever would read it, unless it is left out; it has no bytes."""
    os.mkfifo(tmp_path / "pipe")
    for read in (
        lambda: tree.copy(tmp_path, tmp_path.with_name("copy")),
        lambda: tree.digest(tmp_path),
        lambda: tree.pack(tmp_path, tmp_path.with_name("archive")),
    ):
        with pytest.raises(CheckFailure, match="pipe is a named pipe"):
            read()
    tree.copy(tmp_path, tmp_path.with_name("other"), keep=lambda relative: relative.name != "pipe")
    assert tree.size(tmp_path) == (0, 1)


def test_holes_stay_holes_and_are_counted(tmp_path: Path) -> None:
    """A sparse file is copied as one, as long as its apparent size is allowed."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    with (source / "x").open("wb") as file:
        file.write(b"begin")
        file.seek(2**28)
        file.write(b"middle")
        file.truncate(2**29)
    tree.copy(source, target, at_most_bytes=2**29)
    assert (target / "x").stat().st_size == 2**29
    assert (target / "x").stat().st_blocks * 512 < 2**20
    with (target / "x").open("rb") as file:
        assert file.read(5) == b"begin"
        file.seek(2**28)
        assert file.read(7) == b"middle\0"
    with pytest.raises(CheckFailure, match="more than 536,870,911 bytes"):
        tree.copy(source, target, at_most_bytes=2**29 - 1)


def test_odd_names_are_packed_and_unpacked(tmp_path: Path) -> None:
    """Newlines, bytes that are no text, the longest names."""
    folder = tmp_path / "one"
    folder.mkdir()
    for name in ("a\nb", "\udcff", "n" * 255):
        (folder / name).write_text("x")
    tree.pack(folder, tmp_path / "a.tar.gz")
    tree.unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert tree.digest(tmp_path / "out") == tree.digest(folder)
    tree.copy(folder, tmp_path / "copy")
    assert tree.digest(tmp_path / "copy") == tree.digest(folder)


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    """An archive of these members."""
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for member, contents in members:
            member.size = len(contents)
            tar.addfile(member, io.BytesIO(contents))
    return path


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.GNUTYPE_SPARSE])
def test_only_plain_members_are_unpacked(tmp_path: Path, kind: bytes) -> None:
    """No pipes, no devices, no sparse files."""
    with pytest.raises(CheckFailure, match="damaged"):
        tree.unpack(archive(tmp_path / "a", (entry("x", kind), b"")), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_unpacking_is_bounded(tmp_path: Path) -> None:
    """In bytes, in depth, and in what a header may take; no setuid, no owner of its own."""
    big = archive(tmp_path / "a", (entry("x"), bytes(1000)), (entry("y"), bytes(1000)))
    with pytest.raises(CheckFailure, match="too much"):
        tree.unpack(big, tmp_path / "out", at_most_bytes=1999)
    with pytest.raises(CheckFailure, match="too much"):
        tree.unpack(archive(tmp_path / "b", (entry("d/" * 300 + "x"), b"")), tmp_path / "deep")
    header = entry("x")
    header.pax_headers = {"comment": "x" * 17 * 2**20}
    with pytest.raises(CheckFailure, match="header"):
        tree.unpack(archive(tmp_path / "c", (header, b"")), tmp_path / "header")
    member = entry("x")
    member.mode, member.uid, member.gid = 0o6777, 12345, 12345
    tree.unpack(archive(tmp_path / "d", (member, b"")), tmp_path / "mode")
    status = (tmp_path / "mode" / "x").stat()
    assert (status.st_mode & 0o7777, status.st_uid) == (0o755, os.geteuid())
