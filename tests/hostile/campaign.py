"""One hostile input: what it is, and everything that must hold while the harness deals with it.

A :class:`Case` is data. :func:`tried` makes its folder, runs its commands, and returns complaints: an empty list means
that it was held. What is the same for all of them is checked here: no traceback, no secret, no connection, nothing
written outside, nothing left, bounded time, memory and disk.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hostile import disk
from hostile import ground as grounds
from hostile.ground import Ground, Witness
from hostile.traces import Traces

from harness import errors

Need = Literal["root", "engine", "network"]
Kind = Literal["model", "build", "train", "wheel", "lock", "conda", "folder", "mlflow", "results", "scenario", "http"]
Command = tuple[str, ...]

CHECK: Command = ("check", "{model}")
PROFILE: Command = ("profile", "{model}")
CACHE: Command = ("cache",)

#: What hostile code prints where it managed what it must not.
BROKE_OUT = "BROKE-OUT"
_PRINTED_MB = 16
_MB = 2**20


def run(method: str, *more: str) -> Command:
    """``harness run`` as short as it can be."""
    return ("run", "{model}", "--method", method, "--rounds", "1", "--builds", "1", "--results", "{results}", *more)


def package(method: str, *more: str) -> Command:
    """``harness package``, which builds, starts, asks, and leaves the artifact."""
    return ("package", "{model}", "--method", method, "--out", "{out}", *more)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A hostile input and what must happen.

    ``make`` writes the input into a fresh folder. ``commands`` are run one after the other; ``{model}``, ``{folder}``,
    ``{results}`` and ``{out}`` stand for paths. The last one's exit code is among ``exits``, those before are among
    ``exits`` too or 0. ``says`` are patterns that the output has to match, ``never`` such that it may not.
    ``memory_mb`` bounds the harness's own process, ``tree_mb`` any one process below it; ``disk_mb`` is what cache and
    folder may grow by at any moment. ``after`` looks for what only this case can have done wrong.
    ``without_root`` is ``told`` where models of an ordinary user cannot be kept from it, by what this machine lets the
    user have: then ``doctor`` has to say so, in the words ``doctor_says``.
    """

    name: str
    kind: Kind
    make: Callable[[Ground], object]
    commands: tuple[Command, ...] = (CHECK,)
    exits: tuple[int, ...] = (0,)
    says: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    timeout_s: float = 20.0
    memory_mb: int = 400
    tree_mb: int = 2048
    disk_mb: int = 300
    needs: tuple[Need, ...] = ()
    without_root: Literal["held", "told", "left out"] = "held"
    doctor_says: str = "not kept from"
    after: Callable[[Ground], Iterable[str]] | None = None


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What one command came to; ``broken`` is why it was ended by us, where it was."""

    command: str
    code: int
    output: str
    seconds: float
    peak_mb: float
    tree_mb: float
    disk_mb: float
    broken: str = ""

    def shown(self) -> str:
        """The command and the end of what it printed, for whoever mends it."""
        lines = self.output.strip().splitlines()[-14:]
        return "\n      ".join([f"{self.command} printed:", *(errors.printable(line) for line in lines)])


def tried(case: Case, witness: Witness) -> list[str]:
    """Carry it out; what did not hold, each as a sentence."""
    witness.revive()
    place = witness.ground(case.name)
    if witness.user is not None:
        os.chown(place.folder, witness.user, witness.user)
    case.make(place)
    give(place.folder, witness)
    traces = Traces(witness.base, witness.token)
    before, state = traces.now(), witness.state()
    complaints: list[str] = []
    try:
        for number, command in enumerate(case.commands):
            ran = _run(case, command, place, witness)
            found = [*_judged(case, ran, witness, last=number == len(case.commands) - 1)]
            complaints += [*found, ran.shown()] if found else []
        left = traces.since(before)
        complaints += [f"left behind: {line}" for line in left[:5]]
        complaints += [f"left behind: {len(left) - 5} more"] if len(left) > 5 else []
        complaints += _changed(state, witness.state())
        complaints += [f"written outside by hostile code: {line}" for line in witness.dropped()]
        complaints += witness.touched
        complaints += [f"process {pid} was killed" for pid in _killed(place, witness)]
        complaints += _found_in_files(witness, place)
        complaints += case.after(place) if case.after else ()
    finally:
        _clean_up(traces, before, place, witness)
    if complaints and case.without_root == "told" and not _is_root(witness) and _is_told(witness, case.doctor_says):
        return []
    return list(dict.fromkeys(complaints))


def _is_root(witness: Witness) -> bool:
    return os.geteuid() == 0 and witness.user is None


def _is_told(witness: Witness, words: str) -> bool:
    """Whether ``doctor`` says in these words what the models of this user are not kept from."""
    return words in harness(witness, "doctor", "--json", timeout_s=120).stdout


# --- running -------------------------------------------------------------------------------------


def _run(case: Case, command: Command, place: Ground, witness: Witness) -> Ran:
    """Run ``harness command`` as whoever the ground belongs to, watching what it takes."""
    paths = {"model": place.model, "folder": place.folder, "results": place.folder / "results"}
    told = [part.format(**paths, out=place.folder / "out") for part in command]
    printed = place.folder / "printed"
    who: dict[str, Any] = (
        {} if witness.user is None else {"user": witness.user, "group": witness.user, "extra_groups": []}
    )
    begin, base_mb = time.monotonic(), disk.taken_mb(witness.cache, place.folder)
    with printed.open("wb") as output:
        process = subprocess.Popen(
            # Whoever ends the campaign ends what it runs, which may never end by itself.
            ["setpriv", "--pdeathsig", "TERM", sys.executable, "-P", "-m", "harness", *told],
            env=witness.environment(),
            cwd=place.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **who,
        )
    peak_mb = disk_mb = 0.0
    broken, looked_s, tree_mb = "", begin, 0.0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode, tree_mb = os.waitstatus_to_exitcode(status), usage.ru_maxrss / 1024
            break
        peak_mb = max(peak_mb, _peak_mb(process.pid))
        if time.monotonic() - looked_s > 0.4:
            looked_s, disk_mb = time.monotonic(), max(disk_mb, disk.taken_mb(witness.cache, place.folder) - base_mb)
        broken = broken or _beyond(case, time.monotonic() - begin, peak_mb, disk_mb, printed)
        if broken:
            process.terminate()  # it may clean up, which is looked at too
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
            if process.returncode is None:
                process.kill()
                process.wait()
            break
        time.sleep(0.01)
    disk_mb = max(disk_mb, disk.taken_mb(witness.cache, place.folder) - base_mb)
    with printed.open("rb") as file:
        output_text = file.read(_PRINTED_MB * _MB).decode(errors="replace")
    return Ran(
        command="harness " + " ".join(told),
        code=process.returncode,
        output=output_text,
        seconds=time.monotonic() - begin,
        peak_mb=peak_mb,
        tree_mb=tree_mb,
        disk_mb=disk_mb,
        broken=broken,
    )


def _beyond(case: Case, seconds: float, peak_mb: float, disk_mb: float, printed: Path) -> str:
    """Why it is ended by us now, before it does this machine harm; empty where it may go on."""
    if seconds > case.timeout_s * _patience():
        return f"did not end within {case.timeout_s * _patience():.0f} s"
    if peak_mb > max(1500, 2 * case.memory_mb):
        return f"took {peak_mb:.0f} MB of memory and more"
    if disk_mb > max(1000, 3 * case.disk_mb):
        return f"took {disk_mb:.0f} MB of disk and more"
    if printed.is_file() and printed.stat().st_size > _PRINTED_MB * _MB:
        return f"printed more than {_PRINTED_MB} MB"
    return ""


def _patience() -> float:
    """How many times as long everything takes where others are at work on this machine."""
    return min(max(os.getloadavg()[0] / (os.cpu_count() or 1), 1.0), 4.0)


def _peak_mb(pid: int) -> float:
    try:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


# --- judging -------------------------------------------------------------------------------------


def _judged(case: Case, ran: Ran, witness: Witness, *, last: bool) -> Iterator[str]:
    """What the command itself did not hold to."""
    said = " ".join(ran.output.replace(case.name, "").split())  # a path is no explanation
    if ran.broken:
        yield ran.broken
    elif ran.code not in (*case.exits, *(() if last else (0,))):
        yield f"exit code {ran.code}, not {' or '.join(map(str, case.exits))}"
    if re.search(r"^Traceback \(most recent call last\)", ran.output, re.MULTILINE):
        yield "a traceback of the harness's own"
    if witness.canary in ran.output:
        yield f"a secret was printed: {_around(ran.output, witness.canary)}"
    if BROKE_OUT in ran.output:
        yield f"hostile code says: {_around(ran.output, BROKE_OUT)}"
    if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", ran.output):
        yield "control characters reached the terminal"
    if last and not ran.broken:
        yield from (f"does not say /{text}/" for text in case.says if not re.search(text, said, re.IGNORECASE))
    yield from (f"says /{text}/" for text in case.never if re.search(text, said))
    if ran.peak_mb > case.memory_mb:
        yield f"the harness took {ran.peak_mb:.0f} MB of memory, {case.memory_mb} are enough"
    if ran.tree_mb > case.tree_mb:
        yield f"a process below the harness took {ran.tree_mb:.0f} MB of memory, {case.tree_mb} are enough"
    if ran.disk_mb > case.disk_mb:
        yield f"{ran.disk_mb:.0f} MB were written to the disk, {case.disk_mb} are enough"


def _around(text: str, what: str) -> str:
    begin = text.index(what)
    return repr(text[max(begin - 60, 0) : begin + 200])


def _changed(before: dict[str, str], after: dict[str, str]) -> Iterator[str]:
    for path in before.keys() - after.keys():
        yield f"{path} is gone"
    for path, now in after.items():
        drop = Path(path).parent.name in {"anybody", "owner"}  # told of by what is in it
        if before.get(path) != now and not drop:
            yield f"{path} was changed: {before.get(path, 'not there')} -> {now}"


def _killed(place: Ground, witness: Witness) -> set[int]:
    there = place.where["neighbours"]
    assert isinstance(there, list)
    return set(there) - set(witness.living_neighbours())


def _found_in_files(witness: Witness, place: Ground) -> Iterator[str]:
    """Secrets, and modes that must not be, in what the commands wrote to cache, results and output."""
    canary = witness.canary.encode()
    planted = str(witness.other_weights())
    for folder in (witness.cache, place.folder / "out", place.folder / "results"):
        for path, status in disk.files_below(folder, but=disk.TOOLS):
            regular = stat.S_ISREG(status.st_mode) and path != planted
            if regular and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
                yield f"{path} is setuid or setgid: {status.st_mode:o}"
            if regular and status.st_size < 64 * _MB:
                with contextlib.suppress(OSError):
                    yield from (f"a secret is in {path}{inner}" for inner in disk.holding(Path(path), canary))


# --- afterwards ----------------------------------------------------------------------------------


def _clean_up(traces: Traces, before: frozenset[str], place: Ground, witness: Witness) -> None:
    """What a case that was not held has left must not spoil the next one."""
    for line in traces.now() - before:
        if line.startswith("process "):
            grounds.end(int(line.split()[1]))
        elif line.startswith("temporary file "):
            disk.remove(Path(line.removeprefix("temporary file ")))
    for folder in witness.cache.iterdir():
        if folder.name not in disk.TOOLS:
            disk.remove(folder)
    disk.remove(place.folder)
    witness.revive()


def give(folder: Path, witness: Witness) -> None:
    """Make all that is in ``folder`` the ordinary user's, where the campaign is one's."""
    if witness.user is not None:
        subprocess.run(["/bin/chown", "-hR", f"{witness.user}:{witness.user}", str(folder)], check=True)


def by_name(cases: Sequence[Case]) -> dict[str, Case]:
    """The cases by name, each once."""
    found = {case.name: case for case in cases}
    assert len(found) == len(cases), sorted(case.name for case in cases)
    return found


def harness(witness: Witness, *arguments: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run a command that is no part of a case, such as starting an engine."""
    who: dict[str, Any] = {} if witness.user is None else {"user": witness.user, "group": witness.user}
    return subprocess.run(
        [sys.executable, "-P", "-m", "harness", *arguments],
        env=witness.environment(),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
        **who,
    )
