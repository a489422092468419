"""The article's claims: that each is whole, and that its judge says no more than its evidence."""

from __future__ import annotations

import json
import random
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import paths
from harness.errors import BadInput
from harness.measure import memory_limit
from harness.methods import METHODS
from harness.metrics import METRICS, TARGETS
from harness.recommend import claims
from harness.recommend.claims import Verdict, containers, environments, judging, serverless
from harness.recommend.claims.judging import Word
from harness.recommend.claims.table import CLAIMS, Claim
from harness.spec import model as models
from harness.spec import scenario as scenarios
from harness.store import query, runs
from harness.store.query import Evidence

MANY = 12
OLDER, NEWER = "20260101-000000-aaaa", "20260202-000000-bbbb"


@pytest.fixture
def taken(make: Any) -> Any:
    """Makes the evidence of one run on one model."""

    def evidence(
        measured: Mapping[str, Any], model: str = "m", run_id: str = OLDER, *, notes: Any = None, **features: int
    ) -> Evidence:
        found = make.evidence(measured)
        manifest = replace(
            found.manifest, run_id=run_id, models={model: {"features": features}}, artifacts=dict(notes or {})
        )
        values = tuple(replace(value, model=model) for value in found.values)
        return replace(found, run_id=run_id, model=model, manifest=manifest, values=values)

    return evidence


def judged(name: str, *evidences: Evidence) -> Verdict:
    """The verdict on that claim."""
    [found] = claims.verdicts(evidences, METHODS, [claims.find(name)])
    return found


def times(median: float, n: int = MANY) -> list[float]:
    """Measured values around ``median``, some percent apart."""
    return [median * (1 + 0.004 * (number % 5 - 2)) for number in range(n)]


# --- the table -----------------------------------------------------------------------------------


def test_names_are_unique() -> None:
    """A claim is asked for by its name."""
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_each_claim_is_whole(claim: Claim) -> None:
    """It has a judge or says what would test it; what it looks at exists; its command could be run."""
    assert claim.quote
    assert claim.means.endswith(".")
    assert claim.experiment.endswith(".")
    assert bool(claim.judge) != bool(claim.instead)
    assert claim.measured == bool(claim.command)
    assert set(claim.methods) <= set(METHODS)
    for metric, state in claim.looks_at:
        assert state in (METRICS[metric].states or ("",))
    if claim.command:
        _program, run, *given = shlex.split(claim.command)
        assert run == "run"
        asked = [given[place + 1] for place, word in enumerate(given) if word == "--method"]
        assert set(asked) <= set(METHODS)
        assert set(given) - set(asked) <= {*models.sample_names(), "--method", "--profile", "standard"}


def test_a_misspelt_claim_is_guessed() -> None:
    """With the name that is meant."""
    with pytest.raises(BadInput, match="pex-no-pythn") as caught:
        claims.find("pex-no-pythn")
    assert "pex-no-python" in caught.value.remedy


def test_without_runs_only_documents_decide() -> None:
    """What has to be measured says so; what can't be tested says what would; nothing else has a word."""
    for found in claims.verdicts([], METHODS):
        assert found.text
        assert not found.numbers
        if found.claim.measured:
            assert found.word == "not measured yet"
        elif found.claim.judge:
            assert found.word in ("supported", "contradicted", "depends")
            assert found.stated
        else:
            assert found.word == "not testable here"


def test_constants_are_those_of_others() -> None:
    """The resolution of the search for a limit, the traffic of a scenario, what sample models pin."""
    assert memory_limit.RESOLUTION_SHARE == judging.MEMORY_RESOLUTION_SHARE
    assert memory_limit.RESOLUTION_BYTES == judging.MEMORY_RESOLUTION_BYTES
    assert scenarios.find("infrequent-use").traffic.requests_per_day == serverless.INFREQUENT_PER_DAY
    pins = {
        name: next(one for one in models.find(name).file.requirements if one.startswith(environments.PINNED))
        for name in (environments.PINS_OLD, *environments.PINS_NEW)
    }
    assert len({pins[name] for name in environments.PINS_NEW}) == 1
    assert pins[environments.PINS_OLD] != pins[environments.PINS_NEW[0]]


def test_all_can_be_written_as_json() -> None:
    """And hold the claim's words, without its code."""
    for found in claims.verdicts([], METHODS):
        table = json.loads(json.dumps(claims.as_dict(found)))
        assert table["claim"]["quote"] == found.claim.quote
        assert table["word"] in get_args(Word)
        assert "judge" not in table["claim"]


# --- runs are never pooled -----------------------------------------------------------------------


def test_the_newest_run_that_can_decide_does(taken: Any) -> None:
    """Older ones are named with their own verdict; one without the metric is passed over."""
    old = taken({"pex": {("portable", "no-python"): [0.0]}}, run_id=OLDER)
    new = taken({"pex": {("portable", "no-python"): [1.0]}}, run_id=NEWER)
    newest = taken({"pex": {"packed_bytes": [1.0]}}, run_id="20260303-000000-cccc")
    found = judged("pex-no-python", old, newest, new)
    assert (found.word, found.run_id) == ("supported", NEWER)
    assert found.others == (claims.Other(run_id=OLDER, word="contradicted"),)
    assert {number.run_id for number in found.numbers} == {NEWER}


def test_two_runs_do_not_make_an_experiment(taken: Any) -> None:
    """Two models that have to be on one machine are not taken from two runs."""
    pinned = taken({"venv": {}}, "wine-pinned", run_id=OLDER)
    other = taken({"venv": {}}, "digits-forest", run_id=NEWER)
    assert judged("venv-isolated", pinned, other).word == "not measured yet"
    assert judged("venv-isolated", pinned, taken({"venv": {}}, "digits-forest")).word == "supported"


def test_why_it_could_not_be_measured_is_told(taken: Any) -> None:
    """Where a run tried."""
    found = judged("pex-no-python", taken({"pex": {("portable", "no-python"): []}, "venv": {}}))
    assert found.word == "not measured yet"
    assert f"pex: the tool broke (run {OLDER})" in found.text
    assert [(one.method, one.has) for one in found.stated] == [("pex", False), ("pex-scie", True)]


# --- what is compared ----------------------------------------------------------------------------

CPU = ("cpu_to_first_s", "page-warm")


@pytest.mark.parametrize(
    ("pex", "venv", "word"),
    [
        (times(1.0), times(2.0), "supported"),
        (times(2.0), times(1.0), "contradicted"),
        (times(1.0), times(1.0)[::-1], "depends"),
        (times(1.0, 5), times(2.0, 5), "depends"),  # too few starts
    ],
)
def test_a_ratio_decides_only_where_its_interval_does(
    taken: Any, pex: list[float], venv: list[float], word: str
) -> None:
    """An interval that holds 1, or fewer starts than a headline needs, supports nothing."""
    found = judged("pex-low-cpu", taken({"pex": {CPU: pex}, "venv": {CPU: venv}}))
    assert found.word == word
    assert [(one.method, one.over, one.unit) for one in found.numbers] == [("pex", "venv", "ratio")]


@given(st.lists(st.tuples(st.floats(0.5, 2), st.floats(0.5, 2)), min_size=1, max_size=20))
def test_supported_means_that_every_interval_says_so(make: Any, pairs: list[tuple[float, float]]) -> None:
    """Whatever was measured."""
    pex, venv = zip(*pairs, strict=True)
    found = judged("pex-low-cpu", make.evidence({"pex": {CPU: pex}, "venv": {CPU: venv}}))
    if found.word == "supported":
        assert all(number.high < 1 and number.n >= 8 for number in found.numbers)
    if found.word == "contradicted":
        assert all(number.low > 1 and number.n >= 8 for number in found.numbers)


def test_sizes_are_exact(taken: Any) -> None:
    """One value of each is enough; the text tells the ratio, and on what it depends."""
    small = {"packed_bytes": [50.0], "unpacked_bytes": [300.0]}
    found = judged(
        "pex-lightweight",
        taken({"pex": small, "container": {"packed_bytes": [100.0], "unpacked_bytes": [200.0]}}),
    )
    assert found.word == "depends"
    assert found.text == (
        "For it: packed size, pex to container 0.5×. Against it: unpacked size, pex to container 1.5×"
    )
    assert found.turns == "what is measured: for it: packed size; against it: unpacked size"


def test_a_method_that_fails_is_not_compared(taken: Any) -> None:
    """A small file that answers wrongly is no small packaging."""
    evidence = taken({"pex": {"packed_bytes": [1.0], "parity": [0.0]}, "venv": {"packed_bytes": [2.0]}})
    assert judged("pex-lightweight", evidence).word == "not measured yet"


@pytest.mark.parametrize(
    ("pex", "venv", "word"), [(100e6, 120e6, "supported"), (120e6, 100e6, "contradicted"), (100e6, 104e6, "depends")]
)
def test_memory_limits_within_the_resolution_are_the_same(taken: Any, pex: float, venv: float, word: str) -> None:
    """A search that ends 5 % above the truth can't tell limits that are 4 % apart."""
    evidence = taken({"pex": {"minimum_memory_bytes": [pex]}, "venv": {"minimum_memory_bytes": [venv]}})
    assert judged("pex-low-memory", evidence).word == word


def test_models_that_differ_are_named(taken: Any) -> None:
    """Where one model speaks for a claim and another against it, it depends on the model."""
    found = judged(
        "pex-no-python",
        taken({"pex-scie": {("portable", "no-python"): [1.0]}}, "one"),
        taken({"pex-scie": {("portable", "no-python"): [0.0]}}, "two"),
    )
    assert found.word == "depends"
    assert found.text == (
        "For it: pex-scie answers on no-python (one). Against it: pex-scie does not answer on no-python (two)"
    )


# --- each experiment -----------------------------------------------------------------------------


def portable(*, on: Iterable[str] = (), off: Iterable[str] = ()) -> dict[Any, list[float]]:
    """What was carried where, and whether it answered."""
    return {("portable", target): [value] for value, names in ((1.0, on), (0.0, off)) for target in names}


def test_pex_needs_python_and_its_scie_does_not(taken: Any) -> None:
    """The article's claim depends on which was built."""
    both = {"pex": portable(off=["no-python"]), "pex-scie": portable(on=["no-python"])}
    found = judged("pex-no-python", taken(both))
    assert found.word == "depends"
    assert "built with an interpreter in it" in found.turns
    assert judged("pex-no-python", taken({"pex": both["pex"]})).word == "contradicted"


@pytest.mark.parametrize(
    ("measured", "word"),
    [
        ({}, "supported"),
        (portable(on=["no-network", "read-only"]), "supported"),
        (portable(on=["no-network"], off=["read-only"]), "depends"),
        ({"parity": [0.0]}, "contradicted"),
    ],
)
def test_a_whole_environment_is_in_the_image(taken: Any, measured: Any, word: str) -> None:
    """A right answer from a file system of its own, wherever it was carried; what fails is told."""
    found = judged("container-whole-environment", taken({"container": measured, "rest-api": {}}))
    assert found.word == word
    assert {one.about for one in found.stated} == {"carries-python", "carries-system-libraries"}
    assert judged("container-whole-environment", taken({"venv": {}})).word == "not measured yet"


def test_system_libraries_need_a_control(taken: Any) -> None:
    """That a conda environment fails counts only where it works for a model that needs no package of the system."""
    targets = ["no-python"]
    fails, works = {"container": {}, "conda": portable(off=targets)}, {"container": {}, "conda": portable(on=targets)}

    def found(needs: Any, plain: Any) -> str:
        return judged(
            "container-system-libraries", taken(needs, "needing", system_packages=2), taken(plain, "plain")
        ).word

    assert found(fails, works) == "supported"
    assert found(fails, fails) == "not measured yet"
    assert found(works, works) == "contradicted"
    assert found({**fails, "container": {"parity": [0.0]}}, works) == "contradicted"


START = ("cold_start_s", "disk-cold")


@pytest.mark.parametrize(("slope", "word"), [(-0.02, "supported"), (0.02, "contradicted"), (0.0, "depends")])
def test_dependencies_are_a_trend_over_models(taken: Any, slope: float, word: str) -> None:
    """What a container's start costs beside a virtual environment's, by their number."""

    def starts(count: int) -> dict[str, Any]:
        ratio = 1.5 + slope * count + 0.01 * (count % 4)
        return {"container": {START: times(ratio)}, "venv": {START: times(1.0)}}

    evidences = [taken(starts(count), f"m{count}", dependencies=count) for count in (0, 2, 3, 9, 13, 20, 31)]
    found = judged("container-many-dependencies", *evidences)
    assert found.word == word
    assert len(found.numbers) == len(evidences)
    if word == "depends":
        assert "m0 (0) 1.5×, m2 (2) 1.52×" in found.turns
    assert judged("container-many-dependencies", *evidences[:5]).word == "not measured yet"


def test_a_trend_by_hand() -> None:
    """Of six in order, one of the 720 orders is as strong each way; ties say nothing."""
    tau, chance = containers.trend([(number, 2.0 * number) for number in range(6)])
    assert tau == pytest.approx(1.0)
    assert chance == pytest.approx(2 / 720, abs=0.003)
    assert containers.trend([(1, 5), (1, 6), (1, 7)]) == (0.0, 1.0)
    tau, _ = containers.trend([(1, 3), (1, 1), (2, 2)])
    assert tau == pytest.approx(0.0)


def test_a_container_that_fails_with_many_dependencies_contradicts(taken: Any) -> None:
    """No start is needed for that."""
    evidence = taken({"container": {"parity": [0.0]}, "venv": {}}, dependencies=30)
    assert judged("container-many-dependencies", evidence).word == "contradicted"


def test_pinned_versions_are_kept_by_all(taken: Any) -> None:
    """So the claim about virtual environments holds, and the rule that prefers them does not."""
    evidence = taken({"venv": {}, "pex": {}, "container": {"parity": [0.0]}}, pinned=2)
    assert judged("venv-specific-versions", evidence).word == "supported"
    rule = judged("venv-rule-of-versions", evidence)
    assert rule.word == "contradicted"
    assert rule.text.endswith("keep the same pinned versions: executable")
    alone = taken({"venv": {}, "pex": {"parity": [0.0]}}, pinned=2)
    assert judged("venv-rule-of-versions", alone).word == "supported"
    assert judged("venv-specific-versions", taken({"venv": {}}, pinned=0)).word == "not measured yet"


def test_reproducible_builds_of_other_families_decide_nothing(taken: Any) -> None:
    """They are shown beside."""
    found = judged("venv-reproduces", taken({"venv": {"reproducible": [1.0]}, "pex": {"reproducible": [0.0]}}))
    assert found.word == "supported"
    assert {one.method for one in found.numbers} == {"venv", "pex"}
    assert judged("venv-reproduces", taken({"pex": {"reproducible": [0.0]}})).word == "not measured yet"


@pytest.mark.parametrize(("seconds", "word"), [(2.0, "supported"), (12.0, "contradicted"), (10.0, "depends")])
def test_on_demand_is_within_an_init_phase(taken: Any, seconds: float, word: str) -> None:
    """Of a first request."""
    assert judged("serverless-on-demand", taken({"lambda-zip": {START: times(seconds)}})).word == word


def test_turning_point_by_hand() -> None:
    """2 GB for 3 s at 0.0000166667 are 0.0001 USD; the machine costs 2 x 0.0104 x 24 = 0.4992 a day."""
    assert serverless.turning_point(3.0, 2048) == pytest.approx(0.4992 / (0.0001000002 + 0.0000002))
    assert serverless.turning_point(3.0, 1280) == pytest.approx(0.4992 / (0.000062500125 + 0.0000002))
    assert serverless.turning_point(3.0, 10240) is None


@pytest.mark.parametrize(("seconds", "word"), [(3.0, "supported"), (800.0, "contradicted")])
def test_infrequent_use_turns_somewhere(taken: Any, seconds: float, word: str) -> None:
    """Modelled from what was measured, and said to be; a warm function gives the other end."""
    notes = {"m/lambda-zip": {"memory_mb": "2048"}}
    evidence = taken({"lambda-zip": {START: times(seconds)}}, notes=notes)
    found = judged("serverless-infrequent", evidence)
    assert found.word == word
    turning = next(one for one in found.numbers if one.unit == "1/day")
    assert turning.fidelity == "modelled"
    assert turning.median == pytest.approx(serverless.turning_point(seconds, 2048), rel=0.01)
    assert turning.low < turning.median < turning.high
    assert "warm ones cost is not measured yet" in found.turns
    warm = taken({"lambda-zip": {START: times(seconds), ("latency_p50_s", "single-stream"): times(0.01)}}, notes=notes)
    assert "on, if none is" in judged("serverless-infrequent", warm).turns
    assert all(one.source and one.read_on for one in found.stated)


def test_system_packages_are_not_in_a_file(taken: Any) -> None:
    """A PEX that answers rightly leaves them to the target all the same."""
    assert judged("pex-single-file", taken({"pex": {}})).word == "supported"
    assert judged("pex-single-file", taken({"pex": {}}, system_packages=2)).word == "depends"
    failing = judged("pex-single-file", taken({"pex": {"parity": []}}))
    assert failing.word == "not measured yet"


def test_a_use_case_decides_where_nothing_is_best_at_all(taken: Any) -> None:
    """One that surely beats all at all contradicts it; what is not sure decides nothing; two methods are no choice."""
    light, heavy = {"packed_bytes": [1.0]}, {"packed_bytes": [2.0]}
    fast, slow = {START: times(1.0)}, {START: times(2.0)}
    worst = {"packed_bytes": [3.0], START: times(3.0)}

    def word(pex: Any, venv: Any) -> str:
        return judged("use-case-decides", taken({"container": worst, "pex": pex, "venv": venv})).word

    assert word({**light, **slow}, {**heavy, **fast}) == "supported"
    assert word({**light, **fast}, {**heavy, **slow}) == "contradicted"
    assert word({**light, **fast}, {**heavy, **fast}) == "depends"
    assert judged("use-case-decides", taken({"pex": light, "venv": heavy})).word == "not measured yet"


def test_a_model_decides_where_two_methods_change_places(taken: Any) -> None:
    """For sure in both; the ratios are told."""

    def sizes(pex: float, venv: float) -> dict[str, Any]:
        return {name: {"packed_bytes": [size]} for name, size in (("pex", pex), ("venv", venv), ("container", 9.0))}

    one = taken(sizes(1.0, 2.0), "one")
    found = judged("model-decides", one, taken(sizes(3.0, 2.0), "two"))
    assert found.word == "supported"
    assert found.text == "packed size, venv to pex: 2× for one and 0.667× for two"
    assert judged("model-decides", one, taken(sizes(1.0, 3.0), "two")).word == "contradicted"
    assert judged("model-decides", one).word == "not measured yet"


def test_chance_makes_no_two_methods_change_places(taken: Any) -> None:
    """Of hundreds of comparisons of the same thing some intervals leave 1 out; none is far enough from it."""
    draw = random.Random(7)

    def noise() -> list[float]:
        return [draw.uniform(0.9, 1.1) for _ in range(15)]

    starts = [("cold_start_s", "page-warm"), START]
    methods = ("container", "venv", "conda", "pex", "rest-api")
    evidences = [
        taken({name: {start: noise() for start in starts} for name in methods}, f"m{number}") for number in range(12)
    ]
    assert judged("model-decides", *evidences).word == "depends"
    assert judged("use-case-decides", *evidences).word == "depends"


def test_a_start_has_to_differ_by_more_than_a_method_from_itself(taken: Any) -> None:
    """Where the run started one twice under two names."""
    name = "use-case-decides"
    evidence = taken(
        {
            "pex": {"packed_bytes": [1.0], START: times(1.2)},
            "venv": {"packed_bytes": [2.0], START: times(1.0)},
            "container": {"packed_bytes": [3.0], START: times(3.0)},
        }
    )
    assert judged(name, evidence).word == "supported"
    own = evidence.value("venv", *START)
    twice = replace(own, limits="again", by_round={number: 1.25 * value for number, value in own.by_round.items()})
    restless = replace(evidence, values=(*evidence.values, twice))
    assert restless.canary(START[1]).median == pytest.approx(1.25)
    assert judged(name, restless).word == "depends"


def test_a_target_decides_where_some_answer_and_some_do_not(taken: Any) -> None:
    """Targets on which all fare alike take nothing away from that."""
    mixed = taken({"pex": portable(off=["no-python"], on=["non-root"]), "container": portable(on=TARGETS)})
    assert judged("resources-decide", mixed).word == "supported"
    alike = taken({"pex": portable(on=["non-root"]), "container": portable(on=["non-root"])})
    assert judged("resources-decide", alike).word == "contradicted"
    assert judged("resources-decide", taken({"pex": portable(on=["non-root"])})).word == "not measured yet"


def test_a_wrapper_is_needed_where_no_platform_is(taken: Any) -> None:
    """Its price is shown and decides nothing. A model that nothing answers rightly for says nothing of a wrapper."""
    warm = ("cold_start_s", "page-warm")
    found = judged("api-existing-systems", taken({"rest-api": {warm: times(2.0)}, "venv": {warm: times(1.0)}}))
    assert found.word == "depends"
    assert "where it runs" in found.turns
    assert [(one.method, one.over) for one in found.numbers] == [("rest-api", ""), ("rest-api", "venv")]
    assert judged("api-web-interface", taken({"rest-api": {}})).word == "supported"
    assert judged("api-web-interface", taken({"rest-api": {"parity": [0.0]}, "venv": {}})).word == "contradicted"
    assert judged("api-web-interface", taken({"rest-api": {"parity": [0.0]}})).word == "not measured yet"


# --- what travels with the project ---------------------------------------------------------------


def test_numbers_of_the_reference_runs_are_those_of_the_store() -> None:
    """Every ratio and value behind a verdict can be found again by its run, model, method, metric and state."""
    home = paths.data("results") / "reference"
    evidences = [one for run_id in runs.run_ids(home) for one in query.evidences(home, run_id)]
    known = {(one.run_id, one.model): one for one in evidences}
    found = claims.verdicts(evidences, METHODS)
    assert {"supported", "contradicted", "depends"} <= {one.word for one in found}
    for number in (number for one in found for number in one.numbers if number.unit != "1/day"):
        evidence = known[number.run_id, number.model]
        value = evidence.value(number.method, number.metric, number.state)
        over = evidence.value(number.over, number.metric, number.state) if number.over else None
        interval = query.paired_ratio(value, over) if over else value and value.interval
        assert interval is not None
        assert (interval.median, interval.low, interval.high, interval.n) == (
            *(number.median, number.low, number.high),
            number.n,
        )
