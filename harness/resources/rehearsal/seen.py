"""Answer the examples on standard input, and write down which modules this loads and which files it maps into memory.

``seen.py SOURCES FILE``      SOURCES: the folder with runner and model; FILE: a JSON object of two lists of texts
"""

import json
import sys

sys.path.insert(0, sys.argv[1])

from harness_runner import model as runner
from harness_runner.packaged import ENTRYPOINT

inputs = json.load(sys.stdin)["inputs"]
runner.load(runner.PACKAGED, ENTRYPOINT)(inputs)
modules = {name for name in list(sys.modules) if isinstance(name, str)}
# proc(5): the path is the last field. Whatever opened a library, it is here, until it is unmapped.
with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
    mapped = {line[line.index("/") :].rstrip("\n") for line in maps if " /" in line}
with open(sys.argv[2], "w", encoding="utf-8", errors="replace") as file:
    json.dump({"modules": sorted(modules), "mapped": sorted(mapped)}, file)
