"""Fuzz every reader in turn, for a total time: ``nox -s fuzz -- --seconds 3600``.

Prints for each reader how many inputs it was given, how much of the code they reached, how many of them were kept and
what broke it. Exit code 1 where something did, with the path of an input that shows it. What is found lies below the
cache, in ``fuzz/``, and is gone on with by the next run; an input that broke a reader belongs in ``tests/fuzz/corpus``.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fuzz import confined, targets
from harness import paths

#: A reader's turn, at most; starting one takes a second or two.
_TURN_S = 60
_ENDING_S = 60
_REDUCING_S = 10.0


@dataclass(kw_only=True)
class Tried:
    """What came of a reader's turns."""

    executions: int = 0
    coverage: int = 0
    kept: int = 0
    seconds: float = 0.0
    crashes: dict[str, Path] = field(default_factory=dict)


def main() -> int:
    """Run the program; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600, help="in all (default: 600)")
    parser.add_argument("--target", action="append", choices=sorted(targets.TARGETS), help="this reader only")
    parser.add_argument("--found", type=Path, default=None, help="where findings are kept (default: below the cache)")
    given = parser.parse_args()
    names = given.target or list(targets.TARGETS)
    home = given.found or paths.cache() / "fuzz"
    tried = {name: Tried() for name in names}
    end = time.monotonic() + given.seconds
    turn_s = max(min(_TURN_S, given.seconds // len(names)), 1)
    while time.monotonic() < end:
        for name in names:
            if time.monotonic() >= end:
                break
            _take_turn(name, home / name, turn_s, tried[name])
            print(_told(name, tried[name]), flush=True)  # noqa: T201
    print(f"\n{'reader':<18} {'inputs':>9} {'edges':>7} {'kept':>6} {'seconds':>8}  crashes")  # noqa: T201
    for name in names:
        print(_told(name, tried[name]))  # noqa: T201
    broken = [(name, why, file) for name, one in tried.items() for why, file in one.crashes.items()]
    for name, why, file in broken:
        print(f"{name}: {why}\n    {file}")  # noqa: T201
    print(f"{sum(one.executions for one in tried.values())} inputs, {len(broken)} crashes")  # noqa: T201
    return 1 if broken else 0


def _told(name: str, one: Tried) -> str:
    numbers = f"{one.executions:>9} {one.coverage:>7} {one.kept:>6} {one.seconds:>8.0f}"
    return f"{name:<18} {numbers}  {len(one.crashes)}"


def _take_turn(name: str, found: Path, seconds: int, tried: Tried) -> None:
    """Try the reader for so long; what it did is added to ``tried``."""
    found.mkdir(parents=True, exist_ok=True)
    for file in _crashes(found):
        if file.name.startswith("error-") and not _why(name, file.read_bytes()):
            file.unlink()  # mended since
    begin, log = time.monotonic(), found / "log"
    with log.open("wb") as printed:
        child = subprocess.Popen(
            [sys.executable, "-m", "fuzz.one", name, str(found), str(seconds)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
        )
        try:
            code = child.wait(timeout=seconds + _ENDING_S)
        except subprocess.TimeoutExpired:
            child.kill()
            code = child.wait()
    said = log.read_text(errors="replace")
    tried.seconds += time.monotonic() - begin
    tried.executions += _last(r"stat::number_of_executed_units:\s*(\d+)", said)
    tried.coverage = max(tried.coverage, _last(r"cov: (\d+)", said))
    tried.kept += _last(r"stat::new_units_added:\s*(\d+)", said)
    crashes = _crashes(found)
    for file in crashes:
        _note(name, file, tried)
    if code != 0 and all(file.name.startswith("error-") for file in crashes):
        tried.crashes[f"ended with exit code {code}"] = log


def _crashes(found: Path) -> list[Path]:
    """The inputs that broke the reader; libFuzzer keeps those that are merely slow beside them."""
    return sorted(file for file in (found / "crashes").glob("*") if not file.name.startswith("slow-unit-"))


def _note(name: str, file: Path, tried: Tried) -> None:
    """Add a crash to ``tried``, made smaller if it is one of ours and seen for the first time."""
    kind, data = file.name.partition("-")[0], file.read_bytes()
    why = _why(name, data) if kind == "error" else ""
    if not why:  # too slow or too large, or it takes a stack as deep as libFuzzer's
        tried.crashes[f"{kind} ({file.name[-8:]})"] = file
    elif why not in tried.crashes:
        tried.crashes[why] = file
        file.write_bytes(_reduced(data, lambda shorter: _why(name, shorter) == why))


def _last(pattern: str, said: str) -> int:
    found = re.findall(pattern, said)
    return int(found[-1]) if found else 0


def _why(name: str, data: bytes) -> str:
    """The cause of the crash that the reader has with ``data``; empty where it has none."""
    with confined.surroundings():
        try:
            targets.read(name, data)
        except Exception as error:
            return targets.cause(error)
    return ""


def _reduced(data: bytes, holds: Callable[[bytes], bool]) -> bytes:
    """A shorter input for which ``holds``: halves, quarters and so on are left out as long as that is so."""
    end, size = time.monotonic() + _REDUCING_S, len(data) // 2
    while size and time.monotonic() < end:
        place = 0
        while place < len(data) and time.monotonic() < end:
            shorter = data[:place] + data[place + size :]
            if holds(shorter):
                data = shorter
            else:
                place += size
        size //= 2
    return data


if __name__ == "__main__":
    sys.exit(main())
