"""The command line: arguments, printing, exit codes. Nothing else prints or exits.

Commands import what they need when they run, so that ``harness --help`` answers at once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import traceback
from types import FrameType
from typing import Any

import click

from harness import __version__
from harness.cli import (
    appendix,
    aws,
    cache,
    calibrate,
    changes,
    claims,
    console,
    decide,
    failing,
    importing,
    make,
    measure,
    models,
    package,
    scenarios,
    show,
    tree,
)
from harness.errors import BadInput, HarnessError, Interrupted

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PID = os.getpid()

_EPILOG = """\b
First steps:
  harness doctor                                what is ready on this machine
  harness run digits-forest --profile quick     measure every method
  harness compare digits-forest                 the methods side by side
  harness recommend digits-forest --scenario edge-device

\b
Exit codes: 0 done; 1 a measured model or check failed; 2 bad usage or bad input;
3 a needed component is missing; 70 a bug in the harness, the message says how to
report it; 130 interrupted, what was measured is kept.

\b
Shell completion: eval "$(_HARNESS_COMPLETE=bash_source harness)"   (or zsh_source, fish_source)
"""


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="harness")
@click.option("-v", "--verbose", is_flag=True, help="Say what is being run, on standard error.")
def cli(verbose: bool) -> None:
    """Package a machine-learning model in every way, measure each, and say with evidence which to use."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.ERROR, format="%(message)s", stream=sys.stderr, force=True
    )
    if not verbose:
        logging.getLogger("harness").setLevel(logging.ERROR)
    for name in ("urllib3", "docker", "boto3", "botocore", "s3transfer"):
        logging.getLogger(name).setLevel(logging.WARNING)


for _command in (
    *show.COMMANDS,
    *models.COMMANDS,
    *scenarios.COMMANDS,
    *make.COMMANDS,
    *importing.COMMANDS,
    *package.COMMANDS,
    *measure.COMMANDS,
    *decide.COMMANDS,
    *calibrate.COMMANDS,
    *appendix.COMMANDS,
    *tree.COMMANDS,
    *claims.COMMANDS,
    *changes.COMMANDS,
    *aws.COMMANDS,
    *cache.COMMANDS,
):
    cli.add_command(_command)


def main() -> None:
    """Run the command line and exit with the code that :mod:`harness.errors` gives the outcome."""
    for number in _INTERRUPTS:
        signal.signal(number, _interrupt)
    for name in ("stdout", "stderr"):
        # What a terminal's encoding lacks is shown escaped; a stream that whoever started us has closed takes anything.
        stream = getattr(sys, name) or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (it stays open)
        stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, stream)
    sys.exit(_run())


def _run() -> int:
    """Run the command; its exit code. Whatever happens is said in a message."""
    as_json = "--json" in sys.argv
    try:
        code = _outcome(as_json=as_json)
        sys.stdout.flush()
    except BrokenPipeError:
        code = 0  # whoever read our output has gone
    except Exception as error:
        code = _failed(error, as_json=as_json)
    else:
        return code
    _let_go_of_output()
    return code


def _failed(error: Exception, *, as_json: bool) -> int:
    ours = failing.as_ours(error)
    if "-v" in sys.argv or "--verbose" in sys.argv:
        with contextlib.suppress(OSError):
            console.note("".join(traceback.format_exception(error)))
    with contextlib.suppress(OSError):
        console.failure(ours, as_json=as_json)
    return ours.exit_code


def _let_go_of_output() -> None:
    """Keep the interpreter from complaining, when it ends, about output that nobody takes."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


def _outcome(*, as_json: bool) -> int:
    try:
        result: Any = cli(standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Abort:
        return console.failure(Interrupted("interrupted; what was measured is kept"), as_json=as_json)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        console.say(error.format_message())
        return 0
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "harness"
        refused = BadInput(error.format_message(), remedy=f"'{command} --help' explains")
        return console.failure(refused, as_json=as_json)
    except click.ClickException as error:
        return console.failure(BadInput(error.format_message()), as_json=as_json)
    except KeyboardInterrupt:
        return console.failure(Interrupted("interrupted; what was measured is kept"), as_json=as_json)
    except HarnessError as error:
        return console.failure(error, as_json=as_json)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Once is enough: what comes while it is being cleaned up must not break that off."""
    if os.getpid() != _PID:
        os._exit(130)  # a child of ours between fork and exec, which has our handlers still
    for one in _INTERRUPTS:
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt
