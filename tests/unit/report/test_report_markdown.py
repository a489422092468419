"""The report as Markdown."""

from __future__ import annotations

import os
from pathlib import Path

from harness.report import markdown
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
