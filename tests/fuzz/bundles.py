"""Several files as one input, which people can read and a mutator can cut anywhere.

=== run.json
{"schema_version": 1}
=== samples.jsonl
{}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

_MARK = b"=== "


def parts(data: bytes) -> list[tuple[bytes, bytes]]:
    """The name and the contents of each part; what comes before the first mark has no name."""
    found: list[tuple[bytes, list[bytes]]] = [(b"", [])]
    for line in data.split(b"\n"):
        if line.startswith(_MARK):
            found.append((line[len(_MARK) :], []))
        else:
            found[-1][1].append(line)
    return [(name, b"\n".join(lines)) for name, lines in found if name or any(lines)]


def joined(found: Mapping[str, bytes] | list[tuple[bytes, bytes]]) -> bytes:
    """The bundle of these parts."""
    pairs = [(name.encode(), text) for name, text in found.items()] if isinstance(found, Mapping) else found
    return b"\n".join(text if not name else _MARK + name + b"\n" + text for name, text in pairs)


def write(data: bytes, folder: Path) -> dict[str, Path]:
    """Write the parts below ``folder``; the files by name. A name that leaves it is not for a bundle to have."""
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, Path] = {}
    for raw, text in parts(data):
        name = raw.decode("utf-8", "surrogateescape")
        pure = PurePosixPath(name)
        if not name or "\0" in name or pure.is_absolute() or ".." in pure.parts or len(raw) > 200:
            continue
        place = folder / name
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(text)
        except OSError:  # a file where another part wants a folder, or a name that is too long
            continue
        written[name] = place
    return written
