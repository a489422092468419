"""Which builds are tried where an artifact does not answer, and in which order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import pytest

from harness.methods import mending, pruning
from harness.methods.contract import BuildOptions, Mending, Mends, Traced
from harness.methods.mending import STEPS, Case

REMOVED = {
    "headers": ("kern/_kernels.cu", "kern/a.h"),
    "stubs": ("kern/__init__.pyi",),
    "tests": ("kern/tests/__init__.py", "kern/tests/data.py", "kern/tests/table.csv"),
}
CASE = Case(
    error="",
    mended=Mending(),
    rules=("tests", "stubs", "headers", "symbols"),
    removed=REMOVED,
    packages=("kern", "numpy", "xgboost"),
    loaded=("kern", "numpy"),
)


@dataclass(frozen=True)
class SimpleLocked:
    """Of a locked model, what a build's record is made of."""

    model: Any


def proposed(name: str, case: Case) -> list[Mending]:
    """What a step proposes."""
    (step,) = (step for step in STEPS if step.name == name)
    return list(step.propose(case))


def test_the_rules_are_those_of_pruning() -> None:
    """Each may be to blame; each kind of step is one that a method may have."""
    assert set(mending.RULES) == set(pruning.RULES)
    assert {kind for step in STEPS for kind in step.kinds} == set(get_args(Mends))
    assert all(step.name and step.does for step in STEPS)


@pytest.mark.parametrize(
    ("error", "rules"),
    [
        (
            "loading raised FileNotFoundError: [Errno 2] No such file or directory: '/app/x/kern/_kernels.cu'",
            ["headers"],
        ),
        ("No module named 'kern.tests'", ["tests"]),
        ("No module named 'kern.tests.data'", ["tests"]),
        ("can't open kern/tests/table.csv, nor __init__.pyi.", ["stubs", "tests"]),
        ("No module named 'kern.testing'", []),
        ("No module named 'tests'", []),
        ("_kernels.cuh and b_kernels.cu.txt are gone", []),
        ("__init__.py", []),
        ("", []),
    ],
)
def test_the_rule_is_found_that_removed_what_an_error_names(error: str, rules: list[str]) -> None:
    """By a file's base name, or a module's dotted name."""
    assert mending.rules_named(error, REMOVED) == rules
    expected = [Mending(unpruned=tuple(rules))] if rules else []
    assert proposed("named files", replace(CASE, error=error)) == expected


def test_what_was_done_already_is_not_proposed_again() -> None:
    """Each step proposes something new, or nothing; and nothing once there is an answer."""
    done = Mending(unpruned=CASE.rules, collected=CASE.packages)
    error = "kern xgboost _kernels.cu"
    for step in STEPS:
        assert list(step.propose(replace(CASE, error=error, mended=done))) == []
        assert list(step.propose(replace(CASE, error=error, answers=Mending(unpruned=("headers",))))) == []


def test_packages_are_found_that_an_error_names() -> None:
    """In a path, in a module's name; no other words."""
    case = replace(CASE, error="XGBoostLibraryNotFound: /app/_internal/xgboost/lib; No module named 'kern.x'; numpyx")
    assert proposed("named packages", case) == [Mending(collected=("kern", "xgboost"))]


def test_steps_go_on_from_what_was_tried() -> None:
    """What mended one error stays, while the next is mended."""
    case = replace(CASE, error="_kernels.cu", mended=Mending(unpruned=("tests",), collected=("kern",)))
    assert proposed("named files", case) == [Mending(unpruned=("tests", "headers"), collected=("kern",))]
    assert proposed("loaded packages", case) == [Mending(unpruned=("tests",), collected=("kern", "numpy"))]
    assert proposed("everything", case) == [Mending(unpruned=CASE.rules, collected=("kern", "numpy"))]


def test_the_one_rule_is_looked_for_where_all_are_cleared_together() -> None:
    """Those that remove something first; not where there is only one."""
    case = replace(CASE, answers=Mending(unpruned=CASE.rules))
    assert [one.unpruned for one in proposed("one rule", case)] == [("headers",), ("stubs",), ("tests",), ("symbols",)]
    assert proposed("one rule", CASE) == []
    assert proposed("one rule", replace(CASE, rules=("tests",), answers=Mending(unpruned=("tests",)))) == []


def test_a_model_without_pruning_has_nothing_to_drop() -> None:
    """Only what it asks for can be to blame."""
    case = replace(CASE, rules=(), error="_kernels.cu")
    assert not any(proposed(name, case) for name in ("named files", "no pruning", "one rule", "everything"))
    assert proposed("no pruning", CASE) == [Mending(unpruned=CASE.rules)]


def test_a_missing_library_is_nothing_that_pruning_removes() -> None:
    """No rule removes one, so not pruning is not tried."""
    case = replace(CASE, error="libxcb.so.1: cannot open shared object file: No such file or directory")
    assert proposed("no pruning", case) == []
    assert proposed("loaded packages", case) != []


def test_an_image_gets_the_packages_that_an_error_asks_for() -> None:
    """Until the error names nothing new; not where it is about something else, nor endlessly many."""
    error = "libxcb.so.1: cannot open shared object file: No such file or directory"
    case = replace(CASE, error=error, lacking=lambda said: ["libgl1", "libxcb1"] if said == error else [])
    found = proposed("system libraries", case)
    assert found == [Mending(system_packages=("libgl1", "libxcb1"))]
    assert proposed("system libraries", replace(case, mended=found[0])) == []
    assert proposed("system libraries", replace(case, error="libxcb.so.1 is bad", lacking=lambda _: ["liba1"])) == []
    assert proposed("system libraries", replace(case, lacking=lambda _: [f"lib{n}" for n in range(51)])) == []
    assert mending.told(found[0]) == "Debian's libgl1, libxcb1 added"


def test_it_is_built_with_what_mends_it(folder: Any) -> None:
    """The packages that the model names come first, each once; without any it is the model itself."""
    locked: Any = SimpleLocked(model=folder.write(system_packages=["libgl1"]).read())
    assert mending.to_build(locked, Mending()) is locked
    built = mending.to_build(locked, Mending(system_packages=("libxcb1", "libgl1")))
    assert built.model.file.system_packages == ("libgl1", "libxcb1")
    assert locked.model.file.system_packages == ("libgl1",)


def test_a_build_is_given_what_it_honours(folder: Any, tmp_path: Path) -> None:
    """The model's rules, in its order, but those that its method lacks or a mending leaves out."""
    model = folder.write(prune=["symbols", "tests", "headers"]).read()
    options = BuildOptions(tool_cache=tmp_path, mended=Mending(unpruned=("tests",)))
    assert mending.rules(model, options) == ["symbols", "headers"]
    assert mending.rules(model, options, ("tests", "headers")) == ["headers"]
    assert mending.kept(options) == ()
    assert mending.kept(replace(options, traced=Traced(opened=("a",)))) == ("a",)


def test_people_are_told() -> None:
    """What is done otherwise; nothing where nothing is."""
    assert mending.told(Mending()) == ""
    both = Mending(unpruned=("headers", "tests"), collected=("kern",))
    assert mending.told(both) == "without pruning headers, tests; kern taken along whole"
