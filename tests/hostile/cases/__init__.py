"""All hostile inputs: one module for each kind, each with a list ``CASES``."""

from __future__ import annotations

from hostile.campaign import Case, by_name
from hostile.cases import builds, conda, folders, locks, mlflow, models, results, scenarios, training, wheels

CASES: list[Case] = [
    case
    for module in (models, training, wheels, locks, builds, conda, folders, mlflow, results, scenarios)
    for case in module.CASES
]
by_name(CASES)
