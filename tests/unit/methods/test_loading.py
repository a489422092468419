"""What is taken of what a model says of its own start. Nothing is started; tests/real does that."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import door
from harness.methods import loading, rehearsal
from harness.methods.loading import Loaded
from harness.spec import environments

Seen = Callable[..., Loaded | None]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Seen:
    """``seen(writes)``: what is known of a start in which the model does that to the file it is to write."""

    def of(writes: Callable[[Path], object], *, ended_well: bool = True) -> Loaded | None:
        @contextmanager
        def workspace(_: int) -> Iterator[Path]:
            (tmp_path / "disk").mkdir()
            yield tmp_path / "disk"

        def answered(_: Any, argv: list[str], *, disk: Path, **__: Any) -> bool:
            (disk / "home").mkdir()
            writes(Path(argv[-1]))
            return ended_well

        allowed = SimpleNamespace(start_timeout_s=1.0, predict_timeout_s=1.0)
        monkeypatch.setattr(door, "workspace", workspace)
        monkeypatch.setattr(environments, "bounds", lambda _: SimpleNamespace(disk_bytes=1))
        monkeypatch.setattr(loading.ceiling, "bounded", lambda _: allowed)
        monkeypatch.setattr(rehearsal, "answered", answered)
        locked: Any = SimpleNamespace(model=SimpleNamespace(file=SimpleNamespace(resources=None)))
        return loading.by_examples(locked, tmp_path / "env" / "bin" / "python", tmp_path / "sources")

    return of


def says(value: Any) -> Callable[[Path], object]:
    """A model that writes this."""
    return lambda to: to.write_text(json.dumps(value))


def test_modules_and_mapped_files_are_known(seen: Seen) -> None:
    """Sorted, each once."""
    found = seen(says({"modules": ["os", "numpy", "os"], "mapped": ["/usr/lib/libz.so.1"], "more": 1}))
    assert found == Loaded(modules=("numpy", "os"), mapped=("/usr/lib/libz.so.1",))


def test_what_is_no_list_of_texts_is_left_out(seen: Seen) -> None:
    """Numbers, what no path can be, and names longer than any."""
    found = seen(says({"modules": {"a": 1}, "mapped": [1, None, "a\0b", "x" * 5000, ["y"], "/z"]}))
    assert found == Loaded(modules=(), mapped=("/z",))


def _too_long(to: Path) -> None:
    to.touch()
    os.truncate(to, rehearsal._LARGEST_LIST + 1)


@pytest.mark.parametrize(
    "writes",
    [
        Path.exists,
        says([]),
        lambda to: to.write_text("{"),
        lambda to: to.write_text("[" * 100_000),
        lambda to: to.symlink_to("/etc/passwd"),
        lambda to: to.mkdir(),
        _too_long,
    ],
)
def test_an_answer_that_is_none_teaches_nothing(seen: Seen, writes: Callable[[Path], object]) -> None:
    """Nothing written, something else, a link to a file of ours, too much of it."""
    assert seen(writes) is None


def test_without_answers_nothing_is_known(seen: Seen) -> None:
    """Whatever was written."""
    assert seen(says({"modules": ["os"], "mapped": []}), ended_well=False) is None
