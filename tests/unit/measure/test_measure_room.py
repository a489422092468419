"""What disk a plan needs, and what there is no room for."""

from __future__ import annotations

import shutil
from types import SimpleNamespace
from typing import Any

import pytest

from harness import paths
from harness.errors import DiskFull
from harness.measure import room
from harness.measure.room import Size

GB = 10**9


def test_a_plan_needs_what_stays_and_what_is_installed_at_once(made: Any) -> None:
    """Of two models the installations come one after the other; the largest build comes on top."""
    plan = made.plan(models=("a", "b"), methods=("one", "two"), folders={"a": "a", "b": "b"})
    size = Size(packed=1 * GB, unpacked=2 * GB)
    known = {(model, method): size for model in ("a", "b") for method in ("one", "two")}
    found = room.needed(plan, known, ready={"one", "two"}, there=())
    assert (found.stays, found.most, found.unknown) == (12 * GB, (12 + 4 + 5) * GB, ())


def test_what_is_there_needs_no_room_again_and_what_cannot_be_used_none(made: Any) -> None:
    """An artifact in the cache is only installed."""
    plan = made.plan(models=("a",), methods=("one", "two"), folders={"a": "a"})
    known = {("a", method): Size(packed=1 * GB, unpacked=2 * GB) for method in ("one", "two")}
    found = room.needed(plan, known, ready={"one"}, there={("a", "one")})
    assert (found.stays, found.most) == (0, (2 + 5) * GB)


def test_what_is_not_known_is_said_to_be(made: Any) -> None:
    """A method is taken to be as large as the model's largest; of a model that was never measured nothing is said."""
    plan = made.plan(models=("a", "new"), methods=("one", "two"), folders={"a": "a", "new": "new"})
    found = room.needed(plan, {("a", "one"): Size(packed=1 * GB, unpacked=2 * GB)}, ready={"one", "two"}, there=())
    assert (found.stays, found.unknown) == (6 * GB, ("new",))
    nothing = room.needed(plan, {}, ready={"one", "two"}, there=())
    assert (nothing.stays, nothing.most, nothing.unknown) == (0, 0, ("a", "new"))


def test_a_size_is_guessed_by_wheels_and_weights() -> None:
    """Wheels are several times as large once they are unpacked, weights are not."""
    payload = paths.cache() / "payload"
    payload.mkdir()
    (payload / "weights").write_bytes(bytes(1000))

    def size(wheel_bytes: int) -> Size:
        locked: Any = SimpleNamespace(lock=SimpleNamespace(wheel_bytes=wheel_bytes), payload=payload)
        return room.guessed(locked)

    assert size(0) == Size(packed=1000, unpacked=1000)
    assert size(9000).packed < 3 * 9000 < size(9000).unpacked


@pytest.mark.parametrize(
    ("free", "total", "enough"),
    [
        (4 * GB, 100 * GB, True),
        (4 * GB - 1, 100 * GB, False),
        (4 * GB - 1, 10 * GB, True),
        (35 * GB // 10 - 1, 10 * GB, False),
    ],
)
def test_room_is_left_besides(free: int, total: int, enough: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What instances and records take, less on a small disk; the message says what lacks, and what bounds the cache."""
    usage = shutil.disk_usage(paths.cache())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free, total=total))
    if enough:
        room.check("build it", 3 * GB)
        return
    with pytest.raises(DiskFull, match=r"no room to build it: that takes about 3\.0 GB") as raised:
        room.check("build it", 3 * GB)
    assert "HARNESS_CACHE_BUDGET" in raised.value.remedy
