"""Call the hooks of a build backend (PEP 517), behind the door: ``build.py STEP FILE SOURCE OUT BACKEND [PATH...]``.

``unpack`` unpacks FILE into the parent of SOURCE; it was looked at before. ``requires`` writes to OUT, as JSON, what
the build requires besides; ``wheel`` makes the wheel in the folder OUT. PATHs, seen from SOURCE, are where BACKEND is.
"""

import importlib
import json
import os
import sys
import tarfile
import zipfile


def unpack(file, source):
    """Make the folder ``source``, with modes that let its owner write."""
    parent = os.path.dirname(source)
    if file.endswith(".zip"):
        with zipfile.ZipFile(file) as archive:
            archive.extractall(parent)  # noqa: S202 -- it was looked at
        return
    how = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(file, "r:gz") as archive:
        for member in archive:
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            archive.extract(member, parent, **how)


def hooks(backend, places):
    """The backend: a module, or something in one."""
    sys.path[:1] = [os.path.abspath(place) for place in places]  # in place of this script's own folder
    module, _, inside = backend.partition(":")
    found = importlib.import_module(module)
    for name in inside.split(".") if inside else []:
        found = getattr(found, name)
    return found


def main(step, file, source, out, backend, *places):
    """Do one step."""
    if step == "unpack":
        unpack(file, source)
        return
    os.chdir(source)
    found = hooks(backend, places)
    if step == "wheel":
        found.build_wheel(out, None, None)
        return
    asked = getattr(found, "get_requires_for_build_wheel", None)
    answer = list(asked(None)) if asked else []
    with open(out, "w", encoding="utf-8") as written:
        json.dump(answer, written)


if __name__ == "__main__":
    main(*sys.argv[1:])
