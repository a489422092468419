"""A stand-in for AWS on loopback: moto's server, for as long as a block. Nothing of it is AWS's own.

It keeps objects, functions, repositories and endpoints in its memory and enforces no limit. Functions that are
invoked there really run, in bounds: ``harness/resources/aws_lambda/moto_server.py`` sees to that.
"""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from harness import paths, process, tools
from harness.errors import MissingComponent
from harness.platforms import loopback
from harness.process import Child

_START_S = 60.0
_SERVER = paths.PACKAGE / "resources" / "aws_lambda" / "moto_server.py"


@contextmanager
def session(**environment: str) -> Iterator[str]:
    """Its address (``http://127.0.0.1:port``); it and what it was given are gone afterwards.

    ``environment`` are settings of moto's own (``MOTO_...``, ``DOCKER_HOST``) and of our launcher of it.
    MissingComponent where it does not start.
    """
    python = str(tools.executable("moto", "moto_server").with_name("python"))
    said = ""
    for _ in range(loopback.PORTS_TRIED):
        with process.temporary_folder("moto") as home, contextlib.ExitStack() as stack:
            port = loopback.free_port()
            child = Child(
                [python, str(_SERVER), "--host", "127.0.0.1", "--port", str(port)],
                env=process.environment(home, **environment),
                cwd=home,
            )
            stack.enter_context(process.guarded(process_group=child.pid))
            stack.callback(child.end)
            if loopback.answers(child, port, "/moto-api/data.json", within_s=_START_S):
                yield f"http://127.0.0.1:{port}"
                return
            said = child.output()
    raise MissingComponent(f"moto's server did not start: {said.strip()[-300:]}", remedy="'harness -v' shows how")


def put(endpoint: str, path: str, body: object = b"", **headers: str) -> None:
    """PUT to ``endpoint`` as S3's clients do, unsigned: the stand-in asks for no signature."""
    _request(endpoint, "PUT", path, body, headers)


def delete(endpoint: str, path: str) -> None:
    """DELETE an object: the stand-in keeps it in memory."""
    _request(endpoint, "DELETE", path, b"", {})


def _request(endpoint: str, verb: str, path: str, body: object, headers: dict[str, str]) -> None:
    parts = urlsplit(endpoint)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=300)
    with contextlib.closing(connection):
        connection.request(verb, path, body=body, headers=headers)  # type: ignore[arg-type]  # bytes or a file
        response = connection.getresponse()
        said = response.read()
    if response.status >= http.client.BAD_REQUEST:
        raise MissingComponent(f"moto's S3 answered {response.status} to {path}: {said[:200]!r}", remedy="try again")
