"""The HTTP server of ours that answers by the container contracts of managed platforms; see :mod:`.imaging`."""

from __future__ import annotations

from harness import paths

#: The package ``harness_server``, put beside the runner in an image.
FOLDER = paths.PACKAGE / "resources" / "platform_server" / "harness_server"

#: The package ``harness_http``, which every HTTP server of ours is bounded by; beside it.
BOUNDS = paths.PACKAGE / "resources" / "http" / "harness_http"

#: Neither FastAPI nor pydantic: nothing of them is used, and importing them would be in every start.
REQUIREMENTS = ("starlette==1.10.0", "uvicorn==0.54.0")
