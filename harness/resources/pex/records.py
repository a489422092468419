"""Have the lists of installed files (RECORD) say what pruning left: PEX installs by them. ``records.py SITE_PACKAGES``.

Digests and sizes are as packaging.python.org has them, "Recording installed projects".
"""

import base64
import csv
import hashlib
import io
import os
import sys
from pathlib import Path


def correct(record):
    """One list; written anew, since it may be a further name of the one in uv's cache."""
    packages, rows = record.parent.parent, []
    for path, digest, size in csv.reader(io.StringIO(record.read_text(encoding="utf-8"))):
        file = packages / path
        if file.is_file():
            # A stripped library may be as long as before.
            changed = size and (file.stat().st_size != int(size) or ".so" in file.name)
            rows.append((path, *_measured(file)) if changed else (path, digest, size))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    part = record.with_name("RECORD.part")
    part.write_text(text.getvalue(), encoding="utf-8")
    os.replace(part, record)


def _measured(file):
    content = file.read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"sha256={digest}", str(len(content))


if __name__ == "__main__":
    for found in sorted(Path(sys.argv[1]).glob("*.dist-info/RECORD")):
        correct(found)
