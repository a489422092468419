"""The SageMaker method: the model's archive, what is deployed and deleted, and endpoints of the user's own account."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import tree
from harness.errors import BuildFailure, DoesNotFit, MissingComponent, ModelFailure
from harness.methods import endpoints, imaging, layout, platform_server, sagemaker
from harness.methods.contract import Artifact, Availability, BuildOptions, Installed, Limits, Sizes
from harness.platforms import aws, ecr
from harness.platforms.aws import Account, Ledger
from harness.platforms.depot import Fetched
from harness.spec import weights
from harness.spec.weights import LockedModel

IMAGE_ID = "sha256:" + "1" * 64

# --- image and archive ---------------------------------------------------------------------------


@pytest.fixture
def locked(folder: Any, here: Any) -> LockedModel:
    return weights.locked(folder.read())


@pytest.fixture
def built(locked: LockedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    """The artifact, without an engine."""

    def build(method: str, recipe: imaging.Recipe, locked: LockedModel, workdir: Path, _options: Any) -> Artifact:
        assert recipe.packages == (platform_server.FOLDER, platform_server.BOUNDS)
        assert not recipe.model
        workdir.mkdir(exist_ok=True)
        name = locked.model.name
        return Artifact(method=method, model=name, digest=IMAGE_ID, image="ours/tiny:1", facts={"base": "made-up"})

    monkeypatch.setattr(imaging, "build", build)
    monkeypatch.setattr(layout, "compile_bytecode", lambda *_, **__: None)
    return sagemaker.build(locked, tmp_path / "work", BuildOptions(tool_cache=tmp_path / "cache"))


def test_the_model_travels_as_an_archive_of_its_own(built: Artifact, locked: LockedModel, tmp_path: Path) -> None:
    """What is unpacked at /opt/ml/model is the model's folder itself."""
    assert built.path is not None
    assert built.path.name == "model.tar.gz"
    tree.unpack(built.path, tmp_path / "out")
    assert tree.digest(tmp_path / "out") == tree.digest(locked.payload)
    assert sorted(path.name for path in built.path.parent.iterdir()) == ["model.tar.gz"]


def test_the_digest_is_of_both(built: Artifact, locked: LockedModel, tmp_path: Path) -> None:
    """Other weights in the same image are another artifact; the same are the same."""
    options = BuildOptions(tool_cache=tmp_path / "cache")
    assert sagemaker.build(locked, tmp_path / "again", options).digest == built.digest
    (locked.payload / "more.txt").write_text("x")
    assert sagemaker.build(locked, tmp_path / "other", options).digest != built.digest
    assert built.facts["image_id"] == IMAGE_ID
    assert len(built.digest) == 64


@pytest.mark.parametrize("packed", [1000, None])
def test_sizes_are_of_both(built: Artifact, monkeypatch: pytest.MonkeyPatch, packed: int | None) -> None:
    """A registry's layers and the archive; without a registry it is said why there is no such number."""
    of_image = Sizes(
        packed_bytes=packed,
        unpacked_bytes=3000,
        files=7,
        packed_absent="" if packed else "no registry",
        pieces={"sha256:layer": packed} if packed else {},
        shared_bytes=packed or 0,
    )
    monkeypatch.setattr(imaging, "sizes", lambda *_: of_image)
    found = sagemaker.sizes(built, None)  # type: ignore[arg-type]
    assert built.path is not None
    with tarfile.open(built.path) as archive:
        members = archive.getmembers()
    assert found.unpacked_bytes == 3000 + sum(member.size for member in members)
    assert found.files == 7 + len(members)
    assert found.packed_bytes == (1000 + built.path.stat().st_size if packed else None)
    assert found.packed_absent == of_image.packed_absent
    archive_bytes = {f"sha256:{tree.sha256(built.path)}": built.path.stat().st_size}
    assert found.pieces == ({"sha256:layer": 1000, **archive_bytes} if packed else {})
    assert found.shared_bytes == of_image.shared_bytes


def test_it_is_present_with_both_and_removed_with_both(built: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine is asked for the image by its own id."""
    asked: list[str] = []
    monkeypatch.setattr(imaging, "present", lambda artifact: not asked.append(artifact.digest))
    monkeypatch.setattr(imaging, "remove", lambda _: asked.append("removed"))
    assert sagemaker.present(built)
    sagemaker.remove(built)
    assert not sagemaker.present(built)
    assert asked == [IMAGE_ID, "removed"]


class Depot:
    """Fetches by copying."""

    cloud = "moto"

    def __init__(self, seconds: float | None = 0.5) -> None:
        self.seconds = seconds

    def fetch(self, file: Path, to: Path) -> Fetched:
        to.write_bytes(file.read_bytes())
        return Fetched(seconds=self.seconds, fidelity="emulated", absent="" if self.seconds else "no bucket")


@pytest.mark.parametrize(("pull_s", "fetch_s"), [(2.0, 0.5), (None, 0.5), (2.0, None)])
def test_a_machine_pulls_the_image_and_unpacks_the_model(
    built: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pull_s: float | None, fetch_s: float | None
) -> None:
    """The times add up; where one is not known, neither is the sum, and it is said why."""

    def install(artifact: Artifact, _depot: Any, *more_cold: Path) -> Installed:
        absent = "" if pull_s else "no registry"
        return Installed(
            artifact=artifact, image=artifact.image, own_paths=more_cold, install_s=pull_s, install_absent=absent
        )

    monkeypatch.setattr(imaging, "install", install)
    monkeypatch.setattr(endpoints, "rehearsed", lambda *_: "to the stand-in")
    (tmp_path / "target").mkdir()
    found = sagemaker.install(built, tmp_path / "target", Depot(fetch_s))  # type: ignore[arg-type]
    assert found.root == tmp_path / "target" / "model"
    assert (found.root / "predictor.py").is_file()
    assert found.root in found.own_paths
    assert found.facts == {"deployed": "to the stand-in"}
    assert found.install_fidelity == "emulated"
    if pull_s and fetch_s:
        assert found.install_s is not None
        assert found.install_s >= pull_s + fetch_s
    else:
        assert found.install_s is None
        assert found.install_absent == ("no bucket" if pull_s else "no registry")


def test_the_container_is_started_as_sagemaker_does(built: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    """``serve``, port 8080, the model at its place."""
    asked: dict[str, Any] = {}
    monkeypatch.setattr(imaging, "serving", lambda image, _limits, **how: asked.update(how, image=image))
    limits = Limits(memory_bytes=1, processes=1, disk_bytes=1, start_timeout_s=1, predict_timeout_s=1)
    sagemaker.start(Installed(artifact=built, image="ours/tiny:1", root=Path("/m")), limits)
    assert asked["command"] == ["serve"]
    assert asked["port"] == 8080
    assert asked["mounts"] == {Path("/m"): "/opt/ml/model"}
    assert asked["http"].request({"predict": [1]}) == ("POST", "/invocations", b'{"inputs": [1]}')


def test_it_is_not_ready_without_amazons_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy says what to install."""
    monkeypatch.setattr(imaging, "check", lambda **_: Availability(ready=True))
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.setattr(aws.importlib.util, "find_spec", lambda _: None)
    found = sagemaker.check()
    assert not found.ready
    assert "boto3" in found.reason
    assert found.remedy


# --- deploying -----------------------------------------------------------------------------------


class Aws:
    """An account's services: what is made is there until it is deleted; ``refused`` operations fail."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.refused: dict[str, Exception] = {}
        self.there: dict[str, Any] = {}

    def __getattr__(self, operation: str) -> Any:
        def call(**asked: Any) -> Any:
            self.calls.append((operation, asked))
            if operation in self.refused:
                raise self.refused[operation]
            return {
                "create_repository": {"repository": {"repositoryUri": "1.dkr.ecr/x"}},
                "get_role": {"Role": {"Arn": "arn:role"}},
                "describe_endpoint": {"EndpointStatus": "InService"},
            }.get(operation, {})

        return call

    def get_waiter(self, name: str) -> Any:
        self.calls.append((name, {}))
        if name in self.refused:
            raise self.refused[name]
        return SimpleNamespace(wait=lambda **_: None)

    def made(self, operation: str) -> dict[str, Any]:
        """What an operation was asked with."""
        return next(asked for name, asked in self.calls if name == operation)


class Noted(Account):
    """An account whose things are forgotten when they are deleted, without asking what is there."""

    def __init__(self, services: Aws, ledger: Ledger, *, role: str = "") -> None:
        super().__init__(kind="moto", session=None, ledger=ledger, role=role)
        self.services = services

    def client(self, _service: str) -> Any:
        return self.services

    def delete(self, kind: str, name: str) -> str:
        self.ledger.note(kind, name, "gone")
        return ""


@pytest.fixture
def services() -> Aws:
    return Aws()


@pytest.fixture
def account(services: Aws, tmp_path: Path) -> Noted:
    return Noted(services, Ledger(file=tmp_path / "ledger.json", run="0123abcd", account="1", region="eu-central-1"))


@pytest.fixture
def depot(account: Noted, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A depot with that account; images are put into repositories without an engine."""

    def put(account: Account, _depot: Any, image: str, *, name: str) -> str:
        account.make("repository", name, lambda client: client.create_repository(repositoryName=name))
        return f"1.dkr.ecr/{name}:deployed"

    monkeypatch.setattr(ecr, "put", put)
    return SimpleNamespace(cloud="moto", account=lambda: account)


@pytest.mark.usefixtures("depot")
def test_what_is_deployed_names_its_parts(built: Artifact, account: Noted, services: Aws, depot: Any) -> None:
    """The model its image and archive, the configuration model and machine; everything carries the run's tag."""
    deployed = endpoints.deploy(account, depot, built)
    model = services.made("create_model")
    container = model["PrimaryContainer"]
    bucket = services.made("create_bucket")
    assert bucket["CreateBucketConfiguration"] == {"LocationConstraint": "eu-central-1"}
    assert container["ModelDataUrl"] == f"s3://{bucket['Bucket']}/model.tar.gz"
    assert container["Image"].endswith("-image:deployed")
    assert model["ExecutionRoleArn"] == "arn:role"
    (variant,) = services.made("create_endpoint_config")["ProductionVariants"]
    assert variant["ModelName"] == model["ModelName"]
    assert variant["InstanceType"] == deployed.machine == "ml.m5.large"
    tag = [{"Key": aws.TAG, "Value": "0123abcd"}]
    assert model["Tags"] == tag
    assert services.made("create_endpoint_config")["Tags"] == tag
    assert services.made("put_bucket_tagging")["Tagging"] == {"TagSet": tag}
    assert services.made("create_role")["Tags"] == tag
    policy = json.loads(services.made("put_role_policy")["PolicyDocument"])
    assert all("0123abcd" in each["Resource"] for each in policy["Statement"] if each["Resource"] != "*")


def test_a_role_of_the_users_is_taken(built: Artifact, services: Aws, depot: Any, account: Noted) -> None:
    """None is made then."""
    account.role = "arn:own"
    endpoints.deploy(account, depot, built)
    assert services.made("create_model")["ExecutionRoleArn"] == "arn:own"
    assert "create_role" not in [name for name, _ in services.calls]


def test_the_rehearsal_leaves_nothing(built: Artifact, account: Noted, depot: Any) -> None:
    """An endpoint was in service; bucket, repository, role, model, configuration, endpoint and log are gone."""
    assert "ml.m5.large, InService" in endpoints.rehearsed(built, depot)
    assert account.ledger.open_entries() == []
    kinds = {kind for kind, _ in account.ledger.entries}
    assert kinds == {"bucket", "repository", "role", "model", "endpoint-config", "endpoint", "log-group"}


@pytest.mark.parametrize("operation", ["put_object", "create_model", "create_endpoint", "endpoint_in_service"])
def test_a_rehearsal_that_fails_leaves_nothing_either(
    built: Artifact, account: Noted, services: Aws, depot: Any, operation: str
) -> None:
    """Whatever is refused."""
    services.refused[operation] = RuntimeError("refused")
    with pytest.raises(BuildFailure, match="refused"):
        endpoints.rehearsed(built, depot)
    assert account.ledger.open_entries() == []


def test_without_a_stand_in_it_is_said(built: Artifact) -> None:
    """The container can be measured all the same."""

    def account() -> Any:
        raise MissingComponent("there is no moto", remedy="get one")

    said = endpoints.rehearsed(built, SimpleNamespace(account=account))  # type: ignore[arg-type]
    assert said == "not deployed: there is no moto"


@pytest.mark.parametrize(("memory_mb", "name"), [(1, "ml.m5.large"), (8192, "ml.m5.large"), (8193, "ml.m5.xlarge")])
def test_the_machine_has_the_memory(memory_mb: int, name: str) -> None:
    """The smallest that has."""
    assert endpoints.machine(memory_mb) == name


def test_a_model_without_a_machine_does_not_fit() -> None:
    with pytest.raises(DoesNotFit, match="memory_mb is 100000"):
        endpoints.machine(100000)


def test_limits_are_of_the_guide_and_no_size_is_held() -> None:
    """Those of serverless endpoints are told apart by their names."""
    assert all("docs.aws.amazon.com/sagemaker" in limit.source and not limit.metric for limit in endpoints.LIMITS)
    assert {limit.value for limit in endpoints.LIMITS if "serverless" in limit.name} >= {1024, 6144}


# --- on the user's own account -------------------------------------------------------------------


class Endpoint:
    """An endpoint's container, whose clock is 1000 s ahead of ours."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer

    def invoke_endpoint(self, **asked: Any) -> Any:
        question = json.loads(asked["Body"])
        if isinstance(self.answer, Exception):
            raise self.answer
        answer = self.answer
        if "facts" in question:
            now = time.monotonic() + 1000
            stamps = {"interpreter": now - 3, "imports": now - 2, "weights": now - 1, "now": now}
            answer = {"facts": {"python": "3.11"}, "stamps": stamps}
        elif answer is None:
            answer = {"outputs": question["inputs"]}
        return {"Body": io.BytesIO(json.dumps(answer).encode())}


def on_endpoint(answer: Any = None, spawned_s: float = 0.0) -> endpoints.OnEndpoint:
    account = SimpleNamespace(client=lambda service: {"sagemaker-runtime": Endpoint(answer)}[service])
    return endpoints.OnEndpoint(account, "e", spawned_s)  # type: ignore[arg-type]


def test_an_endpoint_answers_through_aws() -> None:
    """Its phases are moved to our clock; what comes before its first line is the platform's."""
    spawned_s = time.monotonic() - 200
    instance = on_endpoint(spawned_s=spawned_s)
    assert instance.predict([1, 2]) == [1, 2]
    assert instance.facts() == {"python": "3.11"}
    stamps, now = instance.stamps(), time.monotonic()
    assert stamps.spawned_s == spawned_s
    assert stamps.sandbox_s == stamps.interpreter_s == pytest.approx(now - 3, abs=0.5)
    assert stamps.weights_s == pytest.approx(now - 1, abs=0.5)
    assert instance.usage().peak_memory_bytes is None


@pytest.mark.parametrize("answer", [{}, [], {"outputs": 3}])
def test_rubbish_is_the_models_failure(answer: Any) -> None:
    with pytest.raises(ModelFailure, match="rubbish"):
        on_endpoint(answer).predict([1])


def test_what_the_container_says_is_passed_on() -> None:
    """AWS wraps it."""
    from botocore.exceptions import ClientError

    said = {"error": {"stage": "predict", "type": "ValueError", "message": "no such word", "where": "predictor.py:9"}}
    response: Any = {"Error": {"Code": "ModelError", "Message": "..."}, "OriginalMessage": json.dumps(said)}
    with pytest.raises(ModelFailure, match=r"predicting raised ValueError: no such word \(predictor.py:9\)"):
        on_endpoint(ClientError(response, "InvokeEndpoint")).predict([1])
    response["OriginalMessage"] = "<html>"
    with pytest.raises(ModelFailure, match="on AWS, asking the endpoint e: AWS refused"):
        on_endpoint(ClientError(response, "InvokeEndpoint")).predict([1])


def test_each_start_on_aws_has_an_endpoint_of_its_own(built: Artifact, account: Noted, depot: Any) -> None:
    """It is deleted when the start is over; what it was made of stays for the next."""
    installed = endpoints.installed_on_aws(built, depot)
    assert installed.elsewhere is not None
    assert installed.start_fidelity == "measured"
    for _ in range(2):
        with installed.elsewhere():
            assert "endpoint" in {entry.kind for entry in account.ledger.open_entries()}
        kinds = {entry.kind for entry in account.ledger.open_entries()}
        assert kinds == {"bucket", "repository", "role", "model", "endpoint-config"}


def test_sagemaker_uses_the_users_account_when_it_is_asked_for(
    built: Artifact, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is started here then."""
    elsewhere: list[str] = []

    @contextmanager
    def start() -> Iterator[Any]:
        elsewhere.append("started")
        yield None

    installed = Installed(artifact=built, elsewhere=start)
    monkeypatch.setattr(endpoints, "installed_on_aws", lambda *_: installed)
    assert sagemaker.install(built, tmp_path, SimpleNamespace(cloud="real")) is installed  # type: ignore[arg-type]
    limits = Limits(memory_bytes=1, processes=1, disk_bytes=1, start_timeout_s=1, predict_timeout_s=1)
    with sagemaker.start(dataclasses.replace(installed), limits):
        assert elsewhere == ["started"]
