"""Scenario files, read by ``scenarios`` and ``recommend``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from hostile.campaign import Case, Command
from hostile.ground import Ground

_SHOW: Command = ("scenarios", "{folder}/scenario.toml")
_HEAD = """\
spec_version = 1
name = "mine"
title = "Mine"
description = "x"
article_case = "container"
"""
_OBJECTIVE = '[[objectives]]\nmetric = "packed_bytes"\nweight = 1.0\nbest = 1.0\nworst = 2.0\n'


def _case(name: str, text: str | bytes | Callable[[Ground, Path], object], **more: object) -> Case:
    """It is refused, by file and key."""

    def make(place: Ground) -> None:
        file = place.folder / "scenario.toml"
        if callable(text):
            text(place, file)
        else:
            file.write_bytes(text.encode() if isinstance(text, str) else text)

    return Case(
        name=f"scenario-{name}",
        kind="scenario",
        make=make,
        commands=(_SHOW,),
        **{"exits": (2,), "says": (r"scenario\.toml", r"remedy"), **more},  # type: ignore[arg-type]
    )


def _objective(old: str, new: str) -> str:
    assert old in _OBJECTIVE
    return _HEAD + _OBJECTIVE.replace(old, new)


def _sparse(_: Ground, file: Path) -> None:
    file.touch()
    os.truncate(file, 2**31)


CASES = [
    _case("fifo", lambda _, file: os.mkfifo(file)),
    _case("endless", lambda _, file: file.symlink_to("/dev/zero")),
    _case("a-secret", lambda place, file: file.symlink_to(str(place.where["secret"])), says=(r"remedy",)),
    _case("a-folder", lambda _, file: file.mkdir()),
    _case("of-2-gb", _sparse, memory_mb=200),
    _case("not-utf-8", b"\xff\xfe"),
    _case("not-toml", "name = ["),
    _case("nested", _HEAD + "x = " + "[" * 100_000),
    _case("dotted-keys", ".".join(["a"] * 50_000) + " = 1"),
    _case("a-date", _HEAD.replace('"Mine"', "2026-01-01") + _OBJECTIVE),
    _case("million-digits", _HEAD.replace("= 1\n", f"= {'9' * 10**6}\n", 1) + _OBJECTIVE),
    _case("nan-weight", _objective("weight = 1.0", "weight = nan")),
    _case("infinite-weight", _objective("weight = 1.0", "weight = inf")),
    _case(
        "huge-weights",
        _objective("weight = 1.0", "weight = 1e308") + _OBJECTIVE.replace("weight = 1.0", "weight = 1e308"),
    ),
    _case("scale-of-nothing", _objective("best = 1.0", "best = 2.0")),
    _case("tiny-scale", _objective("best = 1.0\nworst = 2.0", "best = 5e-324\nworst = 1e-323"), exits=(0, 2), says=()),
    _case("huge-scale", _objective("worst = 2.0", "worst = 1e308"), exits=(0, 2), says=()),
    _case("name-with-a-path", _HEAD.replace('"mine"', '"../../x"') + _OBJECTIVE),
    _case(
        "title-with-escapes",
        _HEAD.replace('"Mine"', '"\\u001b[2J\\u009b[bold]x[/] </b>"') + _OBJECTIVE,
        exits=(0, 2),
        says=(),
    ),
    _case("unknown-metric", _objective('"packed_bytes"', '"__class__"')),
    _case("needs-of-types", _HEAD + "needs = [1, {}]\n" + _OBJECTIVE),
    _case("100000-objectives", _HEAD + _OBJECTIVE * 100_000, timeout_s=40.0, memory_mb=800),
    _case("requests-of-1e308", _HEAD + "[traffic]\nrequests_per_day = 1e308\n" + _OBJECTIVE, exits=(0, 2), says=()),
]
