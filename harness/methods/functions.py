"""What the two Lambda methods share: the limits, how a function is asked, and how it is deployed to an account.

On this machine a function runs in the real Runtime Interface Emulator (:mod:`harness.platforms.lambda_runtime`),
and what is deployed goes to a stand-in for AWS. With the user's own account it is deployed and started there.
That part was tried against the stand-in only, never against AWS itself.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import paths, process
from harness.errors import BuildFailure, DoesNotFit, HarnessError, ModelFailure
from harness.methods import imaging
from harness.methods.contract import Artifact, Availability, Installed, Limit, Limits, Stamps, Usage
from harness.methods.messages import Told, decoded, printed, shown, stamped, worded
from harness.methods.serving import Http
from harness.platforms import aws, lambda_runtime, s3
from harness.platforms.aws import Account
from harness.platforms.aws_kinds import PREFIX, listed_tags, role_policy
from harness.spec.model import Json, answers_match
from harness.spec.weights import LockedModel

#: The package of ours in a function, and the handler in it.
HANDLER_PACKAGE = paths.PACKAGE / "resources" / "aws_lambda" / "harness_lambda"
HANDLER = "harness_lambda.handler.handle"

_QUOTAS = "AWS Lambda Developer Guide, Lambda quotas, https://docs.aws.amazon.com/lambda/latest/dg/limits.html"
_LIFECYCLE = (
    "AWS Lambda Developer Guide, execution environment lifecycle, "
    "https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html"
)
_READ_ON = "2026-11-23"


def limit(name: str, value: float, unit: str, source: str = _QUOTAS, **more: Any) -> Limit:
    """A documented limit of Lambda's."""
    return Limit(name=name, value=value, unit=unit, source=source, read_on=_READ_ON, **more)


_MEMORY_MB = (128, 10240)
_PROCESSES = 1024

#: What holds of every function. Memory decides the share of processors too.
COMMON_LIMITS = (
    limit("memory of a function, at least", _MEMORY_MB[0], "MB"),
    limit("memory of a function, at most", _MEMORY_MB[1], "MB"),
    limit("time of an invocation", 900, "s"),
    limit("time of the Init phase, after which it is done again at the first invocation", 10, "s", _LIFECYCLE),
    limit("environment variables of a function", 4096, "bytes"),
    limit("payload of a synchronous invocation, request and response each", 6 * 2**20, "bytes"),
    limit("space in /tmp, at most", 10240, "MB"),
    limit("processes and threads", _PROCESSES, "n"),
)

#: AWS counts a megabyte as 2**20 bytes: a refusal says "smaller than 262144000 bytes" for 250 MB.
DIRECT_UPLOAD_BYTES = 50 * 2**20
UNZIPPED_BYTES = 250 * 2**20
IMAGE_BYTES = 10 * 2**30

#: A process's argument may have 128 KiB, and that is how moto hands an event over.
_EVENT_BYTES = 120_000

_ROLE = "lambda-role"
_ROLE_S = 60.0  # how long AWS may take until a new role can be taken on
_ATTEMPTS = 3  # at a start that shows an Init phase


# --- asking --------------------------------------------------------------------------------------


def _outputs(answer: Any) -> Any:
    """Lambda reports what went wrong with HTTP 200 and an ``errorType``."""
    if isinstance(answer, dict) and "errorType" in answer:
        return {"error": {"type": answer["errorType"], "message": answer.get("errorMessage", "")}}
    return answer


#: How the emulator is asked.
HTTP = Http(path=lambda_runtime.INVOCATIONS, outputs=_outputs)


def check() -> Availability:
    """Ready where a Docker engine is on this machine, we may enter its containers' network, and boto3 is there."""
    available = imaging.check(port=True)
    if not available.ready:
        return available
    try:
        aws.check()
        lambda_runtime.architecture()
    except HarnessError as error:
        return Availability(ready=False, reason=error.problem, remedy=error.remedy)
    return available


def as_on_lambda(artifact: Artifact, limits: Limits) -> Limits:
    """``limits`` with the processors that Lambda gives for the memory, and its count of processes."""
    share = lambda_runtime.cpus(memory_mb(artifact), limits.cpus)
    return replace(limits, cpus=share, processes=min(limits.processes, _PROCESSES))


def emulator_environment(artifact: Artifact, limits: Limits) -> dict[str, str]:
    """What the emulator is told of the function; the harness itself holds the time limits."""
    return {
        "AWS_LAMBDA_FUNCTION_NAME": artifact.model,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb(artifact)),
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(int(limits.start_timeout_s + limits.predict_timeout_s) + 1),
    }


# --- what the model asks for ---------------------------------------------------------------------


def asked_facts(locked: LockedModel) -> dict[str, str]:
    """What a function's configuration and its limits depend on; it travels with the artifact."""
    resources = locked.model.file.resources
    return {
        "runtime": f"python{locked.lock.python.minor}",
        "memory_mb": str(resources.memory_mb),
        "predict_timeout_s": f"{resources.predict_timeout_s:g}",
    }


def memory_mb(artifact: Artifact) -> int:
    """The memory that the function is given."""
    return int(artifact.facts["memory_mb"])


def hold_to_limits(artifact: Artifact) -> None:
    """DoesNotFit where what the model asks for is beyond what a function can be given."""
    wanted = memory_mb(artifact)
    if not _MEMORY_MB[0] <= wanted <= _MEMORY_MB[1]:
        raise DoesNotFit(
            f"does not fit: resources.memory_mb is {wanted}, and a function has {_MEMORY_MB[0]} to {_MEMORY_MB[1]} MB "
            f"({_QUOTAS})",
            remedy="change resources.memory_mb in model.toml",
        )


def _timeout_s(artifact: Artifact) -> int:
    return min(int(float(artifact.facts["predict_timeout_s"])) + 1, 900)


# --- deploying -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A function in an account, and the seconds from the start of the upload until AWS called it active.

    ``made`` are the kinds and names of what was made for it alone.
    """

    account: Account
    name: str
    seconds: float
    how: str
    made: tuple[tuple[str, str], ...]


def deploy_zip(account: Account, artifact: Artifact, archive: Path, **environment: str) -> Deployed:
    """Upload the zip, through S3 where it is over 50 MB, create a function of it and wait until it is active."""
    begin, before = time.monotonic(), set(account.ledger.entries)
    size = archive.stat().st_size
    if size > DIRECT_UPLOAD_BYTES:
        bucket, key = s3.put(account, archive, name=account.name("code"))
        how, code = "through S3, being over 50 MB", dict[str, Any](S3Bucket=bucket, S3Key=key)
    else:
        how, code = "uploaded directly", {"ZipFile": archive.read_bytes()}
    name = _create(
        account,
        artifact,
        PackageType="Zip",
        Code=code,
        Runtime=artifact.facts["runtime"],
        Handler=HANDLER,
        **({"Environment": {"Variables": environment}} if environment else {}),
    )
    return _deployed(account, name, how, begin, before)


def deploy_image(account: Account, artifact: Artifact, address: str) -> Deployed:
    """Create a function of an image in ECR and wait until it is active."""
    begin, before = time.monotonic(), set(account.ledger.entries)
    name = _create(account, artifact, PackageType="Image", Code={"ImageUri": address})
    return _deployed(account, name, "from ECR", begin, before)


def _deployed(account: Account, name: str, how: str, begin: float, before: set[tuple[str, str]]) -> Deployed:
    made = tuple(key for key in account.ledger.entries if key not in before and key[0] != "role")
    return Deployed(account=account, name=name, seconds=time.monotonic() - begin, how=how, made=made)


def _create(account: Account, artifact: Artifact, **settings: Any) -> str:
    name = account.name(artifact.model)
    role = execution_role(account)
    group = f"/aws/lambda/{name}"
    account.make("log-group", group, lambda logs: logs.create_log_group(logGroupName=group, tags=account.tags))
    asked = {
        "FunctionName": name,
        "Role": role,
        "MemorySize": memory_mb(artifact),
        "Timeout": _timeout_s(artifact),
        "Architectures": [lambda_runtime.architecture()],
        "Tags": account.tags,
        **settings,
    }
    deadline = time.monotonic() + _ROLE_S
    while True:
        try:
            account.make("function", name, lambda client: client.create_function(**asked))
            break
        except BuildFailure as error:
            if "cannot be assumed" not in error.log or time.monotonic() > deadline:
                raise
            time.sleep(2)  # a new role takes a while to be known everywhere
    with aws.asking(f"waiting for the function {name}"):
        account.client("lambda").get_waiter("function_active_v2").wait(FunctionName=name)
    return name


def execution_role(account: Account) -> str:
    """The role that functions take on: the user's, else one that may write to the logs of our functions only."""
    if account.role:
        return account.role
    made = (entry for entry in account.ledger.open_entries() if entry.kind == "role" and entry.state == "made")
    known = [entry for entry in made if entry.name.endswith(_ROLE)]
    name = known[0].name if known else account.name(_ROLE)
    if not known:
        trust = role_policy("lambda")
        tags = listed_tags(account.tags)
        account.make(
            "role", name, lambda iam: iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust, Tags=tags)
        )
        groups = f"arn:aws:logs:{account.region}:{account.number}:log-group:/aws/lambda/{PREFIX}{account.run}-*"
        allowed = {
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": groups,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        with aws.asking(f"allowing the role {name} to write logs"):
            account.client("iam").put_role_policy(RoleName=name, PolicyName="logs", PolicyDocument=policy)
    with aws.asking(f"looking for the role {name}"):
        return str(account.client("iam").get_role(RoleName=name)["Role"]["Arn"])


def clear(deployed: Deployed) -> None:
    """Delete what was made for it alone; what can't be is tried again at the end."""
    for kind, name in reversed(deployed.made):
        deployed.account.delete(kind, name)


# --- examples that travel beside an artifact -----------------------------------------------------


def keep_examples(locked: LockedModel, file: Path) -> None:
    """Put the examples beside the artifact, for the check that what was deployed answers right."""
    model = locked.model
    pairs = zip(model.examples.inputs, model.examples.outputs, strict=True)
    table = {"tolerance": model.file.examples.tolerance, "examples": [list(pair) for pair in pairs]}
    file.write_text(json.dumps(table), encoding="utf-8")


def run_there_once(account: Account, artifact: Artifact, archive: Path, image: str, processes: int) -> str:
    """Deploy the zip to the stand-in and have it run there in ``image``; how it was deployed.

    ModelFailure where it does not answer, or wrongly. No measurement: moto unzips it for each call.
    """
    container = f"mlph-{secrets.token_hex(6)}"
    deployed = deploy_zip(
        account,
        artifact,
        archive,
        HARNESS_IMAGE=image,
        HARNESS_CONTAINER=container,
        HARNESS_PROCESSES=str(processes),
    )
    table = json.loads(archive.with_name(EXAMPLES).read_text(encoding="utf-8"))
    pairs = list(_small_enough(table["examples"]))
    try:
        with _guarded(container):
            answer, _ = invoke(deployed, {"inputs": [pair[0] for pair in pairs]})
    finally:
        clear(deployed)
    outputs = _answered(answer)
    if not answers_match([pair[1] for pair in pairs], outputs, table["tolerance"]):
        raise ModelFailure(f"on AWS, it answered wrongly: {shown(outputs)}")
    return f"{deployed.how}; {len(pairs)} examples answered right"


#: The name of the file that :func:`keep_examples` writes beside an archive.
EXAMPLES = "examples.json"


@contextmanager
def _guarded(container: str) -> Iterator[None]:
    """A container that moto starts must not outlive us either."""
    from harness.platforms import engine

    running = engine.connect()
    with process.guarded(container=container, engine=str(running.socket)):
        yield


def _small_enough(pairs: Sequence[Sequence[Json]]) -> Iterator[Sequence[Json]]:
    size = 0
    for pair in pairs:
        size += len(json.dumps(pair[0])) + 2
        if size > _EVENT_BYTES:
            return
        yield pair


def invoke(deployed: Deployed, event: Mapping[str, Json]) -> tuple[Json, str]:
    """Ask a deployed function; its answer, and the end of its log. ModelFailure where it says that it failed."""
    with aws.asking(f"asking the function {deployed.name}"):
        said = deployed.account.client("lambda").invoke(
            FunctionName=deployed.name, Payload=json.dumps(event).encode(), LogType="Tail"
        )
        text = said["Payload"].read()
    told = base64.b64decode(said.get("LogResult") or "").decode(errors="replace")
    try:
        answer = decoded(text)
    except (ValueError, RecursionError):
        answer = {"errorType": "not JSON", "errorMessage": text.decode(errors="replace")}
    if said.get("FunctionError") or (isinstance(answer, dict) and "errorType" in answer):
        problem = _outputs(answer)
        raise ModelFailure(f"on AWS, {_worded(problem)}{printed(told)}")
    return answer, told


def _answered(answer: Json) -> list[Json]:
    if not isinstance(answer, dict) or not isinstance(answer.get("outputs"), list):
        raise ModelFailure(f"on AWS, {_worded(answer)}")
    return list(answer["outputs"])


def _worded(answer: Json) -> str:
    if isinstance(answer, dict) and "error" in answer:
        return worded(answer["error"])
    return f"it answered rubbish: {shown(answer)}"


# --- on the user's own account -------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Report:
    """What AWS says of an invocation; ``init_s`` is None where the environment was there already.

    The line's fields: AWS Lambda Operator Guide, "How CloudWatch structures logs", read 2026-11-23.
    """

    init_s: float | None
    duration_s: float
    peak_memory_bytes: int

    @classmethod
    def read(cls, told: str) -> Report | None:
        """The report in the end of a log; None where there is none."""
        line = next((line for line in reversed(told.splitlines()) if line.startswith("REPORT ")), "")
        known = {name: float(value) for name, value in re.findall(r"([A-Z][A-Za-z ]*?): ([\d.]+) (?:ms|MB)", line)}
        if "Duration" not in known:
            return None
        init_ms = known.get("Init Duration")
        return cls(
            init_s=init_ms / 1e3 if init_ms is not None else None,
            duration_s=known["Duration"] / 1e3,
            peak_memory_bytes=int(known.get("Max Memory Used", 0) * 2**20),
        )


class OnAws:
    """A function in the user's account as an instance: its first answer comes from a new environment.

    A cold start is AWS's own Init Duration and Duration: neither the network between here and there is in it,
    nor what AWS does before the environment starts (placing it, fetching the code).
    """

    def __init__(self, deployed: Deployed) -> None:
        self._deployed = deployed
        self._report: Report | None = None
        self._answered_s = 0.0
        self._told: Told | None = None

    def predict(self, inputs: Sequence[Json]) -> list[Json]:
        """The model's answers; the first from a new environment."""
        event = {"inputs": list(inputs)}
        if self._report is not None:
            return _answered(invoke(self._deployed, event)[0])
        for _ in range(_ATTEMPTS):
            self._renew()
            answer, told = invoke(self._deployed, event)
            self._answered_s, self._report = time.monotonic(), Report.read(told)
            if self._report is None:
                raise ModelFailure("AWS's answer came without a report of the time it took", remedy="try again")
            if self._report.init_s is not None:
                return _answered(answer)
        raise ModelFailure(
            f"{_ATTEMPTS} times in a row AWS had an environment ready before it was asked, so no cold start was seen",
            remedy="try again later",
        )

    def stamps(self) -> Stamps:
        """The phases by the function's own clock, moved to ours by the moment of its answer."""
        inside, report = self._asked().stamps, self._report
        if report is None or report.init_s is None:
            raise ModelFailure("was not asked for a prediction yet")
        spawned_s = self._answered_s - report.init_s - report.duration_s
        moved = self._answered_s - inside["answered"]
        # AWS counts from a moment of its own, which may be a little after the runner's first line.
        ours = {phase: max(inside[phase] + moved, spawned_s) for phase in ("interpreter", "imports", "weights")}
        # AWS does not count what it does before.
        return stamped(ours, spawned_s=spawned_s, sandbox_s=spawned_s, answered_s=self._answered_s)

    def usage(self) -> Usage:
        """What AWS says of its memory."""
        report = self._report
        peak = report.peak_memory_bytes if report else None
        return Usage(peak_memory_bytes=peak, peak_resident_bytes=None, cpu_s=None, source="AWS's REPORT")

    def facts(self) -> Mapping[str, str]:
        """What the runner found about itself."""
        return self._asked().facts

    def _asked(self) -> Told:
        if self._told is None:
            answer, _ = invoke(self._deployed, {"facts": True})
            self._told = Told.read(answer, "answered")
        return self._told

    def _renew(self) -> None:
        """Change the configuration: environments with the old one are not used any more."""
        client, name = self._deployed.account.client("lambda"), self._deployed.name
        with aws.asking(f"asking for a new environment of {name}"):
            client.update_function_configuration(
                FunctionName=name, Environment={"Variables": {"HARNESS_START": secrets.token_hex(4)}}
            )
            client.get_waiter("function_updated_v2").wait(FunctionName=name)


@contextmanager
def on_aws(deployed: Deployed) -> Iterator[OnAws]:
    """An instance of a deployed function; AWS itself ends it when it likes."""
    yield OnAws(deployed)


def installed_on_aws(artifact: Artifact, deployed: Deployed) -> Installed:
    """The record of a function in the user's account; the account deletes it at the end."""
    return Installed(
        artifact=artifact,
        install_s=deployed.seconds,
        install_fidelity="measured",
        start_fidelity="measured",
        cold_absent="AWS alone decides what its caches hold",
        elsewhere=lambda: on_aws(deployed),
        facts={"deployed": f"to the user's account in {deployed.account.region}, {deployed.how}"},
    )
