"""``[[index]]`` of model.toml: what may be said, and that a package comes from its index alone."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import BadInput
from harness.spec import indexes, pins
from harness.spec.indexes import Index
from harness.spec.model import as_table

A = "a" * 64
OURS = {"name": "company", "url": "https://packages.example.org/simple", "packages": ["secret"]}


def test_names_and_addresses_are_kept_in_one_form(folder: Any) -> None:
    """As indexes compare names, and without a slash at the end."""
    folder.write(index=[{**OURS, "url": OURS["url"] + "/", "packages": ["My.Secret_Thing"]}])
    [index] = folder.read().file.index
    assert (index.url, index.packages) == (OURS["url"], ("my-secret-thing",))


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/simple", "http://localhost/simple", "http://[::1]:8080/simple"])
def test_this_machine_may_be_asked_without_encryption(folder: Any, url: str) -> None:
    """Nobody is between."""
    folder.write(index=[{**OURS, "url": url}])
    assert folder.read().file.index[0].url == url


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"url": "https://user:secret@packages.example.org/simple"}, "~/.netrc"),
        ({"url": "https://token@packages.example.org/simple"}, "~/.netrc"),
        ({"url": "http://packages.example.org/simple"}, "must begin with 'https://'"),
        ({"url": "http://127.0.0.1.example.org/simple"}, "must begin with 'https://'"),
        ({"url": "file:///srv/packages"}, "is not the address of an index"),
        ({"url": "https://packages.example.org/simple?a=b"}, "is not the address of an index"),
        ({"url": "https://packages.example.org/simple\n--no-index"}, "is not the address of an index"),
        ({"url": "https:///simple"}, "has no host"),
        ({"url": "https://packages.example.org:99999/simple"}, "has no host, or a port"),
        ({"name": "My Company"}, "lower-case"),
        ({"packages": []}, "at least 1"),
        ({"packages": ["secret; x"]}, "is not the name of a package"),
        ({"token": "secret"}, "is not a known key"),
    ],
)
def test_what_may_not_be_said_is_named(folder: Any, change: dict[str, Any], says: str) -> None:
    """With file and key. Passwords stand elsewhere, and none is repeated by a check that they are not here."""
    folder.write(index=[{**OURS, **change}])
    with pytest.raises(BadInput) as raised:
        folder.read()
    assert says in str(raised.value)
    assert "index.0" in str(raised.value)
    assert "user:secret" not in str(raised.value)
    assert "token@" not in str(raised.value)
    assert str(folder.path / "model.toml") in str(raised.value)


@pytest.mark.parametrize(
    ("other", "key"),
    [
        ({"name": "company", "url": "https://other.example.org", "packages": ["x"]}, "index.name"),
        ({"name": "other", "url": OURS["url"] + "/", "packages": ["x"]}, "index.url"),
        ({"name": "other", "url": "https://other.example.org", "packages": ["Secret"]}, "index.packages"),
    ],
)
def test_two_indexes_have_nothing_in_common(folder: Any, other: dict[str, Any], key: str) -> None:
    """Above all no package: it would be anybody's guess where it comes from."""
    folder.write(index=[OURS, other])
    with pytest.raises(BadInput, match="is given twice") as raised:
        folder.read()
    assert key in raised.value.problem


def test_models_without_an_index_keep_their_digests(folder: Any) -> None:
    """What was measured before stays comparable."""
    assert "index" not in as_table(folder.read().file)
    folder.write(index=[OURS])
    assert "index" in as_table(folder.read().file)


def test_a_pin_is_from_the_index_that_its_package_belongs_to() -> None:
    """Neither a listed package from elsewhere, nor another package from a listed index."""
    ours = Index(name="company", url="https://packages.example.org/simple", packages=("secret",))

    def check(text: str) -> None:
        found = pins.parse(text, file="lock", remedy="again", indexes=[ours.url])
        indexes.check_pins(found, [ours], file="lock", remedy="again")

    check(f"secret==1.0 --hash=sha256:{A}\n# from {ours.url}/\nother==1.0 --hash=sha256:{A}\n")
    with pytest.raises(BadInput, match="an index of the user"):
        check(f"Secret==1.0 --hash=sha256:{A}\n")
    with pytest.raises(BadInput, match="none of its own"):
        check(f"other==1.0 --hash=sha256:{A}\n# from {ours.url}\n")
    with pytest.raises(BadInput, match="names an index that"):
        check(f"secret==1.0 --hash=sha256:{A}\n# from https://evil.example/simple\n")
