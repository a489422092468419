"""What a run will make in the user's AWS account and what that will cost, to be confirmed before anything is made.

An estimate, on the high side on purpose: prices are list prices of US East (N. Virginia) without free tiers, and
each start is counted with the seconds assumed here. AWS's bill is what counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_READ_ON = "2026-11-23"


@dataclass(frozen=True, kw_only=True)
class Price:
    """A list price in US dollars."""

    name: str
    usd: float
    unit: str
    source: str
    read_on: str = _READ_ON


_LAMBDA = (
    "How AWS Pricing Works, Lambda, https://docs.aws.amazon.com/whitepapers/latest/how-aws-pricing-works/lambda.html"
)
PRICES = {
    "lambda-memory": Price(name="Lambda, memory and time", usd=0.00001667, unit="GB-second", source=_LAMBDA),
    "lambda-request": Price(name="Lambda, requests", usd=0.0000002, unit="request", source=_LAMBDA),
    "s3-storage": Price(
        name="S3, storage",
        usd=0.023,
        unit="GB-month",
        source="S3 Standard, first 50 TB, https://gist.github.com/EverettBerry/a37438006529a55f42da6fdbc44a505c (2022)",
    ),
    "ecr-storage": Price(
        name="ECR, storage",
        usd=0.10,
        unit="GB-month",
        source="Amazon ECR Pricing, https://cloudburn.io/blog/amazon-ecr-pricing (March 2026)",
    ),
    "sagemaker-machine": Price(
        name="SageMaker, ml.m5.xlarge for an endpoint",
        usd=0.269,
        unit="hour",
        source="https://zircon.tech/blog/the-real-cost-of-running-ai-models-on-aws-sagemaker-inference-deep-dive "
        "(October 2025); others of the family in proportion to their size",
    ),
}

#: Seconds that a function is taken to be billed for at each start, and hours that a start's machine is.
SECONDS_A_START = 15.0
HOURS_A_START = 0.5

#: What is taken to be stored, for a day, for each function or model.
STORED_GB = {"lambda-zip": 0.25, "lambda-image": 2.0, "sagemaker": 2.0}
_MONTHS_STORED = 1 / 30

_FAMILY_MB = 16384  # of ml.m5.xlarge


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A cell that goes to AWS: its method, its model, the model's memory, and how often it is started."""

    method: str
    model: str
    memory_mb: int
    starts: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """A kind of thing that will be made: how many, and for what."""

    what: str
    count: int
    why: str


@dataclass(frozen=True, kw_only=True)
class Planned:
    """Everything that will be made, the estimate in US dollars, and what it was computed with."""

    rows: tuple[Row, ...]
    usd: float
    prices: tuple[Price, ...]
    assumed: str


#: What each method makes for one cell: the thing, how many (``starts`` for one a start), and why.
MADE: dict[str, tuple[tuple[str, str, str], ...]] = {
    "lambda-zip": (
        ("Lambda function", "one", "the model"),
        ("CloudWatch log group", "one", "the function's log"),
        ("S3 bucket", "one", "a zip over 50 MB is uploaded through it"),
    ),
    "lambda-image": (
        ("Lambda function", "one", "the model"),
        ("CloudWatch log group", "one", "the function's log"),
        ("ECR repository", "one", "the image"),
    ),
    "sagemaker": (
        ("SageMaker model", "one", "the model"),
        ("SageMaker endpoint configuration", "one", "names the machine"),
        ("SageMaker endpoint", "starts", "one for each start, deleted after it"),
        ("CloudWatch log group", "starts", "the endpoint's log"),
        ("S3 bucket", "one", "the model's archive"),
        ("ECR repository", "one", "the image"),
        ("IAM role", "one", "may read the model's archive and image, and write its log"),
    ),
}


def planned(cells: Iterable[Wanted], *, own_role: bool) -> Planned:
    """What the cells will make. ``own_role`` is whether the user gives an execution role, so that none is made."""
    wanted = [cell for cell in cells if cell.method in MADE]
    counts: dict[tuple[str, str], int] = {}
    for cell in wanted:
        for what, many, why in MADE[cell.method]:
            if what != "IAM role" or not own_role:
                counts[what, why] = counts.get((what, why), 0) + (cell.starts if many == "starts" else 1)
    if not own_role and any(cell.method.startswith("lambda") for cell in wanted):
        counts["IAM role", "lets functions write their logs, nothing else"] = 1
    return Planned(
        rows=tuple(Row(what=what, count=count, why=why) for (what, why), count in counts.items()),
        usd=sum(_cost(cell) for cell in wanted),
        prices=tuple(PRICES[name] for name in _used(wanted)),
        assumed=(
            f"at most {SECONDS_A_START:g} s billed for each start of a function, {HOURS_A_START:g} h of a machine for "
            "each start of an endpoint, storage for a day; list prices of US East, without free tiers"
        ),
    )


def _cost(cell: Wanted) -> float:
    stored = STORED_GB[cell.method] * _MONTHS_STORED
    if cell.method == "sagemaker":
        machine = PRICES["sagemaker-machine"].usd * max(cell.memory_mb / _FAMILY_MB, 0.5)
        return cell.starts * HOURS_A_START * machine + stored * PRICES["ecr-storage"].usd
    seconds = cell.starts * SECONDS_A_START * cell.memory_mb / 1024
    requests = 3 * cell.starts * PRICES["lambda-request"].usd
    storage = PRICES["s3-storage" if cell.method == "lambda-zip" else "ecr-storage"].usd
    return seconds * PRICES["lambda-memory"].usd + requests + stored * storage


def _used(wanted: Sequence[Wanted]) -> list[str]:
    found: set[str] = set()
    for cell in wanted:
        if cell.method == "sagemaker":
            found |= {"sagemaker-machine", "ecr-storage"}
        else:
            found |= {"lambda-memory", "lambda-request"}
            found.add("s3-storage" if cell.method == "lambda-zip" else "ecr-storage")
    return [name for name in PRICES if name in found]
