"""Serve the model with uvicorn on a Unix socket, or on loopback."""

from harness_runner import model as runner  # first: it stamps the start of the interpreter

import argparse
import sys


def main() -> int:
    """Load the model, then serve; 1 where the model cannot be loaded."""
    parser = argparse.ArgumentParser(prog="python -m harness_rest", description=__doc__)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--socket", help="a Unix socket to listen on")
    where.add_argument("--port", type=int, default=8000, help="a port on 127.0.0.1 to listen on")
    options = parser.parse_args()

    import harness_http
    import uvicorn

    from harness_rest.app import create

    app = create(runner)
    place = {"uds": runner.address(options.socket)} if options.socket else {"host": "127.0.0.1", "port": options.port}
    bounds = {"http": harness_http.protocol(), "ws": "none"}
    uvicorn.run(harness_http.bounded(app), **place, **bounds, log_level="warning", access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
