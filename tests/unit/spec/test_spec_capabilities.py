"""The table of capabilities: whole, sourced, dated, and without contradictions."""

from __future__ import annotations

import re
import typing
from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from harness.spec import capabilities
from harness.spec.capabilities import CAPABILITIES, QUALITIES, Capability
from harness.spec.scenario import Quality

REPOSITORY = Path(__file__).resolve().parents[3]
ROWS = [
    pytest.param(row, id=f"{quality}-{row.layers[0]}".replace(" ", "-"))
    for quality in CAPABILITIES
    for row in CAPABILITIES[quality]
]


@dataclass(frozen=True)
class Made:
    """Layers of a made-up method."""

    environment: str = "made up"
    interface: str = "made up"
    platform: str = "made up"


def test_every_quality_is_explained_and_has_rows() -> None:
    """The closed set, the meanings and the table name the same qualities in the same order."""
    assert list(QUALITIES) == list(typing.get_args(Quality))
    assert list(CAPABILITIES) == list(QUALITIES)
    assert all(CAPABILITIES.values())
    assert all(QUALITIES.values())


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_a_statement_a_source_and_a_date(row: Capability) -> None:
    """The source is an address, or a document of this project that is there and has the heading that is named."""
    assert row.layers
    assert row.statement
    assert date.fromisoformat(row.read_on)
    for path in re.findall(r"(?:docs|tests)/[\w/]+\.(?:md|py)", row.source):
        assert (REPOSITORY / path).is_file()
    if "docs/methods.md" in row.source:
        text = (REPOSITORY / "docs" / "methods.md").read_text(encoding="utf-8")
        for heading in re.findall(r"'([^']+)'", row.source):
            assert heading in {"by hand", "container by hand"} or f"`{heading}`" in text or f"## {heading}" in text
    else:
        assert re.search(r"https://\S+\.\S+/\S+|docs/scenarios\.md", row.source), row.source


@pytest.mark.parametrize("quality", CAPABILITIES)
def test_no_layer_has_and_lacks_a_quality(quality: Quality) -> None:
    """Each layer stands once for a quality."""
    counted = Counter(layer for row in CAPABILITIES[quality] for layer in row.layers)
    assert {layer for layer, times in counted.items() if times > 1} == set()


def test_a_method_has_what_one_of_its_layers_has() -> None:
    """A handler says nothing of HTTP; the platform that calls it decides."""
    function = Made(environment="source folder", interface="function handler", platform="Google Cloud Functions")
    assert "http-api" in capabilities.given(function)
    assert "http-api" not in capabilities.given(Made(interface="function handler"))


def test_what_nobody_states_is_lacking() -> None:
    """Unknown layers have no quality, and nothing is stated of them."""
    assert capabilities.given(Made()) == frozenset()
    assert capabilities.about("isolated", Made()) == ()


def test_what_is_had_is_stated_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one layer lacks what another has, the one that decides comes first."""
    lacks = Capability(layers=("a",), has=False, statement="no", source="s", read_on="2026-01-01")
    has = Capability(layers=("b",), has=True, statement="yes", source="s", read_on="2026-01-01")
    monkeypatch.setattr(capabilities, "CAPABILITIES", {"isolated": (lacks, has)})
    layers = Made(environment="a", platform="b")
    assert [one.statement for one in capabilities.about("isolated", layers)] == ["yes", "no"]
    assert capabilities.given(layers) == {"isolated"}
