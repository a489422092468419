"""Whether a harness that is killed loses or leaves anything.

    python benchmarks/kills.py [--kills 200] [--seed N] [--methods venv,pex,...] [--seconds S] [--home DIR]

SIGKILL hits the harness at random moments while it runs (mostly), profiles, locks or packages small generated models;
in some trials its watchdog is killed before it, or with it. In others the disk with the results or with the cache is
filled at random moments and freed again, or the private engine is killed. After each blow:

* nothing measured is lost: the samples on the disk are there after ``--resume``, none of them is taken again;
* nothing is left: processes, control groups, mounts, loop devices, containers, images without a name, temporary files;
* the run is resumed to its end, no cell has failed, and ``harness verify`` finds nothing.

Where the watchdog was killed too, only the kernel is left to end anything: what stays is told, and whether the next
start and ``harness cache --prune`` remove it; a process that goes on running is a broken promise there too.

Everything lies in ``--home``: two disks in files, what the harness printed, and ``state.json``, from which the same
command goes on. Needs root; without a Docker engine other methods take the place of those that need it. Exit code 1
where a promise was broken. 200 kills take some two hours on two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import secrets
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import disks
from hitting import Bench, Hitting, Trial

METHODS = ("venv", "pex", "rest-api", "pyinstaller", "conda", "container")
#: What takes the place of a method that is not ready here.
RESERVE = ("pex-scie", "pyinstaller-onefile", "cloud-functions")

#: How often each kind of blow is dealt, and each command is hit, in hundredths.
BLOWS = {"kill": 68, "watchdog first": 8, "both": 8, "full disk": 11, "engine": 5}
COMMANDS = {"run": 82, "profile": 6, "lock": 4, "package": 8}

_CACHE_BYTES, _RESULTS_BYTES = 24 * 2**30, 64 * 2**20


def main() -> int:
    """Run the program; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="how many SIGKILLs of the harness (default: 200)")
    parser.add_argument("--seed", type=int, default=None, help="of every random choice (default: drawn, and recorded)")
    parser.add_argument("--methods", default=",".join(METHODS), help=f"default: {','.join(METHODS)}")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no trial after this long")
    parser.add_argument("--home", type=Path, default=Path("/var/cache/harness-kills"), help="a folder of its own")
    parser.add_argument("--blow", choices=sorted(BLOWS), help="this kind only")
    given = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("needs root: it mounts disks, and looks into every process")
    given.home.mkdir(parents=True, exist_ok=True)
    state = given.home / "state.json"
    known = json.loads(state.read_text()) if state.is_file() else {"seed": None, "trials": []}
    seed = next(one for one in (given.seed, known["seed"], secrets.randbelow(2**31)) if one is not None)
    if known["seed"] not in (None, seed):
        parser.error(f"{state} is of the seed {known['seed']}; remove it, or give another --home")
    trials = [Trial(**one) for one in known["trials"]]
    bench = Bench(given.home, seed, given.methods.split(","))
    bench.work.mkdir(exist_ok=True)
    cache = disks.mounted(given.home / "cache.img", bench.cache, _CACHE_BYTES)
    results = disks.mounted(given.home / "results.img", bench.results, _RESULTS_BYTES)
    begin = time.monotonic()
    with cache, results, contextlib.ExitStack() as afterwards:
        afterwards.callback(lambda: bench.call("engine", "stop") if bench.engine_started else None)
        bench.methods = _ready(bench)
        while _kills(trials) < given.kills and time.monotonic() - begin < given.seconds:
            trial = _one(bench, len(trials), only=given.blow)
            trials.append(trial)
            state.write_text(json.dumps({"seed": seed, "trials": [asdict(one) for one in trials]}, indent=1))
            verdict = "BROKEN" if trial.broken else "held"
            print(f"{trial.number:>4} {trial.command:<8} {trial.method:<12} {'; '.join(trial.blows):<50} {verdict}")
            for line in (*trial.broken, *trial.told):
                print(f"       {line}")
            sys.stdout.flush()
    print(_table(trials))
    print(f"seed {seed}; {_kills(trials)} kills in {len(trials)} trials; {given.home / 'state.json'}")
    return 1 if any(trial.broken for trial in trials) else 0


def _one(bench: Bench, number: int, *, only: str | None) -> Trial:
    chance = random.Random(f"{bench.seed}/{number}")
    blow = only or chance.choices(list(BLOWS), list(BLOWS.values()))[0]
    command = chance.choices(list(COMMANDS), list(COMMANDS.values()))[0]
    method = bench.methods[number % len(bench.methods)]
    if blow == "engine" and "container" in bench.methods:
        command, method = "run", "container"
    elif blow == "engine":
        blow = "kill"
    # One in two is new, so that it is also locked, trained and built; the others are started for most of the time.
    turns = number if chance.random() < 0.5 else 1
    model = f"synthetic-w1-f{5 + turns}-i1"
    trial = Trial(number=number, command=command, method=method, model=model)
    Hitting(bench, trial, chance, blow).carry_out()
    return trial


def _ready(bench: Bench) -> tuple[str, ...]:
    """The methods that are ready here, each that is not replaced by one of the reserve."""
    bench.start_engine()
    checks = bench.call("doctor", "--json").json.get("checks", [])
    ready = {one["what"].removeprefix("method ") for one in checks if one["ready"]}
    wanted = [*bench.methods, *(one for one in RESERVE if one not in bench.methods)]
    found = [method for method in wanted if method in ready][: len(bench.methods)]
    lacking = [method for method in bench.methods if method not in ready]
    if lacking:
        print(f"Not ready here: {', '.join(lacking)}. Tried are {', '.join(found)}.")
    if not found:
        raise SystemExit("no method is ready here; 'harness doctor' says why")
    return tuple(found)


def _kills(trials: Sequence[Trial]) -> int:
    return sum(blow.startswith(("kill", "watchdog", "both")) for trial in trials for blow in trial.blows)


def _table(trials: Sequence[Trial]) -> str:
    """Trials, blows and broken promises by method and by blow."""
    groups: Mapping[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        groups[f"{trial.command} {trial.method}"].append(trial)
        for kind in {blow.partition(" after")[0] for blow in trial.blows}:
            groups[f"  {kind}"].append(trial)
    lines = [f"\n{'':<30} {'trials':>7} {'blows':>6} {'broken':>7}"]
    for name, ones in sorted(groups.items()):
        blows = sum(len(one.blows) for one in ones)
        lines.append(f"{name:<30} {len(ones):>7} {blows:>6} {sum(bool(one.broken) for one in ones):>7}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
