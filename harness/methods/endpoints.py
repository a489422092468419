"""SageMaker's endpoints: their limits, how they are asked, and how a model is deployed to an account.

On this machine the container of an endpoint is started by :mod:`harness.methods.sagemaker`; what is deployed goes to
a stand-in for AWS, whose ``invoke_endpoint`` runs nothing. With the user's own account an endpoint is created for each
start, asked through AWS, and deleted. That part was tried against the stand-in only, never against AWS itself.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from harness import process
from harness.errors import BuildFailure, DoesNotFit, MissingComponent, ModelFailure
from harness.methods import messages
from harness.methods.contract import Artifact, Installed, Limit, Stamps, Usage
from harness.methods.messages import Told
from harness.methods.serving import Http
from harness.platforms import aws, ecr, s3
from harness.platforms.aws import Account
from harness.platforms.aws_kinds import PREFIX, listed_tags, role_policy
from harness.platforms.depot import Depot
from harness.spec.model import Json

_GUIDE = "Amazon SageMaker AI Developer Guide, https://docs.aws.amazon.com/sagemaker/latest/dg"
_READ_ON = "2026-11-23"


def _limit(name: str, value: float, unit: str, page: str) -> Limit:
    return Limit(name=name, value=value, unit=unit, source=f"{_GUIDE}/{page}.html", read_on=_READ_ON)


#: Those of a real-time endpoint, which the method is; those of a serverless one are told, for comparison.
LIMITS = (
    # The same number is the service model's (botocore 1.44, sagemaker-runtime, BodyBlob).
    _limit("request of a real-time endpoint", 6 * 2**20, "bytes", "deploy-model-options"),
    _limit("time to answer a request", 60, "s", "your-algorithms-inference-code"),
    _limit("time to answer a ping", 2, "s", "your-algorithms-inference-code"),
    _limit("memory of a serverless endpoint, at least", 1024, "MB", "serverless-endpoints"),
    _limit("memory of a serverless endpoint, at most", 6144, "MB", "serverless-endpoints"),
    _limit("space on the disk of a serverless endpoint", 5 * 2**30, "bytes", "serverless-endpoints"),
    _limit("request or answer of a serverless endpoint", 4 * 2**20, "bytes", "serverless-endpoints-invoke"),
    _limit("time until a serverless endpoint answers its first ping", 180, "s", "serverless-endpoints-invoke"),
)

#: How a container is asked; the harness's question for facts goes the same way, since AWS lets no other through.
HTTP = Http(path="/invocations")

#: General-purpose machines for endpoints by their memory in MiB (EC2's m5 family, whose sizes these are).
_MACHINES = (("ml.m5.large", 8192), ("ml.m5.xlarge", 16384), ("ml.m5.2xlarge", 32768), ("ml.m5.4xlarge", 65536))

_LOGS = "/aws/sagemaker/Endpoints"  # where SageMaker puts what containers print
_POLL_S, _IN_SERVICE_S = 15, 1800  # seconds between looks at an endpoint, and until it is given up
_ROLE_S = 60.0  # how long AWS may take until a new role can be taken on


def machine(memory_mb: int) -> str:
    """The smallest machine with that much memory. DoesNotFit where there is none."""
    for name, has_mb in _MACHINES:
        if memory_mb <= has_mb:
            return name
    raise DoesNotFit(
        f"does not fit: resources.memory_mb is {memory_mb}, and {_MACHINES[-1][0]} has {_MACHINES[-1][1]}",
        remedy="change resources.memory_mb in model.toml",
    )


# --- deploying -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """An endpoint's configuration in an account, ready to make endpoints of.

    ``seconds`` is from the start of the upload until the configuration was there.
    """

    account: Account
    config: str
    machine: str
    seconds: float


def deploy(account: Account, depot: Depot, artifact: Artifact) -> Deployed:
    """Upload image and model; have SageMaker know the model, and a configuration that names a machine."""
    assert artifact.image is not None
    assert artifact.path is not None
    begin = time.monotonic()
    kind = machine(int(artifact.facts["memory_mb"]))
    bucket, key = s3.put(account, artifact.path, name=account.name("model"))
    image = ecr.put(account, depot, artifact.image, name=account.name("image"))
    role = _role(account, bucket)
    model, config = account.name(artifact.model), account.name(f"{artifact.model}-config")
    tags = listed_tags(account.tags)
    _create_model(
        account,
        ModelName=model,
        PrimaryContainer={"Image": image, "ModelDataUrl": f"s3://{bucket}/{key}"},
        ExecutionRoleArn=role,
        Tags=tags,
    )
    variant = {"VariantName": "only", "ModelName": model, "InitialInstanceCount": 1, "InstanceType": kind}
    account.make(
        "endpoint-config",
        config,
        lambda client: client.create_endpoint_config(
            EndpointConfigName=config, ProductionVariants=[variant], Tags=tags
        ),
    )
    return Deployed(account=account, config=config, machine=kind, seconds=time.monotonic() - begin)


@contextmanager
def endpoint(deployed: Deployed) -> Iterator[str]:
    """An endpoint that is in service; it is deleted afterwards. BuildFailure where AWS can't start it."""
    account = deployed.account
    name = account.name("endpoint")
    tags = listed_tags(account.tags)
    group = f"{_LOGS}/{name}"  # SageMaker would make one without our tag, and leave it
    account.make("log-group", group, lambda logs: logs.create_log_group(logGroupName=group, tags=account.tags))
    try:
        account.make(
            "endpoint",
            name,
            lambda client: client.create_endpoint(EndpointName=name, EndpointConfigName=deployed.config, Tags=tags),
        )
        with aws.asking(f"waiting for the endpoint {name}"):
            waiter = account.client("sagemaker").get_waiter("endpoint_in_service")
            waiter.wait(EndpointName=name, WaiterConfig={"Delay": _POLL_S, "MaxAttempts": _IN_SERVICE_S // _POLL_S})
        yield name
    finally:
        with process.uninterrupted():
            for made in (("endpoint", name), ("log-group", group)):
                if made in account.ledger.entries:
                    account.delete(*made)


def rehearsed(artifact: Artifact, depot: Depot) -> str:
    """Deploy to the stand-in until an endpoint is in service, then delete everything; how that went."""
    try:
        account = depot.account()
        before = set(account.ledger.entries)
        try:
            deployed = deploy(account, depot, artifact)
            with endpoint(deployed) as name, aws.asking(f"describing the endpoint {name}"):
                found = account.client("sagemaker").describe_endpoint(EndpointName=name)
        finally:
            for made in reversed([entry for entry in account.ledger.entries if entry not in before]):
                account.delete(*made)
    except MissingComponent as error:
        return f"not deployed: {error.problem}"
    return f"to moto's SageMaker: an endpoint of one {deployed.machine}, {found['EndpointStatus']}"


def _role(account: Account, bucket: str) -> str:
    """The role that SageMaker takes on: the user's, else one that may read this model and this image only."""
    if account.role:
        return account.role
    name, trust, tags = account.name("sagemaker"), role_policy("sagemaker"), listed_tags(account.tags)
    account.make("role", name, lambda iam: iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust, Tags=tags))
    logs = f"arn:aws:logs:{account.region}:{account.number}:log-group:{_LOGS}/{PREFIX}{account.run}-*"
    repositories = f"arn:aws:ecr:{account.region}:{account.number}:repository/{PREFIX}{account.run}-*"
    images = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"]
    allowed = (
        (["s3:GetObject"], f"arn:aws:s3:::{bucket}/*"),
        (["s3:ListBucket"], f"arn:aws:s3:::{bucket}"),
        (images, repositories),
        (["ecr:GetAuthorizationToken"], "*"),
        (["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"], logs),
    )
    statements = [{"Effect": "Allow", "Action": actions, "Resource": resource} for actions, resource in allowed]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    with aws.asking(f"allowing the role {name} to read the model"):
        iam = account.client("iam")
        iam.put_role_policy(RoleName=name, PolicyName="read", PolicyDocument=policy)
        return str(iam.get_role(RoleName=name)["Role"]["Arn"])


def _create_model(account: Account, **asked: Any) -> None:
    deadline = time.monotonic() + _ROLE_S
    while True:
        try:
            account.make("model", asked["ModelName"], lambda client: client.create_model(**asked))
            return
        except BuildFailure as error:
            if "assume" not in error.log.lower() or time.monotonic() > deadline:
                raise
            time.sleep(2)  # a new role takes a while to be known everywhere


# --- on the user's own account -------------------------------------------------------------------


class OnEndpoint:
    """A model on an endpoint in the user's account: its start is from asking for the endpoint to the first answer."""

    def __init__(self, account: Account, name: str, spawned_s: float) -> None:
        self._account, self._name, self._spawned_s = account, name, spawned_s
        self._told: Told | None = None
        self._answered_s = 0.0
        self._moved_s = 0.0

    def predict(self, inputs: Sequence[Json]) -> list[Json]:
        """The model's answers, through AWS."""
        answer = self._ask({"inputs": list(inputs)})
        self._answered_s = self._answered_s or time.monotonic()
        return messages.outputs(answer, len(inputs))

    def stamps(self) -> Stamps:
        """The phases by the container's own clock, moved to ours by the moment at which it was asked for the time.

        What comes before its first line (a machine, the image, the model's archive) is the phase ``sandbox``.
        """
        inside = self._asked().stamps
        ours = {phase: inside[phase] + self._moved_s for phase in ("interpreter", "imports", "weights")}
        spawned_s, answered_s = self._spawned_s, self._answered_s
        return messages.stamped(ours, spawned_s=spawned_s, sandbox_s=math.inf, answered_s=answered_s)

    def usage(self) -> Usage:
        """AWS tells of memory and processors in CloudWatch only, minutes later and by the minute."""
        return Usage(peak_memory_bytes=None, peak_resident_bytes=None, cpu_s=None, source="not told by AWS")

    def facts(self) -> Mapping[str, str]:
        """What the runner found about itself."""
        return self._asked().facts

    def _asked(self) -> Told:
        if self._told is None:
            before = time.monotonic()
            answer = self._ask({"facts": True})
            after = time.monotonic()
            self._told = Told.read(answer, "now")
            self._moved_s = (before + after) / 2 - self._told.stamps["now"]
        return self._told

    def _ask(self, question: Mapping[str, Json]) -> Any:
        try:
            with aws.asking(f"asking the endpoint {self._name}"):
                said = self._account.client("sagemaker-runtime").invoke_endpoint(
                    EndpointName=self._name, ContentType="application/json", Body=json.dumps(question).encode()
                )
                text = said["Body"].read()
        except BuildFailure as error:
            raise _failure(error) from error
        try:
            return messages.decoded(text)
        except (ValueError, RecursionError) as error:
            raise ModelFailure(f"on AWS, it answered rubbish: {messages.brief(str(error), 200)}") from error


def _failure(error: BuildFailure) -> ModelFailure:
    """What the container said where AWS passes it on (``ModelError``), else what AWS says."""
    said = getattr(error.__cause__, "response", {}).get("OriginalMessage", "")
    try:
        return ModelFailure(f"on AWS, {messages.worded(json.loads(said)['error'])}")
    except (ValueError, LookupError, TypeError):
        return ModelFailure(f"on AWS, {error.problem}")


@contextmanager
def on_aws(deployed: Deployed) -> Iterator[OnEndpoint]:
    """An endpoint of its own for one start; it is deleted afterwards."""
    spawned_s = time.monotonic()
    with endpoint(deployed) as name:
        yield OnEndpoint(deployed.account, name, spawned_s)


def installed_on_aws(artifact: Artifact, depot: Depot) -> Installed:
    """The record of a model in the user's account; the account deletes all of it at the end."""
    account = depot.account()
    deployed = deploy(account, depot, artifact)
    return Installed(
        artifact=artifact,
        install_s=deployed.seconds,
        install_fidelity="measured",
        start_fidelity="measured",
        cold_absent="AWS alone decides what its machines' caches hold",
        elsewhere=lambda: on_aws(deployed),
        facts={"deployed": f"to the user's account in {account.region}, on one {deployed.machine} for each start"},
    )
