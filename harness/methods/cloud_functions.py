"""``cloud-functions``: a source folder for Google Cloud Functions, run by Google's own Functions Framework.

What is uploaded is a zip of ``main.py``, ``requirements.txt`` (with hashes) and the model. What Google does with it at
deployment, ``install`` does here: unpack it and install the requirements (Google's buildpack calls ``uv pip install``
and compiles bytecode as well: ``UVInstallRequirements`` in GoogleCloudPlatform/buildpacks, read 2026-11-23), offline
from the wheelhouse. It runs with ``FUNCTION_TARGET`` and ``PORT`` as a process on this host, under the interpreter of
this host, not in an image built by the buildpacks: what Cloud Run adds to a start (fetching its image, the sandbox, the
router) is not in these numbers. The phase ``interpreter`` of a start lasts until the framework reads ``main.py``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from packaging.utils import parse_wheel_filename

from harness import files, interpreter, paths, process, tools, tree
from harness.errors import DoesNotFit
from harness.methods import hosted, lambda_zip, layout, placement, variants
from harness.methods.contract import (
    Artifact,
    Availability,
    BuildOptions,
    Bytecode,
    Installed,
    Layers,
    Limit,
    Limits,
    Mends,
    Sizes,
)
from harness.methods.serving import Http, Served
from harness.platforms import namespaces
from harness.platforms.depot import Depot
from harness.spec import capabilities, environments
from harness.spec.lock import travelling
from harness.spec.locked import Lock
from harness.spec.model import Model
from harness.spec.weights import LockedModel

ID = "cloud-functions"
FAMILY = "serverless"
LAYERS = Layers(environment="source folder", interface="function handler", platform="Google Cloud Functions")
FIDELITY = "emulated"


def _limit(name: str, value: float, unit: str, metric: str = "") -> Limit:
    source = "Google, 'Cloud Run functions: Quotas', docs.cloud.google.com/functions/quotas"
    return Limit(name=name, value=value, unit=unit, source=source, read_on="2026-11-23", metric=metric)  # type: ignore[arg-type]


#: "MB" is taken as 2**20 bytes, so that nothing is called too large that may fit.
LIMITS: tuple[Limit, ...] = (
    _limit("sources, compressed (1st gen; none for 2nd gen)", 100 * 2**20, "bytes", "packed_bytes"),
    _limit("sources plus modules, uncompressed (1st gen; none for 2nd gen)", 500 * 2**20, "bytes", "unpacked_bytes"),
    _limit("memory of an instance (2nd gen; 8 GiB for 1st gen)", 32 * 2**30, "bytes"),
    _limit("request (2nd gen; 10 MB for 1st gen)", 32 * 2**20, "bytes"),
    _limit("time to answer an HTTP request (2nd gen; 540 s for 1st gen)", 3600, "s"),
)
REQUIREMENTS: tuple[str, ...] = ("functions-framework==3.10.2",)
REQUIRES = frozenset({"google-cloud"})
PROVIDES = capabilities.given(LAYERS)
MENDS: frozenset[Mends] = frozenset()

_SOURCE = paths.PACKAGE / "resources" / "cloud_functions"
_TARGET = "predict"
_INSTALLED = "installed.txt"
_WORKSPACE = "/workspace"  # where Google's buildpacks have the source
_PORT = 8080
_MEMORY = LIMITS[2]
_DEPLOY_TIMEOUT_S = 900.0
HTTP = Http(path="/")


def check() -> Availability:
    """Ready where uv and an interpreter are, and where a server that only speaks TCP can be reached."""
    found = hosted.check()
    why = namespaces.check() if found.ready else ""
    if why:
        reason = f"its server can't be reached without a network: {why}"
        return Availability(ready=False, reason=reason, remedy=namespaces.REMEDY)
    return found


def prepare(model: Model) -> None:
    """Nothing is needed besides uv, which comes with the harness."""


def build(locked: LockedModel, workdir: Path, options: BuildOptions) -> Artifact:
    """A folder ``source/``; beside it, as a stand-in for the package index, the wheels that its lock names.

    Its lock names a package that was built here by the source distribution, which Google would build again. The lock
    with the wheel's own digest then lies beside it too.
    """
    variants.require(ID, options, locked.model)
    folder = layout.fresh_folder(workdir, ID)
    source, wheels = folder / "source", folder / "wheels"
    layout.write_sources(locked, source, bytecode="none")
    tree.copy(_SOURCE, source, keep=lambda relative: "__pycache__" not in relative.parts)
    layout.compile_bytecode(source, python=locked.lock.python, bytecode=options.bytecode, place=_WORKSPACE)
    (source / "requirements.txt").write_text(travelling(locked.lock, locked.model), encoding="utf-8")
    if locked.lock.sources:
        (folder / _INSTALLED).write_bytes(locked.lock.requirements.read_bytes())
    os.utime(source / "requirements.txt", (tree.FIXED_DATE, tree.FIXED_DATE))
    wheels.mkdir()
    for wheel in locked.lock.wheels.iterdir():
        os.link(wheel, wheels / wheel.name)
    return Artifact(
        method=ID,
        model=locked.model.name,
        digest=tree.digest(source),
        path=source,
        python=locked.lock.python.path,
        facts={
            "uv": tools.uv_version(),
            "interpreter": locked.lock.python.version,
            "functions-framework": dict(locked.lock.packages)["functions-framework"],
            **placement.facts(locked, options),
            "memory_mb": str(locked.model.file.resources.memory_mb),
            **_built_again(locked.lock),
        },
    )


def _built_again(lock: Lock) -> dict[str, str]:
    """The fact that the platform builds anew what was built once here; none where an index has all wheels."""
    names = ", ".join(sorted(lock.built_from_source))
    return {"built_at_deployment": f"{names}; installed as it was built here, which takes no time"} if names else {}


def sizes(artifact: Artifact, depot: Depot) -> Sizes:
    """Packed: the zip that is uploaded. Unpacked: sources and modules as deployed, without the interpreter."""
    archive = archive_of(artifact)
    with process.temporary_folder("deployed") as scratch:
        deploy(artifact, archive, scratch / "app")
        unpacked_bytes, files = tree.size(scratch / "app")
    return hosted.sizes_of_file(archive, unpacked_bytes=unpacked_bytes, files=files)


def install(artifact: Artifact, target: Path, depot: Depot) -> Installed:
    """Fetch the zip and do what the deployment does: that is timed, without downloading packages.

    DoesNotFit where the model wants more memory than an instance can have.
    """
    memory_bytes = int(artifact.facts["memory_mb"]) * 2**20
    if memory_bytes > _MEMORY.value:
        raise DoesNotFit(
            f"does not fit: resources.memory_mb is {memory_bytes / 2**30:.0f} GiB of {_MEMORY.value / 2**30:.0f} GiB "
            f"({_MEMORY.name}; {_MEMORY.source})"
        )
    root, copy = target / "app", target / "fetched.zip"
    fetched = depot.fetch(archive_of(artifact), copy)
    begin = time.monotonic()
    deploy(artifact, copy, root)
    deploying_s = time.monotonic() - begin
    copy.unlink()
    return hosted.installed_at(artifact, root, fetched=fetched, unpacking_s=deploying_s)


def start(installed: Installed, limits: Limits) -> AbstractContextManager[Served]:
    """``functions-framework``, as a function's container starts it, in bounds: gunicorn with one worker."""
    assert installed.root is not None
    return hosted.serving(
        installed,
        limits,
        lambda _: [f"{installed.root}/modules/bin/python", "-m", "functions_framework"],
        http=HTTP,
        port=_PORT,
        PORT=str(_PORT),
        FUNCTION_TARGET=_TARGET,
        FUNCTION_SIGNATURE_TYPE="http",
        FUNCTION_SOURCE=f"{installed.root}/source/main.py",
    )


def present(artifact: Artifact) -> bool:
    """Whether it is still there, with the wheels that its deployment needs."""
    return artifact.path is not None and artifact.path.is_dir() and (artifact.path.parent / "wheels").is_dir()


def remove(artifact: Artifact) -> None:
    """Delete the folder with all that lies beside it."""
    assert artifact.path is not None
    files.remove(artifact.path.parent)


def archive_of(artifact: Artifact) -> Path:
    """The source folder as a zip beside it, made where it is not there yet; the same bytes every time."""
    assert artifact.path is not None
    archive = artifact.path.with_name("source.zip")
    if not archive.is_file():
        with process.ledger.waiting_for("tools"):
            lambda_zip.pack(artifact.path, archive)
    return archive


def deploy(artifact: Artifact, archive: Path, root: Path) -> None:
    """Do what the platform does with the uploaded zip: ``root/source`` and ``root/modules``, readable by all."""
    bytecode: Bytecode = artifact.facts["bytecode"]  # type: ignore[assignment]  # build() wrote it
    source = root / "source"
    with process.ledger.waiting_for("tools"):
        lambda_zip.unpack(archive, source)
    root.chmod(0o755)
    with process.temporary_folder("tool-cache") as cache:
        lock = _lock_of(artifact, source)
        environments.install(lock, root / "modules", cache=cache, bytecode=bytecode, timeout_s=_DEPLOY_TIMEOUT_S)


def _lock_of(artifact: Artifact, source: Path) -> Lock:
    """The lock that travels in the source, with the wheels that lie beside the artifact, some of them built here."""
    assert artifact.path is not None
    assert artifact.python is not None
    own, uploaded = artifact.path.parent / _INSTALLED, source / "requirements.txt"
    wheels: Sequence[Path] = sorted((artifact.path.parent / "wheels").iterdir())
    named = [parse_wheel_filename(wheel.name) for wheel in wheels]
    return Lock(
        python=interpreter.described(artifact.python),
        requirements=own if own.is_file() else uploaded,
        wheels=artifact.path.parent / "wheels",
        digest=tree.sha256(uploaded),
        packages=tuple((str(name), str(version)) for name, version, _, _ in named),
        wheel_bytes=sum(wheel.stat().st_size for wheel in wheels),
        download_s=None,
    )
