"""An account in the cloud: whatever fails, what was made is deleted or told, and nothing that is not ours is touched.

Against moto, with faults injected below boto3, so that its own retries are at work as well.
"""

# ruff: noqa: PT012 -- what fails is the end of a block

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectTimeoutError

from harness import paths, process, sandbox
from harness.errors import BadInput, BuildFailure, CheckFailure, DoesNotFit
from harness.methods import functions, lambda_image, lambda_zip
from harness.methods.contract import Artifact, BuildOptions
from harness.platforms import aws, moto
from harness.platforms import depot as depots
from harness.platforms import engine as engines
from harness.platforms.aws import Account
from harness.platforms.aws_kinds import KINDS, PREFIX, TAG, listed_tags, role_policy
from harness.platforms.engine import Engine
from harness.spec import model as models
from harness.spec import weights

ROLE = "arn:aws:iam::123456789012:role/somebody"


@pytest.fixture(scope="module")
def endpoint(cache: Path) -> Iterator[str]:
    """A stand-in for AWS for all tests here; each test looks after its own names."""
    with moto.session() as address:
        yield address


@pytest.fixture
def account(endpoint: str) -> Iterator[Account]:
    """An account of the stand-in."""
    with aws.on_moto(endpoint) as opened:
        yield opened


@pytest.fixture
def users(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The user's own account, which here is the stand-in: boto3 finds it by the environment."""
    for name, value in user_environment(endpoint).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setattr(aws, "PAUSES_S", (0.0, 0.05))
    yield
    for file in aws._folder().glob("*"):
        file.unlink()


def user_environment(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "users-own",
        "AWS_SECRET_ACCESS_KEY": "users-own",
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


# --- what is made, and faults --------------------------------------------------------------------


def make(account: Account, kind: str, name: str | None = None) -> str:
    """One thing of a kind, tagged as the methods tag them; its name."""
    name = name or account.name(kind)
    tags = listed_tags(account.tags)
    variant = {"VariantName": "only", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    asks: dict[str, Callable[[Any], Any]] = {
        "function": lambda c: c.create_function(
            FunctionName=name,
            Role=account.client("iam").get_role(RoleName=a_role(account))["Role"]["Arn"],
            Code={"ZipFile": an_empty_zip()},
            Handler="a.b",
            Runtime="python3.11",
            Tags=account.tags,
        ),
        "bucket": lambda c: (
            c.create_bucket(Bucket=name, **where(account)),
            c.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tags}),
            c.put_object(Bucket=name, Key="in/it", Body=b"something"),
        ),
        "log-group": lambda c: c.create_log_group(logGroupName=name, tags=account.tags),
        "role": lambda c: c.create_role(RoleName=name, AssumeRolePolicyDocument=role_policy("lambda"), Tags=tags),
        "repository": lambda c: c.create_repository(repositoryName=name, tags=tags),
        "model": lambda c: c.create_model(ModelName=name, ExecutionRoleArn=ROLE, Tags=tags),
        "endpoint-config": lambda c: c.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=[{**variant, "ModelName": make(account, "model")}], Tags=tags
        ),
        "endpoint": lambda c: c.create_endpoint(
            EndpointName=name, EndpointConfigName=make(account, "endpoint-config"), Tags=tags
        ),
    }
    account.make(kind, name, asks[kind])
    return name


def where(account: Account) -> dict[str, Any]:
    if account.region == "us-east-1":
        return {}
    return {"CreateBucketConfiguration": {"LocationConstraint": account.region}}


def a_role(account: Account) -> str:
    return next((name for kind, name in account.ledger.entries if kind == "role"), "") or make(account, "role")


def an_empty_zip() -> bytes:
    return b"PK\x05\x06" + bytes(18)


def fail(account: Account, service: str, operation: str, *, times: int = 10**6, code: str = "Throttling") -> list[str]:
    """Have AWS refuse an operation ``times`` times, on the wire; the refusals are counted in what is returned."""
    refused: list[str] = []

    def refuse(request: Any, **_: Any) -> AWSResponse | None:
        if len(refused) >= times:
            return None
        refused.append(operation)
        status = 429 if code == "Throttling" else 403
        body = json.dumps({"__type": code, "message": f"{code} by the test"}).encode()
        if service in {"iam", "s3"}:
            said = f"<Code>{code}</Code><Message>by the test</Message>"
            body = f"<ErrorResponse><Error>{said}</Error></ErrorResponse>".encode()
            if service == "s3":
                body = f"<Error>{said}</Error>".encode()
        return AWSResponse(request.url, status, {"x-amzn-errortype": code}, Raw(body))

    account.client(service).meta.events.register(f"before-send.{service}.{operation}", refuse)
    return refused


class Raw(io.BytesIO):
    """What an AWSResponse reads its body from."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


def there(account: Account, kind: str, name: str) -> bool:
    return account._tags(kind, name) is not None


# --- tests ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_noted_found_and_deleted(account: Account, kind: str) -> None:
    """It is in the ledger, listed while it is there, found by a search, and gone afterwards; so is all it needed."""
    name = make(account, kind)
    assert there(account, kind, name)
    assert (kind, name) in {(one.kind, one.name) for one in account.leftovers()}
    assert (kind, name, account.run) in {(one.kind, one.name, one.run) for one in account.search()}
    assert account.delete_all() == []
    assert not there(account, kind, name)
    assert [one for one in account.search() if one.run == account.run] == []


def test_it_is_noted_before_it_is_asked_for(account: Account) -> None:
    """A harness that is killed while it asks leaves a note of it on the disk."""
    seen: list[str] = []
    account.make("role", "mlph-x", lambda _: seen.append(account.ledger.file.read_text()))
    assert '"mlph-x"' in seen[0]
    assert '"asked"' in seen[0]


def test_all_is_deleted_when_a_later_creation_fails(endpoint: str) -> None:
    """What was made before the failure goes, and the failure is what is told."""
    with pytest.raises(BuildFailure, match="AWS refused"), aws.on_moto(endpoint) as account:
        made = [(kind, make(account, kind)) for kind in ("role", "bucket", "repository")]
        fail(account, "lambda", "CreateFunction", code="AccessDeniedException")
        make(account, "function")
    assert [entry.state for entry in account.ledger.entries.values()] == ["gone"] * 4
    assert not any(there(account, kind, name) for kind, name in made)


def test_what_was_made_but_not_answered_is_deleted(endpoint: str) -> None:
    """A connection that breaks after AWS has made it leaves nothing."""
    name = ""

    def lost(iam: Any) -> None:
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=role_policy("lambda"), Tags=listed_tags(account.tags))
        raise ConnectTimeoutError(endpoint_url="lost")

    with pytest.raises(Exception, match="does not answer"), aws.on_moto(endpoint) as account:
        name = account.name("role")
        account.make("role", name, lost)
    assert not there(account, "role", name)


def test_throttling_is_waited_out(account: Account) -> None:
    """boto3's own retries do that: nobody notices."""
    refused = fail(account, "ecr", "CreateRepository", times=2, code="ThrottlingException")
    name = make(account, "repository")
    assert len(refused) == 2
    assert there(account, "repository", name)


def test_a_deletion_that_fails_once_is_tried_again(endpoint: str) -> None:
    """The others are deleted in the first pass, it in a later one."""
    with aws.on_moto(endpoint) as account:
        names = {kind: make(account, kind) for kind in ("repository", "bucket", "log-group")}
        refused = fail(account, "ecr", "DeleteRepository", times=1, code="AccessDeniedException")
    assert refused
    assert not any(there(account, kind, name) for kind, name in names.items())


def test_what_can_not_be_deleted_is_told_and_the_others_go(endpoint: str, caplog: pytest.LogCaptureFixture) -> None:
    """The end is a failure that names what is left, with its remedy."""
    with pytest.raises(CheckFailure, match="1 thing could not be deleted") as told, aws.on_moto(endpoint) as account:
        repository, bucket = make(account, "repository"), make(account, "bucket")
        fail(account, "ecr", "DeleteRepository", code="AccessDeniedException")
    assert repository in str(told.value)
    assert "harness aws leftovers --delete" in told.value.remedy
    assert repository in caplog.text
    assert there(account, "repository", repository)
    assert not there(account, "bucket", bucket)
    left = account.leftovers()
    assert [(one.kind, one.name, one.region) for one in left] == [("repository", repository, account.region)]
    assert "AccessDenied" in str(told.value)


def test_a_failure_to_delete_does_not_hide_another(endpoint: str, caplog: pytest.LogCaptureFixture) -> None:
    """What went wrong first is raised; what is left is told all the same."""
    with pytest.raises(ZeroDivisionError), aws.on_moto(endpoint) as account:
        name = make(account, "repository")
        fail(account, "ecr", "DeleteRepository", code="AccessDeniedException")
        raise ZeroDivisionError
    assert name in caplog.text


def test_what_is_not_ours_is_left_alone(account: Account, endpoint: str) -> None:
    """Neither somebody's thing with a name like ours, nor one of another run, nor one that had our name before us."""
    theirs = f"{PREFIX}somebodys"
    iam, s3 = account.client("iam"), account.client("s3")
    iam.create_role(RoleName=theirs, AssumeRolePolicyDocument=role_policy("lambda"))
    s3.create_bucket(Bucket=theirs)
    with aws.on_moto(endpoint) as other:
        others = make(other, "repository")
        with pytest.raises(BuildFailure):
            make(account, "role", theirs)
        make(account, "repository")
        assert account.delete_all() == []
        assert account.ledger.entries["role", theirs].state == "not ours"
        assert there(account, "role", theirs)
        assert there(account, "bucket", theirs)
        assert there(other, "repository", others)
    iam.delete_role(RoleName=theirs)
    s3.delete_bucket(Bucket=theirs)


def test_the_stand_in_never_sees_the_users_keys(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does the user's configuration matter, broken as it may be."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "USERSOWNKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "users-own-secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "users-own-token")
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://192.0.2.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:1")
    sent: list[str] = []
    with aws.on_moto(endpoint) as account:
        client = account.client("iam")
        client.meta.events.register(
            "before-send.iam.*", lambda request, **_: sent.append(f"{request.url} {dict(request.headers)}")
        )
        make(account, "role")
    assert sent
    assert all(url.startswith(endpoint) for url in sent)
    assert not any("USERSOWNKEY" in text or "users-own" in text for text in sent)


# --- a harness that was killed -------------------------------------------------------------------

KILLED = """
    import sys, time
    from harness.platforms import aws
    from harness.platforms.aws_kinds import listed_tags, role_policy

    with aws.real() as account:
        name = account.name("role")
        account.make("role", name, lambda iam: iam.create_role(
            RoleName=name, AssumeRolePolicyDocument=role_policy("lambda"), Tags=listed_tags(account.tags)))
        print(account.run, name, flush=True)
        time.sleep(600)
"""


@pytest.fixture
def killed(endpoint: str, users: None) -> tuple[str, str, Callable[[], None]]:
    """A harness that has made a role in the user's account; its run, the role, and how to kill it."""
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED)],
        env={**os.environ, "PYTHONPATH": str(paths.PACKAGE.parent)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    run, name = child.stdout.readline().split()

    def kill() -> None:
        child.send_signal(signal.SIGKILL)
        child.wait()

    yield run, name, kill
    kill()
    child.stdout.close()


def test_what_a_killed_harness_left_is_found_and_deleted(
    killed: tuple[str, str, Callable[[], None]], harness: Any
) -> None:
    """Its ledger is on the disk; while it lives, nobody touches what is its own."""
    run, name, kill = killed
    _, _, region = session = aws.user_session()
    alive = harness("aws", "leftovers", "--delete", "--json")
    assert alive.expect(0).json == {"leftovers": [], "problems": []}
    kill()
    told = harness("aws", "leftovers", "--json").expect(1).json["leftovers"]
    assert [(one["run"], one["kind"], one["name"], one["ledger"]) for one in told] == [(run, "role", name, True)]
    assert name in harness("aws", "leftovers").expect(1).out
    assert harness("aws", "leftovers", "--delete").expect(0).out
    account = Account(
        kind="real", session=session[0], ledger=aws.Ledger(file=Path("/"), run="", account="", region=region)
    )
    assert not there(account, "role", name)
    assert aws.ledgers() == []


def test_a_ledger_of_another_account_is_not_acted_on(users: None) -> None:
    """The names in it may be somebody else's here."""
    aws._folder().mkdir(exist_ok=True)
    ledger = aws.Ledger(file=aws._folder() / "x.json", run="x", account="999999999999", region="eu-central-1")
    ledger.note("role", "mlph-x", "made")
    with pytest.raises(BadInput, match="of account 999999999999"):
        aws.delete_leftovers(ledger)


def test_a_run_on_the_users_account_leaves_nothing(users: None) -> None:
    """Neither things there nor a ledger here; the region is the user's."""
    with aws.real() as account:
        made = [(kind, make(account, kind)) for kind in ("role", "bucket")]
        assert account.region == "eu-central-1"
        assert account.ledger.file.is_file()
        assert aws.ledgers() == []  # it is held
    assert not any(there(account, kind, name) for kind, name in made)
    assert list(aws._folder().glob("*.json")) == []


def test_nothing_is_made_without_confirmation(users: None, harness: Any) -> None:
    """The account, the region, every kind of thing and the cost are shown; then the command ends."""
    _, _, region = session = aws.user_session()
    ledger = aws.Ledger(file=Path("/"), run="", account="", region=region)
    theirs = Account(kind="real", session=session[0], ledger=ledger)
    before = theirs.search()
    said = harness("run", "spam-bayes", "--method", "lambda-zip", "--aws", "real").expect(2)
    for text in ("account 123456789012", "eu-central-1", "Lambda function", "IAM role", "Estimated cost", "USD per"):
        assert text in said.err
    assert "--yes" in said.err
    assert theirs.search() == before


# --- functions -----------------------------------------------------------------------------------


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """A zip that is deployed and not asked."""
    file = tmp_path / "function.zip"
    file.write_bytes(an_empty_zip())
    facts = {"runtime": "python3.11", "memory_mb": "512", "predict_timeout_s": "30"}
    return Artifact(method="lambda-zip", model="tiny", digest="0" * 64, path=file, facts=facts)


def test_a_function_is_deployed_as_it_has_to_be(account: Account, artifact: Artifact) -> None:
    """Its configuration, tags, role and logs; the role serves the next one too; all else goes with it."""
    assert artifact.path is not None
    first = functions.deploy_zip(account, artifact, artifact.path)
    found = account.client("lambda").get_function(FunctionName=first.name)
    set_up = found["Configuration"]
    assert (set_up["MemorySize"], set_up["Timeout"], set_up["Handler"]) == (512, 31, functions.HANDLER)
    assert found["Tags"] == {TAG: account.run}
    assert there(account, "log-group", f"/aws/lambda/{first.name}")
    second = functions.deploy_zip(account, artifact, artifact.path)
    assert [kind for kind, _ in account.ledger.entries].count("role") == 1
    functions.clear(first)
    assert not there(account, "function", first.name)
    assert there(account, "function", second.name)


def test_a_large_zip_goes_through_s3(account: Account, artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a bucket of its own, which is emptied and deleted."""
    assert artifact.path is not None
    monkeypatch.setattr(functions, "DIRECT_UPLOAD_BYTES", 1)
    deployed = functions.deploy_zip(account, artifact, artifact.path)
    assert "S3" in deployed.how
    (bucket,) = [name for kind, name in deployed.made if kind == "bucket"]
    assert there(account, "bucket", bucket)
    functions.clear(deployed)
    assert not there(account, "bucket", bucket)


def test_a_role_that_is_not_known_yet_is_waited_for(
    account: Account, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS refuses a new role for some seconds."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert artifact.path is not None
    said = "The role defined for the function cannot be assumed by Lambda."
    create = account.client("lambda").create_function
    refusals = iter([said, said])

    def refuse_twice(**asked: Any) -> Any:
        for text in refusals:
            raise RuntimeError(text)
        return create(**asked)

    monkeypatch.setattr(account.client("lambda"), "create_function", refuse_twice)
    assert functions.deploy_zip(account, artifact, artifact.path).name


@pytest.mark.parametrize("method", [lambda_zip, lambda_image])
def test_memory_beyond_lambdas_does_not_fit(method: Any, artifact: Artifact, tmp_path: Path) -> None:
    """It is found out before anything is made."""
    large = replace(artifact, facts={**artifact.facts, "memory_mb": "20480"}, image="none")
    with pytest.raises(DoesNotFit, match="20480"):
        method.install(large, tmp_path, None)


def test_nothing_of_the_stand_in_is_left() -> None:
    """The folders of accounts that were opened here are gone."""
    assert list((paths.cache() / "tmp").glob("aws-*")) == []
    assert process.ledger.spent_s.get("tools", 0) > 0


PROBE = """
import os, socket

def load(model_dir):
    return model_dir

def attempt(action):
    try:
        return repr(action())
    except OSError as error:
        return type(error).__name__

def predict(model, inputs):
    status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
    return [{
        "user": os.getuid(),
        "environment": " ".join(os.environ),
        "outside": attempt(lambda: socket.create_connection(("192.0.2.1", 80), 2)),
        "own files": attempt(lambda: open(model / "predictor.py", "a")),
        "capabilities": status["CapEff"].strip(),
        "privileges": status["NoNewPrivs"].strip(),
    }]
"""


def test_what_runs_on_the_stand_in_is_kept_in_bounds(engine: Engine, make_model: Any) -> None:
    """Unprivileged, without a network, without a way to write; and neither a container nor a volume is left."""
    model = models.read(make_model("probe-on-moto", PROBE, inputs=[0], outputs=[None]))
    lambda_zip.prepare(model)
    before = in_engine(engine)
    with depots.session() as depot, process.temporary_folder("case") as place, process.temporary_folder("t") as cache:
        built = lambda_zip.build(weights.locked(model), place, BuildOptions(tool_cache=cache))
        assert built.path is not None
        running = {"HARNESS_IMAGE": built.facts["image"], "HARNESS_CONTAINER": "mlph-probe", "HARNESS_PROCESSES": "64"}
        deployed = functions.deploy_zip(depot.account(), built, built.path, **running)
        answer, _ = functions.invoke(deployed, {"inputs": [0]})
    (found,) = answer["outputs"]
    assert found["user"] == sandbox.UNPRIVILEGED_ID
    assert found["outside"] == "OSError"
    assert found["own files"] in {"PermissionError", "OSError"}
    assert (found["capabilities"], found["privileges"]) == ("0" * 16, "1")
    assert "HARNESS" not in found["environment"]
    assert "MOTO" not in found["environment"]
    assert in_engine(engine) == before


def test_a_function_really_runs_on_the_stand_in_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers its examples right there; the same artifact is not run again. Its bytecode is of the place it has."""
    model = models.find("spam-bayes")
    lambda_zip.prepare(model)
    with depots.session() as depot, process.temporary_folder("case", readable=True) as place:
        with process.temporary_folder("tools") as cache:
            built = lambda_zip.build(weights.locked(model), place, BuildOptions(tool_cache=cache))
        for name in ("first", "second"):
            (place / name).mkdir()
        first = lambda_zip.install(built, place / "first", depot)
        assert first.facts["deployed"] == "to moto's Lambda, uploaded directly; 8 examples answered right"
        assert [entry.kind for entry in depot.account().ledger.open_entries()] == ["role"]
        monkeypatch.setattr(functions, "run_there_once", lambda *_, **__: pytest.fail("it was run again"))
        assert lambda_zip.install(built, place / "second", depot).facts == first.facts
        assert first.root is not None
        compiled = list(first.root.rglob("*.pyc"))
        assert len(compiled) == len(list(first.root.rglob("*.py"))) > 5
        for file in compiled:
            content = file.read_bytes()
            assert content[4:8] == b"\x01\0\0\0"
            assert b"/var/task/" in content
            assert str(place).encode() not in content


def in_engine(engine: Engine) -> set[str]:
    asked = engines.client(engine)
    volumes = asked.volumes()["Volumes"] or []
    return {*(one["Id"] for one in asked.containers(all=True)), *(one["Name"] for one in volumes)}
