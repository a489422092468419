"""How a claim is judged: from what one run holds, to a word, with the numbers behind it.

A judge is a pure function of the evidence of one run. It gathers points, each of which speaks for the claim, against
it, or for neither because the interval does not decide; :func:`settled` makes a finding of them. A claim is supported
only where every point speaks for it and contradicted only where every one speaks against it; all else depends, and the
finding says on what. Runs are never pooled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from harness import bootstrap
from harness.metrics import Fidelity, Unit
from harness.recommend import words
from harness.spec import capabilities
from harness.store import query

if TYPE_CHECKING:
    from harness.bootstrap import Interval
    from harness.recommend.limits import Packaging
    from harness.spec.scenario import Quality
    from harness.store.query import Evidence, Value

Word = Literal["supported", "contradicted", "depends", "not measured yet", "not testable here"]
Side = Literal["for", "against", "open"]

#: What a search for the smallest memory limit leaves open: the answer is at most this much above the true one,
#: whichever is more (:mod:`harness.measure.memory_limit`).
MEMORY_RESOLUTION_SHARE, MEMORY_RESOLUTION_BYTES = 0.05, 4 * 2**20

_SIDES: dict[Side, str] = {"for": "for it", "against": "against it", "open": "not decided"}
_FIDELITIES: tuple[Fidelity, ...] = get_args(Fidelity)
_MOST_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Number:
    """A value behind a verdict: of ``method``, or paired within rounds ``over`` another method (then ``ratio``).

    ``unit`` is the metric's, ``ratio``, or ``1/day`` for what a price table makes of it.
    """

    run_id: str
    model: str
    method: str
    metric: str
    state: str
    over: str = ""
    unit: Unit | Literal["ratio", "1/day"]
    fidelity: Fidelity
    n: int
    median: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What is documented of a method, by whom, and when that was read."""

    method: str
    about: str
    has: bool
    statement: str
    source: str
    read_on: str


@dataclass(frozen=True, kw_only=True)
class Point:
    """One thing that speaks for a claim, against it, or does not decide.

    ``about`` says what it is, in the words of a reader, of ``over`` where it is compared with that; points that say the
    same are told together. ``figure`` is the number that was looked at, in ``unit``.
    """

    side: Side
    about: str
    over: str = ""
    model: str = ""
    figure: float | None = None
    unit: Unit | Literal["ratio", "1/day"] = "ratio"
    numbers: tuple[Number, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a run says of a claim. ``turns`` is on what it depends, or where it would turn."""

    word: Word
    text: str
    turns: str = ""
    numbers: tuple[Number, ...] = ()
    stated: tuple[Stated, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a judge is given: the models that one run measured, and the methods that there are."""

    run_id: str
    evidences: tuple[Evidence, ...]
    methods: Mapping[str, Packaging]

    def of_family(self, *families: str) -> list[str]:
        """The methods of those families, in the table's order."""
        return [name for name, method in self.methods.items() if method.FAMILY in families]

    def self_hosted(self) -> list[str]:
        """The methods that run on a machine of one's own: what is measured of them is no stand-in's."""
        return [name for name, method in self.methods.items() if method.LAYERS.platform.startswith("self-hosted")]


#: None where the run does not hold what the claim is tested by.
Judge = Callable[[Run], Finding | None]


# --- points --------------------------------------------------------------------------------------


def number(evidence: Evidence, value: Value, interval: Interval | None = None, over: Value | None = None) -> Number:
    """A value as it stands behind a verdict; with ``over``, the ``interval`` of its ratio to that one."""
    found = interval or value.interval
    assert found is not None
    fidelities = [value.fidelity, *([over.fidelity] if over else [])]
    return Number(
        run_id=evidence.run_id,
        model=evidence.model,
        method=value.method,
        metric=value.metric,
        state=value.state,
        over=over.method if over else "",
        unit="ratio" if over else value.declared.unit,
        fidelity=max(fidelities, key=_FIDELITIES.index),
        n=found.n,
        median=found.median,
        low=found.low,
        high=found.high,
    )


def below(
    evidence: Evidence, method: str, other: str, metric: str, state: str = "", *, margin: float = 0.0
) -> Point | None:
    """Whether the metric of ``method`` is below that of ``other``, by their ratio; None where either is not there.

    With a ``margin`` the interval has to stay that far from 1: for who looks through many comparisons for one that
    decides, since of a hundred intervals some leave 1 out by chance. What is exact needs none. A start has to be
    further from 1 than a method's from its own (A/A), where the run has that.
    """
    one, two = evidence.value(method, metric, state), evidence.value(other, metric, state)
    ratio = query.paired_ratio(one, two)
    if one is None or two is None or ratio is None:
        return None
    itself = evidence.canary(state) if metric == "cold_start_s" else None
    margin = max(margin, abs(itself.median - 1)) if itself else margin
    return Point(
        side=_side(one, two, ratio, margin),
        about=f"{words.measure(metric, state)}, {method} to",
        over=other,
        model=evidence.model,
        figure=ratio.median,
        numbers=(number(evidence, one, ratio, two),),
    )


def _side(one: Value, two: Value, ratio: Interval, margin: float) -> Side:
    if one.metric == "minimum_memory_bytes":
        return _side_of_limits(one, two)
    if not decisive(one, ratio):
        return "open"
    far = 1.0 if exact(one) else 1 - margin
    return "for" if ratio.high < far else "against" if ratio.low > 1 / far else "open"


def _side_of_limits(one: Value, two: Value) -> Side:
    """A limit that was found by bisection lies above the true one by up to the search's resolution."""
    assert one.interval is not None and two.interval is not None  # noqa: PT018  (there is a ratio)

    def least(interval: Interval) -> float:
        return interval.low - max(MEMORY_RESOLUTION_SHARE * interval.low, MEMORY_RESOLUTION_BYTES)

    if one.interval.high < least(two.interval):
        return "for"
    return "against" if two.interval.high < least(one.interval) else "open"


def exact(value: Value) -> bool:
    """Whether any difference is one: a size of the artifact, a yes or no."""
    declared = value.declared
    return declared.unit == "bool" or (declared.of == "artifact" and declared.unit in {"bytes", "n"})


def decisive(value: Value, interval: Interval) -> bool:
    """Whether so many replicates can decide: a time or a use needs those of a headline median."""
    return exact(value) or interval.n >= bootstrap.FEWEST[50]


def answers(evidence: Evidence, method: str) -> bool | None:
    """Whether the method answered every example rightly; None where the run did not try it."""
    parity = evidence.value(method, "parity")
    if parity is None or (parity.interval is None and not parity.failed and not parity.unfit):
        return None
    return not evidence.failure(method)


def comparable(run: Run, evidence: Evidence) -> list[str]:
    """The methods on a machine of one's own that answer rightly.

    Starts are compared only between these: what starts on a stand-in for a vendor's platform is not that platform.
    """
    return [name for name in run.self_hosted() if answers(evidence, name)]


def answered(evidence: Evidence, method: str, doing: str = "") -> Point | None:
    """That the method answers rightly speaks for a claim, that it does not, against it; ``doing`` says what by that.

    None too where it fails and so does every other: then the model may be at fault, and a claim is not about that.
    """
    right = answers(evidence, method)
    if right is None or not (right or any(answers(evidence, name) for name in evidence.methods)):
        return None
    value = evidence.value(method, "parity")
    assert value is not None
    said = f"{method} answers rightly" if right else f"{method}: {brief(evidence.failure(method))}"
    return Point(
        side="for" if right else "against",
        about=f"{said}{doing}" if right else said,
        model=evidence.model,
        numbers=(number(evidence, value),) if value.interval else (),
    )


def carried(evidence: Evidence, method: str, target: str) -> Point | None:
    """Whether the method's artifact answers on that target; None where it was not carried there."""
    value = evidence.value(method, "portable", target)
    if value is None or value.interval is None:
        return None
    share = value.interval.median
    said = {1.0: "answers", 0.0: "does not answer"}.get(share, "answers in some tries only")
    return Point(
        side="for" if share == 1 else "against" if share == 0 else "open",
        about=f"{method} {said} on {target}",
        model=evidence.model,
        numbers=(number(evidence, value),),
    )


def stated(run: Run, names: Iterable[str], *qualities: Quality) -> tuple[Stated, ...]:
    """What is documented of those methods and qualities: of each, the statement that decides."""
    return tuple(
        Stated(
            method=name,
            about=quality,
            has=quality in run.methods[name].PROVIDES,
            statement=rows[0].statement,
            source=rows[0].source,
            read_on=rows[0].read_on,
        )
        for name in names
        for quality in qualities
        if (rows := capabilities.about(quality, run.methods[name].LAYERS))
    )


def points_of(rows: Iterable[Stated]) -> list[Point]:
    """What is documented, as points: the methods of which the same is said, together."""
    groups: dict[tuple[str, bool], list[str]] = {}
    for row in rows:
        groups.setdefault((row.about, row.has), []).append(row.method)
    return [
        Point(
            side="for" if has else "against",
            about=f"{'has' if has else 'lacks'} '{about}': {words.listing(names)}",
        )
        for (about, has), names in groups.items()
    ]


def features(evidence: Evidence, name: Literal["dependencies", "pinned", "system_packages"]) -> int:
    """A feature of the model, from the run's own record of it."""
    return int(evidence.manifest.models.get(evidence.model, {}).get("features", {}).get(name, 0))


# --- from points to a finding --------------------------------------------------------------------


def settled(
    points: Iterable[Point | None], *, stated_of: Sequence[Stated] = (), also: Iterable[Number] = (), turns: str = ""
) -> Finding | None:
    """The finding that the points make; None where there is none. ``also`` is shown beside them and decides nothing."""
    found = [point for point in points if point is not None]
    if not found:
        return None
    sides = {point.side for point in found}
    word: Word = "supported" if sides == {"for"} else "contradicted" if sides == {"against"} else "depends"
    return Finding(
        word=word,
        text=told(found),
        turns=(turns or _turning(found)) if word == "depends" else "",
        numbers=tuple(dict.fromkeys((*(one for point in found for one in point.numbers), *also))),
        stated=tuple(stated_of),
    )


def told(points: Sequence[Point]) -> str:
    """The points in words: by side, those of several models together, with the range of what was looked at."""
    several = len({point.model for point in points}) > 1
    sides = [side for side in _SIDES if any(point.side == side for point in points)]
    told_of = {side: "; ".join(_grouped([one for one in points if one.side == side], several)) for side in sides}
    if len(sides) == 1 and sides != ["open"]:
        return told_of[sides[0]]  # the word says it
    return ". ".join(f"{_SIDES[side].capitalize()}: {text}" for side, text in told_of.items())


def _grouped(points: Sequence[Point], several: bool) -> Iterator[str]:
    groups: dict[str, dict[str, list[Point]]] = {}
    for point in points:
        groups.setdefault(point.about, {}).setdefault(point.over, []).append(point)
    for about, members in groups.items():
        parts = [
            "".join((over, *_told_of(those, several, ":" if over == "" else ""))) for over, those in members.items()
        ]
        yield f"{about} {', '.join(parts)}" if "" not in members else about + parts[0]


def _told_of(points: Sequence[Point], several: bool, colon: str) -> Iterator[str]:
    """The range of what was looked at, and the models, where there are several."""
    figures = sorted((point.figure, point.unit) for point in points if point.figure is not None)
    if figures:
        ends = dict.fromkeys(shown(*figure) for figure in (figures[0], figures[-1]))
        yield f"{colon} {' to '.join(ends)}"
    models = [point.model for point in points if point.model]
    if several and models:
        yield f" ({_named(models)})"


def _named(models: Sequence[str]) -> str:
    return words.listing(models) if len(models) <= _MOST_NAMED else f"{len(models)} models"


def _turning(points: Sequence[Point]) -> str:
    """On what it depends: the first thing that tells the points for it from those against it, if one does."""
    if {point.side for point in points} == {"open"}:
        return "nothing that shows: no interval decides, or there are too few starts (more rounds would tell)"
    for title, key in _FACTORS:
        groups: dict[str, set[Side]] = {}
        for point in points:
            groups.setdefault(key(point), set()).add(point.side)
        if len(groups) > 1 and "" not in groups and all(len(sides) == 1 for sides in groups.values()):
            return f"{title}: {_by_side(groups)}"
    looked: dict[str, set[Side]] = {}
    for point in points:
        looked.setdefault(_measured(point) or point.about, set()).add(point.side)
    return f"more than one thing: {_by_side(looked)}"


def _by_side(groups: Mapping[str, set[Side]]) -> str:
    """Which of the groups speak for the claim, against it, and which do not agree among themselves."""
    named: dict[str, list[str]] = {}
    for name, sides in groups.items():
        told_as = _SIDES[next(iter(sides))] if len(sides) == 1 else "divided"
        named.setdefault(told_as, []).append(name)
    order = (*_SIDES.values(), "divided")
    return "; ".join(f"{side}: {words.listing(named[side])}" for side in order if side in named)


def _measured(point: Point) -> str:
    return words.measure(point.numbers[0].metric, point.numbers[0].state) if point.numbers else ""


#: What may tell points apart, with how it is found; nothing (empty) where a point has none of it.
_FACTORS: tuple[tuple[str, Callable[[Point], str]], ...] = (
    ("the model", lambda point: point.model),
    ("the method", lambda point: point.numbers[0].method if point.numbers else ""),
    ("what is measured", _measured),
    ("what it is compared with", lambda point: point.over),
)


def shown(value: float, unit: Unit | Literal["ratio", "1/day"]) -> str:
    """A figure in words; a ratio that is not 1 never reads as 1."""
    if unit == "1/day":
        return f"{words.quantity(float(f'{value:.3g}'), 'n')} a day"
    if unit != "ratio":
        return words.quantity(value, unit)
    digits, most = 3, 9
    while value != 1 and digits < most and float(f"{value:.{digits}g}") == 1:
        digits += 1
    return f"{float(f'{value:.{digits}g}'):,.12g}\N{MULTIPLICATION SIGN}"


def brief(text: str, longest: int = 120) -> str:
    """The first line of a reason; a tool's log may follow it."""
    first = (text.splitlines() or [""])[0].strip()
    return first if len(first) <= longest else first[:longest].rsplit(" ", 1)[0] + " ..."
