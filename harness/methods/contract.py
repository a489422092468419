"""The contract of a packaging method, and the records that cross it.

A method is a *module* with the names of :class:`Method`; a test holds every module in
``METHODS`` against it. There is no base class: what methods share are functions in
:mod:`harness.methods.layout` and :mod:`harness.methods.serving`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from harness.metrics import Fidelity
from harness.platforms.depot import Depot
from harness.sandbox import Bounds, Surroundings
from harness.spec.model import Json, Model
from harness.spec.scenario import Facility, Quality
from harness.spec.weights import LockedModel

Family = Literal["container", "virtual-environment", "serverless", "executable", "cloud-platform", "api"]

#: How bytecode is shipped. Hash-based files survive archives whose dates are fixed; timestamp-based ones don't.
Bytecode = Literal["none", "timestamp", "checked-hash", "unchecked-hash"]

#: Where a model's weights are: in the artifact; put beside it once, when it is installed; or fetched by every start.
Placement = Literal["inside", "mounted", "fetched"]


#: What a method can do about an artifact that does not answer (:mod:`harness.methods.mending`): prune less, take along
#: packages whole that it found the parts of by itself.
Mends = Literal["prune", "collect", "system"]


#: No answer of an instance is longer than this, whatever a model's examples look like.
LONGEST_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class Layers:
    """What a method combines: the environment, the interface, the platform."""

    environment: str
    interface: str
    platform: str


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A platform's documented limit, as data. The harness enforces it; stand-ins don't.

    ``metric`` names the size (``packed_bytes``, ``unpacked_bytes``) that every artifact is held against;
    it is empty for a limit that the method itself sees to, or that is only told.
    """

    name: str
    value: float
    unit: str
    source: str
    read_on: str
    metric: Literal["", "packed_bytes", "unpacked_bytes"] = ""


@dataclass(frozen=True, kw_only=True)
class Availability:
    """Ready on this machine, or the reason why not and what would change it."""

    ready: bool
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Traced:
    """What answering the examples needed of the installed packages, found by one plain start in bounds.

    The model's process told it; of that only is here what is in the environment. Paths are seen from the folder of
    the packages: ``sources`` of loaded modules, files ``opened`` otherwise, folders ``listed``, native libraries
    ``mapped`` into memory. ``own`` are native libraries of the model's own folder, seen from there, and ``system`` the
    absolute paths of all others: whoever takes one of these must find something of that name, or nothing.
    Files that native code opens without mapping them are not seen. Nothing is known where no ``modules`` are.
    """

    modules: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    opened: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    mapped: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    system: tuple[str, ...] = ()

    @property
    def kept(self) -> tuple[str, ...]:
        """What pruning must leave, as ``pruning.py --keep`` reads it."""
        tests = (path for path in self.sources if not {"test", "tests"}.isdisjoint(path.split("/")))
        return (*self.opened, *self.mapped, *tests, *(f"{folder}/" for folder in self.listed))


@dataclass(frozen=True, kw_only=True)
class Mending:
    """What is done otherwise than by default, because an artifact did not answer: see :mod:`harness.methods.mending`.

    ``unpruned`` are rules of pruning that are left out; ``collected`` are packages that are taken along whole;
    ``system_packages`` are Debian packages that its system has beside those that the model names.
    """

    unpruned: tuple[str, ...] = ()
    collected: tuple[str, ...] = ()
    system_packages: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How to build. ``tool_cache`` is empty for a clean build; the caller removes it.

    With ``keep_cache`` an engine's layer cache is used and left for the next build with the same ``tool_cache``,
    whose artifacts share their image's tag; ``remove`` of any one of them removes it all.

    ``traced`` is what a plain start needed, None where that was not found out; ``mended`` is what earlier builds of
    the same lock had to do otherwise.

    A method refuses with BadInput what it can't honour (:func:`harness.methods.variants.unsupported`).
    """

    tool_cache: Path
    bytecode: Bytecode = "unchecked-hash"
    weights: Placement = "inside"
    keep_cache: bool = False
    timeout_s: float = 900.0
    traced: Traced | None = None
    mended: Mending = Mending()


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """What ``build`` produced: a file at ``path``, an image called ``image`` in the engine, or both.

    ``python`` is the target's interpreter that it starts with; None where it brings its own. ``digest`` is of the
    contents. ``facts`` are said in reports (tool versions, base image, ...). Weights that are not in it lie where
    :func:`harness.methods.placement.folder_of` says, and ``facts`` have ``weights``.
    """

    method: str
    model: str
    digest: str
    path: Path | None = None
    image: str | None = None
    python: Path | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Installed:
    """An artifact ready to start, on the target: below ``root``, or as ``image`` in the engine.

    ``cold_paths`` are the files and folders whose pages must be evicted for a disk-cold start;
    ``own_paths`` those of them that belong to the artifact alone, for which it is verified.
    ``extraction_caches`` are folders that a disk-cold start must find empty.
    """

    artifact: Artifact
    root: Path | None = None
    image: str | None = None
    own_paths: tuple[Path, ...] = ()
    cold_paths: tuple[Path, ...] = ()
    extraction_caches: tuple[Path, ...] = ()
    #: Seconds that a node without it takes: fetch and unpack, pull, deploy; and what it was fetched from.
    install_s: float | None = None
    install_fidelity: Fidelity = "measured"
    #: The folder that weights which are not in the artifact come from: on the target, or, where every start fetches
    #: them, in the store.
    weights: Path | None = None
    #: When a part of that was timed, where it was not now.
    install_kept: str = ""
    #: Why there is no installation to time, or no disk-cold start to take, where there is none.
    install_absent: str = ""
    cold_absent: str = ""
    #: Where it was deployed to a platform of the user's instead of this machine: how an instance there is had, and
    #: what its values are worth then. ``facts`` are what the installation found out, for reports.
    elsewhere: Callable[[], AbstractContextManager[Instance]] | None = None
    start_fidelity: Fidelity | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The sizes of an artifact; ``packed_bytes`` is None where ``packed_absent`` says why.

    ``pieces`` are what travels separately, by digest of the contents, in bytes that add up to ``packed_bytes``: a
    node that has a piece need not fetch it again. ``shared_bytes`` of them are in every artifact of its kind, such as
    an image's base. It is 0 for one file or archive, also where that holds an interpreter (conda, PyInstaller, a
    scie): nobody could leave that part of it out.
    """

    packed_bytes: int | None
    unpacked_bytes: int
    files: int
    packed_absent: str = ""
    pieces: Mapping[str, int] = field(default_factory=dict)
    shared_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an instance may use, and how long it may take."""

    memory_bytes: int
    processes: int
    disk_bytes: int
    start_timeout_s: float
    predict_timeout_s: float
    cpus: float | None = None
    #: What it finds around it, where that is not this machine as it is.
    surroundings: Surroundings | None = None
    #: How many bytes of JSON an answer to one input may have; longer ones are given up while they are received.
    answer_bytes: int = LONGEST_BYTES

    #: What is said of the model where it asks for more memory than this machine allows.
    memory_told: str = ""

    @property
    def bounds(self) -> Bounds:
        """What it may use, as the door takes it."""
        return Bounds(
            memory_bytes=self.memory_bytes, processes=self.processes, disk_bytes=self.disk_bytes, cpus=self.cpus
        )


@dataclass(frozen=True, kw_only=True)
class Stamps:
    """When each phase of a start ended, on the system-wide monotonic clock, in seconds.

    ``spawned_s`` is taken by the harness just before the instance is asked for; ``interpreter_s``,
    ``imports_s`` and ``weights_s`` by the runner inside; ``sandbox_s`` when the isolated process exists.
    ``doubt`` says why those of the runner can't be true, where they can't: then no phase of the start is known.
    """

    spawned_s: float
    sandbox_s: float
    interpreter_s: float
    imports_s: float
    weights_s: float
    doubt: str = ""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What the instance used so far, and how that was found out (``cgroup-v1``, ``cgroup-v2``, ``psutil``)."""

    #: Of its control group, page cache included; ``anonymous_bytes`` is what of it is no page cache, at this moment.
    peak_memory_bytes: int | None
    peak_resident_bytes: int | None
    cpu_s: float | None
    source: str
    anonymous_bytes: int | None = None


class Instance(Protocol):
    """A started artifact that answers predictions."""

    def predict(self, inputs: Sequence[Json]) -> list[Json]:
        """The model's answers; ModelFailure where it raises, hangs, exits or prints rubbish."""

    def stamps(self) -> Stamps:
        """The phase stamps of the start; known once a prediction was answered."""

    def usage(self) -> Usage:
        """What was used so far."""

    def facts(self) -> Mapping[str, str]:
        """What the runner found about itself: interpreter, share of modules loaded from bytecode."""


class Method(Protocol):
    """What a module in ``methods/`` must have."""

    ID: str
    FAMILY: Family
    LAYERS: Layers
    FIDELITY: Fidelity
    LIMITS: tuple[Limit, ...]
    #: Requirements that the method adds to the model's, locked together with them.
    REQUIREMENTS: tuple[str, ...]
    #: What the target must have, and what the method gives.
    REQUIRES: frozenset[Facility]
    PROVIDES: frozenset[Quality]
    #: What a build can do otherwise where its artifact does not answer as the plain environment does.
    MENDS: frozenset[Mends]

    def check(self) -> Availability:
        """Whether the method can be used on this machine; never raises."""

    def prepare(self, model: Model) -> None:
        """Get what builds need and no build time may hold: base images, tool environments. MissingComponent if not."""

    def build(self, locked: LockedModel, workdir: Path, options: BuildOptions) -> Artifact:
        """Package the model below ``workdir``; BuildFailure where the tool refuses."""

    def sizes(self, artifact: Artifact, depot: Depot) -> Sizes:
        """Packed and unpacked size and file count of the artifact."""

    def install(self, artifact: Artifact, target: Path, depot: Depot) -> Installed:
        """Do what a node without it must do: fetch it from the depot and unpack below ``target``, pull, deploy.

        DoesNotFit where a limit of the platform is in the way that no size shows.
        """

    def start(self, installed: Installed, limits: Limits) -> AbstractContextManager[Instance]:
        """Start an instance; on leaving, nothing of it is left."""

    def present(self, artifact: Artifact) -> bool:
        """Whether the artifact is still where it was built."""

    def remove(self, artifact: Artifact) -> None:
        """Delete the artifact: the file, or the image with its tag."""
