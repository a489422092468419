"""Every metric, declared once: name, unit, direction, meaning, and the cache states it is taken in.

A sample of anything else is refused by the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["s", "bytes", "n", "bool"]
State = Literal["", "page-warm", "disk-cold", "node-cold"]
Fidelity = Literal["measured", "emulated", "modelled", "documented"]

START_STATES: tuple[State, ...] = ("page-warm", "disk-cold")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What a number means. ``states`` is empty where no cache state matters.

    ``of`` says what is looked at: the ``artifact`` is the real one whatever it runs on, an ``instance`` of it may
    run on a stand-in for its platform.
    """

    name: str
    title: str
    unit: Unit
    direction: Literal["lower", "higher"]
    meaning: str
    states: tuple[State, ...] = ()
    of: Literal["artifact", "instance"] = "instance"


#: The phases of a cold start, in the order in which they pass; they add up to ``cold_start_s``.
PHASES = ("sandbox", "interpreter", "imports", "weights", "prediction")

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
        meaning="from spawn to the first correct prediction",
        states=START_STATES,
    ),
    *(
        Metric(
            name=f"phase_{phase}_s",
            title=f"start: {phase}",
            unit="s",
            direction="lower",
            meaning=meaning,
            states=START_STATES,
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
        states=START_STATES,
    ),
    Metric(
        name="peak_resident_bytes",
        title="peak resident",
        unit="bytes",
        direction="lower",
        meaning="largest VmHWM of the instance's processes, until the first prediction",
        states=START_STATES,
    ),
    Metric(
        name="cpu_to_first_s",
        title="CPU to first answer",
        unit="s",
        direction="lower",
        meaning="CPU seconds of the whole instance until the first prediction",
        states=START_STATES,
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
