"""``docs/scenarios.md`` against the files and the table of capabilities.

``HARNESS_GOLDEN=write`` writes the generated parts anew.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from harness.methods import METHODS
from harness.recommend import words
from harness.spec import scenario
from harness.spec.capabilities import CAPABILITIES, QUALITIES, Capability

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "scenarios.md"


def all_scenarios() -> str:
    """A row for each file."""
    lines = ["| scenario | what it is | article's case | requests | methods left |", "| --- | --- | --- | --- | --- |"]
    for name in scenario.names():
        one = scenario.find(name)
        left = [
            method
            for method, module in METHODS.items()
            if set(one.target.has) >= module.REQUIRES and set(one.needs) <= module.PROVIDES
        ]
        asked = f"{one.traffic.pattern}, {one.traffic.requests_per_day:,.12g} a day"
        said = f"{len(left)} of {len(METHODS)}" if len(left) > 1 else left[0]
        lines.append(f"| `{name}` | {one.title} | {one.article_case.replace('-', ' ')} | {asked} | {said} |")
    return "\n".join(lines)


def facilities() -> str:
    """What a target can have, and who requires it."""
    lines = ["| `has` | what that is | required by |", "| --- | --- | --- |"]
    for name, meaning in words.FACILITIES.items():
        requiring = [f"`{method}`" for method, module in METHODS.items() if name in module.REQUIRES]
        lines.append(f"| `{name}` | {meaning} | {', '.join(requiring)} |")
    return "\n".join(lines)


def qualities() -> str:
    """What each means, and who has it."""
    lines = ["| `needs` | it has to … | methods that have it |", "| --- | --- | --- |"]
    for quality, meaning in QUALITIES.items():
        have = [f"`{method}`" for method, module in METHODS.items() if quality in module.PROVIDES]
        lines.append(f"| `{quality}` | {meaning} | {'every one' if len(have) == len(METHODS) else ', '.join(have)} |")
    return "\n".join(lines)


def statements() -> str:
    """Every row of the table, by quality, with the methods that it decides about."""
    sources: list[str] = []
    lines = []
    for quality, rows in CAPABILITIES.items():
        lines.append(f"**`{quality}`**\n")
        for row in rows:
            source = f"{row.source}, read {row.read_on}"
            if source not in sources:
                sources.append(source)
            about = "has it" if row.has else "lacks it"
            layers = ", ".join(f"`{layer}`" for layer in row.layers)
            lines.append(f"- {layers}: {about}; {row.statement} ({sources.index(source) + 1})")
        lines.append("")
    lines += [f"{place}. {source}" for place, source in enumerate(sources, start=1)]
    return "\n".join(lines)


PARTS = {"scenarios": all_scenarios, "facilities": facilities, "qualities": qualities, "statements": statements}


def test_generated_parts_are_up_to_date(up_to_date: Any) -> None:
    """The scenarios, what a target can have, the qualities, and all that is stated of them."""
    up_to_date(DOCUMENT, PARTS)


def test_the_example_is_a_scenario(tmp_path: Path) -> None:
    """What the document shows can be read, and has every key that there is."""
    [example] = re.findall(r"^```toml\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    file = tmp_path / "my-scenario.toml"
    file.write_text(example, encoding="utf-8")
    one = scenario.read(file)
    table = tomllib.loads(example)
    assert set(table) == set(vars(one))
    for key, record in (("target", one.target), ("traffic", one.traffic), ("objectives", one.objectives[0])):
        given = table[key][0] if key == "objectives" else table[key]
        assert set(given) == set(vars(record))


@pytest.mark.parametrize("row", [row for rows in CAPABILITIES.values() for row in rows])
def test_what_is_stated_stands_in_the_document(row: Capability) -> None:
    """With its source and its date; 'self-hosted' is defined where rows refer to it."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert row.statement in text
    assert f"{row.source}, read {row.read_on}" in text
    assert "*Self-hosted*" in text
