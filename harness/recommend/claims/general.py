"""What the article claims of packaging in general: that there are alternatives, and what a choice depends on."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness import bootstrap
from harness.metrics import TARGETS
from harness.recommend import words
from harness.recommend.claims.judging import (
    Finding,
    Point,
    Run,
    Side,
    Stated,
    below,
    carried,
    comparable,
    settled,
    shown,
)

if TYPE_CHECKING:
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

_OURS = "docs/methods.md of this project"
_READ_ON = "2026-11-23"


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
    methods = comparable(run, evidence)
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
    methods = comparable(run, evidence)
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
