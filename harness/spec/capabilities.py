"""Which layer of a method has which quality, with the source of each statement and the date on which it was read.

A scenario *needs* qualities; a method has those of its layers. Nothing else says what a method has: ``PROVIDES`` of
each module in ``methods/`` is :func:`given` its ``LAYERS``, so a method made of known layers needs no line here.

A quality is the layer's as this harness uses it, not all that a vendor sells: SageMaker has endpoints that scale to
zero, but not of the kind that the method ``sagemaker`` makes. What can be measured is a metric and not here: whether
two builds are the same, how large, how fast. An account at a vendor is not a quality either; it is what a method
requires and a target has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from harness.spec.scenario import Quality

#: What each quality means, as it goes on after "it has to ...".
QUALITIES: Mapping[Quality, str] = {
    "carries-python": "run where no Python is installed",
    "carries-system-libraries": "bring the operating system's libraries along, the C library too",
    "locked-dependencies": "pin every dependency by a hash that is checked when it is installed",
    "single-file": "be one file that is deployed and run as it is, with nothing to unpack",
    "http-api": "be called by other programs over HTTP; a vendor may ask for a key or a signature",
    "form-page": "be used in a browser by a person who writes no code",
    "isolated": "be separated from the machine's files, processes and network by the platform itself",
    "offline-install": "be installed from what was carried there, without any network",
    "scales-to-zero": "run nothing and cost nothing for computing while nobody asks, and answer when somebody does",
    "autoscaling": "have instances added when more is asked and taken away when less, by the platform itself",
    "managed-monitoring": "have requests, errors and times recorded by the platform, with nothing installed for it",
    "rollback": "have earlier versions kept by the platform, which can send requests back to them",
    "managed-patching": "have operating system and Python patched by the platform, with nothing built anew",
}


class Layered(Protocol):
    """The layers of a method; :class:`harness.methods.contract.Layers` is one."""

    @property
    def environment(self) -> str:
        """What carries the model and its dependencies."""

    @property
    def interface(self) -> str:
        """How it is asked."""

    @property
    def platform(self) -> str:
        """What it runs on."""


@dataclass(frozen=True, kw_only=True)
class Capability:
    """That a layer has a quality or lacks it: why, who says so, and when that was read.

    ``layers`` are named as methods name them in their ``LAYERS``.
    """

    layers: tuple[str, ...]
    has: bool
    statement: str
    source: str
    read_on: str


# The layers, as the methods name them.
_IMAGES = ("image", "image, model archive")
_VENV = "virtual environment"
_CONDA = "conda environment"
_FILE = "single file"
_OWN_PYTHON = ("single file with its own Python", "folder with its own Python")
_ZIP = "zip archive"
_SOURCE = "source folder"
_COMMAND = "command line, Unix socket"
_HTTP = "HTTP API"
_FORM = "HTTP API, form page"
_HANDLER = "function handler"
_HOST = "self-hosted"
_DOCKER = "self-hosted, Docker engine"
_LAMBDA = "serverless, AWS Lambda"
_FUNCTIONS = "Google Cloud Functions"
_SAGEMAKER = "Amazon SageMaker"
_VERTEX = "Google Vertex AI"
_AZUREML = "Azure Machine Learning"

_AWS = "https://docs.aws.amazon.com"
_GOOGLE = "https://cloud.google.com"
_AZURE = "https://learn.microsoft.com/azure/machine-learning"
_OURS = "docs/methods.md of this project"
_SELF = "docs/scenarios.md of this project, what 'self-hosted' means"


def _has(*layers: str, why: str, source: str, read_on: str = "2026-11-23") -> Capability:
    return Capability(layers=layers, has=True, statement=why, source=source, read_on=read_on)


def _lacks(*layers: str, why: str, source: str, read_on: str = "2026-11-23") -> Capability:
    return Capability(layers=layers, has=False, statement=why, source=source, read_on=read_on)


#: For each quality, the layers that decide about it. A method has it where one of its layers has.
CAPABILITIES: Mapping[Quality, tuple[Capability, ...]] = {
    "carries-python": (
        _has(*_IMAGES, why="the image has its own interpreter", source=f"{_OURS}, 'container'"),
        _has(
            _CONDA,
            why="Python is a package of the environment; conda-pack is made for places that have neither it nor conda",
            source="conda-pack, https://anaconda.org/ctools/conda-pack",
        ),
        _has(
            *_OWN_PYTHON,
            why="the interpreter is packed with the program",
            source=f"{_OURS}, 'pex-scie' and 'pyinstaller'",
        ),
        _lacks(_VENV, why="the interpreter is the target's", source=f"{_OURS}, 'venv'"),
        _lacks(
            _FILE,
            why="the file begins with a line that looks for the target's Python",
            source="PEX, https://github.com/pex-tool/pex/issues/1007",
        ),
        _lacks(_ZIP, _SOURCE, why="the platform's runtime has the interpreter", source=f"{_OURS}, 'lambda-zip'"),
    ),
    "carries-system-libraries": (
        _has(*_IMAGES, why="the image has a whole system but the kernel", source=f"{_OURS}, 'container'"),
        _lacks(
            _CONDA,
            why="many libraries are packages of the environment, the C library is the target's",
            source=f"{_OURS}, 'conda'; the virtual package __glibc",
        ),
        _lacks(
            *_OWN_PYTHON,
            why="the C library is the target's and must not be older than the build machine's",
            source="PyInstaller, https://pyinstaller.org/en/stable/usage.html#making-gnu-linux-apps-forward-compatible",
        ),
        _lacks(
            *(_VENV, _FILE),
            why="what the wheels do not bring has to be on the target",
            source=f"{_OURS}, 'venv' and 'pex'",
        ),
        _lacks(
            *(_ZIP, _SOURCE),
            why="what the wheels do not bring has to be in the platform's runtime",
            source=f"{_OURS}, 'lambda-zip' and 'cloud-functions'",
        ),
    ),
    "locked-dependencies": (
        _has(
            *(*_IMAGES, _VENV, _FILE, *_OWN_PYTHON, _ZIP, _SOURCE),
            why="installed from wheels whose sha256 the model's lock names",
            source=f"{_OURS}, 'What they have in common'",
        ),
        _has(_CONDA, why="installed from packages whose sha256 conda-lock's file names", source=f"{_OURS}, 'conda'"),
    ),
    "single-file": (
        _has(_FILE, why="one executable file", source=f"{_OURS}, 'pex'"),
        _has(_OWN_PYTHON[0], why="one executable file", source=f"{_OURS}, 'pex-scie' and 'pyinstaller-onefile'"),
        _has(_ZIP, why="one zip that the platform takes as it is", source=f"{_OURS}, 'lambda-zip'"),
        _lacks(
            *_IMAGES,
            why="layers and a manifest in a registry; an archive of it has to be loaded first",
            source=f"{_OURS}, 'container'",
        ),
        _lacks(
            *(_VENV, _CONDA, _OWN_PYTHON[1]),
            why="a folder, which travels as an archive and has to be unpacked",
            source=f"{_OURS}, 'venv', 'conda' and 'pyinstaller'",
        ),
        _lacks(_SOURCE, why="a folder from which the platform builds an image", source=f"{_OURS}, 'cloud-functions'"),
    ),
    "http-api": (
        _has(_HTTP, why="it answers POST requests with JSON", source=f"{_OURS}, 'sagemaker', 'vertex' and 'azureml'"),
        _has(_FORM, why="POST /predict, described by OpenAPI", source=f"{_OURS}, 'rest-api'"),
        _has(
            _FUNCTIONS,
            why="a function with an HTTP trigger has an address that is called",
            source=f"{_OURS}, 'cloud-functions'",
        ),
        _has(
            _LAMBDA,
            why="Invoke is a signed HTTPS request; its body is the event, the answer's body is the answer",
            source=f"{_AWS}/cli/latest/reference/lambda/invoke.html",
        ),
        _lacks(_COMMAND, why="it speaks on standard input and on a Unix socket", source=f"{_OURS}, 'container'"),
    ),
    "form-page": (
        _has(_FORM, why="GET / is a page with a form", source=f"{_OURS}, 'rest-api'"),
        _lacks(*(_COMMAND, _HTTP, _HANDLER), why="it has no page", source=f"{_OURS}, 'What they have in common'"),
    ),
    "isolated": (
        _has(
            _DOCKER,
            why="namespaces and control groups of its own for each container",
            source="Docker, https://docs.docker.com/engine/security",
        ),
        _has(
            _LAMBDA,
            why="namespaces, control groups and Firecracker around each execution environment",
            source=f"{_AWS}/whitepapers/latest/security-overview-aws-lambda/lambda-isolation-technologies.html",
        ),
        _has(
            _FUNCTIONS,
            why="each function runs in its own isolated execution context",
            source=f"{_GOOGLE}/functions/docs/concepts/execution-environment",
        ),
        _has(
            _SAGEMAKER,
            why="the platform runs the image as a container",
            source=f"{_AWS}/sagemaker/latest/dg/your-algorithms-inference-code.html",
        ),
        _has(
            _VERTEX,
            why="the platform runs the image as a container",
            source=f"{_GOOGLE}/vertex-ai/docs/predictions/custom-container-requirements",
        ),
        _has(
            _AZUREML,
            why="the platform runs the image as a container, whose output it logs",
            source="https://learn.microsoft.com/azure/azure-monitor/reference/supported-logs/"
            "microsoft-machinelearningservices-workspaces-onlineendpoints-logs",
        ),
        _lacks(
            _HOST,
            why="a process like any other; what keeps it in bounds is up to the target's owner",
            source=f"{_OURS}, 'What they have in common'",
        ),
    ),
    "offline-install": (
        _has(
            _HOST,
            why="it is copied there and unpacked; all that the target does not have is in it",
            source=f"{_OURS}, 'by hand' of each method; tests/real/test_package.py runs those commands",
        ),
        _has(
            _DOCKER,
            why="'docker load' reads the image from an archive",
            source=f"{_OURS}, 'container by hand'; tests/real/test_package.py runs those commands",
        ),
        _lacks(
            *(_LAMBDA, _FUNCTIONS, _SAGEMAKER, _VERTEX, _AZUREML),
            why="it is deployed through the vendor's network interface, to the vendor's machines",
            source=f"{_OURS}, 'by hand' of each method",
        ),
    ),
    "scales-to-zero": (
        _has(
            _LAMBDA,
            why="there is no charge while the code does not run",
            source="https://aws.amazon.com/documentation/lambda",
        ),
        _has(
            _FUNCTIONS,
            why="a revision without requests is scaled in to zero instances, unless a minimum is set",
            source=f"{_GOOGLE}/run/docs/about-instance-autoscaling",
        ),
        _lacks(
            _SAGEMAKER,
            why="only endpoints of inference components scale to zero; this one has a variant with instances",
            source=f"{_AWS}/sagemaker/latest/dg/endpoint-auto-scaling-zero-instances.html",
        ),
        _lacks(
            _VERTEX,
            why="at least one replica, other than with a feature in preview",
            source=f"{_GOOGLE}/vertex-ai/docs/predictions/autoscaling",
        ),
        _lacks(
            _AZUREML,
            why="autoscaling goes by rules on the instances' own load, between a smallest and a largest count; "
            "its page names no way to none and back",
            source=f"{_AZURE}/how-to-autoscale-endpoints",
        ),
        _lacks(
            *(_HOST, _DOCKER),
            why="the machine is there, and paid for, whether it is asked or not",
            source=_SELF,
        ),
    ),
    "autoscaling": (
        _has(
            _LAMBDA,
            why="an execution environment for each request under way, up to the account's quota",
            source=f"{_AWS}/lambda/latest/dg/lambda-concurrency.html",
        ),
        _has(
            _FUNCTIONS,
            why="instances are added and removed with requests and load",
            source=f"{_GOOGLE}/run/docs/about-instance-autoscaling",
        ),
        _has(
            _SAGEMAKER,
            why="instances of a variant follow the load once a scaling policy is set",
            source=f"{_AWS}/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html",
        ),
        _has(
            _VERTEX,
            why="replicas between a smallest and a largest count",
            source=f"{_GOOGLE}/vertex-ai/docs/predictions/autoscaling",
        ),
        _has(
            _AZUREML,
            why="instances follow metrics or a schedule once an autoscale profile is set",
            source=f"{_AZURE}/how-to-autoscale-endpoints",
        ),
        _lacks(
            *(_HOST, _DOCKER),
            why="one instance runs for each that somebody starts; an orchestrator is not part of it",
            source=_SELF,
        ),
    ),
    "managed-monitoring": (
        _has(
            _LAMBDA,
            why="metrics of each invocation are sent to CloudWatch, with no permission and at no charge",
            source=f"{_AWS}/lambda/latest/dg/monitoring-metrics.html",
        ),
        _has(
            _FUNCTIONS,
            why="it runs on Cloud Run, whose metrics are captured with no setup",
            source=f"{_GOOGLE}/run/docs/monitoring",
        ),
        _has(
            _SAGEMAKER,
            why="endpoints have invocation and utilisation metrics in CloudWatch",
            source=f"{_AWS}/sagemaker/latest/dg/monitoring-cloudwatch-enhanced-metrics.html",
        ),
        _has(
            _VERTEX,
            why="metrics of endpoints are exported to Cloud Monitoring",
            source="https://docs.cloud.google.com/gemini-enterprise-agent-platform/machine-learning/"
            "general/monitoring-metrics",
        ),
        _has(
            _AZUREML,
            why="Azure Monitor has metrics of endpoints and deployments",
            source="https://learn.microsoft.com/azure/azure-monitor/reference/supported-metrics/"
            "microsoft-machinelearningservices-workspaces-onlineendpoints-deployments-metrics",
        ),
        _lacks(
            *(_HOST, _DOCKER),
            why="nothing watches it that its owner has not installed",
            source=_SELF,
        ),
    ),
    "rollback": (
        _has(
            _LAMBDA,
            why="published versions stay, and an alias leads requests to one or two of them by weight",
            source=f"{_AWS}/AWSCloudFormation/latest/UserGuide/"
            "aws-properties-lambda-alias-aliasroutingconfiguration.html",
        ),
        _has(
            _FUNCTIONS,
            why="it runs on Cloud Run, where requests can be led back to an earlier revision",
            source=f"{_GOOGLE}/run/docs/rollouts-rollbacks-traffic-migration",
        ),
        _has(
            _SAGEMAKER,
            why="an update is blue/green, with a rollback by alarm where one is set",
            source=f"{_AWS}/sagemaker/latest/dg/deployment-guardrails.html",
        ),
        _has(
            _VERTEX,
            why="several models at one endpoint, with the share of requests of each",
            source=f"{_GOOGLE}/vertex-ai/docs/general/deployment",
        ),
        _has(
            _AZUREML,
            why="several deployments at one endpoint, with the share of requests of each",
            source=f"{_AZURE}/how-to-safely-rollout-online-endpoints",
        ),
        _lacks(
            *(_HOST, _DOCKER),
            why="the version that runs is the one that was put there; keeping others is up to its owner",
            source=_SELF,
        ),
    ),
    "managed-patching": (
        _has(
            _ZIP,
            why="AWS applies updates of a managed runtime by default",
            source=f"{_AWS}/lambda/latest/dg/runtimes-update.html",
        ),
        _has(
            _SOURCE,
            why="Google rolls out patched runtime images by default",
            source=f"{_GOOGLE}/functions/docs/securing/execution-environment-security",
        ),
        _lacks(
            *_IMAGES,
            why="system and Python are in the image: a patch is a new image, on a managed platform too",
            source=f"{_AWS}/lambda/latest/dg/runtimes-update.html",
        ),
        _lacks(
            *(_CONDA, *_OWN_PYTHON),
            why="Python is in it: a patch is a new build",
            source=f"{_OURS}, 'conda' and 'pyinstaller'",
        ),
        _lacks(
            *(_VENV, _FILE),
            why="system and Python are the target's, to be patched by its owner",
            source=f"{_OURS}, 'venv' and 'pex'",
        ),
    ),
}


def about(quality: Quality, layers: Layered) -> tuple[Capability, ...]:
    """What is stated of these layers about ``quality``: first what they have."""
    names = {layers.environment, layers.interface, layers.platform}
    found = [one for one in CAPABILITIES[quality] if names & set(one.layers)]
    return tuple(sorted(found, key=lambda one: not one.has))


def given(layers: Layered) -> frozenset[Quality]:
    """The qualities of a method made of ``layers``. What nobody states, it lacks."""
    return frozenset(quality for quality in CAPABILITIES if any(one.has for one in about(quality, layers)))
