"""What the article claims of containers: what they bring along, and what that costs."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness import bootstrap
from harness.metrics import TARGETS, Target
from harness.recommend import words
from harness.recommend.article import MANY_DEPENDENCIES
from harness.recommend.claims.judging import (
    Finding,
    Point,
    Run,
    Side,
    answered,
    answers,
    below,
    carried,
    features,
    settled,
    shown,
)

if TYPE_CHECKING:
    from harness.store.query import Evidence


#: Targets with a file system of their own, the least that a release is: what a model needs beside it is not there.
LEAST: tuple[Target, ...] = ("debian-older", "debian-newer", "no-python")

#: Fewest models that a trend is looked for in. Of four, one order in twelve is in line either way; six leave
#: room for a model that is not.
FEWEST_MODELS = 6
LIKELY_CHANCE = 0.05
_SHUFFLES = 2000


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
