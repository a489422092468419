"""How busy the machine was."""

from __future__ import annotations

import pytest

from harness.measure import host
from harness.measure.host import Calm


def test_what_happened_in_between() -> None:
    """Shares of the time from one moment to the next."""
    before = Calm(at_s=10.0, stolen=5.0, ticks=1000.0, stalled_us={"cpu": 100, "io": 0})
    after = Calm(at_s=12.0, stolen=25.0, ticks=1400.0, stalled_us={"cpu": 500_100, "io": 2_000_001, "memory": 7})
    assert after.since(before) == {
        "steal_share": pytest.approx(0.05),
        "pressure_cpu_share": pytest.approx(0.25),
        "pressure_io_share": 1.0,  # the kernel rounds; nothing waits for longer than the time itself
    }


def test_what_the_kernel_does_not_tell_is_left_out() -> None:
    """No pressure, no ticks, no time: nothing is made up."""
    assert Calm(at_s=1.0, stolen=0.0, ticks=0.0).since(Calm(at_s=1.0, stolen=0.0, ticks=0.0)) == {}


def test_this_machine_tells() -> None:
    """Time and CPU time go on."""
    first, second = host.calm(), host.calm()
    assert second.at_s >= first.at_s
    assert second.ticks >= first.ticks > 0
