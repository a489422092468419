"""What uv is asked, and what is made of its answers. It is not run here; tests/real/test_sources.py does."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import process
from harness.errors import BuildFailure
from harness.spec import resolving
from harness.spec.indexes import Index
from harness.spec.pins import Pin
from harness.spec.resolving import Question, UnresolvedError

A, B = "a" * 64, "b" * 64
NEEDS = "hint: Wheels are required for `{}` because building from source is disabled for all packages"
PYLOCK = '[[packages]]\nname = "x"\nsdist = {{ url = "http://127.0.0.1/{0}.tar.gz", hashes = {{ sha256 = "{1}" }} }}\n'


class Uv:
    """Answers of uv, one after the other, and what it was asked."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        self.answers: Iterator[tuple[int, str]] = iter(answers)
        self.asked: list[list[str]] = []
        self.projects: list[dict[str, Any]] = []
        self.env: dict[str, str] = {}

    def __call__(self, argv: list[str], *, env: dict[str, str], cwd: Path, **_: Any) -> process.Completed:
        self.asked.append(argv)
        self.env = env
        project = cwd / "pyproject.toml"
        self.projects.append(tomllib.loads(project.read_text()) if project.is_file() else {})
        code, said = next(self.answers)
        out, err = (said, "") if code == 0 else ("", said)
        return process.Completed(argv=tuple(argv), returncode=code, stdout=out, stderr=err, wall_s=0.1)

    def told(self, which: int) -> list[dict[str, Any]]:
        """What uv was told that packages require."""
        found: list[dict[str, Any]] = self.projects[which]["tool"]["uv"]["dependency-metadata"]
        return found


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, here: Any) -> Any:
    """Have uv give these answers."""
    monkeypatch.setattr(resolving, "find_links", lambda: ())

    def give(*answers: tuple[int, str]) -> Uv:
        uv = Uv(*answers)
        monkeypatch.setattr(process, "run", uv)
        return uv

    return give


def question(here: Any, *wanted: str, **more: Any) -> Question:
    return Question(what="locking tiny", wanted=wanted, python=here, **more)


def no_build(pin: Pin, asked: Question) -> tuple[str, ...]:
    raise AssertionError("nothing is to be built")


def test_only_wheels_are_asked_for_first(ask: Any, here: Any) -> None:
    """And where that is enough, nothing else is said."""
    uv = ask((0, f"x==1.0 --hash=sha256:{A}\n"))
    assert resolving.answer(question(here, "x"), no_build) == [Pin(line="x==1.0", hashes=frozenset([A]))]
    [argv] = uv.asked
    assert argv[argv.index("--only-binary") + 1] == ":all:"
    assert "--no-binary" not in argv
    assert uv.projects == [{}]


def test_a_package_without_a_wheel_is_never_allowed_without_what_it_requires(ask: Any, here: Any) -> None:
    """Else uv would run its build: first it is said to require nothing, then what its wheel says."""
    both = f"x==1.0 --hash=sha256:{A}\ny==2 --hash=sha256:{B}\n"
    uv = ask(
        (1, NEEDS.format("x")),
        (0, f"x==1.0 --hash=sha256:{A} --hash=sha256:{B}\n"),
        (0, PYLOCK.format("x-1.0", A)),
        (0, both),
    )
    built: list[Pin] = []

    def build(pin: Pin, asked: Question) -> tuple[str, ...]:
        built.append(pin)
        return ("y>=1 ; python_version > '3'",)

    found = resolving.answer(question(here, "x"), build)
    assert built == [Pin(line="x==1.0", hashes=frozenset([A]), source=A)]
    assert found == [*built, Pin(line="y==2", hashes=frozenset([B]))]
    for argv, told in zip(uv.asked[1:], (uv.told(place) for place in (1, 2, 3)), strict=True):
        assert argv[argv.index("--no-binary") + 1] == "x"
        assert told[0] == {"name": "x", "requires-dist": []}
    assert uv.told(3)[1] == {"name": "x", "version": "1.0", "requires-dist": ["y>=1 ; python_version > '3'"]}


def test_the_users_own_settings_of_uv_go_on_counting(
    ask: Any, here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """UV_CONFIG_FILE alone would have uv pass over what it is told here, and run builds."""
    (tmp_path / "uv.toml").write_text("# mine")
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "uv.toml"))
    uv = ask((1, NEEDS.format("x")), (0, ""))
    resolving.answer(question(here, "x"), no_build)
    assert "UV_CONFIG_FILE" not in uv.env
    assert uv.env["XDG_CONFIG_HOME"]


def test_what_cannot_be_resolved_is_said_as_uv_says_it(ask: Any, here: Any) -> None:
    """Also where a package has no wheel and no source distribution either."""
    ask((1, "no version of x"))
    with pytest.raises(UnresolvedError) as raised:
        resolving.answer(question(here, "x"), no_build)
    assert raised.value.said == "no version of x"
    ask((1, NEEDS.format("x")), (1, NEEDS.format("x")))
    with pytest.raises(UnresolvedError):
        resolving.answer(question(here, "x"), no_build)


def test_it_is_asked_a_bounded_number_of_times(ask: Any, here: Any) -> None:
    """A package may name a further one each time."""
    ask(*((1, NEEDS.format(f"x{number}")) for number in range(1000)))
    with pytest.raises(BuildFailure, match="more than 20 packages have no wheel"):
        resolving.answer(question(here, "x"), no_build)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "packages = 1",
        "[[packages]]\nname = 'x'\n",
        '[[packages]]\nname = "x"\nsdist = { url = "http://127.0.0.1/x-1.0.tar.gz", hashes = {} }\n',
        PYLOCK.format("x-1.0", "nonesuch"),
        PYLOCK.format("x-1.0", A) * 2,
    ],
)
def test_a_source_without_a_sha256_is_refused(ask: Any, here: Any, said: str) -> None:
    """Nothing could tell whether it is the one that was locked."""
    ask((1, NEEDS.format("x")), (0, f"x==1.0 --hash=sha256:{A}\n"), (0, said))
    with pytest.raises(BuildFailure, match=r"x==1\.0"):
        resolving.answer(question(here, "x"), no_build)


def test_another_source_than_was_locked_is_refused(ask: Any, here: Any) -> None:
    """What a method adds is locked on top of the model's own lock."""
    given = (Pin(line="x==1.0", hashes=frozenset([B]), source=B),)
    ask((0, f"x==1.0 --hash=sha256:{A}\n"), (0, PYLOCK.format("x-1.0", A)))
    with pytest.raises(BuildFailure, match=f"{B} is locked"):
        resolving.answer(question(here, "x", given=given), no_build)


def test_a_package_is_bound_to_its_index(ask: Any, here: Any) -> None:
    """Also where only another package requires it. One that nothing requires is left out again."""
    own = Index(name="company", url="https://packages.example.org/simple", packages=("secret", "vain"))
    lines = (
        f"secret==1.0 --hash=sha256:{A}\n    # via x\n    # from {own.url}/\n",
        f"x==1.0 --hash=sha256:{B}\n    # via harness-wanted-requirements (pyproject.toml)\n    # from https://x.org/s\n",
        f"vain==1.0 --hash=sha256:{B}\n    # via harness-wanted-requirements (pyproject.toml)\n    # from {own.url}/\n",
    )
    uv = ask((0, "".join(lines)), (0, "".join(lines[:2])))
    found = resolving.answer(question(here, "x", indexes=(own,)), no_build)
    assert [(pin.line, pin.index) for pin in found] == [("secret==1.0", own.url), ("x==1.0", "")]
    first, second = uv.projects
    assert first["project"]["dependencies"] == ["x", "secret", "vain"]
    assert second["project"]["dependencies"] == ["x", "secret"]
    assert first["tool"]["uv"]["index"] == [{"name": "company", "url": own.url, "explicit": True}]
    assert first["tool"]["uv"]["sources"] == {"secret": {"index": "company"}, "vain": {"index": "company"}}
    assert uv.asked[0][-1] == "pyproject.toml"
