"""``lambda-image``: an image with handler, dependencies and Amazon's runtime client, as a function of AWS Lambda.

It starts in the real Runtime Interface Emulator, which is shown to it and not in it, with Lambda's share of
processors for the memory. It is pushed to a real registry, from which a node pulls it; its metadata goes to a
stand-in for AWS. See :mod:`harness.methods.functions` for the user's own account.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from harness.errors import MissingComponent
from harness.methods import functions, imaging
from harness.methods.contract import Artifact, Availability, BuildOptions, Installed, Instance, Layers, Limits, Mends
from harness.platforms import ecr, lambda_runtime
from harness.platforms.depot import Depot
from harness.spec import capabilities
from harness.spec.model import Model
from harness.spec.weights import LockedModel

ID = "lambda-image"
FAMILY = "serverless"
LAYERS = Layers(environment="image", interface="function handler", platform="serverless, AWS Lambda")
FIDELITY = "emulated"
LIMITS = (
    functions.limit(
        "image of a function, all layers unpacked", functions.IMAGE_BYTES, "bytes", metric="unpacked_bytes"
    ),
    *functions.COMMON_LIMITS,
)
REQUIREMENTS = ("awslambdaric==4.2.2; python_version >= '3.10'", "awslambdaric==4.0.4; python_version < '3.10'")
REQUIRES = frozenset({"aws"})
PROVIDES = capabilities.given(LAYERS)
MENDS: frozenset[Mends] = frozenset({"prune", "system"})

RECIPE = imaging.Recipe(
    module="awslambdaric",
    command=[functions.HANDLER],
    packages=[functions.HANDLER_PACKAGE],
    workdir="/app/model",  # the runtime client looks for the handler where it is started
)

#: As with every image.
sizes, present, remove = imaging.sizes, imaging.present, imaging.remove


def check() -> Availability:
    """Ready where a Docker engine is on this machine, we may enter its containers' network, and boto3 is there."""
    return functions.check()


def prepare(model: Model) -> None:
    """Get the emulator and the base images."""
    imaging.prepare(model)
    lambda_runtime.emulator()


def build(locked: LockedModel, workdir: Path, options: BuildOptions) -> Artifact:
    """An image whose entry point is the runtime client, as Lambda wants it."""
    built = imaging.build(ID, RECIPE, locked, workdir, options)
    base, _ = imaging.bases(locked.model, locked.lock.python)
    told = {name: said for name, said in lambda_runtime.facts(base).items() if name == "emulator"}
    runtime = {"runtime_client": f"awslambdaric {dict(locked.lock.packages)['awslambdaric']}"}
    return replace(built, facts={**built.facts, **told, **runtime, **functions.asked_facts(locked)})


def install(artifact: Artifact, target: Path, depot: Depot) -> Installed:
    """Have a node that has nothing pull the image; and tell the stand-in of it.

    In the user's own account: push it to ECR, create a function and wait until AWS calls it active.
    """
    assert artifact.image is not None
    functions.hold_to_limits(artifact)
    if depot.cloud == "real":
        account = depot.account()
        address = ecr.put(account, depot, artifact.image, name=account.name(artifact.model))
        return functions.installed_on_aws(artifact, functions.deploy_image(account, artifact, address))
    installed = imaging.install(artifact, depot, lambda_runtime.emulator())
    return replace(installed, facts={"deployed": _told_to_the_stand_in(artifact, depot)})


def start(installed: Installed, limits: Limits) -> AbstractContextManager[Instance]:
    """The emulator, shown to the image, runs the image's own runtime client, without a network."""
    if installed.elsewhere is not None:
        return installed.elsewhere()
    assert installed.image is not None
    artifact = installed.artifact
    return imaging.serving(
        installed.image,
        functions.as_on_lambda(artifact, limits),
        entrypoint=[lambda_runtime.EMULATOR, "python3", "-m", RECIPE.module, *RECIPE.command],
        http=functions.HTTP,
        port=lambda_runtime.PORT,
        mounts={lambda_runtime.emulator(): lambda_runtime.EMULATOR},
        env=functions.emulator_environment(artifact, limits),
    )


# --- deploying -----------------------------------------------------------------------------------


def _told_to_the_stand_in(artifact: Artifact, depot: Depot) -> str:
    """Register the image's own manifest in moto's ECR, and a function of it in its Lambda, which can't invoke it."""
    assert artifact.image is not None
    try:
        account = depot.account()
        before = set(account.ledger.entries)
        address = ecr.put(account, depot, artifact.image, name=account.name(artifact.model))
    except MissingComponent as error:
        return f"not deployed: {error.problem}"
    deployed = functions.deploy_image(account, artifact, address)
    made = tuple(key for key in account.ledger.entries if key not in before and key[0] != "role")
    functions.clear(replace(deployed, made=made))
    return "metadata to moto's ECR and Lambda, which cannot invoke images"
