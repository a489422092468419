"""Explanations: the weights at which the decision flips, and the limits that keep better methods out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.recommend import explain, value
from harness.recommend.limits import Exclusion

METRICS = ["packed_bytes", "install_s", "files", "build_clean_s"]
MEDIANS = st.lists(st.floats(1, 100), min_size=4, max_size=4)


def scored(make: Any, one: list[float], other: list[float], weights: list[float]) -> tuple[value.Score, value.Score]:
    """Winner and runner-up by value."""
    evidence = make.evidence(
        {name: {m: [x] for m, x in zip(METRICS, own, strict=False)} for name, own in (("a", one), ("b", other))}
    )
    objectives = [make.objective(m, w) for m, w in zip(METRICS, weights, strict=False)]
    first, second = sorted(
        (value.score(evidence, name, objectives) for name in "ab"), key=lambda s: s.value, reverse=True
    )
    return first, second


def lead(winner: value.Score, rival: value.Score, index: int, weight: float) -> float:
    """The winner's lead when criterion ``index`` has ``weight`` and the others keep their proportions."""
    rest = sum(c.weight for place, c in enumerate(winner.contributions) if place != index)
    weights = [
        weight if place == index else c.weight * (1 - weight) / rest for place, c in enumerate(winner.contributions)
    ]
    mine, theirs = (
        sum(w * c.worth for w, c in zip(weights, score.contributions, strict=True)) for score in (winner, rival)
    )
    return mine - theirs


def test_flip_by_hand(make: Any) -> None:
    """a: worths 1 and 0; b: 0 and 0.5. At weight t of the first, a has t and b 0.5 (1 - t): level at 1/3."""
    winner, rival = scored(make, [1.0, 100.0], [100.0, 10.0], [0.6, 0.4])
    assert winner.method == "a"
    size, install = explain.flips(winner, rival)
    assert size.at == pytest.approx(1 / 3)
    assert (size.side, size.rival) == ("below", "b")
    assert install.at == pytest.approx(2 / 3)
    assert install.side == "above"
    assert size.text == "packed size (weight 0.60): below 0.33, b leads"


def test_no_weight_flips_a_winner_that_is_better_in_all(make: Any) -> None:
    """Better everywhere, also where equal in one: no weight in [0, 1] puts the rival ahead."""
    winner, rival = scored(make, [2.0, 10.0], [3.0, 10.0], [0.5, 0.5])
    assert [flip.at for flip in explain.flips(winner, rival)] == [None, None]
    assert "no weight puts b ahead" in explain.flips(winner, rival)[0].text


def test_a_single_criterion_has_nothing_to_flip_against(make: Any) -> None:
    """With one criterion the weight is 1 whatever is said."""
    winner, rival = scored(make, [2.0], [3.0], [5.0])
    assert [flip.at for flip in explain.flips(winner, rival)] == [None]


@given(one=MEDIANS, other=MEDIANS, weights=st.lists(st.floats(0.05, 1), min_size=4, max_size=4))
def test_flips_hold_when_the_value_is_computed_again(
    make: Any, one: list[float], other: list[float], weights: list[float]
) -> None:
    """At the flip both are level, on its side the rival leads; without a flip no weight puts the rival ahead."""
    winner, rival = scored(make, one, other, weights)
    assume(winner.value - rival.value > 1e-6)
    for index, flip in enumerate(explain.flips(winner, rival)):
        if flip.at is None:
            assert all(lead(winner, rival, index, t / 20) >= -1e-9 for t in range(21))
            continue
        assert 0 <= flip.at <= 1
        assert lead(winner, rival, index, flip.at) == pytest.approx(0, abs=1e-9)
        assert lead(winner, rival, index, 1.0 if flip.side == "above" else 0.0) < 0
        assert (flip.weight < flip.at) == (flip.side == "above")


def score(method: str, total: float) -> value.Score:
    """A score of which only the sum matters."""
    return value.Score(method=method, value=total, contributions=())


def exclusion(method: str, rule: Any, subject: str, limit: float | None = None) -> Exclusion:
    """An exclusion of which only rule, subject and limit matter."""
    return Exclusion(method=method, rule=rule, subject=subject, reason="", run_id="R", limit=limit)


def test_only_better_methods_that_work_are_offered_by_relaxing() -> None:
    """Of the excluded, those worth more than the winner come, best first; one that failed never does."""
    barred = {
        "worse": [exclusion("worse", "needs", "single-file")],
        "venv": [exclusion("venv", "needs", "single-file")],
        "container": [
            exclusion("container", "requires", "container-engine"),
            exclusion("container", "disk", "unpacked_bytes", 250e6),
        ],
        "broken": [exclusion("broken", "evidence", "parity"), exclusion("broken", "needs", "single-file")],
    }
    scores = [score("worse", 0.4), score("venv", 0.6), score("container", 0.7), score("broken", 0.9)]
    found = explain.relaxations(score("pex", 0.5), scores, barred)
    assert [item.method for item in found] == ["container", "venv"]
    assert found[0].rules == (("requires", "container-engine"), ("disk", "unpacked_bytes"))
    assert found[0].text == (
        "if the target had a container engine and without the limit of 250 MB on unpacked size, "
        "container would lead with a value of 0.70 (pex: 0.50)"
    )
    assert found[1].text == (
        "without the need 'single-file', venv would come before the winner too with a value of 0.60 (pex: 0.50)"
    )


def test_with_nothing_left_the_best_of_the_excluded_is_named() -> None:
    """Where all are excluded, the reader learns what would have to give way first."""
    barred = {name: [exclusion(name, "needs", "http-api")] for name in "ab"}
    found = explain.relaxations(None, [score("a", 0.2), score("b", 0.3)], barred)
    assert [item.text for item in found] == ["without the need 'http-api', b would lead with a value of 0.30"]


def test_thin_evidence_is_said(make: Any) -> None:
    """Few rounds with spread and a single time are said; exact sizes, and what has no weight, are not."""
    evidence = make.evidence(
        {
            "a": {
                "packed_bytes": [5.0],
                "install_s": [1.0, 2.0, 3.0],
                "build_clean_s": [4.0],
                ("cold_start_s", "disk-cold"): [1.0, 2.0],
            },
            "b": {"packed_bytes": [6.0], "install_s": [1.0 + x for x in range(8)], "build_clean_s": [4.0] * 3},
        }
    )
    objectives = [make.objective(m) for m in ("packed_bytes", "install_s", "build_clean_s")]
    objectives.append(make.objective("cold_start_s", 0.0, state="disk-cold"))
    texts = [doubt.text for doubt in explain.thin_evidence([value.score(evidence, m, objectives) for m in "ab"])]
    assert texts == [
        "install rests on fewer replicates than the 8 that a median needs: a 3",
        "clean build rests on fewer replicates than the 8 that a median needs: a 1",
    ]


def test_fidelity_below_measured_is_said(make: Any) -> None:
    """An emulated number carries its fidelity up to the recommendation."""
    evidence = make.evidence({"a": {"packed_bytes": [5.0]}}, fidelity="emulated")
    [doubt] = explain.thin_evidence([value.score(evidence, "a", [make.objective()])])
    assert doubt.text == "packed size is emulated, not measured, for a"
