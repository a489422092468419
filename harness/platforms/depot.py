"""Where artifacts wait to be fetched by a node that has none: an image registry, and a bucket.

Each is started when it is first needed, serves on loopback, and is gone after the depot's block. What a
transfer takes here is the time of real software over loopback; a slower link's share is bytes over bandwidth,
and is modelled elsewhere, never added here.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from harness import paths, process
from harness.errors import BuildFailure, HarnessError, MissingComponent
from harness.metrics import Fidelity
from harness.platforms import aws, engine, lambda_runtime, moto, registry
from harness.platforms.aws import Account, AccountKind
from harness.platforms.engine import Engine
from harness.platforms.registry import PushedImage, Registry

_BUCKET = "/artifacts"
_CHUNK_BYTES = 2**20
_PUBLIC = {"x-amz-acl": "public-read"}  # a node fetches by plain HTTP, as with a presigned address


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """How long a node took to get an artifact; ``absent`` says why there is no such number, where there is none.

    ``kept`` is the time at which it was taken, where that was not now.
    """

    seconds: float | None
    fidelity: Fidelity
    absent: str = ""
    kept: str = ""


class Depot:
    """What :func:`session` gives; use it there only."""

    def __init__(
        self, stack: contextlib.ExitStack, *, cloud: AccountKind = "moto", role: str = "", anew: bool = True
    ) -> None:
        self._stack, self.cloud, self._role, self._anew = stack, cloud, role, anew
        self._images = stack.enter_context(contextlib.ExitStack())
        self._registry: Registry | None = None
        self._node: Engine | None = None
        self._moto: str | None = None
        self._account: Account | None = None
        self._pushed: dict[str, PushedImage] = {}

    def aws_endpoint(self) -> str:
        """The address of the stand-in for AWS. MissingComponent where it can't be had here."""
        if self._moto is None:
            settings = {"HARNESS_INVOKE_ONCE": lambda_runtime.INVOKE_ONCE}
            with contextlib.suppress(MissingComponent):  # only functions that are invoked there need an engine
                settings["DOCKER_HOST"] = engine.connect().url
            self._moto = self._stack.enter_context(moto.session(**settings))
        return self._moto

    def account(self) -> Account:
        """The account to deploy to: the stand-in's, or the user's own where the session was asked for that.

        What is made there is deleted when the depot's block ends. MissingComponent where it can't be had.
        """
        if self._account is None:
            opened = aws.real(role=self._role) if self.cloud == "real" else aws.on_moto(self.aws_endpoint())
            self._account = self._stack.enter_context(opened)
        return self._account

    def push(self, running: Engine, image: str) -> PushedImage:
        """The image as the registry has it, pushed where it is not there yet. MissingComponent without a registry."""
        image_id = _digest(running, image)  # a tag may have been given to another image since
        known = self._pushed.get(image_id)
        if known is None:
            if self._registry is None:
                self._registry = self._images.enter_context(registry.session())
            name = image.partition(":")[0].rpartition("/")[2]
            known = self._pushed[image_id] = registry.push(self._registry, running, image, name=name)
        return known

    def empty(self) -> None:
        """Let go of the images that were pushed: each is one more copy, and no other model has any use for it."""
        self._pushed.clear()
        self._registry = None
        self._images.close()

    def manifest(self, running: Engine, image: str) -> str:
        """The registry's manifest of the image, as JSON: a matter of its contents, so it is asked for once and kept."""
        record = paths.cache() / "manifests" / f"{_digest(running, image)}.json"
        with contextlib.suppress(OSError):
            return record.read_text()
        server, _, rest = self.push(running, image).reference.partition("/")
        name, _, digest = rest.partition("@")
        found, _ = registry.manifest_of(Registry(address=server), name, digest)
        with process.disk_full_named(record):
            record.parent.mkdir(exist_ok=True)
            part = record.with_suffix(".part")
            part.write_text(json.dumps(found))
            part.replace(record)
        return json.dumps(found)

    def pull(self, running: Engine, image: str) -> Fetched:
        """Have a node with an empty store pull the image: download, check and unpack every layer, base included.

        What that took is kept under the image's digest; where nothing has to be taken anew, it is what comes back.
        """
        record = paths.cache() / "pulls" / f"{_digest(running, image)}.json"
        kept = None if self._anew else _kept_pull(record)
        if kept is not None:
            return kept
        try:
            pushed = self.push(running, image)
            if self._node is None:
                self._node = self._stack.enter_context(engine.apart())
        except MissingComponent as error:
            return Fetched(seconds=None, fidelity="measured", absent=str(error))
        begin = time.monotonic()
        registry.pull(self._node, pushed.reference)
        seconds = time.monotonic() - begin
        with engine.asking(self._node, f"removing {pushed.reference}") as asked:
            asked.remove_image(pushed.reference, force=True)
            asked.prune_images(filters={"dangling": False})  # so that the next pull finds nothing either
        with process.disk_full_named(record):
            record.parent.mkdir(exist_ok=True)
            at = datetime.now(UTC).isoformat(timespec="seconds")
            record.write_text(json.dumps({"seconds": seconds, "at": at}))
        return Fetched(seconds=seconds, fidelity="measured")

    def fetch(self, file: Path, to: Path) -> Fetched:
        """Put the file into the bucket, have it fetched from there as ``to``; only the fetching is timed."""
        try:
            endpoint = self.aws_endpoint()
        except HarnessError as error:  # a tool environment that can't be made is a BuildFailure
            if not isinstance(error, MissingComponent | BuildFailure):
                raise
            shutil.copyfile(file, to)
            return Fetched(seconds=None, fidelity="emulated", absent=f"there is no bucket to fetch from: {error}")
        key = f"{_BUCKET}/{hashlib.sha256(str(file).encode()).hexdigest()[:16]}"
        with process.ledger.waiting_for("tools"):
            moto.put(endpoint, _BUCKET)
            with file.open("rb") as content:
                moto.put(endpoint, key, content, **_PUBLIC, **{"Content-Length": str(file.stat().st_size)})
            begin = time.monotonic()
            _get(endpoint + key, to)
            seconds = time.monotonic() - begin
            moto.delete(endpoint, key)
        return Fetched(seconds=seconds, fidelity="emulated")


class Nowhere(Depot):
    """No depot: what was just built is taken from where it lies, and no platform is told of it. Nothing is timed."""

    def __init__(self) -> None:
        super().__init__(contextlib.ExitStack())

    def aws_endpoint(self) -> str:
        """There is none."""
        raise MissingComponent("what was just built is asked where it lies, before it is deployed")

    def push(self, running: Engine, image: str) -> PushedImage:  # noqa: ARG002
        """There is no registry."""
        raise MissingComponent("what was just built is asked where it lies, before it is pushed")


@contextmanager
def session(*, cloud: AccountKind = "moto", role: str = "", anew: bool = True) -> Iterator[Depot]:
    """A depot for the time of a block.

    ``cloud="real"`` deploys to the user's own AWS account, which the caller has had confirmed; ``role`` is the
    execution role to use there, empty to make one. Without ``anew`` an image that was pulled before is not pulled
    again: how long it took then is what it takes.
    """
    with contextlib.ExitStack() as stack:
        yield Depot(stack, cloud=cloud, role=role, anew=anew)


def _digest(running: Engine, image: str) -> str:
    with engine.asking(running, f"looking at {image}") as asked:
        return str(asked.inspect_image(image)["Id"]).rpartition(":")[2]


def _kept_pull(record: Path) -> Fetched | None:
    try:
        table = json.loads(record.read_text())
        return Fetched(seconds=float(table["seconds"]), fidelity="measured", kept=str(table["at"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _get(url: str, to: Path) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=300)
    with contextlib.closing(connection), process.disk_full_named(to), to.open("wb") as written:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise MissingComponent(f"the bucket answered {response.status}", remedy="try again")
        shutil.copyfileobj(response, written, _CHUNK_BYTES)
