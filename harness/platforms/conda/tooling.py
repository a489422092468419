"""Conda's tool environment: tasks and programs in it, kept from the network unless they are for fetching."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import paths, process, tools, tree, usage
from harness.errors import BuildFailure, MissingComponent
from harness.files import Links

RESOURCES = paths.PACKAGE / "resources" / "conda"

#: What conda calls the platforms that this method knows.
_PLATFORMS = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}


def platform() -> str:
    """What conda calls this machine's platform; MissingComponent where the method does not know it."""
    machine = os.uname().machine
    if machine not in _PLATFORMS or glibc() is None:
        raise MissingComponent(
            f"conda packages are made for Linux with glibc on {' and '.join(_PLATFORMS)}, this is {machine}",
            remedy="use another method here",
        )
    return _PLATFORMS[machine]


def glibc() -> str | None:
    """The version of the C library, where it is glibc."""
    try:
        said = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        return None
    return said.split()[-1] if said else None


def folder(*names: str) -> Path:
    """A folder below ``<cache>/conda``, made if it is not there."""
    top = paths.cache() / "conda"
    usage.used(top)
    top.mkdir(mode=0o700, exist_ok=True)
    place = top.joinpath(*names)
    place.mkdir(parents=True, exist_ok=True)
    return place


def versions() -> Mapping[str, str]:
    """The locked versions of what makes the artifact."""
    return {name: _locked()[name] for name in ("conda-lock", "py-rattler", "conda-pack")}


def tools_digest() -> str:
    """A digest of the tools and tasks: what is made by others is made anew."""
    lock = paths.PACKAGE / "resources" / "tools" / "conda.txt"
    return " ".join(tree.sha256(file) for file in (lock, *sorted(RESOURCES.glob("*.py"))))


def without_secrets(text: str) -> str:
    """``text`` with the passwords and tokens of channels' addresses left out."""
    return re.sub(r"(://[^/\s]+)/t/[^/\s]+", r"\1", re.sub(r"://[^/\s@]*@", "://", text))


def task(
    name: str,
    request: Mapping[str, Any],
    *,
    timeout_s: float,
    network: bool = False,
    shows: Sequence[Path] = (),
    writes: Sequence[Path] = (),
) -> dict[str, Any]:
    """Do a task of ``resources/conda/tasks.py``; BuildFailure where it fails. The rest as :func:`run` has it."""
    argv = [str(tools.executable("conda", "python")), str(RESOURCES / "tasks.py"), name]
    stdin = json.dumps(request)
    done = run(argv, stdin=stdin, timeout_s=timeout_s, network=network, shows=shows, writes=writes)
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise BuildFailure(f"conda: {name} ended with exit code {done.returncode}", log=done.output)
    if "error" in answer:
        raise BuildFailure(f"conda: {name}: {answer['error']}", log=done.stderr)
    return answer


def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    network: bool = False,
    shows: Sequence[Path] = (),
    writes: Sequence[Path] = (),
    links: Links = "keep",
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
) -> process.Completed:
    """Run a program of the tool environment; BuildFailure where it takes longer.

    It runs behind the door, sees what it ``shows``, and writes to what it ``writes`` (``links``: as
    :func:`harness.door.opened` has them). What is for fetching, and has the ``network``, runs as ourselves: it reads
    lists of packages and downloads them, and opens none.
    """
    with process.temporary_folder("conda") as scratch:
        composed = (
            process.network_environment(scratch, TMPDIR=str(scratch)) if network else process.environment(scratch)
        )
        # Bytecode beside our own scripts would change the folder that artifacts are keyed by.
        composed |= {"XDG_CACHE_HOME": str(scratch / "cache"), "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
        if network:
            done = _fetched(argv, composed, timeout_s, stdin, scratch)
        else:
            seen = (tools.executable("conda", "python").parent.parent, RESOURCES, *shows)
            with tools.bench("conda", shows=seen, writes=(scratch, *writes), links=links) as bench:
                done = bench.run(argv, env=composed, timeout_s=timeout_s, cwd=scratch, stdin=stdin, fine=None)
    return dataclasses.replace(done, stdout=without_secrets(done.stdout), stderr=without_secrets(done.stderr))


def _fetched(
    argv: Sequence[str], env: Mapping[str, str], timeout_s: float, stdin: str | None, cwd: Path
) -> process.Completed:
    try:
        return process.run(argv, env=env, timeout_s=timeout_s, stdin=stdin, cwd=cwd)
    except process.TimedOut as error:
        raise BuildFailure(f"conda: {error.problem}", log=without_secrets(error.output)) from error


def _locked() -> dict[str, str]:
    lines = (paths.PACKAGE / "resources" / "tools" / "conda.txt").read_text().splitlines()
    pairs = (line.split()[0].split("==") for line in lines if "==" in line and not line.startswith((" ", "#")))
    return dict(pairs)
