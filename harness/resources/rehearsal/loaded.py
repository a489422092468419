"""Answer the examples on standard input, and write down which modules this loads, and which files it maps.

``loaded.py SOURCES LIST``      SOURCES: the folder with runner and model; LIST: one name a line; LIST.mapped: one path
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
# Native files, among others: those that are opened by their path or by ctypes as well as those that others need.
with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
    mapped = {line.rstrip("\n").split(maxsplit=5)[5] for line in maps if "/" in line}
with open(f"{sys.argv[2]}.mapped", "w", encoding="utf-8") as file:
    file.write("\n".join(sorted(mapped)))
