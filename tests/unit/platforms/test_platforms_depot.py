"""What a depot remembers of pulls. Real transfers are in tests/real."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness import paths
from harness.platforms import depot
from harness.platforms.engine import Engine

ENGINE = cast("Engine", SimpleNamespace(url="unix:///made-up.sock"))


@pytest.fixture
def pulled(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An engine, a registry and a node that are pretended; what the image's digest is, and what was pulled."""
    known: dict[str, Any] = {"digest": "sha256:aa", "pulls": []}

    @contextlib.contextmanager
    def asking(*_: Any, **__: Any) -> Iterator[Any]:
        yield SimpleNamespace(
            inspect_image=lambda _: {"Id": known["digest"]},
            remove_image=lambda *_, **__: None,
            prune_images=lambda **_: None,
        )

    monkeypatch.setattr(depot.engine, "asking", asking)
    monkeypatch.setattr(depot.engine, "apart", lambda: contextlib.nullcontext(ENGINE))
    monkeypatch.setattr(depot.registry, "session", contextlib.nullcontext)
    pushed = SimpleNamespace(reference="registry/image")
    monkeypatch.setattr(depot.registry, "push", lambda *_, **__: pushed)
    monkeypatch.setattr(depot.registry, "pull", lambda _, reference: known["pulls"].append(reference))
    return known


def pull(*, anew: bool) -> depot.Fetched:
    """Pull once, from a depot of its own."""
    with depot.session(anew=anew) as found:
        return found.pull(ENGINE, "image:tag")


def test_a_pull_is_kept_for_who_does_not_want_it_anew(pulled: dict[str, Any]) -> None:
    """With the time at which it was taken; who wants it anew has it taken anew."""
    first = pull(anew=False)
    assert (first.kept, len(pulled["pulls"])) == ("", 1)
    again = pull(anew=False)
    assert again.seconds == first.seconds
    assert again.kept
    assert len(pulled["pulls"]) == 1
    assert pull(anew=True).kept == ""
    assert len(pulled["pulls"]) == 2


def test_an_emptied_depot_has_no_registry_any_more(pulled: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What was pushed is gone with it; what is asked for afterwards is pushed to another."""
    log: list[str] = []

    @contextlib.contextmanager
    def session() -> Iterator[Any]:
        log.append("begins")
        yield SimpleNamespace()
        log.append("ends")

    monkeypatch.setattr(depot.registry, "session", session)
    with depot.session() as found:
        found.empty()
        found.push(ENGINE, "image:tag")
        found.push(ENGINE, "image:tag")
        assert log == ["begins"]
        found.empty()
        assert log == ["begins", "ends"]
        found.push(ENGINE, "image:tag")
    assert log == ["begins", "ends"] * 2


def test_another_image_of_the_same_name_is_pulled(pulled: dict[str, Any]) -> None:
    """What is kept is of the contents."""
    pull(anew=False)
    pulled["digest"] = "sha256:bb"
    assert pull(anew=False).kept == ""


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"seconds": "x", "at": "y"}'])
def test_a_damaged_record_is_no_record(pulled: dict[str, Any], text: str) -> None:
    """It is taken anew, and written anew."""
    (paths.cache() / "pulls").mkdir()
    (paths.cache() / "pulls" / "aa.json").write_text(text)
    assert pull(anew=False).kept == ""
    assert pull(anew=False).kept
    assert len(pulled["pulls"]) == 1


def test_a_tag_that_was_given_to_another_image_is_pushed_again(
    pulled: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in the registry is told apart by its contents."""
    pushed: list[str] = []
    monkeypatch.setattr(depot.registry, "push", lambda *_, **__: pushed.append(pulled["digest"]) or len(pushed))
    with depot.session() as found:
        assert [found.push(ENGINE, "image:tag") for _ in range(2)] == [1, 1]
        pulled["digest"] = "sha256:bb"
        assert found.push(ENGINE, "image:tag") == 2
    assert pushed == ["sha256:aa", "sha256:bb"]


def test_a_manifest_is_asked_for_once(pulled: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a matter of the image's contents: it is kept, whoever asks; another image has its own."""
    asked: list[tuple[str, str, str]] = []

    def manifest_of(server: Any, name: str, reference: str) -> Any:
        asked.append((server.address, name, reference))
        return {"layers": [], "n": len(asked)}, reference

    pushed = SimpleNamespace(reference="127.0.0.1:1/tiny@sha256:2")
    monkeypatch.setattr(depot.registry, "push", lambda *_, **__: pushed)
    monkeypatch.setattr(depot.registry, "manifest_of", manifest_of)
    for anew in (False, True):
        with depot.session(anew=anew) as found:
            assert found.manifest(ENGINE, "image:tag") == '{"layers": [], "n": 1}'
    assert asked == [("127.0.0.1:1", "tiny", "sha256:2")]
    pulled["digest"] = "sha256:bb"
    with depot.session() as found:
        assert found.manifest(ENGINE, "image:tag") == '{"layers": [], "n": 2}'
