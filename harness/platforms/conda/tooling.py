"""Conda's tool environment: tasks and programs in it, kept from the network unless they are for fetching."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import interpreter, paths, process, tools
from harness.errors import BuildFailure, MissingComponent
from harness.sandbox import Policy

RESOURCES = paths.PACKAGE / "resources" / "conda"

#: What conda calls the platforms that this method knows.
_PLATFORMS = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}

# Far above what a solver or an installation needs; here to end one that has gone wild.
_MEMORY_BYTES, _PROCESSES, _DISK_BYTES = 4 * 2**30, 512, 64 * 2**30


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
    top.mkdir(mode=0o700, exist_ok=True)
    place = top.joinpath(*names)
    place.mkdir(parents=True, exist_ok=True)
    return place


def versions() -> Mapping[str, str]:
    """The locked versions of what makes the artifact."""
    return {name: _locked()[name] for name in ("conda-lock", "py-rattler", "conda-pack")}


def tools_digest() -> str:
    """A digest of the tools and tasks: what is made by others is made anew."""
    from harness import tree

    lock = paths.PACKAGE / "resources" / "tools" / "conda.txt"
    return " ".join(tree.sha256(file) for file in (lock, *sorted(RESOURCES.glob("*.py"))))


def without_secrets(text: str) -> str:
    """``text`` with the passwords and tokens of channels' addresses left out."""
    return re.sub(r"(://[^/\s]+)/t/[^/\s]+", r"\1", re.sub(r"://[^/\s@]*@", "://", text))


def task(
    name: str, request: Mapping[str, Any], *, timeout_s: float, network: bool = False, needed: Sequence[Path] = ()
) -> dict[str, Any]:
    """Do a task of ``resources/conda/tasks.py``; BuildFailure where it fails. ``needed`` folders may lie below /tmp."""
    argv = [str(tools.executable("conda", "python")), str(RESOURCES / "tasks.py"), name]
    done = run(argv, stdin=json.dumps(request), timeout_s=timeout_s, network=network, needed=needed)
    try:
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise BuildFailure(f"conda: {name} ended with exit code {done.returncode}", log=done.output) from None
    if "error" in answer:
        raise BuildFailure(f"conda: {name}: {answer['error']}", log=done.stderr)
    return answer


def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    network: bool = False,
    needed: Sequence[Path] = (),
    stdin: str | None = None,
    **env: str,
) -> process.Completed:
    """Run a program of the tool environment; BuildFailure where it takes longer."""
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(process.temporary_folder("conda"))
        if network:
            policy, composed = None, {**process.network_environment(scratch), "TMPDIR": str(scratch)}
        else:
            policy, composed = stack.enter_context(_offline(*needed)), process.environment(scratch)
        # Bytecode beside our own scripts would change the folder that artifacts are keyed by.
        composed |= {"XDG_CACHE_HOME": str(scratch / "cache"), "PYTHONDONTWRITEBYTECODE": "1", **env}
        try:
            done = process.run(argv, env=composed, timeout_s=timeout_s, stdin=stdin, cwd=scratch, policy=policy)
        except process.TimedOut as error:
            raise BuildFailure(f"conda: {error.problem}", log=without_secrets(error.output)) from error
    return dataclasses.replace(done, stdout=without_secrets(done.stdout), stderr=without_secrets(done.stderr))


@contextmanager
def _offline(*needed: Path) -> Iterator[Policy]:
    """No network, and no more than a tool needs; as ourselves, since tools write to the harness's own folders."""
    python = interpreter.default()
    # No folder below another: each becomes a mount of its own, and files cannot be linked from one to the other.
    apart = [folder for folder in needed if paths.cache() not in folder.parents]
    visible = (python.path.parent, python.stdlib, paths.cache(), paths.PACKAGE, *apart)
    with process.bounds(
        memory_bytes=_MEMORY_BYTES, processes=_PROCESSES, disk_bytes=_DISK_BYTES, needed=visible
    ) as policy:
        yield dataclasses.replace(policy, user_id=None)


def _locked() -> dict[str, str]:
    lines = (paths.PACKAGE / "resources" / "tools" / "conda.txt").read_text().splitlines()
    pairs = (line.split()[0].split("==") for line in lines if "==" in line and not line.startswith((" ", "#")))
    return dict(pairs)
