"""What users set by environment variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import settings
from harness.errors import BadInput

NAME = "HARNESS_TEST_NUMBER"


@pytest.mark.parametrize("given", ["", None])
def test_what_is_not_set_is_the_default(given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable is none."""
    monkeypatch.delenv(NAME, raising=False)
    if given is not None:
        monkeypatch.setenv(NAME, given)
    assert settings.seconds(NAME, 60.0) == 60.0
    assert settings.count(NAME) is None


def test_numbers_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds may be nought or broken, counts are whole."""
    monkeypatch.setenv(NAME, "0.5")
    assert settings.seconds(NAME, 60.0) == 0.5
    monkeypatch.setenv(NAME, "17")
    assert settings.count(NAME) == 17


@pytest.mark.parametrize("given", ["-1", "nan", "inf", "many", "1e999", "²"])
def test_no_time_names_the_variable(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, given)
    with pytest.raises(BadInput, match=NAME):
        settings.seconds(NAME, 60.0)


@pytest.mark.parametrize("given", ["0", "-1", "1.5", "1e3", "x", "²", "9" * 19, "9" * 100_000, " 7"])
def test_no_count_names_the_variable(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, given)
    with pytest.raises(BadInput, match=NAME) as raised:
        settings.count(NAME)
    assert len(str(raised.value)) < 300


def test_paths_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to the current folder, or to a home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv(NAME, raising=False)
    assert settings.folder(NAME) is None
    monkeypatch.setenv(NAME, "a/b")
    assert settings.folder(NAME) == tmp_path / "a" / "b"
    monkeypatch.setenv(NAME, "~/b")
    assert settings.folder(NAME) == Path("/home/someone/b")


@pytest.mark.parametrize("given", ["~nosuchuser/x", "~nosuchuser", "a\udcffb"])
def test_what_is_no_path_names_the_variable(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who is not there, and bytes that are no text."""
    monkeypatch.setenv(NAME, given)
    with pytest.raises(BadInput, match=NAME) as raised:
        settings.folder(NAME)
    assert raised.value.remedy
    str(raised.value).encode()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("20 GB", 20 * 10**9),
        ("20gb", 20 * 10**9),
        ("1.5 GiB", 3 * 2**29),
        ("512 kB", 512_000),
        ("7B", 7),
        ("0", 0),
        ("none", 0),
        ("0 GB", 0),
        ("", None),
    ],
)
def test_sizes_are_read(given: str, expected: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Powers of 1000 and of 1024 by their names; nought and none are no bound."""
    monkeypatch.setenv(NAME, given)
    assert settings.size(NAME) == expected


@pytest.mark.parametrize(
    "given", ["20", "-1 GB", "1e3 GB", "GB", "20 PB", "nan GB", "² GB", "9" * 13 + " B", " 7 B", "x"]
)
def test_no_size_names_the_variable(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the value, and what may be written."""
    monkeypatch.setenv(NAME, given)
    with pytest.raises(BadInput, match=NAME) as raised:
        settings.size(NAME)
    assert repr(given) in str(raised.value)
    assert f"{NAME}='20 GB'" in raised.value.remedy
