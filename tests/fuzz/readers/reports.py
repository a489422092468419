"""Reports and appendices that somebody sent, as ``verify`` reads them."""

from __future__ import annotations

import contextlib
from pathlib import Path

from fuzz import made
from harness.errors import HarnessError
from harness.report import markdown, verify
from harness.report import pdf as pdfs


def page(data: bytes, place: Path) -> None:
    """An HTML or Markdown file of any kind."""
    file = place / "report.html"
    file.write_bytes(data)
    _verified(file)


def embedded(data: bytes, place: Path) -> None:
    """The data inside a report of either kind, which is JSON."""
    shells = {
        "report.html": (b'<!doctype html><script id="contents" type="application/json">', b"</script>"),
        "report.md": (f"# Report\n\n{markdown.OPENING}".encode(), f"{markdown.CLOSING}\n".encode()),
    }
    for name, (before, after) in shells.items():
        file = place / name
        file.write_bytes(before + data + after)
        _verified(file)


def pdf(data: bytes, place: Path) -> None:
    """An appendix as PDF."""
    file = place / "appendix.pdf"
    file.write_bytes(data if data.startswith(b"%PDF-") else b"%PDF-" + data)
    _verified(file)
    with contextlib.suppress(HarnessError):
        list(pdfs.pages(file, file))  # whatever data is in it


def _verified(file: Path) -> None:
    steps = (
        lambda: verify.runs_of(file),
        lambda: verify.predicted_in(file),
        lambda: verify.verify(file, {made.RUN: [made.evidence()]}),
    )
    for step in steps:
        with contextlib.suppress(HarnessError):
            step()
