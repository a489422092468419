"""The pages are accessible: axe finds nothing serious in a report and in an appendix, in a real browser."""

from __future__ import annotations

import dataclasses
import html as escaping
import json
import os
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from harness import paths
from harness.cli import evidence
from harness.methods import METHODS
from harness.recommend import engine
from harness.report import appendix, write
from harness.report import contents as report_contents
from harness.report.contents import ReportContents, contents
from harness.spec import scenario as scenarios
from harness.store import query

#: Deque's rules, from the npm registry.
AXE = "axe-core@4.10.3"


@pytest.fixture(scope="module")
def axe(npm: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of axe."""
    folder = tmp_path_factory.mktemp("axe")
    subprocess.run([npm, "pack", "--silent", AXE], cwd=folder, check=True, capture_output=True, timeout=120)
    [archive] = folder.glob("*.tgz")
    with tarfile.open(archive) as tar:
        member = tar.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode("utf-8")


@pytest.fixture(scope="module")
def made() -> ReportContents:
    """A report on reference results: one model, two scenarios."""
    home = paths.data("results") / "reference"
    run_id = query.latest_run(home, "digits-forest")
    assert run_id is not None
    found = query.evidence(home, run_id, "digits-forest")
    wanted = {name: scenarios.find(name) for name in ("infrequent-use", "high-traffic-api")}
    advised = [engine.recommend(found, one, METHODS) for one in wanted.values()]
    return contents([found], advised, scenarios=wanted, made_at="now", harness_version="0")


@pytest.fixture(scope="module")
def many() -> ReportContents:
    """A report on so many models of the reference results that their parts are folded away."""
    home = paths.data("results") / "reference"
    found = evidence.of_every_model(home)[: report_contents.FOLDED + 1]
    assert len(found) > report_contents.FOLDED
    wanted = scenarios.find("infrequent-use")
    advised = [engine.recommend(one, wanted, METHODS) for one in found]
    return contents(found, advised, scenarios={wanted.name: wanted}, made_at="now", harness_version="0")


def violations(browser: str, page: str, axe: str, tmp_path: Path, *, width: int) -> list[dict[str, Any]]:
    """What axe finds serious or critical in the page, at that width."""
    # The page's own policy lets no other script run, so it is taken out; nothing else is changed.
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    ask = (
        "axe.run({ resultTypes: ['violations'] }).then((found) => { const out = document.createElement('pre'); "
        "out.id = 'axe-found'; out.textContent = JSON.stringify(found.violations.map(({ id, impact, help, nodes }) => "
        "({ id, impact, help, nodes: nodes.slice(0, 3).map((node) => node.html.slice(0, 200)) }))); "
        "document.body.append(out); });"
    )
    file = tmp_path / "page.html"
    file.write_text(bare.replace("</body>", f"<script>{axe}</script><script>{ask}</script></body>"), encoding="utf-8")
    argv = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={width},2000"]
    argv += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=60000", "--dump-dom", file.as_uri()]
    env = {**os.environ, "TMPDIR": "/tmp"}  # it makes a socket there, whose path must be short
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=True, env=env)
    text = done.stdout.partition('<pre id="axe-found">')[2].partition("</pre>")[0]
    found: list[dict[str, Any]] = json.loads(escaping.unescape(text))
    return [one for one in found if one["impact"] in {"serious", "critical"}]


@pytest.mark.parametrize(
    ("kind", "width"), [("report", 1280), ("report", 390), ("many", 1280), ("many", 390), ("appendix", 390)]
)
def test_nothing_serious_is_found(
    made: ReportContents, many: ReportContents, browser: str, axe: str, tmp_path: Path, kind: str, width: int
) -> None:
    """On a screen and on a phone."""
    record = appendix.of(dataclasses.replace(made, advice=made.advice[:1]))
    one = {"report": made, "many": many, "appendix": record}[kind]
    out = tmp_path / f"{kind}.html"
    write(one, "html", out)
    assert violations(browser, out.read_text(encoding="utf-8"), axe, tmp_path, width=width) == []
