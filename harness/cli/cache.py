"""The command that looks into the cache, and clears out what nothing will ask for again: cache."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import click

from harness.cli import console
from harness.errors import BuildFailure, CheckFailure, HarnessError, MissingComponent


@click.command()
@click.option("--prune", is_flag=True, help="Remove the artifacts, with their images, that this harness did not make.")
@console.json_option
def cache(prune: bool, as_json: bool) -> int:
    """What the cache holds and how much; with --prune, remove what nothing here will ask for again.

    That includes what a harness left that was killed: temporary folders, control groups, images without a name.

    An artifact is taken from the cache only by the very sources of the harness that made it, so those of other
    versions lie there for good. Another checkout that shares the cache would have to build its own again, so
    prune while none of them is running. All of the cache can be made again: where no harness and no engine of it is
    running, the folder may as well be deleted.
    """
    from harness import files, leftovers, paths
    from harness.measure import artifacts
    from harness.methods import METHODS

    outdated, left, removed, remains = artifacts.outdated(), [], 0, 0
    why: HarnessError | None = None
    if prune:
        for one in outdated:
            try:
                artifacts.discard(one, METHODS)
                removed += 1
            except (MissingComponent, CheckFailure) as error:  # no engine that has its image; it can't be removed
                why = error
                left.append(one)
        outdated = left
        remains = leftovers.remove(paths.cache() / "tmp")
        try:
            remains += _unnamed_images()
        except (MissingComponent, BuildFailure) as error:
            why = error
    folder, holds = paths.cache(), _holds()
    total, free = sum(size or 0 for _, size, _ in holds), shutil.disk_usage(folder).free
    useless = sum(_bytes(one.folder) or 0 for one in outdated)
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
    for name, size, _ in holds:
        if size is None:
            console.note(f"{folder / files.shown(name)} cannot be read; where no harness is running, it can be deleted")
    if prune:
        console.say(f"Removed {removed} artifacts of other versions of the harness, with their images.")
        if remains:
            console.say(
                f"Removed {remains} folders, control groups and images that were left by harnesses that were killed."
            )
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


def _holds() -> list[tuple[str, int | None, int]]:
    """Each folder of the cache with the bytes of its files and how many entries it has, the largest first.

    The bytes are None where something in it cannot be read: nested without end, or taken away meanwhile.
    """
    from harness import files, paths

    found: list[tuple[str, int | None, int]] = []
    for folder in paths.cache().iterdir():
        if files.kind(folder) == "folder":
            entries = sum(1 for name in os.listdir(folder) if not name.endswith(".lock"))
            found.append((folder.name, _bytes(folder), entries))
    return sorted(found, key=lambda one: -(one[1] or 0))


def _bytes(folder: Path) -> int | None:
    from harness import tree

    try:
        return tree.size(folder)[0]
    except (HarnessError, OSError):
        return None


def _size(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e9:,.2f} GB"


COMMANDS = (cache,)
