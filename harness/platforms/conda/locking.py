"""``environment.yml`` from a model's spec, and ``conda-lock.yml`` from that, both made once for the same inputs.

From a local channel everything is asked for that the model's own lock has, so that the same versions are measured as
with every other method. From a channel on a server the model's requirements are asked for, by their conda names;
what they depend on is then the channel's. Extras have no name there and are not asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from harness import files, process, tools
from harness.errors import BuildFailure
from harness.platforms.conda import channels, local, tooling
from harness.spec.locked import Lock
from harness.spec.model import Model

_TIMEOUT_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Locked:
    """A locked conda environment whose packages are all on this machine."""

    file: Path
    environment: Path
    source: channels.Source


def locked(model: Model, lock: Lock) -> Locked:
    """The lock of the model's environment, its packages fetched; BuildFailure where it cannot be solved."""
    source = channels.source(model, lock.python.minor)
    urls = source.urls or (local.channel(lock).as_uri(),)
    wanted = list(_pinned(lock) if source.local else _asked(model, lock.python.minor))
    text = _environment(model.name, urls, wanted)
    given = [text, _target(), tooling.tools_digest(), tooling.platform()]
    folder = tooling.folder("locks") / hashlib.sha256(json.dumps(given).encode()).hexdigest()[:24]
    with tools.alone(folder.with_suffix(".lock")), process.disk_full_named(folder):
        if not (folder / "conda-lock.yml").is_file():
            _make(folder, text, network=not source.local)
        found = Locked(file=folder / "conda-lock.yml", environment=folder / "environment.yml", source=source)
        if not source.local:
            tooling.task("fetch", request(found), timeout_s=1800, network=True)
    return found


def request(found: Locked) -> dict[str, str]:
    """What tasks need to know of a lock."""
    return {
        "lock": str(found.file),
        "platform": tooling.platform(),
        "store": str(tooling.folder("packages")),
    }


def _environment(name: str, urls: tuple[str, ...], wanted: list[str]) -> str:
    """``environment.yml``; JSON's strings are YAML's as well."""
    lines = [f"name: {name}", "channels:", *(f"  - {json.dumps(url)}" for url in urls), "dependencies:"]
    return "\n".join([*lines, *(f"  - {json.dumps(spec)}" for spec in wanted), ""])


def _pinned(lock: Lock) -> Iterator[str]:
    yield f"python =={lock.python.version}"
    for name, version in lock.packages:
        yield f"{name} =={version}"


def _asked(model: Model, minor: str) -> Iterator[str]:
    """The model's requirements as conda says them; local versions (``+cpu``) are PyPI's alone."""
    yield f"python {minor}.*"
    names = {canonicalize_name(name): other for name, other in model.file.conda.names.items()}
    for text in model.file.requirements:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate():
            name = canonicalize_name(requirement.name)
            versions = sorted(str(part).replace("===", "==").split("+")[0] for part in requirement.specifier)
            yield f"{names.get(name, name)} {','.join(versions)}".strip()


def _target() -> str:
    """What the target is taken to have: this machine's glibc, the kernel that conda-lock itself takes for granted."""
    has = {"__unix": "0", "__linux": "5.10", "__glibc": tooling.glibc(), "__archspec": f"1 {os.uname().machine}"}
    return json.dumps({"subdirs": {tooling.platform(): {"packages": has}}})


def _make(folder: Path, environment: str, *, network: bool) -> None:
    with process.temporary_folder("conda-lock") as scratch, tools.full_disk_named():
        (scratch / "environment.yml").write_text(environment)
        (scratch / "target.yml").write_text(_target())
        # conda-lock knows which names differ on PyPI from a file that it would fetch; nothing here is from PyPI.
        (scratch / "names.json").write_text("{}")
        conda = scratch / "conda"
        solver = [str(tools.executable("conda", "python")), str(tooling.RESOURCES / "conda_executable.py")]
        conda.write_text(f'#!/bin/sh\nexec {shlex.join(solver)} "$@"\n')
        conda.chmod(0o755)
        argv = [str(tools.executable("conda", "conda-lock")), "lock", "--conda", str(conda), "--no-mamba"]
        argv += ["--platform", tooling.platform(), "--file", str(scratch / "environment.yml")]
        argv += ["--lockfile", str(scratch / "conda-lock.yml"), "--virtual-package-spec", str(scratch / "target.yml")]
        argv += ["--pypi_to_conda_lookup_file", (scratch / "names.json").as_uri()]
        done = tooling.run(
            argv,
            timeout_s=_TIMEOUT_S,
            network=network,
            shows=[tooling.folder(name) for name in ("channels", "made")],
            writes=(scratch,),
            env={"HARNESS_REPODATA": str(tooling.folder("repodata"))} if network else None,
        )
        if done.returncode != 0 or not (scratch / "conda-lock.yml").is_file():
            raise BuildFailure(
                "conda-lock could not lock the environment",
                log=_reason(done.stderr),
                remedy="give the names and channels that conda has, in the table 'conda' of model.toml",
            )
        files.remove(folder)
        folder.mkdir(parents=True)
        for name in ("environment.yml", "conda-lock.yml"):
            shutil.move(scratch / name, folder / name)


def _reason(said: str) -> str:
    """What the solver said, of what conda-lock tells around it."""
    found = re.search(r"^Could not lock the environment.*?\n(.+?)^ +Command:", said, re.MULTILINE | re.DOTALL)
    return found[1] if found else said
