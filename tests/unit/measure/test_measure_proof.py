"""What is built is asked every example; what does not answer is mended by steps, or given up with all of them told."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import interpreter, paths
from harness.errors import BuildFailure, DoesNotFit, MissingComponent, ModelFailure
from harness.measure import artifacts, needs, proof, tracing
from harness.methods import layout, rehearsal
from harness.methods.contract import Mending, Traced
from harness.platforms import depot
from harness.spec import environments, weights
from harness.spec.weights import LockedModel

_PROBLEM_OF, _TRACED = proof.problem_of, tracing.of
RULES = ("tests", "stubs", "headers", "symbols", "duplicates")
GONE = "loading the model raised FileNotFoundError: '/app/kern/_kernels.cu'"


@pytest.fixture
def locked(bench: Any) -> LockedModel:
    """A model that is ready to be packaged."""
    return weights.locked(bench.folder.read())


@pytest.fixture
def one(bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A method that can do all there is, whose packages are ``kern`` and ``numpy``; its artifacts are asked."""
    python = tmp_path / "environment" / "bin" / "python"
    for name in ("kern", "numpy", "kern-1.dist-info", "__pycache__"):
        (environments.site_packages(tmp_path / "environment", interpreter.default()) / name).mkdir(parents=True)

    @contextlib.contextmanager
    def at_hand(_: Any) -> Iterator[Path]:
        yield python

    removed = json.dumps({"headers": ["kern/_kernels.cu"], "tests": ["kern/tests/a.py"]})
    monkeypatch.setattr(environments, "at_hand", at_hand)
    monkeypatch.setattr(environments, "removable", lambda *_, **__: removed)
    monkeypatch.setattr(proof, "problem_of", _PROBLEM_OF)
    monkeypatch.setattr(proof, "plain_problem", lambda *_: "")
    monkeypatch.setattr(tracing, "of", lambda *_: Traced(modules=("kern.core", "numpy", "json")))
    method = bench.methods["one"]
    method.MENDS = frozenset({"prune", "collect"})
    return method


def answers(method: Any, right: Callable[[Mending], bool], says: str = "died") -> None:
    """Have artifacts answer that were built so."""

    def start(_: int) -> None:
        if not right(method.options[-1].mended):
            raise ModelFailure(says)

    method.at("start", start)


def mendings(method: Any) -> list[Mending]:
    """With what it was built, one build after the other."""
    return [options.mended for options in method.options]


def test_what_answers_is_built_and_asked_once(one: Any, locked: LockedModel) -> None:
    """It says so; what is in the cache is asked no more, nor is a further clean build."""
    artifact = artifacts.up_to_date(one, locked)
    assert artifact.facts["proven"] == "answers all 3 examples"
    assert "mended" not in artifact.facts
    assert artifacts.up_to_date(one, locked) == artifact
    artifacts.clean_build(one, locked)
    assert [call for call in one.calls if call in {"build", "start"}] == ["build", "start", "build"]
    assert not (paths.cache() / "mended").exists()
    assert list((paths.cache() / "tmp").iterdir()) == []


def test_a_start_is_traced_before_it_is_built(one: Any, bench: Any, locked: LockedModel) -> None:
    """For methods that can do something with it."""
    artifacts.up_to_date(one, locked)
    artifacts.up_to_date(bench.methods["two"], locked)
    assert one.options[0].traced == Traced(modules=("kern.core", "numpy", "json"))
    assert bench.methods["two"].options[0].traced is None


def test_the_rule_is_dropped_that_removed_what_the_error_names(one: Any, locked: LockedModel) -> None:
    """In one more build, which is the artifact; that is told and counted, apart from the build's own seconds."""
    answers(one, lambda mended: "headers" in mended.unpruned, GONE)
    build = artifacts.clean_build(one, locked)
    assert mendings(one) == [Mending(), Mending(unpruned=("headers",))]
    assert (build.tries, "1 more build to find one that answers took" in build.told) == (1, True)
    assert build.tries_s >= 0
    artifact = artifacts.cached(one, locked)
    assert artifact is not None
    assert artifact.facts["mended"] == "without pruning headers (step: named files)"
    assert artifact.facts["proven"] == "answers all 3 examples"
    assert artifacts.kept_builds(one, locked) == [build]


def test_what_mended_is_where_the_next_build_begins(one: Any, bench: Any, locked: LockedModel) -> None:
    """Of the same lock with the same method: also a clean build, also of other weights, and a rebuild."""
    answers(one, lambda mended: "headers" in mended.unpruned, GONE)
    artifacts.up_to_date(one, locked)
    artifacts.clean_build(one, locked)
    (bench.folder.path / "predictor.py").write_text("# changed")
    other = weights.locked(bench.folder.read())
    artifact = artifacts.up_to_date(one, other)
    needed = Mending(unpruned=("headers",))
    assert mendings(one)[1:] == [needed] * 3
    assert "mended" in artifact.facts
    assert artifacts.options(one, locked, one.options[0]).mended == needed
    assert artifacts.options(bench.methods["two"], locked, one.options[0]).mended == Mending()


def test_an_error_that_changes_is_followed(one: Any, locked: LockedModel) -> None:
    """What mended the first stays while the second is mended."""

    def start(_: int) -> None:
        mended = one.options[-1].mended
        if "headers" not in mended.unpruned:
            raise ModelFailure(GONE)
        if "tests" not in mended.unpruned:
            raise ModelFailure("No module named 'kern.tests.a'")

    one.at("start", start)
    artifacts.up_to_date(one, locked)
    assert mendings(one) == [Mending(), Mending(unpruned=("headers",)), Mending(unpruned=("headers", "tests"))]


def test_all_rules_are_cleared_at_once_and_one_is_found(one: Any, locked: LockedModel) -> None:
    """Where the error names nothing: first whether it is pruning at all, then which rule."""
    answers(one, lambda mended: "tests" in mended.unpruned)
    artifact = artifacts.up_to_date(one, locked)
    tried = [(), RULES, ("headers",), ("stubs",), ("tests",)]
    assert mendings(one) == [Mending(unpruned=unpruned) for unpruned in tried]
    assert artifact.facts["mended"] == "without pruning tests (step: one rule)"


def test_where_two_rules_are_to_blame_none_is_applied(one: Any, locked: LockedModel) -> None:
    """The last build is the artifact: it is made once more where it was not the last to be tried."""
    answers(one, lambda mended: {"tests", "stubs"} <= set(mended.unpruned))
    artifact = artifacts.up_to_date(one, locked)
    assert mendings(one)[1] == mendings(one)[-1] == Mending(unpruned=RULES)
    assert len(mendings(one)) == 2 + len(RULES) + 1
    assert artifact.facts["mended"] == f"without pruning {', '.join(RULES)} (step: no pruning)"


def test_packages_are_taken_whole(one: Any, locked: LockedModel) -> None:
    """Those that the error names before all that are loaded; pruning is not to blame for a library."""
    answers(one, lambda mended: "kern" in mended.collected, "kern/lib: cannot open shared object file")
    artifacts.up_to_date(one, locked)
    assert mendings(one) == [Mending(), Mending(collected=("kern",))]


def test_in_the_end_everything_is_taken(one: Any, locked: LockedModel) -> None:
    """Nothing pruned, every loaded package whole."""
    everything = Mending(unpruned=RULES, collected=("kern", "numpy"))
    answers(one, lambda mended: mended == everything)
    artifacts.up_to_date(one, locked)
    assert mendings(one) == [Mending(), Mending(unpruned=RULES), Mending(collected=("kern", "numpy")), everything]


def test_what_cannot_be_mended_tells_all_that_was_tried(one: Any, locked: LockedModel) -> None:
    """Nothing is left but what was found out: the next time it is built and asked once, and told again."""
    answers(one, lambda _: False, GONE)
    for builds in (6, 7):
        with pytest.raises(BuildFailure) as raised:
            artifacts.up_to_date(one, locked)
        assert len(one.options) == builds
        text = raised.value.problem
        assert "does not answer the examples as the plain environment does: loading the model raised" in text
        assert "1. without pruning headers: loading" in text
        assert "2. kern taken along whole: loading" in text
        assert "5. without pruning tests, stubs, headers, symbols, duplicates; kern, numpy taken along whole: " in text
        assert raised.value.remedy
    assert [path for path in (paths.cache() / "artifacts").iterdir() if path.is_dir()] == []


def test_another_payload_is_tried_again(one: Any, bench: Any, locked: LockedModel) -> None:
    """What failed was that model."""
    answers(one, lambda _: False)
    with pytest.raises(BuildFailure):
        artifacts.up_to_date(one, locked)
    (bench.folder.path / "predictor.py").write_text("# changed")
    before = len(one.options)
    with pytest.raises(BuildFailure):
        artifacts.up_to_date(one, weights.locked(bench.folder.read()))
    assert len(one.options) > before + 1


def test_a_step_whose_build_fails_is_one_in_vain(one: Any, locked: LockedModel) -> None:
    """The next one is tried."""

    def build(_: int) -> None:
        if one.options[-1].mended == Mending(unpruned=("headers",)):
            raise BuildFailure("refused")

    one.at("build", build)
    answers(one, lambda mended: mended.unpruned == RULES, GONE)
    artifact = artifacts.up_to_date(one, locked)
    assert artifact.facts["mended"].endswith("(step: no pruning)")


def test_where_the_plain_environment_fails_too_it_is_the_model(
    one: Any, locked: LockedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is mended; that it fails is told where it is started."""
    monkeypatch.setattr(proof, "plain_problem", lambda *_: "wrong")
    answers(one, lambda _: False)
    artifact = artifacts.up_to_date(one, locked)
    assert artifact.facts["proven"] == "no: the plain environment does not answer right either"
    assert len(one.options) == 1


def test_where_there_is_nothing_to_mend_by_it_is_told_where_it_is_started(one: Any, locked: LockedModel) -> None:
    """A method that neither prunes nor collects."""
    one.MENDS = frozenset()
    answers(one, lambda _: False, "libGL.so.1: cannot open shared object file")
    artifact = artifacts.up_to_date(one, locked)
    assert artifact.facts["proven"] == "no: nothing to mend it by: libGL.so.1: cannot open shared object file"


def test_an_image_gets_the_system_libraries_that_it_lacks(
    one: Any, locked: LockedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is known to be lacking, and what the error names; its base is made before the build's time begins."""
    one.MENDS = frozenset({"system"})
    seen: list[tuple[str, ...]] = []
    for call in ("prepare", "build"):
        honest = getattr(one, call)

        def noted(given: Any, *more: Any, honest: Any = honest) -> Any:
            seen.append(getattr(given, "model", given).file.system_packages)
            return honest(given, *more)

        monkeypatch.setattr(one, call, noted)
    monkeypatch.setattr(needs, "of_plain", lambda *_, **__: (None, SimpleNamespace(to_add=("libgl1",))))
    monkeypatch.setattr(needs, "packages_for", lambda names, _: dict.fromkeys(names, "libxcb1"))
    lacks = "loading the model raised ImportError: libxcb.so.1: cannot open shared object file"
    answers(one, lambda mended: mended.system_packages == ("libgl1", "libxcb1"), lacks)
    artifact = artifacts.up_to_date(one, locked)
    assert artifact.facts["mended"] == "Debian's libgl1, libxcb1 added (step: system libraries)"
    assert seen == [(), ("libgl1", "libxcb1"), ("libgl1", "libxcb1")]
    assert proof.mended(one, locked, "default") == Mending(system_packages=("libgl1", "libxcb1"))


@pytest.mark.parametrize("why", [DoesNotFit("too much memory"), MissingComponent("no engine")])
def test_what_cannot_be_asked_here_is_not_called_proven(one: Any, locked: LockedModel, why: Exception) -> None:
    """It is built all the same: not fitting is a result, which is told where it is installed."""

    def install(_: int) -> None:
        raise why

    one.at("install", install)
    assert artifacts.up_to_date(one, locked).facts["proven"] == f"no: {why.problem}"  # type: ignore[attr-defined]
    assert len(one.options) == 1


def test_an_image_that_does_not_answer_is_removed_before_the_next(
    one: Any, locked: LockedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both would have the same tag."""
    build = one.build
    monkeypatch.setattr(one, "build", lambda *given: with_image(build(*given)))
    answers(one, lambda mended: bool(mended.unpruned), GONE)
    artifacts.up_to_date(one, locked)
    assert [call for call in one.calls if call in {"build", "remove"}] == ["build", "remove", "build"]


def with_image(artifact: Any) -> Any:
    """As of a method that makes images."""
    return artifact.__class__(**{**vars(artifact), "image": "tiny:1"})


@pytest.mark.parametrize("text", ["", "null", "[]", "{", '{"mended": 1}', '{"mended": {"colour": []}, "by": "x"}'])
def test_a_damaged_record_is_none(one: Any, locked: LockedModel, text: str) -> None:
    """What mends is found again."""
    answers(one, lambda mended: "headers" in mended.unpruned, GONE)
    artifacts.up_to_date(one, locked)
    (record,) = (paths.cache() / "mended").iterdir()
    record.write_text(text)
    assert proof.mended(one, locked, "default") == Mending()


def test_nothing_is_fetched_from_a_depot() -> None:
    """What was just built is copied from where it lies; no platform is told of it."""
    nowhere = depot.Nowhere()
    with pytest.raises(MissingComponent):
        nowhere.account()
    with pytest.raises(MissingComponent):
        nowhere.push(None, "tiny:1")  # type: ignore[arg-type]


@pytest.mark.usefixtures("one")
def test_a_trace_is_taken_once_and_kept(locked: LockedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a start that answers; of one that does not, once in a process, as that may have been the machine's doing."""
    found = [Traced(), Traced(modules=("kern",), opened=("kern/a.h",))]
    monkeypatch.setattr(layout, "write_sources", lambda *_, **__: None)
    monkeypatch.setattr(rehearsal, "traced", lambda *_, **__: found.pop(0))
    monkeypatch.setattr(tracing, "_not_answered", set())
    assert _TRACED(locked) == _TRACED(locked) == Traced()
    assert len(found) == 1
    monkeypatch.setattr(tracing, "_not_answered", set())
    assert _TRACED(locked) == _TRACED(locked) == Traced(modules=("kern",), opened=("kern/a.h",))
    (record,) = (paths.cache() / "traces").iterdir()
    record.write_text("null")
    with pytest.raises(IndexError):
        _TRACED(locked)
