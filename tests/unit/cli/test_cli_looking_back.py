"""``harness changes`` and ``harness decision-tree``: what they print, for people and for machines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.recommend import tree
from harness.store import history
from harness.store.history import Change, Night
from harness.store.records import Manifest

Harness = Callable[..., Any]

MANIFEST = Manifest(schema_version=1, run_id="", created_at="", finished_at=None, harness_version="1", plan={}, host={})
NIGHTS = [Night(run_id=f"night-{n}", manifest=MANIFEST, evidences={}, sentinel_s=0.1) for n in range(6)]


def change(**more: Any) -> Change:
    """A slower start."""
    known = {
        "model": "digits-forest",
        "method": "pex",
        "metric": "cold_start_s",
        "state": "page-warm",
        "since": "night-4",
        "nights_before": 4,
        "nights_after": 2,
        "before": 0.5,
        "after": 0.7,
        "ratio": 1.4,
        "worse": True,
        "recurs": True,
        "noise": 1.03,
        "sentinel": 1.01,
        "new": ("pex: 2.1 -> 2.2",),
    }
    return Change(**{**known, **more})


def test_without_nights_it_is_said_how_to_take_one(harness: Harness, tmp_path: Path) -> None:
    """And nothing is said to have changed."""
    found = harness("changes", "--results", str(tmp_path))
    assert (found.code, "0 nights" in found.out, "--profile nightly" in found.out) == (0, True, True)
    assert harness("changes", "--results", str(tmp_path), "--json").json == {
        "nights": [],
        "changes": [],
        "seen_once": 0,
    }


def test_a_change_is_told_with_what_else_was_new(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only the last night has is counted, and told when it is asked for."""
    once = change(method="venv", recurs=False, ratio=float("inf"), before=0.0, noise=None)
    monkeypatch.setattr(history, "nights", lambda _folder, _left_out: NIGHTS)
    monkeypatch.setattr(history, "changes", lambda _: [change(), once])
    text = " ".join(harness("changes").out.split())
    for part in (
        "500 ms",
        "700 ms",
        "1.40× worse",
        "night-4",
        "New in run night-4: pex: 2.1 -> 2.2",
        "1 more were seen",
    ):
        assert part in text
    assert "seen once" in harness("changes", "--all").out
    assert "Nothing has changed" in harness("changes", "spam-bayes").out
    table = harness("changes", "--all", "--json").json
    assert [one["ratio"] for one in table["changes"]] == [1.4, None]
    assert table["seen_once"] == 1


def test_the_decision_tree_is_drawn(harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the reference results: as Mermaid on the terminal, as SVG in a file, whole for machines."""
    for name, cases in (("fitted", 200), ("held", 150)):
        monkeypatch.setitem(tree.grow.__kwdefaults__, name, cases)
    asked = ("decision-tree", "--scenario", "infrequent-use", "--depth", "2")
    found = harness(*asked)
    assert found.out.startswith("flowchart LR\n")
    assert "it leads to the same method in" in found.err
    out = tmp_path / "tree.svg"
    table = harness(*asked, "--out", str(out), "--json").json  # the suffix says which format is meant
    assert out.read_text(encoding="utf-8") == table["svg"]
    assert table["svg"].startswith("<svg")
    assert table["tree"]["fidelity"]["cases"] > 100
    assert "mermaid" in harness(*asked, "--format", "mermaid", "--out", str(out), "--json").json


def test_a_tree_needs_runs_and_a_place(harness: Harness, tmp_path: Path) -> None:
    """Both are said with a remedy."""
    nothing = harness("decision-tree", "--results", str(tmp_path))
    assert (nothing.code, "there is no run" in nothing.err) == (2, True)
    nowhere = harness(
        "decision-tree", "--scenario", "infrequent-use", "--depth", "1", "--out", str(tmp_path / "no" / "t")
    )
    assert (nowhere.code, "cannot be written" in nowhere.err) == (2, True)
