"""Answer the examples on standard input, and write down what of the environment this needs.

``loaded.py SOURCES LIST``      SOURCES: the folder with runner and model; LIST: a JSON object of lists of texts

``modules``: names; ``sources``: their files; ``opened``: files opened otherwise than to import them; ``listed``:
folders; ``mapped``: native libraries. Files that native code opens without mapping them are not seen.
"""

import json
import os
import sys

sys.path[0] = sys.argv[1]  # in place of this script's own folder

opened, listed = set(), set()
_IMPORTING = "<frozen importlib._bootstrap_external>"


def watch(event, arguments):
    """Note what is opened for reading, and which folders are listed; not by the import system itself."""
    if event not in ("open", "os.listdir", "os.scandir") or not isinstance(arguments[0], (str, bytes)):
        return
    asks = sys._getframe(1)  # noqa: SLF001 -- a hook is not told who asks
    if asks.f_code.co_filename == _IMPORTING:
        return
    path = os.path.abspath(os.fsdecode(arguments[0]))
    if event != "open":
        listed.add(path)
    elif not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
        opened.add(path)


def mapped():
    """The files that lie in memory, as proc(5) has them."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        # The name comes last, and is the only field with a slash that is not first on the line.
        return {line[line.index("/") :].rstrip("\n") for line in file if " /" in line}


from harness_runner import model as runner
from harness_runner.packaged import ENTRYPOINT

inputs = json.load(sys.stdin)["inputs"]
sys.addaudithook(watch)
runner.load(runner.PACKAGED, ENTRYPOINT)(inputs)
files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
found = {
    "modules": [name for name in list(sys.modules) if isinstance(name, str)],
    "sources": [path for path in files if isinstance(path, str)],
    "opened": list(opened),
    "listed": list(listed),
    "mapped": list(mapped()),
}
with open(sys.argv[2], "w", encoding="utf-8", errors="replace") as file:
    json.dump({kind: sorted(set(names)) for kind, names in found.items()}, file)
