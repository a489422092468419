"""Every reader refuses in our words what nobody would write: the kept inputs again, and some that hypothesis makes.

``nox -s fuzz`` looks for more; what it finds belongs into ``tests/fuzz/corpus``.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from fuzz import confined, mutate, targets
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

#: Readers that take long for one input: reports are made again, runs asked all questions.
SLOW = {"commands", "embedded", "page", "pdf", "parquet", "parquet_columns", "run_json", "samples_jsonl"}
SLOW |= {"scenario_toml"}

#: What fails is shown as it is: to shrink it is the work of ``nox -s fuzz``, and takes minutes for a large input.
NO_SHRINKING = (Phase.explicit, Phase.generate)

KEPT = sorted(file.relative_to(targets.CORPUS).as_posix() for file in targets.CORPUS.glob("*/*"))


@pytest.fixture(autouse=True)
def surroundings(watchdog: object) -> Iterator[None]:
    """No process is started."""
    with confined.surroundings():
        yield


def read(name: str, data: bytes) -> None:
    """As :func:`targets.read`; a crash is told by its cause."""
    try:
        targets.read(name, data)
    except Exception as error:
        raise AssertionError(f"{name}: {targets.cause(error)}") from error


def test_the_corpus_is_of_known_readers() -> None:
    """A folder that no reader reads would be replayed by nobody."""
    assert {folder.name for folder in targets.CORPUS.iterdir()} <= set(targets.TARGETS)


@pytest.mark.parametrize("kept", KEPT)
def test_what_was_kept(kept: str) -> None:
    """Seeds are read, and what once broke a reader is refused, or read."""
    read(kept.partition("/")[0], (targets.CORPUS / kept).read_bytes())


@pytest.mark.parametrize("name", targets.TARGETS)
def test_what_hypothesis_makes(name: str) -> None:
    """Right inputs with some things changed, and any bytes."""
    seeds = targets.seeds(name)

    @settings(max_examples=2 if name in SLOW else 15, phases=NO_SHRINKING)
    @given(seed=st.sampled_from(seeds), chance=st.integers(0, 2**32), changes=st.integers(1, 6))
    def changed(seed: bytes, chance: int, changes: int) -> None:
        data, source = seed, Random(chance)
        for _ in range(changes):
            data = mutate.mutated(data, source)
        read(name, data)

    @settings(max_examples=2 if name in SLOW else 8, phases=NO_SHRINKING)
    @given(st.binary(max_size=200))
    def anything(data: bytes) -> None:
        read(name, data)

    changed()
    anything()
