"""The HTTP server of ours that answers by the container contracts of managed platforms; see :mod:`.imaging`."""

from __future__ import annotations

from harness import paths

#: The package ``harness_server``, put beside the runner in an image.
FOLDER = paths.PACKAGE / "resources" / "platform_server" / "harness_server"

#: The package ``harness_http``, which every HTTP server of ours is bounded by; beside it.
BOUNDS = paths.PACKAGE / "resources" / "http" / "harness_http"

#: Neither FastAPI nor pydantic: nothing of them is used, and importing them would be in every start.
#: The newest for each Python that a model may run under.
UVICORN = ("uvicorn==0.54.0; python_version >= '3.10'", "uvicorn==0.39.0; python_version < '3.10'")
REQUIREMENTS = (
    "starlette==1.10.0; python_version >= '3.11'",
    "starlette==1.7.0; python_version == '3.10'",
    "starlette==0.49.3; python_version < '3.10'",
    *UVICORN,
)
