"""What the article claims of virtual environments: isolation, versions that stay, the same thing twice."""

from __future__ import annotations

from harness.recommend import words
from harness.recommend.claims.judging import Finding, Point, Run, Side, answered, answers, features, number, settled

#: A sample model that pins an old release, and those that pin a later one of the same package; the tests hold this
#: against their files.
PINS_OLD, PINS_NEW, PINNED = "wine-pinned", ("digits-forest", "diabetes-ensemble", "income-pandas"), "scikit-learn"


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
