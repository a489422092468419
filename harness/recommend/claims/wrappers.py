"""What the article claims of wrappers and APIs: that they make a model callable, and what that costs."""

from __future__ import annotations

from harness.recommend import words
from harness.recommend.claims.judging import Finding, Point, Run, answered, below, settled, stated


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
