"""One trial: a harness at work, the blows that it gets, and what has to be so afterwards; see ``kills.py``."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import disks
from traces import Traces

_PATIENCE_S = 25.0
_LONGEST_S = 900.0
#: About what a run takes, until one has come to its end before it was hit.
_TAKES_S = {"venv": 10.0, "pyinstaller": 25.0, "conda": 25.0, "container": 25.0}
_AGAIN = 0.35  # how often what is resumed is hit once more
_MOST_BLOWS = 4


@dataclass(kw_only=True)
class Trial:
    """One run or command and the blows that it got; ``broken`` are promises that were not kept, ``told`` is not one."""

    number: int
    command: str
    method: str
    model: str
    blows: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(kw_only=True)
class Ended:
    """A command that has ended: how, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """What it printed with ``--json``; nothing where that is none."""
        with contextlib.suppress(ValueError):
            found = json.loads(self.out)
            return found if isinstance(found, dict) else {}
        return {}


class Bench:
    """The surroundings of all trials: disks, traces, what a command takes when nobody hits it."""

    def __init__(self, home: Path, seed: int, methods: Sequence[str]) -> None:
        self.home, self.seed, self.methods = home, seed, tuple(methods)
        self.cache, self.results, self.work = home / "cache", home / "results", home / "work"
        key = hashlib.sha256(str(self.cache.resolve()).encode()).hexdigest()[:12]
        self.traces = Traces(cache=self.cache.resolve(), key=key, watched=(self.results, self.work))
        self.takes_s: dict[str, float] = {}
        self.engine_started = False

    # --- the harness -----------------------------------------------------------------------------

    def start(self, *argv: str) -> subprocess.Popen[bytes]:
        """``harness ...`` in a session of its own; what it prints lies in the home folder."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("HARNESS_")}
        if Path("/var/run/docker.sock").exists():  # the engine of others: its end is not ours to bring about
            env["DOCKER_HOST"] = f"unix://{self.traces.runtime}/docker.sock"
        with (self.home / "out").open("wb") as out, (self.home / "err").open("wb") as err:
            return subprocess.Popen(
                [sys.executable, "-m", "harness", *argv],
                env={**env, "HARNESS_CACHE": str(self.cache), "HARNESS_RESULTS": str(self.results)},
                cwd=self.work,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def end(self, process: subprocess.Popen[bytes], *, timeout_s: float = _LONGEST_S) -> Ended:
        """Wait for its end; what takes too long is killed, which is a broken promise by its exit code."""
        try:
            code = process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        said = [(self.home / name).read_text(errors="replace") for name in ("out", "err")]
        return Ended(code=code, out=said[0], err=said[1])

    def call(self, *argv: str) -> Ended:
        """Run it to its end."""
        return self.end(self.start(*argv))

    def start_engine(self) -> None:
        """Start the private engine, or do nothing where it runs."""
        if "container" in self.methods:
            done = self.call("engine", "start", "--json")
            if done.code != 0:
                raise SystemExit(f"the private engine did not start:\n{done.err}")
            self.engine_started = True

    def engine_pids(self) -> list[int]:
        """The daemon's process, by its own file."""
        with contextlib.suppress(OSError, ValueError):
            return [int((self.traces.runtime / "docker.pid").read_text())]
        return []

    # --- a run on disk ---------------------------------------------------------------------------

    def run_folder(self, results: Path) -> Path | None:
        """The one run below ``results``; None where it has not come so far."""
        return next((file.parent for file in results.glob("runs/*/run.json")), None)


def samples(folder: Path | None) -> list[str]:
    """The whole lines of a run's samples."""
    file = folder / "samples.jsonl" if folder else None
    return file.read_bytes().decode(errors="replace").split("\n")[:-1] if file and file.is_file() else []


def measured(lines: Sequence[str]) -> Counter[str]:
    """How often each value was measured; what failed may be tried again."""
    found = [one for one in map(json.loads, lines) if one["value"] is not None]
    keys = [[one["cell"], one["metric"], one["round"], one["state"]] for one in found]
    return Counter(json.dumps(key, sort_keys=True) for key in keys)


# --- one trial -----------------------------------------------------------------------------------


class Hitting:
    """One trial being carried out."""

    def __init__(self, bench: Bench, trial: Trial, chance: random.Random, blow: str) -> None:
        self.bench, self.trial, self.chance, self.blow = bench, trial, chance, blow
        self.results = bench.results / f"{trial.number:04}"
        self.out = bench.work / f"{trial.number:04}"
        self.kept: list[str] = []
        self._stays: set[str] = set()

    def argv(self) -> list[str]:
        """The command; one that goes on with the run where there is one."""
        trial, folder = self.trial, self.bench.run_folder(self.results)
        match trial.command:
            case "run" if folder is not None:
                return ["run", "--resume", folder.name, "--results", str(self.results), "--json"]
            case "run":
                plan = ["--rounds", "2", "--builds", "1", "--seed", str(trial.number)]
                return ["run", trial.model, "--method", trial.method, *plan, "--results", str(self.results), "--json"]
            case "profile":
                return ["profile", trial.model, "--json"]
            case "lock":
                return ["lock", str(self.out), "--json"]
            case _:
                how = ["--method", trial.method, "--out", str(self.out), *(["--force"] if self.out.is_dir() else [])]
                return ["package", trial.model, *how, "--json"]

    def carry_out(self) -> None:
        """Hit the command, once or more often, and let it come to its end."""
        bench, trial = self.bench, self.trial
        begin = time.monotonic()
        bench.start_engine()
        if trial.command == "lock":
            _of_ours(bench.call("init", str(self.out)), trial)
        before = bench.traces.now()
        while True:
            self._hit_once(before)
            if len(trial.blows) >= _MOST_BLOWS or self.chance.random() > _AGAIN:
                break
        self._finish(before)
        trial.seconds = time.monotonic() - begin

    def _hit_once(self, before: frozenset[str]) -> None:
        bench, trial = self.bench, self.trial
        what = f"{trial.command} {trial.method}"
        delay_s = self.chance.uniform(0, 1.05 * bench.takes_s.get(what, _TAKES_S.get(trial.method, 12.0)))
        started = time.monotonic()
        process = bench.start(*self.argv())
        if self.blow == "full disk":
            self._fill(process, delay_s)
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=delay_s)
            bench.takes_s[what] = time.monotonic() - started
            self._judge(bench.end(process), "before it was hit")
            return
        self._look_at_samples("before it was hit")
        if self.blow == "engine":
            self._kill_engine(process)
            return
        watchdogs = bench.traces.watchdogs_of(process.pid)
        if self.blow == "watchdog first":
            _kill(*watchdogs)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=self.chance.uniform(0, 1))
        _kill(process.pid, *(watchdogs if self.blow == "both" else ()))
        process.wait()
        trial.blows.append(f"{self.blow} after {delay_s:.2f} s")
        self._look_at_samples("after it was killed")
        # What an earlier blow left, with no watchdog alive, is told already.
        left = [one for one in bench.traces.since(before, patience_s=_PATIENCE_S) if one not in self._stays]
        if self.blow == "kill" or not watchdogs:
            trial.broken += [f"left by a killed harness: {line}" for line in left]
            bench.traces.clean(left)
        else:
            trial.broken += [f"went on without harness and watchdog: {one}" for one in left if _runs(one)]
            trial.told += [f"stays where the watchdog was killed too: {line}" for line in left]
            self._stays.update(left)

    def _fill(self, process: subprocess.Popen[bytes], delay_s: float) -> None:
        """Fill a disk up to three times while it works, then let it end."""
        place = self.chance.choice((self.bench.cache, self.bench.results))
        for _ in range(self.chance.randint(1, 3)):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=delay_s / 2)
                break
            disks.fill(place)
            self.trial.blows.append(f"full disk ({place.name}) after {delay_s / 2:.2f} s")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=self.chance.uniform(0.2, 6))
            disks.free(place)
        ended = self.bench.end(process)
        if ended.code == 1 and ended.json.get("error", {}).get("kind") == "DiskFull":
            self.trial.blows[-1] += ", told of"
            self._look_at_samples("after the disk was full")
        else:
            self._judge(ended, f"where the disk with the {place.name} was full")

    def _kill_engine(self, process: subprocess.Popen[bytes]) -> None:
        """Kill the engine. What waits for it goes on when it is there again; what has ended is resumed."""
        _kill(*self.bench.engine_pids())
        self.trial.blows.append("engine killed")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
        # Started from beside it: a harness that waits must see it come back.
        said = (self.bench.home / "out").read_bytes(), (self.bench.home / "err").read_bytes()
        if process.poll() is not None:
            ended = Ended(code=process.returncode, out=said[0].decode(errors="replace"), err=said[1].decode())
            if ended.code not in (0, 1, 3):
                self._judge(ended, "where the engine was killed")
        kept = self.bench.home / "waiting"
        kept.mkdir(exist_ok=True)
        for name in ("out", "err"):  # the files themselves, which the waiting one goes on writing to
            shutil.move(self.bench.home / name, kept / name)
        self.bench.start_engine()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_LONGEST_S)
        if process.poll() is None:
            self.trial.broken.append("waits for an engine that is there again")
            process.kill()
            process.wait()
        told = (kept / "err").read_text(errors="replace")
        if "Traceback (most recent call last)" in told:
            self.trial.broken.append(f"a traceback where the engine was killed: {told[-600:]}")
        self._look_at_samples("after the engine was killed")

    def _look_at_samples(self, when: str) -> None:
        """What was there before has to be there still, at the beginning, as it was."""
        found = samples(self.bench.run_folder(self.results))
        if found[: len(self.kept)] != self.kept:
            lost = set(self.kept) - set(found)
            self.trial.broken.append(f"{len(lost)} samples lost, or their order changed, {when}")
        self.kept = found

    def _judge(self, ended: Ended, when: str) -> None:
        """A command that came to its end has to have done what it is for."""
        trial = self.trial
        self._look_at_samples(when)
        if "Traceback (most recent call last)" in ended.err:
            trial.broken.append(f"a traceback {when}: {ended.err[-600:]}")
        elif ended.code != 0 or ended.json.get("failed"):
            why = ended.json.get("failed") or ended.json.get("error") or ended.err[-600:]
            trial.broken.append(f"exit code {ended.code} {when}: {why}")

    def _finish(self, before: frozenset[str]) -> None:
        bench, trial = self.bench, self.trial
        self._judge(bench.call(*self.argv()), "when it was gone on with")
        folder = bench.run_folder(self.results)
        if trial.command == "run":
            twice = [one for one, count in measured(self.kept).items() if count > 1]
            if twice:
                trial.broken.append(f"{len(twice)} samples were taken again, such as {twice[0]}")
            verified = bench.call("verify", str(folder), "--results", str(self.results), "--json")
            if folder is None or verified.code != 0:
                trial.broken.append(f"does not verify: {verified.json.get('mismatches') or verified.err[-400:]}")
        if trial.command == "package" and not (self.out / "package.json").is_file():
            trial.broken.append("there is no package, though it said that it has made one")
        left = bench.traces.since(before, patience_s=5.0)
        if left and trial.told:
            bench.call("cache", "--prune")
            pruned = bench.traces.since(before, patience_s=2.0)
            gone = len(left) - len(pruned)
            trial.told.append(f"the next start left {len(left)} of that, 'cache --prune' removed {gone}")
            left = pruned
        elif left:
            trial.broken += [f"left at the end: {line}" for line in left]
        bench.traces.clean(left)
        shutil.rmtree(self.out, ignore_errors=True)
        if not trial.broken:
            shutil.rmtree(self.results, ignore_errors=True)


def _of_ours(ended: Ended, trial: Trial) -> None:
    if ended.code != 0:
        trial.broken.append(f"'harness init' failed: {ended.err[-300:]}")


def _runs(line: str) -> bool:
    return line.startswith("process:")


def _kill(*pids: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
