"""."""

from hostile.campaign import Case

CASES: list[Case] = []
