"""What the article claims of PEX: one file, without Python, small and sparing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from harness.recommend.claims.judging import (
    Finding,
    Point,
    Run,
    answered,
    answers,
    below,
    carried,
    comparable,
    features,
    settled,
)

#: The methods that are the article's PEX; the others of its family are not by that tool.
METHODS = ("pex", "pex-scie")


def single_file(run: Run) -> Finding | None:
    """Whether one file answers rightly without a network; system packages of the model are not in it."""
    points: list[Point | None] = []
    names = [name for name in METHODS if name in run.methods]
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
    names = [name for name in METHODS if name in run.methods]
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
        ours = [name for name in METHODS if name in run.methods and answers(evidence, name)]
        others = [name for name in comparable(run, evidence) if run.methods[name].FAMILY != "executable"]
        for metric, state in criteria:
            for one, other in itertools.product(ours, others):
                point = below(evidence, one, other, metric, state)
                if point is not None:
                    yield point
