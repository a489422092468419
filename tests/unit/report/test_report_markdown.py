"""The report as Markdown."""

from __future__ import annotations

import os
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from harness.errors import printable
from harness.report import appendix_typst, html, markdown, tree_pictures
from harness.report.contents import ReportContents, contents

GOLDEN = Path(__file__).parent / "golden" / "report.md"


def test_it_is_the_golden_file(report: ReportContents) -> None:
    """Every line up to the glossary, whose words are the metrics' own; HARNESS_GOLDEN=write writes it anew."""
    shown = markdown.render(report).split("\n## Glossary")[0]
    if os.environ.get("HARNESS_GOLDEN") == "write":
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(shown, encoding="utf-8")
    assert shown == GOLDEN.read_text(encoding="utf-8")


def test_hostile_strings_are_words(report: ReportContents) -> None:
    """No tag, no cell of its own, no link, no end of the comment comes from data."""
    text = markdown.render(report)
    assert "<script>" not in text
    assert text.count("-->") == 1
    assert text.endswith(" -->\n")
    assert r"\| \`\*\_\[x\](javascript:1)\_\*\`" in text


def test_every_row_has_the_columns_of_its_head(report: ReportContents) -> None:
    """A pipe in a name or a reason is escaped, so that no row is wider than its table."""
    width = 0
    for line in markdown.render(report).splitlines():
        cells = line.replace(r"\|", "").count("|")
        if not line.startswith("|"):
            width = 0
        elif width == 0:
            width = cells
        else:
            assert cells == width, line


def test_without_evidence_it_says_so() -> None:
    """An empty report is a document too."""
    assert "There is no evidence to show." in markdown.render(contents([], made_at="now", harness_version="0"))


@given(text=st.text())
def test_no_text_is_markup(text: str) -> None:
    """Whatever it is: no tag, no cell, no link, no heading, nothing that is obeyed and not shown."""
    for made in (markdown.escape(text), markdown.escape_within(text)):
        assert not set("<>") & set(made)
        assert re.search(r"(?<!\\)(?:\\\\)*[|`*_\[\]~#$]", made) is None
        assert printable(made) == made
    assert re.match(r"([-+=#]|\d+[.)])(\s|$)|[-=]{2}", markdown.escape(text)) is None
    assert printable(markdown.code(text)) == markdown.code(text)
    assert markdown.code(text).count("`") == 2


@given(text=st.text())
def test_no_text_is_an_instruction_of_another_format(text: str) -> None:
    """A page's words, a string of Typst, a label of Mermaid: nothing ends them, nothing in them is obeyed."""
    page = html._environment().from_string("<p title='{{ text }}'>{{ text }}</p>").render(text=text)
    assert page.count("<") == 2
    assert page.count("'") == 2
    assert printable(page) == page
    typst = appendix_typst._quoted(text)
    assert re.fullmatch(r'"(?:[^"\\\n]|\\.)*"', typst, re.DOTALL)
    assert printable(typst) == typst
    label = tree_pictures._escaped(text)
    assert not set('"<>`\n') & set(label)
