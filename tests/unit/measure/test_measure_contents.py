"""What lies in a folder, and how well it compresses."""

from __future__ import annotations

import io
import os
import random
import tarfile
from pathlib import Path

import pytest

from harness.measure import contents
from harness.measure.contents import Amount, Counter
from harness.methods import layout, pruning

pytestmark = pytest.mark.usefixtures("here")


def test_files_are_told_apart_by_what_packaging_does_with_them(tmp_path: Path) -> None:
    """Shared libraries, bytecode, the rest; hard links count once, links as nothing to compress."""
    packages = tmp_path / "packages"
    (packages / "a" / "__pycache__").mkdir(parents=True)
    (packages / "a" / "x.so.1").write_bytes(b"0" * 100)
    (packages / "a" / "x.py").write_bytes(b"0" * 50)
    (packages / "a" / "__pycache__" / "x.cpython-311.pyc").write_bytes(b"0" * 70)
    os.link(packages / "a" / "x.py", packages / "a" / "y.py")
    (packages / "a" / "x.so").symlink_to("x.so.1")
    found = Counter().of(packages)
    assert (found.native.bytes, found.native.files) == (100, 1)
    assert (found.bytecode.bytes, found.bytecode.files) == (70, 1)
    assert (found.sources.bytes, found.sources.files) == (50, 1)
    assert (found.data.bytes, found.data.files, found.data.packed_bytes) == (len("x.so.1"), 1, 0)
    assert found.total.files == 4
    assert found.without_bytecode == found.native + found.sources + found.data
    assert 0 < found.native.packed_bytes < 100


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    """A model without dependencies has no packages."""
    assert Counter().of(tmp_path / "none").total == Amount()
    assert Counter().pruned(tmp_path / "none", ("tests",)).total == Amount()


def test_pruning_leaves_the_packages_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be left is counted on a copy."""
    monkeypatch.setattr(layout, "prune", lambda folder, rules, **_: pruning.prune(folder, rules))  # not behind the door
    packages = tmp_path / "packages"
    (packages / "a" / "tests").mkdir(parents=True)
    (packages / "a" / "tests" / "test_x.py").write_text("assert True")
    (packages / "a" / "__init__.py").write_text("x = 1")
    counter = Counter()
    assert counter.pruned(packages, ("tests",)).total.files == 1
    assert counter.of(packages).total.files == 2


#: What every file begins with, and what compresses well only where it was seen before.
WORDS = "".join(chr(33 + number * 7919 % 90) for number in range(600))


def test_an_archive_of_files_that_are_alike_is_small(tmp_path: Path) -> None:
    """It is near to what tar and gzip make of it; each by itself, as in a zip, they take far more."""
    noise = random.Random(2)
    for number in range(500):
        (tmp_path / f"rule-{number}.json").write_text(WORDS + noise.randbytes(100).hex())
    found = Counter().of(tmp_path).data
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=6) as tar:
        tar.add(tmp_path, arcname=".")
    assert found.archived_bytes == pytest.approx(len(stream.getvalue()), rel=0.3)
    assert found.packed_bytes > 1.5 * found.archived_bytes


@pytest.mark.parametrize("megabytes", [1, 4, 9])
def test_large_files_are_compressed_in_part(tmp_path: Path, megabytes: int) -> None:
    """What cannot be compressed weighs what it is, what repeats itself next to nothing, at any size."""
    noise, even = tmp_path / "noise", tmp_path / "even"
    noise.write_bytes(random.Random(1).randbytes(megabytes * 2**20 + 17))
    even.write_bytes(b"0" * (megabytes * 2**20))
    assert contents.packed_bytes(noise) == pytest.approx(noise.stat().st_size, rel=0.01)
    assert contents.packed_bytes(even) < even.stat().st_size / 100
    (tmp_path / "empty").touch()
    assert contents.packed_bytes(tmp_path / "empty") == 0


@pytest.mark.parametrize(
    ("native", "names"),
    [
        (True, ("a.so", "a.cpython-311-x86_64-linux-gnu.so", "libgomp.so.1", "liba-1.so.1.2.3")),
        (False, ("a.py", "a.so.py", "also")),
    ],
)
def test_native_libraries_are_told_by_their_names(tmp_path: Path, native: bool, names: tuple[str, ...]) -> None:
    """Shared objects, with or without a version."""
    assert [contents.is_native(tmp_path / name) for name in names] == [native] * len(names)
