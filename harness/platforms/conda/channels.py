"""Which channel environments come from: a given mirror, those that the model names, or one made here.

A channel on a server is used where it answers within seconds; a host that is silent would otherwise hang the solver
for minutes, and one dead channel fails the whole solve. So it is asked first, once a process, and a local
channel is made from the locked wheels where it does not answer. ``HARNESS_CONDA_CHANNEL`` (an address or a
folder) takes the place of all of the model's channels; where that one does not answer, it is an error.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from harness import settings
from harness.errors import BadInput, BuildFailure
from harness.platforms.conda import tooling
from harness.spec.model import Model

VARIABLE = "HARNESS_CONDA_CHANNEL"
PROBE_S = 5.0
_PATIENCE_S = 60.0  # with a mirror that the user named
_PUBLIC = "https://conda.anaconda.org"

LOCAL = "local channel built from the wheelhouse"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where packages come from: the channels' addresses; none where a local channel is to be made."""

    urls: tuple[str, ...]

    @property
    def local(self) -> bool:
        """Whether a channel is made here."""
        return not self.urls

    @property
    def said(self) -> str:
        """As it stands in results: without passwords, and without folders of this machine."""
        return ", ".join(_shown(url) for url in self.urls) or LOCAL


def source(model: Model, minor: str) -> Source:
    """The channels for a model that runs under Python ``minor`` (``3.11``).

    BadInput where the given one is no channel, or does not answer.
    """
    given = settings.text(VARIABLE)
    if given:
        return _given(given, minor)
    for number, channel in enumerate(model.file.conda.channels):
        parts = urlsplit(channel)
        if parts.scheme == "file" and not os.path.isdir(unquote(parts.path)):
            raise BadInput(
                "there is no such folder",
                file=model.folder / "model.toml",
                key=f"conda.channels.{number}",
                value=channel,
                remedy="name a folder that is there, or a channel on a server",
            )
    return _public(tuple(_address(channel) for channel in model.file.conda.channels), minor)


@lru_cache(maxsize=16)
def _public(urls: tuple[str, ...], minor: str) -> Source:
    try:
        answers = bool(urls) and _ask(urls, minor, PROBE_S) > 0
    except BuildFailure:
        answers = False
    return Source(urls=urls if answers else ())


@lru_cache(maxsize=4)
def _given(given: str, minor: str) -> Source:
    remedy = (
        "give the address of a channel ('https://host/conda-forge') or the folder that has its 'linux-64' and 'noarch'"
    )
    folder, shown = settings.path(given, key=VARIABLE), tooling.without_secrets(given)
    if "://" not in given and not os.path.isdir(folder):
        raise BadInput("is neither an address nor a folder that is there", key=VARIABLE, value=shown, remedy=remedy)
    url = given.rstrip("/") if "://" in given else folder.resolve().as_uri()
    try:
        found = _ask((url,), minor, _PATIENCE_S)
    except BuildFailure as error:
        raise BadInput(f"does not answer: {error.problem}", key=VARIABLE, value=shown, remedy=remedy) from error
    if not found:
        lacking = f"has no Python {minor} for {tooling.platform()}"
        raise BadInput(lacking, key=VARIABLE, value=shown, remedy=remedy)
    return Source(urls=(url,))


def _ask(urls: tuple[str, ...], minor: str, timeout_s: float) -> int:
    request = {
        "channels": urls,
        "platform": tooling.platform(),
        "spec": f"python {minor}.*",
        "timeout_s": int(timeout_s),
        "cache": str(tooling.folder("repodata")),
    }
    # A second more than the client itself waits, for the process around it.
    return int(tooling.task("probe", request, timeout_s=timeout_s + 1, network=True)["found"])


def _address(channel: str) -> str:
    return channel.rstrip("/") if "://" in channel else f"{_PUBLIC}/{channel}"


def _shown(url: str) -> str:
    return f"a folder ({VARIABLE})" if url.startswith("file:") else tooling.without_secrets(url)
