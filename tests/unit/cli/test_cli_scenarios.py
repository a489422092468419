"""The command ``scenarios``: the list, one explained, a file of the user's own, and the help that teaches."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import paths
from harness.methods import METHODS
from harness.methods.contract import Availability
from harness.metrics import METRICS
from harness.spec import scenario as scenarios
from harness.spec.capabilities import QUALITIES

Harness = Callable[..., Any]


@pytest.fixture
def mine(tmp_path: Path) -> Callable[..., Path]:
    """A file of the user's own: a shipped one with something replaced."""

    def write(*changes: tuple[str, str]) -> Path:
        text = (paths.data("scenarios") / "managed-endpoint.toml").read_text(encoding="utf-8")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        file = tmp_path / "mine.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def flat(text: str) -> str:
    """Without the breaks that a table or a paragraph makes."""
    return " ".join(text.split())


def test_the_list_has_every_scenario_with_what_it_asks_for(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Title, case, requests, target and needs of each; how to see more."""
    monkeypatch.setenv("COLUMNS", "240")
    text = flat(harness("scenarios").out)
    for name in scenarios.names():
        assert name in text
    for part in ("An endpoint that a vendor looks after", "cloud platform", "bursty, 200,000 a day", "form-page"):
        assert part in text
    assert "'harness scenarios --help'" in text


@pytest.mark.parametrize("columns", [80, 120, 200])
@pytest.mark.parametrize("name", ["", "existing-system", "managed-endpoint"])
def test_it_fits_the_terminal(harness: Harness, monkeypatch: pytest.MonkeyPatch, name: str, columns: int) -> None:
    """No line is longer than it but the addresses of sources, which are copied; no name of a scenario is broken."""
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = harness("scenarios", *([name] if name else [])).out.splitlines()
    found = [line for line in lines if not re.match(r"\[\d+\] |'harness scenarios", line)]
    assert max(len(line.rstrip()) for line in found) <= max(columns, 120)
    if not name:
        assert all(any(line.startswith(f" {one} ") for line in lines) for one in scenarios.names())


def test_needs_are_shown_with_who_has_them(harness: Harness) -> None:
    """Each need in words, the methods that have it and lack it, why, the source and its date; and what is left."""
    found = harness("scenarios", "cost-capped-startup")
    text = flat(found.out)
    assert found.code == 0
    assert f"It has to {QUALITIES['scales-to-zero']} (scales-to-zero)" in text
    assert re.search(
        r"has it +lambda-zip, lambda-image +there is no charge while the code does not run +\[1\]", found.out
    )
    assert re.search(r"lacks it +vertex +at least one replica", found.out)
    assert re.search(r"^\[1\] https://aws\.amazon\.com/\S+, read 20\d\d-\d\d-\d\d$", found.out, flags=re.MULTILINE)
    assert "Target and needs leave 3 of 14 methods: lambda-zip, lambda-image, cloud-functions" in text
    assert "- venv, pex, rest-api: without python, scales-to-zero" in text


def test_a_scenario_without_needs_says_so(harness: Harness) -> None:
    """And shows target, traffic, the article's case, and each objective with its limit."""
    text = flat(harness("scenarios", "infrequent-use").out)
    for part in (
        "Needs: nothing in particular",
        "an account at Amazon Web Services and an account at Google Cloud; no limit of memory and no limit of disk",
        "Traffic: rare, 50 requests a day",
        "The article's case: serverless, for 'models that need to be invoked on-demand",
        "cold start, disk-cold 35 % 100 ms 30.0 s log 60.0 s",
        "azureml: without azure",
    ):
        assert part in text


def test_for_machines(harness: Harness) -> None:
    """What the file says, what each method lacks, and what is stated of each need and method."""
    table = harness("scenarios", "managed-endpoint", "--json").json
    assert table["needs"] == ["autoscaling", "managed-monitoring", "rollback"]
    assert {name for name, lacks in table["methods"].items() if not lacks} == {
        *("lambda-zip", "lambda-image", "cloud-functions", "sagemaker", "vertex", "azureml")
    }
    assert table["methods"]["container"] == ["container-engine", *table["needs"]]
    about = table["about_needs"]["rollback"]
    assert about["means"] == QUALITIES["rollback"]
    assert [one["method"] for one in about["statements"]] == list(METHODS)
    assert all(one["statement"] and one["source"] and one["read_on"] for one in about["statements"])
    assert {one["method"] for one in about["statements"] if one["has"]} == {
        name for name, method in METHODS.items() if "rollback" in method.PROVIDES
    }
    assert [one["name"] for one in harness("scenarios", "--json").json] == scenarios.names()


def test_a_file_of_ones_own_is_checked(harness: Harness, mine: Callable[..., Path]) -> None:
    """As those that travel with the harness: a misspelt need is named with file, key, value and what is meant."""
    assert harness("scenarios", mine()).code == 0
    file = mine(('"rollback"', '"roll-back"'))
    found = harness("scenarios", file)
    assert found.code == 2
    for part in (str(file), "'needs.2' = 'roll-back'", "did you mean 'rollback'?", "single-file", "scenarios --help"):
        assert part in found.err
    error = harness("scenarios", file, "--json").json["error"]
    assert (error["kind"], error["exit_code"]) == ("BadInput", 2)


def test_needs_that_leave_no_method_are_told(harness: Harness, mine: Callable[..., Path]) -> None:
    """The file is a scenario, but nothing can be recommended for it: exit code 1, and why for each method."""
    found = harness("scenarios", mine(('"rollback"', '"offline-install"')))
    assert found.code == 1
    assert "Target and needs leave no method" in found.out
    assert (
        "- lambda-zip, lambda-image, cloud-functions, sagemaker, vertex, azureml: without offline-install" in found.out
    )


def test_the_help_teaches_the_words(harness: Harness) -> None:
    """Every facility, quality and metric with what it means."""
    text = flat(harness("scenarios", "--help").out)
    for quality, meaning in QUALITIES.items():
        assert f"{quality} {meaning}" in text
    for facility in typing.get_args(scenarios.Facility):
        assert re.search(rf"{facility} an? \w", text)
    for metric in METRICS.values():
        assert (f"{metric.name} {metric.title}" in text) == (metric.of != "machine")
    assert "cold_start_s cold start (state: page-warm, disk-cold, node-cold)" in text
    assert "docs/scenarios.md" in text


@pytest.mark.parametrize("method", METHODS)
def test_a_method_shows_its_qualities(harness: Harness, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is stated of it, had or lacked, each with a source that is listed below."""
    monkeypatch.setattr(METHODS[method], "check", lambda: Availability(ready=True))
    text = harness("methods", method).out
    for quality in QUALITIES:
        word = "has it" if quality in METHODS[method].PROVIDES else "lacks it"
        [place] = re.findall(rf"^ {quality} +{word} .* \[(\d+)\] *$", text, flags=re.MULTILINE)
        assert re.search(rf"^\[{place}\] .*, read 20\d\d-\d\d-\d\d$", text, flags=re.MULTILINE)
    table = harness("methods", method, "--json").json
    assert [one["quality"] for one in table["qualities"]] == list(QUALITIES)
    assert [one["quality"] for one in table["qualities"] if one["has"]] == [q for q in QUALITIES if q in table["gives"]]
