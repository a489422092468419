"""``azureml``: an image with Azure ML's own inference server and a scoring script, as for a managed online endpoint.

The server is Microsoft's ``azureml-inference-server-http`` itself (Flask in gunicorn), started as
``azmlinfsrv --entry_script score.py`` starts it: ``POST /score``, ``GET /``, ``AZUREML_MODEL_DIR``. Docs: "Debug
scoring scripts by using the Azure Machine Learning inference HTTP server"
(https://learn.microsoft.com/azure/machine-learning/how-to-inference-server-http). Azure itself is not here: what
its router and its machines add is not in these numbers. The phase ``interpreter`` of a start lasts until the worker
reads the scoring script, so the server's own imports are in it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from harness import paths
from harness.methods import imaging, layout
from harness.methods.contract import Artifact, Availability, BuildOptions, Installed, Layers, Limit, Limits, Mends
from harness.methods.serving import Http, Served
from harness.platforms.depot import Depot
from harness.spec import capabilities
from harness.spec.weights import LockedModel

ID = "azureml"
FAMILY = "cloud-platform"
LAYERS = Layers(environment="image", interface="HTTP API", platform="Azure Machine Learning")
FIDELITY = "emulated"
LIMITS: tuple[Limit, ...] = (
    Limit(
        name="time to answer a request, managed online endpoint",
        value=180,
        unit="s",
        source="Microsoft, 'Manage and increase quotas and limits for resources with Azure Machine Learning', "
        "learn.microsoft.com/azure/machine-learning/how-to-manage-quotas",
        read_on="2026-11-23",
    ),
)
REQUIREMENTS: tuple[str, ...] = ("azureml-inference-server-http==1.5.1",)
REQUIRES = frozenset({"azure"})
PROVIDES = capabilities.given(LAYERS)
MENDS: frozenset[Mends] = frozenset({"prune", "system"})

_SCORE = paths.PACKAGE / "resources" / "azureml" / "harness_score"
_INSIDE = "/app/model"  # where imaging puts the model, the runner and packages
_PORT = 5001  # the server's default
RECIPE = imaging.Recipe(
    module="azureml_inference_server_http",
    command=("--entry_script", f"{_INSIDE}/{_SCORE.name}/score.py"),
    packages=(_SCORE,),
    env={
        "AZUREML_MODEL_DIR": f"{_INSIDE}/{layout.MODEL_FOLDER}",
        "AML_APP_ROOT": f"{_INSIDE}/{_SCORE.name}",
    },
)
HTTP = Http(path="/score")

#: As with every image.
prepare, sizes, present, remove = imaging.prepare, imaging.sizes, imaging.present, imaging.remove


def check() -> Availability:
    """Ready where a Docker engine answers whose containers' ports can be reached without a network."""
    return imaging.check(port=True)


def build(locked: LockedModel, workdir: Path, options: BuildOptions) -> Artifact:
    """An image with the server, the scoring script, the dependencies and the model."""
    return imaging.build(ID, RECIPE, locked, workdir, options)


def install(artifact: Artifact, target: Path, depot: Depot) -> Installed:
    """Have a node that has nothing pull the image, as a machine of the deployment does."""
    return imaging.install(artifact, depot)


def start(installed: Installed, limits: Limits) -> AbstractContextManager[Served]:
    """The container with one worker, as the server starts by default, on a network that leads nowhere."""
    assert installed.image is not None
    return imaging.serving(installed.image, limits, http=HTTP, port=_PORT)
