"""Whether every method carries the libraries that people use most: one minimal model each, by every ready method.

    python benchmarks/carry.py [--library NAME ...] [--method ID ...] [--shard I/N] [--seconds S] [--again failed|all]
                               [--unpackaged] [--list] [--home DIR] [--cells FILE] [--out FILE]

``carry.toml`` has the libraries. Of each, a model folder is made. What it must answer is what it answers unpackaged, in
the environment of its lock, twice the same and differently to different inputs. Then ``harness run`` packages it by one
method after the other, in the cheapest form: one build, one installation, every example, one round of starts. A cell is

* ``right``: every answer is that of the unpackaged model;
* ``beyond a limit``: the artifact is larger than the method's platform allows, by a limit that it documents;
* ``failed``, with the harness's own words; also where the unpackaged model fails already;
* ``not ready``: the method cannot be used on this machine. It is tried again the next time.

Each cell is one line in ``--cells`` once it is known, so the program can be stopped at any time; it goes on with what
is not there. ``--seconds`` begins no cell after that long. It works in ``--home``, with a cache and an engine of its
own: artifacts and images are removed after each cell, environments after each library, wheels when there are many.
``--out`` writes the table as Markdown. Exit code 1 where a cell that was tried now failed, 3 where it cannot go on, 130
where it was interrupted. ``carry.jsonl`` and ``carry.md`` beside it are what was found last, and by which harness.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import carry_results
import carry_table
from carry_results import Carried, Verdict
from carry_table import Library

from harness import __version__, files, interpreter, paths, usage
from harness.errors import BadInput, BuildFailure, HarnessError, MissingComponent, ModelFailure
from harness.measure import artifacts, plain
from harness.measure.start import limits_of
from harness.methods import METHODS
from harness.spec import environments, weights
from harness.spec import model as models
from harness.spec.model import Json, answers_match

#: A cell that takes longer has failed.
_LONGEST_S = 2400.0
#: How long the harness may take to clean up after it was interrupted.
_PATIENCE_S = 90.0
#: Less free disk than this and nothing is begun; more wheels than this and they are removed.
_FREE_BYTES, _WHEELS_BYTES = 12 * 10**9, 12 * 10**9
#: What of a reason is kept: its beginning says what failed, its end is the end of a log.
_REASON_CHARS = 2000

_AFTER_LIBRARY = ("environments", "payloads", "profiles", "pulls", "manifests")
_WITH_WHEELS = ("wheelhouse", "locks", "conda", "uv", "xdg")


class CannotGoOnError(Exception):
    """Something that every cell needs is not there; nothing is said of the cell that was tried."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where it works: generated models, run folders and, with ``HARNESS_CACHE``, everything of the harness."""

    home: Path

    def model(self, library: Library) -> Path:
        """The folder of the library's model."""
        return self.home / "models" / library.name

    def harness(self, *argv: str, timeout_s: float = _LONGEST_S) -> tuple[int, str, str]:
        """``harness ...`` to its end: exit code, standard output, the end of standard error."""
        env = {**os.environ, "HARNESS_CACHE": str(paths.cache()), "HARNESS_RESULTS": str(self.home / "results")}
        command = [sys.executable, "-m", "harness", *argv]
        with subprocess.Popen(
            command,
            env=env,
            cwd=self.home,  # not the checkout, which would come before the harness that is installed
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as running:
            try:
                out, err = running.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                running.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    running.communicate(timeout=_PATIENCE_S)
                running.kill()
                return -1, "", f"took longer than {timeout_s:.0f} s"
        return running.returncode, out, err[-_REASON_CHARS:]


def main() -> int:
    """Run the program; the exit code."""
    given = _arguments()
    os.environ["HARNESS_CACHE"] = str(given.home.absolute() / "cache")
    try:
        return _carry(given)
    except HarnessError as error:
        print(f"carry: {error}", file=sys.stderr)
        return error.exit_code
    except CannotGoOnError as error:
        print(f"carry: {error}; the same command goes on from here", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("carry: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _carry(given: argparse.Namespace) -> int:
    table, place = carry_table.read(), Place(home=given.home.absolute())
    place.home.mkdir(parents=True, exist_ok=True)
    libraries = shard(table.named(given.library), given.shard)
    for method in given.method:
        if method not in METHODS:
            remedy = "'harness methods' lists them"
            raise BadInput("is not a method", key="--method", value=method, remedy=remedy)
    methods = tuple(method for method in METHODS if not given.method or method in given.method)
    known = carry_results.read(given.cells, table)
    if given.list:
        for library in libraries:
            done = [m for m in methods if not _open(known.get((library.name, m)), given.again)]
            print(f"{library.rank:>6} {library.name:<24} {len(done):>2} of {len(methods)}  {library.does}")
        return 0
    if given.unpackaged:
        return _unpackaged(place, libraries)
    failed, deadline_s = False, time.monotonic() + given.seconds
    with _engine(place):
        ready = _ready(place, methods)
        for library in libraries:
            wanted = [m for m in methods if _open(known.get((library.name, m)), given.again)]
            if not wanted or time.monotonic() > deadline_s:
                continue
            for one in carried(place, library, wanted, ready=ready, deadline_s=deadline_s):
                carry_results.append(given.cells, [one])
                _discard_artifacts()
                failed |= one.verdict == "failed"
                why = f"  {carry_results.brief(one.reason)}" if one.reason else ""
                print(f"{one.library:<24} {one.method:<20} {one.verdict:<14} {one.seconds:>6.0f} s{why}", flush=True)
            _clean_up(place)
    page = carry_results.markdown(table, carry_results.read(given.cells, table), tuple(METHODS))
    print(page)
    if given.out is not None:
        given.out.write_text(page, encoding="utf-8")
    return 1 if failed else 0


def carried(
    place: Place,
    library: Library,
    wanted: Sequence[str],
    *,
    ready: Mapping[str, str],
    deadline_s: float = float("inf"),
) -> Iterator[Carried]:
    """Each cell of the library once it is known; none is begun after ``deadline_s`` of the monotonic clock.

    ``ready`` has for each method why it cannot be used here, nothing where it can.
    """
    begin, folder, why = time.monotonic(), place.model(library), ""
    if shutil.disk_usage(paths.cache()).free < _FREE_BYTES:
        raise CannotGoOnError(f"{paths.cache()} has less than {_FREE_BYTES / 1e9:.0f} GB free")
    try:
        library.write(folder, unpackaged_answers(library, folder))
    except (BadInput, BuildFailure, ModelFailure) as error:
        why = f"unpackaged: {error}"
    for method in wanted:
        if time.monotonic() > deadline_s:
            return
        verdict: Verdict
        if ready[method]:
            verdict, reason = "not ready", ready[method]
        elif why:
            verdict, reason = "failed", why
        else:
            begin = time.monotonic()
            verdict, reason = cell(place, library, method)
        yield Carried(
            library=library.name,
            entry=library.digest,
            requirements=library.requirements,
            method=method,
            verdict=verdict,
            reason=_cut(reason),
            unpackaged=not why,
            seconds=round(time.monotonic() - begin, 1),
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            harness=__version__,
            commit=_commit(),
            python=interpreter.default().version,
            machine=f"{platform.system()} {platform.machine()}",
        )


def unpackaged_answers(library: Library, folder: Path) -> list[Json]:
    """What the model answers in the environment of its lock; the folder is left with outputs that say nothing.

    ModelFailure where a second start answers otherwise, or both inputs are answered alike; BadInput and BuildFailure
    where its requirements can't be had.
    """
    library.write(folder, [None] * len(library.inputs))
    model = models.read(folder)
    locked = weights.locked(model)
    python = environments.installed(locked.lock)
    found: list[list[Json]] = []
    with plain.laid_out(locked, python) as (method, installed):
        for _ in range(2):
            with method.start(installed, limits_of(model)) as instance:
                found.append(instance.predict(list(library.inputs)))
    first, second = found
    if not answers_match(first, second, library.tolerance):
        raise ModelFailure(
            f"a second start answers {second} instead of {first}", remedy="seed it, or widen 'tolerance'"
        )
    if len(first) != len(library.inputs) or any(answers_match(first[0], one, library.tolerance) for one in first[1:]):
        raise ModelFailure(f"different inputs are answered alike: {first}", remedy="ask for something else")
    return first


def cell(place: Place, library: Library, method: str) -> tuple[Verdict, str]:
    """What becomes of the library's model by this method, and why: one ``harness run`` of one round.

    CannotGoOnError where that was interrupted, or a component that all cells need went away.
    """
    results = place.home / "results"
    argv = ["run", str(place.model(library)), "--method", method, "--rounds", "1", "--builds", "1"]
    try:
        code, out, err = place.harness(*argv, "--results", str(results), "--json")
    finally:
        shutil.rmtree(results, ignore_errors=True)
    answer: dict[str, Any] = {}
    with contextlib.suppress(ValueError):
        answer = json.loads(out)
    if code in (3, 130):
        raise CannotGoOnError(
            answer.get("error", {}).get("problem") or err.strip() or f"'harness run' ended with {code}"
        )
    return verdict_of(answer, library.name, method, otherwise=err.strip() or f"'harness run' ended with {code}")


def verdict_of(answer: Mapping[str, Any], name: str, method: str, *, otherwise: str) -> tuple[Verdict, str]:
    """What ``harness run --json`` says of the only cell that it had; ``otherwise`` is why where it says nothing."""
    key = f"{name}/{method}"
    said: tuple[tuple[str, Verdict], ...] = (("absent", "not ready"), ("unfit", "beyond a limit"), ("failed", "failed"))
    for table, verdict in said:
        if key in answer.get(table, {}):
            return verdict, answer[table][key]
    # Right is what was found to be right, not what has no complaint.
    if any(one["methods"].get(method) == "measured" for one in answer.get("models", ()) if one["model"] == name):
        return "right", ""
    error = answer.get("error", {})
    return "failed", error.get("problem") or otherwise


def shard(libraries: Sequence[Library], text: str) -> tuple[Library, ...]:
    """The libraries of the shard ``I/N``, from 1: every Nth. BadInput where it is no shard."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise BadInput("is not a shard", key="--shard", value=text, remedy="give I/N, such as 1/4, 2/4, 3/4 or 4/4")
    return tuple(libraries[int(number) - 1 :: int(count)])


# --- surroundings --------------------------------------------------------------------------------


@contextlib.contextmanager
def _engine(place: Place) -> Iterator[None]:
    """Start the private engine where no engine answers, and stop it afterwards; go on without where there is none."""
    code, _, _ = place.harness("engine", "status", "--json")
    started = code != 0 and place.harness("engine", "start", "--json")[0] == 0
    try:
        yield
    finally:
        if started:
            place.harness("engine", "stop", "--force")


def _ready(place: Place, methods: Sequence[str]) -> dict[str, str]:
    """For each method why it cannot be used here; nothing where it can."""
    code, out, err = place.harness("methods", "--json")
    if code != 0:
        raise CannotGoOnError(f"'harness methods' ended with {code}: {err}")
    told = json.loads(out)
    return {method: "" if told[method]["ready"] else told[method]["reason"] or "not ready" for method in methods}


def _discard_artifacts() -> None:
    """Remove every artifact in this cache, with its image: each is asked for once."""
    usage.renew()
    for folder in paths.cache().glob("artifacts/*"):
        if (artifact := artifacts.recorded(folder)) is not None:
            with contextlib.suppress(MissingComponent):  # the engine that had its image is gone, and the image with it
                artifacts.discard(folder, artifact, METHODS)


def _clean_up(place: Place) -> None:
    """Remove what the next library has no use for: environments, stages of images, and wheels when there are many."""
    for name in _AFTER_LIBRARY:
        files.remove(paths.cache() / name, ignore_errors=True)
    place.harness("cache", "--prune", "--json")
    held = sum(file.stat().st_size for file in paths.cache().glob("wheelhouse/*/*.whl"))
    if held > _WHEELS_BYTES:
        for name in _WITH_WHEELS:
            files.remove(paths.cache() / name, ignore_errors=True)


def _unpackaged(place: Place, libraries: Sequence[Library]) -> int:
    """Say of each library whether its model works without being packaged; exit code 1 where one does not."""
    failed = False
    for library in libraries:
        begin = time.monotonic()
        try:
            told = str(unpackaged_answers(library, place.model(library)))
        except (BadInput, BuildFailure, ModelFailure) as error:
            failed, told = True, f"FAILED: {error}"
        print(f"{library.name:<24} {time.monotonic() - begin:>5.0f} s  {told[:_REASON_CHARS]}", flush=True)
        files.remove(paths.cache() / "environments", ignore_errors=True)
    return 1 if failed else 0


def _open(known: Carried | None, again: str) -> bool:
    """Whether the cell is to be tried: it is not known, or is to be tried again."""
    if known is None or known.verdict == "not ready" or again == "all":
        return True
    return again == "failed" and known.verdict == "failed"


def _cut(reason: str) -> str:
    half = _REASON_CHARS // 2
    return reason if len(reason) <= _REASON_CHARS else f"{reason[:half]}\n…\n{reason[-half:]}"


def _commit() -> str:
    """The commit of the checkout that this program lies in, marked where files differ from it."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own = "/var/cache" if os.geteuid() == 0 else os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    add = parser.add_argument
    add("--library", action="append", default=[], metavar="NAME", help="this one only; may be given several times")
    add("--method", action="append", default=[], metavar="ID", help="this one only; may be given several times")
    add("--shard", default="1/1", metavar="I/N", help="every Nth library, beginning with the Ith")
    add("--seconds", type=float, default=float("inf"), help="begin no cell after this long")
    add("--again", choices=("failed", "all"), default="", help="try these cells once more, besides those not known")
    add("--unpackaged", action="store_true", help="only ask each model unpackaged, and print its answers")
    add("--list", action="store_true", help="list the libraries, and how many of their cells are known")
    add("--home", type=Path, default=Path(own, "harness-carry"), help="a folder of its own (default: %(default)s)")
    add("--cells", type=Path, help="where cells are written, a line each (default: cells.jsonl in --home)")
    add("--out", type=Path, help="write the table as Markdown here")
    given = parser.parse_args()
    given.cells = given.cells or given.home / "cells.jsonl"
    return given


if __name__ == "__main__":
    sys.exit(main())
