"""What commands say and do about the disk: the cache's budget, and what a run needs of it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import paths
from harness.cli import console
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.measure.budget import Applied
    from harness.measure.plan import Plan
    from harness.measure.room import Size
    from harness.platforms.depot import Depot

#: How many earlier runs are asked for sizes.
_PAST_RUNS = 12
_SIZES = ("packed_bytes", "unpacked_bytes")


def check_settings() -> None:
    """BadInput where the budget's variable is wrong: to be told before anything is made."""
    from harness import settings
    from harness.measure import budget

    settings.size(budget.VARIABLE)


def hold_to_budget() -> Applied:
    """Hold the cache to its budget, now that this process uses nothing of it any more; say what was dropped."""
    from harness import usage
    from harness.measure import budget
    from harness.methods import METHODS

    usage.renew()
    applied = budget.apply(METHODS)
    for text in applied.told:
        console.note(text)
    return applied


def let_go(store: Depot) -> None:
    """The same between two models, of which the second has no use for the images of the first."""
    store.empty()
    hold_to_budget()


def as_dict(applied: Applied) -> dict[str, Any]:
    """What became of the budget, for ``--json``; all in bytes but the number of entries."""
    return {
        "budget_bytes": applied.budget.bytes,
        "dropped": applied.dropped,
        "dropped_bytes": applied.before_bytes - applied.after_bytes,
        "holds_bytes": applied.after_bytes if applied.budget.bytes is not None else None,
    }


def known_sizes(plan: Plan, results: Path) -> dict[tuple[str, str], Size]:
    """The sizes of the plan's cells, by model and method, as the newest runs here know them, else those that travel."""
    from harness.measure.room import Size
    from harness.store import query, runs

    found: dict[tuple[str, str], Size] = {}
    wanted = {(model, method) for model in plan.models for method in plan.methods}
    past = [
        (place, run_id)
        for place in dict.fromkeys((results, paths.data("results") / "reference"))
        for run_id in [*reversed(runs.run_ids(place))][:_PAST_RUNS]
    ]
    for place, run_id in past:
        if wanted <= found.keys():
            break
        with contextlib.suppress(HarnessError):  # a run that can't be read is told where it is asked for
            folder = runs.folder_of(place, run_id)
            if not set(plan.models) & set(runs.read_manifest(folder).plan["models"]):
                continue
            sizes: dict[tuple[str, str], dict[str, float]] = {}
            for value in query.values(folder, _SIZES):
                if value.limits == "default" and value.interval is not None:
                    sizes.setdefault((value.model, value.method), {})[value.metric] = value.interval.median
            for cell, size in sizes.items():
                if cell in wanted and "unpacked_bytes" in size:
                    # What is not packed anywhere here does not lie here packed.
                    packed = size.get("packed_bytes", 0.0)
                    found.setdefault(cell, Size(packed=packed, unpacked=size["unpacked_bytes"]))
    return found


def tell_needed(plan: Plan, known: dict[tuple[str, str], Size]) -> None:
    """Say what disk the run will need, as far as it is known, and where that is more than there is."""
    from harness.measure import artifacts, room
    from harness.measure.budget import shown
    from harness.methods import METHODS

    ready = {method for method in plan.methods if METHODS[method].check().ready}
    there = {(model, method) for model, method in known if artifacts.seem_kept(model, method)[0]}
    found = room.needed(plan, known, ready=ready, there=there)
    free, reserve = room.free()
    if len(found.unknown) < len(plan.models):
        console.note(
            f"  Needs about {shown(found.most)} of disk at the most, {shown(found.stays)} of it new in the cache; "
            f"{shown(free)} are free."
        )
    if found.unknown:
        console.note(f"  What disk these need is not known, as no run measured them: {', '.join(found.unknown)}.")
    if found.most + reserve > free:
        console.note("  That may be more than there is: the run then stops before the disk is full, to be resumed.")
