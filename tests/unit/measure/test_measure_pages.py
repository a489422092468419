"""The page cache: what is in memory, and evicting it. On real files below the temporary folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.measure import pages

PAGES = 64


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of some pages, on the disk and in memory."""
    found = tmp_path / "data"
    with found.open("wb") as stream:
        stream.write(os.urandom(PAGES * pages._PAGE - 7))
        stream.flush()
        os.fsync(stream.fileno())
    found.read_bytes()
    return found


def counted(file: Path) -> tuple[int, int | None]:
    """Resident pages by mincore and by cachestat."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        return pages._by_mincore(descriptor, file.stat().st_size), pages._by_cachestat(descriptor)
    finally:
        os.close(descriptor)


def test_both_ways_of_counting_agree(file: Path) -> None:
    """cachestat, where the kernel has it, counts what mincore counts: before and after eviction."""
    mincore, cachestat = counted(file)
    assert mincore == PAGES
    assert cachestat in (PAGES, None)
    pages.evict([str(file)])
    mincore, cachestat = counted(file)
    assert cachestat in (mincore, None)


def test_eviction_lowers_residency(file: Path) -> None:
    """What was in memory is not afterwards, by both ways of counting, and what is left is told."""
    left = pages.evict([str(file)])
    assert left.total_bytes == PAGES * pages._PAGE
    assert left.resident_bytes == counted(file)[0] * pages._PAGE
    assert left.share < pages.TOLERATED
    file.read_bytes()
    assert counted(file)[0] == PAGES


def test_without_cachestat_mincore_counts(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On an older kernel the same is found."""
    monkeypatch.setattr(pages, "_by_cachestat", lambda _: None)
    assert pages.evict([str(file)]).total_bytes == PAGES * pages._PAGE
    monkeypatch.setattr(pages, "_HAS_CACHESTAT", False)
    assert pages.evict([str(file)]).share < pages.TOLERATED


def test_what_has_no_pages_does_not_count(tmp_path: Path) -> None:
    """Empty files, missing files and links are passed over."""
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("/etc/hostname")
    found = pages.evict([str(tmp_path / "empty"), str(tmp_path / "none"), str(tmp_path / "link")])
    assert (found.resident_bytes, found.total_bytes, found.share) == (0, 0, 0.0)


def test_every_file_below_is_found_and_no_link(tmp_path: Path) -> None:
    """Folders are walked, files taken as they are, links and missing paths left out."""
    (tmp_path / "d" / "e").mkdir(parents=True)
    for name in ("d/a", "d/e/b", "c"):
        (tmp_path / name).touch()
    (tmp_path / "d" / "link").symlink_to("a")
    found = pages.files_below([tmp_path / "d", tmp_path / "c", tmp_path / "none"])
    assert found == [str(tmp_path / name) for name in ("d/a", "d/e/b", "c")]
