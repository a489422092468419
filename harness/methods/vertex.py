"""``vertex``: a custom container for Google's Vertex AI, started here as the platform starts it, model in the image.

Docs: "Custom container requirements for inference"
(https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements). The server in the image is
:mod:`harness.resources.platform_server`. Vertex AI itself is not here: the container is the real one, what the
platform adds before its first line (allocating a machine) and to each request is not in these numbers.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from harness.methods import imaging, platform_server
from harness.methods.contract import Artifact, Availability, BuildOptions, Installed, Layers, Limit, Limits, Mends
from harness.methods.serving import Http, Served
from harness.platforms.depot import Depot
from harness.spec import capabilities
from harness.spec.weights import LockedModel

ID = "vertex"
FAMILY = "cloud-platform"
LAYERS = Layers(environment="image", interface="HTTP API", platform="Google Vertex AI")
FIDELITY = "emulated"
_READ_ON = "2026-11-23"
_CONTAINER = "Google, 'Custom container requirements', cloud.google.com/vertex-ai/docs/predictions"
LIMITS: tuple[Limit, ...] = (
    Limit(
        name="request or answer of an online prediction",
        value=1.5 * 10**6,
        unit="bytes",
        source="Google, 'gcloud ai endpoints predict', cloud.google.com/sdk/gcloud/reference/ai/endpoints/predict",
        read_on=_READ_ON,
    ),
    Limit(
        name="attempts, ten seconds apart, in which the port has to take a connection",
        value=4,
        unit="attempts",
        source=_CONTAINER,
        read_on=_READ_ON,
    ),
)
REQUIREMENTS: tuple[str, ...] = platform_server.REQUIREMENTS
REQUIRES = frozenset({"google-cloud"})
PROVIDES = capabilities.given(LAYERS)
MENDS: frozenset[Mends] = frozenset({"prune", "system"})

RECIPE = imaging.Recipe(module="harness_server.vertex", packages=(platform_server.FOLDER, platform_server.BOUNDS))

_PORT = 8080
_ROUTE = "/v1/endpoints/1/deployedModels/1"
#: What the platform sets (the same document, "Environment variables available in the container").
ENVIRONMENT = {
    "AIP_MODE": "PREDICTION",
    "AIP_FRAMEWORK": "CUSTOM_CONTAINER",
    "AIP_HTTP_PORT": str(_PORT),
    "AIP_HEALTH_ROUTE": _ROUTE,
    "AIP_PREDICT_ROUTE": f"{_ROUTE}:predict",
    "AIP_STORAGE_URI": "",  # where a model is uploaded without artifacts, since the image has them
}

#: As with every image.
prepare, sizes, present, remove = imaging.prepare, imaging.sizes, imaging.present, imaging.remove


def outputs(answer: Any) -> Any:
    """What the runner would say, of ``{"predictions": [...]}``; an error stays as it is."""
    if isinstance(answer, dict) and "predictions" in answer:
        return {"outputs": answer["predictions"]}
    return answer


HTTP = Http(path=ENVIRONMENT["AIP_PREDICT_ROUTE"], ask=lambda inputs: {"instances": inputs}, outputs=outputs)


def check() -> Availability:
    """Ready where a Docker engine answers whose containers' ports can be reached without a network."""
    return imaging.check(port=True)


def build(locked: LockedModel, workdir: Path, options: BuildOptions) -> Artifact:
    """An image with the server, the dependencies and the model."""
    return imaging.build(ID, RECIPE, locked, workdir, options)


def install(artifact: Artifact, target: Path, depot: Depot) -> Installed:
    """Have a node that has nothing pull the image, as a machine of the endpoint does."""
    return imaging.install(artifact, depot)


def start(installed: Installed, limits: Limits) -> AbstractContextManager[Served]:
    """The container as the platform starts it, with ``AIP_...`` set, on a network that leads nowhere."""
    assert installed.image is not None
    return imaging.serving(installed.image, limits, http=HTTP, port=_PORT, env=ENVIRONMENT)
