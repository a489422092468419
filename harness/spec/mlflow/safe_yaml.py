"""YAML of strangers: plain values only, and no more of them than a file of that size can mean.

PyYAML's safe loader makes no objects; but aliases let a small file stand for billions of values, and merge keys
(``<<``) multiply them while they are read. MLflow writes neither merge keys nor deep nesting.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness import files
from harness.errors import BadInput

#: The largest file that is read. MLmodel grows with the signature: one of 20,000 columns is 2 MiB.
MAX_BYTES = 4 * 2**20
#: How many values a file may hold, and stand for, each alias counted as often as it is used. MLflow's have hundreds.
MAX_VALUES = 50_000
#: How deep they may be nested.
MAX_DEPTH = 100

_MERGE = "tag:yaml.org,2002:merge"
#: Numbers may be written in base 60, "1:30:00", which takes time by the square of their length to read.
_NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
_LONGEST_NUMBER = 1000


def table(file: Path, *, remedy: str) -> dict[str, Any]:
    """The mapping in ``file``; BadInput where it is missing, too large, not YAML, or not a mapping of plain values."""
    value = _value(file, files.read_text(file, at_most=MAX_BYTES, below=file.parent, remedy=remedy))
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise BadInput("is not a mapping of names to values", file=file, value=type(value).__name__, remedy=remedy)
    return value


def _value(file: Path, text: str) -> Any:
    import yaml  # type: ignore[import-untyped]

    remedy = "it has to be as MLflow wrote it; save the model again"
    try:
        _skim(yaml.parse(text, Loader=yaml.SafeLoader), file, remedy)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, file, remedy)
        return loader.construct_document(node)
    # PyYAML's constructors let through whatever a value such as "!!timestamp x" or "!!bool x" makes Python raise.
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        said = " ".join(str(error).split())
        raise BadInput(f"is not YAML of plain values: {said}", file=file, remedy=remedy) from None


def _skim(events: Iterable[Any], file: Path, remedy: str) -> None:
    """BadInput where the text holds too many values, or too deep ones: before anything is made of them."""
    depth = 0
    for number, event in enumerate(events):
        opened = type(event).__name__
        depth += opened.endswith("StartEvent") - opened.endswith("EndEvent")
        if number > 2 * MAX_VALUES:
            raise BadInput(f"holds more than {MAX_VALUES:,} values", file=file, remedy=remedy)
        if depth > MAX_DEPTH:
            raise BadInput("is nested too deeply", file=file, remedy=remedy)


def _count(node: Any, file: Path, remedy: str) -> None:
    """BadInput where the document stands for too many values (a cycle for endlessly many), or has a merge key."""
    waiting, seen = [node], 0
    while waiting:
        one = waiting.pop()
        seen += 1
        if seen > MAX_VALUES:
            raise BadInput(f"stands for more than {MAX_VALUES:,} values", file=file, remedy=remedy)
        if isinstance(one.value, str) and len(one.value) > _LONGEST_NUMBER and one.tag in _NUMBERS:
            raise BadInput("is not YAML of plain values: it holds a number that is too long", file=file, remedy=remedy)
        if one.tag == _MERGE:
            raise BadInput("has a merge key", file=file, key="<<", remedy=remedy)
        if isinstance(one.value, list):
            for entry in one.value:
                waiting.extend(entry if isinstance(entry, tuple) else (entry,))
