"""Run in a build's first stage: answer the examples, and write down which files the modules come from.

used.py EXAMPLES LIST      EXAMPLES: a JSON list of inputs; LIST: one path a line
"""

import json
import sys

from harness_runner import model as runner
from harness_runner.packaged import ENTRYPOINT

with open(sys.argv[1], encoding="utf-8") as file:
    inputs = json.load(file)
runner.load(runner.PACKAGED, ENTRYPOINT)(inputs)
files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
with open(sys.argv[2], "w", encoding="utf-8") as file:
    file.write("\n".join(sorted({path for path in files if isinstance(path, str) and path.endswith(".py")})))
