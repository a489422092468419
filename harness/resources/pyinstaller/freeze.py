"""PyInstaller, run by the Python of the environment that it takes from: ``freeze.py TOOLS OPTIONS...``.

TOOLS is the folder of PyInstaller's own packages. It comes last on the path, so that what the model needs is never
taken from there.
"""

import sys

sys.path[:1] = []  # this script's own folder
sys.path.append(sys.argv[1])

from PyInstaller.__main__ import run

run(sys.argv[2:])
