"""The HTTP server of ours that answers by the container contracts of managed platforms; see :mod:`.imaging`."""

from __future__ import annotations

from harness import paths

#: The package ``harness_server``, put beside the runner in an image.
FOLDER = paths.PACKAGE / "resources" / "platform_server" / "harness_server"

#: Neither FastAPI nor pydantic: nothing of them is used, and importing them would be in every start.
REQUIREMENTS = ("starlette==1.10.0", "uvicorn==0.54.0")
