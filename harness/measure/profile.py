"""The short profile of a model: what prediction needs to know of it, without packaging it.

The closure and the weights are counted; the model is started from the cached environment of its lock, in the
same bounds and with the same runner as every artifact. What is added by a way of packaging is what a
calibration (:mod:`harness.calibrate`) then puts on top.

    <cache>/profiles/<name>-<payload digest>.json
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from harness import __version__, paths, process, tree
from harness.errors import BadInput, ModelFailure
from harness.measure import contents, host, needs, plain, sentinel, start, tracing
from harness.measure.contents import Amount, Contents
from harness.measure.needs import Needs
from harness.measure.start import limits_of
from harness.methods.contract import Installed, Method, Traced
from harness.metrics import State
from harness.spec import environments, kinds, reading, weights
from harness.spec.kinds import Amount as Quantity
from harness.spec.kinds import Count, Date, Name, Positive, Word
from harness.spec.model import Model
from harness.spec.weights import LockedModel

#: The version of the format that this code reads and writes.
SCHEMA_VERSION = 2

#: How many starts count in each state. One more, which is asked for every example, comes first and warms up. Cold ones
#: come before warm ones: in the rounds of a run, too, most warm starts find in memory what a start reads and no more.
#: Where all that was installed is still there, the kernel maps more around each page, and more is resident.
STARTS: Mapping[State, int] = {"disk-cold": 5, "page-warm": 5}

#: From here on a file of the model counts with its size alone when it is asked whether the model is still the same.
_LARGE_BYTES = 2**20

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class LocalStart:
    """One start of the environment as it lies, in seconds and bytes.

    ``start_s`` is from the runner's first line to the first correct answer: imports, load and prediction, and nothing
    of a way of packaging. ``interpreter_s`` comes before it, ``warm_s`` is a request after it. ``sentinel_s`` is what
    a fixed work took just before it. From one second to the next that differs more than starts do (measured: 12 % of
    the median, and starts 6 %), so it is their median that says how fast the machine was, and no start is scaled.
    """

    __pydantic_config__ = reading.STRICT

    state: State
    sentinel_s: Positive
    interpreter_s: Quantity
    imports_s: Quantity
    load_s: Quantity
    predict_s: Quantity
    start_s: Quantity
    warm_s: Quantity | None = None
    peak_resident_bytes: Quantity | None = None
    peak_memory_bytes: Quantity | None = None
    cpu_s: Quantity | None = None


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What one short look at a model gives; see the module.

    ``payload`` and ``lock`` are digests of what was profiled, ``sources`` of the model's own files. ``wheel_bytes``
    are compressed, those of packages ``built_from_source`` among them; ``installed`` is what lies in ``site-packages``
    with all its bytecode, ``kept`` what the model's own rules of pruning leave of it, ``loaded`` the bytecode of the
    modules that answering the examples loads (None where it could not be found out), ``weights`` the whole payload, the
    predictor included. ``sentinel_s`` is the median over the starts. ``needs`` is what native files need of the system,
    ``python`` the version that it was taken with (``3.11``); profiles of older versions have neither.
    """

    __pydantic_config__ = reading.STRICT

    schema_version: int
    model: Name
    family: Word
    framework: Word
    payload: Name
    lock: Word
    sources: Word
    created_at: Date
    harness_version: Word
    host: dict[str, Any]
    sentinel_s: Positive
    packages: Count
    pinned: Count
    system_packages: Count
    wheel_bytes: Count
    installed: Contents
    kept: Contents
    loaded: Amount | None
    weights: Amount
    starts: tuple[LocalStart, ...]
    needs: Needs | None = None
    built_from_source: tuple[Word, ...] = ()
    python: Word = ""

    def median(self, quantity: str, state: State) -> float | None:
        """The median of a field of :class:`LocalStart` over the starts in ``state``; None where there is none."""
        known = [getattr(one, quantity) for one in self.starts if one.state == state]
        counting = [float(value) for value in known if value is not None]
        return median(counting) if counting else None

    @property
    def digest(self) -> str:
        """One digest of everything in it."""
        table = dataclasses.asdict(self)
        for name in ("needs", "built_from_source", "python"):
            if not table[name]:
                del table[name]  # a profile that was made before there were any keeps its digest
        return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()

    @property
    def file_name(self) -> str:
        """What it is called on disk."""
        return f"{self.model}-{self.payload}.json"


def take(model: Model, tell: Tell = lambda _doing, _done, _total: None) -> Profile:
    """Profile the model and keep it in the cache. ModelFailure where it does not answer every example rightly."""
    steps = _counted(tell, 7 + sum(STARTS.values()))
    steps(f"lock {model.name}, fetch its wheels, make its weights")
    locked = weights.locked(model)
    steps("install the environment")
    python = environments.installed(locked.lock)
    steps("count what is in it, and compress that")
    packages = environments.site_packages(python.parent.parent, locked.lock.python)
    counter = contents.Counter()
    installed, payload = counter.of(packages), counter.of(locked.payload).total
    steps("count what pruning would leave")
    pruned = counter.pruned(packages, model.file.prune)
    starts: list[LocalStart] = []
    with plain.laid_out(locked, python) as (method, lying):
        starts += _starts(locked, method, lying, steps)
        assert lying.root is not None
        steps("see which modules and native files it loads")
        traced = tracing.of(locked)
        steps("see what it needs of the system")
        needed = needs.of_model(locked, python, lying.root, traced)
    profile = Profile(
        schema_version=SCHEMA_VERSION,
        model=model.name,
        family=model.file.family,
        framework=model.file.framework,
        payload=locked.digest,
        lock=locked.lock.digest,
        sources=sources_digest(model),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        harness_version=__version__,
        host=host.facts(),
        sentinel_s=median(one.sentinel_s for one in starts),
        packages=len(locked.lock.packages),
        built_from_source=tuple(sorted(locked.lock.built_from_source)),
        pinned=sum("==" in text for text in model.file.requirements),
        system_packages=len(model.file.system_packages),
        wheel_bytes=locked.lock.wheel_bytes,
        installed=installed,
        kept=pruned,
        loaded=_loaded(traced, packages, counter),
        weights=payload,
        starts=tuple(starts),
        needs=needed,
        python=locked.lock.python.minor,
    )
    write(profile, kept())
    return profile


def kept() -> Path:
    """The folder of profiles in the cache."""
    return paths.cache() / "profiles"


def write(profile: Profile, folder: Path) -> Path:
    """Write it below ``folder`` under its own name; the file."""
    file = folder / profile.file_name
    with process.disk_full_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
        part = file.with_name(file.name + ".part")
        part.write_text(json.dumps(dataclasses.asdict(profile), indent=1, sort_keys=True, allow_nan=False) + "\n")
        part.replace(file)
    return file


def read(file: Path) -> Profile:
    """The profile in ``file``; BadInput where it is not one, or of another version of the format."""
    remedy = "'harness profile MODEL' makes it anew"
    profile = reading.versioned(Profile, file, version=SCHEMA_VERSION, remedy=remedy)
    key, wrong = kinds.check_bounds(dataclasses.asdict(profile))
    if wrong:
        raise BadInput(wrong, file=file, key=key, remedy=remedy)
    reading.record(kinds.Host, profile.host, file=file)
    return profile


def find(model: Model, *folders: Path) -> Profile | None:
    """The newest profile of the model as it is now, in the cache or in ``folders``; None where it has none."""
    wanted = sources_digest(model)
    files = [file for folder in (kept(), *folders) for file in folder.glob(f"{model.name}-*.json")]
    own = [file for file in files if re.fullmatch(r"[0-9a-f]{24}", file.stem.removeprefix(f"{model.name}-"))]
    fitting = [one for one in map(_readable, own) if one is not None and one.sources == wanted]
    return max(fitting, key=lambda one: one.created_at, default=None)


def _readable(file: Path) -> Profile | None:
    """The profile; None for one of another version, or a damaged one: both are as good as none, and made anew."""
    try:
        return read(file)
    except BadInput:
        return None


def sources_digest(model: Model) -> str:
    """A digest of the model's own files: cheap to compute again, since of large ones only the size is looked at."""
    total = hashlib.sha256()
    for file in tree.files(model.folder):
        relative = file.relative_to(model.folder)
        if file.suffix in {".md", ".rst"} or any(part.startswith((".", "__pycache__")) for part in relative.parts):
            continue
        size = file.lstat().st_size
        seen = size if size > _LARGE_BYTES or file.is_symlink() else tree.sha256(file)  # a link is refused elsewhere
        total.update(os.fsencode(relative) + f"\0{seen}\n".encode())  # a name may be no UTF-8
    return total.hexdigest()


def _starts(
    locked: LockedModel, method: Method, installed: Installed, steps: Callable[[str], None]
) -> Iterator[LocalStart]:
    """The starts that count; the one before them, which answers every example, does not."""
    model, limits = locked.model, limits_of(locked.model)
    steps("start it and ask every example")
    start.right_answers(method, installed, limits, model)
    for state, count in STARTS.items():
        for number in range(count):
            steps(f"start it, {state}, {number + 1} of {count}")
            sentinel_s = sentinel.seconds()
            taken = start.take(method, installed, limits, model, state)
            if taken.doubt:
                raise ModelFailure(taken.doubt, remedy="leave the runner's own module and its clock to themselves")
            if not taken.dropped:
                yield _local_start(state, sentinel_s, taken.values)


def _loaded(traced: Traced, packages: Path, counter: contents.Counter) -> Amount | None:
    """The bytecode in ``packages`` of the modules that a start loaded; None where it is not known."""
    names = traced.modules
    return counter.amount(file for name in names for file in _bytecode_of(packages, name)) if names else None


def _bytecode_of(packages: Path, module: str) -> list[Path]:
    *parents, last = module.split(".")
    places = ((packages.joinpath(*parents), last), (packages.joinpath(*parents, last), "__init__"))
    return [file for folder, stem in places for file in (folder / "__pycache__").glob(f"{stem}.cpython-*.pyc")]


def _local_start(state: State, sentinel_s: float, values: Mapping[str, float]) -> LocalStart:
    launch_s = values["phase_sandbox_s"] + values["phase_interpreter_s"]
    return LocalStart(
        state=state,
        sentinel_s=sentinel_s,
        interpreter_s=launch_s,
        imports_s=values["phase_imports_s"],
        load_s=values["phase_weights_s"],
        predict_s=values["phase_prediction_s"],
        start_s=values["cold_start_s"] - launch_s,
        warm_s=values.get("warm_request_s"),
        peak_resident_bytes=values.get("peak_resident_bytes"),
        peak_memory_bytes=values.get("peak_memory_bytes"),
        cpu_s=values.get("cpu_to_first_s"),
    )


def _counted(tell: Tell, total: int) -> Callable[[str], None]:
    done = iter(range(total))

    def step(doing: str) -> None:
        tell(doing, next(done), total)

    return step
