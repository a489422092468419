"""A run's evidence and its recommendations as a document in which every number can be checked.

:func:`harness.report.contents.contents` says what a report holds, :func:`harness.report.appendix.of` makes a
decision record of that, :func:`write` makes a file of either,
:func:`harness.report.verify.verify` computes all of it again from the samples.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.errors import BadInput, DiskFull

if TYPE_CHECKING:
    from harness.report.appendix import Appendix
    from harness.report.contents import ReportContents

Format = Literal["html", "md", "pdf"]


def write(contents: ReportContents | Appendix, format: Format, out: Path) -> None:  # noqa: A002  (the command line's word)
    """Write ``contents`` to ``out``, whole or not at all.

    MissingComponent where ``html`` needs the ``report`` extra, or ``pdf`` its own; BadInput where ``out`` can't be
    written, DiskFull where there is no room. A file that was there is replaced only when the new one is whole.
    """
    made = _render(contents, format)
    page = made if isinstance(made, bytes) else made.encode()
    scratch = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
        scratch = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(page)
            os.fchmod(file.fileno(), 0o644)
        os.replace(scratch, out)
    except OSError as error:
        if scratch is not None:
            with contextlib.suppress(OSError):
                scratch.unlink(missing_ok=True)
        raise _as_ours(error, out) from error


def _render(contents: ReportContents | Appendix, format: Format) -> str | bytes:  # noqa: A002
    from harness.report.appendix import Appendix

    if format == "html":
        from harness.report import html

        return html.render_appendix(contents) if isinstance(contents, Appendix) else html.render(contents)
    if format == "md":
        from harness.report import appendix_markdown, markdown

        return appendix_markdown.render(contents) if isinstance(contents, Appendix) else markdown.render(contents)
    if isinstance(contents, Appendix):
        from harness.report import appendix_typst

        return appendix_typst.render(contents)
    raise BadInput(f"no report is written as '{format}'", key="--format", value=format, remedy="html or md")


def _as_ours(error: OSError, out: Path) -> BadInput | DiskFull:
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"there is no room to write {out}", remedy="free some space, or give another --out")
    return BadInput(f"cannot be written: {error.strerror}", file=out, key="--out", remedy="give another path")
