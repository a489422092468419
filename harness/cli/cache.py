"""The command that looks into the cache, and clears out what nothing will ask for again: cache."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import click

from harness.cli import console
from harness.errors import BuildFailure, CheckFailure, HarnessError, MissingComponent


@click.command()
@click.option(
    "--prune",
    is_flag=True,
    help="Remove the artifacts, with their images, that this harness did not make; then hold it to its budget.",
)
@console.json_option
def cache(prune: bool, as_json: bool) -> int:
    """What the cache holds, how much, and its budget; with --prune, remove what nothing here will ask for again.

    The budget is the smaller of 20 GB and a fifth of the disk that is free or the cache's; HARNESS_CACHE_BUDGET sets
    another ('50 GB', or 'none'). 'run', 'package' and 'profile' hold the cache to it, and so does --prune: what was
    used least recently is dropped, with its images, trained weights last. What a running harness has used stays.

    --prune also removes what a harness left that was killed: temporary folders, control groups, half
    artifacts, images without a name.

    An artifact is taken from the cache only by the very sources of the harness that made it, so those of other
    versions lie there for good. Another checkout that shares the cache would have to build its own again, so
    prune while none of them is running. All of the cache can be made again: where no harness and no engine of it is
    running, the folder may as well be deleted.
    """
    from harness import files, leftovers, paths
    from harness.measure import artifacts, budget
    from harness.methods import METHODS

    budget.budget(0)  # a variable that is wrong is told before anything is removed
    outdated, left, removed, remains = artifacts.outdated(), [], 0, 0
    why: HarnessError | None = None
    if prune:
        for one in outdated:
            try:
                if artifacts.discard(one.folder, one.artifact, METHODS):
                    removed += 1
                else:
                    left.append(one)
            except (MissingComponent, CheckFailure) as error:  # no engine that has its image; it can't be removed
                why = error
                left.append(one)
        outdated = left
        try:
            remains = leftovers.remove(paths.cache() / "tmp") + artifacts.discard_unfinished() + _unnamed_images()
        except (MissingComponent, BuildFailure, CheckFailure) as error:
            why = error
    applied = budget.apply(METHODS) if prune else None
    folder, found = paths.cache(), budget.look()
    allowed = applied.budget if applied else budget.budget(budget.counted(found))
    holds = [(one.name, one.bytes if one.read else None, _entries(folder / one.name)) for one in found]
    total, free = sum(one.bytes for one in found), shutil.disk_usage(folder).free
    known = {entry.place: entry.bytes for one in found for entry in one.entries}
    useless = sum(known.get(one.folder, 0) for one in outdated)
    if as_json:
        console.as_json(
            {
                "folder": str(folder),
                "bytes": total,
                "free_bytes": free,
                "holds": [
                    {"name": name, "bytes": size, "entries": entries, "what": paths.HOLDS.get(name, "")}
                    for name, size, entries in holds
                ],
                "outdated": {"artifacts": len(outdated), "bytes": useless},
                "budget": {"bytes": allowed.bytes, "source": allowed.source, "variable": budget.VARIABLE},
                "dropped": {
                    "entries": applied.dropped if applied else 0,
                    "bytes": applied.before_bytes - applied.after_bytes if applied else 0,
                },
                "removed": removed,
                "leftovers_removed": remains,
            }
        )
        return why.exit_code if why else 0
    rows = [
        (files.shown(name), _size(size), str(entries), paths.HOLDS.get(name, "not known to this version"))
        for name, size, entries in holds
    ]
    console.table("", ("folder", "size", "entries", "what"), rows, right=(1, 2))
    console.say(f"{folder}: {_size(total)} in all; the disk has {_size(free)} free.")
    console.say(f"Budget: {budget.shown(allowed.bytes) if allowed.bytes is not None else 'none'} ({allowed.source}).")
    for name, size, _ in holds:
        if size is None:
            console.note(f"{folder / files.shown(name)} cannot be read; where no harness is running, it can be deleted")
    if prune:
        console.say(f"Removed {removed} artifacts of other versions of the harness, with their images.")
        if remains:
            console.say(
                f"Removed {remains} folders, control groups and images that were left by harnesses that were killed."
            )
        for text in applied.told if applied else ():
            console.say(text)
        if why is None and left:
            console.note(f"{len(left)} artifacts stay: a harness that is running has used them")
    elif outdated:
        console.say(
            f"{len(outdated)} artifacts ({_size(useless)}, and their images) were made by other versions of the "
            "harness: 'harness cache --prune' removes them."
        )
    if why is not None:
        console.note(f"{len(left)} stay: {why}" if left else str(why))
        return why.exit_code
    return 0


def _unnamed_images() -> int:
    """Remove the images without a name that builds left, where an engine answers; how many."""
    from harness.platforms import builds, engine

    found, _ = engine.look()
    return builds.prune_all_stages(found) if found else 0


def _entries(folder: Path) -> int:
    """How many entries the folder has; a lock is none."""
    try:
        return sum(1 for name in os.listdir(folder) if not name.endswith(".lock"))
    except OSError:
        return 0


def _size(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e9:,.2f} GB"


COMMANDS = (cache,)
