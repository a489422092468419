"""Amazon's image registry: an image in a new repository of an account.

In the user's own account it is pushed. The stand-in stores no layers: they are in a real registry on loopback, whose
manifest of the image is what the stand-in is given. Pushing to AWS itself was never tried.
"""

from __future__ import annotations

import base64

from harness.errors import BuildFailure
from harness.platforms import aws, engine
from harness.platforms.aws import Account
from harness.platforms.aws_kinds import listed_tags
from harness.platforms.depot import Depot
from harness.platforms.engine import Engine

_TAG = "deployed"


def put(account: Account, depot: Depot, image: str, *, name: str) -> str:
    """The image's address in the new repository ``name`` of the account.

    BuildFailure where AWS refuses it; MissingComponent where there is no registry that could tell its manifest.
    """
    running = engine.connect()
    tags = listed_tags(account.tags)
    made = account.make("repository", name, lambda ecr: ecr.create_repository(repositoryName=name, tags=tags))
    address = str(made["repository"]["repositoryUri"])
    if account.kind == "real":
        _push(account, running, image, address)
    else:
        manifest = depot.manifest(running, image)
        with aws.asking(f"registering the manifest of {image}"):
            account.client("ecr").put_image(repositoryName=name, imageManifest=manifest, imageTag=_TAG)
    return f"{address}:{_TAG}"


def _push(account: Account, running: Engine, image: str, address: str) -> None:
    with aws.asking("asking ECR for a login"):
        given = account.client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
    user, _, password = base64.b64decode(given).decode().partition(":")
    login = {"username": user, "password": password}
    with engine.asking(running, f"pushing {image} to ECR") as asked:
        asked.tag(image, address, _TAG)
        try:
            for answer in asked.push(address, tag=_TAG, stream=True, decode=True, auth_config=login):
                if "error" in answer:
                    raise BuildFailure(f"pushing {image} to ECR failed", log=str(answer["error"]))
        finally:
            asked.remove_image(f"{address}:{_TAG}", noprune=True)
