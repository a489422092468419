"""The table of libraries that people use most, the models made of it, and what is said of the cells."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import carry
import carry_results
import carry_table
import pytest
from carry_results import Carried
from packaging.requirements import Requirement

from harness.errors import BadInput, ModelFailure
from harness.methods import METHODS
from harness.spec import model as models

TABLE = carry_table.read()
ONE, OTHER = TABLE.library[0], TABLE.library[1]


def a_cell(library: carry_table.Library = ONE, **changes: Any) -> Carried:
    """A cell that is right, with ``changes``."""
    known: dict[str, Any] = {"method": "venv", "verdict": "right", "seconds": 1.0, "at": "2026-12-01T10:00:00+00:00"}
    known |= {"harness": "0.1", "commit": "abc", "python": "3.11.2", "machine": "Linux x86_64"}
    described = {"library": library.name, "entry": library.digest, "requirements": library.requirements}
    return Carried(**(described | known | changes))


# --- the table -----------------------------------------------------------------------------------


def test_the_table_has_at_least_60_libraries_each_once() -> None:
    names = [one.name for one in TABLE.library]

    assert len(names) >= 60
    assert len(set(names)) == len(names)
    assert set(TABLE.sample) <= set(names)
    assert len(TABLE.sample) == 5
    assert not set(names) & {one.name for one in TABLE.left_out}


@pytest.mark.parametrize("library", TABLE.library, ids=lambda one: one.name)
def test_each_entry_is_pinned_and_asks_two_different_things(library: carry_table.Library, tmp_path: Path) -> None:
    for text in library.requirements:
        (pin,) = Requirement(text).specifier
        assert pin.operator == "=="
        assert "*" not in pin.version
    assert len(library.inputs) == 2
    assert not models.answers_match(library.inputs[0], library.inputs[1], library.tolerance)
    assert library.does

    library.write(tmp_path, ["first", "second"])
    model = models.read(tmp_path)

    assert model.name == library.name
    assert model.file.requirements == library.requirements
    assert model.examples.inputs == library.inputs
    assert model.examples.outputs == ("first", "second")
    assert (model.file.torch_backend == "cpu") == any("torch==" in text for text in library.requirements)
    functions = {node.name: node for node in ast.parse((tmp_path / "predictor.py").read_text()).body if _is_def(node)}
    assert [argument.arg for argument in functions["load"].args.args] == ["model_dir"]
    assert [argument.arg for argument in functions["predict"].args.args] == ["model", "inputs"]


def _is_def(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef)


def test_what_was_found_of_another_entry_says_nothing_of_this_one() -> None:
    assert replace(ONE, requirements=("numpy==1.0",)).digest != ONE.digest
    assert replace(ONE).digest == ONE.digest


def test_an_unknown_key_is_told(tmp_path: Path) -> None:
    file = tmp_path / "carry.toml"
    file.write_text('made_on = "2026-11-30"\nsample = []\nlibraries = []\n')

    with pytest.raises(BadInput, match="libraries"):
        carry_table.read(file)


def test_an_unknown_library_is_told() -> None:
    with pytest.raises(BadInput, match="numpi") as told:
        TABLE.named(["numpi"])

    assert "numpy" in told.value.remedy


# --- pieces --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 4, 32])
def test_the_shards_have_every_library_once(count: int) -> None:
    pieces = [carry.shard(TABLE.library, f"{number}/{count}") for number in range(1, count + 1)]

    assert sorted(one.name for piece in pieces for one in piece) == sorted(one.name for one in TABLE.library)
    assert all(pieces)


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4"])
def test_what_is_no_shard_is_told(text: str) -> None:
    with pytest.raises(BadInput, match="is not a shard"):
        carry.shard(TABLE.library, text)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> carry.Place:
    """A place to work in where no process is started."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(carry, "_commit", lambda: "abc")
    monkeypatch.setattr(carry.interpreter, "default", lambda: SimpleNamespace(version="3.11.2"))
    monkeypatch.setattr(carry, "unpackaged_answers", lambda *_: [1, 2])
    monkeypatch.setattr(carry, "_FREE_BYTES", 0)
    return carry.Place(home=tmp_path)


def test_each_cell_is_told_once_it_is_known(here: carry.Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carry, "cell", lambda *_: ("failed", "a reason " * 1000))
    ready = {"venv": "", "pex": "no pex here"}

    found = list(carry.carried(here, ONE, ["venv", "pex"], ready=ready))

    assert [(one.method, one.verdict) for one in found] == [("venv", "failed"), ("pex", "not ready")]
    assert len(found[0].reason) < 2100
    assert found[1].reason == "no pex here"
    written = json.loads((here.model(ONE) / "examples.json").read_text())
    assert written == {"inputs": list(ONE.inputs), "outputs": [1, 2]}


def test_a_model_that_fails_unpackaged_is_packaged_by_no_method(
    here: carry.Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(library: carry_table.Library, folder: Path) -> list[Any]:
        raise ModelFailure("raised ImportError")

    monkeypatch.setattr(carry, "unpackaged_answers", answers)
    monkeypatch.setattr(carry, "cell", lambda *_: pytest.fail("it was packaged"))

    found = list(carry.carried(here, ONE, ["venv", "pex"], ready={"venv": "", "pex": ""}))

    assert [one.verdict for one in found] == ["failed", "failed"]
    assert not any(one.unpackaged for one in found)
    assert found[0].reason == "unpackaged: raised ImportError"


def test_no_cell_is_begun_after_the_deadline(here: carry.Place, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged: list[str] = []

    def cell(place: carry.Place, library: carry_table.Library, method: str) -> tuple[str, str]:
        packaged.append(method)
        return "right", ""

    monkeypatch.setattr(carry, "cell", cell)
    monkeypatch.setattr(carry, "time", SimpleNamespace(monotonic=lambda: 10.0 * len(packaged)))
    ready = dict.fromkeys(METHODS, "")

    found = list(carry.carried(here, ONE, list(METHODS), ready=ready, deadline_s=15.0))

    assert [one.method for one in found] == packaged == list(METHODS)[:2]


def test_nothing_is_begun_on_a_disk_that_is_nearly_full(here: carry.Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carry, "_FREE_BYTES", 2**70)

    with pytest.raises(carry.CannotGoOnError, match="free"):
        next(carry.carried(here, ONE, ["venv"], ready={"venv": ""}))


@pytest.mark.parametrize(
    ("known", "again", "is_open"),
    [
        (None, "", True),
        (a_cell(), "", False),
        (a_cell(verdict="failed"), "", False),
        (a_cell(verdict="not ready"), "", True),
        (a_cell(verdict="failed"), "failed", True),
        (a_cell(), "failed", False),
        (a_cell(), "all", True),
    ],
)
def test_which_cells_are_tried(known: Carried | None, again: str, is_open: bool) -> None:
    assert carry._open(known, again) is is_open


# --- what a run says -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"models": [{"model": "numpy", "methods": {"venv": "measured"}}]}, ("right", "")),
        ({"failed": {"numpy/venv": "raised"}, "models": []}, ("failed", "raised")),
        ({"unfit": {"numpy/venv": "does not fit"}}, ("beyond a limit", "does not fit")),
        ({"absent": {"numpy/venv": "no engine"}}, ("not ready", "no engine")),
        ({"models": [{"model": "numpy", "methods": {"venv": "was not measured"}}]}, ("failed", "nothing said")),
        ({"models": [{"model": "pandas", "methods": {"venv": "measured"}}]}, ("failed", "nothing said")),
        ({"failed": {"numpy/pex": "raised"}}, ("failed", "nothing said")),
        ({"error": {"problem": "a bug"}}, ("failed", "a bug")),
        ({}, ("failed", "nothing said")),
    ],
)
def test_only_what_was_found_right_is_right(answer: dict[str, Any], expected: tuple[str, str]) -> None:
    assert carry.verdict_of(answer, "numpy", "venv", otherwise="nothing said") == expected


# --- lines and shares ----------------------------------------------------------------------------


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """A file of cells that is not there yet."""
    return tmp_path / "deep" / "cells.jsonl"


def test_the_newest_line_of_a_cell_counts(cells: Path) -> None:
    carry_results.append(cells, [a_cell(verdict="failed", reason="raised"), a_cell(OTHER)])
    carry_results.append(cells, [a_cell()])

    found = carry_results.read(cells, TABLE)

    assert found == {(ONE.name, "venv"): a_cell(), (OTHER.name, "venv"): a_cell(OTHER)}


def test_lines_of_another_entry_are_passed_over(cells: Path) -> None:
    carry_results.append(cells, [a_cell(entry="0" * 16)])

    assert carry_results.read(cells, TABLE) == {}


def test_a_line_that_was_being_written_is_passed_over(cells: Path) -> None:
    carry_results.append(cells, [a_cell()])
    with cells.open("a") as stream:
        stream.write('{"library": "pan')

    assert list(carry_results.read(cells, TABLE)) == [(ONE.name, "venv")]


def test_a_broken_line_is_told_by_its_number(cells: Path) -> None:
    carry_results.append(cells, [a_cell()])
    with cells.open("a") as stream:
        stream.write('{"library": 3}\n')

    with pytest.raises(BadInput, match="line 2") as told:
        carry_results.read(cells, TABLE)

    assert str(cells) in str(told.value)


# The score interval as other implementations have it (statsmodels' proportion_confint, method "wilson").
@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [(97, 100, 0.9155, 0.9897), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (0, 0, 0.0, 1.0)],
)
def test_the_interval_of_a_share(right: int, of: int, low: float, high: float) -> None:
    found = carry_results.wilson(right, of)

    assert found == pytest.approx((low, high), abs=1e-4)


def test_the_page_counts_what_no_limit_excludes_and_gives_each_reason() -> None:
    found = [
        a_cell(),
        a_cell(method="pex"),
        a_cell(OTHER),
        a_cell(OTHER, method="pex", verdict="failed", reason="raised ImportError: libxcb\n  remedy: name it"),
        a_cell(OTHER, method="lambda-zip", verdict="beyond a limit", reason="does not fit"),
        a_cell(method="conda", verdict="not ready", reason="no conda"),
    ]

    page = carry_results.markdown(TABLE, {(one.library, one.method): one for one in found}, tuple(METHODS))

    assert "3 of 4 (75.0%" in page
    assert "Beyond a limit: 1. Not ready on this machine: 1." in page
    assert f"Not tried yet: {len(TABLE.library) * len(METHODS) - 6}" in page
    assert "- pandas (pex): raised ImportError: libxcb\n" in page
    assert "| pandas | 37 | 1 of 2 | pex | lambda-zip |" in page
    assert "| conda |" not in page
    assert "2026-12-01" in page


def test_the_page_says_so_where_nothing_was_tried() -> None:
    assert "Nothing was tried yet" in carry_results.markdown(TABLE, {}, tuple(METHODS))


def test_a_reason_is_shown_by_its_first_and_last_line() -> None:
    log = "building failed\n    a\n    b\n    ModuleNotFoundError: x|y\n  remedy: add it"

    assert carry_results.brief(log) == "building failed … ModuleNotFoundError: x\\|y"
    assert carry_results.brief("") == "no reason was given"
    assert len(carry_results.brief("x" * 1000)) == 240


def test_the_page_beside_the_program_is_of_the_cells_beside_it() -> None:
    beside = Path(carry.__file__).parent
    found = carry_results.read(beside / "carry.jsonl", TABLE)

    assert (beside / "carry.md").read_text(encoding="utf-8") == carry_results.markdown(TABLE, found, tuple(METHODS))
