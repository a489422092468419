"""What models are kept from, and who they run as. Nothing is put in bounds here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import sandbox
from harness.sandbox import Abilities


def test_what_is_not_enforced_is_said() -> None:
    """Each ability that lacks is a sentence for the reader; where all are there, nothing is said."""
    assert Abilities(network=True, unprivileged_user=True, control_group="v2").missing() == []
    found = Abilities(network=False, unprivileged_user=False, control_group=None).missing()
    assert len(found) == 3
    assert "network" in found[0]
    assert "psutil" in found[2]


def test_models_run_unprivileged_where_they_can_reach_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root gives its rights away, unless the artifact would be out of reach; others have none to give."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(sandbox.paths, "walkable_by_others", lambda path: path != tmp_path)
    assert sandbox.user_for(Path("/usr")) == sandbox.UNPRIVILEGED_ID
    assert sandbox.user_for(Path("/usr"), tmp_path) is None
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert sandbox.user_for(Path("/usr")) is None
