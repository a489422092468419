"""Fetching a source distribution. pip would run its build while it downloads it, and uv has no command for it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from harness import files, interpreter, paths, process, tools, tree, usage
from harness.errors import BuildFailure
from harness.spec import sdists, wheelhouse
from harness.spec.resolving import SourceFile

_FETCH = paths.PACKAGE / "resources" / "building" / "fetch.py"
#: However slowly it comes, and whatever an index does meanwhile.
_TIMEOUT_S = 600


@tools.full_disk_named()
def fetched(file: SourceFile, what: str) -> Path:
    """The source distribution as the wheelhouse has it; BuildFailure where it cannot be had, or is another file."""
    parts = urlsplit(file.url)
    name = unquote(parts.path).rpartition("/")[2]
    if not name or not name.isprintable() or name.startswith("."):
        raise BuildFailure(f"{what}: its source distribution has no name: {files.shown(file.url)}")
    place = wheelhouse.house() / file.sha256 / name
    if usage.used(place.parent) and place.is_file():
        return place
    with process.temporary_folder("sdist") as scratch:
        target = scratch / name
        if parts.scheme in {"", "file"}:  # of a folder that the user configured
            files.write_whole(target, files.read_bytes(Path(unquote(parts.path)), at_most=sdists.LARGEST_BYTES))
        else:
            _download(file.url, target, what)
        found = tree.sha256(target)
        if found != file.sha256:
            raise BuildFailure(
                f"{what}: its source distribution has sha256 {found}, and the index told {file.sha256}",
                remedy="ask again; where it stays so, the index or what is between is not to be trusted",
            )
        return wheelhouse.keep(target, found)


def _download(url: str, target: Path, what: str) -> None:
    argv = [str(interpreter.default().path), "-I", str(_FETCH), url, str(target), str(sdists.LARGEST_BYTES)]
    remedy = "check that the package index is in reach (UV_DEFAULT_INDEX names another)"
    shown = url.rpartition("@")[2] if "@" in url.partition("?")[0] else url
    try:
        done = process.run(argv, env=process.network_environment(target.parent), timeout_s=_TIMEOUT_S)
    except process.TimedOut:
        raise BuildFailure(f"{what}: {shown} did not arrive within {_TIMEOUT_S} s", remedy=remedy) from None
    if done.returncode != 0:
        raise BuildFailure(f"{what}: {shown} could not be fetched", log=done.stderr, remedy=remedy)
