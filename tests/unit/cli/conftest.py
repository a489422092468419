"""What tests of the command line share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Generate = Callable[[Path, Mapping[str, Callable[[], str]]], None]


@pytest.fixture
def up_to_date() -> Generate:
    """Holds the parts of a document between ``<!-- NAME -->`` and ``<!-- end -->`` against what makes them.

    ``HARNESS_GOLDEN=write`` writes them anew.
    """

    def hold(document: Path, parts: Mapping[str, Callable[[], str]]) -> None:
        text = document.read_text(encoding="utf-8")
        fresh = re.sub(
            rf"<!-- ({'|'.join(parts)}) -->\n.*?<!-- end -->",
            lambda found: f"<!-- {found[1]} -->\n\n{parts[found[1]]()}\n\n<!-- end -->",
            text,
            flags=re.DOTALL,
        )
        assert len(re.findall("<!-- end -->", text)) == len(parts)
        if os.environ.get("HARNESS_GOLDEN") == "write":
            document.write_text(fresh, encoding="utf-8")
        assert fresh == document.read_text(encoding="utf-8"), "HARNESS_GOLDEN=write writes these parts anew"

    return hold
