"""What is said while something runs, where nobody sits at a terminal."""

from __future__ import annotations

import time

import pytest

from harness.cli import console


def test_a_log_hears_of_each_tenth_and_every_two_minutes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Enough to see that a night goes on, not a line for every start."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with console.progress() as tell:
        for done, after_s in enumerate([0.0, 1.0, 60.0, 60.0, 100.0, 1.0, 0.0]):
            now += after_s
            tell(f"step {done}", done, 60)
    said = capsys.readouterr().err.splitlines()
    assert said == ["[0/60] step 0", "[3/60] step 3", "[6/60] step 6"]
