"""Reading a TOML or JSON file into a frozen dataclass, with errors that name file, key, value and remedy.

The records are plain dataclasses; pydantic checks them here, where files enter, and nowhere else.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import tomllib
from collections.abc import Collection
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from harness import files
from harness.errors import BadInput

T = TypeVar("T")

#: What the records of ``spec`` are checked with: no unknown key, no silent conversion, no infinity.
STRICT = {"extra": "forbid", "strict": True, "allow_inf_nan": False}

#: The largest files that are read.
MAX_TOML_BYTES = 2**20
MAX_JSON_BYTES = 16 * 2**20
#: How many lists and objects a JSON file may hold, and how deep: an empty one takes up to ninety times its two bytes in
#: memory. So no file of 16 MiB takes more than 0.5 GB, and answers can be compared without running out of stack.
MAX_CONTAINERS = 1_000_000
MAX_DEPTH = 100
#: A key of twenty parts, ``a.b.c...``: reading one takes time by the square of its length.
_LONG_KEY = re.compile(r"""(?<![\w"'-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){20}""", re.ASCII)

_UNKNOWN = {"unexpected_keyword_argument", "extra_forbidden"}


def toml_table(file: Path, *, remedy: str, below: Path | None = None, at_most: int = MAX_TOML_BYTES) -> dict[str, Any]:
    """The table in ``file``; BadInput where it is missing, unreadable, larger than ``at_most`` bytes, or not TOML.

    ``below`` as in :func:`harness.files.read_bytes`.
    """
    return toml_text(_text(file, below, at_most, remedy), file=file)


def toml_text(text: str, *, file: object) -> dict[str, Any]:
    """The table that ``text`` is, which is from ``file``; BadInput where it is not TOML."""
    if _LONG_KEY.search(text):
        raise BadInput("has a key of more than twenty parts", file=file, remedy="flatten it")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise BadInput("is nested too deeply", file=file, remedy="flatten it") from None
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"is not valid TOML: {error}", file=file, remedy="mend the line that is named") from error
    except ValueError as error:  # a number of thousands of digits, a date that is none
        raise BadInput(f"holds a value that cannot be read: {error}", file=file, remedy="correct it") from None


def json_value(
    file: Path,
    *,
    remedy: str,
    below: Path | None = None,
    at_most: int = MAX_JSON_BYTES,
    missing_number: bool = False,
) -> Any:
    """The value in ``file``; BadInput where it is missing, unreadable, larger than ``at_most`` bytes, or not JSON.

    ``below`` as in :func:`harness.files.read_bytes`. A number beyond what a float can hold is refused like infinity;
    NaN is refused too, or None where it stands for a ``missing_number``.
    """
    text = _text(file, below, at_most, remedy)
    if text.count("[") + text.count("{") > MAX_CONTAINERS:
        raise BadInput(f"holds more than {MAX_CONTAINERS:,} lists and objects", file=file, remedy="make it smaller")
    try:
        value = json.loads(text, parse_constant=_null_for_nan if missing_number else _no_constant, parse_float=finite)
        _check_depth_and_texts(value)
        return value
    except RecursionError:
        raise BadInput("is nested too deeply", file=file, remedy="flatten it") from None
    except UnicodeEncodeError:
        raise BadInput("holds half of a character (\\ud800 to \\udfff)", file=file, remedy="write it whole") from None
    except NotJson as error:
        raise BadInput(f"{error} is not a JSON value", file=file, remedy="give a finite number") from None
    except json.JSONDecodeError as error:
        raise BadInput(f"is not valid JSON: {error}", file=file, remedy="mend the line that is named") from error
    except ValueError as error:  # a number of thousands of digits
        raise BadInput(f"holds a value that cannot be read: {error}", file=file, remedy="correct it") from None


def _text(file: Path, below: Path | None, at_most: int, remedy: str) -> str:
    """The file's text. The remedy is for who has no such file; what is wrong with one that is there says its own."""
    return files.read_text(file, at_most=at_most, below=below, remedy="" if files.kind(file) else remedy)


def record(kind: type[T], table: dict[str, Any], *, file: Path) -> T:
    """``table`` as a ``kind``; the first thing wrong with it as BadInput."""
    try:
        # JSON's rules inside strict mode: an array may become a tuple, nothing else is converted.
        hashable: Any = kind
        made: T = _adapter(hashable).validate_json(json.dumps(table), strict=True)
        return made
    except TypeError as error:  # a date, which TOML has and no key takes
        key, value = _first_date(table)
        raise BadInput("is a date", file=file, key=key, value=value, remedy="put it in quotes") from error
    except RecursionError:
        raise BadInput("is nested too deeply", file=file, remedy="flatten it") from None
    except ValidationError as error:
        # A misspelt key is also a missing one; the misspelling says more.
        found = sorted(error.errors(include_url=False), key=lambda one: one["type"] not in _UNKNOWN)
        raise _as_bad_input(found[0], kind, file) from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)  # making one takes as long as checking a run's manifest fifty times


def versioned(kind: type[T], file: Path, *, version: int, remedy: str) -> T:
    """The JSON ``file`` as a ``kind``; BadInput where it is not one, or not of this version of its format."""
    table = json_value(file, remedy=remedy)
    found = table.get("schema_version") if isinstance(table, dict) else None
    if found != version:
        newer = isinstance(found, int) and found > version
        raise BadInput(
            f"is not of the version {version} that this harness reads",
            file=file,
            key="schema_version",
            value=found,
            remedy="upgrade the harness" if newer else remedy,
        )
    return record(kind, table, file=file)


def _check_depth_and_texts(value: Any) -> None:
    """RecursionError for what is nested too deeply, UnicodeEncodeError for a text that is none."""
    waiting: list[tuple[Any, int]] = [(value, 0)]
    while waiting:
        one, depth = waiting.pop()
        if isinstance(one, str):
            one.encode()
        elif isinstance(one, list | dict):
            if depth == MAX_DEPTH:
                raise RecursionError
            # Numbers are most of what is there; they need no look.
            parts = one if isinstance(one, list) else (*one, *one.values())
            waiting += [(part, depth + 1) for part in parts if isinstance(part, str | list | dict)]


class NotJson(Exception):
    """NaN or an infinity, which Python's reader takes and JSON does not have."""


def _no_constant(name: str) -> float:
    raise NotJson(name)


def _null_for_nan(name: str) -> None:
    if name != "NaN":
        raise NotJson(name)


def finite(text: str) -> float:
    """The number that ``text`` is, for ``parse_float``; NotJson where a float can't hold it, such as ``1e999``."""
    value = float(text)
    if not math.isfinite(value):
        raise NotJson(files.shown(text))
    return value


def _first_date(value: Any, key: str = "") -> tuple[str, Any]:
    """The key and value of the first thing that JSON cannot hold."""
    if isinstance(value, dict | list):
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            found = _first_date(part, f"{key}.{name}" if key else str(name))
            if found[0]:
                return found
        return "", None
    return ("", None) if isinstance(value, str | int | float | bool) else (key, value)


def inside(folder: Path, relative: str, *, file: Path, key: str) -> Path:
    """``folder/relative``; BadInput where that would leave the folder, also through a link."""
    pure = PurePosixPath(relative)
    try:
        stays = (folder / relative).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # links in a circle, no name that a file can have
        stays = False
    if not relative or pure.is_absolute() or ".." in pure.parts or not stays:
        raise BadInput(
            "leaves the folder", file=file, key=key, value=relative, remedy="give a path inside the model's folder"
        )
    return folder / relative


def one_of(name: str, known: Collection[str]) -> str:
    """The remedy for a name that is not known: the nearest one, and all that there are."""
    close = difflib.get_close_matches(name, known, n=1)
    return (f"did you mean '{close[0]}'? " if close else "") + f"one of {', '.join(known)}"


def _as_bad_input(first: Any, kind: type[Any], file: Path) -> BadInput:
    location = [part for part in first["loc"] if not str(part).startswith(("function-", "is-instance"))]
    key = ".".join(str(part) for part in location)
    if first["type"] in _UNKNOWN:
        known = sorted(_field_names(kind, location[:-1]))
        close = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known keys here: {', '.join(known)}"
        return BadInput("is not a known key", file=file, key=key, value=first["input"], remedy=hint)
    if first["type"] in {"missing", "missing_argument"}:
        return BadInput("is missing", file=file, key=key, remedy=f"add '{key}' to {file.name}")
    message = str(first["msg"]).removeprefix("Value error, ")
    return BadInput(message, file=file, key=key, value=first["input"], remedy=f"correct '{key}' in {file.name}")


def _field_names(kind: Any, location: list[Any]) -> set[str]:
    """The field names of the record found by walking ``location`` down from ``kind``."""
    import dataclasses
    import typing

    for part in location:
        if isinstance(part, int):
            continue
        hints = typing.get_type_hints(kind)
        kind = hints.get(str(part), kind)
        while not dataclasses.is_dataclass(kind):
            inner = [arg for arg in typing.get_args(kind) if arg is not type(None) and arg is not Ellipsis]
            if not inner:
                return set()
            kind = inner[-1]
    return {field.name for field in dataclasses.fields(kind) if field.init}
