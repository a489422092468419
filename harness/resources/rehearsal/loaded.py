"""Answer the examples on standard input, and write down the names of the modules that this loads.

``loaded.py SOURCES LIST``      SOURCES: the folder with runner and model; LIST: one name a line
"""

import json
import sys

sys.path.insert(0, sys.argv[1])

from harness_runner import model as runner
from harness_runner.packaged import ENTRYPOINT

inputs = json.load(sys.stdin)["inputs"]
runner.load(runner.PACKAGED, ENTRYPOINT)(inputs)
with open(sys.argv[2], "w", encoding="utf-8") as file:
    file.write("\n".join(sorted(name for name in sys.modules if isinstance(name, str))))
