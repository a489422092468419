"""A real image registry on loopback, for as long as a block: what an image weighs when it travels.

Debian's ``docker-registry`` (the CNCF "distribution" registry). Engines trust 127.0.0.0/8 without TLS.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness import process
from harness.errors import CheckFailure, MissingComponent
from harness.platforms import loopback
from harness.platforms.engine import Engine, asking, asking_apart, refusal
from harness.process import Child

_START_S = 15.0
_MANIFEST_TYPES = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)


@dataclass(frozen=True, kw_only=True)
class Registry:
    """A registry that answers at ``address`` (``127.0.0.1:port``)."""

    address: str


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer as the registry stores it: compressed."""

    digest: str
    compressed_bytes: int


@dataclass(frozen=True, kw_only=True)
class PushedImage:
    """An image in a registry; ``reference`` names it by digest, so that it can be pulled."""

    reference: str
    digest: str
    layers: tuple[Layer, ...]
    config_digest: str
    config_bytes: int

    @property
    def packed_bytes(self) -> int:
        """What travels to a node that has nothing of it: compressed layers and the configuration."""
        return sum(self.pieces.values())

    @property
    def pieces(self) -> dict[str, int]:
        """The bytes of each layer and of the configuration by digest; a layer that occurs twice travels once."""
        return {
            **{layer.digest: layer.compressed_bytes for layer in self.layers},
            self.config_digest: self.config_bytes,
        }

    def lowest_bytes(self, count: int) -> int:
        """The compressed bytes of the ``count`` lowest layers, which are those of the image that it was built on."""
        return sum({layer.digest: layer.compressed_bytes for layer in self.layers[:count]}.values())


def check() -> None:
    """MissingComponent where there is no registry to run."""
    if _program() is None:
        raise MissingComponent(
            "there is no docker-registry: what an image weighs when it travels can't be measured",
            remedy="apt-get install docker-registry",
        )


@contextmanager
def session() -> Iterator[Registry]:
    """A registry of our own on a free port; it and what it stores are gone afterwards."""
    check()
    with process.temporary_folder("registry") as folder, contextlib.ExitStack() as stack:
        for _ in range(loopback.PORTS_TRIED):
            port = loopback.free_port()
            child = stack.enter_context(_server(folder, port))
            if loopback.answers(child, port, "/v2/", within_s=_START_S):
                yield Registry(address=f"127.0.0.1:{port}")
                return
            said = child.output()
        raise MissingComponent(
            f"docker-registry did not start: {said.strip()[-300:]}", remedy="try 'docker-registry serve'"
        )


def push(registry: Registry, engine: Engine, image: str, *, name: str = "image") -> PushedImage:
    """Push the engine's ``image`` as ``name``; the registry's own manifest says what it weighs."""
    repository = f"{registry.address}/{name}"
    digest = ""
    # Podman would ask for a certificate.
    plain = {"tlsVerify": "false"} if engine.software == "Podman" else {}
    with asking_apart(engine, f"pushing {image}", plain) as asked:
        asked.tag(image, repository, "pushed")
        try:
            for answer in asked.push(repository, tag="pushed", stream=True, decode=True):
                if "error" in answer:
                    raise refusal(f"pushing {image}", str(answer["error"]))
                digest = answer.get("aux", {}).get("Digest", digest)
        finally:
            asked.remove_image(f"{repository}:pushed", noprune=True)
    manifest, digest = manifest_of(registry, name, digest or "pushed")
    return pushed_image(f"{repository}@{digest}", digest, manifest)


def pull(engine: Engine, reference: str) -> str:
    """Pull an image by its reference, as a node does; its id."""
    with asking(engine, f"pulling {reference}") as asked:
        for answer in asked.pull(reference, stream=True, decode=True):
            if "error" in answer:
                raise refusal(f"pulling {reference}", str(answer["error"]))
        found: str = asked.inspect_image(reference)["Id"]
    return found


def manifest_of(registry: Registry, name: str, reference: str) -> tuple[dict[str, Any], str]:
    """The manifest of an image of one platform, and its digest; an index is followed to its first such."""
    manifest, digest = _get(registry, f"/v2/{name}/manifests/{reference}")
    for entry in manifest.get("manifests", []):
        if entry.get("platform", {}).get("os") != "unknown":  # an attestation is no image
            return _get(registry, f"/v2/{name}/manifests/{entry['digest']}")
    return manifest, digest


def pushed_image(reference: str, digest: str, manifest: dict[str, Any]) -> PushedImage:
    """The record of an image manifest (Docker v2 schema 2, or OCI)."""
    if "config" not in manifest or "layers" not in manifest:
        raise CheckFailure(f"the registry's manifest of {reference} has no layers")
    layers: Sequence[dict[str, Any]] = manifest["layers"]
    return PushedImage(
        reference=reference,
        digest=digest,
        layers=tuple(Layer(digest=layer["digest"], compressed_bytes=int(layer["size"])) for layer in layers),
        config_digest=manifest["config"]["digest"],
        config_bytes=int(manifest["config"]["size"]),
    )


def configuration(folder: Path, port: int) -> str:
    """The registry's configuration file. JSON is YAML as well."""
    return json.dumps(
        {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}, "delete": {"enabled": True}},
            "http": {"addr": f"127.0.0.1:{port}"},
        }
    )


@contextmanager
def _server(folder: Path, port: int) -> Iterator[Child]:
    file = folder / "config.yml"
    file.write_text(configuration(folder, port))
    env = process.environment(folder, OTEL_TRACES_EXPORTER="none")
    child = Child([_program() or "docker-registry", "serve", str(file)], env=env)
    with process.guarded(process_group=child.pid):
        try:
            yield child
        finally:
            child.end()


def _get(registry: Registry, path: str) -> tuple[dict[str, Any], str]:
    parts = urlsplit(f"http://{registry.address}")
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Accept": ", ".join(_MANIFEST_TYPES)})
        response = connection.getresponse()
        body = response.read()
    if response.status != http.client.OK:
        raise CheckFailure(f"the registry answered {response.status} to {path}: {body[:200]!r}")
    manifest: dict[str, Any] = json.loads(body)
    return manifest, response.getheader("Docker-Content-Digest", "")


def _program() -> str | None:
    return shutil.which("docker-registry", path="/usr/local/bin:/usr/bin:/bin")
