"""``[[index]]`` of ``model.toml``: package indexes besides those of the user, each with the packages that it is for.

A package that is listed comes from its index alone, and no other package comes from there. So nobody can put a package
of the same name into another index and have it installed instead ("dependency confusion").
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from annotated_types import Len
from packaging.utils import InvalidName, canonicalize_name
from pydantic import AfterValidator

from harness.errors import BadInput
from harness.spec import reading
from harness.spec.pins import Pin

_ADDRESS = re.compile(r"https?://[A-Za-z0-9._~:/@%+-]+|http://\[::1\](:\d{1,5})?[A-Za-z0-9._~/%+-]*")


def _name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?", value):
        raise ValueError("use lower-case letters, digits and hyphens, at most 64")
    return value


def _address(value: str) -> str:
    if not _ADDRESS.fullmatch(value) or ".." in value.split("/"):
        raise ValueError("is not the address of an index, such as 'https://packages.example.org/simple'")
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, None
    if not host or parts is None:
        raise ValueError("has no host, or a port that is none")
    if parts.scheme == "http" and not _loopback(host):
        raise ValueError("must begin with 'https://': what 'http://' brings can be changed on its way")
    return value.rstrip("/")


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _package(value: str) -> str:
    try:
        return canonicalize_name(value, validate=True)
    except InvalidName:
        raise ValueError("is not the name of a package") from None


@dataclass(frozen=True, kw_only=True)
class Index:
    """One index: its name, its address, and the packages that come from there and from nowhere else."""

    __pydantic_config__ = reading.STRICT

    name: Annotated[str, AfterValidator(_name)]
    url: Annotated[str, AfterValidator(_address)]
    packages: Annotated[tuple[Annotated[str, AfterValidator(_package)], ...], Len(min_length=1)]


def check(indexes: Sequence[Index], file: Path) -> None:
    """BadInput where an address holds a password, or two have a name, an address or a package in common."""
    for number, index in enumerate(indexes):
        if "@" in index.url:
            raise BadInput(
                "holds a user or a password, which model.toml would give to everyone who has the model",
                file=file,
                key=f"index.{number}.url",
                value=f"https://***@{index.url.rpartition('@')[2]}",  # it is not to be in a log either
                remedy="put them into ~/.netrc, under the name of the host; uv, pip and the harness read that",
            )
    for what, key, values in (
        ("the name", "name", [index.name for index in indexes]),
        ("the address", "url", [index.url for index in indexes]),
        ("the package", "packages", [package for index in indexes for package in index.packages]),
    ):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise BadInput(
                f"{what} is given twice",
                file=file,
                key=f"index.{key}",
                value=twice,
                remedy="keep one: a package comes from one index alone",
            )


def index_of(indexes: Iterable[Index], package: str) -> str:
    """The address of the index that ``package`` comes from; empty where it is none of these."""
    name = canonicalize_name(package)
    return next((index.url for index in indexes if name in index.packages), "")


def check_pins(pins: Iterable[Pin], indexes: Sequence[Index], *, file: object, remedy: str) -> None:
    """BadInput where a pin is not from the index that its package belongs to."""
    ours = {index.url for index in indexes}
    for pin in pins:
        belongs = index_of(indexes, pin.requirement.name)
        if pin.index != belongs and (belongs or pin.index in ours):
            raise BadInput(
                f"is from {pin.index or 'an index of the user'}, and model.toml says {belongs or 'none of its own'}",
                file=file,
                key=pin.requirement.name,
                value=pin.line,
                remedy=remedy,
            )
