"""Taking a PDF of ours apart again: the data that is attached to it, and what stands on its pages.

pypdf (of the ``pdf`` extra) reads it; nothing in the file is run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import files
from harness.errors import BadInput, HarnessError, MissingComponent
from harness.report.appendix_typst import DATA, REMEDY

#: The largest report that is checked; one over all models and scenarios has 20 MB.
LARGEST = 256 * 2**20

_OPENING = b"%PDF-"
_REMEDY = "give a file that 'harness appendix --format pdf' wrote"


@dataclass(frozen=True, kw_only=True)
class Page:
    """The words of a page, line by line, and everything that is drawn on it."""

    lines: tuple[str, ...]
    drawn: bytes


def is_pdf(path: Path) -> bool:
    """Whether the file begins as PDFs do."""
    try:
        with files.opened(path.resolve()) as stream:
            return stream.read(len(_OPENING)) == _OPENING
    except BadInput:
        return False


def embedded(path: Path) -> str | None:
    """The JSON text that is attached, or None. BadInput where it is not a whole PDF."""
    with _whole(path):
        found = _reader(path, path).attachments.get(DATA, [])
        return found[0].decode("utf-8") if found else None


def pages(source: Path | bytes, path: Path) -> Iterator[Page]:
    """The pages of a file, or of bytes; ``path`` is named where they cannot be read."""
    with _whole(path):
        for page in _reader(source, path).pages:
            contents = page.get_contents()
            lines = tuple(line for line in page.extract_text().splitlines() if line.strip())
            yield Page(lines=lines, drawn=contents.get_data() if contents is not None else b"")


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Whatever pypdf says of a file that somebody changed, as BadInput: it has no error of its own for much of it."""
    try:
        yield
    except (HarnessError, MemoryError):
        raise
    except Exception as error:
        raise BadInput(f"is not a whole PDF: {type(error).__name__}: {error}", file=path, remedy=_REMEDY) from error


def _reader(source: Path | bytes, path: Path) -> Any:
    try:
        import io

        from pypdf import PdfReader
        from pypdf.errors import PyPdfError
    except ImportError as error:
        raise MissingComponent("checking a PDF needs the package pypdf", remedy=REMEDY) from error
    try:
        read = source if isinstance(source, bytes) else files.read_bytes(source.resolve(), at_most=LARGEST)
        return PdfReader(io.BytesIO(read))
    except (PyPdfError, OSError, ValueError) as error:
        raise BadInput(f"is not a whole PDF: {error}", file=path, remedy=_REMEDY) from error
