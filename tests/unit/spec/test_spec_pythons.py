"""Which Python a model runs under. None is started here: each says of itself what its path says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import interpreter, process, tools
from harness.errors import BadInput, MissingComponent
from harness.spec import pythons

Machine = Callable[..., list[list[str]]]


@pytest.fixture(autouse=True)
def found_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What another test found does not count; nobody's pyenv and settings of uv do either."""
    for name in ("UV_PYTHON_DOWNLOADS", "UV_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYENV_ROOT", "/nowhere")
    caches = (interpreter.default, pythons.others, pythons._fetched)
    for _ in caches:
        _.cache_clear()
    interpreter._known.clear()
    yield
    for _ in caches:
        _.cache_clear()
    interpreter._known.clear()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """A machine whose uv finds these interpreters; models run under the first. What was started."""

    def set_up(own: str, *others: str, fetched: str = "", virtual: str = "") -> list[list[str]]:
        started: list[list[str]] = []

        def path(version: str) -> Path:
            place = tmp_path / f"cpython-{version}" / "bin" / "python3"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
            return place

        def run(argv: list[str], **_: Any) -> process.Completed:
            started.append(argv)
            said, code = "", 0
            if argv[1:3] == ["python", "list"]:
                said = json.dumps([{"implementation": "cpython", "path": str(path(one))} for one in others])
            elif argv[1:3] == ["python", "install"]:
                said, code = ("", 0) if fetched else ("cause: no network", 2)
                if fetched:
                    place = Path(argv[argv.index("--install-dir") + 1]) / f"cpython-{fetched}" / "bin" / "python3"
                    place.parent.mkdir(parents=True)
                    place.touch()
            else:
                version = re.search(r"cpython-([0-9.]+)", argv[0])[1]  # type: ignore[index]
                prefix = str(Path(argv[0]).parents[1])
                prefixes = [prefix, "/b" if version == virtual else prefix]
                about = {"version": version, "stdlib": "/s", "prefixes": prefixes, "library": "", "folder": ""}
                said = json.dumps(about)
            return process.Completed(argv=tuple(argv), returncode=code, stdout=said, stderr="", wall_s=0.0)

        monkeypatch.setenv("HARNESS_PYTHON", str(path(own)))
        monkeypatch.setattr(tools, "uv", lambda: Path("/uv"))
        monkeypatch.setattr(process, "run", run)
        return started

    return set_up


def chosen(folder: Any, python: str) -> str:
    """The version that a model with that ``python`` gets."""
    return pythons.of(folder.write(python=python).read()).version


def test_the_one_that_all_share_goes_first(folder: Any, machine: Machine) -> None:
    """Where it suits, nothing else is looked for."""
    started = machine("3.11.2", "3.13.0")
    assert chosen(folder, ">=3.9") == "3.11.2"
    assert len(started) == 1


@pytest.mark.parametrize(
    ("python", "others", "version"),
    [
        ("==3.9.*", ["3.9.18"], "3.9.18"),
        (">=3.12", ["3.12.9", "3.14.1"], "3.14.1"),
        (">=3.12", ["3.12.9", "3.13.0", "3.14.1"], "3.13.0"),
        ("==3.12.*", ["3.12.1", "3.12.9"], "3.12.9"),
    ],
    ids=["the only one", "the newest", "one that base images have", "two of one minor version"],
)
def test_one_that_is_found(folder: Any, machine: Machine, python: str, others: list[str], version: str) -> None:
    """Of those that suit, one that Debian's base images have goes first, then the newest."""
    machine("3.11.2", *others)
    assert chosen(folder, python) == version


def test_one_that_is_named_goes_before_those_that_are_found(
    folder: Any, machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """HARNESS_PYTHON has several, parted by a colon."""
    machine("3.11.2", "3.13.0")
    named = tmp_path / "cpython-3.12.4" / "bin" / "python3"
    monkeypatch.setenv("HARNESS_PYTHON", f"{tmp_path}/cpython-3.11.2/bin/python3:{named}")
    assert chosen(folder, ">=3.12") == "3.12.4"


def test_a_virtual_environment_is_none(folder: Any, machine: Machine) -> None:
    """Its base would be taken; the environment itself can go away."""
    machine("3.11.2", "3.13.0", "3.14.0", virtual="3.13.0")
    assert chosen(folder, ">=3.12") == "3.14.0"


def test_pyenvs_are_found(folder: Any, machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also those that its shims do not start."""
    machine("3.11.2")
    python = tmp_path / "pyenv" / "versions" / "cpython-3.13.0" / "bin" / "python3"
    python.parent.mkdir(parents=True)
    python.touch()
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    assert chosen(folder, ">=3.12") == "3.13.0"


def test_one_is_fetched_where_none_is_there(folder: Any, machine: Machine) -> None:
    """Into the cache, by uv."""
    started = machine("3.11.2", fetched="3.12.7")
    assert chosen(folder, "==3.12.*") == "3.12.7"
    assert ["python", "install"] in [argv[1:3] for argv in started]


def test_uv_may_be_told_to_fetch_none(folder: Any, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """UV_PYTHON_DOWNLOADS is heeded, and named."""
    started = machine("3.11.2", fetched="3.12.7")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    with pytest.raises(BadInput, match="UV_PYTHON_DOWNLOADS"):
        chosen(folder, "==3.12.*")
    assert ["python", "install"] not in [argv[1:3] for argv in started]


def test_where_there_is_none_the_message_says_what_there_is(folder: Any, machine: Machine) -> None:
    """File, key, value, what is here, why uv fetched none, and the remedy."""
    machine("3.11.2", "3.13.0")
    with pytest.raises(BadInput) as raised:
        chosen(folder, "==3.10.*")
    text = str(raised.value)
    for part in ("model.toml", "key 'python' = '==3.10.*'", "3.11.2", "3.13.0", "no network", "HARNESS_PYTHON"):
        assert part in text


def test_what_cannot_be_is_not_fetched(folder: Any, machine: Machine) -> None:
    """Nobody is asked for a Python that the runner could not do with."""
    started = machine("3.11.2", fetched="2.7.18")
    with pytest.raises(BadInput, match=r"no Python from 3\.9 on is one of these"):
        chosen(folder, "<3")
    assert ["python", "install"] not in [argv[1:3] for argv in started]


def test_what_uv_lists_may_be_broken(folder: Any, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not start is left out."""
    machine("3.11.2", "3.13.0", "3.14.0")
    asked = interpreter.described

    def described(path: Path) -> interpreter.Interpreter:
        if "3.13" in str(path):
            raise MissingComponent("it does not start")
        return asked(path)

    monkeypatch.setattr(interpreter, "described", described)
    assert chosen(folder, ">=3.12") == "3.14.0"


@pytest.mark.parametrize(
    ("python", "lowest"),
    [
        (">=3.11", "3.11"),
        ("==3.9.*", "3.9"),
        (">=3.13,<3.15", "3.13"),
        ("==3.11.7", "3.11"),
        ("<3", "3.9"),
        ("", "3.9"),
    ],
)
def test_the_lowest_version_that_is_allowed(python: str, lowest: str) -> None:
    """What a lock that travels has to hold for."""
    assert pythons.lowest(python) == lowest
