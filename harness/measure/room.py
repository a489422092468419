"""What disk a plan needs, by the sizes of earlier runs; and stopping before a step that the disk has no room for.

Of an artifact lie on the disk: what was built, unpacked; its archive beside it; while it is built what its tools
unpack; and while its model is measured the installation of it, beside those of all other methods.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from harness import paths, tree
from harness.errors import DiskFull
from harness.measure.budget import VARIABLE, shown
from harness.measure.plan import Lane, Plan
from harness.spec.weights import LockedModel

#: What no step may take, of a disk of 20 GB and more: instances write there too, and the run's own records have to fit.
_RESERVE_BYTES, _RESERVE_SHARE = 10**9, 0.05

#: What wheels come to packed again and installed, with their bytecode, where it is not known: in the reference results
#: it is 1.0 to 1.4 times and 2.9 to 4.5 times as much. Weights stay as large as they are.
_PACKED, _UNPACKED = 1.4, 4.5


@dataclass(frozen=True, kw_only=True)
class Size:
    """The bytes of an artifact: as it travels, and unpacked."""

    packed: float
    unpacked: float

    @property
    def stays(self) -> float:
        """Bytes in the cache afterwards."""
        return self.packed + self.unpacked

    @property
    def build(self) -> float:
        """Bytes while it is built: what tools unpack comes on top."""
        return self.stays + self.unpacked


#: By model and method.
Sizes = Mapping[tuple[str, str], Size]


@dataclass(frozen=True, kw_only=True)
class Needed:
    """What a plan needs, in bytes: at the most, and afterwards in the cache.

    Of the ``unknown`` models nothing is in it, as no method's sizes are known.
    """

    most: float
    stays: float
    unknown: tuple[str, ...]


def needed(plan: Plan, known: Sizes, *, ready: Collection[str], there: Collection[tuple[str, str]]) -> Needed:
    """What the plan needs, by what is ``known`` of its cells. ``ready`` are the methods that can be used here.

    ``there`` are the cells, by model and method, whose artifact is in the cache. A method that is not known for a model
    is taken to be as large as the model's largest.
    """
    most = stays = 0.0
    unknown = []
    for model in plan.models:
        of_model = [size for (name, _), size in known.items() if name == model]
        if not of_model:
            unknown.append(model)
            continue
        largest = max(of_model, key=lambda size: size.build)
        lanes = {lane: known.get((model, lane.method), largest) for lane in plan.lanes if lane.method in ready}
        installed = sum(size.unpacked for size in lanes.values())
        stays += sum(size.stays for lane, size in lanes.items() if not _lies(model, lane, there))
        most = max(most, stays + installed + max((size.build for size in lanes.values()), default=0.0))
    return Needed(most=most, stays=stays, unknown=tuple(unknown))


def _lies(model: str, lane: Lane, there: Collection[tuple[str, str]]) -> bool:
    return lane.limits == "default" and (model, lane.method) in there


def guessed(locked: LockedModel) -> Size:
    """The size of an artifact that was never measured, by the model's wheels and what travels of the model itself."""
    wheels, model = locked.lock.wheel_bytes, tree.size(locked.payload)[0]
    return Size(packed=_PACKED * wheels + model, unpacked=_UNPACKED * wheels + model)


def free() -> tuple[int, float]:
    """The bytes that are free on the cache's disk, and how many of those no step may take."""
    usage = shutil.disk_usage(paths.cache())
    return usage.free, min(_RESERVE_BYTES, _RESERVE_SHARE * usage.total)


def check(doing: str, takes: float) -> None:
    """DiskFull where the cache's disk has no room for what takes so many bytes; nothing was begun then."""
    there, reserve = free()
    if there < takes + reserve:
        raise DiskFull(
            f"there is no room to {doing}: that takes about {shown(takes)} of disk, {shown(reserve)} is kept free "
            f"besides, and the disk that holds {paths.cache()} has {shown(there)}",
            remedy=f"free some space ('harness cache' says what the cache holds, {VARIABLE} bounds it), and go on",
        )
