"""A conda-compatible executable, as much of one as conda-lock needs: it solves, by py-rattler, and installs nothing.

``--version``, and ``create|install --dry-run --json --override-channels --channel C ... SPEC...``,
whose answer is ``{"actions": {"FETCH": [...], "LINK": [...]}}``, or ``{"message": ...}`` and exit code 1. What the
target has (``__glibc`` ...) is a channel of its own in conda-lock's words, so it comes with the channels.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile


def solve(channels, specs, platform):
    """The records that satisfy ``specs``, by name."""
    import rattler

    with tempfile.TemporaryDirectory() as cache:
        gateway = rattler.Gateway(
            cache_dir=os.environ.get("HARNESS_REPODATA") or cache,
            client=rattler.Client.default_client(max_retries=2, timeout=60),
        )
        solving = rattler.solve(
            sources=[rattler.Channel(channel) for channel in channels],
            specs=[rattler.MatchSpec(spec) for spec in specs],
            gateway=gateway,
            platforms=[platform, "noarch"],
            virtual_packages=[],
        )
        return sorted(asyncio.run(solving), key=lambda record: record.name.normalized)


def described(record):
    """A record in conda's words."""
    return {
        "name": record.name.normalized,
        "version": str(record.version),
        "build": str(record.build),
        "build_number": record.build_number,
        "depends": record.depends,
        "constrains": record.constrains,
        "subdir": str(record.subdir),
        "url": record.url,
        "fn": record.file_name,
        "channel": record.channel,
        "md5": record.md5.hex() if record.md5 else "",
        "sha256": record.sha256.hex() if record.sha256 else "",
    }


def main(argv):
    """Answer; the exit code."""
    if argv == ["--version"]:
        print("conda 26.1.0")  # noqa: T201 -- the version whose interface this is
        return 0
    parser = argparse.ArgumentParser(prog="conda")
    parser.add_argument("command", choices=["create", "install"])
    for flag in ("--dry-run", "--json"):
        parser.add_argument(flag, action="store_true", required=True)
    parser.add_argument("--override-channels", "--yes", "--quiet", action="store_true")
    parser.add_argument("--channel", action="append", default=[])
    parser.add_argument("--prefix", "-p")
    parser.add_argument("specs", nargs="*")
    asked = parser.parse_intermixed_args(argv)
    try:
        records = solve(asked.channel, asked.specs, os.environ["CONDA_SUBDIR"])
        found = [described(record) for record in records if not record.name.normalized.startswith("__")]
        answer = json.dumps({"actions": {"FETCH": found, "LINK": found}})
    except Exception as error:
        print(json.dumps({"message": f"{type(error).__name__}: {error}"}))  # noqa: T201
        return 1
    print(answer)  # noqa: T201
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # py-rattler sometimes crashes when the interpreter ends
