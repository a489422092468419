"""One reader, guided by coverage for some seconds: a process of its own, since libFuzzer ends the one that it is in.

    python -m fuzz.one NAME FOUND SECONDS

``FOUND`` gets new inputs in ``corpus/``, and crashes in ``crashes/``: ``error-*`` is an input with which the reader
raised what is no error of ours, one of each cause; ``timeout-*``, ``oom-*`` and ``crash-*`` are libFuzzer's own.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(include=["harness", "harness_runner", "packaging", "tomllib", "yaml"]):
    from fuzz import confined, mutate, targets

#: An input that takes longer, or more memory (beside the harness itself and DuckDB), is a crash.
TIMEOUT_S, MEMORY_MB = 20, 1536
MOST_BYTES = 2**18


def main(name: str, found: Path, seconds: int) -> None:
    """Never returns."""
    corpus, crashes, seeds = found / "corpus", found / "crashes", found / "seeds"
    shutil.rmtree(seeds, ignore_errors=True)  # they may be others by now
    for folder in (corpus, crashes, seeds):
        folder.mkdir(parents=True, exist_ok=True)
    known: set[str] = set()
    for seed in targets.seeds(name):
        (seeds / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)

    def once(data: bytes) -> None:
        try:
            targets.read(name, data)
        except Exception as error:
            cause = targets.cause(error)
            if cause not in known:
                known.add(cause)
                (crashes / f"error-{hashlib.sha256(cause.encode()).hexdigest()[:12]}").write_bytes(data)

    def mutated(data: bytes, most: int, seed: int) -> bytes:
        chance = Random(seed)
        if chance.random() < 0.25:
            return bytes(atheris.Mutate(data, most))
        for _ in range(chance.choice((1, 1, 2, 4))):
            data = mutate.mutated(data, chance)
        return data[:most]

    options = {
        "max_total_time": seconds,
        "timeout": TIMEOUT_S,
        "rss_limit_mb": MEMORY_MB,
        "max_len": MOST_BYTES,
        "len_control": 0,
        "artifact_prefix": f"{crashes}/",
        "print_final_stats": 1,
    }
    arguments = [name, *(f"-{key}={value}" for key, value in options.items()), str(corpus), str(seeds)]
    with confined.surroundings():
        atheris.Setup(arguments, once, custom_mutator=mutated)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
