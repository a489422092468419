"""What is taken of what a model says of its own start. Nothing is started; tests/real does that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import door
from harness.methods import rehearsal
from harness.methods.rehearsal import Traced
from harness.spec import environments


@pytest.fixture
def tracing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Traced | None]:
    """``tracing(writes)``: what is known of a start in which the model does that to the list it is to write."""

    def traced(writes: Callable[[Path], None], *, ended_well: bool = True) -> Traced | None:
        @contextmanager
        def workspace(_: int) -> Iterator[Path]:
            (tmp_path / "disk").mkdir()
            yield tmp_path / "disk"

        def answered(_: Any, argv: list[str], *, disk: Path, **__: Any) -> bool:
            (disk / "home").mkdir()
            writes(Path(argv[-1]))
            return ended_well

        monkeypatch.setattr(door, "workspace", workspace)
        monkeypatch.setattr(environments, "bounds", lambda _: SimpleNamespace(disk_bytes=1))
        monkeypatch.setattr(rehearsal, "answered", answered)
        locked: Any = SimpleNamespace(model=None)
        return rehearsal.traced(locked, tmp_path / "env" / "bin" / "python", tmp_path / "sources", timeout_s=1.0)

    return traced


def write(modules: str, mapped: str | None) -> Callable[[Path], None]:
    """A model that writes these."""

    def writes(to: Path) -> None:
        to.write_text(modules)
        if mapped is not None:
            to.with_name(f"{to.name}.mapped").write_text(mapped)

    return writes


def test_modules_and_mapped_files_are_known(tracing: Any) -> None:
    """Only names of modules are taken for some."""
    found = tracing(write("numpy\n--add-data\nos.path", "/usr/lib/libz.so.1\n/env/np/core.so"))
    assert found == Traced(modules=("numpy", "os.path"), mapped=("/usr/lib/libz.so.1", "/env/np/core.so"))


def test_a_list_that_is_none_is_empty(tracing: Any) -> None:
    """A link to a file of ours, or nothing: the other list still counts."""

    def writes(to: Path) -> None:
        to.write_text("numpy")
        to.with_name(f"{to.name}.mapped").symlink_to("/etc/passwd")

    assert tracing(writes) == Traced(modules=("numpy",), mapped=())


def test_without_answers_nothing_is_known(tracing: Any) -> None:
    """Whatever was written."""
    assert tracing(write("numpy", "/usr/lib/libz.so.1"), ended_well=False) is None
