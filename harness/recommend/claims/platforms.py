"""What the article claims of cloud platforms, held against what their vendors document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.recommend.claims.judging import Finding, Point, Run, Stated, points_of, settled, stated

if TYPE_CHECKING:
    from harness.spec.scenario import Quality


_READ_ON = "2026-11-23"

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


def platforms_named(run: Run) -> Finding | None:
    """Whether the platforms that the article names are still there."""
    points = [
        Point(side="for" if row.has else "against", about=f"{row.about} is {'there' if row.has else 'gone'}")
        for row in NAMED
    ]
    turns = "the name: the successors (Vertex AI, Azure Machine Learning) do what is said, and are what is packaged for"
    return settled(points, stated_of=NAMED, turns=turns)
