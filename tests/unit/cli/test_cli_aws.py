"""The user's own account is used only where that was asked for and confirmed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from harness.cli import aws as command
from harness.errors import BadInput
from harness.platforms import aws
from harness.platforms.aws import Leftover

NUMBER = "123456789012"


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of an account."""
    monkeypatch.setattr(aws, "user_session", lambda: (None, NUMBER, "eu-central-1"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Somebody sits there and types."""

    def types(text: str) -> None:
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(command.click, "prompt", lambda *_, **__: text)

    return types


def plan(made: Any, folder: Any, *methods: str) -> Any:
    return made.plan(methods=methods, folders={"tiny": str(folder.path)})


@pytest.mark.usefixtures("users")
def test_the_accounts_number_confirms(
    made: Any, folder: Any, asked: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """What will be made, where, and what it costs is shown first."""
    asked(f" {NUMBER} ")
    command.confirm(plan(made, folder, "lambda-zip", "venv"), role="", yes=False)
    said = capsys.readouterr().err
    for text in (NUMBER, "eu-central-1", "Lambda function", "IAM role", "S3 bucket", "USD", "never against AWS"):
        assert text in said


@pytest.mark.usefixtures("users")
def test_anything_else_does_not(made: Any, folder: Any, asked: Callable[[str], None]) -> None:
    """Not even yes."""
    asked("yes")
    with pytest.raises(BadInput, match="nothing was made"):
        command.confirm(plan(made, folder, "lambda-zip"), role="", yes=False)


@pytest.mark.usefixtures("users")
def test_without_anybody_there_it_has_to_be_said(made: Any, folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the command line."""
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(BadInput, match="nobody is there") as told:
        command.confirm(plan(made, folder, "lambda-image"), role="", yes=False)
    assert told.value.remedy == "add --yes"
    command.confirm(plan(made, folder, "lambda-image"), role="arn", yes=True)


def test_a_plan_that_needs_no_account_is_refused(made: Any, folder: Any) -> None:
    """Before AWS is asked anything."""
    with pytest.raises(BadInput, match="none of the methods deploys to AWS"):
        command.confirm(plan(made, folder, "venv"), role="", yes=True)


@pytest.mark.parametrize("option", [["--yes"], ["--aws-role", "arn"]])
def test_options_of_the_account_are_for_the_account(harness: Any, folder: Any, option: list[str]) -> None:
    """They would do nothing."""
    said = harness("run", str(folder.path), *option)
    assert said.code == 2
    assert "--aws real" in said.err


@pytest.mark.parametrize("option", [["--part", "load"], ["--with", "bytecode=none"]])
def test_what_costs_more_than_is_said_is_refused(harness: Any, folder: Any, option: list[str]) -> None:
    """Nothing is asked of the account before."""
    said = harness("run", str(folder.path), "--aws", "real", "--yes", *option)
    assert said.code == 2
    assert "than can be said beforehand" in said.err
    assert option[0] in said.err


@pytest.fixture
def leftover(monkeypatch: pytest.MonkeyPatch) -> Leftover:
    """Another machine's harness has left a role."""
    found = Leftover(run="feed", kind="role", name="mlph-feed-0-role", region="eu-central-1")
    monkeypatch.setattr(aws, "found_by_search", lambda: [found])
    return found


def test_what_others_left_is_listed(harness: Any, leftover: Leftover) -> None:
    """And told apart from what is noted here."""
    said = harness("aws", "leftovers", "--delete")
    assert said.code == 1
    assert leftover.name in said.out
    told = harness("aws", "leftovers", "--json").json
    assert [one["ledger"] for one in told["leftovers"]] == [False]


def test_nothing_left_is_said(harness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "found_by_search", list)
    said = harness("aws", "leftovers")
    assert said.code == 0
    assert "Nothing is left" in said.out
