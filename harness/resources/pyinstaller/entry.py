"""What the executable runs: the runner, as ``python -m harness_runner`` does."""

import sys

# multiprocessing starts its children by sys.executable, which is this, with options for Python.
if sys.argv[1:2] and sys.argv[1].startswith("-"):
    import multiprocessing

    multiprocessing.freeze_support()

from harness_runner.__main__ import main

sys.exit(main(sys.argv[1:]))
