"""Every metric, declared once: name, unit, direction, meaning, and the states it is taken in.

A state is the condition of a sample: of the caches before a start, of the arrivals under load, or the target that
an artifact was carried to. A sample of anything else is refused by the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Unit = Literal["s", "bytes", "n", "bool", "1/s", "share", "USD"]
CacheState = Literal["page-warm", "disk-cold", "node-cold"]
Arrivals = Literal["single-stream", "poisson", "saturation", "batch"]
Target = Literal["debian-older", "debian-newer", "no-python", "no-network", "read-only", "non-root"]
State = Literal["", CacheState, Arrivals, Target]
Fidelity = Literal["measured", "emulated", "modelled", "documented"]

#: The cache states that a round of starts has.
START_STATES: tuple[CacheState, ...] = ("page-warm", "disk-cold")
CACHE_STATES: tuple[CacheState, ...] = get_args(CacheState)
ARRIVALS: tuple[Arrivals, ...] = get_args(Arrivals)
TARGETS: tuple[Target, ...] = get_args(Target)

#: Bits per second of the slow link over which ``transfer_s`` is modelled: a rural or mobile uplink.
SLOW_LINK = 10e6


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What a number means. ``states`` is empty where no cache state matters.

    ``of`` says what is looked at: the ``artifact`` is the real one whatever it runs on, an ``instance`` of it may
    run on a stand-in for its platform, and the ``machine`` tells how far the others are to be trusted. What is of
    the ``traffic`` is computed from the others for a scenario's requests, and never a sample.
    """

    name: str
    title: str
    unit: Unit
    direction: Literal["lower", "higher"]
    meaning: str
    states: tuple[State, ...] = ()
    of: Literal["artifact", "instance", "machine", "traffic"] = "instance"


#: The phases of a cold start, in the order in which they pass; they add up to ``cold_start_s``. On a node that has
#: nothing of the artifact, the installation (``install_s`` of the same round) comes before them.
PHASES = ("sandbox", "interpreter", "imports", "weights", "prediction")

#: The percentiles of a latency that are told.
PERCENTILES = (50, 90, 95, 99)

_DECLARED = (
    Metric(
        name="packed_bytes",
        title="packed size",
        unit="bytes",
        direction="lower",
        meaning="what travels: compressed layers as a registry stores them, or the archive or file itself",
        of="artifact",
    ),
    Metric(
        name="unpacked_bytes",
        title="unpacked size",
        unit="bytes",
        direction="lower",
        meaning="what lies on disk once it has been started, apparent bytes, hard links counted once",
        of="artifact",
    ),
    Metric(
        name="files",
        title="files",
        unit="n",
        direction="lower",
        meaning="how many files lie on disk once it has been started",
        of="artifact",
    ),
    Metric(
        name="build_clean_s",
        title="clean build",
        unit="s",
        direction="lower",
        meaning="build from empty tool caches, wheels and base image already local",
        of="artifact",
    ),
    Metric(
        name="install_s",
        title="install",
        unit="s",
        direction="lower",
        meaning="on a node that has nothing of it: fetch from a local bucket and unpack, or pull from a local registry",
    ),
    Metric(
        name="cold_start_s",
        title="cold start",
        unit="s",
        direction="lower",
        meaning="from spawn to the first correct prediction; node-cold: with the installation before it",
        states=CACHE_STATES,
    ),
    *(
        Metric(
            name=f"phase_{phase}_s",
            title=f"start: {phase}",
            unit="s",
            direction="lower",
            meaning=meaning,
            states=CACHE_STATES,
        )
        for phase, meaning in zip(
            PHASES,
            (
                "spawn until the isolated process exists",
                "until the first line of the runner: launcher, unpacking, interpreter start",
                "until the predictor and what it imports are loaded",
                "until load() returned the model",
                "until the first correct prediction arrived",
            ),
            strict=True,
        )
    ),
    Metric(
        name="peak_memory_bytes",
        title="peak memory",
        unit="bytes",
        direction="lower",
        meaning="peak of the instance's fresh control group until the first prediction, page cache included",
        states=CACHE_STATES,
    ),
    Metric(
        name="peak_resident_bytes",
        title="peak resident",
        unit="bytes",
        direction="lower",
        meaning="largest VmHWM of the instance's processes, until the first prediction",
        states=CACHE_STATES,
    ),
    Metric(
        name="cpu_to_first_s",
        title="CPU to first answer",
        unit="s",
        direction="lower",
        meaning="CPU seconds of the whole instance until the first prediction",
        states=CACHE_STATES,
    ),
    Metric(
        name="warm_request_s",
        title="warm request",
        unit="s",
        direction="lower",
        meaning="median of up to 25 requests that follow the first of a start, one at a time",
        states=("page-warm",),
    ),
    Metric(
        name="over_base_bytes",
        title="size over base",
        unit="bytes",
        direction="lower",
        meaning="what travels without what every artifact of its kind shares: base image, interpreter",
        of="artifact",
    ),
    Metric(
        name="update_bytes",
        title="update",
        unit="bytes",
        direction="lower",
        meaning="what must travel again when only the weights change",
        of="artifact",
    ),
    Metric(
        name="transfer_s",
        title="transfer",
        unit="s",
        direction="lower",
        meaning="packed size over a link: bytes by bandwidth, in no other time; 10 Mbit/s where no target has another",
        of="artifact",
    ),
    *(
        Metric(
            name=f"build_{what}_s",
            title=f"build, {what} changed",
            unit="s",
            direction="lower",
            meaning=f"second build after a change of {changed} alone, tool caches kept",
            of="artifact",
        )
        for what, changed in (
            ("weights", "the weights"),
            ("code", "the predictor"),
            ("dependency", "one dependency"),
        )
    ),
    Metric(
        name="reproducible",
        title="reproducible",
        unit="bool",
        direction="higher",
        meaning="1 when two clean builds, in different folders at different times, have the same contents",
        of="artifact",
    ),
    Metric(
        name="portable",
        title="portable",
        unit="bool",
        direction="higher",
        meaning="1 when it starts and answers every example correctly on that target",
        states=TARGETS,
    ),
    Metric(
        name="minimum_memory_bytes",
        title="minimum memory limit",
        unit="bytes",
        direction="lower",
        meaning="smallest memory limit under which a start succeeds, within 5 % or 4 MiB, file pages already in memory",
    ),
    Metric(
        name="anonymous_bytes",
        title="anonymous memory",
        unit="bytes",
        direction="lower",
        meaning="anonymous memory of the instance's control group after the first prediction, without page cache",
        states=CACHE_STATES,
    ),
    *(
        Metric(
            name=f"latency_p{percentile}_s",
            title=f"latency p{percentile}",
            unit="s",
            direction="lower",
            meaning=f"{percentile} % of a warm instance's answers come within this, from the intended sending",
            states=ARRIVALS,
        )
        for percentile in PERCENTILES
    ),
    Metric(
        name="throughput_per_s",
        title="throughput",
        unit="1/s",
        direction="higher",
        meaning="predictions per second of one warm instance",
        states=ARRIVALS,
    ),
    Metric(
        name="cpu_per_prediction_s",
        title="CPU per prediction",
        unit="s",
        direction="lower",
        meaning="CPU seconds of the whole warm instance for each prediction",
        states=ARRIVALS,
    ),
    *(
        Metric(
            name=name,
            title=title,
            unit="share",
            direction="lower",
            meaning=meaning,
            states=CACHE_STATES,
            of="machine",
        )
        for name, title, meaning in (
            ("steal_share", "stolen time", "share of the machine's CPU time that its host took away during the sample"),
            *(
                (
                    f"pressure_{resource}_share",
                    f"{resource} pressure",
                    f"share of the sample's time in which something on the machine waited for {waited}",
                )
                for resource, waited in (("cpu", "a CPU"), ("io", "a disk"), ("memory", "memory"))
            ),
        )
    ),
    Metric(
        name="cost_month_usd",
        title="cost a month",
        unit="USD",
        direction="lower",
        meaning="a month of the scenario's requests at list prices, by measured durations and the memory of model.toml",
        of="traffic",
    ),
    Metric(
        name="parity",
        title="right answers",
        unit="bool",
        direction="higher",
        meaning="1 when every example was answered as expected",
    ),
    Metric(
        name="sentinel_s",
        title="sentinel",
        unit="s",
        direction="lower",
        meaning="a fixed small workload, once in every round: shows drift of the machine",
        of="machine",
    ),
    Metric(
        name="download_s",
        title="download",
        unit="s",
        direction="lower",
        meaning="fetching the model's wheels into the wheelhouse, where they were not there; in no build time",
        of="artifact",
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _DECLARED}
