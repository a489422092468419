"""The ledger of what was made in an account, and the plan that is confirmed before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.platforms import aws, aws_plan
from harness.platforms.aws import Ledger
from harness.platforms.aws_kinds import KINDS, PREFIX, absent
from harness.platforms.aws_plan import MADE, PRICES, Wanted


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(file=tmp_path / "a.json", run="0123abcd", account="1", region="eu-central-1")


def test_a_ledger_is_read_as_it_was_written(ledger: Ledger) -> None:
    """All of it, in the order in which things were made."""
    ledger.note("role", "mlph-r", "asked")
    ledger.note("bucket", "mlph-b", "made")
    ledger.note("role", "mlph-r", "made")
    again = Ledger.read(ledger.file)
    assert again == ledger
    assert [entry.name for entry in again.open_entries()] == ["mlph-b", "mlph-r"]


def test_what_is_gone_is_not_open(ledger: Ledger) -> None:
    """Nor is what turned out to be somebody else's."""
    for name, state in (("a", "gone"), ("b", "not ours"), ("c", "asked")):
        ledger.note("role", name, state)  # type: ignore[arg-type]
    assert [entry.name for entry in ledger.open_entries()] == ["c"]


@pytest.mark.parametrize("text", ["", "{}", '{"run": "x", "account": "1", "region": "r", "entries": [{"no": 1}]}'])
def test_a_damaged_ledger_is_said(ledger: Ledger, text: str) -> None:
    """With where to look instead."""
    ledger.file.write_text(text)
    with pytest.raises(BadInput, match="not a ledger") as told:
        Ledger.read(ledger.file)
    assert PREFIX in told.value.remedy


def test_a_ledger_that_is_held_is_somebodys(ledger: Ledger) -> None:
    """Two harnesses can't have it at once."""
    with aws._held(ledger.file) as first, aws._held(ledger.file, wait=False) as second:
        assert first
        assert not second


def test_names_hold_the_run_and_fit_everywhere(ledger: Ledger) -> None:
    """No two are the same; a bucket's may have 63 characters."""
    account = aws.Account(kind="moto", session=None, ledger=ledger)
    first = account.name("a-model-with-a-name-that-is-as-long-as-the-specification-allows-it")
    ledger.note("role", first, "asked")
    second = account.name("role")
    assert first != second
    assert all(PREFIX in name and "0123abcd" in name and len(name) <= 63 for name in (first, second))


def test_every_kind_has_a_title_and_a_service() -> None:
    """The list of what may be left over names them."""
    assert all(kind.title and kind.service for kind in KINDS.values())


def test_an_error_that_is_not_aws_is_no_absence() -> None:
    """Only AWS's own word counts."""
    assert not absent(OSError())


# --- the plan ------------------------------------------------------------------------------------


def cell(method: str, starts: int = 9, memory_mb: int = 2048) -> Wanted:
    return Wanted(method=method, model="m", memory_mb=memory_mb, starts=starts)


def test_a_plan_names_everything_once() -> None:
    """Two functions share one role; an endpoint is there for each start."""
    found = aws_plan.planned(
        [cell("lambda-zip"), cell("lambda-image"), cell("sagemaker"), cell("venv")], own_role=False
    )
    counts = {(row.what, row.why): row.count for row in found.rows}
    assert sum(count for (what, _), count in counts.items() if what == "Lambda function") == 2
    assert sum(count for (what, _), count in counts.items() if what == "SageMaker endpoint") == 9
    assert sum(count for (what, _), count in counts.items() if what == "IAM role") == 2
    assert {price.name for price in found.prices} == {price.name for price in PRICES.values()}


def test_with_a_role_of_the_users_none_is_made() -> None:
    found = aws_plan.planned([cell("lambda-zip"), cell("sagemaker")], own_role=True)
    assert all(row.what != "IAM role" for row in found.rows)


def test_what_does_not_go_to_aws_costs_nothing() -> None:
    found = aws_plan.planned([cell("venv")], own_role=False)
    assert (found.rows, found.usd, found.prices) == ((), 0, ())


def test_the_estimate_is_what_the_prices_make_of_it() -> None:
    """By hand: ten starts of 15 s at 1 GB, three requests each, and a quarter of a GB in S3 for a day."""
    found = aws_plan.planned([cell("lambda-zip", starts=10, memory_mb=1024)], own_role=False)
    assert found.usd == pytest.approx(150 * 0.00001667 + 30 * 0.0000002 + 0.25 / 30 * 0.023)
    endpoint = aws_plan.planned([cell("sagemaker", starts=4, memory_mb=2048)], own_role=False)
    assert endpoint.usd == pytest.approx(4 * 0.5 * 0.269 / 2 + 2 / 30 * 0.10)


def test_every_price_has_a_source_and_a_date() -> None:
    assert all(price.source.count("http") == 1 and price.read_on for price in PRICES.values())
    assert set(MADE) == set(aws_plan.STORED_GB)


def test_a_ledger_is_json_that_people_can_read(ledger: Ledger) -> None:
    """Somebody may have to clean up by hand."""
    ledger.note("role", "mlph-r", "made")
    table = json.loads(ledger.file.read_text())
    assert (table["account"], table["region"], table["entries"][0]["name"]) == ("1", "eu-central-1", "mlph-r")
