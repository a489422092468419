"""Whether what the harness reports is right: fidelity, discrimination, overhead.

    python tests/benchmarks/rigour.py [--only fidelity|discrimination|overhead] [--rounds N] [--json FILE]

Needs root and a Docker engine (the harness's private one is started if none answers), Debian's ``hyperfine``, ``time``
and ``docker-registry``. It takes about ten minutes of a quiet machine where the artifacts are in the cache, and ends
with tables: exit code 0 also where a target is missed, which the table says.

*Fidelity.* ``digits-forest`` as ``venv``, ``pex`` and ``container``, installed by the harness, and started both by it
and by hand: the command of docs/methods.md, timed by hyperfine, with nothing of the harness in it.

* A cold start ends with the first right answer, so hyperfine times ``rigour_data/by_hand.py``, which starts the
  command, asks on the socket, compares the answer byte by byte, and ends. What that program takes for itself is timed
  by hyperfine as well (``nothing``), in every round, and its median is subtracted; for ``docker run`` it is that with
  ``docker version``, as a client's own start is no part of a container's: both are printed.
* Nothing but the command is the same: by hand there are no bounds, no namespaces, no user without rights. If those
  cost time, it shows here.
* Rounds of random order, both ways in each; the ratio is of the medians, its interval that of the ratios in rounds.
* ``spam-bayes`` as ``venv``, without a target, shows what is fixed: it starts in some 30 ms.
* Memory: GNU time's "maximum resident set size" of answering ``once``, and the peak of a control group made by hand.
* Sizes: ``tar | gzip | wc``, ``du``, ``find``, and a registry's manifest read by hand. ``du`` counts folders, which
  the harness does not: theirs are subtracted, as ``find`` gives them.

*Discrimination.* The same model, whose ``load`` waits for a tenth of the measured start, packaged as another artifact;
and the canary, the first artifact installed twice. All of them start in rounds of random order, as in a run. Every
8 rounds are an experiment, and so are every 15: the rounds of the profiles ``quick`` and ``standard``. How often is the
slower one found to be slower, by an interval that excludes 1; and how often is there a difference where there is none?

*Overhead.* The harness's share of a quick run's wall time, as the manifest has it (``own_s``) and as the kernel has it
(CPU seconds of its process alone). And what the shipped runner adds to an instance: its start until the first answer,
and its VmHWM then, against a script of six lines, by the same client; for a model with dependencies, and for one
without, where it shows most.
"""

# ruff: noqa: T201 -- a script of its own

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import secrets
import shlex
import shutil
import signal
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from harness import bootstrap, cgroup, interpreter, paths, process, tree
from harness.errors import BadInput, BuildFailure, HarnessError, MissingComponent
from harness.measure import artifacts, start
from harness.methods import METHODS, hosted, layout
from harness.methods.contract import Artifact, BuildOptions, Installed, Limits, Method, Sizes
from harness.platforms import depot, engine, registry
from harness.platforms.depot import Depot
from harness.platforms.engine import Engine
from harness.spec import model as models
from harness.spec import weights
from harness.spec.model import answers_match
from harness.spec.weights import LockedModel

MODEL, WITHOUT_DEPENDENCIES = "digits-forest", "spam-bayes"
CELLS = ("venv", "pex", "container")
CLIENT = Path(__file__).with_name("rigour_data") / "by_hand.py"

HYPERFINE = shutil.which("hyperfine")

#: What was asked for: ratios within 3 %, a tenth found out, at most 5 % of a run, 15 ms and 2 MB of an instance.
WITHIN, SLOWER_BY, OWN_SHARE, RUNNER_S, RUNNER_BYTES = 0.03, 0.1, 0.05, 0.015, 2e6
#: The rounds of ``quick`` and ``standard``.
EXPERIMENTS = (8, 15)
_MEMORY_ROUNDS = 5
_PATIENCE_S = 300.0


# --- what is compared -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The place: the model, the engine, the depot, and a folder that is gone afterwards."""

    locked: LockedModel
    running: Engine
    store: Depot
    folder: Path
    chance: random.Random

    @property
    def limits(self) -> Limits:
        """As in any run."""
        return start.limits_of(self.locked.model)

    def of(self, model: str) -> Stage:
        """The same with another model."""
        return self if model == MODEL else replace(self, locked=weights.locked(models.find(model)))


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An artifact, installed and known to answer right."""

    name: str
    method: Method
    artifact: Artifact
    installed: Installed

    def start(self, at: Stage) -> start.ColdStart:
        """As a run takes it."""
        return start.take(self.method, self.installed, at.limits, at.locked.model, "page-warm")


@dataclass(kw_only=True)
class Findings:
    """Rows of the tables, by section, and every value behind them: what, whose, values by round."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    values: dict[str, dict[str, dict[int, float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(dict))
    )
    notes: list[str] = field(default_factory=list)

    def add(self, what: str, whose: str, number: int, value: float) -> None:
        """One value."""
        self.values[what][whose][number] = value

    def compare(
        self,
        section: str,
        cell: str,
        what: str,
        ours: Mapping[int, float],
        theirs: Mapping[int, float],
        unit: str,
        *,
        asked: bool = True,
    ) -> None:
        """A row of two medians, their ratio, and the interval of the ratios within rounds; ``asked``: has a target."""
        ratio = median(ours.values()) / median(theirs.values())
        paired = bootstrap.ratio(ours, theirs)
        row = {"cell": cell, "what": what, "harness": median(ours.values()), "by hand": median(theirs.values())}
        row |= {"unit": unit, "ratio": ratio, "low": paired.low if paired else None}
        row |= {"high": paired.high if paired else None, "n": paired.n if paired else 0}
        target = {"target": f"within {WITHIN:.0%}", "met": abs(ratio - 1) <= WITHIN} if asked else {}
        self.rows[section].append({**row, **target})

    def exact(self, cell: str, what: str, ours: float, theirs: float, unit: str, *, within: float = 0.0) -> None:
        """A row of two sizes, which are the same, or near where two programs compress."""
        target = f"within {within:.0%}" if within else "the same"
        row = {"cell": cell, "what": what, "harness": ours, "by hand": theirs, "unit": unit, "ratio": ours / theirs}
        self.rows["sizes"].append({**row, "target": target, "met": abs(ours / theirs - 1) <= within})


@contextlib.contextmanager
def stage(chance: random.Random) -> Iterator[Stage]:
    """Everything made that is not there yet, the engine and the depot running."""
    if os.geteuid() != 0:
        raise MissingComponent("this needs root: control groups, and files of several users", remedy="run it as root")
    locked = weights.locked(models.find(MODEL))
    with (
        engine.session(say=tell) as running,
        depot.session() as store,
        process.temporary_folder("rigour", readable=True) as folder,
    ):
        yield Stage(locked=locked, running=running, store=store, folder=folder, chance=chance)


def subject(at: Stage, method_id: str, *, name: str = "", artifact: Artifact | None = None) -> Subject:
    """The artifact, the cache's unless given, installed as a run installs it, and asked for every example once."""
    tell(f"installing {name or method_id}")
    method = METHODS[method_id]
    if artifact is None:
        method.prepare(at.locked.model)
        artifact = artifacts.up_to_date(method, at.locked)
    installed = method.install(artifact, made(at.folder / (name or method_id)), at.store)
    start.right_answers(method, installed, at.limits, at.locked.model)
    return Subject(name=name or method_id, method=method, artifact=artifact, installed=installed)


# --- by hand --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Hand:
    """A way to start an artifact by hand: a command that ``{socket}`` or ``{folder}`` are put into, and what to undo.

    ``before`` is what the client is told to do to show what it takes for itself.
    """

    serve: Sequence[str]
    once: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    socket_inside: str = "{folder}/s"
    container: str = ""
    before: Sequence[str] = ("nothing", "{folder}", "--")


def by_hand(at: Stage, one: Subject) -> Hand:
    """The commands of docs/methods.md for it."""
    installed, name = one.installed, f"rigour-{secrets.token_hex(4)}"
    if one.method.ID == "venv":
        command = [f"{installed.root}/bin/python", "-m", "harness_runner"]
        return Hand(serve=[*command, "serve", "--socket", "{socket}"], once=[*command, "once"])
    if one.method.ID == "pex":
        assert installed.root is not None
        assert one.artifact.path is not None
        command = ["/bin/sh", str(installed.root / one.artifact.path.name)]
        env = {"PEX_ROOT": str(installed.extraction_caches[0])}
        return Hand(serve=[*command, "serve", "--socket", "{socket}"], once=[*command, "once"], env=env)
    apart = ["--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"]
    image, program, gnu_time = str(installed.image), shutil.which("docker") or "docker", "/usr/bin/time"
    shared = ["--name", name, "--volume", "{folder}:/run/harness"]
    inside = json.loads(said([program, "image", "inspect", "--format", "{{json .Config.Entrypoint}}", image], at))
    timed = ["--interactive", "--volume", f"{gnu_time}:{gnu_time}:ro", "--entrypoint", gnu_time]
    return Hand(
        serve=[program, "run", *apart, *shared, image, "serve", "--socket", "/run/harness/s"],
        once=[program, "run", *apart, *timed, image, "-v", *inside, "once"],
        env={"DOCKER_HOST": at.running.url},
        container=name,
        before=("ended", "{folder}", "--", program, "version"),
    )


@contextlib.contextmanager
def question(at: Stage, expected: str) -> Iterator[Path]:
    """A folder with the first example as a line, and the line that is the right answer to it."""
    with process.temporary_folder("hand", readable=True) as folder:
        os.chown(folder, 65532, 65532)  # as docs/methods.md says of the folder that is shared with a container
        (folder / "request").write_text(json.dumps({"predict": list(at.locked.model.examples.inputs[:1])}) + "\n")
        (folder / "expected").write_text(expected)
        yield folder


def right_line(at: Stage, one: Subject, hand: Hand) -> str:
    """What it prints when it is asked ``once``, found to be right: to be compared byte by byte while time is taken."""
    asked = json.dumps({"inputs": list(at.locked.model.examples.inputs[:1])})
    done = process.run(hand.once, env=environment(at, hand), timeout_s=_PATIENCE_S, stdin=asked)
    line = next((line for line in done.stdout.splitlines() if line.startswith("{")), "{}")
    model = at.locked.model
    if not answers_match(model.examples.outputs[:1], json.loads(line).get("outputs"), model.file.examples.tolerance):
        raise BuildFailure(f"{one.name} does not answer right by hand", log=done.output)
    return line + "\n"


def environment(at: Stage, hand: Hand) -> dict[str, str]:
    """A plain one: what a developer has set may make a start several times slower."""
    return process.environment(made(at.folder / "home"), **hand.env)


def client(mode: Sequence[str]) -> list[str]:
    """The command line of the client."""
    return [str(interpreter.default().path), "-I", "-S", str(CLIENT), *mode]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the client found, and how long hyperfine says that all of it took."""

    hyperfine_s: float | None
    took_s: float
    resident_bytes: int
    group_bytes: int | None = None


def ask(
    at: Stage,
    mode: Sequence[str],
    command: Sequence[str],
    hand: Hand,
    expected: str,
    *,
    timed: bool = False,
    grouped: bool = False,
) -> Asked:
    """Have the client ask ``command`` once: by hyperfine if ``timed``, in a group of its own if ``grouped``."""
    with question(at, expected) as folder, contextlib.ExitStack() as stack:
        group = stack.enter_context(group_by_hand()) if grouped and not hand.container else None
        put = [part.format(folder=folder, socket=folder / "s") for part in command]
        if group is not None:
            put = ["/bin/sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh", *put]
        argv = client([mode[0], str(folder), *(part.format(folder=folder) for part in mode[1:]), "--", *put])
        if hand.container:
            remove = [shutil.which("docker") or "docker", "rm", "--force", "--volumes", hand.container]
            stack.callback(process.run, remove, env=environment(at, hand), timeout_s=60)
        hyperfine_s = None
        if timed and HYPERFINE is not None:
            hyperfine_s = hyperfine(argv, at, hand, folder)
        else:
            checked(argv, at, hand, folder)
        found = (folder / "took").read_text().split()
        peak = None
        if grouped:
            peak = peak_of(group) if group is not None else peak_of(group_of_container(at, hand))
        wait_for_end(int(found[0]))
    return Asked(hyperfine_s=hyperfine_s, took_s=float(found[1]), resident_bytes=int(found[2]), group_bytes=peak)


def checked(argv: Sequence[str], at: Stage, hand: Hand, folder: Path) -> None:
    """Run it; BuildFailure where it fails, with what was printed."""
    done = process.run(argv, env=environment(at, hand), timeout_s=_PATIENCE_S)
    if done.returncode != 0:
        log = folder / "log"
        printed = log.read_text(errors="replace") if log.is_file() else ""
        raise BuildFailure("it does not answer by hand", log=f"{done.output}\n{printed}")


def hyperfine(argv: Sequence[str], at: Stage, hand: Hand, folder: Path) -> float:
    """Wall seconds of one run of a command, by hyperfine without a shell; BuildFailure where it fails."""
    assert HYPERFINE is not None
    out = at.folder / "hyperfine.json"
    options = ["--shell=none", "--runs", "1", "--style", "none", "--export-json", str(out)]
    checked([HYPERFINE, *options, shlex.join(argv)], at, hand, folder)
    seconds: float = json.loads(out.read_text())["results"][0]["times"][0]
    return seconds


def wait_for_end(pid: int) -> None:
    """Wait until what was started by hand, and killed with its process group, has gone: else it is in the next time."""
    deadline = time.monotonic() + 10
    while running(pid) and time.monotonic() < deadline:
        time.sleep(0.002)


def running(pid: int) -> bool:
    """Whether the process is there, and is more than an entry that its parent has not asked for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextlib.contextmanager
def group_by_hand() -> Iterator[Path]:
    """A control group that accounts for memory, made with mkdir."""
    root = cgroup.ROOT if (cgroup.ROOT / "cgroup.controllers").is_file() else cgroup.ROOT / "memory"
    group = root / f"rigour-{secrets.token_hex(4)}"
    group.mkdir()
    try:
        yield group
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        for _ in range(500):
            with contextlib.suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.01)


def group_of_container(at: Stage, hand: Hand) -> Path:
    """The group that the engine made for a container, found by its name."""
    found = said([shutil.which("docker") or "docker", "inspect", "--format", "{{.Id}}", hand.container], at, hand)
    root = cgroup.ROOT if (cgroup.ROOT / "cgroup.controllers").is_file() else cgroup.ROOT / "memory"
    return next(root.glob(f"**/*{found.strip()}*"))


def peak_of(group: Path) -> int:
    """The kernel's figure: ``memory.max_usage_in_bytes`` of version 1, ``memory.peak`` of version 2."""
    file = group / "memory.max_usage_in_bytes"
    return int((file if file.is_file() else group / "memory.peak").read_text())


def said(argv: Sequence[str], at: Stage, hand: Hand | None = None) -> str:
    """What a command prints; BuildFailure where it fails."""
    env = environment(at, hand) if hand else process.environment(at.folder, DOCKER_HOST=at.running.url)
    done = process.run(argv, env=env, timeout_s=_PATIENCE_S)
    if done.returncode != 0:
        raise BuildFailure(f"{shlex.join(argv)[:200]} ended with exit code {done.returncode}", log=done.output)
    return done.stdout


def shell(script: str, at: Stage) -> int:
    """The number that a shell script prints."""
    return int(said(["/bin/bash", "-eu", "-o", "pipefail", "-c", script], at).split()[0])


# --- fidelity -------------------------------------------------------------------------------------


def fidelity(at: Stage, found: Findings, rounds: int) -> None:
    """Sizes, starts and memory of three cells, by the harness and by hand."""
    subjects = [subject(at, name) for name in CELLS]
    for one in subjects:
        tell(f"sizes by hand: {one.name}")
        compare_sizes(at, found, one)
    hands = {one.name: by_hand(at, one) for one in subjects}
    lines = {one.name: right_line(at, one, hands[one.name]) for one in subjects}
    as_documented = documented_pex(hands["pex"])
    for number in range(-1, rounds):  # the first brings everything into memory
        tell(f"fidelity: round {number + 1} of {rounds}")
        turns = [(one, way) for one in subjects for way in ("harness", "by hand", "before")]
        turns += [(one, "as documented") for one in subjects if one.name == "pex"]
        for one, way in at.chance.sample(turns, len(turns)):
            hand = as_documented if way == "as documented" else hands[one.name]
            take_turn(at, found, one, way, hand, lines[one.name], number)
    compare_starts(found)
    compare_small(at, found, 2 * rounds)
    for number in range(min(rounds, _MEMORY_ROUNDS)):
        for one in at.chance.sample(subjects, len(subjects)):
            tell(f"memory: round {number + 1}, {one.name}")
            take_memory(at, found, one, hands[one.name], lines[one.name], number)
    for one in subjects:
        for what, whose in (("peak resident", "GNU time"), ("peak memory", "control group")):
            ours, theirs = found.values[f"{what}, harness"][one.name], found.values[f"{what}, by hand"][one.name]
            found.compare("memory", one.name, f"{what}, {whose}", ours, theirs, "B")


def documented_pex(hand: Hand) -> Hand:
    """The command of docs/methods.md for a PEX, where it is another than the one by which the harness starts it."""
    text = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
    found = re.search(rf"^\$ (.*?){MODEL}\.pex serve", text, flags=re.MULTILINE)
    if found is None:
        raise BadInput("docs/methods.md has no command that serves a PEX", key=f"{MODEL}.pex serve")
    words = [] if found[1] == "./" else shlex.split(found[1])
    if words and words[0].startswith("python"):
        words[0] = str(interpreter.default().path)
    return Hand(serve=[*words, *hand.serve[1:]], once=[*words, *hand.once[1:]], env=hand.env)


def take_turn(at: Stage, found: Findings, one: Subject, way: str, hand: Hand, line: str, number: int) -> None:
    """One start one way, or the client alone; what comes before the first round does not count."""
    if way == "harness":
        values = one.start(at).values
        if number >= 0:
            found.add("start, harness", one.name, number, values["cold_start_s"])
        return
    if way == "before":
        if HYPERFINE is not None:
            with question(at, line) as folder:
                seconds = hyperfine(client([part.format(folder=folder) for part in hand.before]), at, hand, folder)
            if number >= 0:
                found.add("the client alone", one.name, number, seconds)
        return
    name = one.name if way == "by hand" else f"{one.name}, {way}"
    asked = ask(at, ["socket", "{folder}/s"], hand.serve, hand, line, timed=True)
    if number >= 0:
        found.add("start, client's clock", name, number, asked.took_s)
        if asked.hyperfine_s is not None:
            found.add("start, hyperfine", name, number, asked.hyperfine_s)


def compare_starts(found: Findings) -> None:
    """The rows of the cold starts: hyperfine's times without what the client takes for itself."""
    by_hyperfine = HYPERFINE is not None
    if not by_hyperfine:
        found.notes.append("there is no hyperfine (apt-get install hyperfine): by hand it is by the client's own clock")
    for name in [*CELLS, "pex, as documented"]:
        cell = name.partition(",")[0]
        ours = found.values["start, harness"][cell]
        theirs = found.values["start, hyperfine" if by_hyperfine else "start, client's clock"][name]
        if by_hyperfine:
            alone = median(found.values["the client alone"][cell].values())
            theirs = {number: seconds - alone for number, seconds in theirs.items()}
            found.notes.append(f"{name}: {alone * 1000:.1f} ms of the client's own were subtracted by hand")
        found.compare("cold start", name, "page-warm cold start", ours, theirs, "s")


def compare_small(at: Stage, found: Findings, rounds: int) -> None:
    """The model without dependencies, where milliseconds show; by the client's clock, as hyperfine's has its own."""
    here = at.of(WITHOUT_DEPENDENCIES)
    one = subject(here, "venv", name="small")
    hand = by_hand(here, one)
    line = right_line(here, one, hand)
    for number in range(-1, rounds):
        for way in at.chance.sample(["harness", "by hand"], 2):
            if way == "harness":
                seconds = one.start(here).values["cold_start_s"]
            else:
                seconds = ask(here, ["socket", "{folder}/s"], hand.serve, hand, line).took_s
            if number >= 0:
                found.add(f"start of {WITHOUT_DEPENDENCIES}", way, number, seconds)
    values = found.values[f"start of {WITHOUT_DEPENDENCIES}"]
    name = f"{WITHOUT_DEPENDENCIES}, venv"
    found.compare("cold start", name, "page-warm cold start", values["harness"], values["by hand"], "s", asked=False)


def take_memory(at: Stage, found: Findings, one: Subject, hand: Hand, line: str, number: int) -> None:
    """The most that was resident by GNU time, the peak of a control group made by hand, and both by the harness.

    After a start that does not count, and in random order: a group is charged for what it is the first to read, so its
    peak depends on which pages of the files happen to be in memory before.
    """

    def by_harness() -> None:
        values = one.start(at).values
        found.add("peak resident, harness", one.name, number, values["peak_resident_bytes"])
        found.add("peak memory, harness", one.name, number, values["peak_memory_bytes"])

    def by_gnu_time() -> None:
        request = json.dumps({"inputs": list(at.locked.model.examples.inputs[:1])})
        argv = hand.once if hand.container else ["/usr/bin/time", "-v", *hand.once]
        done = process.run(argv, env=environment(at, hand), timeout_s=_PATIENCE_S, stdin=request)
        told = re.search(r"Maximum resident set size \(kbytes\): (\d+)", done.stderr)
        if told is None:
            raise BuildFailure("GNU time does not say how much memory was used", log=done.output)
        found.add("peak resident, by hand", one.name, number, int(told[1]) * 1024)

    def by_group() -> None:
        asked = ask(at, ["socket", "{folder}/s"], hand.serve, hand, line, grouped=True)
        assert asked.group_bytes is not None
        found.add("peak memory, by hand", one.name, number, asked.group_bytes)

    one.start(at)
    for way in at.chance.sample([by_harness, by_gnu_time, by_group], 3):
        way()


def compare_sizes(at: Stage, found: Findings, one: Subject) -> None:
    """What ``tar``, ``gzip``, ``wc``, ``du``, ``find`` and the registry's manifest say."""
    sizes = artifacts.sizes(one.method, at.locked, one.artifact, at.store)
    assert sizes.packed_bytes is not None
    if one.installed.image is not None:
        compare_image(at, found, one, sizes)
        return
    assert one.artifact.path is not None
    place = shlex.quote(str(one.artifact.path))
    if one.artifact.path.is_dir():
        packed = shell(f"tar --hard-dereference --sort=name -C {place} -c . | gzip -6 | wc -c", at)
        found.exact(one.name, "packed: tar | gzip | wc -c", sizes.packed_bytes, packed, "B", within=WITHIN)
    else:
        packed = shell(f"cat {place} | wc -c", at)
        found.exact(one.name, "packed: wc -c", sizes.packed_bytes, packed, "B")
    places = [one.artifact.path, *one.installed.extraction_caches]
    size, files = sizes.unpacked_bytes, sizes.files
    for cache in one.installed.extraction_caches:  # as a run adds them
        extracted = tree.size(cache)
        size, files = size + extracted[0], files + extracted[1]
    found.exact(one.name, "unpacked: du -sb", size, sum(disk_usage(at, path) for path in places), "B")
    found.exact(one.name, "files: find | wc -l", files, sum(count(at, path) for path in places), "")


def compare_image(at: Stage, found: Findings, one: Subject, sizes: Sizes) -> None:
    """An image: the manifest as a registry gives it to whoever asks, and the layers' folders on the disk."""
    image, docker = str(one.installed.image), shutil.which("docker") or "docker"
    env = Hand(serve=(), once=(), env={"DOCKER_HOST": at.running.url})
    with registry.session() as store:
        address = f"{store.address}/rigour"
        said([docker, "tag", image, f"{address}:now"], at, env)
        try:
            said([docker, "push", f"{address}:now"], at, env)
        finally:
            said([docker, "rmi", "--no-prune", f"{address}:now"], at, env)
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        asked = urllib.request.Request(f"http://{store.address}/v2/rigour/manifests/now", headers={"Accept": kind})
        with urllib.request.urlopen(asked, timeout=30) as response:  # noqa: S310 -- our own registry
            manifest = json.load(response)
    total = sum(part["size"] for part in [*manifest["layers"], manifest["config"]])
    assert sizes.packed_bytes is not None
    found.exact(one.name, "packed: the registry's manifest", sizes.packed_bytes, total, "B")
    data = json.loads(said([docker, "image", "inspect", "--format", "{{json .GraphDriver.Data}}", image], at, env))
    layers = [Path(part) for part in [data["UpperDir"], *data.get("LowerDir", "").split(":")] if part]
    usage = sum(disk_usage(at, layer) for layer in layers)
    found.exact(one.name, "unpacked: du -sb of each layer", sizes.unpacked_bytes, usage, "B")
    found.exact(one.name, "files: find | wc -l", sizes.files, sum(count(at, layer) for layer in layers), "")


def disk_usage(at: Stage, path: Path) -> int:
    """Apparent bytes as ``du`` has them, without those of folders."""
    place = shlex.quote(str(path))
    folders = f"find {place} -type d -printf '%s\\n' | awk '{{ s += $1 }} END {{ print s + 0 }}'"
    return shell(f"du --summarize --bytes {place}", at) - shell(folders, at)


def count(at: Stage, path: Path) -> int:
    """Files as ``find`` counts them: several names of one are one, marks of deleted files are none."""
    return shell(f"find {shlex.quote(str(path))} ! -type d ! -type c -printf '%D:%i\\n' | sort -u | wc -l", at)


# --- discrimination -------------------------------------------------------------------------------

_SLOWER = """

import time as _time

_as_quick_as_it_is = load


def load(model_dir):
    model = _as_quick_as_it_is(model_dir)
    end = _time.monotonic() + {seconds!r}
    while _time.monotonic() < end:
        pass
    return model
"""


def discrimination(at: Stage, found: Findings, rounds: int) -> None:
    """How often a tenth is found out, and how often nothing is."""
    first, again = subject(at, "venv", name="first"), subject(at, "venv", name="again")
    os.sync()  # what was just unpacked is not to be written while the usual start is found out
    usual = median([first.start(at).values["cold_start_s"] for _ in range(16)][4:])
    with slower(at, SLOWER_BY * usual) as artifact:
        subjects = [first, again, subject(at, "venv", name="slower", artifact=artifact)]
        os.sync()
        for one in subjects:
            one.start(at)
        for number in range(rounds):
            tell(f"discrimination: round {number + 1} of {rounds}")
            for one in at.chance.sample(subjects, len(subjects)):
                found.add("start, discrimination", one.name, number, one.start(at).values["cold_start_s"])
    indeed = median(found.values["start, discrimination"]["first"].values())
    found.notes.append(
        f"the slower artifact's load() waits for {SLOWER_BY * usual:.3f} s, a tenth of {usual:.3f} s; "
        f"of the median of these rounds, {indeed:.3f} s, it is {SLOWER_BY * usual / indeed:.1%}"
    )
    for length in EXPERIMENTS:
        for name in ("slower", "again"):
            judge(found, name, length)


@contextlib.contextmanager
def slower(at: Stage, seconds: float) -> Iterator[Artifact]:
    """The same model, whose ``load`` takes so many seconds longer, packaged by the same method."""
    folder, method = made(at.folder / "model"), METHODS["venv"]
    tree.copy(at.locked.model.folder, folder, keep=lambda path: not path.parts[0].startswith((".", "__")))
    tree.copy(at.locked.payload, folder)
    predictor = folder / at.locked.model.file.entrypoint
    predictor.write_text(predictor.read_text() + _SLOWER.format(seconds=round(seconds, 5)))
    locked = weights.locked(models.read(folder))
    workdir = made(at.folder / "slower-build")
    try:
        yield method.build(locked, workdir, BuildOptions(tool_cache=made(at.folder / "tool-cache")))
    finally:
        shutil.rmtree(locked.payload, ignore_errors=True)


def judge(found: Findings, name: str, length: int) -> None:
    """Each ``length`` rounds an experiment of their own, judged as ``compare`` does: by whether the interval has 1."""
    values = found.values["start, discrimination"]
    ratios = []
    for begin in range(0, len(values["first"]) - length + 1, length):
        wanted = range(begin, begin + length)
        ratio = bootstrap.ratio({n: values[name][n] for n in wanted}, {n: values["first"][n] for n in wanted})
        assert ratio is not None
        ratios.append(ratio)
    told_slower = sum(ratio.low > 1 for ratio in ratios)
    told_apart = sum(ratio.low > 1 or ratio.high < 1 for ratio in ratios)
    what = "a tenth slower" if name == "slower" else "the same twice"
    row: dict[str, Any] = {"what": what, "rounds": length}
    row |= {"experiments": len(ratios), "found slower": told_slower, "found quicker": told_apart - told_slower}
    row |= {"ratios": [asdict(ratio) for ratio in ratios]}
    met = told_slower == len(ratios) if name == "slower" else told_apart == 0
    row |= {"target": "slower, always" if name == "slower" else "neither", "met": met and bool(ratios)}
    found.rows["discrimination"].append(row)


# --- overhead -------------------------------------------------------------------------------------

_RUN = """
import resource, runpy, sys
place = sys.argv.pop(1)
try:
    runpy.run_module("harness", run_name="__main__", alter_sys=True)
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    open(place, "w").write(str(used.ru_utime + used.ru_stime))
"""

_BARE = """
import json, sys
from pathlib import Path
import predictor
model = predictor.load(Path(sys.argv[1]))
asked = json.loads(sys.stdin.readline())
print(json.dumps({"outputs": predictor.predict(model, asked["predict"])}), flush=True)
sys.stdin.read()
"""


def overhead(at: Stage, found: Findings, rounds: int) -> None:
    """The harness's share of a run, and what the runner adds to an instance."""
    own_share(at, found)
    for name in (MODEL, WITHOUT_DEPENDENCIES):
        runner_adds(at, found, name, rounds)


def own_share(at: Stage, found: Findings) -> None:
    """A quick run of the three cells, by the command line."""
    for name in CELLS:
        method = METHODS[name]
        method.prepare(at.locked.model)
        artifact = artifacts.up_to_date(method, at.locked)
        artifacts.sizes(
            method, at.locked, artifact, at.store
        )  # others' time: without it the harness's share is largest
    tell(f"a quick run of {MODEL}: {', '.join(CELLS)}")
    results, used = made(at.folder / "results"), at.folder / "used"
    argv = [sys.executable, "-c", _RUN, str(used), "run", MODEL, "--profile", "quick", "--results", str(results)]
    argv += [part for name in CELLS for part in ("--method", name)]
    source = str(Path(__file__).parents[2])
    env = process.network_environment(at.folder, PYTHONPATH=source, HARNESS_CACHE=str(paths.cache()))
    done = process.run(argv, env={**env, "DOCKER_HOST": at.running.url}, timeout_s=1800)
    if done.returncode != 0:
        raise BuildFailure("the run failed", log=done.output)
    (manifest,) = results.glob("runs/*/run.json")
    timings = json.loads(manifest.read_text())["timings"]
    shares = {
        "own_s / wall_s of the manifest": timings["own_s"] / timings["wall_s"],
        "CPU of its process / wall": float(used.read_text()) / done.wall_s,
    }
    found.notes.append(f"the run: {json.dumps(timings)}")
    for what, share in shares.items():
        found.rows["own share of a run"].append(
            {"what": what, "share": share, "target": f"under {OWN_SHARE:.0%}", "met": share < OWN_SHARE}
        )


def runner_adds(at: Stage, found: Findings, name: str, rounds: int) -> None:
    """``serve`` against the bare script in one environment, asked by one client."""
    here = at.of(name)
    one = subject(here, "venv", name=f"{name}-venv")
    packages = hosted.site_packages(one.installed.root or Path())
    python = f"{one.installed.root}/bin/python"
    runner = Hand(
        serve=[python, "-m", "harness_runner", "serve", "--socket", "{socket}"],
        once=[python, "-m", "harness_runner", "once"],
    )
    line = right_line(here, one, runner)
    payload = packages / layout.MODEL_FOLDER
    environ = {"PYTHONPATH": str(payload), **here.locked.model.file.env}
    bare = Hand(serve=[python, "-c", _BARE.replace("{", "{{").replace("}", "}}"), str(payload)], once=(), env=environ)
    ways = {"runner": (["socket", "{folder}/s"], runner), "bare": (["output"], bare)}
    for number in range(-1, rounds):
        tell(f"the runner on {name}: round {number + 1} of {rounds}")
        for way in at.chance.sample(sorted(ways), len(ways)):
            mode, hand = ways[way]
            asked = ask(here, mode, hand.serve, hand, line)
            if number >= 0:
                found.add(f"first answer of {name}", way, number, asked.took_s)
                found.add(f"VmHWM of {name}", way, number, asked.resident_bytes)
    for what, unit, most in (("first answer", "s", RUNNER_S), ("VmHWM", "B", RUNNER_BYTES)):
        values = found.values[f"{what} of {name}"]
        added = bootstrap.interval([values["runner"][n] - values["bare"][n] for n in values["bare"]])
        row = {"model": name, "what": what, "runner": median(values["runner"].values())}
        row |= {"bare": median(values["bare"].values()), "unit": unit, "added": added.median}
        row |= {"low": added.low, "high": added.high, "n": added.n}
        target = f"under {shown(most, unit)}"
        found.rows["what the runner adds"].append({**row, "target": target, "met": added.median < most})


# --- the outcome ----------------------------------------------------------------------------------


def shown(value: float, unit: str) -> str:
    """A value for people: milliseconds, megabytes, plain numbers."""
    if unit == "s":
        return f"{value * 1000:.1f} ms"
    if unit == "B":
        return f"{value / 1e6:.2f} MB"
    return f"{value:,.0f}"


def print_findings(found: Findings) -> None:
    """The tables, for people."""
    for section, rows in found.rows.items():
        print(f"\n{section}")
        for row in rows:
            verdict = f"{row['target']}: {'met' if row['met'] else 'NOT MET'}" if "target" in row else "(no target)"
            print(f"  {worded(section, row)}  {verdict}")
    for note in found.notes:
        print(f"\n{note}", end="")
    print()


def worded(section: str, row: Mapping[str, Any]) -> str:
    """A row without its verdict."""
    if section == "discrimination":
        middle = sorted(one["median"] for one in row["ratios"])
        spread = f"ratios {middle[0]:.3f} to {middle[-1]:.3f}" if middle else ""
        counted = f"slower {row['found slower']}, quicker {row['found quicker']} of {row['experiments']}"
        return f"{row['what']:16}{row['rounds']:3} rounds  {counted:32}{spread:26}"
    if section == "own share of a run":
        return f"{row['what']:34}{row['share']:7.2%}"
    if section == "what the runner adds":
        interval = f"[{shown(row['low'], row['unit'])}, {shown(row['high'], row['unit'])}]"
        both = f"{shown(row['runner'], row['unit'])} against {shown(row['bare'], row['unit'])}"
        return f"{row['model']:15}{row['what']:14}{both:32} adds {shown(row['added'], row['unit']):>9} {interval:24}"
    interval = f"[{row['low']:.3f}, {row['high']:.3f}] n {row['n']}" if row.get("low") else ""
    both = f"{shown(row['harness'], row['unit']):>12} {shown(row['by hand'], row['unit']):>12}"
    return f"{row['cell']:20}{row['what']:34}{both} {row['ratio']:7.4f}  {interval:22}"


def made(folder: Path) -> Path:
    """The folder, made if it is not there, that others can walk through."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    return folder


def tell(what: str) -> None:
    """What is being done, for whoever waits."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


SECTIONS: Mapping[str, Callable[[Stage, Findings, int], None]] = {
    "fidelity": fidelity,
    "discrimination": lambda at, found, rounds: discrimination(at, found, 3 * rounds),
    "overhead": overhead,
}


def main(argv: list[str]) -> int:
    """Measure and print; 3 where something that is needed is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="rounds of starts (15); discrimination has 3 times that")
    parser.add_argument("--seed", type=int, default=20230127, help="of the random order")
    parser.add_argument("--only", choices=list(SECTIONS), help="a part of it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value there")
    args = parser.parse_args(argv)
    found, code = Findings(), 0
    try:
        with stage(random.Random(args.seed)) as at:
            for name, section in SECTIONS.items():
                if args.only in (None, name):
                    section(at, found, args.rounds)
    except HarnessError as error:
        print(f"{error}\n{getattr(error, 'log', '')}", file=sys.stderr)
        code = error.exit_code
    if args.json:  # what was measured until then, too
        every = {"rows": found.rows, "values": found.values, "notes": found.notes}
        args.json.write_text(json.dumps(every, indent=1) + "\n")
    print_findings(found)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
