"""The parts that a run can have besides builds, installations and starts."""

from __future__ import annotations

from collections.abc import Mapping

from harness.measure import load, memory_limit, portability, rebuild
from harness.measure.part import Part

#: By the name that plans and ``--part`` use, in the order in which they are taken.
TABLE: Mapping[str, Part] = {part.name: part for part in (rebuild.PART, memory_limit.PART, portability.PART, load.PART)}
