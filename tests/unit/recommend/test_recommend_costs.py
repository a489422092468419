"""Costs: by hand, at the ends of the rates, and with what is missing; the shipped price table is whole."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BadInput
from harness.methods import METHODS
from harness.recommend import costs, engine, prices
from harness.recommend.costs import DAY_S, METRIC, MONTH_DAYS, Costing, Durations
from harness.recommend.prices import ByUse, Machine, Prices, Source, Step, Tariff
from harness.spec.scenario import Target

SOURCES = (Source(url="https://example.org", quote="1 USD", read_on="2026-01-01"),)
USED = ByUse(request=1e-6, gib_second=1e-5, rounded_s=0.001, kept_s=300)
FUNCTION = Tariff(platform="serverless", title="a function", region="r", by_use=USED, sources=SOURCES)
MACHINES = (
    Machine(name="small", memory_mb=1024, cpus=1, hour=0.01),
    Machine(name="large", memory_mb=4096, cpus=2, hour=0.05),
)
MACHINE = Tariff(platform="self-hosted", title="a machine", region="r", machines=MACHINES, sources=SOURCES)
TABLE = Prices(spec_version=1, currency="USD", tariffs=(FUNCTION, MACHINE))
TAKEN = Durations(cold_s=2.0, warm_s=0.1, per_second=10.0)
START, WARM = ("cold_start_s", "disk-cold"), ("latency_p50_s", "single-stream")


def at(per_day: float, tariff: Tariff = FUNCTION, memory_mb: int = 1024) -> costs.Cost:
    """The cost there."""
    found = costs.cost(tariff, memory_mb, TAKEN, per_day)
    assert found is not None
    return found


def test_a_function_by_hand() -> None:
    """One request a day finds nothing waiting: it pays for two seconds of a GiB, and for being asked."""
    share = math.exp(-300 / DAY_S)
    one = MONTH_DAYS * (1e-6 + 1e-5 * (share * 2.0 + (1 - share) * 0.1))
    assert at(1).month == pytest.approx(one)
    assert at(1).cold_share == pytest.approx(share)
    assert at(1, memory_mb=2048).month == pytest.approx(MONTH_DAYS * (1e-6 + 2e-5 * (share * 2.0 + (1 - share) * 0.1)))


def test_many_requests_are_warm() -> None:
    """At a million a day hardly one finds nothing waiting."""
    assert at(1e6).month == pytest.approx(1e6 * MONTH_DAYS * (1e-6 + 1e-5 * 0.1))
    assert at(1e6).cold_share == pytest.approx(0.0, abs=1e-9)


def test_durations_are_rounded_up() -> None:
    """As the platform does; what is a whole multiple stays."""
    coarse = replace(USED, rounded_s=0.1)
    assert [coarse.seconds(each) for each in (0.001, 0.1, 0.10001, 0.3)] == pytest.approx([0.1, 0.1, 0.2, 0.3])


def test_a_processor_is_charged_by_the_step() -> None:
    """The first that has the memory; None where none has."""
    steps = (Step(memory_mb=1024, cpus=1), Step(memory_mb=4096, cpus=2))
    used = replace(USED, cpu_second=1e-4, steps=steps)
    assert used.second(512) == pytest.approx(1e-5 / 2 + 1e-4)
    assert used.second(2048) == pytest.approx(2e-5 + 2e-4)
    assert used.second(8192) is None
    assert costs.cost(replace(FUNCTION, by_use=used), 8192, TAKEN, 1) is None


def test_machines_are_as_many_as_the_rate_needs() -> None:
    """Ten requests a second are one machine; a little more are two. It costs the same whether anybody asks."""
    month = 24 * MONTH_DAYS
    assert at(0, MACHINE).month == at(10 * DAY_S, MACHINE).month == pytest.approx(0.01 * month)
    found = at(10 * DAY_S + 1, MACHINE)
    assert (found.machines, found.machine, found.month) == (2, "small", pytest.approx(0.02 * month))
    assert at(1, MACHINE, memory_mb=1025).machine == "large"
    assert costs.cost(MACHINE, 8192, TAKEN, 1) is None


@given(st.floats(1, 1e7), st.floats(1, 1e7))
def test_more_requests_cost_no_less(one: float, other: float) -> None:
    """On machines; and with functions, though cold ones become fewer."""
    low, high = sorted((one, other))
    for tariff in (FUNCTION, MACHINE):
        assert at(low, tariff).month <= at(high, tariff).month * (1 + 1e-9)


@pytest.fixture
def measured(make: Any) -> Any:
    """Evidence on a function and a machine, and those as methods."""
    methods = {
        "function": make.packager("function", "serverless"),
        "machine": make.packager("machine", "virtual-environment"),
        "elsewhere": make.packager("elsewhere", "cloud-platform"),
    }
    platforms = {"function": "serverless, somewhere", "machine": "self-hosted", "elsewhere": "unheard of"}
    methods = {
        name: replace(method, LAYERS=replace(method.LAYERS, platform=platforms[name]))
        for name, method in methods.items()
    }
    evidence = make.evidence(
        {
            "function": {START: [1.9, 2.0, 2.1], WARM: [0.1]},
            "machine": {START: [1.0, 1.1, 1.2], WARM: [0.1], ("throughput_per_s", "saturation"): [10.0]},
            "elsewhere": {START: [1.0]},
        }
    )
    manifest = replace(evidence.manifest, models={"m": {"memory_mb": 1024}})
    return replace(evidence, manifest=manifest), methods


def test_a_cost_is_a_value_like_any_other(measured: Any) -> None:
    """Modelled, by round, with an interval where durations vary; absent with a reason."""
    evidence, methods = measured
    found = costs.priced(evidence, methods, 1.0, TABLE)
    function, machine = found.value("function", METRIC), found.value("machine", METRIC)
    assert (function.fidelity, machine.fidelity) == ("modelled", "modelled")
    assert function.interval.median == pytest.approx(at(1).month)
    assert function.interval.low < function.interval.median < function.interval.high
    assert machine.interval.exact
    assert machine.interval.median == at(1, MACHINE).month
    absent = found.value("elsewhere", METRIC)
    assert (absent.interval, absent.why_absent) == (None, "no price of unheard of is known")


def test_what_is_not_known_has_no_cost(measured: Any, make: Any) -> None:
    """A method that was not measured, memory that nobody noted, a start that was not taken, a model too large."""
    evidence, methods = measured
    assert costs.priced(evidence, {"pex": methods["machine"]}, 1.0, TABLE).value("pex", METRIC) is None
    nowhere = replace(evidence, manifest=replace(evidence.manifest, models={}))
    assert "memory" in costs.priced(nowhere, methods, 1.0, TABLE).value("machine", METRIC).why_absent
    large = replace(evidence, manifest=replace(evidence.manifest, models={"m": {"memory_mb": 9999}}))
    assert "9999 MB" in costs.priced(large, methods, 1.0, TABLE).value("machine", METRIC).why_absent
    bare = make.evidence({"machine": {}})
    bare = replace(bare, manifest=replace(bare.manifest, models={"m": {"memory_mb": 64}}))
    assert "disk-cold" in costs.priced(bare, methods, 1.0, TABLE).value("machine", METRIC).why_absent


def test_an_older_run_noted_the_memory_of_its_artifacts(measured: Any) -> None:
    """Of the method's own, or of another of the same model."""
    evidence, _ = measured
    manifest = replace(evidence.manifest, models={}, artifacts={"m/function": {"memory_mb": "512"}})
    assert costs.memory_of(replace(evidence, manifest=manifest), "machine") == 512


def test_what_was_not_measured_under_load_is_stood_in_for(make: Any) -> None:
    """By the requests after the first, by that one, and by the start itself; never by more than the start."""
    after = {("warm_request_s", "page-warm"): [0.1], ("phase_prediction_s", "page-warm"): [0.5]}
    warm = costs.by_round(make.evidence({"a": {START: [2.0], **after}}), "a")[0]
    assert (warm.warm_s, warm.per_second, warm.by) == (0.1, 10.0, "")
    first = make.evidence({"a": {START: [2.0], ("phase_prediction_s", "page-warm"): [0.5]}})
    assert costs.by_round(first, "a")[0].warm_s == 0.5
    assert "first prediction" in costs.by_round(first, "a")[0].by
    none = make.evidence({"a": {START: [2.0]}})
    assert (costs.by_round(none, "a")[0].warm_s, costs.by_round(none, "a")[0].per_second) == (2.0, 0.5)
    slow = make.evidence({"a": {START: [2.0], WARM: [3.0]}})
    assert costs.by_round(slow, "a")[0].warm_s == 2.0


def test_where_the_cheapest_changes(measured: Any) -> None:
    """A function below, a machine beyond; where they meet they cost the same."""
    evidence, methods = measured
    costing = Costing(evidence, methods, TABLE)
    assert costing.methods == ("function", "machine")
    below, beyond = costing.cheapest()
    assert (below.method, below.above, beyond.method, beyond.below) == ("a function", None, "a machine", None)
    assert below.below == beyond.above
    assert below.below is not None
    assert costing.month("function", below.below) == pytest.approx(costing.month("machine", below.below), rel=0.01)
    assert below.text.startswith("a function costs least below ")
    assert costing.month("elsewhere", 1.0) is None
    assert Costing(evidence, {"machine": methods["machine"]}, TABLE).cheapest() == ()
    assert Costing(evidence, {}, TABLE).cheapest() == ()


def test_the_rate_flips_the_decision(make: Any) -> None:
    """Where money is all that counts the leader changes where the cheapest does; else it need not change at all."""
    two = {name: METHODS[name] for name in ("lambda-zip", "venv")}
    measured = {START: [1.9, 2.0, 2.1], WARM: [0.1], "packed_bytes": [50.0]}
    evidence = make.evidence({"lambda-zip": measured, "venv": {**measured, "packed_bytes": [2.0]}})
    evidence = replace(evidence, manifest=replace(evidence.manifest, models={"m": {"memory_mb": 1024}}))
    both = Target(has=("python", "aws"))
    money = make.scenario(make.objective(METRIC, best=0.001, worst=1000.0), target=both)
    found = engine.recommend(evidence, money, two)
    assert [flip.method for flip in found.rates] == ["lambda-zip", "venv"]
    [at] = {flip.below for flip in found.rates if flip.below}
    assert at == Costing(evidence, two).cheapest()[0].below
    other = make.scenario(make.objective(), make.objective(METRIC, weight=1e-9), target=both)
    assert engine.recommend(evidence, other, two).rates == ()


def test_the_shipped_prices_are_whole() -> None:
    """Every method's platform has one, each with a source that was read on a day."""
    table = prices.shipped()
    for method in METHODS.values():
        tariff = table.of(method.LAYERS.platform)
        assert tariff is not None, method.ID
        assert all(source.url.startswith("https://") and source.quote for source in tariff.sources)
    assert table.of("nowhere") is None
    assert table.read_on[0] >= "2026-11-24"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (("spec_version = 1", "spec_version = 2"), "spec_version"),
        (("[tariffs.by_use]", "[tariffs.unheard]"), "tariffs.0.unheard"),
        (("request = 0.0000002", "request = -1"), "tariffs.0.by_use.request"),
        (
            (
                'platform = "self-hosted"',
                'platform = "self-hosted"\nby_use = { request = 0, gib_second = 0, rounded_s = 1, kept_s = 0 }',
            ),
            "tariffs.5",
        ),
        (("memory_mb = 4096, cpus = 1 }", "memory_mb = 9999, cpus = 1 }"), "tariffs.1.by_use.steps"),
    ],
)
def test_a_table_that_is_wrong_is_refused(tmp_path: Path, change: tuple[str, str], key: str) -> None:
    """By file and key."""
    text = Path(prices.__file__).with_name("prices.toml").read_text()
    assert change[0] in text
    file = tmp_path / "prices.toml"
    file.write_text(text.replace(*change, 1))
    with pytest.raises(BadInput) as error:
        prices.read(file)
    assert (error.value.file, error.value.key) == (file, key)
