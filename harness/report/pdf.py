"""Taking a PDF of ours apart again: the data that is attached to it, and what stands on its pages.

pypdf (of the ``pdf`` extra) reads it; nothing in the file is run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import BadInput, MissingComponent
from harness.report.appendix_typst import DATA, REMEDY

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
        with path.open("rb") as stream:
            return stream.read(len(_OPENING)) == _OPENING
    except OSError:
        return False


def embedded(path: Path) -> str | None:
    """The JSON text that is attached, or None."""
    found = _reader(path, path).attachments.get(DATA, [])
    try:
        return found[0].decode("utf-8") if found else None
    except UnicodeDecodeError:
        return None


def pages(source: Path | bytes, path: Path) -> Iterator[Page]:
    """The pages of a file, or of bytes; ``path`` is named where they cannot be read."""
    for page in _reader(source, path).pages:
        contents = page.get_contents()
        lines = tuple(line for line in page.extract_text().splitlines() if line.strip())
        yield Page(lines=lines, drawn=contents.get_data() if contents is not None else b"")


def _reader(source: Path | bytes, path: Path) -> Any:
    try:
        import io

        from pypdf import PdfReader
        from pypdf.errors import PyPdfError
    except ImportError as error:
        raise MissingComponent("checking a PDF needs the package pypdf", remedy=REMEDY) from error
    try:
        return PdfReader(io.BytesIO(source) if isinstance(source, bytes) else source)
    except (PyPdfError, OSError, ValueError) as error:
        raise BadInput(f"is not a whole PDF: {error}", file=path, remedy=_REMEDY) from error
