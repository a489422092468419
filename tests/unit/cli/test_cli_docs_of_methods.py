"""``docs/methods.md`` against the methods: none is missing, and limits and commands are those of the code.

``HARNESS_GOLDEN=write`` writes the generated parts anew, and puts the sections in the order of ``METHODS``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from harness.cli import manuals
from harness.methods import METHODS
from harness.methods.contract import Limit

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "methods.md"
MODEL = "digits-forest"
HELD = {"packed_bytes": "packed size", "unpacked_bytes": "unpacked size", "": ""}


def limits(method: str) -> str:
    """The method's limits as a table, their sources below it."""
    found = METHODS[method].LIMITS
    if not found:
        return "Its platform states none that it has to keep."
    sources = list(dict.fromkeys((each.source, each.read_on) for each in found))
    lines = ["| limit | value | held against | source |", "| --- | ---: | --- | ---: |"]
    for each in found:
        place = sources.index((each.source, each.read_on)) + 1
        lines.append(f"| {each.name} | {amount(each)} | {HELD[each.metric]} | {place} |")
    lines.append("")
    lines += [f"{place}. {source}, read {read_on}" for place, (source, read_on) in enumerate(sources, start=1)]
    return "\n".join(lines)


def amount(limit: Limit) -> str:
    """A limit's value with its unit."""
    return f"{limit.value:,.15g} {limit.unit}"


def by_hand(method: str) -> str:
    """What a package's README says, for the model of the examples."""
    manual = manuals.MANUALS[method]
    files = [name.format(model=MODEL) for name in manual.files]
    values = {
        "model": MODEL,
        "version": "1.0.0",
        "file": files[0],
        "more_file": files[-1],
        "image": f"ml-packaging-harness/{MODEL}:TAG",
        "python": "3.11",
        "python_flat": "311",
        "architecture": "x86_64",
        "asked": manual.asked,
        "answered": manual.answered,
    }
    return manuals.by_hand(method, values)


def test_generated_parts_are_up_to_date() -> None:
    """Limits with value, source and date; commands as every package has them."""
    text = DOCUMENT.read_text(encoding="utf-8")

    def made(found: re.Match[str]) -> str:
        what, method = found[1], found[2]
        if what == "limits" and method not in METHODS:
            return found[0]
        body = limits(method) if what == "limits" else by_hand(method)
        return f"<!-- {what} {method} -->\n\n{body}\n\n<!-- end -->"

    head, *sections = re.split(r"(?=^## `)", text, flags=re.MULTILINE)
    order = {f"## `{method}`": place for place, method in enumerate(METHODS)}
    sections.sort(key=lambda section: order.get(section.partition("\n")[0], len(order)))
    text = head + "\n\n".join(section.strip() for section in sections) + "\n"
    fresh = re.sub(r"<!-- (limits|by hand) ([a-z-]+) -->\n.*?<!-- end -->", made, text, flags=re.DOTALL)
    if os.environ.get("HARNESS_GOLDEN") == "write":
        DOCUMENT.write_text(fresh, encoding="utf-8")
    assert fresh == DOCUMENT.read_text(encoding="utf-8"), "HARNESS_GOLDEN=write writes limits, commands, order anew"


def test_every_method_has_its_section_in_order() -> None:
    """In the order of the table of methods (HARNESS_GOLDEN=write sorts); nothing of a method without a manual."""
    sections = re.findall(r"^## `([a-z-]+)`$", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert [name for name in sections if name in METHODS] == list(METHODS)
    assert sorted(sections) == sorted(manuals.MANUALS)


@pytest.mark.parametrize("method", METHODS)
def test_a_section_is_whole(method: str) -> None:
    """What is built, what runs, what stands in for what; each limit with its value and date."""
    text = DOCUMENT.read_text(encoding="utf-8")
    found = re.search(rf"^## `{method}`$(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    assert found is not None
    section = found[1]
    for part in ("What is built", "What runs", "The platform's own, and stand-ins"):
        assert re.search(rf"^\*\*{part}\.\*\* \S", section, flags=re.MULTILINE), part
    for heading in (f"### Limits of `{method}`", f"### `{method}` by hand"):
        assert heading in section
    for limit in METHODS[method].LIMITS:
        assert amount(limit) in section
        assert limit.read_on in section
        assert limit.source in section
