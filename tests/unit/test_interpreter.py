"""The Python that models run under. None is started here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import interpreter, process
from harness.errors import MissingComponent


@pytest.fixture(autouse=True)
def found_anew() -> Iterator[None]:
    """What an earlier test found does not count."""
    default, known = interpreter.default, interpreter._known
    default.cache_clear()
    known.clear()
    yield
    default.cache_clear()
    known.clear()


def answering(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[list[str]]:
    """Every interpreter answers so; the commands."""
    asked: list[list[str]] = []

    def run(argv: list[str], **_: Any) -> process.Completed:
        asked.append(argv)
        if isinstance(answer, BaseException):
            raise answer
        stdout = answer if isinstance(answer, str) else json.dumps(answer)
        return process.Completed(argv=tuple(argv), returncode=0, stdout=stdout, stderr="", wall_s=0.0)

    monkeypatch.setattr(process, "run", run)
    return asked


def described(version: str = "3.11.2") -> dict[str, str]:
    """What an interpreter says of itself."""
    paths = {"stdlib": "/usr/lib/python3.11", "folder": "/usr/lib", "prefixes": ["/usr", "/usr"]}
    return {"version": version, "library": "libpython3.11.a", **paths}


def test_the_given_interpreter_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """HARNESS_PYTHON names it; it is asked once, isolated from its site."""
    asked = answering(monkeypatch, described())
    monkeypatch.setenv("HARNESS_PYTHON", "/opt/python")
    found = interpreter.default()
    assert interpreter.default() is found
    assert (found.path, found.version, found.minor) == (Path("/opt/python"), "3.11.2", "3.11")
    assert len(asked) == 1
    assert asked[0][:3] == ["/opt/python", "-I", "-S"]


def test_a_shared_library_is_part_of_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a start reads: executable, shared library, standard library; a static library is not read."""
    library = tmp_path / "libpython3.11.so.1.0"
    library.touch()
    answering(monkeypatch, {**described(), "library": library.name, "folder": str(tmp_path)})
    assert interpreter.default().library == library
    assert interpreter.default().files == (interpreter.default().path.resolve(), library, Path("/usr/lib/python3.11"))
    interpreter._known.clear()
    interpreter.default.cache_clear()
    answering(monkeypatch, described())
    assert interpreter.default().library is None


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ("rubbish", "not a Python that works"),
        ("", "not a Python that works"),
        (process.TimedOut(["python"], 30, ""), "did not end within 30 s"),
        (MissingComponent("there is no program /opt/python"), "there is no program"),
        (described("3.8.1"), "the runner needs 3.9 or newer"),
    ],
)
def test_what_is_no_python_is_a_missing_component(monkeypatch: pytest.MonkeyPatch, answer: Any, named: str) -> None:
    """The message names the path and HARNESS_PYTHON."""
    answering(monkeypatch, answer)
    monkeypatch.setenv("HARNESS_PYTHON", "/opt/python")
    with pytest.raises(MissingComponent, match=named) as raised:
        interpreter.default()
    assert "/opt/python" in raised.value.problem
    assert "HARNESS_PYTHON" in raised.value.remedy


def test_several_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is what models run under; processes see the installations of all that were asked about."""
    answering(monkeypatch, described())
    monkeypatch.setenv("HARNESS_PYTHON", "/opt/a/python:/opt/b/python")
    assert interpreter.named() == [Path("/opt/a/python"), Path("/opt/b/python")]
    assert interpreter.default().path == Path("/opt/a/python")
    assert Path("/opt/b") not in interpreter.folders()
    interpreter.described(Path("/opt/b/python"))
    assert {Path("/opt/a"), Path("/opt/b")} <= set(interpreter.folders())
