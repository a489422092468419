"""The appendix as PDF: whole, the same every time, with its data, and with nothing in it that could become markup."""

from __future__ import annotations

import builtins
import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput, MissingComponent
from harness.report import appendix, appendix_typst, pdf, write
from harness.report.appendix import Appendix
from harness.report.verify import runs_of, verify
from harness.store.query import Evidence

HOSTILE = '"#(1+1)" \\ #read("/etc/passwd") $x$ `y` *z* _w_ <v> @u // t'

Make = Callable[..., Any]


def test_no_text_can_become_markup() -> None:
    """A string literal ends where it should, whatever is in it."""
    quoted = appendix_typst._quoted(HOSTILE)
    assert json.loads(quoted) == HOSTILE  # Typst's strings and JSON's agree on the quote and the backslash
    assert re.fullmatch(r'"(?:[^"\\]|\\.)*"', quoted)


def test_it_is_the_same_every_time(record: Appendix) -> None:
    """To the byte, and it is a PDF whose attached data is the appendix's."""
    one, other = appendix_typst.render(record), appendix_typst.render(record)
    assert one == other
    assert one.startswith(b"%PDF-")


def test_what_is_shown_stands_on_its_pages(record: Appendix, tmp_path: Path) -> None:
    """Title, sections and footnotes; and the data is attached."""
    out = tmp_path / "record.pdf"
    write(record, "pdf", out)
    words = " ".join(" ".join(page.lines) for page in pdf.pages(out, out))
    for part in ("Decision Drivers", "Considered Options", "Decision Outcome", "Footnotes", "placeholder"):
        assert part in words
    assert json.loads(pdf.embedded(out) or "")["kind"] == appendix.KIND


def test_a_true_one_passes_and_names_its_run(
    record: Appendix, by_run: Mapping[str, Sequence[Evidence]], advise: Any, tmp_path: Path
) -> None:
    """As the other formats do."""
    out = tmp_path / "record.pdf"
    write(record, "pdf", out)
    found = verify(out, by_run, advise)
    assert (found.mismatches, found.notes) == ((), ())
    assert found.checked > 10
    assert runs_of(out)


def test_a_page_that_was_changed_is_found(
    record: Appendix, by_run: Mapping[str, Sequence[Evidence]], advise: Any, tmp_path: Path
) -> None:
    """Another drawing with the same data: of the page that it is on."""
    from pypdf import PdfReader, PdfWriter
    from pypdf.generic import NameObject, StreamObject

    out = tmp_path / "record.pdf"
    write(record, "pdf", out)
    changed = PdfWriter(clone_from=PdfReader(out))
    stream = StreamObject()
    drawn = changed.pages[0].get_contents().get_data()
    stream.set_data(drawn + b"\nq 0 0 10 10 re f Q\n")
    changed.pages[0][NameObject("/Contents")] = changed._add_object(stream)
    changed.write(out)
    found = verify(out, by_run, advise)
    assert any("page 1" in str(one) for one in found.mismatches)


@pytest.mark.parametrize("contents", [b"%PDF-1.7\n", b"%PDF-1.7\n" + zlib.compress(b"x") * 20])
def test_what_is_no_whole_pdf_is_bad_input(tmp_path: Path, contents: bytes) -> None:
    """No traceback."""
    file = tmp_path / "torn.pdf"
    file.write_bytes(contents)
    with pytest.raises(BadInput):
        verify(file, {})


def test_missing_packages_are_named(record: Appendix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that brings them."""
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] in {"typst", "pypdf"}:
            raise ImportError(name)
        return real(name, *rest)

    file = tmp_path / "some.pdf"
    file.write_bytes(b"%PDF-1.7\n")
    monkeypatch.setattr(builtins, "__import__", without)
    for do in (lambda: appendix_typst.render(record), lambda: pdf.embedded(file)):
        with pytest.raises(MissingComponent, match="needs the package") as error:
            do()
        assert "[pdf]" in error.value.remedy
