"""Every hostile input, and that it was held: see :mod:`hostile.campaign` for what that means."""

from __future__ import annotations

import pytest
from hostile import campaign
from hostile.campaign import Case
from hostile.cases import CASES
from hostile.ground import Witness


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_held(case: Case, needed: None, witness: Witness) -> None:
    """Nothing leaked, ran with rights, stayed, hung or crashed; and what was wrong was said."""
    complaints = campaign.tried(case, witness)
    if complaints:
        pytest.fail("\n  - ".join([f"{case.name} was not held:", *complaints]), pytrace=False)
