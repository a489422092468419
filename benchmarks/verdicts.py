"""Whether verdicts are right: each is said before anything runs, then the artifact is really started on the target.

    python benchmarks/verdicts.py MODEL... [--methods venv,pex,...] [--state FILE] [--seconds S]

MODEL is a sample model or a folder. Every artifact is carried to Debian releases as bare as base images (bullseye,
bookworm, trixie), to one without Python, and to this machine as it is. A verdict is wrong where it says ``runs`` and
the start fails, or ``does not`` and all examples are answered right; ``unsure`` is never wrong, and counted apart.

Each pair is a line of ``--state``, and is not tried again: the same command goes on where it was stopped. Needs root.
Exit code 1 where a verdict was wrong. A pair takes a second or two once its artifact is built.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import process
from harness.errors import HarnessError
from harness.measure import artifacts, portability, start, verdict
from harness.measure.part import Subject
from harness.measure.sample import Cell
from harness.methods import METHODS
from harness.methods.contract import Method
from harness.platforms import depot, targets
from harness.platforms.targets import Machine
from harness.spec import model as models
from harness.spec import weights
from harness.spec.model import Model

#: Those whose artifacts run on the target's own system.
METHOD_IDS = ("venv", "rest-api", "conda", "pex", "pyinstaller", "pyinstaller-onefile")

MACHINES: Mapping[str, Callable[[], Machine]] = {
    "bullseye": lambda: targets.release_with("3.9"),
    "bookworm": lambda: targets.release_with("3.11"),
    "trixie": lambda: targets.release_with("3.13"),
    "no-python": lambda: targets.release_with("3.11", has_python=False),
    "here": lambda: targets.find("non-root"),
}


def main() -> int:
    """Run the program; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="sample models or folders")
    parser.add_argument("--methods", default=",".join(METHOD_IDS), help=f"default: {','.join(METHOD_IDS)}")
    parser.add_argument("--state", type=Path, default=Path("verdicts.jsonl"), help="where pairs are kept")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no artifact after this long")
    given = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("needs root: only root may give a process another root file system")
    begin = time.monotonic()
    for name in given.models:
        model = models.find(name)
        for method_id in given.methods.split(","):
            missing = [one for one in MACHINES if (model.name, method_id, one) not in _done(given.state)]
            if missing and time.monotonic() - begin < given.seconds:
                with given.state.open("a", encoding="utf-8") as state:
                    for pair in _tried(model, METHODS[method_id], missing):
                        state.write(json.dumps(pair) + "\n")
                        state.flush()
                        print(_line(pair), flush=True)
    pairs = list(_done(given.state).values())
    print(_table(pairs))
    return 1 if any(_wrong(pair) for pair in pairs) else 0


def _tried(model: Model, method: Method, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A record of each pair; one that says why, where the artifact can't be built."""
    known = {"model": model.name, "method": method.ID}
    try:
        method.prepare(model)
        locked = weights.locked(model, extra=method.REQUIREMENTS)
        artifact = artifacts.up_to_date(method, locked)
        read = verdict.known(method, locked, artifact)
    except HarnessError as error:
        for name in names:
            yield {**known, "target": name, "absent": error.problem.splitlines()[0]}
        return
    with depot.session() as store, process.temporary_folder("verdicts", readable=True) as folder:
        subject = Subject(
            cell=Cell(model=model.name, method=method.ID),
            method=method,
            locked=locked,
            artifact=artifact,
            installed=method.install(artifact, folder, store),
            limits=start.limits_of(model),
            depot=store,
        )
        for name in names:
            machine = MACHINES[name]()
            told = verdict.against(read, verdict.place_of(machine))  # before anything is started there
            try:
                failed = portability.tried(subject, machine)
            except HarnessError as error:
                yield {**known, "target": name, "absent": error.problem.splitlines()[0]}
                continue
            yield {
                **known,
                "target": name,
                "says": told.says,
                "reasons": told.reasons,
                "runs": not failed,
                "why": failed,
            }


def _done(state: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The pairs that were tried, the last record of each."""
    lines = state.read_text(encoding="utf-8").splitlines() if state.is_file() else []
    pairs = [json.loads(line) for line in lines]
    return {(one["model"], one["method"], one["target"]): one for one in pairs}


def _wrong(pair: Mapping[str, Any]) -> bool:
    return pair.get("says") == ("does not" if pair.get("runs") else "runs")


def _line(pair: Mapping[str, Any]) -> str:
    head = f"{pair['model']:<24} {pair['method']:<20} {pair['target']:<10}"
    if "absent" in pair:
        return f"{head} not tried: {pair['absent']}"
    mark = "WRONG" if _wrong(pair) else pair["says"]
    return f"{head} {mark:<9} {'; '.join(pair['reasons'])[:90]}" + (f" | {pair['why'][:90]}" if pair["why"] else "")


def _table(pairs: Sequence[Mapping[str, Any]]) -> str:
    """Pairs by method: how many verdicts of each kind, and how many of them were wrong."""
    lines = [f"\n{'method':<20} {'pairs':>6} {'runs':>6} {'does not':>9} {'unsure':>7} {'wrong':>6} {'not tried':>10}"]
    for method in [*sorted({pair["method"] for pair in pairs}), ""]:
        own = [pair for pair in pairs if not method or pair["method"] == method]
        says = Counter(pair.get("says", "") for pair in own)
        wrong = sum(map(_wrong, own))
        counts = f"{says['runs']:>6} {says['does not']:>9} {says['unsure']:>7} {wrong:>6} {says['']:>10}"
        lines.append(f"{method or 'all':<20} {len(own) - says['']:>6} {counts}")
    lines += [f"wrong: {_line(pair)}" for pair in pairs if _wrong(pair)]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
