"""The experiments that test the article's claims: one judge each. The table of claims is in ``claims.py``.

Starts are compared only between methods that run on a machine of one's own; those on a stand-in for a vendor's
platform are not that platform's. Sizes are of the real artifact whatever it runs on.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness import bootstrap
from harness.metrics import TARGETS, Target
from harness.recommend import words
from harness.recommend.article import MANY_DEPENDENCIES
from harness.recommend.judging import (
    Finding,
    Point,
    Run,
    Side,
    Stated,
    answered,
    answers,
    below,
    carried,
    features,
    number,
    points_of,
    settled,
    shown,
    stated,
)

if TYPE_CHECKING:
    from harness.spec.scenario import Quality
    from harness.store.query import Evidence

#: What methods are compared by, where no use is given: what travels, what lies there, both starts, what is held.
CRITERIA = (
    ("packed_bytes", ""),
    ("unpacked_bytes", ""),
    ("cold_start_s", "page-warm"),
    ("cold_start_s", "disk-cold"),
    ("peak_resident_bytes", "page-warm"),
)

#: How far from 1 a ratio has to be where one is looked for among many: the precision that a median is measured to.
MARGIN = bootstrap.STABLE_WITHIN

#: Two methods are no choice that anything could be said of in general.
FEWEST_FAMILIES = 3

#: The methods that are the article's PEX; the others of its family are not by that tool.
PEX = ("pex", "pex-scie")

#: A sample model that pins an old release, and those that pin a later one of the same package; the tests hold this
#: against their files.
PINS_OLD, PINS_NEW, PINNED = "wine-pinned", ("digits-forest", "diabetes-ensemble", "income-pandas"), "scikit-learn"

#: Fewest models that a trend is looked for in. Of four, one order in twelve is in line either way; six leave
#: room for a model that is not.
FEWEST_MODELS = 6
LIKELY_CHANCE = 0.05
_SHUFFLES = 2000

_OURS = "docs/methods.md of this project"
_READ_ON = "2026-11-23"


# --- methods in general --------------------------------------------------------------------------


def alternatives(run: Run) -> Finding | None:
    """Whether each family has an environment of its own, or families share one and so can't be alternatives to it."""
    users: dict[str, list[str]] = {}
    for name, method in run.methods.items():
        users.setdefault(method.LAYERS.environment, []).append(name)
    points = []
    for environment, names in users.items():
        families = {run.methods[name].FAMILY for name in names}
        listed = words.listing(names)
        if len(families) > 1:
            about = f"{listed} are {len(families)} families around one {environment}"
            points.append(Point(side="against", about=about))
        else:
            points.append(Point(side="for", about=f"{environment}: {listed} alone"))
    rows = tuple(
        Stated(
            method=name,
            about=method.FAMILY,
            has=True,
            statement=f"{method.LAYERS.environment}; {method.LAYERS.interface}; {method.LAYERS.platform}",
            source=_OURS,
            read_on=_READ_ON,
        )
        for name, method in run.methods.items()
    )
    turns = "the layer: environments (an image, a virtual environment, one file) exclude one another, families do not"
    return settled(points, stated_of=rows, turns=turns)


def trade_offs(run: Run) -> Finding | None:
    """Whether every method is surely beaten by another on something, or one is best at all."""
    return settled(_beaten(run, evidence) for evidence in run.evidences)


def _beaten(run: Run, evidence: Evidence) -> Point | None:
    methods = _comparable(run, evidence)
    if not _broad(run, methods):
        return None
    worst: dict[str, Point] = {}
    unbeaten_for_sure = []
    for method in methods:
        points = [
            point
            for other in methods
            if other != method
            for metric, state in CRITERIA
            if (point := below(evidence, other, method, metric, state, margin=MARGIN))
        ]
        beating = [point for point in points if point.side == "for"]
        if beating:
            worst[method] = min(beating, key=lambda point: point.figure or 0.0)
        elif points and all(point.side == "against" for point in points):
            unbeaten_for_sure.append(method)
    numbers = tuple(one for point in worst.values() for one in point.numbers)
    if len(worst) == len(methods):
        about = "each of the methods compared is beaten by another on something"
        return Point(side="for", about=about, model=evidence.model, numbers=numbers)
    if unbeaten_for_sure:
        about = f"{words.listing(unbeaten_for_sure)} is best at all that was compared"
        return Point(side="against", about=about, model=evidence.model, numbers=numbers)
    left = words.listing(method for method in methods if method not in worst)
    return Point(
        side="open", about=f"nothing surely beats {left}, which is not surely best either", model=evidence.model
    )


def depends_on_model(run: Run) -> Finding | None:
    """Whether two methods change places between two models, for sure in both."""
    told: list[Point] = []
    certain = pairs = 0
    for criterion in CRITERIA:
        compared = [_compared(run, evidence, *criterion) for evidence in run.evidences]
        found = [
            (first[pair], second[pair])
            for first, second in itertools.combinations(compared, 2)
            for pair in first.keys() & second.keys()
        ]
        pairs += len(found)
        sure = [both for both in found if "open" not in {point.side for point in both}]
        certain += len(sure)
        reversed_ = [both for both in sure if both[0].side != both[1].side]
        if reversed_:
            told.append(_told_reversal(*max(reversed_, key=_swing)))
    if told:
        return settled(told)
    if not pairs:
        return None
    side: Side = "against" if certain == pairs else "open"
    return settled([Point(side=side, about=f"no two methods surely change places, in {pairs} comparisons")])


def _compared(run: Run, evidence: Evidence, metric: str, state: str) -> dict[tuple[str, str], Point]:
    """Every two methods that can be compared for that model; none where too few can to speak of methods in general."""
    methods = _comparable(run, evidence)
    pairs = itertools.combinations(methods if _broad(run, methods) else (), 2)
    return {pair: point for pair in pairs if (point := below(evidence, *pair, metric, state, margin=MARGIN))}


def _told_reversal(one: Point, two: Point) -> Point:
    ratios = words.listing(f"{shown(each.figure or 0.0, 'ratio')} for {each.model}" for each in (one, two))
    return Point(side="for", about=f"{one.about} {one.over}: {ratios}", numbers=(*one.numbers, *two.numbers))


def _swing(both: tuple[Point, Point]) -> tuple[float, str, str]:
    """By which factor the ratio of two methods differs between two models; their words settle a tie."""
    low, high = sorted(point.figure or 0.0 for point in both)
    return (high / low if low else float("inf"), f"{both[0].about} {both[0].over}", both[1].model)


def depends_on_resources(run: Run) -> Finding | None:
    """Whether what a target has decides which methods run there at all."""
    points = []
    for evidence in run.evidences:
        for target in TARGETS:
            found = [point for name in run.methods if (point := carried(evidence, name, target))]
            sides = {point.side for point in found} - {"open"}
            if len(found) > 1 and sides:
                mixed = len(sides) > 1
                about = f"on {target} " + ("some methods answer and some don't" if mixed else "all fare alike")
                numbers = tuple(one for point in found for one in point.numbers)
                side: Side = "for" if mixed else "against"
                points.append(Point(side=side, about=about, model=evidence.model, numbers=numbers))
    deciding = [point for point in points if point.side == "for"]
    return settled(deciding or points)


def _broad(run: Run, methods: Sequence[str]) -> bool:
    """Whether so many families are compared that something can be said of methods in general."""
    return len({run.methods[name].FAMILY for name in methods}) >= FEWEST_FAMILIES


def _comparable(run: Run, evidence: Evidence) -> list[str]:
    """The methods on a machine of one's own that answer rightly."""
    return [name for name in run.self_hosted() if answers(evidence, name)]


# --- containers ----------------------------------------------------------------------------------

#: Targets with a file system of their own, the least that a release is: what a model needs beside it is not there.
LEAST: tuple[Target, ...] = ("debian-older", "debian-newer", "no-python")


def whole_environment(run: Run) -> Finding | None:
    """Whether an image answers with nothing of the machine's files: in a container its file system is all there is.

    So it is not carried to other releases, where it would find what it brings along; the other targets count.
    """
    names = run.of_family("container")
    points = [
        point
        for evidence in run.evidences
        for name in names
        for point in (
            answered(evidence, name, " with no file of the machine's"),
            *(carried(evidence, name, target) for target in TARGETS),
        )
    ]
    return settled(points)


def many_dependencies(run: Run) -> Finding | None:
    """Whether a container's start gets nearer to a virtual environment's the more dependencies a model has.

    The model is the replicate: it takes some models to see a trend, and a test of it to tell it from chance.
    """
    points: list[Point] = []
    ratios: list[tuple[int, Point]] = []
    for evidence in run.evidences:
        count = features(evidence, "dependencies")
        works = answered(evidence, "container")
        if works and works.side == "against" and count >= MANY_DEPENDENCIES:
            points.append(works)
        if answers(evidence, "container") and answers(evidence, "venv"):
            ratio = below(evidence, "container", "venv", "cold_start_s", "disk-cold")
            ratios += [(count, ratio)] if ratio is not None else []
    ratios.sort(key=lambda row: row[0])
    if len(ratios) >= FEWEST_MODELS and len({count for count, _ in ratios}) > 1:
        points.append(_trend_of(ratios))
    told = ", ".join(f"{point.model} ({count}) {shown(point.figure or 0.0, 'ratio')}" for count, point in ratios)
    turns = f"more than the number of dependencies; the start's ratio by their number: {told}"
    return settled(points, turns=turns)


def _trend_of(ratios: Sequence[tuple[int, Point]]) -> Point:
    tau, chance = trend([(count, point.figure or 0.0) for count, point in ratios])
    side: Side = "open" if chance > LIKELY_CHANCE else "for" if tau < 0 else "against"
    found = {"for": "falls", "against": "rises", "open": "neither surely rises nor surely falls"}[side]
    about = (
        f"the disk-cold start of container to venv {found} with the number of dependencies over {len(ratios)} models"
    )
    numbers = tuple(one for _, point in ratios for one in point.numbers)
    return Point(side=side, about=f"{about} (Kendall's tau {tau:+.2f}, p = {chance:.3f})", numbers=numbers)


def trend(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Kendall's tau-b of the pairs, and how often shuffled ones give as strong a trend, either way (seeded)."""

    def score(values: Sequence[float]) -> int:
        rows = itertools.combinations(zip(firsts, values, strict=True), 2)
        return sum(_sign(one[0] - two[0]) * _sign(one[1] - two[1]) for one, two in rows)

    firsts, seconds = [one for one, _ in pairs], [two for _, two in pairs]
    found = score(seconds)
    untied = [sum(one != two for one, two in itertools.combinations(values, 2)) for values in (firsts, seconds)]
    if not all(untied):
        return 0.0, 1.0
    draw = random.Random(bootstrap.SEED)
    shuffled = list(seconds)
    as_strong = 0
    for _ in range(_SHUFFLES):
        draw.shuffle(shuffled)
        as_strong += abs(score(shuffled)) >= abs(found)
    return found / math.sqrt(untied[0] * untied[1]), (1 + as_strong) / (1 + _SHUFFLES)


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def system_libraries(run: Run) -> Finding | None:
    """Whether a model with system packages answers from a container where it does not from what brings no libraries.

    That a method fails on a target counts only where it answers there for a model without system packages: else the
    reason is another.
    """
    needing = [one for one in run.evidences if features(one, "system_packages")]
    plain = [one for one in run.evidences if not features(one, "system_packages")]
    names = [name for name in run.self_hosted() if "carries-system-libraries" not in run.methods[name].PROVIDES]
    points = [
        point
        for evidence in needing
        for target in LEAST
        if (point := _needs_the_container(evidence, plain, names, target))
    ]
    return settled(points)


def _needs_the_container(
    evidence: Evidence, plain: Sequence[Evidence], names: Sequence[str], target: Target
) -> Point | None:
    """What a container has of its own is the same on every release: its right answers hold for the target."""
    own = carried(evidence, "container", target) or answered(evidence, "container")
    if own is None or own.side != "for":
        return own
    others = [
        point
        for name in names
        if (point := carried(evidence, name, target))
        and any((control := carried(one, name, target)) and control.side == "for" for one in plain)
    ]
    if not others:
        return None
    numbers = tuple(one for point in (own, *others) for one in point.numbers)
    failing = [point.numbers[0].method for point in others if point.side == "against"]
    about = f"on {target}, which lacks the packages, container answers"
    about += f" and {words.listing(failing)} not" if failing else ", and so does what brings no system libraries"
    return Point(side="for" if failing else "against", about=about, model=evidence.model, numbers=numbers)


# --- virtual environments ------------------------------------------------------------------------


def isolated(run: Run) -> Finding | None:
    """Whether two models that pin different releases of a package both answer rightly on one machine."""
    by_name = {evidence.model: evidence for evidence in run.evidences}
    old = by_name.get(PINS_OLD)
    new = next((by_name[name] for name in PINS_NEW if name in by_name), None)
    if old is None or new is None:
        return None
    points = [
        point
        for name in run.of_family("virtual-environment")
        if answers(old, name) is not None and answers(new, name) is not None
        for evidence in (old, new)
        if (point := answered(evidence, name, f", two releases of {PINNED} on one machine"))
    ]
    return settled(points)


def specific_versions(run: Run) -> Finding | None:
    """Whether virtual environments answer rightly for models that pin their requirements."""
    names = run.of_family("virtual-environment")
    points = [answered(evidence, name) for evidence in run.evidences if features(evidence, "pinned") for name in names]
    return settled(points)


def versions_rule(run: Run) -> Finding | None:
    """Whether the case of pinned versions singles virtual environments out, or other families keep them as well."""
    ours = run.of_family("virtual-environment")
    others = [
        name for name, method in run.methods.items() if name not in ours and "locked-dependencies" in method.PROVIDES
    ]
    points = []
    for evidence in run.evidences:
        tried = [name for name in others if answers(evidence, name) is not None]
        if not features(evidence, "pinned") or not tried or not any(answers(evidence, name) for name in ours):
            continue
        as_well = [name for name in tried if answers(evidence, name)]
        numbers = tuple(number(evidence, value) for name in as_well if (value := evidence.value(name, "parity")))
        if as_well:
            families = dict.fromkeys(run.methods[name].FAMILY.replace("-", " ") for name in as_well)
            about = f"methods of other families keep the same pinned versions: {words.listing(families)}"
            points.append(Point(side="against", about=about, model=evidence.model, numbers=numbers))
        else:
            points.append(Point(side="for", about="no method of another family answers", model=evidence.model))
    return settled(points)


def reproduces(run: Run) -> Finding | None:
    """Whether two clean builds of a virtual environment have the same contents; the other families beside it."""
    ours = run.of_family("virtual-environment")
    points, also = [], []
    for evidence in run.evidences:
        for name in run.methods:
            value = evidence.value(name, "reproducible")
            if value is None or value.interval is None:
                continue
            same = value.interval.median
            taken = number(evidence, value)
            if name not in ours:
                also.append(taken)
                continue
            said = {1.0: "comes out the same", 0.0: "comes out different"}.get(same, "comes out the same at times")
            side: Side = "for" if same == 1 else "against" if same == 0 else "open"
            points.append(Point(side=side, about=f"{name} {said}", model=evidence.model, numbers=(taken,)))
    return settled(points, also=also)


# --- PEX -----------------------------------------------------------------------------------------


def single_file(run: Run) -> Finding | None:
    """Whether one file answers rightly without a network; system packages of the model are not in it."""
    points: list[Point | None] = []
    names = [name for name in PEX if name in run.methods]
    for evidence in run.evidences:
        for name in names:
            point = answered(evidence, name, " without a network")
            points.append(point)
            missing = features(evidence, "system_packages")
            if point and missing and "carries-system-libraries" not in run.methods[name].PROVIDES:
                about = f"{name} leaves the model's system packages to the target"
                points.append(Point(side="against", about=about, model=evidence.model))
    turns = "what a dependency is: those of Python are in the file, system packages are not"
    return settled(points, turns=turns)


def no_python(run: Run) -> Finding | None:
    """Whether a PEX answers where no Python is installed."""
    names = [name for name in PEX if name in run.methods]
    points = [carried(evidence, name, "no-python") for evidence in run.evidences for name in names]
    turns = "whether the file was built with an interpreter in it (pex-scie) or looks for the target's (pex)"
    return settled(points, turns=turns)


def lightweight(run: Run) -> Finding | None:
    """Whether a PEX is smaller than what other families make: on its way, once started, and over a shared base."""
    sizes = (("packed_bytes", ""), ("unpacked_bytes", ""), ("over_base_bytes", ""))
    return settled(_against_other_families(run, sizes))


def low_memory(run: Run) -> Finding | None:
    """Whether a PEX starts within less memory than what other families make."""
    return settled(_against_other_families(run, (("minimum_memory_bytes", ""),)))


def low_cpu(run: Run) -> Finding | None:
    """Whether a PEX uses less CPU until its first answer than what other families make, at first and later starts."""
    used = (("cpu_to_first_s", "disk-cold"), ("cpu_to_first_s", "page-warm"))
    return settled(_against_other_families(run, used))


def _against_other_families(run: Run, criteria: Sequence[tuple[str, str]]) -> Iterator[Point]:
    """A PEX against every method of another family on a machine of one's own, by each criterion."""
    for evidence in run.evidences:
        ours = [name for name in PEX if name in run.methods and answers(evidence, name)]
        others = [name for name in _comparable(run, evidence) if run.methods[name].FAMILY != "executable"]
        for metric, state in criteria:
            for one, other in itertools.product(ours, others):
                point = below(evidence, one, other, metric, state)
                if point is not None:
                    yield point


# --- cloud platforms -----------------------------------------------------------------------------


def managed(run: Run) -> Finding | None:
    """What is documented of managing versions and of monitoring on the cloud platforms."""
    return _documented(run, "rollback", "managed-monitoring")


def autoscaling(run: Run) -> Finding | None:
    """What is documented of adding and taking away instances."""
    return _documented(run, "autoscaling")


def patching(run: Run) -> Finding | None:
    """What is documented of patching the system and Python that a model runs on."""
    return _documented(run, "managed-patching")


def _documented(run: Run, *qualities: Quality) -> Finding | None:
    rows = stated(run, run.of_family("cloud-platform"), *qualities)
    return settled(points_of(rows), stated_of=rows)


#: What became of the platforms that the article names, by their vendors' own pages.
NAMED = (
    Stated(
        method="sagemaker",
        about="AWS SageMaker",
        has=True,
        statement="documents how a container of one's own is served",
        source="https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html",
        read_on=_READ_ON,
    ),
    Stated(
        method="vertex",
        about="Google Cloud ML Engine",
        has=False,
        statement="later called AI Platform Prediction; deprecated on 2023-07-26, shut down on 2025-01-31; "
        "Vertex AI takes its place",
        source="https://cloud.google.com/ai-platform/prediction/docs/deprecations",
        read_on=_READ_ON,
    ),
    Stated(
        method="azureml",
        about="Azure Machine Learning Studio",
        has=False,
        statement="as Machine Learning Studio (classic), no new resources since 2021-12-01, support ended on "
        "2024-08-31; Azure Machine Learning takes its place",
        source="https://learn.microsoft.com/rest/api/machinelearning/",
        read_on=_READ_ON,
    ),
)


def platforms_named(run: Run) -> Finding | None:
    """Whether the platforms that the article names are still there."""
    points = [
        Point(side="for" if row.has else "against", about=f"{row.about} is {'there' if row.has else 'gone'}")
        for row in NAMED
    ]
    turns = "the name: the successors (Vertex AI, Azure Machine Learning) do what is said, and are what is packaged for"
    return settled(points, stated_of=NAMED, turns=turns)


# --- wrapper or API ------------------------------------------------------------------------------


def web_interface(run: Run) -> Finding | None:
    """Whether the wrapper answers rightly over HTTP; that it has a form page is stated."""
    names = run.of_family("api")
    points = [answered(evidence, name, " over HTTP") for evidence in run.evidences for name in names]
    return settled(points)


def existing_systems(run: Run) -> Finding | None:
    """Whether a wrapper is what makes a model callable; what it adds to a start is shown beside it."""
    names = run.of_family("api")
    points = [answered(evidence, name, " over HTTP") for evidence in run.evidences for name in names]
    if not any(points):
        return None
    rows = stated(run, [name for name in run.methods if name not in names], "http-api")
    callable_anyway = [row.method for row in rows if row.has]
    others = [row.method for row in rows if not row.has]
    if callable_anyway:
        points.append(Point(side="against", about=f"{words.listing(callable_anyway)}: callable over HTTP without one"))
    if others:
        points.append(Point(side="for", about=f"{words.listing(others)}: not callable over HTTP without one"))
    price = [
        one
        for evidence in run.evidences
        for name in names
        for metric, state in (
            ("cold_start_s", "page-warm"),
            ("warm_request_s", "page-warm"),
            ("latency_p50_s", "single-stream"),
        )
        if (point := below(evidence, name, "venv", metric, state))
        for one in point.numbers
    ]
    turns = "where it runs: on a machine of one's own a wrapper makes it callable, on a vendor's platform it is already"
    return settled(points, also=price, turns=turns)
