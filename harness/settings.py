"""What users set by environment variables, checked where it is read."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

from harness.errors import BadInput

_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?(([kmgt])(i?))?b", re.ASCII | re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_LONGEST = 18  # digits are beyond every machine, and int() takes its time for millions of them


def text(name: str) -> str:
    """The text that the variable ``name`` holds, empty where it is not set; BadInput where it is not UTF-8."""
    given = os.environ.get(name, "")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise BadInput("is not UTF-8", key=name, value=given, remedy=f"write {name} in UTF-8, or unset it") from None
    return given


def folder(name: str) -> Path | None:
    """The absolute path that the variable ``name`` holds; None where it is not set. As :func:`path` else."""
    given = text(name)
    return path(given, key=name).absolute() if given else None


def path(given: str, *, key: str) -> Path:
    """``given`` as a path, a home folder put in for ``~``; BadInput where nobody has it."""
    try:
        return Path(given).expanduser()
    except RuntimeError:
        raise BadInput(
            "the home folder is not known", key=key, value=given, remedy="write the path without '~'"
        ) from None


def seconds(name: str, default: float) -> float:
    """The seconds that the variable ``name`` holds, else ``default``; BadInput where they are no time."""
    given = os.environ.get(name)
    if not given:
        return default
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise BadInput("is not a number of seconds", key=name, value=given, remedy=f"set {name}=60, say, or unset it")
    return value


def count(name: str) -> int | None:
    """The whole number above zero that the variable ``name`` holds; None where it is not set. BadInput for others."""
    given = os.environ.get(name)
    if not given:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= _LONGEST and int(given) > 0):
        raise BadInput(
            "is not a whole number above zero", key=name, value=given, remedy=f"set {name} to one, or unset it"
        )
    return int(given)


def size(name: str) -> int | None:
    """The bytes that the variable ``name`` holds, 0 for "none"; None where it is not set. BadInput for no size."""
    given = text(name)
    if not given:
        return None
    found = _SIZE.fullmatch(given)
    if found is not None:
        step = 1024 if found[4] else 1000
        return int(float(found[1]) * step ** _POWERS[(found[3] or "").lower()])
    if given not in ("0", "none"):
        remedy = f"set {name}='20 GB', say (B, kB, MB, GB, TB, or KiB and so on), 'none' for no bound, or unset it"
        raise BadInput("is not a number of bytes with its unit", key=name, value=given, remedy=remedy)
    return 0
