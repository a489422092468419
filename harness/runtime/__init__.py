"""Code that is shipped inside artifacts. It imports nothing of the harness, and only the standard library."""

from pathlib import Path

#: The package to copy into an artifact, run as ``python -m harness_runner``.
RUNNER = Path(__file__).parent / "harness_runner"
