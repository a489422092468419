"""A conda channel that a model names: its packages are unpacked into the environment that the model is put into.

The channel is a folder made on the spot; its ``python`` is no Python, which nobody looks at before it is installed.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

from hostile import payloads, programs
from hostile.campaign import Case, package
from hostile.ground import Ground
from hostile.making import Make, model

_SUBDIR = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}[platform.machine()]
_VERSION = "3.11.99"
_SITE = "lib/python3.11/site-packages"

#: What a package holds: texts are files, one that begins with ``-> `` is a link.
Contents = Mapping[str, str]


def _package(folder: Path, contents: Contents, modes: Mapping[str, int]) -> dict[str, object]:
    """Write ``python-3.11.99-0.tar.bz2``; its record for the channel's index."""
    index = {"name": "python", "version": _VERSION, "build": "0", "build_number": 0, "depends": [], "subdir": _SUBDIR}
    files = dict(contents)
    paths = [
        {
            "_path": name,
            "path_type": "softlink" if text.startswith("-> ") else "hardlink",
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "size_in_bytes": len(text.encode()),
        }
        for name, text in files.items()
    ]
    files |= {
        "info/index.json": json.dumps(index),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}),
        "info/files": "\n".join(contents),
    }
    place = folder / f"python-{_VERSION}-0.tar.bz2"
    with tarfile.open(place, "w:bz2") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.mode = modes.get(name, 0o755)
            if text.startswith("-> "):
                entry.type, entry.linkname = tarfile.SYMTYPE, text.removeprefix("-> ")
                archive.addfile(entry)
            else:
                entry.size = len(text.encode())
                archive.addfile(entry, io.BytesIO(text.encode()))
    content = place.read_bytes()
    digests = {"sha256": hashlib.sha256(content).hexdigest(), "md5": hashlib.md5(content).hexdigest()}  # noqa: S324
    return {place.name: {**index, **digests, "size": len(content)}}


def _channel(contents: Callable[[Ground], Contents], modes: Mapping[str, int] | None = None) -> Make:
    """A model, and the channel that it names."""

    def make(place: Ground) -> None:
        channel = place.folder / "channel"
        for subdir in (_SUBDIR, "noarch"):
            (channel / subdir).mkdir(parents=True)
            packages = _package(channel / subdir, contents(place), modes or {}) if subdir == _SUBDIR else {}
            told = {"info": {"subdir": subdir}, "packages": packages, "packages.conda": {}, "repodata_version": 1}
            (channel / subdir / "repodata.json").write_text(json.dumps(told))
        model(place, tables={"conda": {"channels": [channel.as_uri()]}})

    return make


def _python(place: Ground) -> dict[str, str]:
    """A program in the place of Python that says who runs it."""
    code = programs.source(payloads.who_runs, place.where)
    return {"bin/python": f"#!/usr/bin/python3\n{code}\n", "bin/python3.11": "-> python"}


def _case(name: str, contents: Callable[[Ground], Contents], modes: Mapping[str, int] | None = None) -> Case:
    return Case(
        name=f"conda-{name}",
        kind="conda",
        make=_channel(contents, modes),
        commands=(package("conda"),),
        exits=(1, 2),
        needs=("network",),
        timeout_s=180.0,
        disk_mb=600,
    )


CASES = [
    _case("site-packages-a-link", lambda place: {**_python(place), _SITE: f"-> {place.where['owner']}"}),
    _case("library-a-link", lambda place: {**_python(place), "lib": f"-> {place.where['home']}"}),
    _case(
        "model-folder-a-link", lambda place: {**_python(place), f"{_SITE}/harness_model": f"-> {place.where['owner']}"}
    ),
    _case("runner-a-link", lambda place: {**_python(place), f"{_SITE}/harness_runner": f"-> {place.where['home']}"}),
    _case(
        "a-file-is-a-link-to-a-key", lambda place: {**_python(place), f"{_SITE}/key.py": f"-> {place.where['secret']}"}
    ),
    _case(
        "links-up-by-steps",
        lambda place: {**_python(place), "lib/python3.11": "-> ../up", "up": f"-> {place.where['owner']}"},
    ),
    _case("entry-above", lambda place: {**_python(place), "../../../../escaped": "x"}),
    _case(
        "scripts-on-installation",
        lambda place: {
            **_python(place),
            "bin/.python-post-link.sh": f"#!/usr/bin/python3\n{programs.source(payloads.who_runs, place.where)}\n",
            "bin/.python-pre-link.sh": f"#!/usr/bin/python3\n{programs.source(payloads.who_runs, place.where)}\n",
            f"{_SITE}/README": "x",
        },
    ),
    _case(
        "setuid-program",
        lambda place: {**_python(place), "bin/tool": "#!/bin/sh\nid\n", f"{_SITE}/README": "x"},
        {"bin/tool": 0o6755},
    ),
]
