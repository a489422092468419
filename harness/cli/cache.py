"""The command that looks into the cache, and clears out what nothing will ask for again: cache."""

from __future__ import annotations

import shutil

import click

from harness.cli import console
from harness.errors import HarnessError, MissingComponent


@click.command()
@click.option("--prune", is_flag=True, help="Remove the artifacts, with their images, that this harness did not make.")
@console.json_option
def cache(prune: bool, as_json: bool) -> int:
    """What the cache holds and how much; with --prune, remove what nothing here will ask for again.

    An artifact is taken from the cache only by the very sources of the harness that made it, so those of other
    versions lie there for good. Another checkout that shares the cache would have to build its own again, so
    prune while none of them is running. All of the cache can be made again: where no harness and no engine of it is
    running, the folder may as well be deleted.
    """
    from harness import paths, tree
    from harness.measure import artifacts
    from harness.methods import METHODS

    outdated, left, removed = artifacts.outdated(), [], 0
    why: HarnessError | None = None
    if prune:
        for one in outdated:
            try:
                artifacts.discard(one, METHODS)
                removed += 1
            except MissingComponent as error:  # no engine that has its image
                why = error
                left.append(one)
        outdated = left
    folder, holds = paths.cache(), _holds()
    total, free = sum(size for _, size, _ in holds), shutil.disk_usage(folder).free
    useless, _ = tree.size(*(one.folder for one in outdated))
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
            }
        )
        return why.exit_code if why else 0
    rows = [
        (name, _size(size), str(entries), paths.HOLDS.get(name, "not known to this version"))
        for name, size, entries in holds
    ]
    console.table("", ("folder", "size", "entries", "what"), rows, right=(1, 2))
    console.say(f"{folder}: {_size(total)} in all; the disk has {_size(free)} free.")
    if prune:
        console.say(f"Removed {removed} artifacts of other versions of the harness, with their images.")
    elif outdated:
        console.say(
            f"{len(outdated)} artifacts ({_size(useless)}, and their images) were made by other versions of the "
            "harness: 'harness cache --prune' removes them."
        )
    if why is not None:
        console.note(f"{len(left)} have images and stay: {why}")
        return why.exit_code
    return 0


def _holds() -> list[tuple[str, int, int]]:
    """Each folder of the cache with the bytes of its files and how many entries it has, the largest first."""
    from harness import paths, tree

    found: list[tuple[str, int, int]] = []
    for folder in paths.cache().iterdir():
        if folder.is_dir() and not folder.is_symlink():
            entries = sum(1 for entry in folder.iterdir() if entry.suffix != ".lock")
            found.append((folder.name, tree.size(folder)[0], entries))
    return sorted(found, key=lambda one: -one[1])


def _size(size: int) -> str:
    return f"{size / 1e9:,.2f} GB"


COMMANDS = (cache,)
