"""Every kind of failure: its exit code, and what its message says."""

from __future__ import annotations

import pytest

from harness import errors
from harness.errors import BadInput, BuildFailure, HarnessError

CODES = {
    "HarnessError": 1,
    "BadInput": 2,
    "EngineGone": 3,
    "MissingComponent": 3,
    "ModelFailure": 1,
    "BuildFailure": 1,
    "CheckFailure": 1,
    "DoesNotFit": 1,
    "DiskFull": 1,
    "OutOfMemory": 1,
    "Bug": 70,
    "Interrupted": 130,
}


def test_every_kind_has_its_exit_code() -> None:
    """Each class of harness.errors ends with the code that is documented for it, and there is no other."""
    found = {
        name: kind.exit_code
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, HarnessError)
    }
    assert found == CODES


def test_the_codes_are_those_that_are_documented() -> None:
    """0, 1, 2, 3, 70 and 130 are documented, and no other code is used."""
    assert errors.__doc__ is not None
    documented = {int(line.split()[0]) for line in errors.__doc__.splitlines() if line[:1].isdigit()}
    assert documented == {0, 1, 2, 3, 70, 130} == {0, *CODES.values()}


@pytest.mark.parametrize("name", CODES)
def test_a_message_says_what_happened_and_what_to_do(name: str) -> None:
    """Problem first, remedy on a line of its own; without a remedy nothing is added."""
    kind = getattr(errors, name)
    assert str(kind("it broke")) == "it broke"
    assert str(kind("it broke", remedy="mend it")) == "it broke\n  remedy: mend it"
    assert kind("it broke", remedy="mend it").remedy == "mend it"


def test_bad_input_names_file_key_and_value() -> None:
    """What is known stands before the problem, in this order; a long value is cut."""
    assert str(BadInput("is wrong", file="/f", key="k", value=1)) == "/f: key 'k' = 1: is wrong"
    assert str(BadInput("is wrong", key="k")) == "key 'k': is wrong"
    assert str(BadInput("is wrong", file="/f")) == "/f: is wrong"
    assert len(str(BadInput("is wrong", key="k", value="x" * 1000))) < 120


def test_a_value_without_a_key_is_named() -> None:
    """A value is shown also where it belongs to no key."""
    assert "17" in str(BadInput("is wrong", file="/f", value=17))


def test_a_build_failure_has_the_end_of_the_log() -> None:
    """The last twelve lines, indented; the whole log stays with the error."""
    log = "\n".join(f"line {number}" for number in range(30))
    error = BuildFailure("pex failed", log=log)
    assert error.log == log
    assert error.problem.splitlines() == ["pex failed", *(f"    line {number}" for number in range(18, 30))]


@pytest.mark.parametrize("sign", ["\x1b", "\x00", "\x9b", "\u202e", "\u2066", "\u200b", "\ufeff", "\u2028", "\ud800"])
def test_what_is_obeyed_and_not_shown_is_escaped(sign: str) -> None:
    """Escape sequences, turned directions, signs without width, halves of characters; ordinary text stays as it is."""
    assert errors.printable(f"a{sign}b") == f"a{sign.encode('unicode_escape').decode()}b"
    assert errors.printable("naïve\xa0≤ 1\n\t\U0001f600") == "naïve\xa0≤ 1\n\t\U0001f600"


def test_a_name_cannot_look_like_another_line() -> None:
    """The end of a line in a file's name, a key or a value is shown, not obeyed."""
    text = str(BadInput("is wrong", file="a\nb", key="c\nd", value="e\nf"))
    assert "\n" not in text


def test_a_value_that_cannot_be_shown_is_described() -> None:
    """A number of too many digits and a list that contains too many lists are no reason to break."""
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (10**5000, deep):
        assert "too large to show" in str(BadInput("is wrong", key="k", value=value))
