"""What no command expects ends with a message; nothing that is printed is obeyed."""

from __future__ import annotations

import errno
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import cli
from harness.cli import console, failing
from harness.errors import BadInput, CheckFailure, HarnessError, printable

Harness = Callable[..., Any]

#: What each exception ends with.
ENDS: dict[str, tuple[BaseException, int, str]] = {
    "bug": (ZeroDivisionError("division\nby zero\x1b[2J"), 70, "this is a bug in the harness: ZeroDivisionError"),
    "key": (KeyError("x"), 70, "this is a bug in the harness: KeyError: 'x'"),
    "not there": (FileNotFoundError(errno.ENOENT, "No such file", "x"), 70, "bug in the harness"),
    "no memory": (MemoryError(), 1, "no memory left"),
    "deep": (RecursionError("maximum"), 2, "nested too deeply"),
    "half": (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), 2, "not whole Unicode"),
    "full": (OSError(errno.ENOSPC, "No space left on device", "/x"), 1, "the disk that holds /x is full"),
    "refused": (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "/x: cannot be used: Permission denied"),
    "a folder": (IsADirectoryError(errno.EISDIR, "Is a directory", b"/x"), 2, "/x: cannot be used: Is a directory"),
    "long name": (OSError(errno.ENAMETOOLONG, "File name too long", "x"), 2, "give a shorter name"),
    "our own": (CheckFailure("it differs"), 1, "it differs"),
}


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Has ``harness scenarios`` raise."""

    def breaks(error: BaseException) -> None:
        def raising(*_args: Any, **_options: Any) -> None:
            raise error

        monkeypatch.setattr(cli.cli.commands["scenarios"], "callback", raising)

    return breaks


@pytest.mark.parametrize("what", ENDS)
@pytest.mark.parametrize("as_json", [False, True])
def test_whatever_happens_is_said(
    harness: Harness, broken: Callable[[BaseException], None], what: str, as_json: bool
) -> None:
    """A message, a remedy and the documented code; as JSON the same; never a traceback."""
    error, code, said = ENDS[what]
    broken(error)
    found = harness("scenarios", *(["--json"] if as_json else []))
    assert found.code == code
    assert said in found.err
    assert "Traceback" not in found.err
    assert "\x1b" not in found.err
    if as_json:
        assert found.json["error"]["exit_code"] == code
        assert found.json["error"]["kind"] == ("Bug" if code == 70 else found.json["error"]["kind"])


def test_a_bug_is_kept_in_a_file(harness: Harness, broken: Callable[[BaseException], None], tmp_path: Path) -> None:
    """The message names it; it has the command and the traceback, and belongs to this user alone. -v prints it too."""
    broken(ZeroDivisionError("x"))
    found = harness("scenarios")
    (trace,) = (tmp_path / "cache" / "tmp").glob("bug-*.txt")
    assert f"report it with the command and the file {trace}" in found.err
    assert trace.stat().st_mode & 0o077 == 0
    text = trace.read_text()
    assert "harness scenarios" in text
    assert "Traceback" in text
    assert "ZeroDivisionError: x" in harness("-v", "scenarios").err


def test_a_bug_without_a_place_for_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is said all the same."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "a file" / "x"))
    (tmp_path / "a file").touch()
    monkeypatch.setattr(failing.tempfile, "gettempdir", lambda: str(tmp_path / "gone" / "x"))
    assert "what -v prints" in failing.as_ours(ValueError("x")).remedy


class Gone(io.StringIO):
    """An output that nobody takes."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def flush(self) -> None:
        """As a pipe whose reader has gone, or a full disk."""
        raise self._error


@pytest.mark.parametrize(
    ("error", "code"),
    [(BrokenPipeError(errno.EPIPE, "Broken pipe"), 0), (OSError(errno.ENOSPC, "No space left on device"), 1)],
)
def test_output_that_nobody_takes(monkeypatch: pytest.MonkeyPatch, error: OSError, code: int) -> None:
    """A reader that has gone is no failure; a full disk is."""
    monkeypatch.setattr(sys, "argv", ["harness", "scenarios", "--json"])
    monkeypatch.setattr(cli, "_outcome", lambda **_: 0)
    monkeypatch.setattr(sys, "stdout", Gone(error))
    assert cli._run() == code


@given(text=st.text())
def test_nothing_that_is_printed_is_obeyed(capsys_text: Callable[[Callable[[], None]], str], text: str) -> None:
    """By whichever way a text gets to a terminal; a table is as wide as what is shown."""
    for print_it in (
        lambda: console.say(text),
        lambda: console.note(text),
        lambda: console.item(text),
        lambda: console.table(text, ("a", text), [(text, text)]),
        lambda: console.blocks(text, ("a", "b"), [(text, text)]),
        lambda: _fail(text),
    ):
        shown = capsys_text(print_it)
        assert printable(shown) == shown


@given(value=st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5))
def test_json_is_exact_and_not_obeyed(capsys_text: Callable[[Callable[[], None]], str], value: Any) -> None:
    """What is printed as JSON is read back as it was, on any terminal."""
    shown = capsys_text(lambda: console.as_json(value))
    assert json.loads(shown) == value
    assert printable(shown) == shown


def _fail(text: str) -> None:
    console.failure(HarnessError(text, remedy=text), as_json=False)


@pytest.fixture(scope="module")
def capsys_text() -> Callable[[Callable[[], None]], str]:
    """What a function prints; of a terminal that knows ASCII and UTF-8 alike."""

    def taken(print_it: Callable[[], None]) -> str:
        kept = sys.stdout, sys.stderr
        made = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict", write_through=True)
        sys.stdout = sys.stderr = made
        try:
            print_it()
        finally:
            sys.stdout, sys.stderr = kept
        raw: bytes = made.buffer.getvalue()  # type: ignore[attr-defined]  # it is a BytesIO
        return raw.decode()

    return taken


@pytest.mark.parametrize("what", ["folder", "pipe", "device", "link"])
def test_out_is_a_file_or_nothing(harness: Harness, tmp_path: Path, what: str) -> None:
    """A device or a link in its place would be replaced, so it is refused."""
    import os

    out = tmp_path / "x"
    if what == "folder":
        out.mkdir()
    elif what == "pipe":
        os.mkfifo(out)
    elif what == "link":
        out.symlink_to("/dev/null")
    else:
        out = Path("/dev/null")
    for argv in (("report",), ("export", "a", "--format", "csv"), ("appendix", "m", "--scenario", "s"), ("calibrate",)):
        found = harness(*argv, "--out", out)
        assert (found.code, "--out" in found.err) == (2, True), found.err
    assert os.path.lexists(out)


@pytest.mark.parametrize("run_id", ["a/b", "..", ".", "a\nb", "\x1b[2J", "", "-", "x" * 5000, "a b"])
def test_a_run_id_is_a_name(harness: Harness, run_id: str) -> None:
    """Nothing else is looked for on the disk, nor obeyed."""
    found = harness("export", "--format", "csv", "--", run_id)
    assert found.code == 2
    assert "\x1b" not in found.err


@pytest.mark.parametrize("what", ["file", "pipe", "gone", "runs is a file", "link to itself"])
def test_results_that_are_no_folder(harness: Harness, tmp_path: Path, what: str) -> None:
    """They are named, or there is no run in them."""
    import os

    results = tmp_path / "r"
    if what == "file":
        results.touch()
    elif what == "pipe":
        os.mkfifo(results)
    elif what == "runs is a file":
        results.mkdir()
        (results / "runs").touch()
    elif what == "link to itself":
        results.symlink_to(results)
    for argv in (("runs",), ("changes",), ("report",), ("claims",), ("calibrate",), ("compare", "tiny")):
        found = harness(*argv, "--results", results)
        assert found.code in (0, 2), found.err
        assert isinstance(found.out + found.err, str)
        assert "bug" not in found.err


def test_bad_input_keeps_its_code() -> None:
    """What is ours already stays as it is."""
    error = BadInput("is wrong")
    assert failing.as_ours(error) is error
