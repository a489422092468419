"""Every kind of failure: what happened, what to do about it, and the exit code it ends with.

Only :mod:`harness.cli` turns one of these into a message and an exit. Everything else raises.

==== =========================================================================
code meaning
==== =========================================================================
0    done
1    a measured model or a check failed; what was measured is kept
2    bad usage or bad input: the message names file, key, value and remedy
3    a component that the command needs is missing
70   a mistake of the harness: the message says how to report it
130  interrupted; what was measured is kept
==== =========================================================================
"""

from __future__ import annotations

import unicodedata
from typing import ClassVar


def printable(text: str) -> str:
    """``text`` with all that is obeyed and not shown escaped: models, tools and other people's files may say anything.

    That is control characters but the line's end and the tab, what turns the order of letters round, what has no width,
    and halves of characters. Spaces of every width stay.
    """
    if text.isprintable():
        return text
    return "".join(
        sign
        if sign.isprintable() or sign in "\n\t" or unicodedata.category(sign) == "Zs"
        else sign.encode("unicode_escape").decode()
        for sign in text
    )


def one_line(text: str) -> str:
    """As :func:`printable`, with ends of lines and tabs escaped too: a name must not look like another line."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


class HarnessError(Exception):
    """The base: ``problem`` says what happened, ``remedy`` what the reader can do."""

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, *, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = printable(problem)
        self.remedy = printable(remedy)

    def __str__(self) -> str:
        return f"{self.problem}\n  remedy: {self.remedy}" if self.remedy else self.problem


class BadInput(HarnessError):
    """A file or an argument that the user gave is wrong; names file, key and value."""

    exit_code = 2

    def __init__(
        self, problem: str, *, file: object = None, key: str = "", value: object = None, remedy: str = ""
    ) -> None:
        self.file, self.key, self.value = file, key, value
        where = [one_line(str(file))] if file is not None else []
        if key:
            where.append(f"key '{one_line(key)}'" + (f" = {_short(value)}" if value is not None else ""))
        elif value is not None:
            where.append(_short(value))
        super().__init__(": ".join([*where, problem]), remedy=remedy)


class MissingComponent(HarnessError):
    """Something that the command cannot do without is not on this machine."""

    exit_code = 3


class ModelFailure(HarnessError):
    """A model's own code failed: training, load or predict raised, hung, exited or answered wrongly."""


class BuildFailure(HarnessError):
    """A packaging tool refused or failed; ``log`` is the end of what it printed."""

    def __init__(self, problem: str, *, log: str = "", remedy: str = "") -> None:
        self.log = log
        tail = "\n".join(f"    {line}" for line in log.strip().splitlines()[-12:])
        super().__init__(f"{problem}\n{tail}" if tail else problem, remedy=remedy)


class DoesNotFit(HarnessError):
    """An artifact is beyond a documented limit of its platform: a result, not a failure of ours."""


class CheckFailure(HarnessError):
    """A number, digest or answer is not what it has to be."""


class DiskFull(HarnessError):
    """The disk has no room; everything written before is intact."""


class OutOfMemory(HarnessError):
    """The machine had no memory left for the harness itself."""


class Bug(HarnessError):
    """Nobody expected this: a mistake of the harness, whatever it was given."""

    exit_code = 70


class Interrupted(HarnessError):
    """The user, or the system, asked us to stop."""

    exit_code = 130


def _short(value: object, limit: int = 80) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of a million digits, a list in a list in a list ...
        text = f"a {type(value).__name__} that is too large to show"
    return text if len(text) <= limit else text[: limit - 1] + "…"


class EngineGone(HarnessError):
    """The Docker engine that was used went away; everything measured before is intact.

    No MissingComponent: what can do without those, or says that something is absent, has to let this pass.
    """

    exit_code = 3
