"""``sagemaker``: an image with the dependencies and a ``model.tar.gz``, as for a real-time endpoint of SageMaker.

Docs: "Custom Inference Code with Hosting Services"
(https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html): ``docker run IMAGE serve``, port
8080, ``GET /ping``, ``POST /invocations``, the model unpacked at ``/opt/ml/model``. The server in the image is
:mod:`harness.resources.platform_server`. What is deployed (bucket, repository, model, endpoint) goes to a stand-in for
AWS, which has an endpoint in its books and runs nothing; the container is started here, with the model shown to it
read-only. See :mod:`harness.methods.endpoints` for the user's own account.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from harness import process, tree
from harness.errors import HarnessError
from harness.methods import endpoints, imaging, layout, platform_server
from harness.methods.contract import (
    Artifact,
    Availability,
    BuildOptions,
    Installed,
    Instance,
    Layers,
    Limit,
    Limits,
    Mends,
    Sizes,
)
from harness.platforms import aws
from harness.platforms.depot import Depot
from harness.spec import capabilities
from harness.spec.model import Model
from harness.spec.weights import LockedModel

ID = "sagemaker"
FAMILY = "cloud-platform"
LAYERS = Layers(environment="image, model archive", interface="HTTP API", platform="Amazon SageMaker")
FIDELITY = "emulated"
LIMITS: tuple[Limit, ...] = endpoints.LIMITS
REQUIREMENTS: tuple[str, ...] = platform_server.REQUIREMENTS
REQUIRES = frozenset({"aws"})
PROVIDES = capabilities.given(LAYERS)
MENDS: frozenset[Mends] = frozenset({"prune", "system"})

RECIPE = imaging.Recipe(
    module="harness_server.sagemaker",
    command=("serve",),
    packages=(platform_server.FOLDER, platform_server.BOUNDS),
    model=False,
)

_PORT = 8080
_MODEL = "/opt/ml/model"


def check() -> Availability:
    """Ready where a Docker engine answers whose containers' ports can be reached, and boto3 is there."""
    available = imaging.check(port=True)
    if not available.ready:
        return available
    try:
        aws.check()
    except HarnessError as error:
        return Availability(ready=False, reason=error.problem, remedy=error.remedy)
    return available


def prepare(model: Model) -> None:
    """Make or fetch the base images; MissingComponent where there is no way to get one."""
    imaging.prepare(model)


def build(locked: LockedModel, workdir: Path, options: BuildOptions) -> Artifact:
    """The image, without the model, and the model as ``model.tar.gz`` with its bytecode, the same every time."""
    image = imaging.build(ID, RECIPE, locked, workdir, options)
    folder, archive = layout.fresh_folder(workdir, "model"), workdir / "model.tar.gz"
    tree.copy(locked.payload, folder)
    layout.compile_bytecode(folder, python=locked.lock.python, bytecode=options.bytecode, place=_MODEL)
    tree.pack(folder, archive)
    shutil.rmtree(folder)
    return replace(
        image,
        digest=hashlib.sha256(f"{image.digest}\0{tree.sha256(archive)}".encode()).hexdigest(),
        path=archive,
        facts={
            **image.facts,
            "image_id": image.digest,
            "memory_mb": str(locked.model.file.resources.memory_mb),
        },
    )


def sizes(artifact: Artifact, depot: Depot) -> Sizes:
    """Packed: the compressed layers as a registry stores them, and the archive. Unpacked: all layers, and the model."""
    assert artifact.path is not None
    image = imaging.sizes(artifact, depot)
    with tarfile.open(artifact.path, mode="r:gz") as archive:
        members = [member.size for member in archive]
    pieces = {**image.pieces, **tree.pieces(artifact.path)} if image.pieces else {}
    return replace(
        image,
        packed_bytes=sum(pieces.values()) or None,
        pieces=pieces,
        unpacked_bytes=image.unpacked_bytes + sum(members),
        files=image.files + len(members),
    )


def install(artifact: Artifact, target: Path, depot: Depot) -> Installed:
    """What a machine of an endpoint does: pull the image, fetch the model and unpack it. And deploy it, untimed.

    In the user's own account: upload both and have AWS know of them.
    """
    assert artifact.path is not None
    if depot.cloud == "real":
        return endpoints.installed_on_aws(artifact, depot)
    deployed = endpoints.rehearsed(artifact, depot)
    root, copy = target / "model", target / "model.tar.gz"
    pulled = imaging.install(artifact, depot, root)
    fetched = depot.fetch(artifact.path, copy)
    begin = time.monotonic()
    with process.ledger.waiting_for("tools"):
        tree.unpack(copy, root)
    unpacking_s = time.monotonic() - begin
    copy.unlink()
    install_s = None
    if pulled.install_s is not None and fetched.seconds is not None:
        install_s = pulled.install_s + fetched.seconds + unpacking_s
    return replace(
        pulled,
        root=root,
        install_s=install_s,
        install_fidelity=fetched.fidelity,
        install_absent=pulled.install_absent or fetched.absent,
        facts={"deployed": deployed},
    )


def start(installed: Installed, limits: Limits) -> AbstractContextManager[Instance]:
    """``docker run IMAGE serve`` with the model at ``/opt/ml/model``, on a network that leads nowhere."""
    if installed.elsewhere is not None:
        return installed.elsewhere()
    assert installed.image is not None
    assert installed.root is not None
    return imaging.serving(
        installed.image,
        limits,
        command=["serve"],
        http=endpoints.HTTP,
        port=_PORT,
        mounts={installed.root: _MODEL},
    )


def present(artifact: Artifact) -> bool:
    """Whether the archive is there, and the engine that is used now has the image."""
    there = artifact.path is not None and artifact.path.is_file()
    return there and imaging.present(replace(artifact, digest=artifact.facts["image_id"]))


def remove(artifact: Artifact) -> None:
    """Delete the image with its tag, what its build left, and the archive."""
    assert artifact.path is not None
    artifact.path.unlink(missing_ok=True)
    imaging.remove(artifact)
