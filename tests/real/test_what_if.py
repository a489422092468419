"""The page's sliders rank by the same rules as the engine: both over random settings, the page's in a real browser."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness import paths
from harness.methods import METHODS
from harness.recommend import validation
from harness.report import facts, what_if
from harness.spec import scenario as scenarios
from harness.spec.scenario import Scenario
from harness.store import query, runs
from harness.store.query import Evidence

SETTINGS = 500
SEED = 20261124


def random_setting(chance: random.Random, scenario: Scenario) -> dict[str, Any]:
    """Sliders at random: every decade as likely as another, and now and then a weight of 0 or no limit."""
    weights = [chance.choice([0.0, chance.random(), chance.random()]) for _ in scenario.objectives]
    return {
        "per_day": 10 ** chance.uniform(0, 7),
        "memory_mb": None if chance.random() < 0.3 else round(10 ** chance.uniform(1.5, 4.8)),
        "link_mbit": 10 ** chance.uniform(-2, 4),
        "weights": weights if any(weights) else [1.0 for _ in weights],
    }


def as_scenario(scenario: Scenario, setting: dict[str, Any]) -> Scenario:
    """The scenario with the sliders where they are."""
    objectives = tuple(
        dataclasses.replace(one, weight=weight)
        for one, weight in zip(scenario.objectives, setting["weights"], strict=True)
    )
    target = dataclasses.replace(scenario.target, memory_mb=setting["memory_mb"], link_mbit=setting["link_mbit"])
    traffic = dataclasses.replace(scenario.traffic, requests_per_day=setting["per_day"])
    return dataclasses.replace(scenario, objectives=objectives, target=target, traffic=traffic)


def in_browser(browser: str, tmp_path: Path, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the page's script makes of each case, in headless Chromium."""
    script = (Path(what_if.__file__).parent / "templates" / "what_if.js").read_text(encoding="utf-8")
    page = tmp_path / "page.html"
    page.write_text(
        '<!doctype html><meta charset="utf-8"><pre id="out"></pre>'
        f'<script type="application/json" id="cases">{facts.embedded({"cases": cases})}</script>'
        f"<script>{script}\n"
        'const given = JSON.parse(document.getElementById("cases").textContent).cases;\n'
        "const told = given.map(({ what, set }) => { const { ranked, excluded } = whatIf.rank(what, set);\n"
        "  return { ranked: ranked.map((one) => [one.method, one.value]),\n"
        "           excluded: excluded.map((one) => one.method) }; });\n"
        'document.getElementById("out").textContent = JSON.stringify(told);</script>',
        encoding="utf-8",
    )
    argv = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*argv, "--virtual-time-budget=60000", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
        env={**os.environ, "TMPDIR": "/tmp"},  # it makes a socket there, whose path must be short
    )
    text = done.stdout.partition('<pre id="out">')[2].partition("</pre>")[0]
    found: list[dict[str, Any]] = json.loads(text)
    return found


def reference() -> list[Evidence]:
    """What travels with the harness."""
    home = paths.data("results") / "reference"
    return [one for run_id in runs.run_ids(home) for one in query.evidences(home, run_id)]


def test_the_page_ranks_as_the_engine_does(browser: str, tmp_path: Path) -> None:
    """Over random settings: the same methods left in, in the same order, worth the same to the ninth digit."""
    chance = random.Random(SEED)
    evidences, names = reference(), scenarios.names()
    cases, expected = [], []
    for _ in range(SETTINGS):
        evidence, scenario = chance.choice(evidences), scenarios.find(chance.choice(names))
        setting = random_setting(chance, scenario)
        cases.append({"what": facts.as_dict(what_if.of(evidence, scenario, METHODS)), "set": setting})
        # What the engine ranks by; how sure it is takes a thousand draws, and is not in the page.
        expected.append(validation.values(evidence, as_scenario(scenario, setting), METHODS))
    left = 0
    for case, known, told in zip(cases, expected, in_browser(browser, tmp_path, cases), strict=True):
        found = dict(told["ranked"])
        assert found == pytest.approx(known, abs=1e-9), case["set"]
        every = {one["method"] for one in case["what"]["candidates"]}
        assert set(told["excluded"]) == every - set(known), case["set"]
        values = [known[method] for method, _ in told["ranked"]]
        assert all(one >= other - 1e-9 for one, other in itertools.pairwise(values)), case["set"]
        left += len(found)
    assert left > SETTINGS
