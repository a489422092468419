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

#: Crashes that are known and not mended yet, by :func:`targets.cause`: whoever mends one strikes it out here.
OPEN = {
    "AttributeError in cli/console.py:<genexpr>",
    "AttributeError in store/checking.py:_phase_faults",
    "IndexError in methods/lambda_zip.py:unpack",
    "IsADirectoryError in methods/lambda_zip.py:unpack",
    "IsADirectoryError in tree.py:unpack",
    "NotADirectoryError in tree.py:unpack",
    "NotImplementedError in methods/lambda_zip.py:unpack",
    "OverflowError in methods/serving.py:_over_http",
    "PdfReadError in report/pdf.py:embedded",
    "OSError in methods/lambda_zip.py:unpack",
    "OSError in methods/pex_scie.py:<listcomp>",
    "OSError in platforms/conda/channels.py:_given",
    "OSError in tree.py:unpack",
    "RecursionError in report/verify.py:_embedded",
    "RecursionError in spec/model.py:answers_match",
    "RecursionError in store/runs.py:read_manifest",
    "RuntimeError in paths.py:cache",
    "RuntimeError in paths.py:results",
    "RuntimeError in platforms/conda/channels.py:_given",
    "TypeError in methods/serving.py:_remedy",
    "TypeError in methods/serving.py:worded",
    "TypeError in spec/mlflow/importing.py:_checked_answer",
    "TypeError in store/checking.py:_phase_faults",
    "TypeError in store/checking.py:_sample_faults",
    "TypeError in store/history.py:nights",
    "TypeError in store/query.py:<dictcomp>",
    "TypeError in store/query.py:<listcomp>",
    "TypeError in store/query.py:values",
    "UnicodeEncodeError in methods/pex_scie.py:_cached",
    "UnicodeEncodeError in paths.py:key",
    "UnicodeEncodeError in tree.py:digest",
    "ValueError in spec/mlflow/importing.py:_checked_answer",
    "ValueError in spec/reading.py:json_value",
    "ValueError in spec/reading.py:toml_table",
    "error in methods/lambda_zip.py:unpack",
}

KEPT = sorted(file.relative_to(targets.CORPUS).as_posix() for file in targets.CORPUS.glob("*/*"))


@pytest.fixture(autouse=True)
def surroundings(watchdog: object) -> Iterator[None]:
    """No process is started."""
    with confined.surroundings():
        yield


def read(name: str, data: bytes) -> None:
    """As :func:`targets.read`; what is known to be broken is no news."""
    try:
        targets.read(name, data)
    except Exception as error:
        cause = targets.cause(error)
        if cause not in OPEN:
            raise AssertionError(f"{name}: {cause}") from error


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
