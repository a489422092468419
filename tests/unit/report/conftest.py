"""Made-up evidence for the report's tests: two models, four methods, and everything that can be wrong with them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import pytest

from harness import bootstrap
from harness.methods.contract import Layers
from harness.metrics import PHASES, START_STATES
from harness.recommend.article import Advice, Choice, Features
from harness.recommend.costs import RateFlip
from harness.recommend.engine import Option, Recommendation
from harness.recommend.explain import Flip, Relaxation
from harness.recommend.limits import Doubt, Exclusion
from harness.recommend.topsis import SecondOpinion
from harness.recommend.value import Contribution, Missing
from harness.report import appendix, html
from harness.report.appendix import Appendix
from harness.report.contents import ReportContents, contents
from harness.spec.scenario import Objective, Scenario, Target, Traffic
from harness.store.query import Evidence, Value
from harness.store.records import Manifest

RUN = "20240102T030405Z-made-up"

Make = Callable[[Recommendation], ReportContents]
METHODS = ("container", "venv", "pex", "rest-api")
ROUNDS = 9

#: packed MB, unpacked MB, files, build s, install s, phases page-warm, phases disk-cold, memory MB, CPU s.
_DIGITS: Mapping[str, tuple[object, ...]] = {
    "container": (
        168.4,
        421.7,
        14210,
        21.4,
        4.31,
        (0.31, 0.09, 0.62, 0.012, 0.004),
        (0.34, 0.31, 1.94, 0.05, 0.006),
        188.0,
        1.02,
    ),
    "venv": (
        92.7,
        301.2,
        9321,
        4.9,
        3.02,
        (0.012, 0.04, 0.61, 0.011, 0.004),
        (0.013, 0.22, 1.71, 0.04, 0.006),
        151.0,
        0.81,
    ),
    "pex": (
        88.1,
        289.9,
        9330,
        9.8,
        0.04,
        (0.012, 0.19, 0.64, 0.012, 0.004),
        (0.013, 3.9, 1.33, 0.04, 0.006),
        155.0,
        0.97,
    ),
    "rest-api": (
        99.3,
        322.4,
        10544,
        5.6,
        3.31,
        (0.012, 0.04, 0.93, 0.012, 0.011),
        (0.013, 0.23, 2.2, 0.04, 0.014),
        174.0,
        1.21,
    ),
}
_SPAM: Mapping[str, tuple[object, ...]] = {
    name: (
        packed,
        unpacked,
        files,
        build,
        install,
        tuple(phase * (0.05 if index == 2 else 1) for index, phase in enumerate(warm)),  # type: ignore[arg-type,var-annotated]
        tuple(phase * (0.08 if index == 2 else 0.6) for index, phase in enumerate(cold)),  # type: ignore[arg-type,var-annotated]
        memory,
        cpu,
    )
    for (name, (*_, warm, cold, _m, _c)), (packed, unpacked, files, build, install, memory, cpu) in zip(
        _DIGITS.items(),
        (
            (49.1, 131.2, 4120, 9.9, 1.2, 21.0, 0.11),
            (0.0213, 0.0871, 12, 0.42, 0.09, 14.0, 0.06),
            (0.291, 0.911, 141, 0.9, 0.01, 22.0, 0.19),
            (6.51, 23.4, 1122, 1.4, 0.6, 44.0, 0.44),
        ),
        strict=True,
    )
}


def value(
    model: str,
    method: str,
    metric: str,
    numbers: list[float],
    state: str = "",
    **more: object,
) -> Value:
    """A value with one sample per round."""
    by_round = dict(enumerate(numbers, start=1))
    return Value(
        model=model,
        method=method,
        limits="default",
        metric=metric,
        state=state,  # type: ignore[arg-type]  # the tests' own states
        fidelity=more.pop("fidelity", "measured"),  # type: ignore[arg-type]
        by_round=by_round,
        interval=bootstrap.interval(numbers) if numbers else None,
        **more,  # type: ignore[arg-type]
    )


def _method_values(model: str, method: str, row: tuple[object, ...], rng: random.Random) -> list[Value]:
    packed, unpacked, files, build, install, warm, cold, memory, cpu = row

    def noisy(middle: float, spread: float = 0.03, rounds: int = ROUNDS) -> list[float]:
        return [middle * rng.lognormvariate(0, spread) for _ in range(rounds)]

    found = [
        value(model, method, "packed_bytes", [round(packed * 1e6)] * 3),  # type: ignore[operator]
        value(model, method, "unpacked_bytes", [round(unpacked * 1e6)] * 3),  # type: ignore[operator]
        value(model, method, "files", [files] * 3),  # type: ignore[list-item]
        value(model, method, "build_clean_s", noisy(build, 0.05, 3)),  # type: ignore[arg-type]
        value(model, method, "install_s", noisy(install)),  # type: ignore[arg-type]
    ]
    for state, phases in zip(START_STATES, (warm, cold), strict=True):
        parts = [noisy(phase, 0.08 if state == "disk-cold" else 0.02) for phase in phases]  # type: ignore[attr-defined]
        total = [sum(each) for each in zip(*parts, strict=True)]
        found.append(value(model, method, "cold_start_s", total, state, dropped=int(state == "disk-cold")))
        found += [
            value(model, method, f"phase_{name}_s", part, state) for name, part in zip(PHASES, parts, strict=True)
        ]
        for metric, middle in (("peak_memory_bytes", memory), ("peak_resident_bytes", memory), ("cpu_to_first_s", cpu)):
            scaled = middle * (1e6 if "bytes" in metric else 1)  # type: ignore[operator]
            found.append(value(model, method, metric, noisy(scaled, 0.01), state))
    found.append(value(model, method, "parity", [1.0] * ROUNDS))
    return found


def manifest() -> Manifest:
    """``run.json`` of the made-up run, with a hostile string in it."""
    return Manifest(
        schema_version=1,
        run_id=RUN,
        created_at="2024-01-02T03:04:05+00:00",
        finished_at="2024-01-02T03:21:40+00:00",
        harness_version="0.1.0",
        plan={
            "models": ["digits-forest", "spam-bayes"],
            "methods": list(METHODS),
            "rounds": ROUNDS,
            "states": list(START_STATES),
            "seed": 20230127,
            "profile": "standard",
            "limits": {"default": {"memory_bytes": 2_000_000_000, "cpus": None}},
        },
        host={"processor": "Made-up CPU <b>|x|</b>", "cores": 2, "memory_bytes": 8_201_433_088, "kernel": "6.1.0"},
        tools={"docker": "20.10.24", "uv": "0.9.1", "pex": "2.70.0"},
        models={
            name: {"digest": "sha256:" + digit * 64} for name, digit in (("digits-forest", "a"), ("spam-bayes", "b"))
        },
        artifacts={
            f"digits-forest/{name}": {"digest": "sha256:" + "cdef"[index] * 64} for index, name in enumerate(METHODS)
        },
        availability={name: {"ready": True, "reason": "", "remedy": ""} for name in METHODS},
        timings={"tools": 402.14, "instances": 611.7, "harness": 31.2},
    )


def digits() -> Evidence:
    """A model that all four methods package; one phase is emulated, one value is absent."""
    rng = random.Random(7)
    model = "digits-forest"
    values = [item for name in METHODS for item in _method_values(model, name, _DIGITS[name], rng)]
    sentinel = [0.1 * rng.lognormvariate(0, 0.02) for _ in range(ROUNDS)]
    values.append(value(model, "_sentinel", "sentinel_s", sentinel))
    values.append(value(model, "venv", "download_s", [12.4]))
    kept = [item for item in values if (item.method, item.metric) != ("container", "packed_bytes")]
    why = "the registry <script>alert('x')</script> | did not answer"
    kept.insert(0, value(model, "container", "packed_bytes", [], why_absent=why, failed=1, fidelity="emulated"))
    return Evidence(run_id=RUN, model=model, manifest=manifest(), values=tuple(kept))


def spam() -> Evidence:
    """A model that one method cannot package, for a reason with everything hostile in it."""
    rng = random.Random(11)
    model = "spam-bayes"
    values = [item for name in METHODS if name != "rest-api" for item in _method_values(model, name, _SPAM[name], rng)]
    why = "exit 137: \x1b[31m<script>alert(1)</script> --> | `*_[x](javascript:1)_*`\nsecond line"
    values.append(value(model, "rest-api", "parity", [], why_absent=why, failed=3))
    return Evidence(run_id=RUN, model=model, manifest=manifest(), values=tuple(values))


SCENARIO = Scenario(
    spec_version=1,
    name="made-up",
    title="A <b>made-up</b> scenario | with a pipe",
    description="Written for the tests --> of the report.",
    article_case="executable",
    target=Target(has=("python",), memory_mb=512),
    traffic=Traffic(),
    needs=("locked-dependencies",),
    objectives=(
        Objective(metric="packed_bytes", weight=3.0, best=1e6, worst=5e8),
        Objective(metric="cold_start_s", state="page-warm", weight=1.0, best=0.1, worst=60.0, limit=30.0),
    ),
)


def _contribution(metric: str, state: str, weight: float, worth: float, **more: object) -> Contribution:
    given: dict[str, object] = {"median": 1.0, "low": 1.0, "high": 1.0, "n": 9, "fidelity": "measured", **more}
    return Contribution(metric=metric, state=state, weight=weight, worth=worth, points=weight * worth, **given)  # type: ignore[arg-type]


def _option(rank: int, method: str, family: str, worths: tuple[float, float], p_best: float, **more: object) -> Option:
    total = 0.75 * worths[0] + 0.25 * worths[1]
    return Option(
        rank=rank,
        method=method,
        family=family,  # type: ignore[arg-type]
        value=total,
        value_low=total - 0.01,
        value_high=total + 0.01,
        p_best=p_best,
        p_best_as_weighed=1.0 if rank == 1 else 0.0,
        gain=0.004 if more else 0.0,
        contributions=(
            _contribution("packed_bytes", "", 0.75, worths[0]),
            _contribution("cold_start_s", "page-warm", 0.25, worths[1], **more),
        ),
    )


def made_up_recommendation(model: str = "digits-forest") -> Recommendation:
    """A recommendation with one of everything; made by hand, so that the golden file is the report's alone."""
    evil = "<script>alert(2)</script> | `x`"
    gone = {"median": None, "low": None, "high": None, "n": 0, "fidelity": None, "missing": f"cold start: {evil}"}
    return Recommendation(
        run_id=RUN,
        model=model,
        scenario="made-up",
        scenario_title=SCENARIO.title,
        summary="A tie for made-up: pex and venv cannot be told apart.",
        winner="pex",
        tie=("pex", "venv"),
        ranked=(
            _option(1, "pex", "executable", (0.281, 0.68), 0.697),
            _option(2, "venv", "virtual-environment", (0.272, 0.70), 0.303),
            _option(3, "rest-api", "api", (0.261, 0.0), 0.0, **gone),
        ),
        excluded=(
            Exclusion(
                method="container",
                rule="requires",
                subject="container-engine",
                reason=f"container: needs a container engine; {evil}",
                run_id=RUN,
                fidelity="documented",
            ),
            Exclusion(
                method="container",
                rule="memory",
                subject="peak_resident_bytes",
                reason="container: peak resident 513 MB > 512 MB",
                run_id=RUN,
                fidelity="measured",
                metric="peak_resident_bytes",
                state="page-warm",
                measured=5.13e8,
                limit=5.12e8,
                certain=False,
            ),
        ),
        flips=(
            Flip(
                metric="packed_bytes",
                state="",
                rival="venv",
                weight=0.75,
                at=0.69,
                side="below",
                text="below 0.69, venv leads",
            ),
            Flip(
                metric="cold_start_s",
                state="page-warm",
                rival="venv",
                weight=0.25,
                at=None,
                side=None,
                text="no weight does it",
            ),
        ),
        relaxations=(
            Relaxation(
                method="container", value=0.9, rules=(("requires", "x"),), text="without it, container would lead"
            ),
        ),
        missing=(Missing(method="rest-api", metric="cold_start_s", state="page-warm", weight=0.25, why=evil),),
        doubts=(Doubt(method="", text="clean build rests on 3 replicates"),),
        article=Advice(
            family="executable",
            quote="models that need to run in low-resource devices",
            ranked=(Choice(method="pex", family="executable", because=("the case",)),),
            pick="pex",
            agreement="tied",
            text="The article recommends the family 'executable'; it is tied.",
            corrections=("pex needs a Python installation on the target.",),
        ),
        second=SecondOpinion(
            closeness=(("pex", 0.4),),
            winner="pex",
            agrees=True,
            swapped=(),
            text="By distance to the ideal pex is first",
        ),
        rates=(RateFlip(method="pex", above=None, below=4100.0, text="pex leads below 4,100 requests a day"),),
    )


class Method:
    """As much of a method as a recommendation looks at."""

    LAYERS = Layers(environment="made up", interface="made up", platform="made up")

    def __init__(self, name: str, family: str, requires: str, *provides: str) -> None:
        self.ID, self.FAMILY = name, family
        self.REQUIRES, self.PROVIDES = frozenset({requires}), frozenset(provides)


@pytest.fixture(scope="session")
def methods() -> dict[str, Method]:
    """The four methods, for the real engine."""
    made = (
        Method("container", "container", "container-engine", "locked-dependencies", "isolated"),
        Method("venv", "virtual-environment", "python", "locked-dependencies"),
        Method("pex", "executable", "python", "locked-dependencies", "single-file"),
        Method("rest-api", "api", "python", "locked-dependencies", "http-api"),
    )
    return {method.ID: method for method in made}


@pytest.fixture(scope="session")
def evidences() -> tuple[Evidence, ...]:
    """The made-up run: both models."""
    return digits(), spam()


@pytest.fixture(scope="session")
def by_run(evidences: tuple[Evidence, ...]) -> dict[str, tuple[Evidence, ...]]:
    """The evidence as a checker is given it."""
    return {RUN: evidences}


@pytest.fixture(scope="session")
def advise() -> Callable[..., Recommendation]:
    """Gives the hand-made recommendation again, whatever it is asked."""
    return lambda evidence, _scenario, _features: made_up_recommendation(evidence.model)


@pytest.fixture(scope="session")
def report(evidences: tuple[Evidence, ...]) -> ReportContents:
    """The contents of a report on everything above."""
    return contents(
        evidences,
        [made_up_recommendation()],
        scenarios={"made-up": SCENARIO},
        features={"digits-forest": Features(dependencies=21, pinned=1)},
        made_at="2024-01-02 04:00 UTC",
        harness_version="0.1.0",
    )


@pytest.fixture(scope="session")
def page(report: ReportContents) -> str:
    """That report as HTML."""
    return html.render(report)


@pytest.fixture(scope="session")
def make(evidences: tuple[Evidence, ...]) -> Make:
    """Contents of one model and the given recommendation, in the made-up scenario."""

    def made(recommendation: Recommendation) -> ReportContents:
        return contents(
            evidences[:1],
            [recommendation],
            scenarios={SCENARIO.name: SCENARIO},
            features={"digits-forest": Features(dependencies=21, pinned=1)},
            made_at="2024-01-02 04:00 UTC",
            harness_version="0.1.0",
        )

    return made


@pytest.fixture(scope="session")
def advised(advise: Callable[..., Recommendation], evidences: tuple[Evidence, ...]) -> Recommendation:
    """The hand-made recommendation: a tie, an option without one of its values, two reasons to exclude another."""
    return advise(evidences[0], None, None)


@pytest.fixture(scope="session")
def record(make: Make, advised: Recommendation) -> Appendix:
    """The appendix to it."""
    return appendix.of(make(advised))
