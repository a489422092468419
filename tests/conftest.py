"""What every test shares: hypothesis keeps nothing on disk, draws the same examples each time, and times nothing."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "harness",
    database=None,
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("harness")
