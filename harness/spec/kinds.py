"""Types of fields in files that others made: results, profiles, calibrations. pydantic checks them where files enter.

No name can hold what a terminal, a page, a spreadsheet or a path would obey; no text and no number is without bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

#: How deep a file is nested, how many values it has, and how many letters a text: far beyond any honest one.
DEPTH, VALUES, LETTERS = 12, 500_000, 65_536

#: From here on values are no measurements: a petabyte, thirty million years.
MOST = 1e15

_LARGEST = 2.0**63

#: What open records are checked with: fields that are not named may be there, but nothing is converted.
OPEN: Any = {"extra": "ignore", "strict": True, "allow_inf_nan": False}


def _dated(text: str) -> str:
    datetime.fromisoformat(text)
    return text


#: A model, a method, a run: letters, digits, and what is harmless between them.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=100)]
#: The options of a variant: ``bytecode=none,weights=mounted``.
Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.,=:-]*$", max_length=200)]
#: A key of a table: ``digits-forest/venv/bytecode=none``.
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.,=:/@ -]*$", max_length=300)]
#: Words on one line, and text on many.
Word = Annotated[str, StringConstraints(max_length=300, pattern=r"^[^\p{C}\p{Zl}\p{Zp}]*$")]
Text = Annotated[str, StringConstraints(max_length=LETTERS)]
Date = Annotated[str, StringConstraints(pattern=r"^[0-9T:.+-]+$", max_length=40), AfterValidator(_dated)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=2**63)]
Amount = Annotated[float, Field(ge=0, le=MOST, allow_inf_nan=False)]
Positive = Annotated[float, Field(ge=1e-9, le=MOST, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class Host:
    """A machine: what tells one from another. What else is there is only shown."""

    __pydantic_config__ = OPEN

    processor: Word
    cores: Annotated[int, Field(ge=1, le=1_000_000)]
    python: Word
    machine: Word = ""
    memory_bytes: Count = 0
    kernel: Word = ""
    system: Word = ""


def check_bounds(table: Any, *, depth: int = DEPTH, values: int = VALUES, letters: int = LETTERS) -> tuple[str, str]:
    """The first key whose value is beyond what is reasonable, and what is wrong with it; twice nothing where none is.

    That is what types don't say: how deep, how many, how long, how large, and halves of characters.
    """
    waiting, count = [("", table, 0)], 0
    while waiting:
        key, value, level = waiting.pop()
        count += 1
        if level > depth or count > values:
            return key, "is nested too deeply" if level > depth else f"is beyond {values:,} values"
        if isinstance(value, str) and (len(value) > letters or not _whole(value)):
            return key, f"is not a text of at most {letters:,} letters"
        if isinstance(value, int | float) and not abs(value) <= _LARGEST:  # NaN is not
            return key, "is not a number of reasonable size"
        if isinstance(value, list):
            waiting += [(key, part, level + 1) for part in value]
        if isinstance(value, dict):
            for name, part in value.items():
                if len(name) > letters or not _whole(name):
                    return key, "has a key that is not a name"
                waiting.append((f"{key}.{name}" if key else name, part, level + 1))
    return "", ""


def _whole(text: str) -> bool:
    """Whether it has no half of a character, which nothing can write."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
