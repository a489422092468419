"""Which packages are touched by a start, and which are for GPUs."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.measure import idle
from harness.methods.contract import Traced


def install(folder: Path, name: str, held: dict[str, int], *, requires: str = "") -> None:
    """A package as pip installs it."""
    info = folder / f"{name}-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Name: {name}\nVersion: 1\n{requires}\n\nText\n")
    for path, size in held.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(bytes(size))
    rows = [*held, f"{name}-1.dist-info/RECORD", "../../../bin/tool", "not/there.py"]
    (info / "RECORD").write_text("".join(f"{path},sha256=x,1\n" for path in rows))


def test_modules_and_mapped_files_touch_a_package(tmp_path: Path) -> None:
    """Of a namespace that packages share, each is asked by itself; the largest comes first."""
    install(tmp_path, "One_A", {"one/__init__.py": 10, "one/core.py": 20}, requires="Requires-Dist: nvidia-x>=1 ; a")
    install(tmp_path, "two", {"two/core.cpython-311-x86_64-linux-gnu.so": 500})
    install(tmp_path, "three", {"space/three/__init__.py": 300})
    install(tmp_path, "four", {"space/four/__init__.py": 400})
    install(tmp_path, "nvidia-x", {"nvidia/lib/libx.so.1": 1000})
    mapped = ("two/core.cpython-311-x86_64-linux-gnu.so",)
    found = idle.packages(tmp_path, Traced(modules=("one.core", "space", "space.four"), mapped=mapped))
    assert [(one.name, one.touched, one.for_gpus) for one in found] == [
        ("nvidia-x", False, True),
        ("two", True, False),
        ("four", True, False),
        ("three", False, False),
        ("one-a", True, False),
    ]
    assert found[-1].requires == {"nvidia-x"}
    assert list(idle.asking(found)) == ["one-a"]


def test_a_record_that_makes_no_sense_is_left_out(tmp_path: Path) -> None:
    """A link, no name, no record."""
    install(tmp_path, "good", {"good.py": 1})
    for name in ("linked", "nameless", "recordless"):
        install(tmp_path, name, {f"{name}.py": 1})
    (tmp_path / "linked-1.dist-info" / "RECORD").unlink()
    (tmp_path / "linked-1.dist-info" / "RECORD").symlink_to("/etc/passwd")
    (tmp_path / "nameless-1.dist-info" / "METADATA").write_text("Version: 1\n")
    (tmp_path / "recordless-1.dist-info" / "RECORD").unlink()
    assert [one.name for one in idle.packages(tmp_path, Traced())] == ["good"]


@pytest.mark.parametrize(
    ("name", "is_for"),
    [("nvidia-cublas-cu12", True), ("triton", True), ("cuda-toolkit", True), ("numpy", False), ("nvidia", False)],
)
def test_packages_for_gpus(name: str, is_for: bool) -> None:
    """By their names."""
    assert idle.Package(name=name, size=1, requires=frozenset(), touched=True).for_gpus == is_for
