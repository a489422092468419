"""``container``: a Docker image, multi-stage, non-root, its bytecode compiled by the interpreter that runs it.

The first stage has uv and the wheels, the last only the base's Python and what was installed. Dependencies
and model are layers of their own, so a change of weights does not make the dependencies travel again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import interpreter, process
from harness.errors import HarnessError, MissingComponent
from harness.methods import layout
from harness.methods.contract import Artifact, Availability, BuildOptions, Installed, Layers, Limit, Limits, Sizes
from harness.methods.serving import SOCKET_NAME, Served
from harness.platforms import builds, containers, engine, images, registry
from harness.sandbox import UNPRIVILEGED_ID
from harness.spec.model import Model
from harness.spec.weights import LockedModel

ID = "container"
FAMILY = "container"
LAYERS = Layers(environment="image", interface="command line, Unix socket", platform="self-hosted, Docker engine")
FIDELITY = "measured"
LIMITS: tuple[Limit, ...] = ()
REQUIREMENTS: tuple[str, ...] = ()
REQUIRES = frozenset({"container-engine"})
PROVIDES = frozenset({"carries-python", "carries-system-libraries", "locked-dependencies", "isolated"})

_REPOSITORY = "ml-packaging-harness"
_SHARED = "/run/harness"  # the folder inside that the socket lies in

_DOCKERFILE = """\
FROM {build_base} AS build
ENV PYC_INVALIDATION_MODE={mode}
COPY wheels /build/wheels
COPY requirements.txt /build/requirements.txt
{install}
COPY model /app/model
{compile}
FROM {base}
COPY --from=build /app/dependencies /app/dependencies
COPY --from=build /app/model /app/model
ENV PYTHONPATH=/app/model:/app/dependencies
USER {user}:{user}
WORKDIR /tmp
ENTRYPOINT [{python}, "-m", "harness_runner"]
CMD ["once"]
"""


def check() -> Availability:
    """Ready where a Docker engine answers, the machine's own or the harness's private one."""
    try:
        engine.connect()
    except HarnessError as error:
        return Availability(ready=False, reason=error.problem, remedy=error.remedy)
    return Availability(ready=True)


def prepare(model: Model) -> None:
    """Make or fetch the base images; MissingComponent where there is no way to get one."""
    _bases(model)


def build(locked: LockedModel, workdir: Path, options: BuildOptions) -> Artifact:
    """An image with a tag of its own, built without the engine's layer cache."""
    running = engine.connect()
    base, build_base = _bases(locked.model)
    context = layout.fresh_folder(workdir, "context")
    (context / "wheels").mkdir()
    for wheel in locked.lock.wheels.iterdir():
        os.link(wheel, context / "wheels" / wheel.name)
    (context / "requirements.txt").write_bytes(locked.lock.requirements.read_bytes())
    layout.write_sources(locked, context / "model", bytecode="none")
    tag = f"{_REPOSITORY}/{locked.model.name}:{hashlib.sha256(str(workdir).encode()).hexdigest()[:12]}"
    text = dockerfile(locked, base, build_base, options)
    built = builds.build_image(running, context, text, tag, no_cache=True)
    return Artifact(
        method=ID,
        model=locked.model.name,
        digest=built.id,
        image=tag,
        facts={"engine": f"{running.kind} {running.version}", "base": base.source, "base_image": base.reference},
    )


def dockerfile(locked: LockedModel, base: images.BaseImage, build_base: images.BaseImage, options: BuildOptions) -> str:
    """The Dockerfile's text."""
    install = ["uv", "pip", "install", "--quiet", "--offline", "--no-cache", "--no-index", "--no-deps"]
    install += ["--require-hashes", "--find-links", "/build/wheels", "--python", build_base.python]
    install += ["--target", "/app/dependencies", "--requirement", "/build/requirements.txt"]
    compiling = [build_base.python, "-m", "compileall", "-q", "--invalidation-mode", options.bytecode, "/app/model"]
    if options.bytecode != "none":
        install.append("--compile-bytecode")
    return _DOCKERFILE.format(
        build_base=build_base.tag,
        base=base.tag,
        mode=options.bytecode.upper().replace("-", "_") if options.bytecode != "none" else "CHECKED_HASH",
        install=_run(install if locked.lock.packages else [build_base.python, "-c", _MAKE_EMPTY]),
        compile=_run(compiling) if options.bytecode != "none" else "",
        user=UNPRIVILEGED_ID,
        python=json.dumps(base.python),
    )


_MAKE_EMPTY = "import os; os.makedirs('/app/dependencies')"


def sizes(artifact: Artifact) -> Sizes:
    """Packed: the compressed layers as a registry stores them, base included. Unpacked: all layers."""
    assert artifact.image is not None
    running = engine.connect()
    unpacked = builds.unpacked_size(running, artifact.image)
    packed: int | None = None
    absent = ""
    try:
        with registry.session() as store:
            packed = registry.push(store, running, artifact.image).packed_bytes
    except MissingComponent as error:
        absent = str(error)
    return Sizes(packed_bytes=packed, unpacked_bytes=unpacked.total_bytes, files=unpacked.files, packed_absent=absent)


def install(artifact: Artifact, target: Path) -> Installed:
    """The image is in the engine already; what its build left besides is removed."""
    assert artifact.image is not None
    running = engine.connect()
    builds.prune_stages(running, artifact.image)
    layers = builds.image_layers(running, artifact.image) or ()
    return Installed(
        artifact=artifact,
        image=artifact.image,
        own_paths=layers,
        cold_paths=layers,
        install_absent="the image is built in the engine that runs it; a pull is not measured yet",
        cold_absent="" if layers else "the engine's layers cannot be seen from here, so their pages cannot be evicted",
    )


@contextmanager
def start(installed: Installed, limits: Limits) -> Iterator[Served]:
    """``docker run --network none --read-only --cap-drop ALL``, the socket in a folder shared with the host."""
    assert installed.image is not None
    running = engine.connect()
    root = os.geteuid() == 0
    user = UNPRIVILEGED_ID if root else os.getuid()
    with process.temporary_folder("instance", readable=True) as scratch:
        shared = scratch / "shared"
        shared.mkdir(mode=0o700)
        if root:
            os.chown(shared, user, user)
        with containers.running(
            running,
            installed.image,
            command=["serve", "--socket", f"{_SHARED}/{SOCKET_NAME}"],
            mounts={shared: _SHARED},
            env={"HOME": "/tmp"},  # noqa: S108 -- inside the container
            memory_bytes=limits.memory_bytes,
            processes=limits.processes,
            cpus=limits.cpus,
            user=f"{user}:{user}",
        ) as container:
            served = Served(container, shared / SOCKET_NAME, limits)
            try:
                yield served
            finally:
                served.close()


def present(artifact: Artifact) -> bool:
    """Whether the engine that is used now has the image, under its tag and with its digest."""
    try:
        return artifact.image is not None and builds.image_id(engine.connect(), artifact.image) == artifact.digest
    except HarnessError:
        return False


def remove(artifact: Artifact) -> None:
    """Delete the image with its tag, and what its build left."""
    assert artifact.image is not None
    running = engine.connect()
    builds.remove_image(running, artifact.image)
    builds.prune_stages(running, artifact.image)


def _bases(model: Model) -> tuple[images.BaseImage, images.BaseImage]:
    running, minor = engine.connect(), interpreter.default().minor
    packages = model.file.system_packages
    return images.base(running, minor, packages=packages), images.build_base(running, minor, packages=packages)


def _run(argv: list[str]) -> str:
    return f"RUN {json.dumps(argv)}"
