"""The text of a lock: parsed strictly, and written anew by us, so that an installer is given pins and hashes alone.

A line of a requirements file may also be an option, an address or a path, each of which makes an installer do something
else than to fetch a locked wheel (pip's "Requirements File Format"). A lock that travels with a model was written by
others. So nothing of its text is passed on: what it says is read into :class:`Pin`, and :func:`render` writes that.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from harness import files
from harness.errors import BadInput

_FOR = "# locked for: "
_LONGEST_LINE = 2000  # without its hashes
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_MARKER = re.compile(r"[A-Za-z0-9 ._<>=!~()'\",+-]+")
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_FROM = re.compile(r"# from (\S+)")
_SOURCE = re.compile(r"# built from source sha256:([0-9a-f]{64})")

#: Where PyTorch's own builds lie, which uv knows by their name (``--torch-backend``); pip is told the address.
_TORCH_INDEX = "https://download.pytorch.org/whl/{}"
_PUBLIC_INDEX = "https://pypi.org/simple"
_INDEXES = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
)


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One locked requirement: the line without its hashes, and the sha256 of every file it may be.

    ``index`` is where it lies, if that is none of the indexes that an installer asks anyway. ``source`` is the sha256
    of the source distribution that its wheel is built from, empty where an index has the wheel. A lock that travels
    has that hash alone, since each machine builds a wheel of its own; a lock in the cache has the wheel's instead.
    """

    line: str
    hashes: frozenset[str]
    index: str = ""
    source: str = ""

    @property
    def requirement(self) -> Requirement:
        """The line, parsed."""
        return Requirement(self.line)


def header(wanted: Sequence[str]) -> str:
    """The first line of a lock: which requirements it was made for."""
    return f"{_FOR}{hashlib.sha256(json.dumps(sorted(wanted)).encode()).hexdigest()}\n"


def render(pins: Iterable[Pin], wanted: Sequence[str]) -> str:
    """The text of a lock of these pins, made for the requirements ``wanted``."""
    return header(wanted) + "".join(f"{entry(pin)}\n" for pin in pins)


def entry(pin: Pin) -> str:
    """A pin as uv writes it."""
    lines = [pin.line, *(f"    --hash=sha256:{digest}" for digest in sorted(pin.hashes))]
    notes = [f"from {pin.index}"] if pin.index else []
    notes += [f"built from source sha256:{pin.source}"] if pin.source else []
    return " \\\n".join(lines) + "".join(f"\n    # {note}" for note in notes)


def hashes(text: str) -> set[str]:
    """Every sha256 in the text of a lock of ours."""
    return set(re.findall(r"--hash=sha256:([0-9a-f]{64})", text))


def parse(
    text: str, *, file: object, remedy: str, torch_backend: str | None = None, indexes: Iterable[str] = ()
) -> list[Pin]:
    """The pins in a lock's text; BadInput, naming the line, for anything else in it.

    ``# from ADDRESS`` below a pin may name PyTorch's index for the ``torch_backend`` or one of the model's own
    ``indexes``, which is kept, or one that installers ask here anyway.
    """
    found: list[Pin] = []
    kept = {*indexes, *([_TORCH_INDEX.format(torch_backend)] if torch_backend else [])}
    for number, line in _entries(text):
        try:
            if not line.startswith("#"):
                found.append(_pin(line))
            elif said := _FROM.fullmatch(line):
                index = said[1].rstrip("/")
                if index in kept and found:
                    found[-1] = replace(found[-1], index=index)
                elif index != _PUBLIC_INDEX and index not in _configured():
                    raise ValueError("names an index that model.toml does not name, and that is not asked here")
            elif (built := _SOURCE.fullmatch(line)) and found:
                if len(found[-1].hashes) != 1:
                    raise ValueError("is below a pin of several files, and one is built from one source")
                found[-1] = replace(found[-1], source=built[1])
        except ValueError as error:
            raise BadInput(f"line {number} {error}", file=file, value=files.shown(line), remedy=remedy) from None
    return found


def _entries(text: str) -> Iterator[tuple[int, str]]:
    """Each entry with the number of its first line, its continued lines joined; comments, by themselves."""
    begun: list[str] = []
    first = 0
    for number, line in enumerate(text.split("\n"), 1):
        first = first if begun else number
        if line.endswith("\\"):
            begun.append(line.removesuffix("\\").strip())
            continue
        whole = " ".join([*begun, line.strip()])
        begun = []
        if whole:
            yield first, whole
    if begun:
        yield first, " ".join([*begun, "\\"])


def _pin(line: str) -> Pin:
    """ValueError, saying what is wrong with the line, where it is not a pin with hashes."""
    said, *hashes = re.split(r" +--hash=", line)
    wanted, _, condition = (part.strip() for part in said.partition(";"))
    name, equals, version = wanted.partition("==")
    if not (equals and _NAME.fullmatch(name) and version.isascii() and len(said) <= _LONGEST_LINE):
        raise ValueError("is not 'name==version --hash=sha256:...'")
    digests = [_HASH.fullmatch(text) for text in hashes]
    if not digests or not all(digests):
        raise ValueError("has no sha256, or something else than a sha256 behind the version")
    try:
        Version(version)
    except InvalidVersion:
        raise ValueError(f"has no version after '==': {files.shown(version)}") from None
    line = f"{name}=={version}" + (f" ; {_marker(condition)}" if condition else "")
    return Pin(line=line, hashes=frozenset(digest[1] for digest in digests if digest))


def _marker(text: str) -> str:
    """The condition, which can be evaluated; ValueError where it is none."""
    try:
        if not _MARKER.fullmatch(text):
            raise ValueError
        Marker(text).evaluate({"extra": ""})
    except (InvalidMarker, UndefinedComparison, UndefinedEnvironmentName, ValueError, RecursionError):
        raise ValueError("has a condition after ';' that is none") from None
    return text


def _configured() -> set[str]:
    """The indexes that the user's environment names, as they are or as ``name=address``."""
    words = [word for name in _INDEXES for word in os.environ.get(name, "").split()]
    return {part.rstrip("/") for word in words for part in (word, word.partition("=")[2]) if part}
