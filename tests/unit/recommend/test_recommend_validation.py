"""Decision quality: the best chooser has no regret, halves share no round, and the targets are those of the design."""

from __future__ import annotations

import random
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from harness.calibrate.fit import Fitter
from harness.methods import METHODS
from harness.recommend import validation
from harness.spec import scenario as scenarios

START = ("cold_start_s", "disk-cold")
NAMES = ("venv", "pex", "container")


@pytest.fixture
def evidences(make: Any) -> list[Any]:
    """Two models; what is quickest is another method each time, in every round."""

    def one(model: str, quickest: str) -> Any:
        measured = {
            name: {
                START: [(1.0 if name == quickest else 2.0) + 0.01 * number for number in range(8)],
                "packed_bytes": [1e7],
                "unpacked_bytes": [1e7],
                "cpu_to_first_s": [1.0],
                ("peak_resident_bytes", "disk-cold"): [1e8],
            }
            for name in NAMES
        }
        found = make.evidence(measured)
        manifest = replace(found.manifest, models={model: {"memory_mb": 512}})
        values = tuple(replace(value, model=model) for value in found.values)
        return replace(found, model=model, manifest=manifest, values=values)

    return [one("a", "pex"), one("b", "venv")]


def study(evidences: list[Any], **families: str) -> Any:
    """As much of a study as is looked at; no calibration can be fitted from it."""
    profiles = {name: SimpleNamespace(family=family) for name, family in families.items()}
    none = SimpleNamespace(profiles={}, values={}, memory_mb={}, sources=(), host={}, sentinel_s=1.0, run_of={})
    return SimpleNamespace(profiles=profiles, values={}, memory_mb={}, without=lambda _: none)


def test_halves_have_every_round_once(evidences: list[Any]) -> None:
    """What is not of a round is in both."""
    mine, others = validation.halves(random.Random(1), evidences[0])
    one, other = (set(half.value("venv", *START).by_round) for half in (mine, others))
    assert one | other == set(range(8))
    assert one & other == set()
    assert mine.value("venv", "packed_bytes") == others.value("venv", "packed_bytes")


def test_who_measures_has_no_regret_here(evidences: list[Any]) -> None:
    """The order is the same in every round; the single best is the other model's, and always wrong."""
    wanted = [scenarios.find("infrequent-use")]
    methods = {name: METHODS[name] for name in NAMES}
    fitter = Fitter(study(evidences, a="one", b="two"))
    found = {one.chooser: one for one in validation.decisions(fitter, evidences, wanted, methods, splits=3)}
    assert found["measurements"].regret == 0
    assert (found["measurements"].top_1, found["measurements"].top_2) == (1, 1)
    assert found["measurements"].gap_closed == 1
    assert found["single best"].regret > 0
    assert found["single best"].top_1 == 0
    assert found["single best"].gap_closed == 0
    assert 0 <= found["article"].top_1 <= found["article"].top_2 <= 1
    assert "profile" not in found
    assert {one.cases for one in found.values()} == {6}


def test_the_simple_rule_is_best_on_the_mean(evidences: list[Any]) -> None:
    """Of two models with another quickest method each, the third is worse than both on the mean."""
    found = validation.on_the_mean(evidences, scenarios.find("infrequent-use"), {name: METHODS[name] for name in NAMES})
    means = dict(found)
    assert [mean for _, mean in found] == sorted(means.values(), reverse=True)
    assert set(means) == set(NAMES)
    assert means["pex"] == pytest.approx(means["venv"])
    assert found[-1][0] == "container"
    assert validation.on_the_mean([], scenarios.find("infrequent-use"), METHODS) == []


def test_a_choice_that_is_ruled_out_is_worth_nothing() -> None:
    """And one that is as good as the best is the best."""
    truth = {"pex": 0.5, "venv": 0.5, "container": 0.2}
    assert validation._regret([(truth, ["lambda-zip"])]) == 0.5
    assert validation._regret([(truth, [])]) == 0.5
    assert validation._among(truth, ["venv"])
    assert not validation._among(truth, ["container"])


def test_targets() -> None:
    """Of every chooser, said or none."""
    assert set(validation.TARGETS) == set(validation.CHOOSERS)
