"""Putting an image into a repository of Amazon's registry."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import BuildFailure
from harness.platforms import ecr, engine

IMAGE = "ours/tiny:1"


class Account:
    """An account that has a registry; ``calls`` are what it was asked."""

    def __init__(self, kind: str) -> None:
        self.kind, self.tags = kind, {"tag": "run"}
        self.calls: list[tuple[str, Any]] = []

    def make(self, kind: str, _name: str, ask: Any) -> Any:
        assert kind == "repository"
        return ask(self)

    def client(self, service: str) -> Account:
        assert service == "ecr"
        return self

    def create_repository(self, **asked: Any) -> Any:
        self.calls.append(("create", asked))
        return {"repository": {"repositoryUri": "1.dkr.ecr/new"}}

    def put_image(self, **asked: Any) -> None:
        self.calls.append(("put", asked))

    def get_authorization_token(self) -> Any:
        return {"authorizationData": [{"authorizationToken": base64.b64encode(b"AWS:word:of:pass").decode()}]}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the engine is asked; ``answers`` are what it says of a push."""
    found: dict[str, Any] = {"answers": [{"status": "pushed"}]}
    client = SimpleNamespace(
        tag=lambda *what: found.update(tag=what),
        push=lambda where, **how: found.update(push=(where, how)) or found["answers"],
        remove_image=lambda what, **_: found.update(removed=what),
    )

    @contextmanager
    def asking(*_: Any) -> Iterator[Any]:
        yield client

    monkeypatch.setattr(engine, "connect", lambda: None)
    monkeypatch.setattr(engine, "asking", asking)
    return found


@pytest.mark.usefixtures("asked")
def test_the_stand_in_is_given_the_manifest_of_a_real_registry() -> None:
    """It stores no layers."""
    depot: Any = SimpleNamespace(manifest=lambda _engine, image: f'{{"of": "{image}"}}')
    account: Any = Account("moto")
    assert ecr.put(account, depot, IMAGE, name="new") == "1.dkr.ecr/new:deployed"
    assert account.calls == [
        ("create", {"repositoryName": "new", "tags": [{"Key": "tag", "Value": "run"}]}),
        ("put", {"repositoryName": "new", "imageManifest": f'{{"of": "{IMAGE}"}}', "imageTag": "deployed"}),
    ]


def test_the_users_repository_is_pushed_to(asked: dict[str, Any]) -> None:
    """With the login that AWS gives; the engine keeps no tag of it."""
    account: Any = Account("real")
    assert ecr.put(account, SimpleNamespace(), IMAGE, name="new") == "1.dkr.ecr/new:deployed"  # type: ignore[arg-type]
    assert asked["tag"] == (IMAGE, "1.dkr.ecr/new", "deployed")
    assert asked["push"][0] == "1.dkr.ecr/new"
    assert asked["push"][1]["auth_config"] == {"username": "AWS", "password": "word:of:pass"}
    assert asked["removed"] == "1.dkr.ecr/new:deployed"


def test_a_push_that_is_refused_is_said(asked: dict[str, Any]) -> None:
    """And the tag goes all the same."""
    asked["answers"] = [{"error": "denied"}]
    account: Any = Account("real")
    with pytest.raises(BuildFailure, match="denied"):
        ecr.put(account, SimpleNamespace(), IMAGE, name="new")  # type: ignore[arg-type]
    assert asked["removed"] == "1.dkr.ecr/new:deployed"
