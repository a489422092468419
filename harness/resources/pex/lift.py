"""Serve a folder on loopback while a command runs: science fetches by HTTP only. ``lift.py FOLDER COMMAND...``.

``{url}`` in the command stands for the folder's address.
"""

import functools
import http.server
import subprocess  # noqa: TID251 -- this runs behind the door
import sys
import threading


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and says nothing of it."""

    def log_message(self, format, *args):  # noqa: A002 -- the name in the standard library
        """Nothing."""


def main(folder, command):
    """Run the command; its exit code."""
    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        return subprocess.run([part.replace("{url}", url) for part in command], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
