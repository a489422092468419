"""``pex``: one executable file with the model and all its dependencies, built by PEX from the locked wheels.

It needs a Python on the target, unlike what the article says; ``pex --scie`` is another method.
Docs: PEX's ``--venv``, ``--layout``, ``--compile`` and ``PEX_ROOT``.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path

from harness import interpreter, process, sandbox, tools, tree
from harness.errors import BuildFailure
from harness.methods import hosted, layout
from harness.methods.contract import Artifact, Availability, BuildOptions, Installed, Layers, Limit, Limits, Sizes
from harness.methods.serving import Served
from harness.platforms.depot import Depot
from harness.spec.model import Model
from harness.spec.weights import LockedModel

ID = "pex"
FAMILY = "executable"
LAYERS = Layers(environment="single file", interface="command line, Unix socket", platform="self-hosted")
FIDELITY = "measured"
LIMITS: tuple[Limit, ...] = ()
REQUIREMENTS: tuple[str, ...] = ()
REQUIRES = frozenset({"python"})
PROVIDES = frozenset({"locked-dependencies", "single-file"})


def check() -> Availability:
    """Ready wherever uv and an interpreter are; PEX itself is fetched on first use."""
    return hosted.check()


def prepare(model: Model) -> None:
    """Make PEX's own environment; the model itself needs nothing."""
    tools.executable("pex")


def build(locked: LockedModel, workdir: Path, options: BuildOptions) -> Artifact:
    """``MODEL.pex``, whose extraction is a virtual environment below ``PEX_ROOT``."""
    folder = layout.fresh_folder(workdir, "pex")
    sources = folder / "sources"
    layout.write_sources(locked, sources, bytecode=options.bytecode)
    file = folder / f"{locked.model.name}.pex"
    argv = [str(tools.executable("pex")), "--output-file", str(file), "--sources-directory", str(sources)]
    argv += ["--python", str(interpreter.default().path), "--pex-root", str(options.tool_cache)]
    argv += ["--entry-point", "harness_runner", "--venv", "prepend", "--sh-boot", "--no-emit-warnings"]
    argv += ["--no-pypi", "--find-links", str(locked.lock.wheels), "--no-build", "--intransitive"]
    if locked.lock.packages:
        argv += ["--requirement", str(locked.lock.requirements)]
    env = process.environment(folder, SOURCE_DATE_EPOCH=str(tree.FIXED_DATE), PEX_IGNORE_RCFILES="1")
    try:
        done = process.run(argv, env=env, timeout_s=options.timeout_s)
    except process.TimedOut as error:
        raise BuildFailure(f"pex: {error}", log=error.output) from error
    if done.returncode != 0 or not file.is_file():
        raise BuildFailure(f"pex ended with exit code {done.returncode}", log=done.output)
    return Artifact(
        method=ID,
        model=locked.model.name,
        digest=tree.sha256(file),
        path=file,
        facts={
            "pex": tools.version("pex"),
            "interpreter": interpreter.default().version,
            # PEX compiles what it extracts on the first start; that is part of a disk-cold start.
            "bytecode": "made on the first start",
        },
    )


def sizes(artifact: Artifact, depot: Depot) -> Sizes:
    """Packed: the file. Unpacked: the same file, as it lies on the target until its first start."""
    assert artifact.path is not None
    size = artifact.path.stat().st_size
    return Sizes(packed_bytes=size, unpacked_bytes=size, files=1)


def install(artifact: Artifact, target: Path, depot: Depot) -> Installed:
    """Fetch the file; its extraction folder is empty until the first start."""
    extraction = target / "pex_root"
    extraction.mkdir()
    user = sandbox.user_for(target)
    if user is not None:
        os.chown(extraction, user, user)
    return hosted.install_file(artifact, target, depot, extraction_caches=(extraction,))


def start(installed: Installed, limits: Limits) -> AbstractContextManager[Served]:
    """``python MODEL.pex serve``, in bounds."""
    assert installed.root is not None
    assert installed.artifact.path is not None
    argv = [str(interpreter.default().path), str(installed.root / installed.artifact.path.name), "serve"]
    extraction = installed.extraction_caches[0]
    return hosted.serving(
        installed,
        limits,
        lambda socket: [*argv, "--socket", str(socket)],
        writable=[extraction],
        PEX_ROOT=str(extraction),
        PEX_IGNORE_RCFILES="1",
    )


def present(artifact: Artifact) -> bool:
    """Whether it is still there."""
    return hosted.present(artifact)


def remove(artifact: Artifact) -> None:
    """Delete the file."""
    hosted.remove(artifact)
